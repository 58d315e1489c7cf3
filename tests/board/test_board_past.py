"""The fleet as it was, in a real browser: the slider, the moment in the address, the banner, and the way back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from axe_playwright_python.base import AXE_FILE_PATH  # type: ignore[import-untyped]  # it has no types
from playwright.async_api import Browser, expect

from receiver.app import App
from tests.board.test_board import AXE
from tests.support.browser import deploy, needs_chromium, post, visiting
from tests.support.waiting import until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def after_it_came_up(app: App, deployment: str) -> str:
    """A moment behind all that was received about it."""
    found: list[str] = []

    async def is_up() -> bool:
        asked = f"{app.url}/api/v1/deployments?state=ACTIVE&deployment={deployment}"
        async with aiohttp.ClientSession() as client, client.get(asked) as answer:
            found.extend(item["changed_at"] for item in (await answer.json()).get("items", []))
        return bool(found)

    await until(is_up)
    return f"{datetime.fromisoformat(found[0]) + timedelta(milliseconds=1):%Y-%m-%dT%H:%M:%S.%fZ}"


async def test_the_fleet_is_shown_as_it_was(app: App, chromium: Browser) -> None:
    """One VM then, two now; nothing in the wall of the past leads to the lists of now."""
    await post(app, deploy("dep-then"))
    at = await after_it_came_up(app, "dep-then")
    await post(app, deploy("dep-since"))
    async with visiting(chromium, f"{app.url}/#/fleet?at={at}", bypass_csp=True) as visit:
        page = visit.page
        banner = page.get_by_role("status").filter(has_text="As of")
        await expect(banner).to_contain_text("what has happened since is not shown")
        await expect(page.locator(".tile.total .big")).to_have_text("1")
        assert await page.locator(".tile[href]").count() == 0
        await expect(page.locator(".changes")).to_contain_text("dep-then")
        await expect(page.locator(".changes")).not_to_contain_text("dep-since")
        await page.evaluate(Path(AXE_FILE_PATH).read_text("utf-8"))
        assert not [one for one in await page.evaluate(AXE) if one[0] in ("serious", "critical")]
        await banner.get_by_role("link", name="Back to live").click()
        await expect(page.locator(".tile.total .big")).to_have_text("2")
        assert "at=" not in page.url
        assert not visit.complaints


async def test_the_slider_travels_and_a_moment_that_is_forgotten_says_so(app: App, chromium: Browser) -> None:
    """Where it stands is in the address; at its end is now."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, f"{app.url}/#/fleet?span=hour") as visit:
        page = visit.page
        slider = page.get_by_role("slider")
        banner = page.get_by_role("status").filter(has_text="As of")
        await expect(page.locator(".tile.total .big")).to_have_text("1")
        await expect(banner).to_have_count(0)
        await slider.fill("-10")
        await expect(page).to_have_url(re.compile(r"span=hour&at=\d{4}-"))
        await expect(banner).to_be_visible()
        await slider.fill("0")
        await expect(banner).to_have_count(0)
        await expect(page.locator(".tile.total .big")).to_have_text("1")
        await page.get_by_label("A moment of your choice").fill("2001-01-01T00:00:00")
        await expect(page.locator(".notice")).to_contain_text("The ledger does not go back so far")
        await expect(page.locator(".notice")).to_contain_text("the first moment is")
        assert not visit.complaints
