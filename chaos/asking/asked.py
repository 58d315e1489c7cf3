"""One seed: a receiver that asks, an ESC that loses what it has to say, a walk of orders, the last sweep, the audit."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from chaos.asking import esc as escs
from chaos.asking.esc import Esc
from chaos.asking.truth import Compared, EscWorld, compare, world_of
from chaos.asking.walk import DEPLOYMENTS, Mishap, mishaps, walk
from chaos.audit import counted, logged
from chaos.plan import Plan
from chaos.process import Receiver, ReceiverFailedError
from chaos.run import calm, published
from chaos.stage import Connection, Stage, World
from esc_lab.emulator.endpoint_model import BASES
from esc_lab.simulator.delivery_faults import Faults
from receiver.embedded.child_process import free_port
from tests.support import auditor, feed
from tests.support.waiting import until

SOURCE = "lab"
WINDOW_S = 1.0
OVERDUE_S = 2.0
SETTLED_TIMEOUT_S = 60.0
ASKED_TIMEOUT_S = 120.0
"""Longer than the lease that a killed receiver leaves."""
ASKED_AGAIN_S = 1.0
UNSETTLED = "SELECT EXISTS (SELECT FROM operations WHERE state = 'OPEN')"
QUICK: Mapping[str, object] = {
    "reorder_window_s": WINDOW_S, "overdue_after_s": orjson.dumps({"default": OVERDUE_S}).decode(),
    "overdue_check_s": 0.3, "reconcile_every_s": 1, "reconcile_rate_per_s": 1_000, "reconcile_timeout_s": 1,
    "reconcile_confirm_s": 0.3, "reconcile_retry_s": 0.1, "reconcile_retry_max_s": 1, "reconcile_bytes_max": 1_000_000,
}  # fmt: skip
"""What takes hours takes seconds here."""


@dataclass(slots=True)
class Result:
    """What became of one seed."""

    seed: int
    mishaps: list[Mishap]
    findings: list[str] = field(default_factory=list)
    compared: Compared = field(default_factory=Compared)
    esc: EscWorld | None = None
    swept: list[dict[str, Any]] = field(default_factory=list)
    """What the last sweep told."""
    took_s: float = 0.0


async def run(world: World, seed: int, lost: float, folder: Path) -> Result:
    """The run of a seed; `folder` keeps what the processes leave."""
    started_s, result, port = time.monotonic(), Result(seed, mishaps(seed)), free_port()
    url = f"http://127.0.0.1:{port}{BASES[0]}"
    sources = {"sources": orjson.dumps({SOURCE: {"esc": {"url": url}}}).decode()}
    stage = Stage(world, Plan(seed, 1, 0, 0, Faults(), {**QUICK, **sources}), folder)
    try:
        async with stage.set(), aiohttp.ClientSession() as session:
            (receiver,) = stage.receivers
            callbacks = f"{receiver.url}/esc/{SOURCE}"
            async with escs.running(port, seed, callbacks, folder / "esc.log") as esc:
                await receiver.start()
                await calm([receiver], session)
                await walk(esc, receiver, seed, lost, result.mishaps)
                await _settled(stage, esc, receiver, session)
                result.swept = await last_sweep(receiver, session)
                await published(stage)
                await _compared(stage, esc, result)
            await receiver.stop()
            result.findings += await _audited(stage)
    except (ReceiverFailedError, ExceptionGroup, TimeoutError, aiohttp.ClientError) as error:
        result.findings.append(f"run: {''.join(traceback.format_exception(error))[-1_500:]}")
    result.took_s = time.monotonic() - started_s
    return result


async def _settled(stage: Stage, esc: Esc, receiver: Receiver, session: aiohttp.ClientSession) -> None:
    """ESC says nothing any more, and each operation has ended or is overdue."""
    await esc.idle()
    await esc.make("faults", {}, "DELETE")
    await calm([receiver], session)
    await asyncio.sleep(WINDOW_S + OVERDUE_S)
    async with stage.connection() as connection:
        await until(partial(_none_is_open, connection), SETTLED_TIMEOUT_S)


async def _none_is_open(connection: Connection) -> bool:
    return not await connection.fetchval(UNSETTLED)


async def last_sweep(receiver: Receiver, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """All that it tells; a person says yes where more is gone than is believed."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(ASKED_TIMEOUT_S):
        while not events or any(event["event"] == "trouble" for event in events):
            if events:  # somebody asks already
                await asyncio.sleep(ASKED_AGAIN_S)
            events = await _sweep(receiver, session, {})
    if any(event["event"] == "missing" for event in events):
        events += await _sweep(receiver, session, {"yes": True})
    return events


async def _sweep(
    receiver: Receiver, session: aiohttp.ClientSession, order: Mapping[str, object]
) -> list[dict[str, Any]]:
    async with session.post(f"{receiver.url}/api/v1/reconcile", json=order) as answer:
        answer.raise_for_status()
        return [orjson.loads(line) for line in (await answer.read()).splitlines()]


async def _compared(stage: Stage, esc: Esc, result: Result) -> None:
    result.esc = await world_of(esc)
    async with stage.connection() as connection:
        result.compared = await compare(connection, result.esc)
        result.findings += result.compared.findings
        if result.compared.deployments < DEPLOYMENTS // 2:
            result.findings.append(
                f"only {result.compared.deployments} of {DEPLOYMENTS} deployments are there to compare"
            )
        if result.findings:
            await connection.copy_from_query(
                "SELECT * FROM transitions ORDER BY xid, position", output=stage.folder / "transitions.csv",
                format="csv", header=True,
            )  # fmt: skip
            (stage.folder / "esc.json").write_bytes(
                orjson.dumps([result.esc.deployments, result.esc.operations, result.swept], option=orjson.OPT_INDENT_2)
            )


async def _audited(stage: Stage) -> list[str]:
    """The ledger, the feed and the counts, as after every run of `chaos`."""
    findings: list[str] = []

    async def look(name: str, check: Awaitable[None]) -> None:
        try:
            await check
        except AssertionError as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            findings.append(f"{name}: {error} [{last.name}:{last.lineno}: {last.line}]"[:1_500])

    async with stage.connection() as connection:
        messages = await auditor.published(connection, stage.nats_url)
        items = await feed.items(stage.nats_url)
        await look("ledger", auditor.assert_ledger_is_whole(connection))
        await look("feed", auditor.assert_feed_equals_ledger(connection, messages))
        await look("bucket", auditor.assert_bucket_follows(connection, messages, items))
        stored = await connection.fetchval("SELECT count(*) FROM callbacks WHERE channel <> 'reconcile'")
    return [*findings, *counted(stage.receivers, stored), *logged(stage.receivers)]
