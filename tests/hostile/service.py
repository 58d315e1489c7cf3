"""The whole service in a process of its own, with a watcher of its loop.

    python -m tests.hostile.service SETTINGS

SETTINGS is a JSON object. It says where it serves in one line of JSON; then for each line on its standard input what
was seen since the last: by how much the loop was late at most, and what the counters are now. It ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
import time

import orjson

from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.observability import logs

PAUSE_S = 0.001


class Watcher:
    """Sleeps and looks how late it wakes.

    A machine that is busy with others wakes everybody late. So of a lateness counts only what this process has worked
    in the meantime: that is what kept its loop from turning.
    """

    def __init__(self) -> None:
        self.late_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began_s, worked_s = time.perf_counter(), time.process_time()
            await asyncio.sleep(PAUSE_S)
            late_s = time.perf_counter() - began_s - PAUSE_S
            self.late_s = max(self.late_s, min(late_s, time.process_time() - worked_s))

    def take(self) -> float:
        """The greatest lateness since the last time."""
        late_s, self.late_s = self.late_s, 0.0
        return late_s


async def _answer(app: App, watcher: Watcher) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"url": app.url})
    while await reader.readline():
        _say({"late_s": watcher.take(), "counts": app.metrics.sums()})


def _say(told: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve until the input ends."""
    settings = Settings.model_validate_json(sys.argv[1])
    logs.configure(settings)
    watcher = Watcher()
    async with running(settings) as app:
        await app.until_ready()
        watching = asyncio.create_task(watcher.run())
        await _answer(app, watcher)
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(main())
