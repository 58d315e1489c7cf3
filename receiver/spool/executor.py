"""One thread that does what it is given, one thing after the other.

Unlike that of a ThreadPoolExecutor it is not waited for when the process ends: a disk that hangs would keep it for
ever. Must not know what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SerialExecutor(Executor):
    """An executor with that thread."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._do, name=name, daemon=True)
        self._started = False

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it when all that was given before is done."""
        future: Future[T] = Future()

        def do() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it was
                    future.set_exception(error)

        self._work.put(do)
        if not self._started:
            self._started = True
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """It ends when all that was given is done."""
        self._work.put(None)
        if wait and self._started:
            self._thread.join()

    def _do(self) -> None:
        while work := self._work.get():
            work()
