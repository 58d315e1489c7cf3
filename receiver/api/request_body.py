"""Bodies of requests: JSON, read within limits, and taken for what they should be.

Must not know what is done with them.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from receiver.api.answers import JSON
from receiver.api.api_errors import LongBodyError, NotJsonError, ParameterError, SlowBodyError
from receiver.api.parameters import TEXT_MAX
from receiver.config.settings import Settings

RECEIPTS_MAX = 1_000
NOTE_MAX = 1_000
BODY_BYTES_MAX = 65_536

Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX, pattern=r"^[^\x00]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=8 * TEXT_MAX, pattern=r"^[^\x00]+$")]
Note = Annotated[str, Field(min_length=1, max_length=NOTE_MAX, pattern=r"^[^\x00]+$")]


_UNSET: Any = None
"""Not given; null is no value."""


class Chosen(BaseModel):
    """Which kept callbacks a request is about; all that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)  # a request is rare

    receipts: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=RECEIPTS_MAX)] = _UNSET
    source: Text = _UNSET
    outcome: Literal["malformed", "unclassified"] = _UNSET
    rule: Text = _UNSET
    reason: Reason = _UNSET
    since: AwareDatetime = _UNSET
    """Received at this time or later."""
    until: AwareDatetime = _UNSET
    """Received before this time."""


class Acknowledgement(Chosen):
    """Somebody has looked at these dead letters."""

    note: Note
    by: Text = _UNSET
    """Who; without it the client's address."""


class ReplayOrder(Chosen):
    """These are to be applied again."""

    dry_run: bool
    """Only tell what would change."""
    quarantine: bool = True
    """Only those that were never applied."""
    to_source: Text = _UNSET
    """What came to the unknown source `source` is moved to this one."""


class ReconcileOrder(BaseModel):
    """ESC is to be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)  # a request is rare

    source: Text | None = None
    """Only this one; else all that may be asked."""
    deployment: Text | None = None
    """Only this one of the source, by its internal id."""
    dry_run: bool = False
    """Only tell what would change."""
    yes: bool = False
    """Believe it however many deployments it does not have any more."""


Body = TypeVar("Body", bound=BaseModel)


async def read_bytes(request: web.Request, settings: Settings, bytes_max: int) -> bytes:
    """The JSON of a request. Raises NotJsonError, LongBodyError or SlowBodyError."""
    if request.content_type != JSON:
        # Forms of other sites cannot send JSON without a preflight request.
        raise NotJsonError("Send application/json.")
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await request.clone(client_max_size=bytes_max).read()
    except TimeoutError:
        raise SlowBodyError("It did not come in time.") from None
    except web.HTTPRequestEntityTooLarge:
        raise LongBodyError(f"At most {bytes_max} bytes.") from None


async def read_body(request: web.Request, settings: Settings, kind: type[Body]) -> Body:
    """What a request says. Raises ParameterError and what `read_bytes` does."""
    body = await read_bytes(request, settings, BODY_BYTES_MAX)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise ParameterError(".".join(map(str, fault["loc"])) or "body", fault["msg"]) from None


def schema_of_body(kind: type[Chosen]) -> dict[str, Any]:
    """Its JSON Schema; something must choose, so that a mistake is not about all there is."""
    schema = kind.model_json_schema() | {"anyOf": [{"required": [name]} for name in Chosen.model_fields]}
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)
        if part.get("default", True) is None:
            del part["default"]
    return {name: value for name, value in schema.items() if name != "description"}
