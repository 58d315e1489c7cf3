"""`esc-receiver verify-feed` as an operator meets it: what it prints, what it mends, and with which status."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
from click.testing import CliRunner, Result

from receiver.cli.main import main
from receiver.embedded.servers import EmbeddedNats
from tests.support.feed import Connection
from tests.support.served_feed import ServedFeed, quick_settings


async def verify(feed: ServedFeed, *arguments: str) -> Result:
    """The command, in a thread of its own as it runs a loop of its own."""
    environment = {
        "ESC_RECEIVER_POSTGRES_DSN": feed.settings.postgres_dsn,
        "ESC_RECEIVER_NATS_URL": feed.settings.nats_url,
        "ESC_RECEIVER_STREAM_DUPLICATE_WINDOW_S": "1",
        "ESC_RECEIVER_NATS_CONNECT_TIMEOUT_S": "1",
        "ESC_RECEIVER_LOG_LEVEL": "error",
    }
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["verify-feed", *arguments], env=environment, prog_name="esc-receiver"
    )


async def test_holes_are_told_and_closed(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """Without and beside a receiver: 0 nothing is missing, 1 something was or is, 2 it could not be compared."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        field = ServedFeed(quick_settings(postgres_dsn, tmp_path), connection, server)
        async with field.served() as app:
            await field.traffic(app, 1)
        whole = await field.ids()
        result = await verify(field)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.splitlines() == [
            f"stream ESC: {len(whole)} messages, 0 of them not of this ledger",
            "nothing is missing",
        ]
        lost = await field.remove(3, 4, len(whole))
        result = await verify(field, "--dry-run")
        assert result.exit_code == 1
        assert {f"missing: {one}" for one in lost} < set(result.stdout.splitlines())
        assert result.stdout.splitlines()[-1] == "3 messages would be published again"
        assert len(await field.ids()) == len(whole) - 3
        result = await verify(field, "-o", "json")
        assert result.exit_code == 1
        told = orjson.loads(result.stdout)
        assert (told["missing"], told["mended"], sorted(told["missing_ids"])) == (3, 3, sorted(lost))
        assert (await verify(field)).exit_code == 0
        await field.assert_complete()
        async with field.served():
            await field.remove(9)
            assert (await verify(field)).exit_code == 1
            await field.assert_complete()
    result = await verify(field)
    assert result.exit_code == 2
    assert "NATS cannot be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_help_shows_examples_and_statuses() -> None:
    """So that it can be used in a script without a look at the pages."""
    result = await asyncio.to_thread(CliRunner().invoke, main, ["verify-feed", "--help"])
    assert result.exit_code == 0
    assert "esc-receiver verify-feed --dry-run -o json | jq .missing" in result.stdout
    assert "Exit status: 0 nothing is missing" in result.stdout
