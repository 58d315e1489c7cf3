"""What comes to a source that nobody has configured: how it is kept, how many an hour, and who is told."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
import structlog

from receiver.config.settings import Settings
from receiver.errors import UnknownSourceError
from receiver.http.unknown_sources import NAME_CHARACTERS_MAX, NAMES_MAX, UnknownSources
from receiver.redaction.redactor import Redactor
from tests.support.ingress import serving

BODY = b"<deployment/>"
LAB: dict[str, Any] = {"lab": {}}


def sources(clock: Any = lambda: 0.0, **settings: object) -> UnknownSources:
    """Those of a receiver with these settings."""
    return UnknownSources(Settings.model_validate(settings), Redactor(), clock)


async def test_it_is_kept_as_it_came() -> None:
    """Under the name of the URL, with a note and without the token; whoever tries the URL learns that it is wrong."""
    async with serving(sources=LAB) as server:
        answer = await server.request("POST", "/esc/lba/callback/hunter2?ref=mine", BODY)
        (envelope,) = server.shelf.envelopes
        assert server.count("received_total", source="(unknown)", channel="callback") == 1
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}
        assert (await server.request("GET", "/esc/lba/callback")).status == 404
    assert answer.status == 202
    assert answer.json["receipt"] == answer.headers["esc-receipt-id"] == str(envelope.receipt)
    assert (envelope.source, envelope.notes, envelope.body, envelope.ref) == ("lba", ("unknown-source",), BODY, "mine")
    assert "hunter2" not in str(envelope)


async def test_limits_hold_for_it_too() -> None:
    """A body that is too large is refused."""
    async with serving(sources=LAB, body_bytes_max=10) as server:
        assert (await server.request("POST", "/esc/lba/callback", BODY)).status == 413
        assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}


async def test_beyond_the_limit_it_is_refused_as_before() -> None:
    """The answer names the limit, and the reason is counted."""
    async with serving(sources=LAB, unknown_source_per_hour=2) as server:
        answers = [await server.request("POST", f"/esc/{name}/events", BODY) for name in ("a", "b", "c")]
        assert server.count("refused_total", reason="unknown-source") == 1
    assert [answer.status for answer in answers] == [202, 202, 404]
    assert "unknown_source_per_hour" in answers[-1].json["detail"]


def test_the_limit_is_that_of_an_hour() -> None:
    """Of the clock."""
    times = iter([3_599.0, 3_599.9, 3_600.0, 3_601.0])
    unknown = sources(lambda: next(times), unknown_source_per_hour=1)
    unknown.take("a", None)
    with pytest.raises(UnknownSourceError, match="1 are kept an hour"):
        unknown.take("a", None)
    unknown.take("a", None)
    with pytest.raises(UnknownSourceError):
        unknown.take("a", None)


def test_a_name_cannot_become_that_of_a_source() -> None:
    """It is cut behind what a source's name may have; secrets and what PostgreSQL does not take are overwritten."""
    unknown = sources()
    assert unknown.name("x" * 9_000) == "x" * NAME_CHARACTERS_MAX
    assert unknown.name("a\0\ud800") == "a\\x00\\ud800"
    assert "hunter2" not in unknown.name("password=hunter2")


def test_the_first_of_each_name_is_told() -> None:
    """And no more names than can be remembered."""
    unknown = sources(unknown_source_per_hour=10 * NAMES_MAX)
    with structlog.testing.capture_logs() as lines:
        for _, number in zip(range(3 * NAMES_MAX), cycle(range(NAMES_MAX + 500)), strict=False):
            unknown.take(f"name-{number}", "10.0.0.1")
    assert len(lines) == NAMES_MAX
    assert (lines[0]["source"], lines[0]["peer"], lines[0]["log_level"]) == ("name-0", "10.0.0.1", "warning")


def test_the_line_can_be_pasted_whatever_the_name() -> None:
    """It came from outside: a shell must take it for one word."""
    with structlog.testing.capture_logs() as lines:
        sources().take("lab 1; id", "203.0.113.7")
    assert lines[0]["move"] == "esc-receiver replay --source 'lab 1; id' --to-source NAME"
