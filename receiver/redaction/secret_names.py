"""The catalogue of secrets: which names of elements, attributes, pairs and header fields hold one.

Names only: this file must not know XML or HTTP. Redacting too much is the better mistake, so words that mean a secret
count anywhere in a name; those that are part of ordinary words count at its end, or as a word of their own. The
setting `secret_names` adds names of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

ANYWHERE: Final = (
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
    "authorization",
)
"""Secret wherever they stand in a name without its separators."""
AT_THE_END: Final = ("secret", "token", "community", "pwd", "psk", "userpass")
"""Secret at the end of a name; an `s` or digits may follow."""
AS_A_WORD: Final = ("pwd", "psk", "secret", "token", "passwd")
"""Secret as one of several words: `pwd_hash`, `token_id`, but not `tokenizer` or `tokens_used`."""
AS_LAST_WORD: Final = ("pass",)
"""`os_pass` and `adminPass`, but neither `bypass` nor `pass_through`."""

BAGS: Final = frozenset({"credential", "credentials"})
"""Elements whose values are secret, and whose names and labels are not."""
LABELS: Final = frozenset({"name", "key", "id", "type", "label", "propertyname", "variablename"})
"""What names the value that stands beside it: `<name>os_password</name><value>…`."""
VALUES: Final = frozenset({"value", "values", "val", "text", "content", "data", "defaultvalue", "currentvalue"})

HEADERS: Final = frozenset({"proxyauthorization", "cookie", "setcookie", "xapikey", "xauthkey"})
"""Header fields that are secret besides those with a secret name, folded."""
PATH_HEADERS: Final = frozenset(
    {
        "referer", "xoriginaluri", "xoriginalurl", "xrewriteurl", "xenvoyoriginalpath", "xforwardeduri",
        "xforwardedpath", "xforwardedurl", "xrequesturi", "xrequestpath", "location",
    }
)  # fmt: skip
"""Header fields in which a proxy may repeat the callback URL, whose last part is a token."""

CALLBACK_CHANNELS: Final = ("/callback/", "/events/")
"""What stands before the token in a callback URL of ours."""

# Each secret name holds one of these. Searching for one costs most of a microsecond, so first only letters are
# searched, `y` as `e`: fewer searches then find them all, and sometimes more, which the exact ones rule out.
_HINTS = (
    b"pass", b"pwd", b"psk", b"key", b"token", b"secret", b"credential", b"encrypt", b"community", b"authorization",
    b"bearer", b"basic",
)  # fmt: skip
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_FOLDED = bytes.maketrans(_LETTERS.upper() + b"y", _LETTERS.replace(b"y", b"e") + b"e")
_NOT_LETTERS = bytes(set(range(256)) - set(_LETTERS + _LETTERS.upper()))
_SEPARATORS = re.compile(r"[\s_.:-]+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONGEST = 128


def fold(name: str) -> str:
    """A name without its prefix, its case and its separators: `ns:OS_Password` is `ospassword`."""
    _, colon, local = name.partition(":")
    return _SEPARATORS.sub("", local if colon else name).lower()


class SecretNames:
    """The catalogue, with the names that a user adds to it."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._anywhere = (*ANYWHERE, *(folded for name in extra if (folded := fold(name))))
        self._hints = (*_HINTS, *(name.encode() for name in self._anywhere[len(ANYWHERE) :]))
        self._has_extra = len(self._anywhere) > len(ANYWHERE)
        self._known = lru_cache(maxsize=4096)(self._judge)
        marks = (*(hint.decode() for hint in self._hints), "://", *CALLBACK_CHANNELS)
        self._find_mark = re.compile("|".join(map(re.escape, marks))).search

    def is_secret(self, name: str) -> bool:
        """Whether a field of this name, as it is written, holds a secret. A name too long to be one is not."""
        return 0 < len(name) <= _LONGEST and self._known(name)

    def is_secret_header(self, name: str) -> bool:
        """Whether a header field of this name holds a secret."""
        return self.is_secret(name) or fold(name) in HEADERS

    def may_be_in_text(self, text: str) -> bool:
        """False only if a text that is no markup holds neither the name of a secret nor a URL."""
        lower = text.lower()
        if self._find_mark(lower):
            return True
        return self._has_extra and self._spelled_apart(_SEPARATORS.sub("", lower))

    def _judge(self, name: str) -> bool:
        folded = fold(name).rstrip("0123456789").removesuffix("s")
        if folded.endswith(AT_THE_END) or any(word in folded for word in self._anywhere):
            return True
        words = [word.lower() for word in _WORDS.findall(name)]
        return bool(words) and (words[-1] in AS_LAST_WORD or not set(words).isdisjoint(AS_A_WORD))

    def may_be_in(self, body: bytes) -> bool:
        """False only if no name of a secret stands in the body in plain ASCII. About 4 µs for a callback of 1.4 kB.

        `find` because `in` first takes the name for a number and makes an error of it: 2,000 instructions each.
        """
        find = body.translate(_FOLDED, _NOT_LETTERS).find
        if self._has_extra or (
            find(b"ke") >= 0
            or find(b"cre") >= 0
            or find(b"pass") >= 0
            or find(b"pwd") >= 0
            or find(b"psk") >= 0
            or find(b"mmunit") >= 0
            or find(b"authori") >= 0
            or find(b"bearer") >= 0
            or find(b"basic") >= 0
        ):
            lower = body.lower()
            if any(lower.find(hint) >= 0 for hint in self._hints):
                return True
        return self._has_extra and self._spelled_apart(_SEPARATORS.sub("", body.decode("latin-1").lower()))

    def _spelled_apart(self, text: str) -> bool:
        """Whether a name that a user added stands in a text whose separators are left out."""
        return any(name in text for name in self._anywhere[len(ANYWHERE) :])
