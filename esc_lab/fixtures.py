"""A pytest fixture that gives a test an ESC and a receiver: `pytest_plugins = ["esc_lab.fixtures"]`, then `esc_lab`.

Both are real, and so are their PostgreSQL and NATS; they run beside the test on free ports, the servers once for the
session, everything else anew for each test. Needs the extra `embedded`. This file must not know how either works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from esc_lab.emulator import Options, emulating
from esc_lab.emulator.endpoint_model import BASES
from receiver.app import running
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded, EmbeddedNats
from receiver.errors import SetupError
from receiver.postgres.database import connect

TIME_SCALE = 0.001
"""A deploy that takes an ESC five minutes is over in a third of a second."""
WAIT_S = 60
EXTRA = "the fixture esc_lab needs the extra `embedded`: pip install 'esc-receiver[embedded]'"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of either of them; `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any
    """The body, where it is JSON."""

    @property
    def transaction(self) -> str:
        """ESC's id of an accepted request."""
        return self.headers["esc-transaction-id"]


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
    nats: str
    """URL of the NATS that the feed is published on."""
    postgres: str
    """DSN of the receiver's database."""

    def request(self, method: str, path: str, body: str = "") -> Answer:
        """A request to the northbound API with the callback headers; `path` begins with /v0 or /internal."""
        kind = "application/json" if body.lstrip().startswith("{") else "application/xml"
        headers = {**self.callback_headers, "Content-Type": kind, "Accept": "application/json"}
        return _ask(method, f"{self.esc}{path}", content=body, headers=headers)

    def wait(self, transaction: str, timeout_s: float = WAIT_S) -> Any:
        """What the receiver knows of an operation as soon as it has ended; else as it is after so many seconds."""
        return self.query(f"operations/default/{transaction}?wait={timeout_s:g}")

    def query(self, path: str) -> Any:
        """A GET of the receiver's query API, below /api/v1."""
        return _ask("GET", f"{self.receiver}/api/v1/{path}").json

    def make(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Any:
        """A request to the control API: `make("faults", {"next": {"vm-fails": 1}})`, `make("failover")`."""
        return _ask(method, f"{self.control}/{path}", json=body or {}).json


@pytest.fixture
def esc_lab(esc_lab_options: Options, esc_lab_servers: tuple[BlockingPortal, Embedded]) -> Iterator[EscLab]:
    """An empty ESC and an empty receiver."""
    portal, servers = esc_lab_servers
    with portal.wrap_async_context_manager(_lab(servers, esc_lab_options)) as lab:
        yield lab


@pytest.fixture
def esc_lab_options() -> Options:
    """How the ESC behaves; override it for another pace, seed, habits or faults."""
    return Options(port=0, time_scale=TIME_SCALE)


@pytest.fixture(scope="session")
def esc_lab_servers() -> Iterator[tuple[BlockingPortal, Embedded]]:
    """PostgreSQL and NATS for the session, and an event loop in a thread, so that tests may be of any kind."""
    with start_blocking_portal(name="esc-lab") as portal:
        servers = Embedded()
        try:
            portal.call(servers.start)
        except (SetupError, ImportError) as error:
            pytest.fail(f"{EXTRA} ({error})", pytrace=False)
        try:
            yield portal, servers
        finally:
            portal.call(servers.stop)


@asynccontextmanager
async def _lab(servers: Embedded, options: Options) -> AsyncIterator[EscLab]:
    assert servers.folder is not None  # started
    name = f"lab_{uuid4().hex}"
    folder = servers.folder / name
    async with _database(servers.postgres_dsn, name) as dsn, EmbeddedNats(folder) as nats:
        settings = Settings(postgres_dsn=dsn, nats_url=nats.url, port=0, data_dir=folder)
        async with running(settings) as app, emulating(options) as emulator:
            await app.until_ready()
            channels = {"Callback": "callback", "Callback-ESC-Events": "events"}
            headers = {header: f"{app.url}/esc/default/{channel}" for header, channel in channels.items()}
            yield EscLab(f"{emulator.url}{BASES[0]}", app.url, f"{emulator.url}/emulator", headers, nats.url, dsn)


@asynccontextmanager
async def _database(dsn: str, name: str) -> AsyncIterator[str]:
    """A new database; the receiver brings its schema."""
    administrator = await connect(Settings(postgres_dsn=dsn))
    try:
        await administrator.execute(f"CREATE DATABASE {name}")
        yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


def _ask(method: str, url: str, **request: Any) -> Answer:
    answer = httpx2.request(method, url, timeout=2 * WAIT_S, trust_env=False, **request)
    is_json = "json" in answer.headers.get("Content-Type", "")
    return Answer(answer.status_code, answer.headers, answer.text, answer.json() if is_json else None)
