"""What each fault does, and how it is undone. Which, when and how long comes from the plan.

A fault may find its victim already down by another one: then there is nothing to do, and `told` says so.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import aiohttp
import psutil

from chaos import outages, streams
from chaos.outages import DOWN, Strike
from chaos.plan import Event
from chaos.process import Receiver
from chaos.stage import Stage
from chaos.wire import Wire
from tests.support.waiting import until

CLOCK_BACK_S = (1, 60, 3_600, 172_800)


async def strike(stage: Stage, event: Event, session: aiohttp.ClientSession) -> None:
    """Wait for its time, do it, undo it."""
    await asyncio.sleep(event.at_s)
    stage.told.append(str(event))
    try:
        await STRIKES[event.fault](stage, event)
    except DOWN as error:
        stage.told.append(f"{event.fault} found it down: {type(error).__name__}")


# The receiver.


def _victim(stage: Stage, event: Event) -> Receiver:
    return stage.receivers[event.draw % len(stage.receivers)]


def _see_that_it_runs(receiver: Receiver) -> None:
    if not receiver.running:
        raise ConnectionRefusedError(receiver.name)


async def _kill_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        await receiver.kill()
        await asyncio.sleep(event.for_s / 4)
        await receiver.start()


async def _kill_draining(stage: Stage, event: Event) -> None:
    """As soon as it takes callbacks from its spool."""
    receiver = _victim(stage, event)
    async with aiohttp.ClientSession() as session:
        try:
            await until(partial(_is_draining, receiver, session), stage.plan.duration_s)
        except TimeoutError:
            stage.told.append("kill-draining saw no draining")
    await _kill_receiver(stage, event)


async def _is_draining(receiver: Receiver, session: aiohttp.ClientSession) -> bool:
    try:
        return (await receiver.metrics(session, 0.5))['mode{mode="draining"}'] == 1
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _freeze_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        _see_that_it_runs(receiver)
        receiver.signal_all(signal.SIGSTOP)
        await asyncio.sleep(event.for_s)
        receiver.signal_all(signal.SIGCONT)


async def _kill_worker(stage: Stage, event: Event) -> None:
    """One of several; the supervisor starts another."""
    workers = sorted(_victim(stage, event).workers(), key=lambda one: one.pid)
    if not workers:
        raise ConnectionRefusedError("no worker")
    with suppress(psutil.NoSuchProcess):
        workers[event.draw % len(workers)].kill()


async def _replace_workers(stage: Stage, event: Event) -> None:
    """As SIGHUP does; the supervisor itself goes on."""
    receiver = _victim(stage, event)
    if not receiver.workers():
        raise ConnectionRefusedError("no worker")
    receiver.signal(signal.SIGHUP)


async def _term_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        _see_that_it_runs(receiver)
        await receiver.stop()
        await receiver.start()


async def _one_of_two_killed(stage: Stage, event: Event) -> None:
    """It does not come back before the end."""
    receiver = stage.receivers[1]
    async with receiver.lock:
        await receiver.kill()
        await asyncio.sleep(event.for_s)


async def _clock_back(stage: Stage, event: Event) -> None:
    """By a second or by days, and later right again."""
    receiver = _victim(stage, event)
    if not receiver.clock.settable:
        stage.told.append("clock-back left out: libfaketime is not installed (Debian package faketime)")
        return
    by_s = CLOCK_BACK_S[event.draw % len(CLOCK_BACK_S)]
    stage.told.append(f"clock set back by {by_s} s")
    receiver.clock.set_back(by_s)
    await asyncio.sleep(event.for_s)
    receiver.clock.set_back(0)


# The wires.


def _on_wire(name: str, act: Callable[[Wire, Event], None], *, lasting: bool) -> Strike:
    async def do(stage: Stage, event: Event) -> None:
        wire: Wire = getattr(stage, name)
        act(wire, event)
        if lasting:
            await asyncio.sleep(event.for_s)
            wire.mend()

    return do


def _tear(wire: Wire, event: Event) -> None:
    wire.tear(event.draw % 20_000)


# The spool.


async def _spool_full(stage: Stage, event: Event) -> None:
    """Its ceiling is low from the start (`plan`)."""


async def _spool_disk_full(stage: Stage, event: Event) -> None:
    disk = stage.spool_disks[event.draw % len(stage.spool_disks)]
    if not disk.fillable:
        stage.told.append("spool-disk-full left out: no right to mount a small disk")
        return
    disk.fill()
    await asyncio.sleep(event.for_s)
    disk.free()


STRIKES: dict[str, Strike] = {
    "kill-receiver": _kill_receiver,
    "kill-draining": _kill_draining,
    "freeze-receiver": _freeze_receiver,
    "term-receiver": _term_receiver,
    "kill-worker": _kill_worker,
    "replace-workers": _replace_workers,
    "one-of-two-killed": _one_of_two_killed,
    "kill-postgres": outages.killer("postgres"),
    "crash-postgres": outages.crash_postgres,
    "freeze-postgres": outages.freezer("postgres"),
    "end-sessions": outages.end_sessions,
    "no-connections": outages.no_connections,
    "lock-table": outages.lock_table,
    "lock-rows": outages.lock_rows,
    "postgres-disk-full": outages.postgres_disk_full,
    "no-partitions": outages.no_partitions,
    "kill-nats": outages.killer("nats"),
    "empty-nats": outages.empty_nats,
    "freeze-nats": outages.freezer("nats"),
    "kill-nats-leader": outages.kill_nats_leader,
    "fail-over": outages.fail_over,
    "edit-stream": streams.edit_stream,
    "restart-edit-restart": streams.restart_edit_restart,
    "trim-stream": streams.trim_stream,
    "hole-in-stream": streams.hole_in_stream,
    "restore-stream": streams.restore_stream,
    "strangers-publish": streams.strangers_publish,
    "two-databases": streams.two_databases,
    "silent-host": outages.silent_host,
    "clock-back": _clock_back,
    "both-down": outages.both_down,
    "dark-start": outages.dark_start,
    "cut-postgres": _on_wire("to_postgres", lambda wire, _: wire.cut(), lasting=False),
    "tear-postgres": _on_wire("to_postgres", _tear, lasting=False),
    "stall-postgres": _on_wire("to_postgres", lambda wire, _: wire.stall(), lasting=True),
    "cut-nats": _on_wire("to_nats", lambda wire, _: wire.cut(), lasting=False),
    "tear-nats": _on_wire("to_nats", _tear, lasting=False),
    "stall-nats": _on_wire("to_nats", lambda wire, _: wire.stall(), lasting=True),
    "spool-full": _spool_full,
    "spool-disk-full": _spool_disk_full,
}
