"""An emulator for a test, a listener that keeps the callbacks in order, and the requests the ESC document prints.

`tests/requests/*.http` are those requests, repaired where docs/esc-callbacks.md#8 says so: `nicid` for its
misspellings, the cut `xmlns:ns2`, the closing tags that the next page takes back, the missing `<vm_group>`, the path of
the table where another one is printed, a tag cut at the page edge.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from lxml import etree

from esc_lab.emulator import Emulator, Options, emulating

REQUESTS = Path(__file__).parents[1] / "requests"
PATIENCE_S = 30
BASE = "/ESCManager"


@dataclass(frozen=True, slots=True)
class Heard:
    """One callback."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    remote: str

    @property
    def transaction(self) -> str:
        """ESC's, however it is spelled."""
        names = {name.lower().replace("_", "-"): value for name, value in self.headers.items()}
        return names["esc-transaction-id"]

    @property
    def says(self) -> str:
        """Stage or event."""
        return self.field("deployment_stage") or self.field("event_type")

    @property
    def ok(self) -> bool:
        """As its status code says."""
        return next(value for name, value in self.headers.items() if "tatus-Code" in name) == "200"

    def field(self, name: str) -> str:
        """The text of the first element of this name."""
        return next((one.text or "" for one in etree.fromstring(self.body).iter() if local(one.tag) == name), "")


@dataclass(slots=True)
class Listener:
    """Where callbacks go. `answers` are statuses to give first."""

    url: str = ""
    events_url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hear(self, request: web.Request) -> web.Response:
        """Keep it."""
        body = await request.read()
        self.heard.append(Heard(request.path, dict(request.headers), body, request.remote or ""))
        async with self._news:
            self._news.notify_all()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def until(self, says: str, times: int = 1) -> Heard:
        """Wait until it was said so often; the last of them."""

        def found() -> list[Heard]:
            return [one for one in self.heard if well_formed(one.body) and one.says == says]

        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(found()) >= times)
        return found()[-1]

    @property
    def says(self) -> list[str]:
        """Everything, in order."""
        return [one.says for one in self.heard]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def transaction(self) -> str:
        """Of an accepted request."""
        return self.headers["esc-transaction-id"]


@dataclass(slots=True)
class Orchestrator:
    """A client of one emulator."""

    emulator: Emulator
    listener: Listener
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        """One request; `headers` with `_` for `-`. Both callback URLs are given unless said otherwise."""
        given = {"Callback": self.listener.url, "Callback-ESC-Events": self.listener.events_url}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        base = "" if path.startswith("/emulator") else BASE
        if body and "Content-Type" not in given:
            given["Content-Type"] = "application/xml"
        sent = {name: value for name, value in given.items() if value}
        data = io.BytesIO(body.encode()) if body else None
        async with self.session.request(method, f"{self.emulator.url}{base}{path}", data=data, headers=sent) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())

    async def look(self, path: str) -> Any:
        """What a GET says, read."""
        base = "" if path.startswith("/emulator") else BASE
        headers = {"Accept": "application/json"}
        async with self.session.get(f"{self.emulator.url}{base}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def printed(self, name: str, **changed: str) -> Answer:
        """A request of the document; `changed` parts of its path."""
        method, path, headers, body = printed_request(name)
        for old, new in changed.items():
            path = path.replace(f"{{{old}}}", new)
        if "Callback" in headers:
            headers["Callback"] = self.listener.url
        if "Callback-ESC-Events" in headers:
            headers["Callback-ESC-Events"] = self.listener.url
        else:
            headers["Callback-ESC-Events"] = ""
        return await self.ask(method, path, body, **headers)

    async def done(self) -> list[Heard]:
        """Everything that was heard since, when nothing is going on any more."""
        await self.emulator.engine.idle()
        found, self.listener.heard = self.listener.heard, []
        return found


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener on a free port."""
    listener = Listener()
    app = web.Application()
    app.router.add_post("/{tail:.*}", listener.hear)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    listener.events_url = f"{listener.url}events"
    try:
        yield listener
    finally:
        await runner.cleanup()


@asynccontextmanager
async def orchestrating(options: Options | None = None, **changed: Any) -> AsyncIterator[Orchestrator]:
    """An emulator on a free port without pauses, a listener, and a client."""
    chosen = replace(options or Options(port=0, time_scale=0.0, seed=1), **changed)
    async with listening() as listener, emulating(chosen) as emulator, aiohttp.ClientSession() as session:
        yield Orchestrator(emulator, listener, session)


def printed_request(name: str) -> tuple[str, str, dict[str, str], str]:
    """Method, path, headers and body of a request in `tests/requests`."""
    head, _, body = (REQUESTS / f"{name}.http").read_text("utf-8").partition("\n\n")
    first, *fields = head.splitlines()
    method, path, _ = first.split(" ")
    return method, path, dict(one.split(": ", 1) for one in fields), body


def model(name: str = "dep", groups: Mapping[str, Mapping[str, Any]] | None = None, tenant: str = "acme") -> str:
    """An `esc_datamodel`; each group a name and its elements, `watched=False` for one without a monitor."""
    found = "".join(_group(group, dict(given)) for group, given in (groups or {"web": {}}).items())
    return (
        '<esc_datamodel xmlns="http://www.cisco.com/esc/esc"><tenants><tenant>'
        f"<name>{tenant}</name><deployments><deployment><name>{name}</name>{found}</deployment></deployments>"
        "</tenant></tenants></esc_datamodel>"
    )


def _group(name: str, given: dict[str, Any]) -> str:
    watched, vms, most = given.pop("watched", True), given.pop("vms", 1), given.pop("max", 9)
    networks = given.pop("networks", ("net",))
    interfaces = "".join(
        f"<interface><nicid>{number}</nicid><network>{network}</network></interface>"
        for number, network in enumerate(networks)
    )
    monitor = (
        "<kpi_data><kpi><event_name>VM_ALIVE</event_name></kpi></kpi_data>"
        "<rules><admin_rules><rule><event_name>VM_ALIVE</event_name>"
        '<action>"TRUE esc_vm_alive_notification"</action></rule></admin_rules></rules>'
    )
    extra = "".join(f"<{tag}>{value}</{tag}>" for tag, value in given.items())
    return (
        f"<vm_group><name>{name}</name><image>img</image>{extra}<interfaces>{interfaces}</interfaces>"
        f"<scaling><min_active>{vms}</min_active><max_active>{most}</max_active></scaling>"
        f"{monitor if watched else ''}</vm_group>"
    )


def network(name: str, subnets: Mapping[str, str] | None = None, own: str = "") -> str:
    """One network of a data model; its subnets by name, each with its elements."""
    found = "".join(f"<subnet><name>{sub}</name>{inner}</subnet>" for sub, inner in (subnets or {}).items())
    return f"<network><name>{name}</name>{own}{found}</network>"


def with_networks(given: str, *networks: str) -> str:
    """The data model with networks of its own."""
    return given.replace("<vm_group>", f"<networks>{''.join(networks)}</networks><vm_group>", 1)


TENANT = "<tenant><name>acme</name></tenant>"


async def deployed(client: Orchestrator, deployment_id: str = "dep-1", **groups: Mapping[str, Any]) -> list[str]:
    """A tenant, an active deployment, nothing heard any more; the names of its VMs."""
    if (await client.ask("GET", "/v0/tenants/acme")).status == 404:
        assert (await client.ask("POST", "/v0/tenants/acme", TENANT)).status == 200
        await client.done()
    answer = await client.ask("POST", f"/v0/deployments/{deployment_id}", model(deployment_id, groups))
    assert answer.status == 200, answer.text
    await client.done()
    found = await client.look(f"/v0/deployments/{deployment_id}")
    return [vm["vm_name"] for vm in found["deployment_details"]]


def local(tag: Any) -> str:
    """The name without its namespace."""
    return str(tag).rpartition("}")[2]


def well_formed(body: bytes) -> bool:
    """Whether it is XML at all."""
    try:
        etree.fromstring(body)
    except etree.XMLSyntaxError:
        return False
    return True
