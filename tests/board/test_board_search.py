"""The board finds anything by name or id, saves what a list shows, and gives ids to copy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from receiver.app import App
from tests.support.batches import letter
from tests.support.browser import deploy, named, needs_chromium, post, visiting
from tests.support.samples import MALFORMED, SAMPLES

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_everything_is_found_from_everywhere(app: App, chromium: Browser) -> None:
    """`/` goes to the field; what begins so is shown with by what it was found; Enter opens the first."""
    await post(app, deploy("dep-a"), "/esc/default/callback?ref=order-4711")
    await post(app, [SAMPLES["rec-network-create"]], "/esc/default/events")
    transaction = letter(deploy("dep-a")[0]).envelope.transaction_id or ""
    async with visiting(chromium, app.url) as visit:
        page = visit.page
        await expect(page.locator(".changes")).to_contain_text("dep-a")
        await page.keyboard.press("/")
        await page.keyboard.type("DEP-A_0")
        await expect(page.locator(".found li")).to_have_count(1)
        await expect(page.locator(".found li")).to_contain_text("ALIVE")
        field = page.get_by_role("searchbox", name="Search everything")
        await field.fill("order-47")
        await expect(page.locator(".found .by")).to_have_text("reference order-4711")
        await field.fill(transaction)
        await expect(page.locator(".found .by")).to_have_text("transaction id")
        await field.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text(transaction)
        await page.keyboard.press("/")
        await page.keyboard.type("nowhere")
        await expect(page.get_by_text("Nothing begins like this")).to_be_visible()
        await page.locator(".hint").get_by_role("link", name="VMs").click()
        await expect(page.get_by_text("Nothing matches")).to_be_visible()
        assert visit.complaints == []


async def test_a_list_is_saved_as_its_filters_show_it(app: App, chromium: Browser) -> None:
    """All pages of it, as CSV and JSON; nothing in it becomes a formula of a spreadsheet."""
    await post(app, [one for number in range(204) for one in deploy(f"dep-{number}")[:1]])
    await post(app, named(deploy("dep-formula"), '=1+1,"x"'))
    async with visiting(chromium, f"{app.url}/#/vms?state=INERT") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("204")
        rows = list(csv.DictReader(io.StringIO(await saved(page, "CSV"))))
        assert (len(rows), {row["state"] for row in rows}) == (204, {"INERT"})
        await expect(page.get_by_role("status").filter(has_text="204 saved")).to_be_visible()
        assert len(json.loads(await saved(page, "JSON"))) == 204
        await page.get_by_label("State", exact=True).select_option("ALIVE")
        await expect(page.locator("h1 .count")).to_have_text("1")
        (row,) = csv.DictReader(io.StringIO(await saved(page, "CSV")))
        assert row["vm_name"] == '\'=1+1,"x"'
        assert visit.complaints == []


async def test_every_list_can_be_saved(app: App, chromium: Browser) -> None:
    """Ledger and quarantine, too."""
    await post(app, [*deploy("dep-a"), *MALFORMED[:1]])
    await post(app, [SAMPLES["rec-network-create"]], "/esc/default/events")
    async with visiting(chromium, app.url) as visit:
        page = visit.page
        for view, items in (
            ("deployments", 1),
            ("operations", 2),
            ("resources", 1),
            ("feed?entity=vm", 2),
            ("quarantine", 1),
        ):
            await page.goto(f"{app.url}/#/{view}")
            await expect(page.locator("h1 .count")).to_contain_text(str(items))
            assert len(json.loads(await saved(page, "JSON"))) == items, view


async def saved(page: Page, kind: str) -> str:
    """What a click on the button gives."""
    async with page.expect_download() as begun:
        await page.get_by_role("button", name=kind, exact=True).click()
    return Path(await (await begun.value).path()).read_text("utf-8")


@pytest.mark.parametrize("permissions", [["clipboard-read", "clipboard-write"]])
async def test_an_id_is_copied(app: App, chromium: Browser, permissions: list[str]) -> None:
    """As it is, by one click, which is answered."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, f"{app.url}/#/vms", permissions=permissions) as visit:
        page = visit.page
        await page.locator(".row a").first.click()
        await page.get_by_role("button", name="Copy the name").click()
        await expect(page.locator("h1 .copy.done")).to_be_visible()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == "dep-a_0_50521f93-7374-4881-960b-95aa13d55ddf"
