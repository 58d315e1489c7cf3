"""Takes secrets out of a body before it is kept: what ESC has never kept it can never show
(docs/esc-callbacks.md#S, chapters 13 and 14).

Which names are those of secrets is known to `receiver.redaction.secret_names`. This file must not know the bodies.
"""

from __future__ import annotations

import re
from typing import Any

from receiver.redaction.secret_names import BAGS, SecretNames

MASK = "********"
_HARMLESS = re.compile(r"(name|user|login|domain|project|tenant|region|url|id)$", re.IGNORECASE)
"""Of credentials, what may be shown; everything else in them is a secret."""
_NAMES = SecretNames()


def masked(value: Any, *, in_bag: bool = False) -> Any:
    """The same without secrets: properties with a secret name have an `encrypted_value` that says nothing."""
    if isinstance(value, list):
        return [masked(one, in_bag=in_bag) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: masked(one, in_bag=in_bag or name in BAGS) for name, one in value.items()}
    if "encrypted_value" in found or ("value" in found and _tells(str(found.get("name", "")), in_bag=in_bag)):
        found.pop("value", None)
        found["encrypted_value"] = MASK
    return {name: MASK if isinstance(one, str) and _NAMES.is_secret(name) else one for name, one in found.items()}


def has_secrets(value: Any) -> bool:
    """Whether a body holds a secret that is masked."""
    return bool(masked(value) != value)


def _tells(name: str, *, in_bag: bool) -> bool:
    """Whether a property of this name tells a secret."""
    return _NAMES.is_secret(name) or (in_bag and not _HARMLESS.search(name))
