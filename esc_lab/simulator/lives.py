"""What a deployment, or a series of resources, lives through: one whole operation after the other.

This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.fleet import Deployment, Tenant, Vim, hex_of, make_deployment, make_instance, uuid_of
from esc_lab.simulator.resource_scripts import (
    KINDS,
    Action,
    Resource,
    actions_of,
    make_deployment_network,
    make_resource,
    resource_message,
)
from esc_lab.simulator.scenario_choice import choose, offers_to
from esc_lab.simulator.script_model import FAILED, SUCCEEDED, Script
from esc_lab.simulator.script_runner import Cast, Claim, Operation, perform
from esc_lab.simulator.service_scripts import SERVICE_SCRIPTS, with_suspected_closing
from esc_lab.simulator.vm_scripts import VM_SCRIPTS

SCRIPTS: Mapping[str, Script] = {**SERVICE_SCRIPTS, **VM_SCRIPTS}


@dataclass(frozen=True, slots=True)
class Habits:
    """What all lives of a run share."""

    style: str = "printed"
    suspected: bool = False
    """Whether stages and events that no source prints are sent too (marked ○ in docs/esc-callbacks.md#marks)."""
    reuse_p: float = 0.5
    """How likely an internal id is taken again after its undeploy."""


def deployment_life(
    source: str, tenant: Tenant, label: str, length: int, *, habits: Habits, rng: Random
) -> Iterator[Operation]:
    """So many operations, the first a deploy; about half of the lives end with an undeploy."""
    vim: Vim = rng.choice(_VIMS)
    deployment = make_deployment(source, tenant, vim, label, rng)
    network: Sequence[Resource] = ()
    ends_gone = rng.random() < 0.5
    for left in range(length, 0, -1):
        if deployment.state == "UNDEPLOYED":
            deployment = _after(deployment, f"{label}-{left}", habits, rng)
        offers = offers_to(deployment, ending=left == 1 and ends_gone, suspected=habits.suspected)
        name, cast = choose(offers, deployment, rng)
        _take_on(cast, deployment, rng)
        script = _script(name, cast, habits, rng)
        if script.kind == "deploy":
            network = _network_for(script, deployment, left, rng)
        yield perform(script, deployment, cast, network, style=habits.style, rng=rng)


def resource_life(
    source: str, tenant: Tenant, label: str, length: int, *, habits: Habits, rng: Random
) -> Iterator[Operation]:
    """So many operations on one resource after the other, of all kinds in turn."""
    done, number, label = 0, rng.randrange(len(KINDS)), f"{label}{hex_of(rng, 4)}"
    while done < length:
        kind = KINDS[number % len(KINDS)]
        resource = make_resource(kind, tenant, f"{tenant.internal_id}-{kind}-{label}-{number}", rng)
        before: frozenset[str] = frozenset()
        for action, ok in actions_of(kind, length - done, rng):
            transaction, message = _ending(resource, action, habits.style, ok=ok, rng=rng)
            operation = resource_operation(resource, action, source, before, transaction, message)
            before = operation.claims[0].values
            yield operation
            done += 1
        number += 1


def resource_operation(
    resource: Resource, action: Action, source: str, before: frozenset[str], transaction: str, message: Message
) -> Operation:
    """Work on one resource, which `message` ends; `before`: the states it may have been in."""
    after = {"CREATE": "CREATED", "UPDATE": "UPDATED", "DELETE": "DELETED"}[action]
    # What a failed update or delete leaves behind no source says: an error, or what was there.
    values = frozenset({after}) if message.ok else before | {"ERROR"}
    told = frozenset({0})
    claim = Claim("resource", resource.key(source), "state", values, told, if_known=not message.ok and bool(before))
    kind = f"{action.lower()}-{resource.kind}"
    return Operation(kind, SUCCEEDED if message.ok else FAILED, source, transaction, (message,), (claim,), told)


def _ending(resource: Resource, action: Action, style: str, *, ok: bool, rng: Random) -> tuple[str, Message]:
    """A new transaction, and the callback that ends it."""
    transaction = uuid_of(rng)
    message = resource_message(resource, action, transaction, style, ok=ok)
    return transaction, replace(message, pause_s=rng.uniform(5, 60))


def _after(gone: Deployment, label: str, habits: Habits, rng: Random) -> Deployment:
    """What is deployed next: the same id once more, or something else."""
    if rng.random() < habits.reuse_p:
        return gone.next_incarnation(rng)
    return make_deployment(gone.source, gone.tenant, gone.vim, label, rng)


def _take_on(cast: Cast, deployment: Deployment, rng: Random) -> None:
    """Adds the VMs that are new to the deployment, and one interface to those that are to be changed."""
    known = {vm.name for vm in deployment.vms}
    # A VM that could not be made never was.
    deployment.vms += [vm for role, vms in cast.items() if role != "failed" for vm in vms if vm.name not in known]
    for vm in (*cast.get("changed", ()), *cast.get("changed_by_text", ())):
        more = make_instance(deployment.vim, 1, rng).nics[0]
        nics = (*vm.instance.nics, replace(more, nic_id=len(vm.instance.nics)))
        vm.instance = replace(vm.instance, nics=nics)


def _network_for(script: Script, deployment: Deployment, number: int, rng: Random) -> Sequence[Resource]:
    """Some deployments bring a network of their own."""
    if script.networks != "CREATE" or rng.random() < 0.7:
        return ()
    return make_deployment_network(deployment.tenant, f"{deployment.internal_id}-{number}", rng)


def _script(name: str, cast: Cast, habits: Habits, rng: Random) -> Script:
    script = SCRIPTS[name]
    if habits.suspected and rng.random() < 0.5:
        script = with_suspected_closing(name, script)
    if name == "deploy" and not cast["monitored"] and script.closing is not None:
        # Sample rec-deploy-unmonitored-service-alive: the closing stage then shows the VM that will stay INERT.
        script = replace(script, closing=replace(script.closing, named=True, vm_state="VM_INERT_STATE"))
    return script


_VIMS: Sequence[Vim] = ("openstack", "openstack", "vmware")
