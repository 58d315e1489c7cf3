"""Resources of all kinds: listed, shown, created, updated and deleted, each with one callback.

Chapters 01 to 05, 10, 13, 14, 16 and 19, and the lists of 17 and 18. What differs between kinds stands in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.masking import masked
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.refusal import conflict, invalid
from esc_lab.emulator.work_items import Call, Reply, Work
from esc_lab.emulator.world import ADMIN
from esc_lab.simulator import resource_scripts
from esc_lab.simulator.fleet import Tenant
from esc_lab.simulator.resource_scripts import CLIENTS_CHOICE, Action, Resource, make_resource
from esc_lab.simulator.script_runner import resource_operation


@dataclass(frozen=True, slots=True)
class Kind:
    """How resources of a kind are addressed, and what keeps one from being deleted."""

    parent: str = ""
    """The kind of resource it belongs to, which the path names."""
    id_in_body: bool = False
    """The id of a new one is given in the body, not in the path."""
    holds: tuple[str, ...] = ()
    """Kinds of which it must hold none when it is deleted."""


PLAIN, IN_TENANT = Kind(), Kind("tenant")
KINDS: Mapping[str, Kind] = {
    "tenant": Kind(holds=("network", "subnet", "volume", "router")),
    "network": Kind("tenant", holds=("subnet",)),
    **dict.fromkeys(("subnet", "volume", "router"), IN_TENANT),
    "vim_connector": Kind(id_in_body=True, holds=("vim_user", "default_vim_connector")),
    "vim_user": Kind("vim_connector", id_in_body=True),
}
_FILTERS = {"internalNetworkId": "internal_network_id", "internalTenantId": "internal_tenant_id"} | {
    "generatedVMName": "vm_name"
}
"""Parameters by which lists are filtered, and the fields that they compare."""


def list_resources(esc: Esc, call: Call) -> Reply:
    """GET all, or all of a parent."""
    kind = call.row.kind
    found = list(esc.world.of_kind(kind, _parent(esc, call) if _kind(call).parent else None))
    for parameter in (*call.row.query, *call.row.headers):
        if wanted := call.query.get(parameter):
            if parameter == "internalNetworkId":
                esc.resource("network", wanted)
            found = [one for one in found if one.values.get(_FILTERS[parameter]) == wanted]
    return Reply(many=[shown(one) for one in found])


def get_resource(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(shown(_existing(esc, call)))


def create_resource(esc: Esc, call: Call) -> Reply:
    """POST: it exists at once, and is ready when the callback says so."""
    kind, parent = call.row.kind, _parent(esc, call)
    resource = Resource(kind, _new_id(esc, call, parent), {}, parent)
    values = _client_values(esc, resource, call.body.fields)
    if kind == "tenant" and esc.world.tenant(str(values.get("name", resource.id))) is not None:
        raise conflict(f"there is a tenant of the name {values.get('name', resource.id)!r}")
    tenant = esc.tenant(parent if _kind(call).parent == "tenant" else ADMIN)
    resource.values = vim_values(esc, kind, tenant, resource.id) | values | _own_values(esc, resource, values)
    work = work_on(esc, resource, "CREATE", call)
    esc.world.put(resource)
    return Reply(work=work)


def update_resource(esc: Esc, call: Call) -> Reply:
    """PUT: changed when the callback says so; 204, and no callback, where nothing would change."""
    resource = _existing(esc, call)
    values = _client_values(esc, resource, call.body.fields)
    if {name: resource.values.get(name) for name in values} == values and 204 in call.row.answers:
        return Reply(status=204)
    if resource.state == "ERROR":
        raise invalid(f"{resource.kind} {resource.id!r} is in error; it must be deleted before it is created again")
    changed = replace(resource, values={**resource.values, **values})
    return Reply(work=work_on(esc, changed, "UPDATE", call, afterwards=lambda: resource.values.update(values)))


def delete_resource(esc: Esc, call: Call) -> Reply:
    """DELETE: gone when the callback says so."""
    resource = _existing(esc, call)
    _require_unused(esc, resource)
    return Reply(work=work_on(esc, resource, "DELETE", call))


def check_vim(esc: Esc, call: Call) -> Reply:
    """PUT: the connector exists, and that is all the emulator can check."""
    esc.resource("vim_connector", call.path["vim_id"])
    return Reply()


def get_default_vim(esc: Esc, call: Call) -> Reply:
    """GET the default connector's id; empty when none was chosen."""
    return Reply({"defaultVimConnectorId": esc.default_vim})


def set_default_vim(esc: Esc, call: Call) -> Reply:
    """POST: chosen when the callback says so."""
    vim_id = esc.checked_id(str(call.body.fields["defaultVimConnectorId"]), "VIM id")
    esc.resource("vim_connector", vim_id)
    chosen = Resource("default_vim_connector", vim_id, {"defaultVimConnectorId": vim_id}, vim_id)

    def choose() -> None:
        for old in list(esc.world.of_kind("default_vim_connector")):
            esc.world.drop(old)
        esc.world.put(chosen)

    return Reply(work=work_on(esc, chosen, "CREATE", call, afterwards=choose))


def work_on(
    esc: Esc, resource: Resource, action: Action, call: Call, afterwards: Callable[[], Any] | None = None
) -> Work:
    """The work on a resource; `afterwards` is called when it succeeds."""
    key = f"{resource.kind.replace('_', ' ')} {resource.id}"
    esc.claim(key)
    ok = not esc.fault("work-fails")
    before = {"CREATED": frozenset({"CREATED", "UPDATED"}), "ERROR": frozenset({"ERROR"})}
    operation = resource_operation(
        resource,
        action,
        esc.source,
        before.get(resource.state, frozenset()),
        style=esc.habits.header_style,
        ok=ok,
        rng=esc.rng,
    )
    existing = esc.world.resource(resource.kind, resource.id, resource.parent) or resource

    def finish() -> None:
        if ok and action == "DELETE":
            esc.world.drop(existing)
            return
        if ok:
            existing.state = "CREATED"
            if afterwards is not None:
                afterwards()
        elif action == "CREATE":
            existing.state = "ERROR"
        if esc.world.resource(existing.kind, existing.id, existing.parent) is existing:
            esc.world.put(existing)

    return Work(key, operation, call.urls, finish=finish)


def vim_values(esc: Esc, kind: str, tenant: Tenant, resource_id: str) -> dict[str, Any]:
    """What the VIM adds to the client's values: ids, and fields that the callback always has."""
    if kind not in resource_scripts.KINDS:
        return {}
    drawn = make_resource(kind, tenant, resource_id, esc.rng).values
    # What has fields of its own is the client's alone.
    return {name: value if isinstance(value, str) else [] for name, value in drawn.items()}


def shown(resource: Resource) -> dict[str, Any]:
    """The fields of its model that have a value, in the types of the model."""
    shape = MODELS[resource.kind].shape
    return {
        name: _typed(resource.values[name], shape[name])
        for name in shape
        if name in resource.values and resource.values[name] not in ("", [])
    }


def _typed(value: Any, shape: Any) -> Any:
    if isinstance(shape, bool) and isinstance(value, str):
        return value == "true"
    if isinstance(shape, int) and not isinstance(shape, bool) and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


def _kind(call: Call) -> Kind:
    return KINDS.get(call.row.kind, PLAIN)


def _parent(esc: Esc, call: Call) -> str:
    """The id of what the resource belongs to, which the first parameter of the path names."""
    named = next(iter(call.path.values()), "")
    if _kind(call).parent == "tenant":
        return esc.tenant(named).internal_id
    return esc.resource(_kind(call).parent, named).id if _kind(call).parent else ""


def _new_id(esc: Esc, call: Call, parent: str) -> str:
    given = str(call.body.fields["id"]) if _kind(call).id_in_body else list(call.path.values())[-1]
    if call.row.kind != "vim_user":
        return esc.new_id(given, f"{call.row.kind} id")
    if esc.world.resource("vim_user", esc.checked_id(given, "VIM user id"), parent) is not None:
        raise conflict(f"VIM {parent!r} has a user {given!r}")
    return given


def _existing(esc: Esc, call: Call) -> Resource:
    """The resource that the last parameter of the path names."""
    kind, resource_id = call.row.kind, esc.checked_id(list(call.path.values())[-1], f"{call.row.kind} id")
    if (kind, resource_id) != ("tenant", ADMIN):
        return esc.resource(kind, resource_id, _parent(esc, call))
    if call.row.method != "GET":
        raise invalid("the admin tenant is ESC's own, and cannot be changed")
    values = {"internal_tenant_id": ADMIN, "external_tenant_id": ADMIN, "name": "admin", "enabled": True}
    return Resource("tenant", ADMIN, values, state="CREATED")


def _require_unused(esc: Esc, resource: Resource) -> None:
    what = f"{resource.kind.replace('_', ' ')} {resource.id!r}"
    if (owner := str(resource.values.get("internal_deployment_id", ""))) in esc.world.deployments:
        raise invalid(f"{what} goes with its deployment {owner!r}")
    for kind in KINDS.get(resource.kind, PLAIN).holds:
        for held in esc.world.of_kind(kind):
            if resource.id in {held.parent, held.values.get("internal_network_id") if held is not resource else ""}:
                raise invalid(f"{what} still has {kind.replace('_', ' ')} {held.id!r}")
    for record in esc.world.deployments.values():
        if resource.kind == "tenant" and record.deployment.tenant.internal_id == resource.id:
            raise invalid(f"{what} still has deployment {record.id!r}")


def _client_values(esc: Esc, resource: Resource, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The client's values with masked secrets; ids are ESC's to give, and must not contradict the path."""
    parent = "vim_id" if resource.kind == "vim_user" else "internal_tenant_id"
    for name, right in ((f"internal_{resource.kind}_id", resource.id), (parent, resource.parent), ("id", resource.id)):
        if right and name in MODELS[resource.kind].shape and fields.get(name, right) != right:
            raise invalid(f"{name} is {fields[name]!r} in the body, and {right!r} in the path")
    if resource.kind == "subnet" and "internal_network_id" in fields:
        esc.resource("network", str(fields["internal_network_id"]))
    values = {
        name: value
        for name, value in fields.items()
        if name != "event_type" and (not name.startswith("external_") or name in CLIENTS_CHOICE)
    }
    found: dict[str, Any] = masked(values)
    return found


def _own_values(esc: Esc, resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    """What only ESC knows."""
    if resource.kind == "subnet" and "internal_network_id" in values:
        network = esc.resource("network", str(values["internal_network_id"]))
        return {"external_network_id": network.values["external_network_id"]}
    return {
        "volume": {"internal_volume_id": resource.id, "internal_tenant_id": resource.parent},
        "file_server": {"id": resource.id},
        "vim_user": {"vim_id": resource.parent},
    }.get(resource.kind, {})
