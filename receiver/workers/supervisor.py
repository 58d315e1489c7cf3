"""The supervisor: holds the port, and keeps a worker at each place. What all of them say is `aggregate`'s.

Must not know callbacks, PostgreSQL or NATS: it runs none of the service itself, so that nothing there can take it down.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import suppress
from typing import Any

import structlog

from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.observability.logs import at_any_level
from receiver.workers.aggregate import Aggregate, Place
from receiver.workers.line import LineError
from receiver.workers.listeners import Listeners, listen
from receiver.workers.tally import Family, Report, Tally
from receiver.workers.worker_process import Command, State, WorkerProcess

FIRST_PAUSE_S = 0.5
DOUBLINGS_MAX = 64
"""Far beyond any pause that is allowed; without a bound the number itself grows too large."""
POLL_S = 0.1
STAGES_OF_STOPPING = 3
"""Each takes `stop_timeout_s` at most: requests, what waits for a transaction, tasks."""

log = structlog.get_logger()


def restart_pause_s(deaths: int, most_s: float) -> float:
    """Before a worker is started again that has died so often: none at first, then longer and longer."""
    return 0.0 if deaths == 1 else min(most_s, FIRST_PAUSE_S * 2.0 ** min(deaths - 2, DOUBLINGS_MAX))


class Supervisor:
    """`start`, then `run`, then `stop`; as with one receiver (`receiver.app.App`)."""

    def __init__(self, settings: Settings, workers: int, command: Command) -> None:
        self.settings = settings
        self._workers = workers
        self._command = command
        self._listeners: Listeners
        self._places: list[Place] = []
        self._live: set[WorkerProcess] = set()
        """Those whose end is not yet in the tally."""
        self._tally = Tally()
        self._aggregate = Aggregate(self._places, self._live, self._tally, settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()
        self._log_lock = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop

    async def start(self) -> None:
        """Serve. Raises SetupError when the port cannot be had, or when a worker cannot be started."""
        self._listeners = listen(self.settings, self._workers)
        try:
            for number in range(1, self._workers + 1):
                self._places.append(Place(number, await self._spawn(number)))
            await asyncio.gather(*(self._see_started(place) for place in self._places))
        except asyncio.CancelledError:  # told to stop; who has started may have taken callbacks
            await self._end_and_tell()
            raise
        except BaseException:
            await self._end_all()
            raise
        for place in self._places:
            self._start_task(self._keep(place), f"worker {place.number}")
        log.info("serving", url=self.url, **self._apart(), workers=self._workers)

    @property
    def url(self) -> str:
        """Where callbacks are posted."""
        return next(place.worker.url for place in self._places if place.worker.url)

    @property
    def admin_url(self) -> str:
        """Where API, board and metrics are."""
        return next(place.worker.admin_url for place in self._places if place.worker.admin_url)

    def _apart(self) -> dict[str, str]:
        return {"admin_url": self.admin_url} if self._listeners.admin else {}

    def report(self) -> Report:
        """What all counted, as it was told last: not older than `worker_report_s`."""
        return self._aggregate.report()

    async def fresh_report(self) -> Report:
        """The same, asked anew."""
        return await self._aggregate.fresh_report()

    async def until_ready(self) -> None:
        """Until callbacks can be kept by all workers."""
        while not (await self._aggregate.readiness())["ready"]:  # noqa: ASYNC110  # workers say it when they are asked
            await asyncio.sleep(POLL_S)

    async def run(self) -> None:
        """Until cancelled; or until a bug of ours ends one of the tasks: then its error is raised."""
        while True:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def stop(self) -> None:
        """Take nothing more, have all finish what they took, and log the sums. Harmless when it is stopped."""
        if self._places:
            await self._end_and_tell()

    async def _end_and_tell(self) -> None:
        await self._end_all()
        at_any_level().info("stopped", workers=self._workers, **self._tally.sums([]))

    @property
    def _stopping_s(self) -> float:
        return STAGES_OF_STOPPING * self.settings.stop_timeout_s

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self._live:
            worker.signal(signal.SIGKILL)

    # Replacing all, one after the other.

    def replace_all(self) -> None:
        """Put new workers in the place of all, without refusing anybody; a second call while it goes on does nothing.

        They read settings, certificates and the program anew.
        """
        if not self._replacing.locked():
            self._start_task(self._replace_all(), "replace all")

    async def _replace_all(self) -> None:
        async with self._replacing:
            log.info("all workers are replaced, one after the other")
            for place in self._places:
                if not await self._replace(place):
                    return
            log.info("all workers were replaced")

    async def _replace(self, place: Place) -> bool:
        async with place.lock:
            new = await self._spawn(place.number)
            if not await new.until_serving(self.settings.worker_silence_s):
                log.error("a new worker does not serve; the others stay as they are", worker=place.number)
                new.signal(signal.SIGKILL)
                self._account(new, await new.ended())
                return False
            old, place.worker = place.worker, new
            await old.leave(self.settings.worker_linger_s + self._stopping_s)
            status = await old.ended()
            if status:
                log.error("a worker has died while it left", worker=place.number, process=old.pid, status=status)
            self._account(old, status)
            return True

    # Keeping them.

    async def _see_started(self, place: Place) -> None:
        """One that is killed meanwhile is started again, as at any time; one that ends by itself is a SetupError."""
        deaths = 0
        while not await place.worker.until_serving(self.settings.worker_silence_s):
            if not place.worker.was_killed:
                raise SetupError(f"worker {place.number} did not start")
            deaths += 1
            await self._start_again(place, await place.worker.ended(), deaths)

    async def _keep(self, place: Place) -> None:
        """Start another whenever the one at this place has ended without being told to."""
        deaths = 0
        while True:
            worker, began_s = place.worker, asyncio.get_running_loop().time()
            status = await worker.ended()
            lived_s = asyncio.get_running_loop().time() - began_s
            async with place.lock:
                if place.worker is not worker:
                    continue
                deaths = 1 if lived_s >= self.settings.worker_steady_s else deaths + 1
                await self._start_again(place, status, deaths)

    async def _start_again(self, place: Place, status: int, deaths: int) -> None:
        pause_s = restart_pause_s(deaths, self.settings.worker_restart_max_s)
        if pause_s:  # at once: what waits in a socket when it is left is cut
            self._listeners.leave(place.number)
        self._account(place.worker, status)
        log.error(
            "a worker has died; it is started again",
            worker=place.number, process=place.worker.pid, status=status, pause_s=pause_s,
        )  # fmt: skip
        place.restarts += 1
        await self._pause(place, pause_s)
        place.worker = await self._spawn(place.number)

    async def _pause(self, place: Place, pause_s: float) -> None:
        """Meanwhile the others get what would come to this place. Without one it waits for the next worker."""
        if pause_s:
            await asyncio.sleep(pause_s)
            self._listeners.take_again(place.number)

    async def _spawn(self, number: int) -> WorkerProcess:
        worker = await WorkerProcess.spawn(
            number, self._command, self._listeners.of(number), workers=self._workers, log_lock=self._log_lock.fileno(),
            admin_listeners=self._listeners.admin,
        )  # fmt: skip
        self._live.add(worker)
        await worker.connect(
            {"families": self._families, "readiness": self._readiness, "end_session": self._end_session}
        )
        self._start_task(self._hear(worker), f"reports of worker {number}")
        return worker

    async def _hear(self, worker: WorkerProcess) -> None:
        """Have its figures at hand for when it is killed; kill it when it is silent for too long."""
        silence_s = self.settings.worker_silence_s
        with suppress(LineError):
            while worker in self._live:
                try:
                    await worker.report(silence_s)
                except TimeoutError:
                    log.error("a worker is silent; it is killed", worker=worker.number)  # noqa: TRY400 - one line says it
                    worker.signal(signal.SIGKILL)
                    return
                await asyncio.sleep(self.settings.worker_report_s)

    def _account(self, worker: WorkerProcess, status: int) -> None:
        """It has ended: what it counted stays."""
        if worker in self._live:
            self._live.discard(worker)
            if worker.last:
                self._tally.end(worker.last)
            log.debug("a worker ended", worker=worker.number, status=status)

    async def _end_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listeners.close()
        for worker in self._live:
            worker.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stopping_s):
                await asyncio.gather(*(worker.ended() for worker in self._live))
        self.kill()
        for worker in list(self._live):
            self._account(worker, await worker.ended())
        self._places.clear()
        self._log_lock.close()

    def _start_task(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or not task.exception():
            self._tasks.discard(task)

    # What workers ask.

    async def _families(self, _: Any) -> list[Family]:
        return await self._aggregate.families()

    async def _readiness(self, _: Any) -> dict[str, Any]:
        return await self._aggregate.readiness()

    async def _end_session(self, cookie: str) -> None:
        asked = (
            worker.ask("end_session", cookie, timeout_s=self.settings.ping_timeout_s)
            for worker in self._live
            if worker.state is not State.STARTING
        )
        await asyncio.gather(*asked, return_exceptions=True)
