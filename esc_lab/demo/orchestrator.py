"""The orchestrators of the demo: each orders from an emulated ESC, and waits for the receiver to report the outcome.

They are what a user would write: HTTP to the northbound API, HTTP to the query API, nothing internal. Orders are drawn
from the seed; what ESC does by itself is requested through the emulator's control API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
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
"""A little of what goes wrong in practice, so that every outcome shows."""
CALLBACKS_PER_ORDER = 3.5
BOOTUP_S = 60
WAIT_S = 20
"""How long an orchestrator waits for the end of an operation; a callback that is lost never comes."""
ACTIONS_PER_DEPLOYMENT = 3, 8
QUIET_S = 5.0
"""How long the end waits for answers to the callbacks on their way."""
PAUSE_S = 0.2
"""After a refusal."""

ACTIONS: Mapping[str, int] = {
    "stop and start": 4, "reboot": 2, "update": 4, "die": 5, "scale-out": 3, "scale-in": 2, "stop a vm": 2,
    "migrate": 1, "network": 4,
}  # fmt: skip
"""What happens to a deployment that is up, by weight."""


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
    pacer = _Pacer(CALLBACKS_PER_ORDER / rate if rate else 0.0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT_S)) as session:
        clients = [_Orchestrator(session, source, url, receiver, pacer, stop) for source, url in urls.items()]
        await asyncio.gather(*(client.prepare() for client in clients))
        async with asyncio.TaskGroup() as tasks:
            for number in range(deployments):
                rng = Random(f"{seed}/orchestrator/{number}")  # noqa: S311 -- must be repeatable, guards nothing
                tasks.create_task(clients[number % len(clients)].run(number, rng))


@dataclass(slots=True)
class _Pacer:
    """Orders in so even a flow that callbacks come at the rate."""

    interval_s: float
    due_s: float = 0.0

    async def next(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self.due_s = max(self.due_s + self.interval_s, now_s)
        await asyncio.sleep(self.due_s - now_s)


@dataclass(frozen=True, slots=True)
class _Orchestrator:
    """A client of one ESC and of the receiver."""

    session: aiohttp.ClientSession
    source: str
    esc: str
    receiver: str
    pacer: _Pacer
    stop: asyncio.Event

    async def prepare(self) -> None:
        """The tenants that all deployments live in."""
        for tenant in TENANTS:
            await self._order("POST", f"/v0/tenants/{tenant}", f"<tenant><name>{tenant}</name></tenant>")

    async def run(self, number: int, rng: Random) -> None:
        """One deployment after the other under the same name, until the end of the demo."""
        name = f"{rng.choice(SERVICES)}-{number:02d}"
        while not self.stop.is_set():
            tenant = rng.choice(TENANTS)
            path = f"/v0/deployments/{tenant}-{name}"
            groups = {"edge": rng.randrange(1, 4), "control": rng.randrange(2)}
            if await self._order("POST", path, _model(tenant, name, groups)) == "SUCCEEDED":
                count = rng.randint(*ACTIONS_PER_DEPLOYMENT)
                for action in rng.choices(list(ACTIONS), list(ACTIONS.values()), k=count):
                    await self._act(action, tenant, name, rng)
            await self._order("DELETE", path)

    async def _act(self, action: str, tenant: str, name: str, rng: Random) -> None:
        deployment = f"{tenant}-{name}"
        path, network = f"/v0/deployments/{deployment}", f"/v0/{tenant}/networks/net-{name}"
        vms = await self._monitored_vms(path)
        operations = f"/v0/{tenant}/deployments"
        match action if vms else "update":
            case "update":
                groups = {"edge": rng.randrange(1, 4), "control": rng.randrange(3)}
                await self._order("PUT", path, _model(tenant, name, groups))
            case "stop and start" | "reboot":
                for operation in action.split(" and "):
                    await self._order("POST", f"{operations}/service/{deployment}", _operation("service", operation))
            case "stop a vm":
                for operation in ("stop", "start"):
                    await self._order("POST", f"{operations}/vm/{vms[0]}", _operation("vm", operation))
            case "migrate":
                await self._order("POST", f"{operations}/migrate-vm/{vms[0]}", _operation("migrate_vm", "migrate"))
            case "network":
                await self._order("POST", network, f"<network><name>net-{name}</name></network>")
                await self._order("DELETE", network)
            case "die":
                recovery = rng.choice(("reboot", "redeploy", "by-itself"))
                await self._trigger(f"/emulator/vms/{rng.choice(vms)}/die", {"recovery": recovery})
            case scaling:
                await self._trigger(f"/emulator/deployments/{deployment}/{scaling}", {})

    async def _trigger(self, path: str, body: Mapping[str, str]) -> None:
        """Something that ESC does by itself, and its end."""
        await self.pacer.next()
        async with self.session.post(f"{self.esc}{path}", json=body) as answer:
            if answer.status == 200:
                await self._outcome((await answer.json())["transaction"])

    async def _order(self, method: str, path: str, body: str = "") -> str:
        """A request, and its outcome: a state of the operation, or "" when it was refused or no outcome came."""
        await self.pacer.next()
        if self.stop.is_set():
            return ""
        urls = {"Callback": "callback", "Callback-ESC-Events": "events"}
        headers = {name: f"{self.receiver}/esc/{self.source}/{channel}" for name, channel in urls.items()}
        headers["Content-Type"] = "application/xml"
        url = f"{self.esc}{BASES[0]}{path}"
        async with self.session.request(method, url, data=body or None, headers=headers) as answer:
            transaction = answer.headers.get("esc-transaction-id")
            if transaction is None:
                log.debug("refused", path=path, status=answer.status, answer=await answer.text())
                await asyncio.sleep(PAUSE_S)
                return ""
        return await self._outcome(transaction)

    async def _outcome(self, transaction: str) -> str:
        """What `operations/{source}/{transaction}?wait=` answers, unless the demo ends before."""
        url = f"{self.receiver}/api/v1/operations/{self.source}/{transaction}?wait={WAIT_S}"
        asked = asyncio.ensure_future(self._get(url))
        ended = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not asked.done():
            asked.cancel()
            await asyncio.wait([asked])
            return ""
        return str(asked.result().get("state", ""))

    async def _monitored_vms(self, path: str) -> list[str]:
        """Names of the deployment's VMs that have a monitor."""
        found = await self._get(f"{self.esc}{BASES[0]}{path}")
        return [vm["vm_name"] for vm in found.get("deployment_details", []) if vm["vm_group_name"] == "edge"]

    async def _get(self, url: str) -> Any:
        async with self.session.get(url, headers={"Accept": "application/json"}) as answer:
            return await answer.json(content_type=None)


def _operation(kind: str, operation: str) -> str:
    return f"<{kind}_operation><operation>{operation}</operation></{kind}_operation>"


def _model(tenant: str, name: str, groups: Mapping[str, int]) -> str:
    """A data model: `edge` is monitored, the others are not."""
    found = "".join(
        f"<vm_group><name>{group}</name><image>img</image><bootup_time>{BOOTUP_S}</bootup_time>"
        "<reboot_time>30</reboot_time>"
        "<interfaces><interface><nicid>0</nicid><network>mgmt</network></interface></interfaces>"
        f"<scaling><min_active>{vms}</min_active><max_active>{vms + 2}</max_active></scaling>"
        f"{_MONITOR if group == 'edge' else ''}</vm_group>"
        for group, vms in groups.items()
        if vms
    )
    return (
        f"<esc_datamodel><tenants><tenant><name>{tenant}</name><deployments><deployment><name>{name}</name>{found}"
        "</deployment></deployments></tenant></tenants></esc_datamodel>"
    )


_MONITOR = (
    "<kpi_data><kpi><event_name>VM_ALIVE</event_name></kpi></kpi_data><rules><admin_rules><rule>"
    "<event_name>VM_ALIVE</event_name><action>TRUE esc_vm_alive_notification</action></rule></admin_rules></rules>"
)
