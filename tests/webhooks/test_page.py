"""What the page for developers shows is run: its endpoint takes our deliveries, its check knows them from others."""

from __future__ import annotations

import re
import time
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiohttp.test_utils import TestServer

from receiver.config.settings import Settings
from receiver.config.webhook_settings import Webhook
from receiver.webhooks.sender import send_once
from receiver.webhooks.signatures import signed_headers
from tests.support.webhook_endpoint import SECRET

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
ID = str(uuid4())
EVENT = {"id": ID, "type": "esc.vm.alive.v1", "subject": "vm/dep-1/vm-1", "data": {"to_state": "ALIVE"}}


def example(number: int) -> dict[str, Any]:
    """The names that an example of the page defines."""
    found = re.findall(r"^( *)```python\n(.*?)^\1```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(dedent(found[number][1]), f"{PAGE.name} {number}", "exec"), names)  # noqa: S102  # our own page
    return names


async def test_the_endpoint_of_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes an event twice and uses it once; of who does not know the secret it takes none."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    settings, body = Settings.model_validate({"webhook_allow": "127.0.0.0/8"}), orjson.dumps(EVENT)
    async with TestServer(example(0)["app"]) as server:
        url = str(server.make_url("/esc-events"))
        ours = Webhook.model_validate({"url": url, "secret": SECRET})
        theirs = Webhook.model_validate({"url": url, "secret": "whsec_" + "QUJD" * 8})
        statuses = [(await send_once(one, settings, ID, body)).status for one in (theirs, ours, ours)]
    assert statuses == [401, 200, 200]
    assert capsys.readouterr().out == "esc.vm.alive.v1 vm/dep-1/vm-1 ALIVE\n"


def test_the_check_by_hand() -> None:
    """Ours is genuine; an old one, a changed one and one of another secret are not."""
    is_genuine = example(1)["is_genuine"]
    keys = Webhook.model_validate({"url": "http://x", "secret": SECRET}).keys
    headers = signed_headers("id-1", int(time.time()), b"{}", (b"other" * 6, *keys))
    assert is_genuine(SECRET, headers, b"{}")
    assert not is_genuine(SECRET, headers, b"{} ")
    assert not is_genuine("whsec_" + "QUJD" * 8, headers, b"{}")
    assert not is_genuine(SECRET, signed_headers("id-1", int(time.time()) - 600, b"{}", keys), b"{}")
