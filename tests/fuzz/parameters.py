"""Questions to the query API: any query string is read, or refused with the name of the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from receiver.api.api_errors import ParameterError
from receiver.api.endpoints import catalogue
from receiver.api.parameters import Parameter, read
from receiver.config.settings import Settings

ENDPOINTS = catalogue(Settings())


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read of a request."""

    query: MultiMapping[str]
    match_info: dict[str, str]


def parameters(data: bytes) -> None:
    """The first byte chooses the endpoint; the rest is the query string as it stands in a request, and each part of
    the path."""
    known: Sequence[Parameter] = ENDPOINTS[data[0] % len(ENDPOINTS)].parameters if data else ()
    text = data[1:].decode("utf-8", "surrogateescape")
    query = URL.build(path="/", query_string=text, encoded=True).query  # as aiohttp makes it
    asked = Asked(query, {one.name: text for one in known if one.place == "path"})
    with suppress(ParameterError):
        values = read(cast(web.Request, asked), known)
        assert values.keys() <= {one.name for one in known}
