"""One operation of the query API as data. Must not know which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from receiver.api.openapi import Schema
from receiver.api.parameters import Parameter
from receiver.config.read_tokens import Scope

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API. `name` is its operationId."""

    name: str
    path: str
    summary: str
    description: str
    answer: Schema
    example: Any
    parameters: Sequence[Parameter] = ()
    method: str = "GET"
    scope: Scope | None = Scope.READ
    """None: no token is required."""
    media_type: str = "application/json"
    problems: Sequence[int] = ()
    """Statuses of problems beyond those that any endpoint may answer with."""
    single: bool = False
    """One thing, with an ETag."""
    body: Schema | None = None
    body_example: Any = None
    status: int = 200
