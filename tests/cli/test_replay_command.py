"""`esc-receiver replay` as an operator meets it: what it prints, what it refuses, in one line and with which status."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import main
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.samples import SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples


@pytest.fixture
async def quarantined(postgres_dsn: str) -> str:
    """The DSN of a database with a deploy in quarantine."""
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(of_deployment(sample, "d1")).without_content() for sample in STORY])
    return postgres_dsn


async def replay(dsn: str, *arguments: Any, **environment: str) -> Result:
    """The command, in a thread of its own as it runs a loop of its own."""
    environment |= {"ESC_RECEIVER_POSTGRES_DSN": dsn, "ESC_RECEIVER_LOG_LEVEL": "error"}
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["replay", *map(str, arguments)], env=environment, prog_name="esc-receiver"
    )


async def test_a_dry_run_prints_each_transition(quarantined: str, connection: Connection) -> None:
    """When the callback arrived, what it would move from where to where, by which rule; then what it comes to."""
    result = await replay(quarantined, "--quarantine", "--dry-run")
    assert result.exit_code == 0, result.output
    *entries, callbacks, appended = result.stdout.splitlines()
    assert callbacks == f"{len(STORY)} callbacks: {len(STORY)} applied"
    assert appended == f"{len(entries)} ledger entries would be appended"
    assert any("deployment  default/d1  INERT → ACTIVE  active  (service-alive)" in line for line in entries)
    assert not result.stderr
    assert await connection.fetchval("SELECT count(*) FROM transitions") == 0
    done = await replay(quarantined, "--quarantine")
    assert done.stdout.splitlines() == [*entries, callbacks, f"{len(entries)} ledger entries appended"]
    assert await connection.fetchval("SELECT count(*) FROM transitions") == len(entries)


async def test_json_is_one_object_a_line(quarantined: str) -> None:
    """The ledger entries, and at last the summary."""
    result = await replay(quarantined, "--quarantine", "--json")
    *entries, last = map(json.loads, result.stdout.splitlines())
    assert last["summary"]["applied"] == len(STORY)
    assert last["summary"]["entries"] == len(entries)
    assert last["summary"]["dry_run"] is False
    assert {entry["trigger"] for entry in entries} == {"replay"}


async def test_export_and_file(quarantined: str, tmp_path: Path) -> None:
    """A file is written whole or not at all, and can be applied."""
    path = tmp_path / "quarantine.jsonl"
    result = await replay(quarantined, "--quarantine", "--export", path)
    assert result.stdout == f"{len(STORY)} callbacks in {path}\n"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    result = await replay(quarantined, "--file", path, "--json")
    assert json.loads(result.stdout.splitlines()[-1])["summary"]["applied"] == len(STORY)


async def test_a_schema_that_is_newer_is_refused(quarantined: str, connection: Connection) -> None:
    """In one line; nothing is done."""
    await connection.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later', 'x')")
    result = await replay(quarantined, "--quarantine")
    assert result.exit_code == 2
    assert result.stderr == (
        "esc-receiver: the database has migrations that this program does not know (9999): run the newer program\n"
    )
    assert await connection.fetchval("SELECT count(*) FROM transitions") == 0


async def test_a_schema_that_is_older_is_refused(quarantined: str, connection: Connection) -> None:
    """It says what to do."""
    await connection.execute("DELETE FROM schema_migrations WHERE version = 5")
    result = await replay(quarantined, "--quarantine")
    assert (result.exit_code, result.stderr) == (
        2,
        "esc-receiver: the schema lacks 0005_overdue: run `esc-receiver migrate` first\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which callbacks: --quarantine, --since and --until, or --file"),
        (["--source", "lab1"], "say which callbacks: --quarantine, --since and --until, or --file"),
        (["--quarantine", "--file", __file__], "--file goes with none of"),
        (["--since", "2026-01-01", "--export", "x", "--dry-run"], "--export changes nothing, so it has no --dry-run"),
        (["--since", "yesterday"], "'yesterday' is no time like 2026-01-31T12:00:00+01:00"),
        (["--file", "/no/such/file"], "does not exist"),
        (["--data-dir", "/no/such/folder", "--quarantine"], "is an embedded receiver running there?"),
        (["--quarantine"], "PostgreSQL cannot be reached"),
    ],
)
async def test_what_makes_no_sense_is_one_line(arguments: list[str], said: str) -> None:
    """And exit status 2."""
    result = await replay("postgresql://127.0.0.1:1/none", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


async def test_one_that_failed_is_told_at_the_end(quarantined: str, connection: Connection) -> None:
    """The others are applied; the exit status says that not all were."""
    await connection.execute("ALTER TABLE vms ADD CONSTRAINT bad_name CHECK (vm_name NOT LIKE 'd1%')")
    result = await replay(quarantined, "--quarantine")
    assert result.exit_code == 2
    assert "2 callbacks could not be applied; nothing came of them" in result.stderr
    assert "1 applied, 2 failed" in result.stdout


async def test_names_cannot_steer_the_terminal(postgres_dsn: str) -> None:
    """They come from outside."""
    async with keeping(postgres_dsn) as keeper:
        told = of_deployment(STORY[0], "d&#x9b;2J")
        await decisions(keeper, [letter(told).without_content()])
    result = await replay(postgres_dsn, "--quarantine")
    assert r"d\u009b2J" in result.stdout
    assert "\x9b" not in result.stdout


async def test_a_stream_is_rebuilt(quarantined: str, nats_url: str) -> None:
    """What is published is told; a stream that holds anything is refused without --purge, by one line."""
    await replay(quarantined, "--quarantine")
    place = {"ESC_RECEIVER_NATS_URL": nats_url}
    result = await replay(quarantined, "--to-stream", **place)
    assert result.exit_code == 0, result.output
    published = int(result.stdout.removesuffix(" messages published\n"))
    result = await replay(quarantined, "--to-stream", **place)
    assert result.exit_code == 2
    assert result.stderr == (
        f"esc-receiver: stream ESC holds {published} messages: consumers would get them twice. "
        "With --purge they are taken out first\n"
    )
    result = await replay(quarantined, "--to-stream", "--purge", "--json", **place)
    assert json.loads(result.stdout) == {"published": published}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--purge", "--quarantine"), "--purge goes with --to-stream"),
        (("--to-stream", "--dry-run"), "--to-stream goes with none of the options that choose callbacks"),
        (("--to-stream", "--source", "lab1"), "--to-stream goes with none of the options that choose callbacks"),
    ],
)
async def test_what_does_not_go_together_with_a_stream_is_named(arguments: tuple[str, ...], why: str) -> None:
    """In one line, before anything is looked at."""
    result = await replay("postgresql://nobody@127.0.0.1:1/none", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"esc-receiver: {why}")
    assert len(result.stderr.splitlines()) == 1
