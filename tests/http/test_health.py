"""Whether it lives, whether it could keep a callback, and its figures."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from receiver.errors import SetupError
from receiver.http.health import Dependency, Health
from receiver.observability.metrics import Metrics
from tests.support.ingress import serving


async def answers() -> None:
    """A dependency that is well."""


async def refuses() -> None:
    """One that says what is wrong."""
    raise SetupError("PostgreSQL at db:5432 refuses the connection")


async def breaks() -> None:
    """One whose driver says too much."""
    raise OSError("cannot reach postgresql://receiver:hunter2@db/esc")


async def hangs() -> None:
    """One that never answers."""
    await asyncio.Event().wait()


async def clings() -> None:
    """One that never answers, nor ends when it is given up."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


def health(*dependencies: Dependency, warnings: tuple[str, ...] = ()) -> Health:
    """With short patience."""
    return Health(dependencies, Metrics(), 0.05, lambda: warnings)


async def test_it_is_alive_while_the_loop_turns() -> None:
    """Whatever it leans on."""
    async with serving([health(Dependency("postgres", hangs, needed=True))]) as server:
        assert (await server.request("GET", "/healthz")).json == {"alive": True}


async def test_it_is_ready_when_all_is_well() -> None:
    """And says what to mind."""
    room = health(Dependency("postgres", answers, needed=True), warnings=("source `default` is unprotected",))
    async with serving([room]) as server:
        answer = await server.request("GET", "/readyz")
    assert answer.status == 200
    assert answer.json == {
        "ready": True,
        "degraded": False,
        "dependencies": {"postgres": {"ok": True}},
        "warnings": ["source `default` is unprotected"],
    }


async def test_without_what_is_not_needed_it_is_degraded() -> None:
    """A callback can still be kept."""
    room = health(Dependency("postgres", answers, needed=True), Dependency("nats", refuses, needed=False))
    async with serving([room]) as server:
        answer = await server.request("GET", "/readyz")
    assert answer.status == 200
    assert (answer.json["ready"], answer.json["degraded"]) == (True, True)
    assert answer.json["dependencies"]["nats"] == {"ok": False, "why": "PostgreSQL at db:5432 refuses the connection"}


@pytest.mark.parametrize(
    ("ping", "why"),
    [
        (refuses, "PostgreSQL at db:5432 refuses the connection"),
        (breaks, "OSError"),
        (hangs, "no answer within readyz_timeout_s (0.05 s)"),
        (clings, "no answer within readyz_timeout_s (0.05 s)"),
    ],
)
async def test_without_what_is_needed_it_is_not_ready(ping: object, why: str) -> None:
    """503 with the reason, and no secret in it."""
    async with serving([health(Dependency("postgres", ping, needed=True))]) as server:  # type: ignore[arg-type]
        answer = await server.request("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["dependencies"] == {"postgres": {"ok": False, "why": why}}
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(
    ("accept", "media_type", "end"),
    [
        ("text/plain", "text/plain", b"\n"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", b"# EOF\n"),
    ],
)
async def test_metrics_come_in_the_format_asked_for(accept: str, media_type: str, end: bytes) -> None:
    """Prometheus asks for OpenMetrics, and `curl` for nothing in particular."""
    async with serving([health()]) as server:
        answer = await server.request("GET", "/metrics", headers=[("Accept", accept)])
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.body.endswith(end)
    assert b"esc_receiver_in_flight 0" in answer.body
