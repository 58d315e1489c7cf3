"""`tail` shows what happens on the feed, to people and to programs, and ends with one clear line when it cannot."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from click.testing import CliRunner
from nats.js.api import StreamConfig

from receiver.cli.main import main
from receiver.embedded.child_process import free_port
from receiver.embedded.servers import EmbeddedNats
from receiver.events.cloudevents import OutboxRow, unclassified_event
from tests.events.test_cloudevents import notification
from tests.support import feed
from tests.support.query_api import READ, deploy, running_api, store

TAIL = "from receiver.cli.main import main; main(prog_name='esc-receiver')"


async def publish(url: str, rows: Sequence[OutboxRow]) -> None:
    """Put messages into the feed's stream as the relay does."""
    async with feed.jetstream(url) as js:
        await js.add_stream(StreamConfig(name="ESC", subjects=["esc.v1.>"]))
        for row in rows:
            await js.publish(row.subject, row.payload.encode(), headers=orjson.loads(row.headers))


def some_of_each() -> list[OutboxRow]:
    """One message of each kind, of two sources."""
    return [
        feed.event(feed.vm("vm-1", state="ERROR"), change="error", trigger="VM_DEPLOYED", reason="the VIM said no"),
        feed.event(feed.vm("vm-2")),
        feed.event(feed.deployment(source="lab2")),
        feed.event(feed.operation(state="SUCCEEDED", ended_at=feed.NOW)),
        feed.event(feed.resource()),
        unclassified_event(notification(source="lab2"), "an unknown root", "unknown-root"),
    ]


async def tail(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the command to its end: status, output, errors."""
    async with asyncio.timeout(feed.PATIENCE_S):
        result = await asyncio.to_thread(CliRunner().invoke, main, ["tail", *arguments], env=environment)
    return result.exit_code, result.stdout, result.stderr


@asynccontextmanager
async def following(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command at work, interrupted at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-c", TAIL, "tail", *arguments), stdout=asyncio.subprocess.PIPE
    )
    yield process
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def lines_of(process: asyncio.subprocess.Process, number: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout
    async with asyncio.timeout(feed.PATIENCE_S):
        return [(await process.stdout.readline()).decode() for _ in range(number)]


async def consumers(url: str) -> int:
    """How many read the stream."""
    async with feed.jetstream(url) as js:
        return (await js.stream_info("ESC")).state.consumer_count


async def test_everything_from_the_start_in_order(nats_url: str) -> None:
    """A line each, that says what happened to whom, and why."""
    await publish(nats_url, some_of_each())
    status, output, errors = await tail("--nats-url", nats_url, "--from-start", "--limit", "6")
    assert (status, errors) == (0, "")
    lines = [re.sub(r"^\S+ +", "", line) for line in output.splitlines()]
    assert lines[0] == (
        "vm          error         lab1/tenant-1/dep-1/vm-1  UNSEEN → ERROR  VM_DEPLOYED: the VIM said no"
    )
    assert [line.split()[:2] for line in lines] == [
        ["vm", "error"],
        ["vm", "alive"],
        ["deployment", "active"],
        ["operation", "succeeded"],
        ["resource", "created"],
        ["callback", "unclassified"],
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--entity", "vm"], ["vm", "vm"]),
        (["--entity", "vm", "--entity", "operation"], ["vm", "vm", "operation"]),
        (["--entity", "callback"], ["callback"]),
        (["--change", "error", "--change", "succeeded"], ["vm", "operation"]),
        (["--source", "lab2"], ["deployment", "callback"]),
        (["--entity", "vm", "--change", "error", "--source", "lab1"], ["vm"]),
    ],
)
async def test_filters(nats_url: str, arguments: list[str], expected: list[str]) -> None:
    """Of one kind any of the given, of several kinds all must fit; the broker filters."""
    await publish(nats_url, some_of_each())
    status, output, errors = await tail(
        "--nats-url", nats_url, "--from-start", "--json", "--limit", str(len(expected)), *arguments
    )
    assert (status, errors) == (0, "")
    assert [orjson.loads(line)["data"]["entity"] for line in output.splitlines()] == expected


async def test_json_is_a_cloud_event_on_each_line(nats_url: str) -> None:
    """With its attributes and the payload as it stands on the feed."""
    row = feed.event(feed.vm("a b"), operation="t 1")
    await publish(nats_url, [row])
    _, output, _ = await tail("--nats-url", nats_url, "--from-start", "--json", "--limit", "1")
    event: Any = orjson.loads(output)
    assert event["data"] == orjson.loads(row.payload)
    assert event["specversion"] == "1.0"
    assert event["id"] == str(row.id)
    assert event["subject"] == "vm/dep-1/a b"
    assert event["correlationid"] == "t 1"


async def test_what_happens_from_now_on(nats_url: str) -> None:
    """Without --from-start the past stays out; what comes is shown when it comes; Ctrl-C ends it with status 0."""
    await publish(nats_url, [feed.event(feed.vm("past"))])
    async with following("--nats-url", nats_url) as process:
        await feed.until(lambda: _is_read(nats_url))
        for name in ("one", "two", "three"):
            await publish(nats_url, [feed.event(feed.vm(name))])
            assert f"/dep-1/{name} " in (await lines_of(process, 1))[0]


async def test_goes_on_where_it_was_when_nats_was_away(tmp_path: Path) -> None:
    """Nothing is missed and nothing shown twice."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        await publish(server.url, feed.vm_events(3, vms=1))
        async with following("--nats-url", server.url, "--from-start", "--json") as process:
            shown = await lines_of(process, 3)
            os.kill(server.pid, signal.SIGKILL)
            await server.ended()
            await server.start()
            await publish(server.url, feed.vm_events(2, vms=1))
            shown += await lines_of(process, 2)
    assert [orjson.loads(line)["data"]["sequence"] for line in shown] == [1, 2, 3, 1, 2]


async def test_embedded_receiver_is_found_by_its_folder(nats_url: str, tmp_path: Path) -> None:
    """--data-dir is enough; the environment says where NATS is otherwise."""
    await publish(nats_url, some_of_each())
    (tmp_path / "endpoints.json").write_bytes(orjson.dumps({"nats_url": nats_url}))
    by_folder = await tail("--data-dir", str(tmp_path), "--from-start", "--limit", "6")
    by_environment = await tail("--from-start", "--limit", "6", ESC_RECEIVER_NATS_URL=nats_url)
    assert by_folder == by_environment
    assert by_folder[0] == 0


async def test_colours_only_on_a_terminal_and_no_control_characters(nats_url: str) -> None:
    """What comes from outside cannot steer the terminal."""
    await publish(nats_url, [feed.event(feed.vm("a\x1b[2Jb\n\u202e", state="ERROR"), change="error")])
    _, output, _ = await tail("--nats-url", nats_url, "--from-start", "--limit", "1")
    assert "\x1b" not in output
    assert r"a\u001b[2Jb\u000a" in output
    assert output.count("\n") == 1
    _, output, _ = await tail("--nats-url", nats_url, "--from-start", "--limit", "1", "--json")
    assert output.rstrip("\n").isprintable()
    assert orjson.loads(output)["data"]["name"] == "a\x1b[2Jb\n\u202e"


async def test_strangers_message_is_named_as_such(nats_url: str) -> None:
    """Whoever else publishes to the stream must not end the command."""
    await publish(nats_url, [])
    async with feed.jetstream(nats_url) as js:
        await js.publish("esc.v1.x.y.z", b"what?")
    line = await tail("--nats-url", nats_url, "--from-start", "--limit", "1")
    json = await tail("--nats-url", nats_url, "--from-start", "--limit", "1", "--json")
    assert line == (0, "esc.v1.x.y.z  5 bytes that are none of ours\n", "")
    assert orjson.loads(json[1])["data_base64"] == "d2hhdD8="


async def test_faults_are_one_clear_line(nats_url: str, tmp_path: Path) -> None:
    """With exit status 2, and without the password."""
    port = free_port()
    away = await tail("--nats-url", f"nats://user:secret@127.0.0.1:{port}")
    no_stream = await tail("--nats-url", nats_url)
    no_folder = await tail("--data-dir", str(tmp_path))
    assert [status for status, _, _ in (away, no_stream, no_folder)] == [2, 2, 2]
    assert f"NATS cannot be reached at 127.0.0.1:{port}" in away[2]
    assert "secret" not in away[2]
    assert "has no stream ESC" in no_stream[2]
    assert "endpoints.json cannot be read" in no_folder[2]
    assert all(len(errors.splitlines()) == 1 for _, _, errors in (away, no_stream, no_folder))


async def test_relay_and_tail_meet(postgres_dsn: str, nats_url: str, connection: asyncpg.Connection[Any]) -> None:
    """What the relay publishes, the command shows."""
    from tests.support.relays import Place, drain  # noqa: PLC0415

    place = Place(postgres_dsn, nats_url, connection)
    await place.insert(some_of_each())
    async with place.clean_up:
        await drain(place.relay())
    status, output, _ = await tail("--nats-url", nats_url, "--from-start", "--limit", "6")
    assert (status, len(output.splitlines())) == (0, 6)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"entity": ["vm"]},
        {"entity": ["vm", "operation"], "change": ["succeeded", "alive"]},
        {"deployment": ["dep-a"], "source": ["default"], "change": ["alive"]},
    ],
)
async def test_a_receivers_feed(postgres_dsn: str, wanted: dict[str, list[str]]) -> None:
    """Without a NATS it is read from a receiver; the same filters choose, and --json gives its ledger entries."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    async with running_api(postgres_dsn) as api:
        ledger = await api.all_items("/transitions")
        expected = [entry for entry in ledger if all(entry[name] in some for name, some in wanted.items())]
        chosen = [word for name, some in wanted.items() for one in some for word in (f"--{name}", one)]
        fixed = ("--from-start", "--limit", str(len(expected)), *chosen)
        status, output, errors = await tail(*fixed, "--json", ESC_RECEIVER_URL=api.url)
        assert (status, errors) == (0, "")
        assert [orjson.loads(line) for line in output.splitlines()] == expected
        _, output, _ = await tail("--url", api.url, *fixed, ESC_RECEIVER_NATS_URL="nats://127.0.0.1:1")
        assert [line.split()[1:3] for line in output.splitlines()] == [[e["entity"], e["change"]] for e in expected]


async def test_a_receivers_feed_goes_on_when_it_comes_back(postgres_dsn: str) -> None:
    """Behind the last entry that was shown: nothing is missed and nothing shown twice."""
    async with AsyncExitStack() as first, AsyncExitStack() as rest:
        port = free_port()
        api = await first.enter_async_context(running_api(postgres_dsn, port=port))
        await store(postgres_dsn, deploy("dep-a"))
        many = len(await api.all_items("/transitions"))
        process = await rest.enter_async_context(following("--url", api.url, "--from-start", "--json"))
        shown = await lines_of(process, many)
        await first.aclose()
        await store(postgres_dsn, deploy("dep-b"))
        api = await rest.enter_async_context(running_api(postgres_dsn, port=port))
        ledger = await api.all_items("/transitions")
        shown += await lines_of(process, len(ledger) - many)
        assert [orjson.loads(line)["id"] for line in shown] == [entry["id"] for entry in ledger]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--token", "wrong"], "it does not take this token"),
        (["--token", "reader", "--entity", "callback"], "entity: A parameter is wrong: must be one of"),
    ],
)
async def test_faults_of_a_receivers_feed_are_one_clear_line(
    postgres_dsn: str, arguments: list[str], told: str
) -> None:
    """With exit status 2."""
    async with running_api(postgres_dsn, read_tokens=[READ]) as api:
        status, output, errors = await tail("--url", api.url, *arguments)
    assert (status, output, len(errors.splitlines())) == (2, "", 1)
    assert told in errors


@pytest.mark.parametrize("deployment", ["dep-1", "dep-2"])
async def test_a_deployment_chosen_from_nats(nats_url: str, deployment: str) -> None:
    """Wherever its id stands in the subject."""
    rows = [*some_of_each(), feed.event(feed.vm("vm-9", deployment="dep-2"))]
    await publish(nats_url, rows)
    expected = [row.id for row in rows if orjson.loads(row.payload).get("deployment") == deployment]
    arguments = ("--from-start", "--json", "--limit", str(len(expected)), "--deployment", deployment)
    status, output, _ = await tail("--nats-url", nats_url, *arguments)
    assert (status, [orjson.loads(line)["id"] for line in output.splitlines()]) == (0, list(map(str, expected)))
    assert expected


async def _is_read(url: str) -> bool:
    return await consumers(url) > 0
