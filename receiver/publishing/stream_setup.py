"""The two streams: created, checked to be this database's, brought to the set limits, and emptied.

A stream belongs to the database whose id its metadata holds. Nothing of another database's stream is changed; what is
not ours to set stays as the operator has it. Must not know what is published, nor how a stream without an id is known.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from nats.aio.client import Client

from receiver.config.settings import Settings
from receiver.errors import DeposedError, NotAcknowledgedError, NotAllowedError, StreamRefusedError, StreamTakenError
from receiver.publishing.jetstream_api import (
    NO_STREAM,
    SUBJECTS_TAKEN,
    JetStreamError,
    call_api,
    get_message,
    request_json,
)
from receiver.publishing.messages import EXPECTED_ID, MESSAGE_ID

SERVER_VERSION_MIN = (2, 11)
"""The first nats-server that lets a single message expire, as the keys of ended things must."""
MESSAGE_BYTES_MIN = 65_536
"""What the broker must take; `cloudevents.shortened` can get every message below it."""
DUPLICATE_WINDOW_MIN_NS = 100_000_000
"""The shortest that JetStream knows."""
_NANOSECONDS = 1_000_000_000
_NEVER_THE_LAST = "no message has this id"
CURE = (
    "give this receiver a STREAM_NAME, a SUBJECT_PREFIX and a KV_BUCKET of its own or, where that database is gone, "
    "empty the stream for this one with `esc-receiver replay --to-stream --purge`"
)
OWNER = "esc-receiver-database"
"""The key in a stream's metadata under which the id of its database stands."""


class StreamState(NamedTuple):
    """A stream as it stands."""

    name: str
    identity: str
    """Name and time of creation. Another one: made anew, or nats-server was restarted after an update (2.14.0)."""
    owner: str
    """The id of the database it belongs to; empty: its metadata does not say."""
    first_sequence: int
    last_sequence: int
    messages: int
    is_limited: bool
    """Whether its beginning leaves it by number or size."""
    age_max_s: float
    """How long a message stays; 0: for ever."""
    message_bytes_max: int
    """Headers and payload together."""
    left_alone: str = ""
    """Why it is not as it should be, where that could not be changed."""


class StreamPlan(NamedTuple):
    """A stream as it should be: `limits` are set on one that exists too, `created_with` only on a new one."""

    name: str
    subject: str
    limits: dict[str, Any]
    created_with: dict[str, Any]


def feed_plan(settings: Settings) -> StreamPlan:
    """The stream of the feed."""
    age_max = settings.stream_age_max_s * _NANOSECONDS
    window = settings.stream_duplicate_window_s * _NANOSECONDS
    limits = {
        "num_replicas": settings.stream_replicas,
        "max_bytes": settings.stream_bytes_max,
        "max_msgs": settings.stream_messages_max,
        "max_age": age_max,
        "duplicate_window": min(window, age_max) if age_max else window,
    }
    created_with = {
        "description": "Feed of esc-receiver: one CloudEvent for each ledger entry",
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "allow_direct": True,
    }
    return StreamPlan(settings.stream_name, f"{settings.subject_prefix}.>", limits, created_with)


def bucket_plan(settings: Settings) -> StreamPlan:
    """The stream behind the KV bucket, as every NATS client expects a bucket to be."""
    bucket = settings.kv_bucket
    limits = {"num_replicas": settings.kv_replicas, "max_bytes": settings.kv_bytes_max, "allow_msg_ttl": True}
    created_with = {
        "description": "Current states of deployments and VMs, by esc-receiver",
        "retention": "limits",
        "discard": "new",
        "storage": "file",
        "duplicate_window": _NANOSECONDS,  # ids are never used again here; a long window costs memory
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    return StreamPlan(f"KV_{bucket}", f"$KV.{bucket}.>", limits, created_with)


async def ensure_stream(client: Client, plan: StreamPlan, database_id: str, timeout_s: float) -> StreamState:
    """The stream, created if it is missing. One of this database is brought to its limits, any other left as it is.

    Raises StreamRefusedError when it is of no use, and what `call_api` raises.
    """
    info = await _look(client, plan, database_id, timeout_s)
    _require_usable(plan, info["config"])
    if _owner(info["config"]) == database_id:
        return await _brought_to_limits(client, plan, info, database_id, timeout_s)
    return _state(client, info)


async def look_at_stream(client: Client, plan: StreamPlan, timeout_s: float) -> StreamState:
    """The stream as it is. Raises StreamRefusedError when there is none, or it is of no use."""
    info = await _info(client, plan, timeout_s)
    if info is None:
        raise StreamRefusedError(
            f"this NATS has no stream {plan.name}: a receiver that is connected makes and fills it"
        )
    _require_usable(plan, info["config"])
    return _state(client, info)


async def claim_stream(client: Client, plan: StreamPlan, database_id: str, timeout_s: float) -> StreamState:
    """Write the database's id into the stream's metadata, and bring it to its limits."""
    info = await _look(client, plan, database_id, timeout_s)
    _require_usable(plan, info["config"])
    return await _brought_to_limits(client, plan, info, database_id, timeout_s)


def require_ours(stream: StreamState, database_id: str) -> None:
    """Raises StreamTakenError when it belongs to another database."""
    if stream.owner not in ("", database_id):
        raise StreamTakenError(f"stream {stream.name} belongs to another database (id {stream.owner}); {CURE}")


async def purge_stream(client: Client, name: str, timeout_s: float) -> None:
    """Delete all messages."""
    await call_api(client, f"STREAM.PURGE.{name}", {}, timeout_s)


async def _info(client: Client, plan: StreamPlan, timeout_s: float) -> dict[str, Any] | None:
    """None: there is no such stream."""
    _require_version(client)
    try:
        info = await call_api(client, f"STREAM.INFO.{plan.name}", {}, timeout_s)
    except JetStreamError as error:
        if error.err_code != NO_STREAM:
            raise
        return None
    if "leader" not in info.get("cluster", {"leader": ""}):  # and what is known of its end may be old
        raise NotAcknowledgedError(f"stream {plan.name} has no leader just now")
    return info


async def _look(client: Client, plan: StreamPlan, database_id: str, timeout_s: float) -> dict[str, Any]:
    info = await _info(client, plan, timeout_s)
    if info is None:
        config = {"name": plan.name, "subjects": [plan.subject], "metadata": {OWNER: database_id}}
        info = await _created(client, plan, config | plan.created_with | plan.limits, timeout_s)
    return info


async def _created(client: Client, plan: StreamPlan, config: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    try:
        return await call_api(client, f"STREAM.CREATE.{plan.name}", config, timeout_s)
    except JetStreamError as error:
        if error.err_code != SUBJECTS_TAKEN:
            raise
    names = await call_api(client, "STREAM.NAMES", {"subject": plan.subject}, timeout_s)
    others = ", ".join(names.get("streams") or ["another"])
    raise StreamTakenError(
        f"stream {plan.name} cannot be made: {plan.subject} belongs to stream {others} of the same NATS account, "
        f"another receiver's or an operator's; {CURE}"
    )


async def _brought_to_limits(
    client: Client, plan: StreamPlan, info: dict[str, Any], database_id: str, timeout_s: float
) -> StreamState:
    """One that merely differs, and cannot be changed, is used as it is."""
    config = info["config"]
    wanted = config | plan.limits | {"metadata": config.get("metadata", {}) | {OWNER: database_id}}
    if wanted == config:
        return _state(client, info)
    try:
        return _state(client, await call_api(client, f"STREAM.UPDATE.{plan.name}", wanted, timeout_s))
    except (NotAllowedError, JetStreamError) as error:
        differing = [f"{name} is {config.get(name)}, not {value}" for name, value in plan.limits.items()
                     if config.get(name) != value] or ["it does not say whose it is"]  # fmt: skip
        return _state(client, info)._replace(left_alone=f"{', '.join(differing)}; {error}")


def _state(client: Client, info: Mapping[str, Any]) -> StreamState:
    config, state = info["config"], info["state"]
    name = config["name"]
    return StreamState(
        name=name,
        identity=f"{name}@{info['created']}",
        owner=_owner(config),
        first_sequence=state["first_seq"],
        last_sequence=state["last_seq"],
        messages=state["messages"],
        is_limited=any(config.get(limit, -1) > 0 for limit in ("max_msgs", "max_bytes")),
        age_max_s=config.get("max_age", 0) / _NANOSECONDS,
        message_bytes_max=_message_bytes_max(client, name, config),
    )


def _owner(config: Mapping[str, Any]) -> str:
    return str((config.get("metadata") or {}).get(OWNER, ""))


async def empty_stream(client: Client, stream: StreamState, timeout_s: float) -> None:
    """Delete all messages, and let their ids come again. The stream's consumers stay, and its sequence goes on.

    JetStream remembers ids for the duplicate window, and forgets them by a timer: so the window is made as short as
    can be (`ensure_stream` sets it back), until the newest id passes for new. More than once: nats-server sets the
    timer when the window changes, and may do so by the window of before.
    """
    last = {"seq": stream.last_sequence}
    newest = await get_message(client, stream.name, last, timeout_s) if stream.messages else None
    message_id = newest and header(newest, MESSAGE_ID)
    await purge_stream(client, stream.name, timeout_s)
    for tries in count():
        window_ns = DUPLICATE_WINDOW_MIN_NS + tries % 2
        await _set_duplicate_window(client, stream.name, window_ns, timeout_s)
        await asyncio.sleep(window_ns / _NANOSECONDS)
        if not (newest and message_id and await is_remembered(client, newest["subject"], message_id, timeout_s)):
            return


async def _set_duplicate_window(client: Client, name: str, window_ns: int, timeout_s: float) -> None:
    info = await call_api(client, f"STREAM.INFO.{name}", {}, timeout_s)
    await call_api(client, f"STREAM.UPDATE.{name}", info["config"] | {"duplicate_window": window_ns}, timeout_s)


async def is_remembered(client: Client, subject: str, message_id: str, timeout_s: float) -> bool:
    """Whether JetStream would drop a message with this id as a repeat; it takes none.

    This one expects to follow an id that never was. An expected sequence would hide the answer: nats-server 2.14 looks
    at it before the ids.
    """
    headers = {MESSAGE_ID: message_id, EXPECTED_ID: _NEVER_THE_LAST}
    try:
        answer = await request_json(client, subject, b"", headers, timeout_s)
    except DeposedError:
        return False
    return bool(answer.get("duplicate"))


def header(message: Mapping[str, Any], name: str) -> str | None:
    """One header of a message as the API gives it."""
    lines = b64decode(message.get("hdrs", "")).decode(errors="replace").split("\r\n")
    return next((line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: ")), None)


def _require_usable(plan: StreamPlan, config: Mapping[str, Any]) -> None:
    if config.get("subjects") != [plan.subject]:
        has = ", ".join(config.get("subjects") or ["none"])
        raise StreamRefusedError(
            f"stream {plan.name} exists with other subjects ({has} instead of {plan.subject}); it is left alone"
        )
    if config.get("persist_mode") == "async":
        raise StreamRefusedError(
            f"stream {plan.name} has persist_mode async, which acknowledges what is not written; make it anew without"
        )
    if config["retention"] != "limits":
        raise StreamRefusedError(
            f"stream {plan.name} has retention {config['retention']}, which loses what others must still read"
        )


def _message_bytes_max(client: Client, name: str, config: Mapping[str, Any]) -> int:
    limits = [client.max_payload, config.get("max_msg_size", -1)]
    least: int = min(limit for limit in limits if limit > 0)
    if least < MESSAGE_BYTES_MIN:
        raise StreamRefusedError(
            f"stream {name} takes messages of at most {least} bytes; {MESSAGE_BYTES_MIN} are needed"
        )
    return least


def _require_version(client: Client) -> None:
    version = client.connected_server_version
    if (version.major, version.minor) < SERVER_VERSION_MIN:
        wanted = ".".join(map(str, SERVER_VERSION_MIN))
        raise StreamRefusedError(f"nats-server {wanted} or later is needed, this is {version.major}.{version.minor}")
