"""The control API under `/emulator`: shows the inside, and makes things go wrong. JSON in and out.

It is no part of ESC. This file must not know how a fault is injected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import orjson
from aiohttp import web

from esc_lab.emulator import northbound_openapi as openapi
from esc_lab.emulator.body_schemas import BodyError
from esc_lab.emulator.codec import read_json
from esc_lab.emulator.delivery_queue import Deliveries
from esc_lab.emulator.endpoint_model import Method
from esc_lab.emulator.engine import Engine
from esc_lab.emulator.esc import SYSTEM_STATES, Esc
from esc_lab.emulator.healing import die, scale_in, scale_out
from esc_lab.emulator.injected_faults import NAMES
from esc_lab.emulator.options import Recovery
from esc_lab.emulator.refusal import RefusalError, Wrong, invalid
from esc_lab.emulator.work_items import Work

BASE = "/emulator"
RECOVERIES = get_args(Recovery)
_STATUSES = {Wrong.INVALID: 400, Wrong.MISSING: 404, Wrong.CONFLICT: 409}
ARMED_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Control:
    """One operation on the emulator itself."""

    method: Method
    path: str
    does: str
    summary: str
    example: str = ""
    """A body."""


CONTROLS = (
    Control("GET", "", "look", "Seed, pace, mode, what is under way, callbacks by what became of them"),
    Control("GET", "/deliveries", "deliveries", "The last callbacks; `?transaction=`, `?state=`, `?limit=`"),
    Control("GET", "/operations", "operations", "How the last operations really ended, whoever was told"),
    Control("GET", "/faults", "faults", "Faults by chance, and those armed"),
    Control(
        "POST", "/faults", "arm", "Arm faults for the next times, or change their chances",
        '{"next": {"vm-fails": 1}, "chances": {"double": 0.1}, "delay_s": 5}',
    ),
    Control("DELETE", "/faults", "disarm", "Nothing goes wrong on purpose any more"),
    Control("POST", "/vms/{vm_name}/die", "die", "The VM is gone, and recovers", '{"recovery": "redeploy"}'),
    Control("POST", "/deployments/{id}/scale-out", "scale_out", "Overload: one VM more", '{"group": "web"}'),
    Control("POST", "/deployments/{id}/scale-in", "scale_in", "Underload: one VM less", '{"group": "web"}'),
    Control(
        "POST", "/failover", "failover",
        "Work under way is lost (`done`: had been done, and nobody is told); new certificate, other source address",
        '{"work": "done"}',
    ),
    Control("POST", "/systemstates/{name}", "system_state", "Set a system state", '{"state": "DOWN"}'),
    Control("GET", "/certificate", "certificate", "The certificate of HTTPS, to be trusted (PEM)"),
    Control("GET", "/openapi.json", "openapi", "The OpenAPI document of the northbound API"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ControlApi:
    """The routes, answered from the parts of one emulator."""

    esc: Esc
    engine: Engine
    deliveries: Deliveries
    about: Mapping[str, Any]
    failover: Callable[..., Awaitable[Mapping[str, Any]]]
    pem: Callable[[], str]

    def routes(self) -> list[web.RouteDef]:
        """One for each of CONTROLS."""
        return [
            web.route(control.method, f"{BASE}{control.path}", self._answering(getattr(self, f"_on_{control.does}")))
            for control in CONTROLS
        ]

    def _answering(
        self, handler: Callable[[web.Request], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                if request.method != "GET":
                    await request.read()  # from here on no other request comes in between
                    self.esc.reseed(f"{request.method} {request.path}")
                found = await handler(request)
            except RefusalError as refusal:
                self.esc.release_claim()
                return _json({"message": str(refusal)}, _STATUSES.get(refusal.wrong, 409))
            return found if isinstance(found, web.Response) else _json(found)

        return answer

    async def _on_look(self, _: web.Request) -> Any:
        return {
            **self.about,
            "mode": self.esc.mode,
            "deployments": len(self.esc.world.deployments),
            "under_way": self.engine.in_progress,
            "callbacks": dict(sorted(self.deliveries.counts.items())),
        }

    async def _on_deliveries(self, request: web.Request) -> Any:
        wanted = {name: request.query[name] for name in ("transaction", "state") if name in request.query}
        limit = request.query.get("limit", "1000")
        if not limit.isdecimal():
            raise invalid(f"limit is {limit[:20]!r}, and should be a whole number")
        found = [
            asdict(delivery)
            for delivery in self.deliveries.kept
            if all(getattr(delivery, name) == value for name, value in wanted.items())
        ]
        return {"items": found[max(0, len(found) - int(limit)) :]}

    async def _on_operations(self, _: web.Request) -> Any:
        return {"items": [asdict(one) for one in self.engine.ended]}

    async def _on_faults(self, _: web.Request) -> Any:
        faults = self.esc.faults
        armed = {name: number for name, number in faults.armed.items() if number}
        return {"next": armed, "chances": faults.chances, "delay_s": faults.delay_s}

    async def _on_arm(self, request: web.Request) -> Any:
        body = await _body(request)
        armed, chances = _numbers(body, "next", ARMED_MAX), _numbers(body, "chances", 1)
        delay_s = _numbers({"": {"delay_s": body.get("delay_s", 0)}}, "", 86_400, names=("delay_s",))
        self.esc.faults.armed |= {name: int(number) for name, number in armed.items()}
        self.esc.faults.chances |= chances
        if "delay_s" in body:
            self.esc.faults.delay_s = delay_s["delay_s"]
        return await self._on_faults(request)

    async def _on_disarm(self, request: web.Request) -> Any:
        self.esc.faults.armed.clear()
        self.esc.faults.chances.clear()
        return await self._on_faults(request)

    async def _on_die(self, request: web.Request) -> Any:
        wanted = (await _body(request)).get("recovery")
        if wanted is not None and wanted not in RECOVERIES:
            raise invalid(f"recovery is {wanted!r}, and should be one of {', '.join(RECOVERIES)}")
        return self._started(die(self.esc, request.match_info["vm_name"], wanted))

    async def _on_scale_out(self, request: web.Request) -> Any:
        group = str((await _body(request)).get("group", ""))
        return self._started(scale_out(self.esc, request.match_info["id"], group))

    async def _on_scale_in(self, request: web.Request) -> Any:
        group = str((await _body(request)).get("group", ""))
        return self._started(scale_in(self.esc, request.match_info["id"], group))

    async def _on_failover(self, request: web.Request) -> Any:
        work = (await _body(request)).get("work", "lost")
        if work not in ("lost", "done"):
            raise invalid(f"work is {work!r}, and should be lost or done")
        return await self.failover(done=work == "done")

    async def _on_system_state(self, request: web.Request) -> Any:
        name, state = request.match_info["name"], str((await _body(request)).get("state", ""))
        if name not in SYSTEM_STATES or not state:
            raise invalid(f"one of {', '.join(SYSTEM_STATES)} may be set, to a state that is not empty")
        self.esc.world.set(f"state/{name}", state)
        self.engine.save()
        return {"name": name, "state": state}

    async def _on_certificate(self, _: web.Request) -> web.Response:
        return web.Response(text=self.pem(), content_type="application/x-pem-file")

    async def _on_openapi(self, _: web.Request) -> Any:
        return openapi.document()

    def _started(self, work: Work) -> dict[str, str]:
        self.engine.start(work)
        return {"transaction": work.operation.transaction, "kind": work.operation.kind}


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = read_json(await request.read() or b"{}")
    except BodyError as error:
        raise invalid(str(error)) from error
    if not isinstance(found, dict):
        raise invalid("the body should be an object")
    return found


def _numbers(body: Mapping[str, Any], part: str, most: float, names: tuple[str, ...] = NAMES) -> dict[str, float]:
    found = body.get(part, {})
    if not isinstance(found, dict):
        raise invalid(f"{part} should be an object")
    for name, number in found.items():
        if name not in names:
            raise invalid(f"{name!r} is none of {', '.join(names)}")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= most:
            raise invalid(f"{name} is {number!r}, and should be a number from 0 to {most}")
    return found


def _json(value: Any, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
