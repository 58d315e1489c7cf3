"""The operations of one deployment, or of a series of resources, one after the other.

This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from esc_lab.simulator.fleet import Deployment, Tenant, Vim, hex_of, make_deployment, make_nic
from esc_lab.simulator.resource_scripts import KINDS, Resource, actions_of, make_deployment_network, make_resource
from esc_lab.simulator.scenario_choice import choose, scenarios_for
from esc_lab.simulator.script_model import Script
from esc_lab.simulator.script_runner import Operation, Roles, resource_operation, run_script
from esc_lab.simulator.service_scripts import SERVICE_SCRIPTS, with_suspected_closing
from esc_lab.simulator.vm_scripts import VM_SCRIPTS

SCRIPTS: Mapping[str, Script] = {**SERVICE_SCRIPTS, **VM_SCRIPTS}
REUSE_P = 0.5
"""How likely an internal id is used again after its undeploy."""
_VIMS: Sequence[Vim] = ("openstack", "openstack", "vmware")


@dataclass(frozen=True, slots=True)
class Habits:
    """What all messages of a run have in common."""

    style: str = "printed"
    suspected: bool = False
    """Whether stages and events that no source prints are sent too (marked ○ in docs/esc-callbacks.md#marks)."""


def deployment_life(
    source: str, tenant: Tenant, label: str, length: int, *, habits: Habits, rng: Random
) -> Iterator[Operation]:
    """So many operations, the first a deploy; about half of the lives end with an undeploy."""
    deployment = make_deployment(source, tenant, rng.choice(_VIMS), label, rng)
    network: Sequence[Resource] = ()
    ends_undeployed = rng.random() < 0.5
    for left in range(length, 0, -1):
        if deployment.state == "UNDEPLOYED":
            deployment = _next_deployment(deployment, f"{label}-{left}", rng)
        scenarios = scenarios_for(deployment, ending=left == 1 and ends_undeployed, suspected=habits.suspected)
        name, roles = choose(scenarios, deployment, rng)
        _add_vms_and_nics(roles, deployment, rng)
        script = _script(name, roles, habits, rng)
        if script.kind == "deploy":
            network = _network_for(script, deployment, left, rng)
        yield run_script(script, deployment, roles, network, style=habits.style, rng=rng)


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
            operation = resource_operation(resource, action, source, before, style=habits.style, ok=ok, rng=rng)
            before = operation.claims[0].values
            yield operation
            done += 1
        number += 1


def _next_deployment(gone: Deployment, label: str, rng: Random) -> Deployment:
    """What is deployed after an undeploy: the same id again, or another one."""
    if rng.random() < REUSE_P:
        return gone.next_incarnation(rng)
    return make_deployment(gone.source, gone.tenant, gone.vim, label, rng)


def _add_vms_and_nics(roles: Roles, deployment: Deployment, rng: Random) -> None:
    """Adds the VMs that are new to the deployment, and one interface to those that are to be changed."""
    known = {vm.name for vm in deployment.vms}
    # A VM that could not be created is no part of the deployment.
    deployment.vms += [vm for role, vms in roles.items() if role != "failed" for vm in vms if vm.name not in known]
    for vm in (*roles.get("changed", ()), *roles.get("changed_by_text", ())):
        nics = vm.instance.nics
        added = make_nic(deployment.vim, len(nics), f"MgtNetwork{len(nics)}", rng)
        vm.instance = replace(vm.instance, nics=(*nics, added))


def _network_for(script: Script, deployment: Deployment, number: int, rng: Random) -> Sequence[Resource]:
    """Some deployments bring a network of their own."""
    if script.networks != "CREATE" or rng.random() < 0.7:
        return ()
    return make_deployment_network(deployment.tenant, f"{deployment.internal_id}-{number}", rng)


def _script(name: str, roles: Roles, habits: Habits, rng: Random) -> Script:
    script = SCRIPTS[name]
    if habits.suspected and rng.random() < 0.5:
        script = with_suspected_closing(name, script)
    if name == "deploy" and not roles["monitored"] and script.closing is not None:
        # Sample rec-deploy-unmonitored-service-alive: the closing stage then shows the VM that will stay INERT.
        script = replace(script, closing=replace(script.closing, names_vm=True, vm_state="VM_INERT_STATE"))
    return script
