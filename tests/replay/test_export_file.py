"""Raw callbacks in a file: written and read again byte for byte, or turned away with the line that is wrong."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.model.envelope import Envelope
from receiver.postgres.migrations import migrate
from receiver.redaction.redactor import Redactor
from receiver.replay.export_file import count, line_of, lines
from receiver.replay.results import Fate, Selection
from receiver.replay.runs import export, replay
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.replays import everything, letters, traffic
from tests.support.samples import SAMPLES, SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
BODY = STORY[0].body
LINE: dict[str, Any] = {"source": "lab1", "body": b64encode(BODY).decode()}


def read(*said: dict[str, Any] | bytes, **changed: Any) -> list[Envelope]:
    """What a file of these lines holds."""
    text = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in said)
    return list(lines(BytesIO(text), "some.jsonl", Settings(**changed)))


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.name)
def test_what_is_written_is_read(sample: Any) -> None:
    """Every sample, malformed ones too; secrets have been overwritten at the door."""
    body, redacted = Redactor().redact(sample.body)
    envelope = letter(sample).envelope._replace(body=body, redacted=redacted)
    (again,) = lines(BytesIO(line_of(envelope)), "some.jsonl", Settings())
    assert again == envelope


def test_two_keys_are_enough() -> None:
    """The rest is as of a callback that arrives now without any header."""
    (one,) = read(LINE)
    assert (one.source, one.body, one.channel, one.headers, one.transaction_id) == ("lab1", BODY, None, [], None)
    assert datetime.now(UTC) - one.received_at < timedelta(minutes=1)


def test_the_header_is_read_as_it_is_at_the_door() -> None:
    """An object of names and values will do, too."""
    (one,) = read(
        {**LINE, "headers": {"ESC_TRANSACTION_ID": "t1", "ESC-Status-Code": "500", "Authorization": "Basic x"}}
    )
    assert (one.transaction_id, one.status_code) == ("t1", 500)
    assert one.headers[2] == ("Authorization", "***")


def test_secrets_are_overwritten() -> None:
    """A file may come from anywhere."""
    body = BODY.replace(b"</", b"<password>hunter2</password></", 1)
    (one,) = read({**LINE, "body": b64encode(body).decode()})
    assert one.redacted
    assert b"hunter2" not in one.body


def test_the_same_line_is_the_same_callback() -> None:
    """Its receipt follows from time and content, so that reading it again adds nothing."""
    timed = {**LINE, "received_at": "2026-01-01T10:00:00.123456+02:00"}
    first, again, other = (*read(timed, timed), *read({**timed, "source": "lab2"}))
    assert first.receipt == again.receipt != other.receipt
    assert first.received_at == datetime(2026, 1, 1, 8, 0, 0, 123456, tzinfo=UTC)
    assert first.receipt.version == 7
    assert first.receipt.int >> 80 == round(first.received_at.timestamp() * 1000 - 0.456)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"{", "unexpected end of data"),
        (b"[]", "not a JSON object with `source` and `body`"),
        ({"source": "lab1"}, "not a JSON object with `source` and `body`"),
        ({**LINE, "header": []}, "no such key: header"),
        ({**LINE, "body": "<xml/>"}, "body: not base64"),
        ({**LINE, "body": 5}, "body: no text"),
        ({**LINE, "source": "a/b"}, "source: a source's name is 1 to 64 letters"),
        ({**LINE, "channel": "both"}, "channel: neither `callback` nor `events`"),
        ({**LINE, "headers": [["a"]]}, "headers: neither an object nor a list"),
        ({**LINE, "headers": {"a": 1}}, "headers: neither an object nor a list"),
        ({**LINE, "received_at": "2026-01-01T10:00:00"}, "received_at: without an offset from UTC"),
        ({**LINE, "received_at": "9999-01-01T10:00:00Z"}, "received_at: not a time in the past"),
        ({**LINE, "received_at": "then"}, "Invalid isoformat string"),
        ({**LINE, "receipt": "01960000-0000-7000-8000-000000000000"}, "receipt: without received_at"),
        (
            {**LINE, "receipt": "01960000-0000-7000-8000-000000000000", "received_at": "2026-01-01T10:00:00Z"},
            "receipt: not of the time that received_at tells",
        ),
        ({**LINE, "receipt": 7, "received_at": "2026-01-01T10:00:00Z"}, "badly formed hexadecimal UUID string"),
    ],
)
def test_a_line_that_is_none_is_named(said: Any, fault: str) -> None:
    """With the file, its number, and what is wrong with it."""
    with pytest.raises(SetupError, match=r"^some\.jsonl, line 3: ") as error:
        read(LINE, b"", said)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "said",
    [
        {**LINE, "body": b64encode(bytes(1025)).decode()},
        {**LINE, "headers": [["n", "v" * 5000]]},
        b" " * 100_000,
    ],
    ids=["body", "header", "line"],
)
def test_the_limits_of_the_door_hold(said: Any) -> None:
    """And no line is read into memory that cannot be within them."""
    with pytest.raises(SetupError, match=r"line 1: .*(_bytes_max|longer)"):
        read(said, body_bytes_max=1024, header_bytes_max=4096)


async def applied(dsn: str, path: Path, **how: Any) -> Any:
    """What a replay of the file comes to."""
    return await replay(Settings(postgres_dsn=dsn, batch_callbacks_max=20), Selection(**how), path)


@pytest.fixture
async def other(empty_postgres_dsn: str) -> AsyncIterator[Connection]:
    """A connection to another database of ours."""
    connection = await asyncpg.connect(empty_postgres_dsn)
    await migrate(connection)
    yield connection
    await connection.close()


async def test_what_is_exported_can_be_applied_elsewhere(
    postgres_dsn: str, empty_postgres_dsn: str, connection: Connection, other: Connection, tmp_path: Path
) -> None:
    """Another database then holds the same callbacks and states; the same file again changes nothing, here or there."""
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, letters(traffic(5, gap_s=30.0)))
    path = tmp_path / "all.jsonl"
    settings = Settings(postgres_dsn=postgres_dsn, batch_callbacks_max=20)
    here = await everything(connection)
    assert await export(settings, Selection(), path) == len(here["callbacks"]) == count(path, settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await applied(empty_postgres_dsn, path)).new == len(here["callbacks"])
    for columns, table in (
        ("receipt, received_at, source, channel, headers, body, outcome, rule, family, vm_name", "callbacks"),
        ("id, state, memory", "vms"),
        ("id, state, vms", "deployments"),
        ("id, state, kind, vms_seen, vms_alive", "operations"),
        ("id, state", "resources"),
        ("entity_id, sequence, from_state, to_state, change, rule, receipt", "transitions"),
    ):
        query = f"SELECT ({columns})::text FROM {table} ORDER BY 1"  # noqa: S608 - from above
        assert await other.fetch(query) == await connection.fetch(query), table
    await assert_ledger_is_whole(other)
    there = await everything(other)
    for dsn in (empty_postgres_dsn, postgres_dsn):
        summary = await applied(dsn, path)
        assert (summary.new, summary.entries) == (0, 0)
    assert (await everything(other), await everything(connection)) == (there, here)


async def test_only_one_source_of_a_file(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """Where only that one is wanted."""
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"\n".join(json.dumps({**LINE, "source": f"lab{n % 2}"}).encode() for n in range(4)))
    assert (await applied(postgres_dsn, path, source="lab1")).callbacks == 2
    assert await connection.fetchval("SELECT count(*) FROM callbacks WHERE source = 'lab0'") == 0


async def test_a_file_is_read_whole_before_anything_is_done(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """So that nothing is done by halves."""
    path = tmp_path / "some.jsonl"
    path.write_bytes(json.dumps(LINE).encode() + b"\nnonsense\n")
    with pytest.raises(SetupError, match="line 2"):
        await applied(postgres_dsn, path)
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 0


async def test_what_is_older_than_callbacks_are_kept_is_passed_over(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """It would be dropped again at once, and what it did then may be forgotten by now."""
    path = tmp_path / "some.jsonl"
    path.write_bytes(json.dumps({**LINE, "received_at": "2020-01-01T00:00:00Z"}).encode())
    assert (await applied(postgres_dsn, path)).fates == {Fate.GONE: 1}
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 0


async def test_a_dry_run_of_a_file_keeps_nothing(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """It tells what would be new."""
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"".join(line_of(letter(of_deployment(sample, "d1")).envelope) for sample in STORY))
    settings, before = Settings(postgres_dsn=postgres_dsn), await everything(connection)
    summary = await replay(settings, Selection(), path, dry_run=True)
    assert (summary.new, summary.fates) == (len(STORY), {Fate.APPLIED: len(STORY)})
    assert await everything(connection) == before


def test_the_lines_of_an_export_are_plain(tmp_path: Path) -> None:
    """Any program can read them."""
    envelope = letter(STORY[0], ref="order-7").envelope
    said = json.loads(line_of(envelope))
    assert b64decode(said["body"]) == STORY[0].body
    assert (said["ref"], said["source"], said["receipt"]) == ("order-7", "default", str(envelope.receipt))
