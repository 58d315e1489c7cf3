"""The board in a real browser, at a real receiver."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import nats
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from axe_playwright_python.base import AXE_FILE_PATH  # type: ignore[import-untyped]  # it has no types
from playwright.async_api import Browser, ViewportSize, expect

from receiver.app import App
from tests.lifecycle.test_source import IN, OUT
from tests.support.batches import letter
from tests.support.browser import deploy, named, needs_chromium, post, receiving, visiting
from tests.support.crew import Crew, crew, kill
from tests.support.field import Post
from tests.support.samples import MALFORMED
from tests.support.waiting import until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

MARKUP = """<script>pwned=1</script><img src=x onerror=pwned=1>${pwned=1}{{pwned=1}}"'`&amp;"""
RIGHT_TO_LEFT = "fw-\u202egnp.exe\u202c-\u05e9\u05dc\u05d5\u05dd"
LONG = "long-" + "n" * 295
HOSTILE = (MARKUP, RIGHT_TO_LEFT, LONG)
AXE = """
async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map(found => [found.impact, found.id, found.nodes.map(node => node.html.slice(0, 160))])
"""
NARROW: ViewportSize = {"width": 360, "height": 740}


async def test_traffic_appears_as_it_comes_and_is_explained(app: App, chromium: Browser) -> None:
    """From an empty board over the wall to a VM, its reasons and the bytes of its callbacks, and all from one host."""
    async with visiting(chromium, app.url) as visit:
        page = visit.page
        await expect(page.get_by_text("No deployment yet")).to_be_visible()
        await expect(page.locator(".vital", has_text="Feed")).to_contain_text("Live")

        await post(app, deploy("dep-live"))
        await expect(page.locator(".tile", has_text="ALIVE").locator(".big")).to_have_text("1")
        await expect(page.locator(".changes")).to_contain_text("dep-live")

        await page.get_by_role("link", name=re.compile("VMs")).first.click()
        await page.locator(".row", has_text="dep-live").locator("a").first.click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("dep-live")
        why = page.get_by_role("region", name="Why it is in this state")
        await expect(why).to_contain_text("its monitor has reached it")
        await expect(why).to_contain_text("VM_ALIVE")
        await expect(page.locator(".timeline .bar")).to_have_count(2)
        await expect(page.get_by_role("region", name="Incarnations")).to_contain_text("1dd943b9")

        await page.locator(".bytes summary").first.click()
        await expect(page.locator(".bytes pre").first).to_contain_text("<vm_state_machine_state>")

        await page.locator(".steps a code").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("deploy")
        await expect(page.locator(".timeline .bar")).to_have_count(5)
        await expect(page.get_by_role("region", name="Progress")).to_contain_text("Alive1")
        await expect(page.get_by_role("region", name="History")).to_contain_text("SUCCEEDED")
        assert {urlsplit(url).netloc for url in visit.requested} == {urlsplit(app.url).netloc}
        assert visit.complaints == []


async def test_it_comes_back_when_the_receiver_does(
    postgres_dsn: str, nats_url: str, tmp_path: Path, chromium: Browser
) -> None:
    """A stop is told, and what happened meanwhile is shown after the start without a reload."""
    async with receiving(postgres_dsn, nats_url, tmp_path) as first:
        port = urlsplit(first.url).port
        opening = visiting(chromium, first.url)
        visit = await opening.__aenter__()
        await post(first, deploy("dep-before"))
        await expect(visit.page.locator(".changes")).to_contain_text("dep-before")
    try:
        await expect(visit.page.locator(".ribbon.bad")).to_contain_text("Trying again")
        await expect(visit.page.locator(".vital", has_text="Feed")).to_contain_text("Reconnecting")
        async with receiving(postgres_dsn, nats_url, tmp_path) as between:
            await post(between, deploy("dep-meanwhile"))
        async with receiving(postgres_dsn, nats_url, tmp_path, port=port):
            await visit.page.get_by_role("button", name="Try now").click()
            await expect(visit.page.locator(".changes")).to_contain_text("dep-meanwhile")
            await expect(visit.page.locator(".vital", has_text="Feed")).to_contain_text("Live")
            await expect(visit.page.locator(".ribbon.bad")).to_have_count(0)
    finally:
        await opening.__aexit__(None, None, None)


async def test_hostile_text_is_shown_as_text(app: App, chromium: Browser) -> None:
    """Names and bytes that would be markup, turn the direction of writing or go on for ever do none of it."""
    for number, name in enumerate(HOSTILE):
        await post(app, named(deploy(f"dep-{number}"), name))
    await post(app, MALFORMED[:3])
    async with visiting(chromium, f"{app.url}/#/vms", viewport=NARROW) as visit:
        page = visit.page
        await expect(page.locator(".row")).to_have_count(3)
        for index, seen in enumerate(("<script>pwned=1</script>", "fw-⟨U+202E⟩gnp.exe", "long-nnnn")):
            row = page.locator(".row", has_text=seen)
            await expect(row).to_have_count(1)
            await row.locator("a").click()
            await expect(page.get_by_role("heading", level=1)).to_contain_text(seen)
            await expect(page.locator(".steps")).to_contain_text("VM_ALIVE")
            await page.locator(".bytes summary").first.click()
            await expect(page.locator(".bytes pre").first).to_contain_text(f"dep-{index}")
            await page.go_back()
        await page.goto(f"{app.url}/#/quarantine?q=malformed")
        await expect(page.locator(".bytes summary").first).to_contain_text("may hold secrets that were not overwritten")
        await expect(page.locator(".card")).to_have_count(3)
        await page.locator(".bytes summary").first.click()
        await expect(page.locator(".bytes pre").first).to_be_visible()
        assert await page.evaluate("typeof pwned") == "undefined"
        assert await page.locator("main img, main script").count() == 0
        assert visit.complaints == []


async def test_sources_show_what_each_esc_says_of_itself(app: App, chromium: Browser) -> None:
    """In words, shape and colour; it follows the feed."""
    async with visiting(chromium, f"{app.url}/#/sources") as visit:
        page = visit.page
        card = page.locator(".card", has_text="default")
        await expect(card).to_contain_text("says nothing of itself")
        await post_field(app, OUT)
        await expect(card).to_contain_text("OUT_OF_SERVICE")
        await expect(card).to_contain_text("the VIM does not answer")
        await post_field(app, IN)
        await expect(card).to_contain_text("IN_SERVICE")
        await page.goto(f"{app.url}/#/feed?entity=source")
        await expect(page.locator(".entries tbody tr")).to_have_count(2)
        assert visit.complaints == []


async def test_who_reads_the_feed_is_shown(app: App, nats_url: str, chromium: Browser) -> None:
    """Each consumer of the stream, how far behind it is, and what it was given more than once."""
    await post(app, deploy("dep-a"))
    client = await nats.connect(nats_url)
    async with visiting(chromium, f"{app.url}/#/feed") as visit:
        page = visit.page
        await expect(page.locator(".entries tbody tr").first).to_be_visible()
        await client.jetstream().add_consumer("ESC", durable_name="billing", ack_policy="explicit")
        await page.get_by_text("Consumers on NATS").click()
        row = page.locator(".consumers tr", has_text="billing")
        await expect(row).to_contain_text("not reading")
        assert visit.complaints == []
    await client.close()


async def post_field(app: App, said: Post) -> None:
    """One message, over HTTP."""
    async with (
        aiohttp.ClientSession(app.url) as session,
        session.post(said.path, data=said.body, headers=dict(said.headers)) as answer,
    ):
        assert answer.status == 200


async def test_a_token_is_asked_for_once(postgres_dsn: str, nats_url: str, tmp_path: Path, chromium: Browser) -> None:
    """It becomes a session that scripts cannot read, and is in no address."""
    tokens = {"read_tokens": ["the-board-token:raw"]}
    async with (
        receiving(postgres_dsn, nats_url, tmp_path, **tokens) as app,
        visiting(chromium, f"{app.url}/#/deployments") as visit,
    ):
        page = visit.page
        await post(app, deploy("dep-secret"))
        await page.get_by_label("Read token").fill("not-the-token")
        await page.get_by_role("button", name="Open the board").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        assert "dep-secret" not in await page.content()
        await page.get_by_label("Read token").fill("the-board-token")
        await page.get_by_role("button", name="Open the board").click()
        await expect(page.locator(".row")).to_contain_text("depzz")
        await page.reload()
        await expect(page.locator(".row")).to_contain_text("depzz")
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert not any("token" in url for url in visit.requested)


async def test_it_works_below_a_path_of_a_proxy(app: App, chromium: Browser) -> None:
    """Every address that the page asks for is relative to where the page is."""
    await post(app, deploy("dep-proxied"))
    async with proxied(app.url, "/ops/esc/") as url, visiting(chromium, url) as visit:
        await expect(visit.page.locator(".tile", has_text="ALIVE").locator(".big")).to_have_text("1")
        await expect(visit.page.locator(".vital", has_text="Feed")).to_contain_text("Live")
        assert all(urlsplit(asked).path.startswith("/ops/esc/") for asked in visit.requested)


async def test_the_mode_is_where_an_operator_looks_first(nats_url: str, tmp_path: Path, chromium: Browser) -> None:
    """Without PostgreSQL callbacks are kept in the spool: the board says so, and what is wrong, in every view."""
    nobody = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    async with receiving(nobody, nats_url, tmp_path) as app, visiting(chromium, f"{app.url}/#/quarantine") as visit:
        assert await post(app, deploy("dep-spooled")) == [202, 202, 202]
        await expect(visit.page.locator(".vital", has_text="Database")).to_contain_text("not reached, spooling")
        await expect(visit.page.locator(".ribbon.waiting")).to_contain_text("postgres")
        await expect(visit.page.locator(".notice.wrong")).to_contain_text("PostgreSQL cannot be asked now")


async def test_what_comes_and_goes_leaves_nothing_behind(app: App, chromium: Browser) -> None:
    """Lists that change all day keep the document as small as it was."""
    count = "document.querySelector('.changes').childNodes.length"
    async with visiting(chromium, app.url) as visit:
        await post(app, deploy("dep-first"))
        await expect(visit.page.locator(".changes")).to_contain_text("dep-first")
        for number in range(30):
            await post(app, deploy(f"dep-{number}"))
        await expect(visit.page.locator(".changes")).to_contain_text("dep-29")
        assert await visit.page.evaluate(count) < 12 * 4 + 4  # a row with its text and two markers, twelve of them


async def test_it_is_worked_by_keyboard(app: App, chromium: Browser) -> None:
    """From the skip link to the content; arrow keys walk through a list, Enter opens, and the way back is kept."""
    await post(app, [*deploy("dep-a"), *deploy("dep-b")])
    async with visiting(chromium, f"{app.url}/#/deployments") as visit:
        page = visit.page
        await expect(page.locator(".row")).to_have_count(2)
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await page.locator(".rows").focus()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        await expect(page.locator(".row a").nth(1)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="States over time")).to_be_visible()
        await page.go_back()
        await expect(page.locator(".row")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_keeps_anybody_out(app: App, chromium: Browser, scheme: str) -> None:
    """axe finds nothing serious in any view, and a narrow screen needs no scrolling sideways."""
    await post(app, [*deploy("dep-a"), *deploy("dep-b")[:1], *MALFORMED[:1]])
    async with visiting(chromium, app.url, color_scheme=scheme, bypass_csp=True) as visit:
        page = visit.page
        await expect(page.locator(".tile", has_text="ALIVE").locator(".big")).to_have_text("1")
        await page.evaluate(Path(AXE_FILE_PATH).read_text("utf-8"))
        for view, ready in VIEWS.items():
            await page.evaluate("(hash) => { location.hash = hash }", view)
            await expect(page.locator(ready).first).to_be_visible()
            found = [one for one in await page.evaluate(AXE) if one[0] in ("serious", "critical")]
            assert not found, (view, found)
            await page.set_viewport_size(NARROW)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            await page.set_viewport_size({"width": 1280, "height": 800})


TRANSACTION = letter(deploy("dep-a")[0]).envelope.transaction_id or ""
VM = "source=default&deployment=dep-a&name=dep-a_0_50521f93-7374-4881-960b-95aa13d55ddf"
VIEWS = {
    "#/fleet": ".tile",
    "#/deployments": ".row",
    "#/vms": ".row",
    "#/operations": ".row",
    "#/feed": ".view-feed h1",
    "#/quarantine": ".card",
    "#/sources": ".card",
    "#/resources": ".rows",
    f"#/vm?{VM}": ".steps",
    f"#/operation?source=default&id={TRANSACTION}": ".timeline .bar",
    "#/deployment?source=default&id=dep-a": ".timeline .bar",
    "#/nowhere": ".notice",
}


@asynccontextmanager
async def proxied(target: str, prefix: str) -> AsyncIterator[str]:
    """A proxy that serves `target` below a path, as a web server in front of it would."""

    async def forward(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.removeprefix(prefix)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as client,
            client.get(f"{target}/{path}", headers=request.headers) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    proxy = web.Application()
    proxy.router.add_get(prefix + "{path:.*}", forward)
    async with TestServer(proxy) as server:
        yield str(server.make_url(prefix))


async def test_the_strip_says_how_many_workers_serve(
    chromium: Browser, postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """All of them; one less while one is started again. A single receiver says nothing of workers."""
    settings = {"postgres_dsn": postgres_dsn, "nats_url": nats_url, "worker_steady_s": 3600}
    async with crew(tmp_path, 2, **settings) as found, visiting(chromium, found.url) as visit:
        strip = visit.page.locator(".vital", has_text="Workers")
        await expect(strip).to_contain_text("2 of 2")
        for times in range(1, 6):  # the pause before the last start is long enough to be seen
            before = (await found.pids())[2]
            kill(before)
            await found.says("a worker has died; it is started again", times)
            if times < 5:
                await until(partial(_is_another, found, before))
        await expect(strip).to_contain_text("1 of 2")
        await expect(strip).to_contain_text("2 of 2", timeout=60_000)


async def _is_another(found: Crew, before: int) -> bool:
    return (await found.pids())[2] != before
