"""The values of a resource: what the client gave, what ESC adds to them at once, what the VIM adds when it is made.

Until its creation has succeeded, ESC knows nothing of the VIM's. This file must not know HTTP, nor when callbacks are
sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from esc_lab.emulator.addresses import subnet_addresses
from esc_lab.emulator.masking import masked
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.refusal import invalid
from esc_lab.simulator import resource_scripts
from esc_lab.simulator.fleet import Tenant
from esc_lab.simulator.resource_scripts import CLIENTS_CHOICE, Resource, make_resource

FAILED: Mapping[str, Mapping[str, Any]] = {"tenant": {"enabled": False}, "image": {"imageisenabled": False}}
"""What a resource says of itself when its creation has failed, by kind."""
_CLIENTS_ALONE = frozenset({"src", "description", "external_network"})
"""Fields that a callback has only when the client gave them."""


def client_values(resource: Resource, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The client's values with masked secrets; ids are ESC's to give, and must not contradict the path."""
    parent = "vim_id" if resource.kind == "vim_user" else "internal_tenant_id"
    for name, right in ((f"internal_{resource.kind}_id", resource.id), (parent, resource.parent), ("id", resource.id)):
        if right and name in MODELS[resource.kind].shape and fields.get(name, right) != right:
            raise invalid(f"{name} is {fields[name]!r} in the body, and {right!r} in the path")
    values = {
        name: value
        for name, value in fields.items()
        if name != "event_type" and (not name.startswith("external_") or name in CLIENTS_CHOICE)
    }
    found: dict[str, Any] = masked(values)
    return found


def own_values(resource: Resource) -> dict[str, Any]:
    """What ESC knows of a new resource, whatever the VIM says: its ids, and its name if it has none."""
    shape = MODELS[resource.kind].shape
    found = {
        "name": resource.id,
        "internal_tenant_id": resource.parent,
        "vim_id": resource.parent,
        "volume_id": resource.id,
        "id": resource.id,
        f"internal_{resource.kind}_id": resource.id,
    }
    return {name: value for name, value in found.items() if name in shape and value}


def vim_values(kind: str, tenant: Tenant, resource_id: str, rng: Random) -> dict[str, Any]:
    """What the VIM adds to the client's values: ids, and fields that the callback always has."""
    if kind not in resource_scripts.KINDS:
        return {}
    shape = MODELS[kind].shape
    drawn = make_resource(kind, tenant, resource_id, rng).values
    # What has fields of its own is the client's alone.
    return {
        name: _typed(value, shape[name]) if isinstance(value, str) else []
        for name, value in drawn.items()
        if name in shape and name not in _CLIENTS_ALONE
    }


def following(kind: str, given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that follow from others, where these were given: a subnet's addresses, a network's VLAN."""
    if kind == "subnet":
        try:
            return subnet_addresses(given, before)
        except ValueError as error:
            raise invalid(str(error)) from error
    if kind != "network":
        return {}
    segment, vlan = str(given.get("provider_segmentation_id", "")), given.get("vlan_id")
    if segment.isdecimal() and vlan is None:
        return {"vlan_id": int(segment)}
    return {"provider_segmentation_id": str(vlan)} if vlan is not None and not segment else {}


def told_values(resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a callback: of a volume also the ids that its model lacks, else nobody would know it."""
    ids = {"internal_volume_id": resource.id, "internal_tenant_id": resource.parent}
    return {**values, **(ids if resource.kind == "volume" else {})}


def shown(resource: Resource) -> dict[str, Any]:
    """The fields of its model that have a value; then what else the client gave."""
    shape, values = MODELS[resource.kind].shape, resource.values
    names = [name for name in shape if name in values] + [name for name in values if name not in shape]
    return {name: values[name] for name in names if values[name] not in ("", [])}


def _typed(value: Any, shape: Any) -> Any:
    if isinstance(shape, bool) and isinstance(value, str):
        return value == "true"
    if isinstance(shape, int) and not isinstance(shape, bool) and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value
