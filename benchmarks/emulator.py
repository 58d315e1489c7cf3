"""How much of a fleet one emulated ESC can be: `python -m benchmarks.emulator`.

The emulator runs in a process of its own; the orchestrator that orders as fast as it is answered, and the listener that
takes the callbacks, in this one. Every deployment has two watched VMs, so that it is told by five callbacks.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from time import monotonic

import aiohttp
import click
import psutil
from aiohttp import web

PER_DEPLOYMENT = 5
ORDERS_AT_ONCE = 32
WINDOW_S = 5.0
MODEL = """<esc_datamodel><tenants><tenant><name>admin</name><deployments><deployment><name>{name}</name><vm_group>
<name>web</name><image>img</image><bootup_time>120</bootup_time>
<interfaces><interface><nicid>0</nicid><network>net</network></interface></interfaces>
<scaling><min_active>2</min_active><max_active>2</max_active></scaling>
<kpi_data><kpi><event_name>VM_ALIVE</event_name></kpi></kpi_data>
<rules><admin_rules><rule><event_name>VM_ALIVE</event_name></rule></admin_rules></rules>
</vm_group></deployment></deployments></tenant></tenants></esc_datamodel>"""


class Listener:
    """Counts callbacks, and the most that came within WINDOW_S."""

    def __init__(self, wanted: int) -> None:
        self.heard = 0
        self.most = 0
        self.all_heard = asyncio.Event()
        self._wanted = wanted
        self._recent: deque[float] = deque()

    async def hear(self, request: web.Request) -> web.Response:
        """One."""
        await request.read()
        now = monotonic()
        self.heard += 1
        self._recent.append(now)
        while self._recent[0] < now - WINDOW_S:
            self._recent.popleft()
        self.most = max(self.most, len(self._recent))
        if self.heard == self._wanted:
            self.all_heard.set()
        return web.Response()


@click.command()
@click.option("--deployments", type=click.IntRange(1), default=5000, show_default=True, help="How many.")
@click.option("--time-scale", type=float, default=0.05, show_default=True, help="Pace of the emulator.")
def main(deployments: int, time_scale: float) -> None:
    """Order deployments, count callbacks, show rates and memory."""
    asyncio.run(_run(deployments, time_scale))


async def _run(deployments: int, time_scale: float) -> None:
    listener = Listener(deployments * PER_DEPLOYMENT)
    app = web.Application()
    app.router.add_post("/", listener.hear)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    emulator, url = await _emulator(time_scale)
    try:
        began = monotonic()
        await _order(url, deployments, f"http://127.0.0.1:{runner.addresses[0][1]}/")
        ordered_s = monotonic() - began
        await listener.all_heard.wait()
        heard_s = monotonic() - began
        process = psutil.Process(emulator.pid)
        memory_mb, cpu_s = process.memory_info().rss / 2**20, sum(process.cpu_times()[:2])
    finally:
        emulator.terminate()
        await emulator.communicate()
        await runner.cleanup()
    click.echo(f"{deployments} deployments accepted in {ordered_s:.1f} s: {deployments / ordered_s:.0f}/s")
    click.echo(f"{listener.heard} callbacks in {heard_s:.1f} s: {listener.heard / heard_s:.0f}/s")
    click.echo(f"most in {WINDOW_S:.0f} s: {listener.most / WINDOW_S:.0f}/s; memory {memory_mb:.0f} MB")
    click.echo(f"of a CPU: {cpu_s:.1f} s, so that one alone would send {listener.heard / cpu_s:.0f}/s")


async def _emulator(time_scale: float) -> tuple[Process, str]:
    command = ["-m", "receiver", "emulate", "--port", "0", "--time-scale", str(time_scale), "--seed", "1"]
    emulator = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    assert emulator.stdout is not None  # a pipe
    async for line in emulator.stdout:
        if line.startswith(b"northbound"):
            return emulator, line.split()[1].decode()
    raise click.ClickException("the emulator did not start")


async def _order(url: str, deployments: int, callback: str) -> None:
    headers = {"Content-Type": "application/xml", "Callback": callback, "Callback-ESC-Events": callback}
    numbers = iter(range(deployments))
    async with aiohttp.ClientSession(headers=headers) as session:

        async def order() -> None:
            for number in numbers:
                async with session.post(f"{url}/dep-{number}", data=MODEL.format(name=f"dep-{number}")) as answer:
                    answer.raise_for_status()

        await asyncio.gather(*(order() for _ in range(ORDERS_AT_ONCE)))


if __name__ == "__main__":
    main()
