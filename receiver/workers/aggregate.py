"""What all workers count and how they are, in one answer each.

Must not know how a worker is started or ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from receiver.config.settings import Settings
from receiver.observability.catalogue import Catalogue
from receiver.workers.line import LineError
from receiver.workers.readiness import Told, together
from receiver.workers.tally import Family, Report, Tally, figure, labelled
from receiver.workers.worker_process import State, WorkerProcess

WORKER_SHARE = 2
"""Of `readyz_timeout_s`: for what a worker says of itself, which takes all of it where something is silent, and
a moment more on a busy machine."""


@dataclass(slots=True)
class Place:
    """One of the `workers`, whoever is there now."""

    number: int
    worker: WorkerProcess
    restarts: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """For whoever puts another worker there."""


class Aggregate:
    """Of the workers at `places`, and of all that are or were `live`."""

    def __init__(
        self, places: Sequence[Place], live: Collection[WorkerProcess], tally: Tally, settings: Settings
    ) -> None:
        """`places` and `live` are the supervisor's own, which change; `tally` holds what ended workers counted."""
        self._places = places
        self._live = live
        self._tally = tally
        self._settings = settings

    async def families(self) -> list[Family]:
        """All figures, of all workers since the start."""
        await self._ask_reports()
        return self._tally.families(self._reports(), self._of_workers())

    def report(self) -> Report:
        """The same and the sums, as they were told last: not older than `worker_report_s`."""
        return Report(self._tally.families(self._reports()), self._tally.sums(self._reports()), {})

    async def fresh_report(self) -> Report:
        """The same, asked anew."""
        await self._ask_reports()
        return self.report()

    async def readiness(self) -> dict[str, Any]:
        """How all are, in one document (docs/reliability.md#workers)."""
        told = await asyncio.gather(*(self._told(place) for place in self._places))
        return together(told)

    def _reports(self) -> Iterator[Report]:
        return (worker.last for worker in self._live if worker.last)

    async def _ask_reports(self) -> None:
        """Who does not answer in time counts with what it said last."""
        asked = (worker.report(self._settings.ping_timeout_s) for worker in self._live if worker.last)
        for failure in await asyncio.gather(*asked, return_exceptions=True):
            if failure and not isinstance(failure, (LineError, TimeoutError)):
                raise failure

    def _of_workers(self) -> Iterator[Family]:
        places = {(str(place.number),): place for place in self._places}
        yield labelled(Catalogue.worker_up, {key: place.worker.state is State.SERVING for key, place in places.items()})
        yield labelled(Catalogue.worker_restarts, {key: place.restarts for key, place in places.items()})
        for definition, name in (
            (Catalogue.worker_received_callbacks, Catalogue.received.series),
            (Catalogue.worker_cpu_seconds, "process_cpu_seconds_total"),
            (Catalogue.worker_resident_bytes, "process_resident_memory_bytes"),
        ):
            yield labelled(definition, {key: figure(place.worker.last, name) for key, place in places.items()})

    async def _told(self, place: Place) -> Told:
        worker, said = place.worker, None
        if worker.state is not State.STARTING:
            with suppress(LineError, TimeoutError):
                said = await worker.ask("readiness", timeout_s=WORKER_SHARE * self._settings.readyz_timeout_s)
        return Told(
            place.number, worker.state if worker in self._live else "restarting", worker.pid, place.restarts, said
        )
