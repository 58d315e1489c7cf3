"""A receiver that asks an emulated ESC, without the rest of the service: what it heard was received an hour ago."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from receiver.config.settings import Settings
from receiver.lifecycle import Windows
from receiver.model.envelope import Clock, Envelope, read_head
from receiver.model.notification import Channel
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import read
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.reconcile.answer_store import AnswerStore
from receiver.reconcile.reconciler import Reconciler
from receiver.reconcile.sweep import Event, Wanted
from tests.support.batches import UNHURRIED, keeping
from tests.support.emulator import BASE, TENANT, Heard, Orchestrator, model

QUICK = {"reconcile_rate_per_s": 1_000, "reconcile_confirm_s": 0, "reconcile_retry_s": 0.01}


@dataclass
class AskingReceiver:
    """With its database, on which it is looked directly."""

    reconciler: Reconciler
    settings: Settings
    metrics: Metrics
    connection: asyncpg.Connection[asyncpg.Record]

    async def ask(self, **wanted: Any) -> list[Event]:
        """One sweep: all that it tells."""
        return [event async for event in self.reconciler.sweep("lab", Wanted(**wanted))]

    async def trouble(self) -> str:
        """Why a sweep could not be made; nothing has changed then."""
        before = await self.states()
        (event,) = await self.ask()
        assert event["event"] == "trouble", event
        assert await self.states() == before
        return str(event["reason"])

    async def states(self) -> dict[str, str]:
        """Of everything, by what it is and its name."""
        rows = await self.connection.fetch(
            "SELECT 'd ' || internal_deployment_id AS name, state FROM deployments WHERE current UNION ALL "
            "SELECT 'v ' || vm_name, state FROM vms UNION ALL SELECT 'o ' || kind, state FROM operations"
        )
        return {row["name"]: row["state"] for row in rows}


@asynccontextmanager
async def asking_receiver(
    dsn: str, is_behind: Callable[[], bool] = lambda: False, **settings: Any
) -> AsyncIterator[AskingReceiver]:
    """One whose source `lab` is told how to ask with `esc`."""
    esc = settings.pop("esc")
    chosen = Settings.model_validate(
        {"postgres_dsn": dsn, "sources": {"lab": {"esc": esc}}} | UNHURRIED | QUICK | settings
    )
    metrics = Metrics(chosen.all_sources)
    database = Database(chosen, metrics)
    await database.open()
    connection = await asyncpg.connect(dsn)
    try:
        store = AnswerStore(database, Store(Windows()), Partitions(chosen), chosen, metrics)
        yield AskingReceiver(Reconciler(store, chosen, metrics, is_behind), chosen, metrics, connection)
    finally:
        await connection.close()
        await database.close()


async def hear(dsn: str, heard: Sequence[Heard], ago: timedelta = timedelta(hours=1)) -> None:
    """These callbacks of source `lab` were received so long ago."""
    clock, began = Clock(), datetime.now(UTC) - ago
    callbacks = []
    for number, one in enumerate(heard):
        head = read_head(((name.encode(), value.encode()) for name, value in one.headers.items()), 2**31)
        callbacks.append(
            read(
                Envelope.of(
                    head, receipt=clock.stamp()[1], received_at=began + timedelta(seconds=number / 100), source="lab",
                    channel=Channel.CALLBACK, remote=None, ref=None, body=one.body, redacted=False,
                ),
                64,
            )
        )  # fmt: skip
    async with keeping(dsn) as writer:
        for callback in callbacks:
            await writer.write([callback])


async def deploy(client: Orchestrator, *names: str) -> list[Heard]:
    """Deployments of two VMs, and all that was heard of them."""
    await client.ask("POST", "/v0/tenants/acme", TENANT)
    await client.done()
    for name in names:
        answer = await client.ask("POST", f"/v0/deployments/{name}", model(name, {"web": {"vms": 2}}))
        assert answer.status == 200, answer.text
    return await client.done()


def esc_of(client: Orchestrator, **more: Any) -> dict[str, Any]:
    """How to ask it."""
    return {"url": f"{client.emulator.url}{BASE}", **more}


async def arm(client: Orchestrator, fault: str, times: int = 1) -> None:
    """The next answers go wrong so."""
    await client.ask("POST", "/emulator/faults", f'{{"next": {{"{fault}": {times}}}, "delay_s": 2}}')
