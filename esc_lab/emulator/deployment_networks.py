"""The networks and subnets that a deployment brings with it: which there are to be, and which come and go.

Their ids are made from the deployment's. This file must not know requests, nor when callbacks are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esc_lab.emulator.body_schemas import conform
from esc_lab.emulator.datamodel import Datamodel, Network, Subnet
from esc_lab.emulator.esc import ID_MAX, Esc
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.resource_values import following, own_values, vim_values
from esc_lab.emulator.world import DeploymentRecord
from esc_lab.simulator.resource_scripts import Resource

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]")
_OTHER_NAMES: Mapping[str, str] = {"admin_state": "admin_state_up"}
"""Fields that data models call otherwise than chapter 02 does."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A network or subnet that is to be created: what ESC knows of it at once, and what is known when it is there."""

    announced: Resource
    made: Resource


@dataclass(slots=True)
class NetworkPlan:
    """What is created (networks before subnets), and what is deleted (likewise; in reverse)."""

    created: list[Planned] = field(default_factory=list)
    deleted: list[Resource] = field(default_factory=list)

    @property
    def made(self) -> list[Resource]:
        """What is created, as it will be."""
        return [one.made for one in self.created]


def plan_networks(esc: Esc, record: DeploymentRecord, wanted: Sequence[Network]) -> NetworkPlan:
    """Of a new deployment."""
    plan = NetworkPlan()
    _add(esc, record, plan, wanted)
    return plan


def plan_network_update(esc: Esc, record: DeploymentRecord, model: Datamodel) -> NetworkPlan:
    """The difference to a new data model; a subnet that has changed is another one."""
    before = {one.name: one.subnet for one in record.model.networks}
    after = {one.name: one for one in model.networks}
    existing = [esc.resource(*one) for one in record.networks]
    networks = {str(one.values["name"]): one for one in existing if one.kind == "network"}
    plan = NetworkPlan(deleted=[one for name, one in networks.items() if name not in after])
    plan.deleted += [one for network in plan.deleted for one in _subnets(existing, network)]
    _add(esc, record, plan, [one for name, one in after.items() if name not in networks])
    for name, network in networks.items():
        if name in after:
            kept = {one.name for one in before.get(name, ()) if one in after[name].subnet}
            kept &= {str(one.values["name"]) for one in _subnets(existing, network)}
            missing = [one for one in after[name].subnet if one.name not in kept]
            plan.created += [_subnet(esc, record, plan, one, network) for one in missing]
            plan.deleted += [one for one in _subnets(existing, network) if one.values["name"] not in kept]
    return plan


def announce_networks(esc: Esc, record: DeploymentRecord, plan: NetworkPlan) -> None:
    """From now on they are there; the VIM has made none of them yet."""
    for one in plan.created:
        esc.world.put(one.announced)
        record.networks.append((one.announced.kind, one.announced.id))
    esc.world.touch(record)


def forget_lost(esc: Esc, record: DeploymentRecord) -> None:
    """What an update that was lost on the way has announced, and nobody has made (docs/esc-callbacks.md#RN10)."""
    record.deployment.vms = [vm for vm in record.deployment.vms if vm.state]
    for kind, resource_id in list(record.networks):
        resource = esc.resource(kind, resource_id)
        if resource.state != "CREATED":
            esc.world.drop(resource)
            record.networks.remove((kind, resource_id))


def adopt_network_values(esc: Esc, record: DeploymentRecord) -> None:
    """The networks' own fields become those of the deployment's data model."""
    wanted = {one.name: _given(one) for one in record.model.networks}
    for network in (esc.resource(*one) for one in record.networks if one[0] == "network"):
        given = wanted[str(network.values["name"])]
        network.values |= given | following("network", given, network.values)
        esc.world.put(network)


def _add(esc: Esc, record: DeploymentRecord, plan: NetworkPlan, wanted: Sequence[Network]) -> None:
    networks = []
    for one in wanted:
        given = _given(one)
        networks.append(_planned(esc, record, plan, "network", given | following("network", given, {})))
        plan.created.append(networks[-1])
    for one, network in zip(wanted, networks, strict=True):
        plan.created += [_subnet(esc, record, plan, subnet, network.made) for subnet in one.subnet]


def _subnet(esc: Esc, record: DeploymentRecord, plan: NetworkPlan, subnet: Subnet, network: Resource) -> Planned:
    given = {**subnet.values, "internal_network_id": network.id}
    planned = _planned(esc, record, plan, "subnet", given | following("subnet", given, {}))
    planned.made.values["external_network_id"] = network.values["external_network_id"]
    planned.made.values |= following("subnet", given, planned.made.values)
    return planned


def _planned(esc: Esc, record: DeploymentRecord, plan: NetworkPlan, kind: str, given: Mapping[str, Any]) -> Planned:
    tenant = record.deployment.tenant
    resource_id = _free_id(esc, plan, f"{record.id}-{given['name']}")
    announced = Resource(kind, resource_id, {}, tenant.internal_id, is_ephemeral=True)
    owner = {"internal_deployment_id": record.id} if "internal_deployment_id" in MODELS[kind].shape else {}
    announced.values = {**own_values(announced), **owner, **given}
    made = Resource(kind, resource_id, {}, tenant.internal_id, "CREATED", is_ephemeral=True)
    made.values = vim_values(kind, tenant, resource_id, esc.rng) | announced.values
    return Planned(announced, made)


def _given(network: Network) -> dict[str, Any]:
    """The fields of chapter 02 that a data model has, in its types; raises BodyError."""
    shape = MODELS["network"].shape
    named = {_OTHER_NAMES.get(name, name): value for name, value in network.own.items()}
    given = {name: value for name, value in named.items() if name in shape and name != "subnet" and value != ""}
    return conform(given, MODELS["network"], from_xml=True)


def _free_id(esc: Esc, plan: NetworkPlan, wanted: str) -> str:
    """From the end of what is wanted; ids are unique over all kinds (docs/esc-callbacks.md#3.3)."""
    planned = {one.made.id for one in plan.created}
    cleaned = _NOT_IN_IDS.sub("-", wanted)
    found, number = cleaned[-ID_MAX:], 1
    while found in planned or esc.world.kind_of(found):
        number += 1
        found = f"{cleaned[-ID_MAX + 5 :]}-{number}"
    return found


def _subnets(existing: Iterable[Resource], network: Resource) -> list[Resource]:
    return [one for one in existing if one.kind == "subnet" and one.values["internal_network_id"] == network.id]
