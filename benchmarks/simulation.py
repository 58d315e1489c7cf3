"""Workers, group commit and PostgreSQL, simulated: where the rate ends on machines that are not here.

A worker is one thread; it judges what waits as one group, and at most two of its groups are with PostgreSQL at once.
PostgreSQL writes a group with one of its processes and is answered by the disk, which is forced once for all who wait.
One worker is the relay too. What each step takes of a processor comes from measured points (`Costs.of`): a part for
each callback and a part for each group. Must not know what the curve is drawn with.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

GROUP_MAX = 256
GROUPS_AT_ONCE = 2
SLICE_S = 0.003
"""So long a thread keeps a processor while others wait, as on Linux."""
Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time in seconds, of a callback and of a group; and how long the disk takes."""

    receiver: float
    receiver_group: float
    postgres: float
    postgres_group: float
    nats: float
    relay: float
    sync: float

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Costs:
        """The straight lines through the first two points; the third is left to be foretold."""
        few = measured["points"][:2]
        receiver, receiver_group = _line([(1 / one["group"], one["receiver_us"]) for one in few])
        postgres, postgres_group = _line([(1 / one["group"], one["postgres_us"]) for one in few])
        relay = 1e6 / measured["relay_messages_per_s"] / 2  # it waits for NATS and PostgreSQL half of that time
        return cls(
            receiver=(receiver - relay) / 1e6,
            receiver_group=receiver_group / 1e6,
            postgres=postgres / 1e6,
            postgres_group=postgres_group / 1e6,
            nats=_mean([one["nats_us"] for one in few]) / 1e6,
            relay=relay / 1e6,
            sync=_mean([one["sync_s"] for one in few]),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """What is simulated."""

    workers: int
    processors: int
    connections: int
    """Each sends its next callback when the one before is answered."""
    others: float = 0.0
    """Part of the processors that somebody else uses."""
    load: float = 0.0
    """Processor time of the sender for a callback, where it stands on the same machine."""
    turns: int = 10
    """How often each connection is answered while it is measured, on the average; and a fifth as often before."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What came of it."""

    rate: float
    group: float


@dataclass(slots=True)
class _Thread:
    """Does one thing at a time, and has used so much of a processor: who has used least is next."""

    free: simpy.Resource
    used_us: int = 0


@dataclass(slots=True)
class _Worker:
    thread: _Thread
    backends: list[_Thread]
    """PostgreSQL's processes for it, one for each group."""
    slots: simpy.Resource
    waiting: list[simpy.Event] = field(default_factory=list)
    collecting: bool = False


class Simulation:
    """One run of one site."""

    def __init__(self, site: Site, costs: Costs) -> None:
        self._site = site
        self._costs = costs
        self._world = simpy.Environment()
        left = site.processors * (1 - site.others)
        self._processors = simpy.PriorityResource(self._world, math.ceil(left))
        self._slower = math.ceil(left) / left
        self._least_used_us = 0
        self._sender, self._nats = self._thread(), self._thread()
        self._relay = simpy.Resource(self._world, 1)
        self._disk = simpy.Resource(self._world, 1)
        self._syncing: list[simpy.Event] = []
        self._groups: list[int] = []
        self._answered = 0
        self._turns = site.turns * site.connections
        self._warm, self._enough = self._world.event(), self._world.event()
        self._workers = [
            _Worker(
                self._thread(),
                [self._thread() for _ in range(GROUPS_AT_ONCE)],
                simpy.Resource(self._world, GROUPS_AT_ONCE),
            )
            for _ in range(site.workers)
        ]

    def run(self) -> Foretold:
        """Until so many callbacks are answered."""
        for number in range(self._site.connections):
            self._world.process(self._connection(self._workers[number % len(self._workers)]))
        self._world.run(self._warm)
        began, groups, before = self._world.now, len(self._groups), self._answered
        self._world.run(self._enough)
        answered = self._answered - before
        return Foretold(answered / (self._world.now - began), answered / max(1, len(self._groups) - groups))

    def _connection(self, worker: _Worker) -> Steps:
        costs = self._costs
        while True:
            if self._site.load:
                yield from self._work(self._sender, self._site.load)
            yield from self._work(worker.thread, costs.receiver / 2)
            committed = self._world.event()
            worker.waiting.append(committed)
            if not worker.collecting:
                worker.collecting = True
                self._world.process(self._collect(worker))
            yield committed
            self._answered += 1
            if self._answered == self._turns // 5:
                self._warm.succeed()
            if self._answered == self._turns * 6 // 5:
                self._enough.succeed()

    def _collect(self, worker: _Worker) -> Steps:
        """Takes what waits, whenever a group may be begun."""
        while worker.waiting:
            slot = worker.slots.request()
            yield slot
            with worker.thread.free.request() as turn:  # what came before has been read by then
                yield turn
                group, worker.waiting = worker.waiting[:GROUP_MAX], worker.waiting[GROUP_MAX:]
                seconds = self._costs.receiver_group + len(group) * self._costs.receiver / 2
                yield from self._use(worker.thread, seconds)
            self._world.process(self._commit(worker, slot, group))
        worker.collecting = False

    def _commit(self, worker: _Worker, slot: Any, group: Sequence[simpy.Event]) -> Steps:
        costs, number = self._costs, len(group)
        backend = worker.backends[0] if worker.backends[0].free.count == 0 else worker.backends[1]
        yield from self._work(backend, costs.postgres_group + number * costs.postgres)
        yield from self._forced()
        worker.slots.release(slot)
        self._groups.append(number)
        for committed in group:
            committed.succeed()
        self._world.process(self._publish(number))

    def _forced(self) -> Steps:
        """Whoever comes while the disk is busy is served with the next turn, all together."""
        done = self._world.event()
        self._syncing.append(done)
        with self._disk.request() as turn:
            yield turn
            if not done.triggered:
                served, self._syncing = self._syncing, []
                yield self._world.timeout(self._costs.sync)
                for one in served:
                    one.succeed()
        yield done

    def _publish(self, number: int) -> Steps:
        """By the first worker, and by NATS."""
        with self._relay.request() as turn:
            yield turn
            yield from self._work(self._workers[0].thread, number * self._costs.relay)
            yield from self._work(self._nats, number * self._costs.nats)

    def _thread(self) -> _Thread:
        return _Thread(simpy.Resource(self._world, 1))

    def _work(self, thread: _Thread, seconds: float) -> Steps:
        with thread.free.request() as turn:
            yield turn
            yield from self._use(thread, seconds)

    def _use(self, thread: _Thread, seconds: float) -> Steps:
        """A processor, slice by slice; whoever has slept has no claim to what it did not use then."""
        while seconds > 0:
            took = min(seconds, SLICE_S)
            used_us = max(thread.used_us, self._least_used_us)
            with self._processors.request(priority=used_us) as processor:
                yield processor
                self._least_used_us = max(self._least_used_us, used_us)
                yield self._world.timeout(took * self._slower)
            thread.used_us = used_us + round(1e6 * took)
            seconds -= took


def foretold(point: Mapping[str, Any], costs: Costs, processors: int) -> Foretold:
    """What the simulation says of a measured point."""
    site = Site(
        workers=int(point["workers"]), processors=processors, connections=int(point["connections"]),
        others=point["others"], load=point["load_us"] / 1e6,
    )  # fmt: skip
    return Simulation(site, costs).run()


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where it begins, and how it rises; level where it would fall."""
    (x1, y1), (x2, y2) = points
    rise = max(0.0, (y2 - y1) / (x2 - x1)) if x1 != x2 else 0.0
    return _mean([y1, y2]) - rise * _mean([x1, x2]), rise


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
