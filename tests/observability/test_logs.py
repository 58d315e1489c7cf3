"""Log lines: one wide line for each callback, JSON for programs and text for people, and never a secret."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from asyncpg.connect_utils import TLSUpgradeProto

from receiver.config.settings import Settings
from receiver.observability import logs
from receiver.observability.log_writer import LogWriter
from receiver.observability.trouble_log import TroubleLog
from tests.support.ingress import Serving, serving

HEADERS = [("ESC-Transaction-Id", "tx-1"), ("ESC-Status-Code", "200")]
PATIENCE_S = 60
SECRET = {"lab": {"tokens": ["open-sesame"]}}


@contextmanager
def standard_logging() -> Iterator[None]:
    """`logging` as it was, at the end."""
    handlers = logging.root.handlers[:]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.captureWarnings(False)
        logging.root.handlers[:] = handlers


async def post(server: Serving, path: str = "/esc/lab/callback/open-sesame?ref=order-7") -> None:
    """One callback."""
    answer = await server.request("POST", path, b"<deployment><admin_password>x</admin_password></deployment>", HEADERS)
    assert answer.status == 200


def lines(captured: Any) -> list[dict[str, Any]]:
    """What was written to standard error, read."""
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


async def test_a_callback_is_one_wide_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """All that is known of it: who, what, how long, and what became of it; the receipt is its id everywhere."""
    logs.configure(Settings(log_format="json"))
    async with serving(sources=SECRET, log_format="json") as server:
        await post(server)
        await asyncio.sleep(0)  # the loop turns once more, and with it the lines are written
    (line,) = lines(capsysbinary)
    (envelope,) = server.shelf.envelopes
    assert line.pop("seconds") > 0
    assert line == {
        "event": "callback",
        "level": "info",
        "timestamp": envelope.received_at.isoformat(),
        "receipt": str(envelope.receipt),
        "source": "lab",
        "channel": "callback",
        "peer": "127.0.0.1",
        "transaction_id": "tx-1",
        "ref": "order-7",
        "status_code": 200,
        "outcome": "applied",
        "reason": "the body is empty",
        "body_bytes": len(envelope.body),
    }


async def test_no_line_shows_a_secret(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Neither the token of the path nor what the body held, also where it is refused."""
    logs.configure(Settings(log_format="json"))
    async with serving(sources=SECRET, log_format="json") as server:
        await post(server)
        assert (await server.request("POST", "/esc/lab/callback/open-sesam", b"<x/>")).status == 401
        await asyncio.sleep(0)
    said = capsysbinary.readouterr().err
    assert b"callback" in said
    assert b"sesam" not in said


@pytest.mark.parametrize("changed", [{"log_callbacks": False}, {"log_level": "warning"}])
async def test_the_lines_can_be_switched_off(
    changed: dict[str, Any], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """By a setting of their own, or with all others of their level."""
    logs.configure(Settings(log_format="json", **changed))
    async with serving(sources=SECRET, log_format="json", **changed) as server:
        await post(server)
        await asyncio.sleep(0)
    assert capsysbinary.readouterr().err == b""


async def test_people_read_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The same facts, as all other lines look."""
    settings = Settings(log_format="text")
    logs.configure(settings)
    async with serving(sources=SECRET, log_format="text") as server:
        await post(server)
    said = capsys.readouterr().err
    assert "callback" in said
    assert "transaction_id=tx-1" in said


STEERING = "\x1b]0;pwned\x07\x9b2J\u202e\x7f\nforged"
"""Sets the window's title, clears the screen, turns what follows around, begins a line."""


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_what_a_sender_writes_does_not_steer_the_terminal(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a reference nor a transaction id, nor what an error repeats of it; it is shown as it was written."""
    logs.configure(Settings.model_validate({"log_format": log_format}))
    async with serving(sources=SECRET, log_format=log_format) as server:
        path = f"/esc/lab/callback/open-sesame?ref={quote(STEERING)}"
        headers = [("ESC-Transaction-Id", "tx\u202e\x9b")]
        assert (await server.request("POST", path, b"<x/>", headers)).status == 200
        await asyncio.sleep(0)
    structlog.get_logger().error(STEERING, name=STEERING, exc_info=ValueError(STEERING))
    said = capsys.readouterr().err
    assert all(line.isprintable() for line in said.split("\n")), said
    assert r"\u001b]0;pwned\u0007\u009b2J\u202e" in said
    if log_format == "json":
        callback, error = map(json.loads, said.splitlines())
        assert (callback["ref"], error["name"]) == (STEERING, STEERING)


def test_lines_are_json_with_a_time_and_a_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors bear their trace as text."""
    logs.configure(Settings(log_format="json"))
    structlog.get_logger().error("it stumbled", receipt="r1", exc_info=ValueError("odd"))
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["receipt"]) == ("it stumbled", "error", "r1")
    assert line["timestamp"].endswith("Z")
    assert "ValueError: odd" in line["exception"]


def test_lines_of_libraries_look_like_ours() -> None:
    """Also warnings of Python: all of them go the way on which nobody waits."""
    read, write = os.pipe()
    writer = LogWriter(write, 1_000_000)
    with standard_logging():
        logs.configure(Settings(log_format="json"), writer)
        logging.getLogger("aiohttp.server").error("it %s", "stumbled", exc_info=ValueError("odd"))
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        writer.close(PATIENCE_S)
    os.close(write)
    with os.fdopen(read, "rb") as written:
        error, warning = map(json.loads, written)
    assert (error["event"], error["level"], error["logger"]) == ("it stumbled", "error", "aiohttp.server")
    assert "ValueError: odd" in error["exception"]
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")


async def test_a_connection_that_was_given_up_leaves_no_traceback() -> None:
    """asyncpg's way of asking for TLS, when its time is over as the server takes the connection; other errors stay."""
    read, write = os.pipe()
    writer = LogWriter(write, 1_000_000)
    loop = asyncio.get_running_loop()
    with standard_logging():
        logs.configure(Settings(log_format="json"), writer)
        asking = TLSUpgradeProto(loop, "db", 5432, ssl.create_default_context(), ssl_is_advisory=False)
        asking.connection_lost(None)
        loop.create_future().set_exception(ValueError("odd"))
        del asking
        gc.collect()
        writer.close(PATIENCE_S)
    os.close(write)
    with os.fdopen(read, "rb") as written:
        (line,) = map(json.loads, written)
    assert "ValueError: odd" in line["exception"]


def test_a_trouble_that_lasts_is_logged_once_for_each_reason() -> None:
    """And again when it had passed; where reasons alternate, only when it begins."""
    with structlog.testing.capture_logs() as said:
        for trouble in (TroubleLog("cannot"), TroubleLog("cannot", each_reason=False)):
            for why in ("a", "a", "b"):
                trouble.report(why)
            trouble.clear()
            trouble.report("b")
    assert [line["why"] for line in said] == ["a", "b", "b", "a", "b"]
