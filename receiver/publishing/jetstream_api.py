"""Requests to JetStream in plain JSON, its errors as ours. Must not know which streams there are.

nats-py's own dataclasses would drop, when a stream is updated, the fields that they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from receiver.errors import (
    DeposedError,
    DisconnectedError,
    NotAcknowledgedError,
    NotAllowedError,
    StreamRefusedError,
    describe,
)
from receiver.publishing.nats_client import ForbiddenError

NO_STREAM = 10059
NO_MESSAGE = 10037
SUBJECTS_TAKEN = 10065
_NOT_THE_LAST = frozenset({10070, 10071, 10158})
"""Another message or another sequence is the last, or the message is on its way in already."""


class JetStreamError(StreamRefusedError):
    """JetStream answered with an error; `err_code` is its number."""

    def __init__(self, fault: Mapping[str, Any], subject: str) -> None:
        self.err_code = fault.get("err_code")
        super().__init__(f"{fault.get('description', 'no reason given')} (JetStream error {self.err_code}, {subject})")


async def call_api(client: Client, verb: str, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """The answer of an API subject, `$JS.API.<verb>`. Raises as `request_json` does."""
    return await request_json(client, f"$JS.API.{verb}", orjson.dumps(request), None, timeout_s)


async def request_json(
    client: Client, subject: str, payload: bytes, headers: dict[str, str] | None, timeout_s: float
) -> dict[str, Any]:
    """Send a request, or a message to a stream, and return the answer.

    Raises DisconnectedError, NotAcknowledgedError (no answer in time), DeposedError (something else is the last of the
    stream) and StreamRefusedError.
    """
    try:
        reply = await client.request(subject, payload, timeout=timeout_s, headers=headers)
    except (NatsError, OSError, TimeoutError) as error:
        raise translated(error, subject) from error
    answer: dict[str, Any] = orjson.loads(reply.data)
    if fault := answer.get("error"):
        if fault.get("err_code") in _NOT_THE_LAST:
            raise DeposedError(f"{fault['description']} ({subject})")
        raise JetStreamError(fault, subject)
    return answer


async def get_message(client: Client, stream: str, which: Mapping[str, Any], timeout_s: float) -> dict[str, Any] | None:
    """The first message that `which` matches (`seq`, or `next_by_subj` with `start_time` or `seq`), as the stream's
    leader has it; None when it was deleted, has expired, or never was there."""
    try:
        answer = await call_api(client, f"STREAM.MSG.GET.{stream}", which, timeout_s)
    except JetStreamError as error:
        if error.err_code == NO_MESSAGE:
            return None
        raise
    message: dict[str, Any] = answer["message"]
    return message


def translated(error: Exception, what: str) -> Exception:
    """The error of ours for an error of the NATS client that `what` met."""
    match error:
        case ForbiddenError():
            return NotAllowedError(
                f"{error}: the NATS user of this receiver lacks it (docs/operations.md#nats-permissions)"
            )
        case NoRespondersError():
            return StreamRefusedError(f"nobody answers on {what}: is JetStream on, and does the stream exist?")
        case MaxPayloadError():
            return StreamRefusedError(f"a message is too large for NATS ({what})")
        case NatsTimeoutError() | TimeoutError():
            return NotAcknowledgedError(f"no answer in time ({what})")
        case _:
            return DisconnectedError(f"NATS connection lost: {describe(error)} ({what})")
