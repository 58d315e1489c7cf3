"""What is configured of an ESC instance: its name, and who may post in its name.

Values only, checked when settings are read. This file must not know HTTP; `access` judges by these values.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from re import fullmatch, split, sub
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from receiver.config.esc_access import EscAccess
from receiver.config.text_forms import parse_json, split_list

Network = IPv4Network | IPv6Network
Subject = frozenset[tuple[str, str]]
"""Attributes of a certificate's subject: name in capitals, value."""


def _network(text: object) -> Network:
    try:
        return ip_network(str(text).strip())
    except ValueError as error:
        raise ValueError(f"not an address or address range: {error}") from None


def _token(token: str) -> str:
    if not token.isprintable() or any(c in token for c in "/?# ") or token in {"", ".", ".."}:
        raise ValueError("a token is one part of a path: not empty, no space, '/', '?' or '#', not '.' or '..'")
    return token


def _credentials(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ValueError("must be of the form user:secret")
    return text


def _subject(text: str) -> str:
    read_subject(text)
    return text


def read_subject(text: str) -> Subject:
    """The attributes of `CN=esc-1,O=Example`; a comma within a value is written `\\,`. Raises ValueError."""
    pairs = [part.partition("=") for part in split(r"(?<!\\),", text)]
    found = frozenset((name.strip().upper(), sub(r"\\(.)", r"\1", value).strip()) for name, _, value in pairs)
    if not all(name and value for name, value in found):
        raise ValueError("a subject is of the form CN=esc-1,O=Example")
    return found


def _name(name: str) -> str:
    if not fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError("a source's name is 1 to 64 letters, digits or any of '._-', not first")
    return name


def _field_name(name: str) -> str:
    if len(name) < 3 or not any(letter.isalpha() for letter in name):
        raise ValueError("the name of a secret field has at least three characters, one of them a letter")
    return name


SecretNameList = Annotated[tuple[Annotated[str, AfterValidator(_field_name)], ...], BeforeValidator(split_list)]
AddressRange = Annotated[Network, BeforeValidator(_network)]
AddressRanges = Annotated[tuple[AddressRange, ...], BeforeValidator(split_list)]
Token = Annotated[str, AfterValidator(_token)]
SubjectText = Annotated[str, AfterValidator(_subject)]
Credentials = Annotated[str, AfterValidator(_credentials)]
SourceName = Annotated[str, AfterValidator(_name)]


class Source(BaseModel):
    """Who may post for one ESC instance. Every kind that is listed must be satisfied; of one kind any
    entry will do, so that a secret can be changed without a gap."""

    # Deferred, because `Settings` is built with all its parts in it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    tokens: tuple[Token, ...] = Field(default=(), repr=False)
    """Any one of them as the last part of the path."""
    basic: tuple[Credentials, ...] = Field(default=(), repr=False)
    """`user:secret` of HTTP Basic."""
    allow: tuple[AddressRange, ...] = ()
    """Addresses that may post."""

    subjects: tuple[SubjectText, ...] = ()
    """Attributes that the subject of the client's certificate has, such as `CN=esc-1,O=Example`."""
    answer: Literal[200, 204] = 200
    """What a callback that is kept is answered with: 204 for a sender that takes nothing else for success."""

    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most callbacks a second, twice as many in a burst; none: no limit. By each receiver."""
    bytes_per_day: Annotated[int, Field(gt=0)] | None = None
    """Most bytes of bodies a day (UTC), as sent; none: no limit. By each receiver."""

    esc: EscAccess | None = None
    """How it is asked what its callbacks did not tell (docs/reconcile.md); none: it is not."""

    def shown(self) -> dict[str, Any]:
        """What differs from the defaults, without secrets: how many tokens and credentials there are."""
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        if self.esc:
            chosen["esc"] = self.esc.shown()
        return chosen | {name: f"({len(chosen[name])})" for name in ("tokens", "basic") if name in chosen}

    @property
    def protected(self) -> bool:
        """Whether anything at all is asked of the sender."""
        return bool(self.tokens or self.basic or self.allow or self.subjects)


Sources = Annotated[dict[SourceName, Source], BeforeValidator(parse_json)]
