"""/api/docs in a real browser: each read can be tried, with the page's token; an answer is text, whatever it says."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.support.browser import browser, needs_chromium, visiting
from tests.support.query_api import deploy, running_api, store

TOKEN = "a-token-that-reads"
MARKUP = "<img src=x onerror=alert(1)>"


@needs_chromium
async def test_a_read_can_be_tried(postgres_dsn: str) -> None:
    """With path and query, without a token and with one; what comes back is shown and not run."""
    await store(postgres_dsn, [*deploy("one"), *deploy(MARKUP.replace("<", "&lt;"))])
    async with (
        running_api(postgres_dsn, read_tokens=[TOKEN]) as api,
        browser() as chromium,
        visiting(chromium, f"{api.url}/api/docs") as visit,
    ):
        vms = visit.page.locator("#vms details.try")
        await vms.locator("summary").click()
        await vms.get_by_role("button").click()
        await expect(vms.locator("output")).to_contain_text("401")
        await visit.page.locator("#token").fill(TOKEN)
        await vms.locator("input[name=state]").fill("ALIVE, ERROR")
        await vms.get_by_role("button").click()
        await expect(vms.locator("output")).to_contain_text('"state": "ALIVE"')
        await expect(vms.locator("output")).to_contain_text(MARKUP)
        assert await vms.locator("output *").count() == 0
        assert any(url.endswith("/vms?state=ALIVE&state=ERROR") for url in visit.requested)
        one = visit.page.locator("#deployment details.try")
        await one.locator("summary").click()
        await one.locator("input[name=source]").fill("default")
        await one.locator("input[name=deployment]").fill(f"one/{MARKUP}")
        await one.get_by_role("button").click()
        await expect(one.locator("output")).to_contain_text("404")
        assert await one.locator("output *").count() == 0
        assert all(url.startswith(api.url) for url in visit.requested)
        assert not [said for said in visit.complaints if not re.search("40[14]", said)], visit.complaints


async def test_what_has_no_end_or_changes_something_is_not_offered(postgres_dsn: str) -> None:
    """The live feed, and whatever is posted."""
    async with running_api(postgres_dsn) as api, api.client.get(f"{api.url}/api/docs") as answer:
        paths = re.findall(r'<form data-path="([^"]+)"', await answer.text())
    assert "v1/vms" in paths
    assert "v1/stats" in paths
    assert "v1/feed" not in paths
    assert "v1/replay" not in paths
