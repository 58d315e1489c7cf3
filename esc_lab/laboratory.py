"""An ESC and a receiver beside a test, both real, and their PostgreSQL and NATS. Needs the extra `embedded`.

Must not know pytest (`esc_lab.fixtures` does), nor how either works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from esc_lab.emulator import Options, emulating
from esc_lab.emulator.endpoint_model import BASES
from receiver.app import running
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded, EmbeddedNats
from receiver.postgres.database import connect

TIME_SCALE = 0.001
"""A deploy that takes an ESC five minutes is over in a third of a second."""
WAIT_S = 60
ANSWER_SHOWN_MAX = 500


class LabError(Exception):
    """The laboratory refused what it was asked, as a misspelt fault or an operation that nobody has heard of."""


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
        """ESC's id of an accepted request. Raises LabError for one that was refused, and so has none."""
        found = self.headers.get("esc-transaction-id")
        if found is None:
            raise LabError(f"no transaction id in an answer {self.status}: {self.text[:ANSWER_SHOWN_MAX]}")
        return found


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
    nats_url: str
    """Of the NATS that the feed is published on, with its credentials."""
    postgres_dsn: str
    """Of the receiver's database."""

    def request(self, method: str, path: str, body: str = "") -> Answer:
        """A request to the northbound API with the callback headers; `path` begins with /v0 or /internal."""
        kind = "application/json" if body.lstrip().startswith("{") else "application/xml"
        headers = {**self.callback_headers, "Content-Type": kind, "Accept": "application/json"}
        return _ask(method, f"{self.esc}{path}", content=body, headers=headers)

    def wait(self, transaction: str, timeout_s: float = WAIT_S) -> Any:
        """What the receiver knows of an operation as soon as it has ended; else as it is after so many seconds.

        Raises LabError for one of which nothing was heard until then.
        """
        return self.query(f"operations/default/{transaction}?wait={ceil(timeout_s)}")

    def query(self, path: str) -> Any:
        """A GET of the receiver's query API, below /api/v1. Raises LabError for an answer that is an error."""
        return _granted("GET", f"{self.receiver}/api/v1/{path}")

    def make(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Any:
        """A request to the control API: `make("faults", {"next": {"vm-fails": 1}})`, `make("failover")`.

        Raises LabError when it is refused, as for a fault that there is not.
        """
        return _granted(method, f"{self.control}/{path}", json=body or {})


@contextmanager
def servers() -> Iterator[tuple[BlockingPortal, Embedded]]:
    """PostgreSQL and NATS, and an event loop in a thread, so that tests may be of any kind. Raises SetupError."""
    with start_blocking_portal(name="esc-lab") as portal:
        found = Embedded()
        portal.call(found.start)
        try:
            yield portal, found
        finally:
            portal.call(found.stop)


@asynccontextmanager
async def laboratory(servers: Embedded, options: Options) -> AsyncIterator[EscLab]:
    """An empty ESC and an empty receiver, on these servers."""
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


def _granted(method: str, url: str, **request: Any) -> Any:
    answer = _ask(method, url, **request)
    if answer.status >= httpx2.codes.BAD_REQUEST:
        raise LabError(f"{method} {urlsplit(url).path}: {answer.status}: {answer.text[:ANSWER_SHOWN_MAX]}")
    return answer.json


def _ask(method: str, url: str, **request: Any) -> Answer:
    answer = httpx2.request(method, url, timeout=2 * WAIT_S, trust_env=False, **request)
    is_json = "json" in answer.headers.get("Content-Type", "")
    return Answer(answer.status_code, answer.headers, answer.text, answer.json() if is_json else None)
