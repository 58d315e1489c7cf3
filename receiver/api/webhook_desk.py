"""The endpoints about webhooks: how each is, and what is done about one.

Must not know how events are delivered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from receiver.api.answers import json_answer
from receiver.api.api_errors import NothingFoundError, ParameterError, UnavailableError
from receiver.api.request_body import read_body
from receiver.config.settings import Settings
from receiver.errors import ReceiverError
from receiver.http.sender_address import SenderAddresses
from receiver.webhooks.commands import Commands, NotInStreamError, UnknownWebhookError, WebhookState

WEBHOOK_TYPES: Mapping[str, Any] = {
    "name": str, "url": str, "subjects": list[str], "state": WebhookState, "since": datetime | None,
    "reason": str | None, "pending": int | None, "cursor_sequence": int | None, "failing_sequence": int | None,
    "last_delivered_at": datetime | None, "last_delivered_sequence": int | None, "last_delivered_id": UUID | None,
    "last_error_at": datetime | None, "last_error": str | None,
}  # fmt: skip
"""What is shown of a webhook, with types."""
SEQUENCE_MAX = 2**63 - 1

log = structlog.get_logger()


def _as_json_has_it(number: Any) -> Any:
    """To JSON, 8.0 is an integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


class Nothing(BaseModel):
    """An order that says nothing more than its path."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # a request is rare


class Resend(BaseModel):
    """Deliver from here on."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)  # a request is rare

    from_sequence: Annotated[int, BeforeValidator(_as_json_has_it), Field(ge=1, le=SEQUENCE_MAX)]


class WebhookDesk:
    """Answers them."""

    def __init__(self, commands: Commands | None, settings: Settings) -> None:
        self._commands = commands
        self._settings = settings
        self._addresses = SenderAddresses(settings.trusted_proxies)

    async def all(self, _: web.Request, __: Mapping[str, Any]) -> web.Response:
        """Each webhook."""
        async with self._answering() as commands:
            return json_answer({"items": [asdict(one) for one in await commands.all()]})

    async def enable(self, request: web.Request, query: Mapping[str, Any]) -> web.Response:
        """Deliver again."""
        await read_body(request, self._settings, Nothing)
        async with self._answering() as commands:
            await commands.enable(query["webhook"])
        log.info("a webhook is enabled", webhook=query["webhook"], by=self._addresses.client(request))
        return await self._shown(query["webhook"])

    async def resend(self, request: web.Request, query: Mapping[str, Any]) -> web.Response:
        """Deliver from a sequence on."""
        order = await read_body(request, self._settings, Resend)
        async with self._answering() as commands:
            await commands.resend(query["webhook"], order.from_sequence)
        log.info(
            "a webhook is sent the feed again", webhook=query["webhook"], from_sequence=order.from_sequence,
            by=self._addresses.client(request),
        )  # fmt: skip
        return await self._shown(query["webhook"])

    async def test(self, request: web.Request, query: Mapping[str, Any]) -> web.Response:
        """Post a test event."""
        await read_body(request, self._settings, Nothing)
        async with self._answering() as commands:
            return json_answer((await commands.test(query["webhook"]))._asdict())

    async def _shown(self, name: str) -> web.Response:
        async with self._answering() as commands:
            return json_answer(asdict(await commands.one(name)))

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[Commands]:
        if self._commands is None:
            raise UnavailableError("this receiver only reads")
        try:
            yield self._commands
        except UnknownWebhookError as error:
            raise NothingFoundError(str(error)) from error
        except NotInStreamError as error:
            raise ParameterError("from_sequence", str(error)) from error
        except ReceiverError as error:
            raise UnavailableError(str(error)) from error
