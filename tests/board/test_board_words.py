"""What the board says of operations, VMs and callbacks: bars agree with counts and ends, words say the rest."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from playwright.async_api import Browser, Page, expect

from receiver.app import App
from tests.support.browser import deploy, needs_chromium, post, visiting
from tests.support.samples import MALFORMED, SAMPLES, Sample

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

FAILED_SERVICE = SAMPLES["rec-deploy-fail-02-service-alive"]
EVENTS = "/esc/default/events"


def ending_badly(name: str) -> list[Sample]:
    """A deploy whose VM comes up and whose service does not."""
    deployed, alive, service = deploy(name)
    told = {**FAILED_SERVICE.headers, "ESC-Transaction-Id": service.headers["ESC-Transaction-Id"]}
    return [deployed, alive, replace(service, headers=told)]


async def bar(page: Page) -> list[tuple[str, str]]:
    """The parts of the bar in sight: tone and width."""
    parts = page.locator(".progress .meter").first.locator("i")
    read = "all => all.map(one => [one.className.replace('tone-', ''), one.style.width])"
    return [(tone, width) for tone, width in await parts.evaluate_all(read)]


async def test_a_failed_deploy_is_no_full_bar_of_success(app: App, chromium: Browser) -> None:
    """Though all its VMs are alive."""
    await post(app, ending_badly("dep-a"))
    async with visiting(chromium, f"{app.url}/#/operations") as visit:
        page = visit.page
        await expect(page.locator(".row")).to_contain_text("FAILED")
        await expect(page.locator(".row .figure")).to_have_text("1/1 alive")
        assert await bar(page) == [("error", "100%")]
        await page.locator(".row a").first.click()
        progress = page.get_by_role("region", name="Progress")
        await expect(progress).to_contain_text("Failed: 1 deployed, 1 alive of 1 VM.")
        await expect(progress).to_contain_text("The failure was reported of the whole, not of a VM.")
        assert await bar(page) == [("error", "100%")]


async def test_what_has_succeeded_has_nothing_left_to_do(app: App, chromium: Browser) -> None:
    """A VM that was started by itself is never reported alive in that operation, yet it is done."""
    await post(app, deploy("dep-a"))
    await post(app, [SAMPLES["rec-vm-start-complete"]], EVENTS)
    async with visiting(chromium, f"{app.url}/#/operations?kind=start_vm") as visit:
        page = visit.page
        await expect(page.locator(".row")).to_contain_text("SUCCEEDED")
        await expect(page.locator(".row .figure")).to_have_text("1/1")
        assert await bar(page) == [("alive", "100%")]
        await page.locator(".row a").first.click()
        await expect(page.get_by_role("region", name="Progress")).to_contain_text("Succeeded for 1 of 1 VM.")


async def test_a_failure_without_a_name_is_said_in_words(app: App, chromium: Browser) -> None:
    """Instead of "VMs heard of 0, failed 1"."""
    await post(app, [SAMPLES["rec-vm-stop-fail-no-vm"]], EVENTS)
    async with visiting(chromium, f"{app.url}/#/operations") as visit:
        page = visit.page
        await expect(page.locator(".row .figure")).to_have_text("1 failure, no VM named")
        await page.locator(".row a").first.click()
        progress = page.get_by_role("region", name="Progress")
        await expect(progress).to_contain_text("1 failure was reported, without a VM being named.")
        await expect(page.get_by_role("region", name="What it is")).to_contain_text(
            "status 500: Service group suspension failed"
        )


async def test_every_row_of_a_timeline_has_its_label(app: App, chromium: Browser) -> None:
    """One row as well as many, wide or narrow."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, f"{app.url}/#/operations") as visit:
        page = visit.page
        await page.locator(".row a").first.click()
        await expect(page.locator(".lane text")).to_have_text(["deployment depzz", re.compile("^dep-a_0_50521f93")])
        await page.set_viewport_size({"width": 400, "height": 800})
        await expect(page.locator(".lane text").first).to_have_text("deployment depzz")
        await page.locator(".lane").nth(1).click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("dep-a_0")
        await expect(page.locator(".lane text")).to_have_count(1)


async def test_words_are_those_of_an_operator(app: App, chromium: Browser) -> None:
    """The database, the monitoring, one thing in the singular, and how many bytes were received."""
    await post(app, deploy("dep-a")[:1])
    secret = b"<deployment><dep_name>d</dep_name><password>a long secret</password></deployment>"
    await post(app, [replace(MALFORMED[0], body=secret)])
    async with visiting(chromium, app.url) as visit:
        page = visit.page
        await expect(page.locator(".vital", has_text="Database")).to_contain_text("writing directly")
        await expect(page.locator(".tile.total")).to_contain_text("VM in 1 deployment")
        await page.goto(f"{app.url}/#/vms")
        await page.locator(".row a").first.click()
        await expect(page.get_by_role("region", name="What it is")).to_contain_text("Monitoringnot reported")
        await page.goto(f"{app.url}/#/quarantine?q=unclassified")
        await expect(page.locator(".card .bytes summary")).to_contain_text("as kept, with secrets overwritten")
        await page.get_by_role("link", name="the whole callback").click()
        await expect(page.get_by_role("region", name="What was received")).to_contain_text(
            f"Bytes received{len(secret)} bytes"
        )


async def test_on_a_narrow_screen_what_needs_a_person_comes_first(app: App, chromium: Browser) -> None:
    """Before figures and map; nothing is scrolled sideways, in the tabs neither, and the feed keeps its labels."""
    await post(app, ending_badly("dep-a"))
    async with visiting(chromium, app.url, viewport={"width": 400, "height": 800}) as visit:
        page = visit.page
        await expect(page.get_by_role("region", name="Needs attention")).to_contain_text("depzz")
        tops = [await top(page, place) for place in (".attention", ".tiles", ".latest", ".fleet-map")]
        assert tops == sorted(tops)
        for view in ("fleet", "feed", "vms"):
            await page.goto(f"{app.url}/#/{view}")
            fits = "element => element.scrollWidth <= element.clientWidth"
            assert await page.locator(".tabs").evaluate(fits), view
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        await page.goto(f"{app.url}/#/feed?entity=vm")
        first = page.locator(".feed tbody tr").first
        for place in (".when", ".of", ".move", ".thing", ".its"):
            await expect(first.locator(place)).to_be_in_viewport()


async def top(page: Page, place: str) -> float:
    """Where it begins."""
    box = await page.locator(place).bounding_box()
    assert box is not None
    return box["y"]


async def test_an_open_operation_shows_how_long_one_like_it_takes(app: App, chromium: Browser) -> None:
    """Beside its age, in the list and on its page, with when it is overdue; of what nothing was learned it says so."""
    async with app.database.acquire() as connection:
        while not await connection.fetchval("SELECT isfinite(learned_at) FROM learning"):  # noqa: ASYNC110 - at the start
            await asyncio.sleep(0.05)
        await connection.execute("INSERT INTO learned_durations VALUES ('default', 'deploy', 0, 50, 3600, 7200, 7200)")
    await post(app, deploy("dep-a")[:1])
    await post(app, [SAMPLES["rec-vm-start-complete"]], EVENTS)
    async with visiting(chromium, f"{app.url}/#/operations?kind=deploy") as visit:
        page = visit.page
        what = page.get_by_role("region", name="What it is")
        pace = page.get_by_role("img", name=re.compile("of usually 1 h.*, 2 h.* at the longest; overdue at"))
        await expect(pace).to_contain_text("of ~1 h")
        await page.locator(".row a").first.click()
        await expect(what).to_contain_text(re.compile("Usually takes *1 h.*, 2 h.* at the longest"))
        await expect(what).to_contain_text("Overdue at")
    async with visiting(chromium, f"{app.url}/#/operations?kind=start_vm") as visit:
        await visit.page.locator(".row a").first.click()
        await expect(visit.page.get_by_role("region", name="What it is")).to_contain_text("not known yet")
