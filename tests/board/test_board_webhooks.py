"""Webhooks on the board: what each is sent, why one is sent nothing, and how it is sent something again."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from tests.support.browser import deploy, needs_chromium, post, receiving, visiting
from tests.support.webhook_endpoint import Endpoint, chosen

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_a_webhook_that_is_disabled_says_why_and_is_enabled(
    postgres_dsn: str, nats_url: str, tmp_path: Path, chromium: Browser
) -> None:
    """Its reason, the events that wait, a test event, and then all of them."""
    endpoint = Endpoint(answer=lambda _: web.Response(status=410, text="moved"))
    quick = {"webhook_check_s": 0.1, "webhook_allow": "127.0.0.0/8"}
    async with (
        endpoint.listening(),
        receiving(postgres_dsn, nats_url, tmp_path, webhooks=[chosen(endpoint)], **quick) as app,
        visiting(chromium, f"{app.url}/#/sources", viewport={"width": 400, "height": 800}) as visit,
    ):
        card = visit.page.locator(".webhook")
        await expect(card).to_contain_text("delivering")
        await post(app, deploy("dep-1"))
        await expect(card).to_contain_text("disabled")
        await expect(card).to_contain_text("it answered 410 Gone: moved")
        await card.get_by_role("button", name="Send a test event").click()
        await expect(card.get_by_role("status")).to_contain_text("Not taken: 410 Gone: moved")
        endpoint.answer = lambda _: None
        await card.get_by_role("button", name="Enable").click()
        await expect(card.locator(".card-head")).to_contain_text("delivering")
        await endpoint.has_taken(3)
        wide = await visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (wide, visit.complaints) == (0, [])
        await visit.page.screenshot(path=tmp_path / "webhooks.png", full_page=True)
