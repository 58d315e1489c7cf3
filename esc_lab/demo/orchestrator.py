"""The orchestrators of the demo: each orders from an emulated ESC, and waits for the receiver to say how it ended.

They are what a user would write: HTTP to the northbound API, HTTP to the query API, nothing of our insides. Lives and
orders are drawn from the seed; ESC's own doings are asked for through the emulator's control API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random
from typing import Any

import aiohttp
import structlog

from esc_lab.emulator import Emulator, Faults, Options, emulating
from esc_lab.emulator.endpoint_model import BASES
from esc_lab.simulator.fleet import SERVICES, TENANTS

log = structlog.get_logger()

FAULTS: Mapping[str, float] = {
    "vm-fails": 0.05, "vm-dies": 0.2, "work-fails": 0.03, "double": 0.03, "reorder": 0.03, "truncate": 0.003,
}  # fmt: skip
"""A little of what goes wrong in life, so that every outcome shows."""
CALLBACKS_PER_ORDER = 3.5
BOOTUP_S = 60
WAIT_S = 20
"""How long an orchestrator waits for an end; a callback that is lost never comes."""
ORDERS_PER_LIFE = 3, 8
QUIET_S = 5.0
"""How long the end waits for answers to the callbacks on their way."""
PAUSE_S = 0.2
"""After a refusal."""
XML = "application/xml"

ACTS: Mapping[str, int] = {
    "stop and start": 4, "reboot": 2, "update": 4, "die": 5, "scale-out": 3, "scale-in": 2, "stop a vm": 2,
    "migrate": 1, "resource": 4,
}  # fmt: skip
"""What happens to a deployment that is up, and how often."""


@asynccontextmanager
async def escs(sources: Sequence[str], seed: int, time_scale: float) -> AsyncIterator[dict[str, Emulator]]:
    """An emulated ESC for each source, on free ports."""
    async with AsyncExitStack() as stack:
        found = {}
        for number, source in enumerate(sources):
            options = Options(port=0, seed=seed + number, time_scale=time_scale, faults=Faults(dict(FAULTS)))
            found[source] = await stack.enter_async_context(emulating(options))
        try:
            yield found
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_S):
                    await asyncio.gather(*(emulator.quiet() for emulator in found.values()))


async def orchestrate(
    urls: Mapping[str, str], receiver: str, *, seed: int, rate: float, deployments: int, stop: asyncio.Event
) -> None:
    """Keeps so many deployments going on the ESCs at `urls` (by source) until `stop` is set; `rate` 0: no limit."""
    turns = _Turns(rate)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT_S)) as session:
        clients = [_Orchestrator(session, source, url, receiver, turns, stop) for source, url in urls.items()]
        await asyncio.gather(*(client.prepare() for client in clients))
        async with asyncio.TaskGroup() as tasks:
            for number in range(deployments):
                rng = Random(f"{seed}/orchestrator/{number}")  # noqa: S311 -- must be repeatable, guards nothing
                tasks.create_task(clients[number % len(clients)].keep_living(number, rng))


class _Turns:
    """Orders in so even a flow that callbacks come at the rate."""

    def __init__(self, rate: float) -> None:
        self._interval_s = CALLBACKS_PER_ORDER / rate if rate else 0.0
        self._due = 0.0

    async def next(self) -> None:
        """Until it is this order's turn."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due + self._interval_s, now)
        await asyncio.sleep(self._due - now)


class _Orchestrator:
    """A client of one ESC and of the receiver."""

    def __init__(
        self, session: aiohttp.ClientSession, source: str, esc: str, receiver: str, turns: _Turns, stop: asyncio.Event
    ) -> None:
        self._session = session
        self._source = source
        self._esc = esc
        self._receiver = receiver
        self._turns = turns
        self._stop = stop

    async def prepare(self) -> None:
        """The tenants that all deployments live in."""
        for tenant in TENANTS:
            await self._order("POST", f"/v0/tenants/{tenant}", f"<tenant><name>{tenant}</name></tenant>")

    async def keep_living(self, number: int, rng: Random) -> None:
        """One deployment after the other under the same id, until the end of the demo."""
        name = f"{rng.choice(SERVICES)}-{number:02d}"
        while not self._stop.is_set():
            await self._live(name, rng.choice(TENANTS), rng)

    async def _live(self, name: str, tenant: str, rng: Random) -> None:
        path = f"/v0/deployments/{tenant}-{name}"
        groups = {"edge": rng.randrange(1, 4), "control": rng.randrange(2)}
        if await self._order("POST", path, _model(tenant, name, groups)) == "SUCCEEDED":
            for act in rng.choices(list(ACTS), list(ACTS.values()), k=rng.randint(*ORDERS_PER_LIFE)):
                await self._act(act, tenant, name, rng)
                if self._stop.is_set():
                    return
        await self._order("DELETE", path)

    async def _act(self, act: str, tenant: str, name: str, rng: Random) -> None:
        path, deployment = f"/v0/deployments/{tenant}-{name}", f"{tenant}-{name}"
        vms = await self._vms(path)
        if act == "update" or not vms:
            groups = {"edge": rng.randrange(1, 4), "control": rng.randrange(3)}
            await self._order("PUT", path, _model(tenant, name, groups))
        elif act in {"stop and start", "reboot"}:
            for operation in act.split(" and "):
                await self._order(
                    "POST", f"/v0/{tenant}/deployments/service/{deployment}", _operation("service", operation)
                )
        elif act == "stop a vm":
            for operation in ("stop", "start"):
                await self._order("POST", f"/v0/{tenant}/deployments/vm/{vms[0]}", _operation("vm", operation))
        elif act == "migrate":
            body = _operation("migrate_vm", "migrate")
            await self._order("POST", f"/v0/{tenant}/deployments/migrate-vm/{vms[0]}", body)
        elif act == "resource":
            await self._resource(tenant, f"net-{name}")
        elif act == "die":
            await self._happens(f"/emulator/vms/{rng.choice(vms)}/die", rng.choice(("reboot", "redeploy", "by-itself")))
        else:
            await self._happens(f"/emulator/deployments/{deployment}/{act}")

    async def _resource(self, tenant: str, name: str) -> None:
        path = f"/v0/{tenant}/networks/{name}"
        for method in ("POST", "DELETE"):
            await self._order(method, path, f"<network><name>{name}</name></network>" if method == "POST" else "")

    async def _happens(self, path: str, recovery: str = "") -> None:
        """Something that ESC does by itself, and its end."""
        await self._turns.next()
        body: dict[str, str] = {"recovery": recovery} if recovery else {}
        async with self._session.post(f"{self._esc}{path}", json=body) as answer:
            if answer.status == 200:
                await self._outcome((await answer.json())["transaction"])

    async def _order(self, method: str, path: str, body: str = "") -> str:
        """A request, and how it ended: a state of the operation, or "" when it was refused or nothing was heard."""
        await self._turns.next()
        if self._stop.is_set():
            return ""
        source = f"{self._receiver}/esc/{self._source}"
        headers = {"Content-Type": XML, "Callback": f"{source}/callback", "Callback-ESC-Events": f"{source}/events"}
        url = f"{self._esc}{BASES[0]}{path}"
        async with self._session.request(method, url, data=body or None, headers=headers) as answer:
            transaction = answer.headers.get("esc-transaction-id")
            if transaction is None:
                log.debug("refused", path=path, status=answer.status, said=await answer.text())
                await asyncio.sleep(PAUSE_S)
                return ""
        return await self._outcome(transaction)

    async def _outcome(self, transaction: str) -> str:
        """What `operations/{source}/{transaction}?wait=` says, unless the demo ends before."""
        asked = asyncio.ensure_future(self._ask(f"operations/{self._source}/{transaction}?wait={WAIT_S}"))
        ended = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not asked.done():
            asked.cancel()
            await asyncio.wait([asked])
            return ""
        return str(asked.result().get("state", ""))

    async def _ask(self, path: str) -> Any:
        async with self._session.get(f"{self._receiver}/api/v1/{path}") as answer:
            return await answer.json(content_type=None)

    async def _vms(self, path: str) -> list[str]:
        """Names of the deployment's watched VMs, as ESC tells them."""
        headers = {"Accept": "application/json"}
        async with self._session.get(f"{self._esc}{BASES[0]}{path}", headers=headers) as answer:
            found = await answer.json()
        vms: list[Mapping[str, str]] = found.get("deployment_details", [])
        return [vm["vm_name"] for vm in vms if vm["vm_group_name"] == "edge"]


def _operation(kind: str, operation: str) -> str:
    return f"<{kind}_operation><operation>{operation}</operation></{kind}_operation>"


def _model(tenant: str, name: str, groups: Mapping[str, int]) -> str:
    """A data model: `edge` is watched, the others are not."""
    found = "".join(
        f"<vm_group><name>{group}</name><image>img</image><bootup_time>{BOOTUP_S}</bootup_time><reboot_time>30</reboot_time>"
        "<interfaces><interface><nicid>0</nicid><network>mgmt</network></interface></interfaces>"
        f"<scaling><min_active>{vms}</min_active><max_active>{vms + 2}</max_active></scaling>"
        f"{_WATCHED if group == 'edge' else ''}</vm_group>"
        for group, vms in groups.items()
        if vms
    )
    return (
        f"<esc_datamodel><tenants><tenant><name>{tenant}</name><deployments><deployment><name>{name}</name>{found}"
        "</deployment></deployments></tenant></tenants></esc_datamodel>"
    )


_WATCHED = (
    "<kpi_data><kpi><event_name>VM_ALIVE</event_name></kpi></kpi_data><rules><admin_rules><rule>"
    "<event_name>VM_ALIVE</event_name><action>TRUE esc_vm_alive_notification</action></rule></admin_rules></rules>"
)
