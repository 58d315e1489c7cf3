"""What is done to the feed's stream by its owner, by an accident, and by strangers.

All of it goes past the wires, straight to nats-server. What a strike takes out of the stream is remembered
(`Stage.taken`), so that the audit knows what had to be mended. Which, when and how long comes from the plan.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import nats
import orjson
from nats.aio.client import Client

from chaos.plan import STRANGERS, Event
from chaos.process import Receiver, ReceiverFailedError
from chaos.stage import Stage
from tests.support import feed
from tests.support.waiting import until

FEED = "ESC"
API_TIMEOUT_S = 2.0
TAKEN_MAX = 40
"""Most messages that are taken from the stream at once."""
TOLD_TIMEOUT_S = 30.0


@asynccontextmanager
async def _administrator(stage: Stage) -> AsyncIterator[Client]:
    client = await nats.connect(
        stage.world.nats.url, connect_timeout=2, max_reconnect_attempts=0, allow_reconnect=False, error_cb=_hush
    )
    try:
        yield client
    finally:
        await client.close()


async def _hush(_: Exception) -> None:
    """It is raised, too."""


async def _api(client: Client, verb: str, request: Any = None) -> Any:
    """Raises OSError when JetStream refuses it: then there is nothing to strike at."""
    reply = await client.request(f"$JS.API.{verb}", orjson.dumps(request or {}), timeout=API_TIMEOUT_S)
    answer = orjson.loads(reply.data)
    if "error" in answer:
        raise OSError(answer["error"]["description"])
    return answer


async def _edit(stage: Stage) -> None:
    """As an administrator does who writes back what he read."""
    async with _administrator(stage) as client:
        config = (await _api(client, f"STREAM.INFO.{FEED}"))["config"]
        config["description"] = f"edited {uuid4()}"
        await _api(client, f"STREAM.UPDATE.{FEED}", config)


async def edit_stream(stage: Stage, event: Event) -> None:
    """Once, with nothing else about it."""
    async with stage.world.locks["nats"]:
        await _edit(stage)


async def restart_edit_restart(stage: Stage, event: Event) -> None:
    """Then nats-server 2.14.0 reports another time of creation."""
    async with stage.world.locks["nats"]:
        for step in (_restart, _edit, _restart):
            await step(stage)
            await asyncio.sleep(event.for_s / 4)


async def _restart(stage: Stage) -> None:
    await stage.world.nats.stop()
    await stage.world.nats.start()


async def trim_stream(stage: Stage, event: Event) -> None:
    """Its last messages are removed while no receiver reaches it."""
    async with stage.world.locks["nats"]:
        stage.to_nats.stall()
        try:
            await _take(stage, lambda sequences: sequences[-(1 + event.draw % TAKEN_MAX) :])
        finally:
            stage.to_nats.cut()
            stage.to_nats.mend()


async def hole_in_stream(stage: Stage, event: Event) -> None:
    """Some of its messages are gone from anywhere, and nobody says so."""
    step = 1 + event.draw % 7
    async with stage.world.locks["nats"]:
        taken = await _take(stage, lambda sequences: sequences[:: -1 - step][:TAKEN_MAX])
        stage.out_of_order |= set(taken)


async def _take(stage: Stage, choice: Any) -> list[str]:
    messages = [one for one in await feed.stored(stage.world.nats.url) if not one.subject.startswith(STRANGERS)]
    chosen = set(choice([one.sequence for one in messages]))
    unmarked = await _unmarked(stage)
    taken = [str(one.id) for one in messages if one.sequence in chosen and str(one.id) not in unmarked]
    async with _administrator(stage) as client:
        for sequence in sorted(chosen):
            await _api(client, f"STREAM.MSG.DELETE.{FEED}", {"seq": sequence})
    stage.taken += taken
    stage.told.append(f"{len(taken)} messages taken from the stream")
    return taken


async def restore_stream(stage: Stage, event: Event) -> None:
    """Its store is replaced by a copy of it that was made before."""
    server, copy = stage.world.nats, stage.folder / "older"
    store = server.folder / "jetstream"
    async with stage.world.locks["nats"]:
        await server.stop()
        shutil.copytree(store, copy)
        await server.start()
    await asyncio.sleep(event.for_s)
    async with stage.world.locks["nats"]:
        unmarked, before = await _unmarked(stage), await _ids(stage)
        await server.stop()
        shutil.rmtree(store)
        shutil.copytree(copy, store)
        await server.start()
        lost = before - await _ids(stage) - unmarked
    stage.taken += lost
    stage.told.append(f"{len(lost)} messages were not in the older copy")


async def _unmarked(stage: Stage) -> set[str]:
    """What no relay has heard the acknowledgement of: it is published again in any case."""
    async with stage.connection() as connection:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM outbox")}


async def _ids(stage: Stage) -> set[str]:
    messages = await feed.stored(stage.world.nats.url)
    return {str(one.id) for one in messages if not one.subject.startswith(STRANGERS)}


async def strangers_publish(stage: Stage, event: Event) -> None:
    """Somebody else, to the feed's stream, again and again."""
    until_s, sent = asyncio.get_running_loop().time() + event.for_s, 0
    async with _administrator(stage) as client:
        while asyncio.get_running_loop().time() < until_s:
            headers = {"Nats-Msg-Id": str(uuid4())} if event.draw % 2 else None
            await client.jetstream(timeout=API_TIMEOUT_S).publish(f"{STRANGERS}x", b"theirs", headers=headers)
            sent += 1
            await asyncio.sleep(0.01)
    stage.told.append(f"{sent} messages of a stranger")


async def two_databases(stage: Stage, event: Event) -> None:
    """A receiver with another database finds the stream, or its subjects, taken; and says so."""
    other = stage.other
    assert other is not None  # as planned
    await other.start()
    try:
        await until(partial(_says_that_it_is_taken, other), TOLD_TIMEOUT_S)
    except TimeoutError:
        raise ReceiverFailedError(f"{other.name} never said that the feed is another's: {other.last_words()}") from None
    await asyncio.sleep(event.for_s)
    await other.stop()


async def _says_that_it_is_taken(receiver: Receiver) -> bool:
    return any("belongs to" in str(line.get("why")) for line in receiver.log_lines())
