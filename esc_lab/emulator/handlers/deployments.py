"""Chapters 06 and 07: deployments are created, updated and deleted; operations on a deployment as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from esc_lab.emulator.datamodel import Datamodel, read_datamodel
from esc_lab.emulator.deployment_networks import (
    adopt_network_values,
    announce_networks,
    forget_lost,
    plan_network_update,
    plan_networks,
)
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.configuration import require_mappings
from esc_lab.emulator.placement import new_vms, plan_update, watch_as_told
from esc_lab.emulator.refusal import conflict, invalid
from esc_lab.emulator.wiring import Wiring
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import Scenario, play
from esc_lab.emulator.world import DeploymentRecord, as_tenant
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES, VmRef, deployment_fields, details_fields
from esc_lab.simulator.fleet import Deployment, Tenant, Vm, uuid_of
from esc_lab.simulator.resource_scripts import Resource
from esc_lab.simulator.script_runner import Roles


def list_deployments(esc: Esc, call: Call) -> Reply:
    """GET all."""
    return Reply(many=[_shown(record) for _, record in sorted(esc.world.deployments.items())])


def get_deployment(esc: Esc, call: Call) -> Reply:
    """GET one, with its VMs as they are now."""
    return Reply(_shown(_existing(esc, call)))


def get_deployment_config(esc: Esc, call: Call) -> Reply:
    """GET the data model as it was given, where the client takes its language."""
    record = _existing(esc, call)
    return Reply(model=(record.text, record.language))


def deploy(esc: Esc, call: Call) -> Reply:
    """POST: VMs as the data model says; one fails or stays silent when such a fault happens."""
    deployment_id = esc.new_id(call.path["internal_deployment_id"], "deployment id")
    model = read_datamodel(call.body.fields)
    _require_associated(esc, model)
    tenant = as_tenant(esc.ready(esc.tenant_named(model.tenant)))
    if taken := esc.world.deployment_named(tenant, model.name):
        raise conflict(f"tenant {model.tenant!r} has a deployment of the name {model.name!r}: {taken.id}")
    record = _new_record(esc, deployment_id, tenant, model, call)
    esc.claim(record.work_key)
    networks = plan_networks(esc, record, model.networks)
    wiring = Wiring(esc, record.deployment, networks.made)
    vms = [vm for group in model.groups for vm in new_vms(esc, record.deployment, group, wiring)]
    scenario = _deploy_scenario(esc, vms, networks.made)
    announce_networks(esc, record, networks)
    record.deployment.vms += [vm for role, some in scenario.roles.items() if role != "failed" for vm in some]
    esc.world.add_deployment(record)
    return Reply(work=play(esc, record, scenario, call.urls))


def update(esc: Esc, call: Call) -> Reply:
    """PUT: VM groups are added and removed, interfaces change (docs/esc-callbacks.md#S, chapter 06)."""
    record, model = _existing(esc, call), read_datamodel(call.body.fields)
    _require_updatable(esc, record, model)
    _require_associated(esc, model)
    esc.claim(record.work_key)
    forget_lost(esc, record)
    networks = plan_network_update(esc, record, model)
    planned = plan_update(esc, record, model, Wiring(esc, record.deployment, networks.made))
    failing = esc.fault("vm-fails") or esc.fault("work-fails")
    if failing:
        scenario = Scenario("update-fails", {"failed": planned.added[:1]})
        return Reply(work=play(esc, record, scenario, call.urls))
    announce_networks(esc, record, networks)
    record.deployment.vms += planned.added
    changed = [vm for vm, _ in planned.changed]
    roles = {
        **_by_monitor(planned.added),
        "removed": planned.removed,
        "changed": [vm for vm in changed if vm not in planned.watched],
        "changed_watched": [vm for vm in changed if vm in planned.watched],
        "watched": [vm for vm in planned.watched if vm not in changed],
    }

    def adopt() -> None:
        record.model, record.text, record.language = model, call.body.text, call.body.language
        adopt_network_values(esc, record)
        watch_as_told(record.deployment, model)

    scenario = Scenario("update", roles, networks.made, networks.deleted, groups=model.groups)
    with planned.rewired():
        return Reply(work=play(esc, record, scenario, call.urls, afterwards=adopt))


def undeploy(esc: Esc, call: Call) -> Reply:
    """DELETE: the only operation that interrupts work in progress (docs/esc-callbacks.md#5). Also after a failure the
    deployment is gone."""
    record = _existing(esc, call)
    esc.claim(record.work_key, interrupts=True)
    # Of VMs that were being created no message has come: as far as anybody knows, they never were.
    vms = [vm for vm in record.deployment.live_vms() if vm.name in record.vm_states]
    if esc.fault("work-fails"):
        scenario = Scenario("undeploy-fails", {"gone": vms[1:], "leaked": vms[:1]})
    else:
        networks = [esc.resource(*one) for one in record.networks]
        scenario = Scenario("undeploy", {"gone": vms}, deleted=[one for one in networks if one.state == "CREATED"])
    remove = lambda: esc.world.remove_deployment(record)  # noqa: E731 -- one line
    return Reply(work=play(esc, record, scenario, call.urls, afterwards=remove, interrupts=True))


def service_operation(esc: Esc, call: Call) -> Reply:
    """POST: stop, start, reboot, monitoring on or off, of all VMs."""
    tenant_id = esc.tenant(call.path["internal_tenant_id"]).id
    record = esc.deployment(call.path["internal_deployment_id"], tenant_id)
    wanted, state = str(call.body.fields["operation"]), record.deployment.state
    if wanted not in _APPLICABLE.get(state, ()):
        raise conflict(f"{wanted} is not applicable: deployment {record.id!r} is {state or 'DEPLOYING'}")
    esc.claim(record.work_key)
    script, roles = _SERVICE_SCRIPTS[wanted]
    vms = record.deployment.live_vms()
    if script != "monitor-off" and esc.fault("work-fails"):
        # A failing reboot has a VM that does not come back; the others fail as a whole.
        lost: Roles = {"failed": vms[:1], "monitored": [vm for vm in vms[1:] if vm.monitored]}
        scenario = Scenario(f"{script}-fails", lost if script == "reboot" else {})
    else:
        scenario = Scenario(script, roles(vms))
    return Reply(work=play(esc, record, scenario, call.urls))


def _by_monitor(vms: Sequence[Vm]) -> dict[str, Sequence[Vm]]:
    return {"monitored": [vm for vm in vms if vm.monitored], "unmonitored": [vm for vm in vms if not vm.monitored]}


_APPLICABLE: Mapping[str, Sequence[str]] = {
    "ACTIVE": ("stop", "reboot", "enable_monitoring", "disable_monitoring"),
    "STOPPED": ("start",),
    "ERROR": ("reboot",),
}
"""The operations in each state; otherwise a deployment in error can only be undeployed (docs/esc-callbacks.md#A52)."""

_SERVICE_SCRIPTS: Mapping[str, tuple[str, Callable[[Sequence[Vm]], Roles]]] = {
    "stop": ("stop", lambda vms: {"up": [vm for vm in vms if vm.state != "STOPPED"]}),
    "start": ("start", lambda vms: _by_monitor([vm for vm in vms if vm.state == "STOPPED"])),
    "reboot": ("reboot", _by_monitor),
    "enable_monitoring": ("monitor-on", lambda vms: {"watched": [vm for vm in vms if vm.monitorable]}),
    "disable_monitoring": ("monitor-off", lambda vms: {"unwatched": [vm for vm in vms if vm.monitored]}),
}
"""The script of each operation, and the VMs in its roles."""


def _shown(record: DeploymentRecord) -> dict[str, Any]:
    """The fields of the callbacks, with all its VMs. The document prints no such answer: the shape is a guess."""
    details = []
    for vm in record.deployment.live_vms():
        if vm.name in record.vm_states:
            state = record.vm_states.get(vm.name, REPORTED_VM_STATES.get(vm.state, ""))
            fields = details_fields(VmRef(vm, vm.instance), state)
            nics = [
                {name: value for name, value in nic.items() if value != ""} for nic in fields["interfaces"]["interface"]
            ]
            details.append({**fields, "interfaces": {"interface": nics}})
    return deployment_fields(record.deployment, record.reported, details)


def _deploy_scenario(esc: Esc, vms: Sequence[Vm], networks: Sequence[Resource]) -> Scenario:
    if vms and esc.fault("vm-fails"):
        return Scenario("deploy-fails", {**_by_monitor(vms[1:]), "failed": vms[:1]}, networks)
    monitored = [vm for vm in vms if vm.monitored]
    if monitored and esc.fault("vm-silent"):
        others = [vm for vm in vms if vm is not monitored[0]]
        return Scenario("deploy-never-alive", {**_by_monitor(others), "silent": monitored[:1]}, networks, waits=True)
    return Scenario("deploy", _by_monitor(vms), networks)


def _new_record(esc: Esc, deployment_id: str, tenant: Tenant, model: Datamodel, call: Call) -> DeploymentRecord:
    incarnation = esc.world.incarnations.get(deployment_id, 0) + 1
    vim = esc.vim_of(tenant, model.vim_id)
    deployment = Deployment(esc.source, tenant, vim, model.name, deployment_id, uuid_of(esc.rng), incarnation)
    return DeploymentRecord(deployment, model, call.body.text, call.body.language, call.urls)


def _require_associated(esc: Esc, model: Datamodel) -> None:
    """Refuses a data model that names what ESC would know and does not: mappings, the VIM connector."""
    require_mappings(esc, model)
    if model.vim_id:
        esc.ready(esc.resource("vim_connector", model.vim_id))


def _existing(esc: Esc, call: Call) -> DeploymentRecord:
    return esc.deployment(call.path["internal_deployment_id"])


def _require_updatable(esc: Esc, record: DeploymentRecord, model: Datamodel) -> None:
    """An update is of a deployment that is up, and changes neither its name nor its tenant."""
    deployment = record.deployment
    if model.name != deployment.name:
        raise invalid(f"the deployment's name is {deployment.name!r}, and {model.name!r} in the body")
    if esc.tenant_named(model.tenant).id != deployment.tenant.internal_id:
        raise invalid(f"the deployment belongs to tenant {record.model.tenant!r}, and not to {model.tenant!r}")
    if deployment.state == "ERROR":
        raise conflict(f"deployment {record.id!r} is in error: a deploy or a recovery failed; it must be undeployed")
    if deployment.state != "ACTIVE":
        raise conflict(f"deployment {record.id!r} is {deployment.state or 'DEPLOYING'}")
