"""The emulated ESC as a process of its own, and what an orchestrator and its control API say to it.

Must not know the receiver, but for the URL that callbacks go to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from esc_lab.emulator.endpoint_model import BASES
from tests.support.waiting import until

START_TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 60.0
LATE_S = 2.0
"""How late the answers are that come too late."""


@dataclass(frozen=True, slots=True)
class Esc:
    """One that runs."""

    session: aiohttp.ClientSession
    url: str
    receiver: str
    """Its URL for callbacks, without the channel."""

    async def order(self, method: str, path: str, body: str = "") -> str:
        """The transaction of an order that ESC takes; empty when it refuses."""
        headers = {
            "Content-Type": "application/xml", "Callback": f"{self.receiver}/callback",
            "Callback-ESC-Events": f"{self.receiver}/events",
        }  # fmt: skip
        url = f"{self.url}{BASES[0]}{path}"
        async with self.session.request(method, url, data=body.encode() or None, headers=headers) as answer:
            await answer.read()
            return answer.headers.get("esc-transaction-id", "")

    async def make(self, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        """A request to the control API; what it refuses is an empty answer."""
        async with self.session.request(method, f"{self.url}/emulator/{path}", json=body) as answer:
            found: dict[str, Any] = await answer.json()
            return found if answer.status == 200 else {}

    async def look(self, path: str) -> Any:
        """A GET of either API, as JSON."""
        base = "" if path.startswith("/emulator") else BASES[0]
        async with self.session.get(f"{self.url}{base}{path}", headers={"Accept": "application/json"}) as answer:
            return await answer.json(content_type=None) if answer.status == 200 else {}

    async def operations(self) -> list[dict[str, Any]]:
        """All that have ended, and how."""
        found: list[dict[str, Any]] = (await self.look("/emulator/operations"))["items"]
        return found

    async def end_of(self, transaction: str, timeout_s: float) -> None:
        """Until this one has ended, however; or for so long."""
        try:
            await until(partial(self._has_ended, transaction), timeout_s)
        except TimeoutError:
            return

    async def idle(self) -> None:
        """Until it has nothing to do and nothing to say."""
        await until(self._is_idle, IDLE_TIMEOUT_S)

    async def _has_ended(self, transaction: str) -> bool:
        await asyncio.sleep(0.03)
        return any(one["transaction"] == transaction for one in await self.operations())

    async def _is_idle(self) -> bool:
        waiting = (await self.look("/emulator/deliveries?state=waiting"))["items"]
        return not waiting and (await self.look("/emulator"))["under_way"] == 0


@asynccontextmanager
async def running(port: int, seed: int, receiver: str, log: Path) -> AsyncIterator[Esc]:
    """An ESC five hundred times as fast as a real one, with which nothing is wrong yet."""
    arguments = {"port": port, "seed": seed, "time-scale": 0.002, "callback-timeout": 5}
    given = [f"--{name}={value}" for name, value in arguments.items()]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "receiver", "emulate", *given, stdout=output, stderr=output
        )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            esc = Esc(session, f"http://127.0.0.1:{port}", receiver)
            await until(partial(_serves, esc), START_TIMEOUT_S)
            yield esc
    finally:
        process.kill()
        await process.wait()


async def _serves(esc: Esc) -> bool:
    try:
        return bool(await esc.look("/emulator"))
    except aiohttp.ClientError:
        return False
