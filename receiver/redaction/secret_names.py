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

# Each secret name holds one of these. Searching for one costs most of a microsecond, so first only letters are
# searched, `y` as `e`: fewer searches then find them all, and sometimes more, which the exact ones rule out.
_HINTS = (b"pass", b"pwd", b"psk", b"key", b"token", b"secret", b"credential", b"encrypt", b"community")
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_FOLDED = bytes.maketrans(_LETTERS.upper() + b"y", _LETTERS.replace(b"y", b"e") + b"e")
_NOT_LETTERS = bytes(set(range(256)) - set(_LETTERS + _LETTERS.upper()))
# What could spell a name in another way than in plain ASCII, and what all ordinary documents have of it.
_PLAIN = bytes(set(range(256)) - set(b"\0&!?"))
_ORDINARY = frozenset({b"", b"??"})
_SEPARATORS = re.compile(r"[\s_.:-]+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONGEST = 128


def fold(name: str) -> str:
    """A name without its prefix, its case and its separators: `ns:OS_Password` is `ospassword`."""
    return _SEPARATORS.sub("", name.rpartition(":")[2]).lower()


def is_secret(name: str) -> bool:
    """Whether a field of this name, as it is written, holds a secret."""
    return 0 < len(name) <= _LONGEST and _is_secret(name)


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    folded = fold(name).rstrip("0123456789").removesuffix("s")
    if folded.endswith(AT_THE_END) or any(word in folded for word in ANYWHERE):
        return True
    words = _WORDS.findall(name)
    return bool(words) and words[-1].lower() in AS_A_WORD


def may_hold_secret(body: bytes) -> bool:
    """False only if no field of the body can have a secret name. About 6 µs for a callback of 1.4 kB."""
    letters = body.translate(_FOLDED, _NOT_LETTERS)
    if (
        b"ke" in letters
        or b"cre" in letters
        or b"pass" in letters
        or b"pwd" in letters
        or b"psk" in letters
        or b"mmunit" in letters
    ):
        lower = body.lower()
        if any(hint in lower for hint in _HINTS):
            return True
    return _may_disguise(body)


def _may_disguise(body: bytes) -> bool:
    """Whether a name may be spelled with character references, in sections, or in another encoding."""
    marks = body.translate(None, _PLAIN)
    if marks not in _ORDINARY and (b"\0" in marks or b"&#" in body or b"<!" in body or marks.count(b"?") > 2):
        return True
    return not _in_ascii(body)


def _in_ascii(body: bytes) -> bool:
    """Whether markup is surely written in ASCII: by default, and in the encoding that ESC declares."""
    head = body[:128]
    if b"encoding" not in head:
        return not head.startswith(b"\x4c\x6f\xa7\x94")
    return b"UTF-8" in head or b"utf-8" in head
