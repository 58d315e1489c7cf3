"""Lets work happen in its time: message by message, each heard by the world, kept, and sent.

The only file with a clock. It must not know what the work is, nor HTTP.
"""

from __future__ import annotations

import asyncio

import structlog

from esc_lab.emulator.delivery_queue import Deliveries
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.healing import die
from esc_lab.emulator.refusal import RefusalError
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.world_store import Store

log = structlog.get_logger()


class Engine:
    """All work under way, one of each line at a time."""

    def __init__(self, esc: Esc, deliveries: Deliveries, store: Store, time_scale: float) -> None:
        """`time_scale` 1: ESC's own pace; 0: no pauses."""
        self._esc = esc
        self._deliveries = deliveries
        self._store = store
        self._time_scale = time_scale
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """How much work is going on."""
        return len(self._tasks)

    def start(self, work: Work) -> None:
        """Its line was claimed by `Esc.begin`."""
        if work.interrupts and work.line in self._tasks:
            self._tasks[work.line].cancel()
        self._store.keep(self._esc.world)
        self._tasks[work.line] = asyncio.create_task(self._run(work))
        self._idle.clear()

    def keep(self) -> None:
        """What a request has changed."""
        self._store.keep(self._esc.world)

    async def lose_all(self) -> None:
        """What is under way ends where it stands (docs/esc-callbacks.md#RN10: "lost or suspended")."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def idle(self) -> None:
        """Until nothing is going on and everything is sent."""
        await self._idle.wait()
        await self._deliveries.settled()

    async def _run(self, work: Work) -> None:
        course = self._deliveries.course(work)
        try:
            for position, message in enumerate(work.operation.messages):
                await asyncio.sleep(message.pause_s * self._time_scale)
                is_last = position == len(work.operation.messages) - 1
                work.hear(message)
                if is_last:
                    # Whoever hears the end may ask at once, or order the next work.
                    work.finish()
                    self._release(work)
                self._store.keep(self._esc.world)
                course.say(position, message)
        finally:
            course.close()
            self._release(work)
        self._perhaps_die(work)

    def _release(self, work: Work) -> None:
        if self._tasks.get(work.line) is asyncio.current_task():
            del self._tasks[work.line]
            self._esc.world.busy.discard(work.line)
            if not self._tasks:
                self._idle.set()

    def _perhaps_die(self, work: Work) -> None:
        """The fault `vm-dies`: one watched VM of a deployment that has just become active."""
        deployment = work.operation.deployment
        if work.operation.kind != "deploy" or deployment is None or work.operation.outcome != "SUCCEEDED":
            return
        placed = self._esc.world.deployments.get(str(deployment[1]))
        self._esc.turn_to(work.operation.transaction)
        watched = [vm.name for vm in placed.deployment.live_vms() if vm.monitored] if placed else []
        if watched and self._esc.faults.happens("vm-dies", self._esc.rng):
            try:
                self.start(die(self._esc, watched[0]))
            except RefusalError as refusal:
                self._esc.give_up()
                log.info("vm-dies has nobody to happen to", reason=str(refusal))
