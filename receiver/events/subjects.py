"""How ids become subject tokens, KV keys and header values (docs/feed.md#subjects).

Pure text to text. This file must not know what an event is (`event` does). Whatever text comes in, what goes
out is printable ASCII that NATS takes: it can neither end a header line nor add a token to a subject.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from receiver.model.sanitize import sanitize

SUBJECTS = "esc.v1"
"""What every subject begins with. The version is that of the payload's schema."""
MISSING = "_"
TOKEN_BYTES_MAX = 96
HEADER_VALUE_BYTES_MAX = 1024
"""JetStream refuses headers of more than 64 KiB in all; the true ids are in the payload."""

_PLAIN_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{1,{TOKEN_BYTES_MAX}}}").fullmatch
_PLAIN_HEADER_VALUE = re.compile(rf"[!#$&-~]{{0,{HEADER_VALUE_BYTES_MAX}}}").fullmatch
_TOKEN_ESCAPED = re.compile(rb"[^A-Za-z0-9_-]")
_HEADER_VALUE_ESCAPED = re.compile(rb"[^!#$&-~]")


def token(text: str | None) -> str:
    """One token of a subject or KV key.

    UTF-8, percent-encoded with `=` for `%` outside `A-Za-z0-9_-`; nothing is `_`; what is longer than 96
    bytes then is cut there and ends in `==` and 16 hex digits of the SHA-256 of the id (as UTF-8).
    """
    if not text:
        return MISSING
    return _seen_before(text) if len(text) <= TOKEN_BYTES_MAX else _token(text)


def header_value(text: str) -> str:
    """A header value, percent-encoded as CloudEvents asks (HTTP binding 3.1.3.2).

    What is longer than 1,024 bytes then is cut there, as a token is.
    """
    if _PLAIN_HEADER_VALUE(text):
        return text
    return _encoded(sanitize(text), _HEADER_VALUE_ESCAPED, b"%%%02X", HEADER_VALUE_BYTES_MAX)


def deployment_key(source: str, deployment: str | None) -> str:
    """Key of a deployment in the KV bucket."""
    return f"deployment.{token(source)}.{token(deployment)}"


def vm_key(source: str, deployment: str | None, vm_name: str) -> str:
    """Key of a VM in the KV bucket."""
    return f"vm.{token(source)}.{token(deployment)}.{token(vm_name)}"


def _token(text: str) -> str:
    return text if _PLAIN_TOKEN(text) else _encoded(text, _TOKEN_ESCAPED, b"=%02X", TOKEN_BYTES_MAX)


# The same ids come again and again, and many have a dot to encode; long ones are not worth their memory.
_seen_before = lru_cache(maxsize=8192)(_token)


def _encoded(text: str, escaped: re.Pattern[bytes], form: bytes, bytes_max: int) -> str:
    # Only as much as can be left of it: an id may have a megabyte.
    start = text[: bytes_max + 1].encode("utf-8", "surrogatepass")
    encoded = escaped.sub(lambda byte: form % ord(byte[0]), start)
    if len(encoded) <= bytes_max:
        return encoded.decode("ascii")
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{encoded[:bytes_max].decode('ascii')}=={digest}"
