"""A developer's endpoint for webhooks: a real HTTP server that takes, refuses, dawdles, dies and comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.feed import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Answer = Callable[["Delivered"], web.Response | None]


@dataclass(frozen=True)
class Delivered:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent."""
        event: dict[str, Any] = orjson.loads(self.body)
        return event

    @property
    def about(self) -> tuple[str, int]:
        """Its entity, and its number there."""
        return self.event["subject"], int(self.event["sequence"])


@dataclass
class Endpoint:
    """What it was sent. `answer` may answer for it; 200 where that says nothing."""

    requests: list[Delivered] = field(default_factory=list)
    taken: list[Delivered] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    most_under_way: int = 0
    """Of one entity at once."""
    port: int = 0
    scheme: str = "http"
    answer: Answer = lambda _: None
    delay_s: float = 0.0

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    async def has_taken(self, number: int, timeout_s: float = 60) -> None:
        """So many different events."""

        async def has() -> bool:
            return len({one.id for one in self.taken}) >= number

        await until(has, timeout_s)

    async def was_asked(self, number: int, timeout_s: float = 60) -> None:
        """So many requests came."""

        async def was() -> bool:
            return len(self.requests) >= number

        await until(was, timeout_s)

    def assert_in_order(self) -> None:
        """Of each entity, the first time that each event was taken; and never two at once."""
        first: dict[str, list[int]] = defaultdict(list)
        for one in self.taken:
            name, sequence = one.about
            if sequence not in first[name]:
                first[name].append(sequence)
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in first.values()), first
        assert self.most_under_way <= 1

    async def handle(self, request: web.Request) -> web.Response:
        """One delivery."""
        one = Delivered({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.requests.append(one)
        name = one.event["subject"]
        self.under_way[name] += 1
        self.most_under_way = max(self.most_under_way, self.under_way[name])
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            answer = self.answer(one)
            if answer is None or answer.status // 100 == 2:
                self.taken.append(one)
            return answer or web.Response(text="thanks")
        finally:
            self.under_way[name] -= 1

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """On the port that it had before, if it had one."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        self.scheme = "https" if context else "http"
        try:
            yield
        finally:
            await runner.cleanup()


def chosen(endpoint: Endpoint, name: str = "orders", **more: Any) -> dict[str, Any]:
    """Its entry in the settings."""
    return {"name": name, "url": endpoint.url, "secret": [SECRET], **more}
