"""`esc-receiver cells`: the streams of two cells joined into one by a real NATS, and HAProxy's map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from receiver.cli.main import main
from receiver.embedded.servers import EmbeddedNats
from tests.support import feed
from tests.support.waiting import until

FILE = """
[cells.cell-a]
url = "https://cell-a.example"
sources = ["lab1", "lab2"]

[cells.cell-b]
sources = ["lab3"]
"""
THIRD = "\n[cells.cell-c]\n"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """With the streams of two cells, in each a message."""
    async with EmbeddedNats(tmp_path / "nats") as running, feed.jetstream(running.url) as js:
        (tmp_path / "cells.toml").write_text(FILE)
        for cell in ("cell-a", "cell-b"):
            await js.add_stream(name=f"ESC-{cell}", subjects=[f"esc.{cell}.v1.>"])
            await publish(running, cell, "vm.alive.lab.t.d.first")
        yield running


async def publish(server: EmbeddedNats, cell: str, subject: str) -> str:
    """As a cell's relay does; the id."""
    async with feed.jetstream(server.url) as js:
        named = str(uuid4())
        await js.publish(f"esc.{cell}.v1.{subject}", b"{}", headers={"Nats-Msg-Id": named, "ce-id": named})
    return named


async def apply(server: EmbeddedNats, file: Path, *arguments: str) -> Result:
    """The command, in a thread of its own as it runs a loop of its own."""
    environment = {"ESC_RECEIVER_NATS_URL": server.url, "ESC_RECEIVER_LOG_LEVEL": "error"}
    command = ["cells", "apply", str(file), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=environment, prog_name="esc-receiver")


async def joined(server: EmbeddedNats, number: int) -> list[feed.Stored]:
    """So many messages of the joined stream, once it has them."""
    found: list[feed.Stored] = []

    async def are_there() -> bool:
        found[:] = await feed.stored(server.url)
        return len(found) >= number

    await until(are_there)
    return found


async def config(server: EmbeddedNats) -> Any:
    """Of the joined stream, as JetStream has it; None when there is none."""
    async with feed.jetstream(server.url) as js:
        names = [one.config.name for one in await js.streams_info()]
        return (await js.stream_info("ESC")).config if "ESC" in names else None


async def test_streams_of_cells_become_one(server: EmbeddedNats, tmp_path: Path) -> None:
    """Each message once, with its id, under the subjects of the one feed; and the next time nothing is to be done."""
    file = tmp_path / "cells.toml"
    tried = await apply(server, file, "--dry-run")
    lines = [
        "stream ESC is made",
        "joined: ESC-cell-a, its esc.cell-a.v1.> as esc.v1.>",
        "joined: ESC-cell-b, its esc.cell-b.v1.> as esc.v1.>",
    ]
    assert (tried.exit_code, tried.stdout.splitlines(), tried.stderr) == (1, lines, "")
    assert await config(server) is None
    done = await apply(server, file)
    assert (done.exit_code, done.stdout.splitlines()) == (1, lines)
    later = [await publish(server, cell, f"vm.alive.lab.t.d.{n}") for n in range(3) for cell in ("cell-a", "cell-b")]
    messages = await joined(server, 8)
    assert {message.subject for message in messages} == {f"esc.v1.vm.alive.lab.t.d.{n}" for n in ("first", 0, 1, 2)}
    ids = [str(message.id) for message in messages]
    assert len(ids) == len(set(ids)) == 8
    assert [one for one in ids if one in later[::2]] == later[::2]
    again = await apply(server, file)
    assert (again.exit_code, again.stdout) == (0, f"stream ESC is as {file} says\n")
    assert len(await joined(server, 8)) == 8


async def test_a_cell_more_and_other_limits_give_nothing_twice(server: EmbeddedNats, tmp_path: Path) -> None:
    """What is joined already goes on from where it is; the answer for programs names what changes."""
    file = tmp_path / "cells.toml"
    await apply(server, file)
    await joined(server, 2)
    file.write_text(FILE + THIRD)
    early = await apply(server, file)
    assert early.exit_code == 2
    assert (
        "start the receivers of cell cell-c with STREAM_NAME=ESC-cell-c, SUBJECT_PREFIX=esc.cell-c.v1" in early.stderr
    )
    async with feed.jetstream(server.url) as js:
        await js.add_stream(name="ESC-cell-c", subjects=["esc.cell-c.v1.>"])
        wrong = await js.stream_info("ESC")
        wrong.config.max_msgs = 5_000
        await js.update_stream(wrong.config)
    told = orjson.loads((await apply(server, file, "-o", "json")).stdout)
    assert told["changes"] == [
        "max_msgs is 5000, becomes -1", "joined: ESC-cell-c, its esc.cell-c.v1.> as esc.v1.>",
    ]  # fmt: skip
    assert told["map"] == {"lab1": "cell-a", "lab2": "cell-a", "lab3": "cell-b"}
    await publish(server, "cell-c", "vm.alive.lab.t.d.third")
    assert len(await joined(server, 3)) == 3


async def test_nothing_is_lost_by_a_file_that_says_less(server: EmbeddedNats, tmp_path: Path) -> None:
    """A cell that is missing in it goes on to be joined, unless asked for by name; nor is a stream taken over."""
    file = tmp_path / "cells.toml"
    await apply(server, file)
    file.write_text(FILE.partition("[cells.cell-b]")[0])
    refused = await apply(server, file)
    assert (refused.exit_code, "ESC-cell-b would be joined no more" in refused.stderr) == (2, True)
    assert len((await config(server)).sources) == 2
    removed = await apply(server, file, "--remove")
    assert (removed.exit_code, removed.stdout) == (1, "ESC-cell-b is joined no more\n")
    assert [one.name for one in (await config(server)).sources] == ["ESC-cell-a"]
    async with feed.jetstream(server.url) as js:
        await js.add_stream(name="SINGLE", subjects=["esc.v1.>"])
    file.write_text(f'stream = "SINGLE"\n{FILE}')
    async with feed.jetstream(server.url) as js:
        for cell in ("cell-a", "cell-b"):
            await js.delete_stream(f"ESC-{cell}")
            await js.add_stream(name=f"SINGLE-{cell}", subjects=[f"esc.{cell}.v1.>"])
    taken = await apply(server, file)
    assert (taken.exit_code, "stream SINGLE takes messages itself (esc.v1.>)" in taken.stderr) == (2, True)


async def test_the_map_is_written_when_it_differs(server: EmbeddedNats, tmp_path: Path) -> None:
    """And printed by itself, without NATS."""
    file, place = tmp_path / "cells.toml", tmp_path / "cells.map"
    told = await apply(server, file, "--map", str(place), "--dry-run")
    assert (told.stdout.splitlines()[-1], place.exists()) == (f"{place} is written", False)
    await apply(server, file, "--map", str(place))
    assert place.read_text() == "lab1 cell-a\nlab2 cell-a\nlab3 cell-b\n"
    assert CliRunner().invoke(main, ["cells", "map", str(file)]).stdout == place.read_text()
    again = await apply(server, file, "--map", str(place))
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "cells: Field required"),
        ("[cells]", "cells: Dictionary should have at least 1 item"),
        ("[cells.a]\nsources = ['x']\n[cells.b]\nsources = ['x']", "a source belongs to one cell: x"),
        ("[cells.'a.b']", "a cell's name is 1 to 32 letters, digits"),
        ("[cells.a]\nsources = ['x/y']", "cells.a.sources.0: a source's name is"),
        ("[cells.a]\nurl = 'cell-a'", "cells.a.url: String should match pattern"),
        ("[cells.a]\nurls = ''", "cells.a.urls: Extra inputs are not permitted"),
        ("[cells", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, fault: str) -> None:
    """That names the place."""
    file = tmp_path / "cells.toml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["cells", "map", str(file)], prog_name="esc-receiver")
    assert result.exit_code == 2
    assert fault in result.stderr
    assert str(file) in result.stderr
