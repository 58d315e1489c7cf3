"""The program as it is run: a process of its own, its log read line by line, and senders that load it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.batches import of_deployment
from tests.support.samples import SAMPLES

PATIENCE_S = 60
NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}
"""No test trusts those of the machine, and reading them takes a tenth of a second at each start."""
CHECKOUT = Path(__file__).parents[2]


@dataclass(slots=True)
class Program:
    """`python -m receiver …`, running."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    """What it has said on standard error so far."""

    @classmethod
    async def start(cls, *arguments: str | Path, **settings: object) -> Program:
        """`settings` become environment variables; those of the test run do not count."""
        return await cls.start_release(sys.executable, CHECKOUT, *arguments, **settings)

    @classmethod
    async def start_release(
        cls, python: str | Path, folder: Path, *arguments: str | Path, **settings: object
    ) -> Program:
        """The same, of the release that this interpreter finds from this folder."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ESC_RECEIVER_")}
        environ |= {f"ESC_RECEIVER_{name.upper()}": str(value) for name, value in settings.items()}
        environ |= NO_AUTHORITIES
        if python != sys.executable:  # what `make compiled` has found first is this release's
            environ = {name: value for name, value in environ.items() if name not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
        return cls(
            await asyncio.create_subprocess_exec(
                python,
                "-m",
                "receiver",
                *map(str, arguments),
                cwd=folder,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def says(self, event: str) -> Mapping[str, Any]:
        """Wait for a log line; its facts."""
        assert self.process.stderr
        async with asyncio.timeout(PATIENCE_S):
            async for raw in self.process.stderr:
                self.lines.append(raw.decode().rstrip())
                if event in self.lines[-1]:
                    return facts(self.lines[-1])
        raise AssertionError(f"it ended without saying {event!r}: {self.lines}")

    async def ended(self) -> int:
        """Wait for its end; the exit status. What else it said is in `lines`."""
        async with asyncio.timeout(PATIENCE_S):
            _, rest = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


def facts(line: str) -> Mapping[str, Any]:
    """Those of a log line in JSON; none of any other line."""
    try:
        found: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


@asynccontextmanager
async def program(*arguments: str | Path, **settings: object) -> AsyncIterator[Program]:
    """The program, killed at the end when it still runs."""
    running = await Program.start(*arguments, **settings)
    try:
        yield running
    finally:
        if running.process.returncode is None:
            running.signal(signal.SIGKILL)
            await running.ended()


async def run(*arguments: str | Path, **settings: object) -> tuple[int, str, list[str]]:
    """Run it to its end: exit status, standard output, lines on standard error."""
    running = await Program.start(*arguments, **settings)
    async with asyncio.timeout(PATIENCE_S):
        out, err = await running.process.communicate()
    assert running.process.returncode is not None
    return running.process.returncode, out.decode(), err.decode().splitlines()


@dataclass(slots=True)
class Load:
    """Senders that post as fast as they are answered, until the receiver is gone."""

    url: str
    receipts: set[str] = field(default_factory=set)
    """Of everything that was acknowledged."""
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    """Why a request got no answer; its sender stops then."""
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Any = field(default_factory=count)

    async def send(self, senders: int, enough: int) -> None:
        """Until no connection can be made any more; `enough` is set at so many receipts."""
        async with aiohttp.ClientSession(self.url) as session:
            await asyncio.gather(*(self._send(session, enough) for _ in range(senders)))

    async def _send(self, session: aiohttp.ClientSession, enough: int) -> None:
        for number in self._numbers:
            sample = of_deployment(SAMPLES["rec-deploy-01-vm-deployed"], f"deployment-{number}")
            try:
                async with session.post("/", data=sample.body, headers=dict(sample.headers)) as response:
                    if response.status in {200, 202}:
                        self.receipts.add(response.headers["ESC-Receipt-Id"])
                    else:
                        self.refused += 1
            except aiohttp.ClientError as error:
                self.failed.append(repr(error))
                return
            if self.stop.is_set():
                return
            if len(self.receipts) >= enough:
                self.enough.set()
