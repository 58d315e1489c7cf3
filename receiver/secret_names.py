"""Which names are those of secrets: the one table, for elements, attributes, pairs and header fields.

Names only: this file must not know XML or HTTP. Redacting too much is the better mistake, so words that
mean a secret count anywhere in a name; those that are part of ordinary words count at its end alone.
"""

from __future__ import annotations

import re
from functools import lru_cache

ANYWHERE = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passkey",
    "privatekey",
    "secretkey",
    "accesskey",
    "apikey",
    "authkey",
    "encryptedvalue",
    "encryptionkey",
    "presharedkey",
    "sharedkey",
    "signingkey",
    "communitystring",
    "communityname",
)
AT_THE_END = ("secret", "token", "community", "pwd", "psk", "userpass")
AS_A_WORD = ("pass",)
"""`os_pass` and `adminPass`, but neither `bypass` nor `compass`."""

BAGS = frozenset({"credential", "credentials"})
"""Elements whose values are secret, and whose names and labels are not."""
LABELS = frozenset({"name", "key", "id", "type", "label", "propertyname", "variablename"})
"""What names the value that stands beside it: `<name>os_password</name><value>…`."""
VALUES = frozenset({"value", "values", "val", "text", "content", "data", "defaultvalue", "currentvalue"})

HEADERS = frozenset({"authorization", "proxyauthorization", "cookie", "setcookie", "xapikey", "xauthkey"})
"""Header fields that are secret besides those with a secret name, folded."""

# Each secret name holds one of these. The body is searched for them in two steps, because searching costs
# about 1 µs each: letters are first folded so that few searches find all, and some more than that.
_HINTS = (b"pass", b"pwd", b"psk", b"key", b"token", b"secret", b"credential", b"encrypt", b"community")
_FOLDED = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZdswy", b"abcaefghijklmnopqratuvaxezaaae")
_SEPARATORS = re.compile(r"[\s_.:-]+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONGEST = 128


def fold(name: str) -> str:
    """A name without its prefix, its case and its separators: `ns:OS_Password` is `ospassword`."""
    return _SEPARATORS.sub("", name.rpartition(":")[2]).lower()


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a field of this name, as it is written, holds a secret."""
    if not name or len(name) > _LONGEST:
        return False
    folded = fold(name).rstrip("0123456789").removesuffix("s")
    if folded.endswith(AT_THE_END) or any(word in folded for word in ANYWHERE):
        return True
    words = _WORDS.findall(name)
    return bool(words) and words[-1].lower() in AS_A_WORD


def may_hold_secret(body: bytes) -> bool:
    """False only if no field of the body can have a secret name. About 7 µs for a callback of 1.4 kB."""
    folded = body.translate(_FOLDED)
    if b"ke" in folded or b"paa" in folded or b"cre" in folded or b"pak" in folded or b"mm" in folded:
        lower = body.lower()
        if any(hint in lower for hint in _HINTS):
            return True
    return may_disguise(body)


def may_disguise(body: bytes) -> bool:
    """Whether names may be spelled in other ways than in plain ASCII: character references, sections, encodings."""
    return (
        b"\0" in body
        or (b"&" in body and b"&#" in body)
        or (b"!" in body and b"<!" in body)
        or body.count(b"?") > 2
        or not _in_ascii(body)
    )


def _in_ascii(body: bytes) -> bool:
    """Whether markup is surely written in ASCII: by default, and in the encoding that ESC declares."""
    head = body[:128]
    if b"encoding" not in head:
        return not head.startswith(b"\x4c\x6f\xa7\x94")
    return b"UTF-8" in head or b"utf-8" in head
