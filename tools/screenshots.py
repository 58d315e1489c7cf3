"""Takes the pictures of the board in docs/images: `make screenshots`, or `python -m tools.screenshots [FOLDER]`.

A whole receiver in a throw-away folder, simulated traffic of one seed, and each view light, dark and narrow.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from playwright.async_api import Browser, Page, expect

from esc_lab.simulator import Faults, SimulateOptions, simulate
from receiver.app import App
from receiver.embedded.servers import Embedded
from tests.support.browser import browser, receiving, visiting

FOLDER = Path(__file__).parents[1] / "docs" / "images"
SOURCES = ("lab1", "lab2", "lab3")
SEED = 7
RATE = 20.0
PLAYED_S = 45.0
FAULTS = Faults(duplicate=0.03, reorder=0.05, malformed=0.01, unknown=0.01)
WIDE, TALL, NARROW = (1600, 900), (1400, 1250), (390, 844)

MOVING = {
    "board-fleet-dark": ("#/fleet", WIDE, "dark"),
    "board-fleet-light": ("#/fleet", WIDE, "light"),
    "board-fleet-narrow": ("#/fleet", NARROW, "dark"),
    "board-deployments-light": ("#/deployments", WIDE, "light"),
    "board-vms-dark": ("#/vms?order=newest", WIDE, "dark"),
    "board-vms-narrow": ("#/vms", NARROW, "light"),
    "board-operations-dark": ("#/operations", WIDE, "dark"),
    "board-feed-light": ("#/feed", WIDE, "light"),
    "board-quarantine-light": ("#/quarantine", WIDE, "light"),
}
"""By name: where it is, how large, light or dark."""


async def main(folder: Path) -> None:
    """All pictures, one after the other, while traffic goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    async with playing() as app, browser() as chromium, asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        traffic = SimulateOptions(
            target=app.url, seed=SEED, sources=SOURCES, deployments=24, rate=RATE, loop=True, time_scale=0.03,
            faults=FAULTS,
        )  # fmt: skip
        playing_on = group.create_task(simulate(traffic, stop=stop))
        await asyncio.sleep(PLAYED_S)
        for picture, (fragment, size, scheme) in MOVING.items():
            await take(chromium, app.url + fragment, size, scheme, folder / f"{picture}.png")
        stop.set()
        await playing_on  # so that the VM whose story is told next does not go meanwhile
        for picture, (fragment, size, scheme) in (await stories(app)).items():
            await take(chromium, app.url + fragment, size, scheme, folder / f"{picture}.png")


@asynccontextmanager
async def playing() -> AsyncIterator[App]:
    """A receiver that takes callbacks of three ESC instances."""
    async with Embedded() as servers:
        assert servers.folder is not None  # started
        sources: dict[str, dict[str, object]] = {"sources": {name: {} for name in SOURCES}}
        async with receiving(servers.postgres_dsn, servers.nats_url, servers.folder, **sources) as app:
            yield app


async def stories(app: App) -> dict[str, tuple[str, tuple[int, int], str]]:
    """Pictures of one VM, its deployment and an operation of that, as MOVING."""
    vm, deployment, operation = await storied(app)
    return {
        "board-vm-light": (vm, TALL, "light"),
        "board-vm-dark": (vm, TALL, "dark"),
        "board-vm-narrow": (vm, NARROW, "dark"),
        "board-deployment-dark": (deployment, TALL, "dark"),
        "board-operation-light": (operation, TALL, "light"),
    }


async def storied(app: App) -> tuple[str, str, str]:
    """Links to the living VM with the longest ledger, to its deployment, and to the operation with most VMs there."""
    async with aiohttp.ClientSession() as client:
        vm = max(await listed(client, app, "vms", state="ALIVE"), key=lambda item: item["sequence"])
        found = await listed(client, app, "operations", source=vm["source"], deployment=vm["deployment"])
    operation = max(found, key=lambda item: item["vms_seen"])
    named = urlencode({"source": vm["source"], "deployment": vm["deployment"], "name": vm["vm_name"]})
    of = urlencode({"source": vm["source"], "id": vm["deployment"]})
    its = urlencode({"source": vm["source"], "id": operation["transaction_id"]})
    return f"#/vm?{named}", f"#/deployment?{of}", f"#/operation?{its}"


async def listed(client: aiohttp.ClientSession, app: App, path: str, **asked: str) -> list[dict[str, Any]]:
    """The first thousand of a list."""
    async with client.get(f"{app.url}/api/v1/{path}", params={**asked, "limit": "1000"}) as answer:
        items: list[dict[str, Any]] = (await answer.json())["items"]
        return items


async def take(chromium: Browser, url: str, size: tuple[int, int], scheme: str, path: Path) -> None:
    """One picture, once the view is filled."""
    viewport = {"width": size[0], "height": size[1]}
    async with visiting(chromium, url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce") as visit:
        await filled(visit.page)
        await visit.page.screenshot(path=path)


async def filled(page: Page) -> None:
    """Nothing is being loaded, the feed is live, and what is opened first is open."""
    await expect(page.locator(".vital", has_text="Feed")).to_contain_text("Live")
    await expect(page.locator("[aria-busy]")).to_have_count(0)
    await expect(page.locator(".tile, .row, .entries, .card, .steps").first).to_be_visible()
    if await page.locator(".view-quarantine .bytes summary").count():
        await page.locator(".bytes summary").first.click()
        await expect(page.locator(".letter").first).to_be_visible()
    await page.wait_for_timeout(6_000)  # so that the rate of changes, counted since the page was opened, is right


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
