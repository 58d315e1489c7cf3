"""The board's lists: the receiver filters, searches and pages them, and the board says what was looked at."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser, expect

from receiver.app import App
from tests.support.batches import letter
from tests.support.browser import deploy, needs_chromium, post, receiving, stored, visiting
from tests.support.samples import SAMPLES

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

TO_THE_MS = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$")


async def test_a_filter_is_part_of_the_address(app: App, chromium: Browser) -> None:
    """What is searched for and chosen can be shared as a link."""
    await post(app, [*deploy("dep-a"), *deploy("dep-b")[:1]])
    async with visiting(chromium, f"{app.url}/#/vms") as visit:
        page = visit.page
        await expect(page.locator(".row")).to_have_count(2)
        await page.get_by_label("State", exact=True).select_option("INERT")
        await expect(page.locator(".row")).to_have_count(1)
        await page.locator("main").get_by_role("searchbox").fill("dep-b g1")
        await expect(page.locator(".row")).to_contain_text("dep-b")
        shared = page.url
        assert shared.endswith("#/vms?state=INERT&q=dep-b+g1")
    async with visiting(chromium, shared) as visit:
        await expect(visit.page.locator(".row")).to_have_count(1)
        await expect(visit.page.locator("main").get_by_role("searchbox")).to_have_value("dep-b g1")
        await visit.page.locator("main").get_by_role("searchbox").fill("nowhere")
        await expect(visit.page.get_by_text("Nothing matches")).to_be_visible()


async def test_operations_are_looked_for_by_the_receiver(app: App, chromium: Browser) -> None:
    """However many there are: filter and search find the oldest, the head says how many there are in all."""
    deployments = [deploy(f"dep-{number:03}")[:1] for number in range(230)]
    await post(app, [one for deployment in deployments for one in deployment])
    await post(app, deploy("dep-000")[1:])
    oldest = letter(deployments[0][0]).envelope.transaction_id or ""
    async with visiting(chromium, f"{app.url}/#/operations") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("230")
        await expect(page.locator(".hint")).to_contain_text("the first 200 of 230")
        await page.get_by_role("button", name="Show more").click()
        await expect(page.locator(".hint")).to_have_count(0)
        await page.get_by_label("State", exact=True).select_option("SUCCEEDED")
        await expect(page.locator("h1 .count")).to_have_text("1")
        await expect(page.locator(".row")).to_contain_text("dep-000")
        await page.get_by_label("State", exact=True).select_option("")
        await page.locator("main").get_by_role("searchbox").fill(oldest.upper())
        await expect(page.locator("h1 .count")).to_have_text("1")
        await page.locator("main").get_by_role("searchbox").fill("nowhere")
        await expect(page.get_by_text("Nothing matches")).to_be_visible()


async def test_what_is_gone_is_looked_for_by_the_receiver(app: App, postgres_dsn: str, chromium: Browser) -> None:
    """The board holds what is there; what went before the page was opened is found all the same."""
    await post(app, [*deploy("dep-a"), *deploy("dep-b")])
    async with visiting(chromium, f"{app.url}/#/vms") as visit:
        page = visit.page
        await expect(page.locator(".row")).to_have_count(2)
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute("UPDATE vms SET state = 'UNDEPLOYED', ended_at = now() WHERE deployment = 'dep-a'")
        await connection.close()
        await page.reload()
        await expect(page.locator(".row")).to_have_count(1)
        await page.locator("main").get_by_role("searchbox").fill("dep-a")
        await expect(page.get_by_text("Only VMs that are there were looked through")).to_be_visible()
        await page.get_by_role("button", name="Look among those gone, too").click()
        await expect(page.locator(".row")).to_have_count(1)
        await page.locator("main").get_by_role("searchbox").fill("")
        await expect(page.locator(".row")).to_have_count(2)
        await page.locator("main").get_by_role("searchbox").fill("dep-a")
        await expect(page.locator(".row")).to_have_count(1)
        await expect(page.locator(".row")).to_contain_text("UNDEPLOYED")


async def test_all_lists_are_looked_through_by_the_receiver(app: App, chromium: Browser) -> None:
    """Deployments and VMs as well: all are counted, the first page is shown, the others are found."""
    await post(app, [one for number in range(205) for one in deploy(f"dep-{number:03}")[:1]])
    async with visiting(chromium, app.url) as visit:
        page = visit.page
        for view, last in (("vms", "dep-204_0"), ("deployments", "dep-204")):
            await page.goto(f"{app.url}/#/{view}")
            await expect(page.locator("h1 .count")).to_have_text("205")
            await expect(page.locator(".hint")).to_contain_text("the first 200 of 205")
            await page.locator("main").get_by_role("searchbox").fill(last)
            await expect(page.locator("h1 .count")).to_have_text("1")
            await expect(page.locator(".row")).to_contain_text("dep-204")
            await page.locator("main").get_by_role("searchbox").fill("")
            await page.get_by_role("button", name="Show more").click()
            await expect(page.locator(".hint")).to_have_count(0)
        await page.goto(f"{app.url}/#/vms?order=newest")
        await expect(page.locator(".row").first).to_contain_text("dep-204")
        assert visit.complaints == []


async def test_a_list_follows_the_feed(app: App, chromium: Browser) -> None:
    """A state that has changed since the list was read is the new one."""
    samples = deploy("dep-a")
    await post(app, samples[:1])
    async with visiting(chromium, f"{app.url}/#/vms") as visit:
        await expect(visit.page.locator(".row")).to_contain_text("INERT")
        await post(app, samples[1:])
        await expect(visit.page.locator(".row")).to_contain_text("ALIVE")


async def test_history_is_there_when_the_page_opens(app: App, chromium: Browser) -> None:
    """Latest changes and feed begin with what the ledger has; what the feed brings then is not shown twice."""
    await post(app, deploy("dep-before"))
    async with visiting(chromium, f"{app.url}/#/feed") as visit:
        page = visit.page
        await expect(page.locator(".entries tbody tr")).to_have_count(7)
        await expect(page.locator("h1 .count")).to_have_text("7")
        await post(app, deploy("dep-after"))
        await expect(page.locator(".entries tbody tr")).to_have_count(14)
        await expect(page.locator("h1 .count")).to_have_text("14")
        await page.goto(f"{app.url}/#/fleet")
        await expect(page.locator(".changes")).to_contain_text("dep-before")


async def test_what_the_feed_tells_late_is_shown_once(app: App, chromium: Browser) -> None:
    """An entry that was read from the ledger already, in the feed's list and among the latest changes."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, app.url) as visit:
        await expect(visit.page.locator(".changes")).to_contain_text("dep-a")
        assert await visit.page.evaluate(TOLD_AGAIN) == {"list": 7, "total": 7, "fleet": 7}


TOLD_AGAIN = """async () => {
    const [{ LedgerList }, { Fleet }, { get }] = await Promise.all(
        ["ledger_list", "fleet", "api"].map((name) => import(new URL(`board/${name}.js`, document.baseURI))));
    const { items } = await get("transitions", { order: "newest" });
    const fleet = new Fleet();
    fleet.takeHistory(items);
    const list = await new Promise((done) => {
        const made = new LedgerList(() => made.items && done(made));
        made.read({});
    });
    for (const entry of items) [fleet, list].forEach((one) => one.take(entry));
    return { list: list.items.length, total: list.total, fleet: fleet.changes.length };
}"""


async def test_the_ledger_is_looked_through_by_the_receiver(app: App, chromium: Browser) -> None:
    """A search finds what is far behind, the feed adds what it lets through and nothing else, and says how many."""
    await post(app, deploy("dep-oldest"))
    await post(app, [one for number in range(60) for one in deploy(f"dep-{number}")])
    async with visiting(chromium, f"{app.url}/#/feed") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("427")
        await expect(page.locator(".entries tbody tr")).to_have_count(150)
        await page.locator("main").get_by_role("searchbox").fill("dep-oldest")
        await expect(page.locator("h1 .count")).to_have_text("7")
        await page.get_by_label("Kind", exact=True).select_option("operation")
        await expect(page.locator("h1 .count")).to_have_text("2")
        await post(app, [*deploy("dep-oldest-again"), *deploy("dep-other")])
        await expect(page.locator("h1 .count")).to_have_text("4")
        await expect(page.locator(".entries tbody tr")).to_have_count(4)
        await page.locator("main").get_by_role("searchbox").fill("nowhere")
        await expect(page.get_by_text("The whole ledger was looked through")).to_be_visible()


async def test_nothing_is_never_said_of_what_was_not_looked_at(
    postgres_dsn: str, nats_url: str, tmp_path: Path, chromium: Browser
) -> None:
    """Where the receiver looks through a part at a time, the board says so and goes on when it is told to."""
    async with receiving(postgres_dsn, nats_url, tmp_path, query_scan_rows_max=20) as app:
        await post(app, deploy("dep-oldest"))
        await post(app, [one for number in range(5) for one in deploy(f"dep-{number}")])
        await stored(app)
        async with visiting(chromium, f"{app.url}/#/feed?q=dep-oldest") as visit:
            page = visit.page
            await expect(page.get_by_text("Nothing so far")).to_be_visible()
            await expect(page.locator("h1 .count")).to_have_text("0 so far")
            await page.get_by_role("button", name="Look further back").click()
            await page.get_by_role("button", name="Look further back").click()
            await expect(page.locator(".entries tbody tr")).to_have_count(7)
            await expect(page.locator("h1 .count")).to_have_text("7")


async def test_each_change_has_its_time_kind_and_deployment(app: App, chromium: Browser) -> None:
    """In the feed and on the fleet, to the millisecond; the zone is said once, for all of the board."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, f"{app.url}/#/feed?entity=vm", timezone_id="Asia/Kolkata") as visit:
        page = visit.page
        await expect(page.locator(".zone")).to_have_text("times in UTC+05:30")
        cells = page.locator(".entries tbody tr").first.locator("td")
        await expect(cells.nth(0)).to_have_text(TO_THE_MS)
        await expect(cells.nth(1)).to_have_text("vm")
        await expect(cells.nth(3)).to_have_text("depzz")
        await page.goto(f"{app.url}/#/fleet")
        of_a_vm = page.locator(".change", has_text=re.compile("vm of depzz"))
        await expect(of_a_vm.first.locator("time")).to_have_text(TO_THE_MS)
        await expect(of_a_vm.first).to_contain_text("dep-a_0")


async def test_names_that_collide_say_whose_they_are(app: App, chromium: Browser) -> None:
    """Two tenants may give the same name; everywhere the deployment is named with what tells it apart."""
    await post(app, deploy("dep-a"))
    async with visiting(chromium, f"{app.url}/#/deployments") as visit:
        page = visit.page
        await expect(page.locator(".row .main")).to_have_text(["depzz"])
        others = [replace(one, body=one.body.replace(b">ttt<", b">another<")) for one in deploy("dep-b")]
        await post(app, others)
        await expect(page.locator(".row .main")).to_have_text(["depzz (ttt)", "depzz (another)"])
        await page.goto(f"{app.url}/#/vms")
        await expect(page.locator(".row .wide").nth(1)).to_have_text("depzz (another)")
        await page.goto(f"{app.url}/#/feed?entity=deployment&q=dep-b")
        await expect(page.locator(".entries .thing").first).to_have_text("depzz (another)")


async def test_resources_have_a_list_and_a_page(app: App, chromium: Browser) -> None:
    """With kind, state and ledger."""
    await post(app, [SAMPLES["rec-network-create"], SAMPLES["rec-subnet-create"]], "/esc/default/events")
    async with visiting(chromium, f"{app.url}/#/resources") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("2")
        await page.get_by_label("Kind", exact=True).select_option("network")
        await expect(page.locator(".row")).to_have_count(1)
        await page.locator(".row a").first.click()
        await expect(page.get_by_role("region", name="History")).to_contain_text("CREATED")
        await expect(page.locator(".timeline .bar")).to_have_count(1)
        assert visit.complaints == []
