"""A server process kept as a child: start it, start it again when it dies, stop it, clear up after one we lost.

A child has a session of its own, so that the terminal's Ctrl-C reaches only us and things stop in order; on Linux
the kernel interrupts it when we are killed. This file must not know which servers there are (`embedded` does).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from pwd import struct_passwd
from typing import IO, NoReturn, Self

import stamina
import structlog

from receiver.embedded.private_files import open_private
from receiver.errors import SetupError

LOG_BYTES_MAX = 10 * 1024 * 1024
POLL_S = 0.02
STOP_PATIENCE_S = 30.0
RESTART_DELAY_S_MAX = 5.0

log = structlog.get_logger()

# Runs between fork and server: gives up root, ties the child's life to ours (1 is PR_SET_PDEATHSIG, which a change of
# user would clear), and becomes the server. A program of its own, because code after a fork of a threaded process may
# hang.
BECOME = """
import ctypes, os, signal, sys
parent, uid, gid, *command = sys.argv[1:]
if uid:
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
    if os.getppid() != int(parent):
        sys.exit("its parent has gone")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]} cannot be run: {error.strerror}")
"""


class Child:
    """A running process with its log; made by `spawn`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_offset: int) -> None:
        self._process = process
        self._log = log
        self._log_offset = log_offset

    @classmethod
    async def spawn(cls, command: Sequence[str | Path], *, log: Path, account: struct_passwd | None = None) -> Self:
        """Start `command` with its output appended to `log`, as `account` where one is given."""
        user = [str(account.pw_uid), str(account.pw_gid)] if account else ["", ""]
        become = [sys.executable, "-I", "-S", "-c", BECOME, str(os.getpid()), *user]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with _open_log(log) as output:
            process = await asyncio.create_subprocess_exec(
                *become,
                *map(str, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment | {"LC_ALL": "C"},
                start_new_session=True,
            )
            return cls(process, log, output.tell())

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        return await self._process.wait()

    async def stop(self, *, patience_s: float) -> None:
        """Interrupt it, and kill it if it has not ended in time, or if we are cancelled meanwhile."""
        try:
            self._signal(signal.SIGINT)
            async with asyncio.timeout(patience_s):
                await self.ended()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.ended()
        finally:
            self._signal(signal.SIGKILL)

    async def until(self, ready: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until it is ready; false when it ended instead, or in time did neither."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.running:
                    if ready():
                        return True
                    await asyncio.sleep(POLL_S)
        return False

    def failure_line(self) -> str:
        """The line of its log that most likely says why it failed."""
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "FATAL" in line or "[FTL]" in line or "error:" in line]
        return (telling or lines or [f"it said nothing, see {self._log}"])[-1]

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def _open_log(log: Path) -> IO[bytes]:
    output = open_private(log)
    if output.tell() > LOG_BYTES_MAX:
        output.truncate(0)
        output.seek(0)
    return output


class Server:
    """What the two servers have in common: one child in one locked folder, on one port from start to start."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.port = 0
        self.serving = asyncio.Event()
        self._secret = ""
        self._child: Child | None = None
        self._lock: IO[bytes] | None = None
        self._port_holder: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The process id of the server, or 0 before the first start."""
        return self._child.pid if self._child else 0

    async def ended(self) -> int:
        """Wait for the server's end; its exit status, negative for a signal."""
        return await self._child.ended() if self._child else 0

    async def start(self) -> None:
        """Start it, on the same port as before, and return when it serves; raises SetupError and then leaves nothing
        running."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = lock_folder(self.folder)
            self._hold_port()
            await self._start()
            self.serving.set()
        except BaseException:
            await self.stop()
            raise

    def _hold_port(self) -> None:
        """Keep everybody who asks for a free port away from this one, also while the server is down."""
        if self._port_holder is None:
            with suppress(OSError):  # the server itself says so, if it is still taken then
                self._port_holder, self.port = hold_port(self.port)
        if self._port_holder and sys.platform != "linux":  # elsewhere that keeps the server from it, too
            self._port_holder.close()

    async def stop(self) -> None:
        """Shut it down in order; harmless when it is not running."""
        self.serving.clear()
        if self._child:
            await self._child.stop(patience_s=STOP_PATIENCE_S)
        if self._port_holder:
            self._port_holder.close()
            self._port_holder = None
        if self._lock:
            self._lock.close()
            self._lock = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        raise NotImplementedError


async def watch(server: Server) -> NoReturn:
    """Start the server again whenever it dies, until cancelled."""
    while True:
        status = await server.ended()
        server.serving.clear()
        log.warning("embedded server died, starting it again", server=server.name, exit_status=status)
        async for attempt in stamina.retry_context(
            SetupError, attempts=None, timeout=None, wait_max=RESTART_DELAY_S_MAX, wait_jitter=0
        ):
            with attempt:
                try:
                    await server.start()
                except SetupError as error:
                    pause_s = attempt.next_wait
                    log.warning(
                        "embedded server does not start", server=server.name, reason=str(error), retry_in_s=pause_s
                    )
                    raise
        log.info("embedded server is back", server=server.name, pid=server.pid, port=server.port)


def lock_folder(folder: Path) -> IO[bytes]:
    """Take the folder for this process until the returned file is closed, or we die. Raises SetupError."""
    lock = open_private(folder / ".lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SetupError(f"{folder} is in use by another esc-receiver") from None
    return lock


async def end_leftover(pid_file: Path, folder: Path, *, patience_s: float) -> None:
    """Stop the server that a killed process of ours left in `folder`; another process with its pid is left alone."""
    import psutil  # noqa: PLC0415 - of the extra `embedded`, without which all else must work

    with suppress(FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if any(str(folder) in argument for argument in process.cmdline()):
            process.send_signal(signal.SIGINT)
            _, alive = await asyncio.to_thread(psutil.wait_procs, [process], patience_s)
            if alive:
                process.kill()
                await asyncio.to_thread(process.wait)
    # What is left here is stale: PostgreSQL would take a reused pid for a running server and refuse to start.
    pid_file.unlink(missing_ok=True)


def listens(port: int) -> bool:
    """Whether anybody accepts connections on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A loopback port that is free now and stays ours in all likelihood. Raises SetupError."""
    holder, port = hold_port()
    holder.close()
    return port


def hold_port(port: int = 0) -> tuple[socket.socket, int]:
    """A socket that has this loopback port, or a free one, and which; on Linux a server can listen there all the same.

    Free is what nobody has: listening, held, or left a moment ago. It lies below the range from which the kernel draws
    ports for outgoing connections: else a client that retries while the server is down could be given the server's own
    port, connect to itself, and keep the server from coming back. Raises OSError where somebody listens, and SetupError
    when none is free.
    """
    for candidate in [port] if port else random.sample(range(20_000, 32_000), 1_000):
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, bool(port))
        try:
            holder.bind(("127.0.0.1", candidate))
        except OSError:
            holder.close()
            if port:
                raise
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server has that: then both may be there
        return holder, candidate
    raise SetupError("no free port of 127.0.0.1 from 20000 to 32000")
