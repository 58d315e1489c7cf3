"""Resources of all kinds: listed, shown, created, updated and deleted, each with one callback.

Chapters 01 to 05, 10, 13, 14, 16 and 19, and the lists of 17 and 18. What differs between kinds stands in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.masking import has_secrets
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.refusal import conflict, invalid
from esc_lab.emulator.resource_values import (
    FAILED,
    client_values,
    following,
    own_values,
    shown,
    told_values,
    vim_values,
)
from esc_lab.emulator.work_items import Call, Reply, Work
from esc_lab.emulator.world import ADMIN, as_tenant, work_key
from esc_lab.simulator.resource_scripts import Action, Resource
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
HIDDEN: Mapping[str, frozenset[str]] = {
    "vim_connector": frozenset({"default_vim_connector"}),
    "tenant": frozenset({"config", "deployments", "fileserver", "flavors", "images", "systemstate", "tenants", "vims"}),
}
"""Ids under which nobody could reach the resource, because its path is another operation's."""
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
                esc.resource("network", wanted, _parent(esc, call))
            found = [one for one in found if one.values.get(_FILTERS[parameter]) == wanted]
    return Reply(many=[shown(one) for one in found])


def get_resource(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(shown(_existing(esc, call)))


def create_resource(esc: Esc, call: Call) -> Reply:
    """POST: it exists at once; what the VIM says of it is known when the callback has said that it succeeded."""
    kind, parent = call.row.kind, _parent(esc, call)
    if _kind(call).parent:
        esc.ready(esc.resource(_kind(call).parent, parent))
    resource = Resource(kind, _new_id(esc, call, parent), {}, parent)
    given = client_values(resource, call.body.fields)
    resource.values = own_values(resource) | given | _in_tenant(esc, resource) | _in_network(esc, resource, given)
    resource.values |= following(kind, given, {})
    _require_own_name(esc, resource)
    tenant = as_tenant(esc.tenant(parent if _kind(call).parent == "tenant" else ADMIN))
    drawn = vim_values(kind, tenant, resource.id, esc.rng)
    made = drawn | resource.values
    made |= following(kind, given, made)
    work = work_on(esc, resource, "CREATE", call, made)
    esc.world.put(resource)
    return Reply(work=work)


def update_resource(esc: Esc, call: Call) -> Reply:
    """PUT: changed when the callback says so; 204, and no callback, where nothing would change.

    Of secrets nothing is kept that a new one could be compared with: a body that has one is a change.
    """
    resource = _existing(esc, call)
    given = client_values(resource, call.body.fields)
    changed = resource.values | given | _in_network(esc, resource, given)
    changed |= following(resource.kind, given, resource.values)
    esc.ready(resource)
    if 204 in call.row.answers and changed == resource.values and not has_secrets(call.body.fields):
        return Reply(status=204)
    _require_own_name(esc, replace(resource, values=changed))
    return Reply(work=work_on(esc, resource, "UPDATE", call, changed))


def delete_resource(esc: Esc, call: Call) -> Reply:
    """DELETE: gone when the callback says so."""
    resource = _existing(esc, call)
    _require_unused(esc, resource)
    return Reply(work=work_on(esc, resource, "DELETE", call))


def check_vim(esc: Esc, call: Call) -> Reply:
    """PUT: the connector exists, and that is all the emulator can check."""
    esc.resource("vim_connector", esc.checked_id(call.path["vim_id"], "VIM id"))
    return Reply()


def get_default_vim(esc: Esc, call: Call) -> Reply:
    """GET the default connector's id; empty when none was chosen."""
    return Reply({"defaultVimConnectorId": esc.default_vim})


def set_default_vim(esc: Esc, call: Call) -> Reply:
    """POST: chosen when the callback says so."""
    vim_id = esc.checked_id(str(call.body.fields["defaultVimConnectorId"]), "VIM id")
    esc.ready(esc.resource("vim_connector", vim_id))
    chosen = Resource("default_vim_connector", vim_id, {"defaultVimConnectorId": vim_id}, vim_id)

    def choose() -> None:
        for old in list(esc.world.of_kind("default_vim_connector")):
            esc.world.drop(old)
        esc.world.put(chosen)

    return Reply(work=work_on(esc, chosen, "CREATE", call, afterwards=choose))


def work_on(
    esc: Esc,
    resource: Resource,
    action: Action,
    call: Call,
    values: Mapping[str, Any] | None = None,
    afterwards: Callable[[], Any] = lambda: None,
) -> Work:
    """The work on a resource; when it succeeds it has the new values, and `afterwards` is called."""
    key = work_key(resource)
    esc.claim(key)
    ok = not esc.fault("work-fails")
    after = dict(resource.values if values is None else values)
    failed = FAILED.get(resource.kind, {}) if action == "CREATE" and not ok else {}
    before = {"CREATED": frozenset({"CREATED", "UPDATED"}), "ERROR": frozenset({"ERROR"})}
    operation = resource_operation(
        replace(resource, values=told_values(resource, {**after, **failed})),
        action,
        esc.source,
        before.get(resource.state, frozenset()),
        style=esc.habits.header_style,
        ok=ok,
        rng=esc.rng,
    )

    def finish() -> None:
        if ok and action == "DELETE":
            esc.world.drop(resource)
            return
        if ok:
            resource.state, resource.values = "CREATED", after
            afterwards()
        elif action == "CREATE":
            resource.state = "ERROR"
            resource.values |= failed
        if esc.world.resource(resource.kind, resource.id, resource.parent) is resource:
            esc.world.put(resource)

    return Work(key, operation, call.urls, finish=finish)


def _kind(call: Call) -> Kind:
    return KINDS.get(call.row.kind, PLAIN)


def _parent(esc: Esc, call: Call) -> str:
    """The id of what the resource belongs to, which the first parameter of the path names."""
    named = next(iter(call.path.values()), "")
    if _kind(call).parent == "tenant":
        return esc.tenant(named).id
    return esc.resource(_kind(call).parent, named).id if _kind(call).parent else ""


def _new_id(esc: Esc, call: Call, parent: str) -> str:
    given = str(call.body.fields["id"]) if _kind(call).id_in_body else list(call.path.values())[-1]
    if given in HIDDEN.get(call.row.kind, ()):
        raise invalid(f"{call.row.kind.replace('_', ' ')} id {given!r} is a word of the API's own paths")
    if call.row.kind != "vim_user":
        return esc.new_id(given, f"{call.row.kind} id")
    if esc.world.resource("vim_user", esc.checked_id(given, "VIM user id"), parent) is not None:
        raise conflict(f"VIM {parent!r} has a user {given!r}")
    return given


def _existing(esc: Esc, call: Call) -> Resource:
    """The resource that the last parameter of the path names."""
    kind, resource_id = call.row.kind, esc.checked_id(list(call.path.values())[-1], f"{call.row.kind} id")
    if (kind, resource_id) == ("tenant", ADMIN) and call.row.method != "GET":
        raise invalid("the admin tenant is ESC's own, and cannot be changed")
    return esc.resource(kind, resource_id, _parent(esc, call))


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


def _require_own_name(esc: Esc, resource: Resource) -> None:
    """Data models name tenants by their names, which nobody could tell apart otherwise."""
    if resource.kind == "tenant":
        named = esc.world.tenant_named(str(resource.values["name"]))
        if named is not None and named.id != resource.id:
            raise conflict(f"there is a tenant of the name {resource.values['name']!r}: {named.id}")


def _in_tenant(esc: Esc, resource: Resource) -> dict[str, Any]:
    """The name of its tenant, where its model has one."""
    if "tenant_name" not in MODELS[resource.kind].shape:
        return {}
    return {"tenant_name": esc.tenant(resource.parent).values["name"]}


def _in_network(esc: Esc, resource: Resource, given: Mapping[str, Any]) -> dict[str, Any]:
    """The VIM's id of the network that a subnet is in: one of the same tenant."""
    if resource.kind != "subnet":
        return {}
    network_id = str(given.get("internal_network_id", resource.values.get("internal_network_id", "")))
    if not network_id:
        raise invalid("subnet lacks internal_network_id: the network that it is in")
    network = esc.ready(esc.resource("network", network_id, resource.parent))
    return {"external_network_id": network.values["external_network_id"]}
