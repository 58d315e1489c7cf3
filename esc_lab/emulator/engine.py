"""Runs work at ESC's pace: each message, when it is due, changes the world, is stored, and is sent.

The only file with a clock. It must not know what the work is, nor HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import structlog

from esc_lab.emulator.delivery_queue import Deliveries
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.healing import die
from esc_lab.emulator.refusal import RefusalError
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.world_store import Store

log = structlog.get_logger()

KEPT_MAX = 1000
LOST, INTERRUPTED = "LOST", "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation really ended, whoever was told: LOST with a failover, INTERRUPTED by an undeploy."""

    transaction: str
    kind: str
    deployment: str
    incarnation: int
    """Of the deployment; 0: it is about none."""
    outcome: str
    told: bool
    """Whether ESC came to its last callback, lost on its way or not."""


@dataclass(slots=True)
class Engine:
    """All work in progress, one of each key at a time."""

    esc: Esc
    deliveries: Deliveries
    store: Store
    time_scale: float
    """1: ESC's own pace; 0: no pauses."""
    ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    """The last operations that did."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _left: dict[str, tuple[Work, int]] = field(default_factory=dict)
    """Of work in progress, and how many of its messages are told."""
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @property
    def in_progress(self) -> int:
        """How much work is in progress."""
        return len(self._tasks)

    def start(self, work: Work) -> None:
        """Its key was claimed by `Esc.claim`."""
        if work.interrupts and work.key in self._tasks:
            self._tasks[work.key].cancel()
            self._note(self._left[work.key][0], INTERRUPTED, told=False)
        self.save()
        self._left[work.key] = work, 0
        self._tasks[work.key] = asyncio.create_task(self._run(work))
        self._idle.clear()

    def save(self) -> None:
        """Stores what a request has changed."""
        self.store.save(self.esc.world)

    async def lose_all(self, *, done: bool = False) -> None:
        """Work in progress ends where it stands (docs/esc-callbacks.md#RN10: "lost or suspended").

        `done`: it had been done, and only nobody is told.
        """
        tasks, left = dict(self._tasks), list(self._left.values())
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
        for work, told in left:
            self._release(work, tasks[work.key])  # one that had not begun yet does not do it itself
            for message in work.operation.messages[told:] if done else ():
                work.apply(message)
            if done:
                work.finish()
            self._note(work, work.operation.outcome if done else LOST, told=False)
        self.save()

    async def idle(self) -> None:
        """Until nothing is in progress and everything is sent."""
        await self._idle.wait()
        await self.deliveries.settled()

    async def _run(self, work: Work) -> None:
        queue = self.deliveries.queue(work)
        last = len(work.operation.messages) - 1
        try:
            for position, message in enumerate(work.operation.messages):
                await asyncio.sleep(message.pause_s * self.time_scale)
                work.apply(message)
                self._left[work.key] = work, position + 1
                if position == last:
                    # Whoever receives the last message may ask at once, or request the next operation.
                    work.finish()
                    self._note(work, work.operation.outcome, told=True)
                    self._release(work, asyncio.current_task())
                self.save()
                queue.add(position, message)
        finally:
            queue.close()
            self._release(work, asyncio.current_task())
        self._inject_vm_death(work)

    def _note(self, work: Work, outcome: str, *, told: bool) -> None:
        operation = work.operation
        _, deployment, incarnation = operation.deployment or ("", "", 0)
        self.ended.append(
            Ended(operation.transaction, operation.kind, str(deployment), int(incarnation), outcome, told)
        )

    def _release(self, work: Work, task: asyncio.Task[None] | None) -> None:
        if self._tasks.get(work.key) is task:
            del self._tasks[work.key]
            self._left.pop(work.key, None)
            self.esc.world.in_progress.discard(work.key)
            if not self._tasks:
                self._idle.set()

    def _inject_vm_death(self, work: Work) -> None:
        """The fault `vm-dies`: a monitored VM of a deployment that has just become active."""
        operation = work.operation
        if operation.kind != "deploy" or operation.deployment is None or operation.outcome != "SUCCEEDED":
            return
        record = self.esc.world.deployments.get(str(operation.deployment[1]))
        self.esc.reseed(operation.transaction)
        monitored = [vm.name for vm in record.deployment.live_vms() if vm.monitored] if record else []
        if monitored and self.esc.fault("vm-dies"):
            try:
                self.start(die(self.esc, monitored[0]))
            except RefusalError as refusal:
                self.esc.release_claim()
                log.info("vm-dies does not apply", reason=str(refusal))
