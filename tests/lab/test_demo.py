"""The demo, as a newcomer runs it: it shows everything, and leaves no process and no file however it ends."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import nats
import psutil

from tests.support.program import NO_AUTHORITIES

PATIENCE_S = 120
SEEN = re.compile(
    r"received (\d+) = kept (\d+) \+ refused 0 \+ in flight 0; (\d+) messages due on the feed, (\d+) came"
)


@asynccontextmanager
async def demo(folder: Path, *options: str, output: int = PIPE, port: str = "0") -> AsyncIterator[Process]:
    """A running demo, all of whose files are made in `folder`; killed if the test leaves it running."""
    command = [sys.executable, "-m", "receiver", "demo", "--port", port, "--seed", "7", *options]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=output,
        stderr=output,
        cwd=folder,
        env={**os.environ, **NO_AUTHORITIES, "TMPDIR": str(folder), "TERM": "xterm"},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_with(process: Process, text: str) -> str:
    """The first line from here on that holds `text`."""
    assert process.stdout is not None  # a pipe
    while line := (await process.stdout.readline()).decode():
        if text in line:
            return line
    raise AssertionError(f"it ended before it said {text!r}")


async def rest_of(process: Process) -> str:
    """What it still says until its end."""
    assert process.stdout is not None  # a pipe
    said = (await process.stdout.read()).decode()
    await process.wait()
    return said


def children_of(process: Process) -> list[psutil.Process]:
    """PostgreSQL with its own children, and NATS."""
    return psutil.Process(process.pid).children(recursive=True)


def assert_nothing_is_left(folder: Path, children: list[psutil.Process]) -> None:
    """Neither processes nor files."""
    assert psutil.wait_procs(children, timeout=PATIENCE_S)[1] == []
    assert list(folder.iterdir()) == []


async def test_it_plays_shows_and_ends_by_itself(tmp_path: Path) -> None:
    """With a duration it ends on its own: counts add up, the feed showed everything, nothing is left."""
    async with demo(tmp_path, "--duration", "3", "--rate", "60") as process:
        await line_with(process, "demo, seed 7")
        said = await rest_of(process)
    assert process.returncode == 0
    assert "UNSEEN → DEPLOYING" in said
    match = SEEN.search(said)
    assert match is not None
    received, kept, due, came = map(int, match.groups())
    assert received == kept > 0
    assert due == came > 0
    assert list(tmp_path.iterdir()) == []


async def test_several_workers_are_shown_as_one_and_end_with_it(tmp_path: Path) -> None:
    """Their counts add up in its last line, the feed showed all of it, and no process is left."""
    async with demo(tmp_path, "--workers", "2", "--rate", "60") as process:
        await line_with(process, "UNSEEN → DEPLOYING")
        children = children_of(process)
        workers = [child for child in children if "worker" in child.cmdline()]
        process.terminate()
        match = SEEN.search(await rest_of(process))
    assert process.returncode == 0
    assert len(workers) == 2
    assert match is not None
    received, kept, due, came = map(int, match.groups())
    assert received == kept > 0
    assert due == came > 0
    assert_nothing_is_left(tmp_path, children)


async def test_what_it_prints_can_be_tried(tmp_path: Path) -> None:
    """The callback URL takes a callback, /readyz says ready, and nothing of the environment gets in."""
    os.environ["ESC_RECEIVER_POSTGRES_DSN"] = "postgresql://nobody@192.0.2.1/precious"
    try:
        async with demo(tmp_path, "--rate", "5") as process, aiohttp.ClientSession() as client:
            callbacks = (await line_with(process, "callbacks")).split()[1]
            command = await line_with(process, "try one")
            body = command.rpartition(" -d ")[2].strip().strip("'")
            async with client.post(callbacks, data=body, headers={"ESC-Transaction-Id": "try-1"}) as answer:
                assert (answer.status, (await answer.json())["outcome"]) == (200, "applied")
            readyz = (await line_with(process, "health")).split()[1]
            async with client.get(readyz) as answer:
                assert (await answer.json())["ready"] is True
            server, subject = shlex.split(await line_with(process, "nats sub"))[-2:]
            listener = await nats.connect(server)
            heard = await listener.subscribe(subject)
            assert (await heard.next_msg(timeout=PATIENCE_S)).data
            await listener.close()
            process.terminate()
            await rest_of(process)
        assert process.returncode == 0
    finally:
        del os.environ["ESC_RECEIVER_POSTGRES_DSN"]


async def test_ctrl_c_or_a_closed_terminal_leaves_nothing(tmp_path: Path) -> None:
    """One signal in the middle of the traffic: exit status 0, no process, no file."""
    for number in (signal.SIGINT, signal.SIGHUP):
        async with demo(tmp_path) as process:
            await line_with(process, "-- callbacks")
            children = children_of(process)
            assert len(children) > 2
            process.send_signal(number)
            said = await rest_of(process)
        assert process.returncode == 0, said
        assert SEEN.search(said)
        assert_nothing_is_left(tmp_path, children)


async def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C need not wait for the servers to be up."""
    async with demo(tmp_path) as process:
        await line_with(process, "starting PostgreSQL")
        process.send_signal(signal.SIGINT)
        await rest_of(process)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


async def test_a_second_ctrl_c_exits_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    """The second signal waits for nothing, and yet clears up."""
    async with demo(tmp_path, "--rate", "0") as process:
        await line_with(process, "-- callbacks")
        children = children_of(process)
        process.send_signal(signal.SIGINT)
        await line_with(process, "stopping")
        process.send_signal(signal.SIGINT)
        await rest_of(process)
    assert process.returncode == 130
    assert_nothing_is_left(tmp_path, children)


async def test_on_a_terminal_it_draws_and_gives_the_cursor_back(tmp_path: Path) -> None:
    """A terminal shows the fleet and the latest messages in place; at the end the cursor is there again."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    async with demo(tmp_path, "--duration", "3", "--rate", "60", output=follower) as process:
        os.close(follower)
        shown = await _read_terminal(leader)
        await process.wait()
    os.close(leader)
    assert process.returncode == 0
    assert shown.count("deployments") > 2
    assert "UNSEEN → " in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "Traceback" not in shown


async def _read_terminal(leader: int) -> str:
    """All that is written to it until nobody has it open any more."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(leader), "rb", buffering=0)
    )
    shown = b""
    with suppress(OSError):  # so Linux says that the other side has closed
        while chunk := await reader.read(65_536):
            shown += chunk
    transport.close()
    return shown.decode()


async def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """It is told before anything is started, and says how to choose another."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    async with server, demo(tmp_path, port=port) as process:
        assert process.stderr is not None  # a pipe
        said = (await process.stderr.read()).decode()
        await rest_of(process)
    assert process.returncode == 2
    assert said == f"esc-receiver: 127.0.0.1:{port} is taken by another program; choose another port with --port\n"
