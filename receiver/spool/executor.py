"""One thread that runs what it is given, one after the other. Must not know what it runs.

A ThreadPoolExecutor waits for its threads when the process ends: a disk that hangs would keep it for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SerialExecutor(Executor):
    """An executor with one daemon thread, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it when all that was given before is done."""
        future: Future[T] = Future()
        self._work.put((future, partial(work, *args, **kwargs)))
        if not self._thread.ident:
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The thread ends when all that was given is done."""
        self._work.put(None)
        if wait and self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        while item := self._work.get():
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it, whatever it is
                    future.set_exception(error)
            del item, future, work  # else the last result stays in memory
