"""The headers of Standard Webhooks: id, time and signatures of a delivery (docs/webhooks.md#verify).

Pure. Must not know how a delivery is sent.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable


def signed_headers(message_id: str, timestamp_s: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """Each key signs; who knows one of them can verify."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = (b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
