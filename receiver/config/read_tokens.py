"""What is configured of those who may read: a bearer token each, and what it opens.

Values only, checked when settings are read. This file must not know HTTP; `api.tokens` judges by these values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from re import fullmatch
from typing import Annotated

from pydantic import BeforeValidator

from receiver.config.text_forms import split_list


class Scope(StrEnum):
    """What a token opens."""

    READ = "read"
    """Everything that the receiver understood."""
    RAW = "raw"
    """Also the bytes as they were received, which may hold what nobody knew to be secret."""
    OPERATE = "operate"
    """Also to do something: acknowledge and replay."""


@dataclass(frozen=True, slots=True)
class ReadToken:
    """One token; several are valid at once, so that one can be changed without a gap."""

    token: str = field(repr=False)
    scopes: frozenset[Scope] = frozenset({Scope.READ})


def _read_token(written: object) -> ReadToken:
    """`TOKEN` opens `read`; `TOKEN:raw`, `TOKEN:operate` and `TOKEN:raw+operate` open more. Raises ValueError, which
    does not show it."""
    if isinstance(written, ReadToken):
        return written
    token, colon, scopes = str(written).partition(":")
    if not isinstance(written, str) or not fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
        raise ValueError("a token is letters, digits and any of '-._~+/', as a Bearer header can carry it")
    named = scopes.split("+") if colon else []
    if not set(named) <= set(Scope):
        raise ValueError("behind a token and a colon stand `read`, `raw`, `operate` or several with `+` between them")
    return ReadToken(token, frozenset({Scope.READ, *map(Scope, named)}))


ReadTokens = Annotated[tuple[Annotated[ReadToken, BeforeValidator(_read_token)], ...], BeforeValidator(split_list)]
