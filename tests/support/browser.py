"""A real browser at a real receiver: what the board's tests stand on.

The browser is the machine's Chromium; where there is none, tests that need it are skipped and say so.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from receiver.app import App, running
from receiver.config.settings import Settings
from tests.support.batches import of_deployment
from tests.support.samples import SAMPLES, Sample
from tests.support.waiting import until

# The same engine without what a window needs: it takes two fifths of the processor time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium"
needs_chromium = pytest.mark.skipif(
    not Path(CHROMIUM).exists(),
    reason="no Chromium on this machine (Debian: apt-get install chromium-headless-shell, or chromium)",
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--disable-sync", "--no-first-run",
]  # fmt: skip
DEPLOYED, ALIVE, SERVICE_ALIVE = (
    SAMPLES[name] for name in ("rec-deploy-01-vm-deployed", "rec-deploy-02-vm-alive", "rec-deploy-03-service-alive")
)
VM_NAME = b"depzz_g1_0_50521f93-7374-4881-960b-95aa13d55ddf"
WAIT_MS = 60_000


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield chromium
        finally:
            await chromium.close()


@dataclass(slots=True)
class Visit:
    """A page, and what it did that a person would not see."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors of scripts, and what the Content-Security-Policy stopped."""


@asynccontextmanager
async def visiting(chromium: Browser, url: str, **context: Any) -> AsyncIterator[Visit]:
    """The page at `url`, in a browser context of its own."""
    opened: BrowserContext = await chromium.new_context(**context)
    opened.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    try:
        visit = Visit(await opened.new_page())
        visit.page.on("request", lambda request: visit.requested.append(request.url))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("console", lambda message: _note(visit, message))
        await visit.page.goto(url)
        yield visit
    finally:
        await opened.close()


def _note(visit: Visit, message: ConsoleMessage) -> None:
    # That a receiver which was stopped could not be reached is no fault of the page.
    if message.type == "error" and "Failed to load resource" not in message.text:
        visit.complaints.append(message.text)


@asynccontextmanager
async def receiving(postgres_dsn: str, nats_url: str, folder: Path, **settings: Any) -> AsyncIterator[App]:
    """A whole receiver whose schema is up to date."""
    chosen = {"port": 0, "stop_timeout_s": 1, "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": folder}
    async with running(Settings.model_validate(chosen | settings)) as app:
        working = asyncio.create_task(app.run())
        try:
            yield app
        finally:
            working.cancel()


async def post(app: App, samples: Iterable[Sample], path: str = "/esc/default/callback") -> list[int]:
    """The answers to callbacks."""
    statuses = []
    async with aiohttp.ClientSession() as client:
        for sample in samples:
            async with client.post(app.url + path, data=sample.body, headers=dict(sample.headers)) as answer:
                statuses.append(answer.status)
    return statuses


async def stored(app: App) -> None:
    """Until all that was posted is in PostgreSQL: on a busy machine some of it goes through the spool."""

    async def is_so() -> bool:
        return app.router.direct and not app.spool.depth

    await until(is_so, WAIT_MS / 1000)


def deploy(name: str) -> list[Sample]:
    """The three messages by which a deployment with one VM comes up."""
    return [of_deployment(sample, name) for sample in (DEPLOYED, ALIVE, SERVICE_ALIVE)]


def named(samples: Iterable[Sample], vm_name: str) -> list[Sample]:
    """The same messages about a VM of this name, whatever is in it."""
    return [_named(sample, vm_name) for sample in samples]


def _named(sample: Sample, vm_name: str) -> Sample:
    start, found, rest = sample.body.partition(b"<vm_name>")
    _, end, rest = rest.partition(b"</vm_name>")
    if not found:
        return sample
    return replace(sample, body=start + found + escape(vm_name).encode() + end + rest)
