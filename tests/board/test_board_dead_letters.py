"""The dead letters on the board: by source and reason, acknowledged with a note, replayed after a look."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from receiver.app import App
from tests.support.batches import decisions, keeping, letter
from tests.support.browser import deploy, needs_chromium, post, receiving, visiting
from tests.support.samples import MALFORMED, SAMPLES

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

UNKNOWN = SAMPLES["tol-unknown-root"]


def group(page: Page, reason: str) -> Locator:
    """The dead letters of one reason."""
    return page.locator(".cards > .panel", has_text=reason)


async def test_they_are_grouped_and_their_bytes_can_be_had(app: App, chromium: Browser) -> None:
    """By source and reason, with how many; each with what it is, and its bytes as a file."""
    await post(app, [MALFORMED[0], MALFORMED[0], MALFORMED[0], UNKNOWN])
    async with visiting(chromium, f"{app.url}/#/quarantine") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("4 waiting")
        await expect(page.locator(".vital", has_text="Dead letters")).to_contain_text("4")
        await expect(page.locator(".cards > .panel")).to_have_count(2)
        await group(page, "malformed").locator("summary").click()
        await expect(page.locator(".letter")).to_have_count(3)
        async with page.expect_download() as begun:
            await page.locator(".letter").first.get_by_role("link", name="download the bytes").click()
        assert Path(await (await begun.value).path()).read_bytes() == MALFORMED[0].body
        await page.get_by_label("Outcome", exact=True).select_option("unclassified")
        await expect(page.locator(".cards > .panel")).to_have_count(1)
        await page.get_by_role("searchbox", name="Search the dead letters").fill("nowhere")
        await expect(page.get_by_text("All that is kept was looked through")).to_be_visible()
        assert visit.complaints == []


async def test_what_somebody_has_looked_at_waits_no_more(app: App, chromium: Browser) -> None:
    """A note is kept, with who and when, of one or of a group; the head counts those that nobody has acknowledged."""
    await post(app, [MALFORMED[0], MALFORMED[0], UNKNOWN])
    async with visiting(chromium, f"{app.url}/#/quarantine") as visit:
        page = visit.page
        await acknowledge(group(page, "malformed"), "a proxy cuts them: ticket 4711", "Anna")
        await expect(page.locator("h1 .count")).to_have_text("1 waiting")
        await expect(page.locator(".cards > .panel")).to_have_count(1)
        await expect(page.locator(".vital", has_text="Dead letters")).to_contain_text("1")
        await page.locator(".cards > .panel summary").click()
        await acknowledge(page.locator(".letter"), "a new kind of body", "")
        await expect(page.get_by_text("No dead letter waits")).to_be_visible()
        await page.get_by_role("link", name="Show all").click()
        await expect(page.locator("h1 .count")).to_have_text("0 waiting, 3 in all")
        await group(page, "malformed").locator("summary").click()
        first = group(page, "malformed").locator(".letter").first
        await expect(first).to_contain_text("Acknowledged by Anna")
        await expect(first).to_contain_text("ticket 4711")
        assert visit.complaints == []


async def acknowledge(place: Locator, note: str, by: str) -> None:
    """As a person does it."""
    await place.get_by_role("button", name="Acknowledge …").first.click()
    await place.get_by_label("Note").fill(note)
    if by:
        await place.get_by_label("Your name").fill(by)
    await place.get_by_role("button", name="Acknowledge", exact=True).click()


async def test_a_replay_is_looked_at_before_it_is_done(app: App, postgres_dsn: str, chromium: Browser) -> None:
    """What would change is shown and changes nothing; the button does it."""
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(sample).without_content() for sample in deploy("dep-a")])
    async with visiting(chromium, f"{app.url}/#/quarantine") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("3 waiting")
        await page.get_by_role("button", name="Replay …").click()
        desk = page.get_by_role("group", name="Replay")
        await expect(desk).to_contain_text("Would be: 3 applied; 7 ledger entries")
        await expect(desk.locator("tbody tr")).to_have_count(7)
        await expect(page.locator(".tabs")).to_contain_text("VMs 0")
        await desk.get_by_role("button", name="Replay 3 callbacks now").click()
        await expect(page.get_by_text("No dead letter waits")).to_be_visible()
        await page.goto(f"{app.url}/#/vms")
        await expect(page.locator(".row")).to_contain_text("ALIVE")
        assert visit.complaints == []


async def test_what_came_to_a_mistyped_source_is_moved(app: App, chromium: Browser) -> None:
    """To one that is configured."""
    await post(app, deploy("dep-a"), "/esc/mistyped/callback")
    async with visiting(chromium, f"{app.url}/#/quarantine?source=mistyped") as visit:
        page = visit.page
        await expect(page.locator("h1 .count")).to_have_text("3 waiting")
        await page.get_by_role("button", name="Replay …").click()
        desk = page.get_by_role("group", name="Replay")
        await expect(desk.get_by_label("To the source")).to_have_value("default")
        await desk.get_by_role("button", name="Replay 3 callbacks now").click()
        await expect(page.get_by_role("button", name="Replay …")).to_have_count(0)
        await page.goto(f"{app.url}/#/vms")
        await expect(page.locator(".row")).to_contain_text("default")


async def test_a_reader_alone_changes_nothing(
    postgres_dsn: str, nats_url: str, tmp_path: Path, chromium: Browser
) -> None:
    """Without the scope there is nothing to press, and it is said what is needed."""
    tokens = {"read_tokens": ["a-reader", "an-operator:operate"]}
    async with receiving(postgres_dsn, nats_url, tmp_path, **tokens) as app:
        await post(app, [UNKNOWN])
        for token, buttons in (("a-reader", 0), ("an-operator", 1)):
            async with visiting(chromium, f"{app.url}/#/quarantine") as visit:
                page = visit.page
                await page.get_by_label("Read token").fill(token)
                await page.get_by_role("button", name="Open the board").click()
                await expect(page.locator(".cards > .panel")).to_have_count(1)
                await expect(page.get_by_role("button", name="Replay …")).to_have_count(buttons)
                await expect(page.get_by_text("needs a token of the scope operate")).to_have_count(1 - buttons)
