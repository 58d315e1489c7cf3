"""Chapters 01 to 05, 10, 16 and 19: resources are made, changed and removed, each with one callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.masking import masked
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.resource_callbacks import defaults, ending
from esc_lab.emulator.work_items import Call, Reply, Work
from esc_lab.emulator.world import ADMIN, Thing
from esc_lab.simulator.fleet import Tenant
from esc_lab.simulator.resource_scripts import Action

IN_TENANT = frozenset({"network", "subnet", "volume", "router"})
HOLDERS: Mapping[str, tuple[str, ...]] = {"tenant": ("network", "subnet", "volume", "router"), "network": ("subnet",)}
"""What must be empty before it can be deleted."""


def create_resource(esc: Esc, call: Call) -> Reply:
    """POST: it is there at once, and made when the callback says so."""
    kind, tenant = call.row.kind, _tenant(esc, call)
    thing_id = esc.new_id(_id(call), f"{kind} id")
    thing = Thing(kind, thing_id, tenant.internal_id if kind in IN_TENANT else "")
    values = _values(esc, thing, call.body.fields)
    if kind == "tenant" and esc.world.tenant(str(values.get("name", thing_id))) is not None:
        raise conflict(f"there is a tenant of the name {values.get('name', thing_id)!r}")
    thing.values = defaults(kind, tenant, thing_id, esc.rng) | values | _fixed(esc, thing, tenant, call.body.fields)
    work = work_on(esc, thing, "CREATE", call)
    esc.world.put(thing)
    return Reply(work=work)


def update_resource(esc: Esc, call: Call) -> Reply:
    """PUT: changed when the callback says so; 204, and no callback, where nothing would change."""
    thing = _there(esc, call)
    values = _values(esc, thing, call.body.fields)
    before = {name: thing.values.get(name) for name in values}
    if before == values and 204 in call.row.answers:
        return Reply(status=204)
    if thing.state == "ERROR":
        raise invalid(f"{thing.kind} {thing.id!r} is in error; it must be deleted before it is made again")

    def change() -> None:
        thing.values |= values

    changed = Thing(thing.kind, thing.id, thing.parent, {**thing.values, **values}, thing.state)
    return Reply(work=work_on(esc, changed, "UPDATE", call, afterwards=change))


def delete_resource(esc: Esc, call: Call) -> Reply:
    """DELETE: gone when the callback says so."""
    thing = _there(esc, call)
    _require_free(esc, thing)
    return Reply(work=work_on(esc, thing, "DELETE", call))


def get_resource(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(shown(_there(esc, call)))


def list_resources(esc: Esc, call: Call) -> Reply:
    """GET all, or all of a tenant; of subnets perhaps those of one network."""
    parent = esc.tenant(_path(call, "tenant")).internal_id if call.row.kind in IN_TENANT else None
    found = list(esc.world.of_kind(call.row.kind, parent))
    if network := call.query.get("internalNetworkId"):
        esc.thing("network", network)
        found = [thing for thing in found if thing.values.get("internal_network_id") == network]
    return Reply(many=[shown(thing) for thing in found])


def work_on(esc: Esc, thing: Thing, action: Action, call: Call, afterwards: Callable[[], None] | None = None) -> Work:
    """The work on a resource: `afterwards` when it went well."""
    line = f"{thing.kind.replace('_', ' ')} {thing.id}"
    esc.begin(line)
    ok = not esc.faults.happens("work-fails", esc.rng)
    style = esc.habits.header_style
    operation = ending(thing, action, esc.transaction(), style=style, ok=ok, source=esc.source, rng=esc.rng)
    there = esc.world.thing(thing.kind, thing.id, thing.parent) or thing

    def finish() -> None:
        if not ok:
            there.state = "ERROR" if action == "CREATE" else there.state
        elif action == "DELETE":
            esc.world.drop(there)
        else:
            there.state = "CREATED"
            if afterwards is not None:
                afterwards()
        if esc.world.thing(there.kind, there.id, there.parent) is there:
            esc.world.touch(there)

    return Work(line, operation, call.urls, finish=finish)


def shown(thing: Thing) -> dict[str, Any]:
    """The fields of its model, in the types of its model."""
    shape = MODELS[thing.kind].shape
    return {
        name: _typed(thing.values[name], shape[name])
        for name in shape
        if name in thing.values and thing.values[name] not in ("", [])
    }


def _require_free(esc: Esc, thing: Thing) -> None:
    """Nothing else needs it."""
    if (owner := str(thing.values.get("internal_deployment_id", ""))) in esc.world.deployments:
        raise invalid(f"{thing.kind} {thing.id!r} goes with its deployment {owner!r}")
    for kind in HOLDERS.get(thing.kind, ()):
        for held in esc.world.of_kind(kind):
            if thing.id in {held.parent, held.values.get("internal_network_id") if held is not thing else ""}:
                raise invalid(f"{thing.kind} {thing.id!r} still has {kind} {held.id!r}")
    for placed in esc.world.deployments.values():
        if thing.kind == "tenant" and placed.deployment.tenant.internal_id == thing.id:
            raise invalid(f"tenant {thing.id!r} still has deployment {placed.id!r}")


def _there(esc: Esc, call: Call) -> Thing:
    kind, thing_id = call.row.kind, esc.checked_id(_id(call), f"{call.row.kind} id")
    parent = _tenant(esc, call).internal_id if kind in IN_TENANT else ""
    if kind == "tenant" and thing_id == ADMIN:
        return _admin(call)
    return esc.thing(kind, thing_id, parent)


def _admin(call: Call) -> Thing:
    if call.row.method != "GET":
        raise invalid("the admin tenant is ESC's own, and cannot be changed")
    values = {"internal_tenant_id": ADMIN, "external_tenant_id": ADMIN, "name": "admin", "enabled": True}
    return Thing("tenant", ADMIN, values=values, state="CREATED")


def _id(call: Call) -> str:
    """The last part of the path that is a parameter."""
    return list(call.path.values())[-1]


def _path(call: Call, word: str) -> str:
    return next(value for name, value in call.path.items() if word in name.lower())


def _tenant(esc: Esc, call: Call) -> Tenant:
    return esc.tenant(_path(call, "tenant")) if call.row.kind in IN_TENANT else Tenant(ADMIN, ADMIN)


def _values(esc: Esc, thing: Thing, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the client says, its secrets masked; ids are ESC's to give, and must not contradict the path."""
    own = f"internal_{thing.kind}_id"
    for name, right in ((own, thing.id), ("internal_tenant_id", thing.parent), ("id", thing.id)):
        if right and name in MODELS[thing.kind].shape and fields.get(name, right) != right:
            raise invalid(f"{name} is {fields[name]!r} in the body, and {right!r} in the path")
    if thing.kind == "subnet" and "internal_network_id" in fields:
        esc.thing("network", str(fields["internal_network_id"]))
    kept = {name: value for name, value in fields.items() if not name.startswith("external_") or name in _CHOSEN}
    kept.pop("event_type", None)
    found: dict[str, Any] = masked(kept)
    return found


_CHOSEN = frozenset({"external_network"})
"""Fields that look like a VIM's id, but are a choice of the client."""


def _fixed(esc: Esc, thing: Thing, tenant: Tenant, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What only ESC knows."""
    if thing.kind == "subnet":
        network = esc.world.thing("network", str(fields.get("internal_network_id", "")))
        if network is None:
            if "internal_network_id" in fields:
                raise missing(f"there is no network {fields['internal_network_id']!r}")
            return {}
        return {"external_network_id": network.values["external_network_id"]}
    if thing.kind == "volume":
        return {"internal_volume_id": thing.id, "internal_tenant_id": tenant.internal_id}
    return {"id": thing.id} if thing.kind == "file_server" else {}


def _typed(value: Any, shape: Any) -> Any:
    if isinstance(shape, bool) and isinstance(value, str):
        return value == "true"
    if isinstance(shape, int) and not isinstance(shape, bool) and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


HANDLERS = {
    one.__name__: one for one in (create_resource, update_resource, delete_resource, get_resource, list_resources)
}
