"""The embedded servers serve, survive, come back, and leave nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import nats
import psutil
import pytest

from receiver.embedded import child_process
from receiver.embedded import servers as embedded
from receiver.embedded.child_process import Server, free_port, hold_port, watch
from receiver.embedded.servers import Embedded, EmbeddedNats, EmbeddedPostgres, bundled_nats, bundled_postgres
from receiver.errors import SetupError
from tests.support.servers import Servers

END_TIMEOUT_S = 30

KEEP_BOTH = """
import asyncio, sys
from pathlib import Path
from receiver.embedded.servers import Embedded

async def main():
    async with Embedded(Path(sys.argv[1])) as servers:
        print(servers.postgres_dsn, servers.nats_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


@pytest.fixture
def throw_away_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where throw-away folders are made in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def server_of_kind(kind: str, folder: Path) -> EmbeddedPostgres | EmbeddedNats:
    """Either of the two."""
    return EmbeddedPostgres(folder) if kind == "postgres" else EmbeddedNats(folder)


async def write(server: Server) -> None:
    """Keep something in the server."""
    if isinstance(server, EmbeddedPostgres):
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 'this' AS word")
        await connection.close()
    if isinstance(server, EmbeddedNats):
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", b"this")
        await client.close()


async def read(server: Server) -> str:
    """Get back what was kept."""
    if isinstance(server, EmbeddedPostgres):
        connection = await asyncpg.connect(server.dsn)
        word: str = await connection.fetchval("SELECT word FROM kept")
        await connection.close()
        return word
    assert isinstance(server, EmbeddedNats)
    client = await nats.connect(server.url)
    message = await client.jetstream().get_msg("KEPT", 1)
    await client.close()
    return (message.data or b"").decode()


def processes_in(folder: Path) -> list[psutil.Process]:
    """The processes started on something in the folder."""
    processes = psutil.process_iter(["cmdline"])
    return [process for process in processes if any(str(folder) in part for part in process.info["cmdline"] or [])]


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_a_kept_folder_survives_a_restart(kind: str, tmp_path: Path) -> None:
    """What was written is there when a later process starts the server in the same folder."""
    async with server_of_kind(kind, tmp_path / kind) as server:
        await write(server)
    async with server_of_kind(kind, tmp_path / kind) as server:
        assert await read(server) == "this"


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_a_killed_server_comes_back_on_its_port_with_its_data(kind: str, tmp_path: Path) -> None:
    """One that is killed with SIGKILL is started again, so that the addresses given out stay good."""
    async with server_of_kind(kind, tmp_path / kind) as server:
        await write(server)
        port, pid = server.port, server.pid
        watching = asyncio.create_task(watch(server))
        server.serving.clear()
        os.kill(pid, signal.SIGKILL)
        await server.serving.wait()
        watching.cancel()
        assert (server.port, server.pid != pid) == (port, True)
        assert await read(server) == "this"


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_a_server_left_running_is_stopped_before_the_next_start(kind: str, tmp_path: Path) -> None:
    """Where a killed receiver could not take its servers with it, the next one does not stumble over them."""
    async with server_of_kind(kind, tmp_path / kind) as left:
        await write(left)
        assert left._lock
        left._lock.close()  # as the kernel does when its process is killed
        async with server_of_kind(kind, tmp_path / kind) as server:
            await left.ended()
            assert await read(server) == "this"


@pytest.mark.parametrize(("kind", "pid_file"), [("postgres", "data/postmaster.pid"), ("nats", "pid")])
async def test_a_process_that_got_the_old_pid_is_let_alone(kind: str, pid_file: str, tmp_path: Path) -> None:
    """A pid file of before a reboot may name anybody: here it names us, and we live."""
    async with server_of_kind(kind, tmp_path / kind) as server:
        await write(server)
        shutil.copy(tmp_path / kind / pid_file, tmp_path / "stale")
    stale = (tmp_path / "stale").read_text().split("\n")
    (tmp_path / kind / pid_file).write_text("\n".join([str(os.getpid()), *stale[1:]]))
    async with server_of_kind(kind, tmp_path / kind) as server:
        assert await read(server) == "this"


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_its_log_is_private(kind: str, tmp_path: Path) -> None:
    """What a server logs quotes data; also a log that an earlier version left open to all is closed."""
    folder = tmp_path / kind
    folder.mkdir()
    (folder / "log").touch(0o644)
    async with server_of_kind(kind, folder):
        for name in ("log", ".lock", "password"):
            assert (folder / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("name", ["log", ".lock"])
async def test_a_link_in_its_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    """One line says so, and what it leads to stays as it is."""
    (tmp_path / "nats").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "nats" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(SetupError, match=rf"{name} cannot be opened"):
        await server_of_kind("nats", tmp_path / "nats").start()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_a_folder_in_use_is_refused(kind: str, tmp_path: Path) -> None:
    """Two receivers with one folder would stop each other's servers for ever."""
    async with server_of_kind(kind, tmp_path / kind) as server:
        with pytest.raises(SetupError, match="in use"):
            await server_of_kind(kind, tmp_path / kind).start()
        await write(server)
        assert await read(server) == "this"


async def test_other_users_of_the_machine_are_kept_out(servers: Servers) -> None:
    """Loopback is open to every local user, so both ask for their secret."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(servers.postgres_dsn.replace(":", ":x", 2).replace(":x//", "://"))
    assert b"Authorization Violation" in await answer_without_secret(servers.nats_url)


async def answer_without_secret(nats_url: str) -> bytes:
    """What NATS says to one who does not know its secret, in its own protocol: nats-py leaks a socket when refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(nats_url).port)
    await reader.readline()
    writer.write(b"CONNECT {}\r\nPING\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_ctrl_c_reaches_only_us(servers: Servers) -> None:
    """The servers have sessions of their own, so that a terminal's Ctrl-C leaves the order of stopping to us."""
    assert servers.pids
    for pid in servers.pids:
        assert os.getsid(pid) != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_the_servers_end_when_we_are_killed_and_the_next_start_recovers(tmp_path: Path) -> None:
    """kill -9 of the receiver leaves no server running, and its folder is good at once."""
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KEEP_BOTH, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    assert receiver.stdout
    dsn = (await receiver.stdout.readline()).split()[0].decode()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 'this' AS word")
    left = [process for process in processes_in(tmp_path) if process.pid != receiver.pid]
    receiver.kill()
    await receiver.communicate()
    async with Embedded(tmp_path / "data") as servers:
        again = await asyncpg.connect(servers.postgres_dsn)
        assert await again.fetchval("SELECT word FROM kept") == "this"
        await again.close()
        _, alive = psutil.wait_procs(left, timeout=END_TIMEOUT_S)
        assert (len(left), alive) == (2, [])
    await connection.close()


async def test_a_throw_away_folder_leaves_nothing(throw_away_parent: Path) -> None:
    """After stop there is no process, no folder, and no lock folder of anybody's."""
    async with Embedded() as servers:
        await (await asyncpg.connect(servers.postgres_dsn)).close()
        assert processes_in(throw_away_parent)
    assert list(throw_away_parent.iterdir()) == []
    assert processes_in(throw_away_parent) == []
    await servers.stop()


def test_a_port_that_is_held_is_free_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a free one gets another, until it is let go."""
    holder, port = hold_port()
    monkeypatch.setattr("random.sample", lambda ports, _: [port, *ports])
    assert free_port() != port
    holder.close()
    assert free_port() == port


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port that is held keeps the server from it, too")
async def test_a_server_that_died_finds_its_port_free(tmp_path: Path) -> None:
    """Nobody is given the port meanwhile."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        port = server.port
        os.kill(server.pid, signal.SIGKILL)
        await server.ended()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        await server.start()
        assert (server.port, child_process.listens(port)) == (port, True)


async def test_nothing_is_left_when_a_server_was_killed_just_before(throw_away_parent: Path) -> None:
    """A server that dies while we stop is not waited for in vain, nor does it write into what is being removed."""
    servers = Embedded()
    await servers.start()
    for pid in servers.pids:
        os.kill(pid, signal.SIGKILL)
    await servers.stop()
    assert list(throw_away_parent.iterdir()) == []
    assert processes_in(throw_away_parent) == []


async def test_nothing_is_left_when_the_start_fails_half_way(
    throw_away_parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nats-server that cannot be run is one line, and PostgreSQL, already up, goes with it."""
    monkeypatch.setattr(embedded, "bundled_nats", lambda: Path("/nowhere/nats-server"))
    with pytest.raises(SetupError, match="nats-server cannot be run: No such file") as caught:
        await Embedded().start()
    assert "\n" not in str(caught.value)
    assert list(throw_away_parent.iterdir()) == []
    assert processes_in(throw_away_parent) == []


@pytest.mark.parametrize("moment", ["postgres/log", "postgres/data", "postgres/data/postmaster.pid", "nats/log"])
async def test_nothing_is_left_when_the_start_is_cancelled(moment: str, throw_away_parent: Path) -> None:
    """Ctrl-C while the servers start ends them, wherever the start has got to."""
    start = asyncio.create_task(Embedded().start())
    while not list(throw_away_parent.glob(f"*/{moment}")):  # noqa: ASYNC110 - only the files tell how far it has got
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert list(throw_away_parent.iterdir()) == []
    assert processes_in(throw_away_parent) == []


@pytest.mark.parametrize(
    ("find", "setting"), [(bundled_postgres, "ESC_RECEIVER_POSTGRES_DSN"), (bundled_nats, "ESC_RECEIVER_NATS_URL")]
)
async def test_without_programs_the_way_out_is_told(
    find: Callable[[], Path], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is not installed, or has nothing for this platform, both remedies are named in one line."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        find()
    assert "pip install 'esc-receiver[embedded]'" in str(caught.value)
    assert setting in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_broken_folder_is_told_in_one_line(tmp_path: Path) -> None:
    """PostgreSQL's own word reaches the user: here, that the folder was made by another version."""
    async with EmbeddedPostgres(tmp_path / "postgres"):
        pass
    (tmp_path / "postgres/data/PG_VERSION").write_text("9\n")
    with pytest.raises(SetupError, match="incompatible with server") as caught:
        await EmbeddedPostgres(tmp_path / "postgres").start()
    assert "\n" not in str(caught.value)
    assert processes_in(tmp_path) == []


@needs_root
async def test_root_may_keep_its_checkout_to_itself(tmp_path: Path) -> None:
    """A checkout under /root, which others cannot enter, works all the same."""
    package = bundled_postgres().parent.parent
    for part in (package, package.with_suffix(".libs")):
        shutil.copytree(part, tmp_path / "closed" / part.name)
    (tmp_path / "closed").chmod(0o700)
    programs = tmp_path / "closed" / package.name / "pginstall/bin"
    async with EmbeddedPostgres(tmp_path / "postgres", programs=programs) as server:
        await write(server)
        assert await read(server) == "this"


@needs_root
async def test_root_is_told_of_a_folder_that_nobody_can_enter(tmp_path: Path) -> None:
    """PostgreSQL cannot run as root: the folder is named, and what to do."""
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(SetupError, match=r"cannot enter .*closed/postgres: choose a data directory"):
        await EmbeddedPostgres(tmp_path / "closed/postgres").start()
