"""What ESC starts by itself: recovery of a VM that died, scaling of a group (docs/esc-callbacks.md#5).

The callbacks go to the URLs given with the deploy, the only ones ESC has. This file must not know requests.
"""

from __future__ import annotations

from esc_lab.emulator.datamodel import Group
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.configuration import recovery_retries
from esc_lab.emulator.options import Recovery
from esc_lab.emulator.placement import new_vms
from esc_lab.emulator.refusal import conflict, missing
from esc_lab.emulator.wiring import Wiring
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.workflows import Scenario, play
from esc_lab.emulator.world import DeploymentRecord
from esc_lab.simulator.fleet import Vm


def die(esc: Esc, vm_name: str, recovery: Recovery | None = None) -> Work:
    """A VM dies; it recovers as asked for, else as the options or its data model say."""
    record, vm = esc.vm(vm_name)
    state = record.deployment.state
    if vm.state != "ALIVE" or not vm.monitored or state != "ACTIVE":
        raise conflict(f"nobody would notice: VM {vm_name!r} is {vm.state}, its deployment {state}")
    esc.claim(record.work_key)
    policy = (group := _group(record, vm)) and group.recovery_policy.recovery_type
    if policy == "MANUAL" and (recovery or esc.habits.recovery) == "policy":
        return play(esc, record, Scenario("recovery-manual", {"sick": [vm]}), record.urls)
    return play(esc, record, recovery_scenario(esc, record, vm, recovery), record.urls)


def recovery_scenario(esc: Esc, record: DeploymentRecord, vm: Vm, recovery: Recovery | None = None) -> Scenario:
    """By reboot, by redeploy with a new uuid, not at all, or because the VM is back before anything is done."""
    wanted = recovery or esc.habits.recovery
    if wanted == "policy":
        group = _group(record, vm)
        redeploys = group is not None and group.recovery_policy.action_on_recovery == "REDEPLOY_ONLY"
        wanted = "redeploy" if redeploys else "reboot"
    script = {"reboot": "recovery-reboot", "redeploy": "recovery-redeploy", "by-itself": "recovery-cancelled"}.get(
        wanted, "recovery-fails" if recovery_retries(esc) <= 1 else "recovery-fails-redeployed"
    )
    return Scenario(script, {"sick": [vm]})


def scale_out(esc: Esc, deployment_id: str, group_name: str = "") -> Work:
    """One VM more in a group that has less than its `max_active`."""
    record, group, vms = _monitored_group(esc, deployment_id, group_name)
    if len(vms) >= (most := group.scaling.max_active):
        raise conflict(f"group {group.name!r} has {len(vms)} VMs, and max_active is {most}")
    esc.claim(record.work_key)
    if esc.fault("vm-fails"):
        return play(esc, record, Scenario("scale-out-fails", {"busy": vms[:1]}), record.urls)
    (born,) = new_vms(esc, record.deployment, group, Wiring(esc, record.deployment), 1)
    record.deployment.vms.append(born)
    return play(esc, record, Scenario("scale-out", {"busy": vms[:1], "born": [born]}), record.urls)


def scale_in(esc: Esc, deployment_id: str, group_name: str = "") -> Work:
    """One VM less in a group that has more than its `min_active`."""
    record, group, vms = _monitored_group(esc, deployment_id, group_name)
    if len(vms) <= (least := group.scaling.min_active):
        raise conflict(f"group {group.name!r} has {len(vms)} VMs, and min_active is {least}")
    esc.claim(record.work_key)
    script = "scale-in-fails" if esc.fault("work-fails") else "scale-in"
    return play(esc, record, Scenario(script, {"idle": vms[-1:]}), record.urls)


def _group(record: DeploymentRecord, vm: Vm) -> Group | None:
    return next((one for one in record.model.groups if one.name == vm.group), None)


def _monitored_group(esc: Esc, deployment_id: str, group_name: str) -> tuple[DeploymentRecord, Group, list[Vm]]:
    """A group, the first unless it is named, and its VMs that are monitored and alive."""
    record = esc.deployment(deployment_id)
    if record.deployment.state != "ACTIVE":
        raise conflict(f"deployment {deployment_id!r} is {record.deployment.state or 'still being deployed'}")
    groups = [one for one in record.model.groups if group_name in {"", one.name}][:1]
    live = record.deployment.live_vms()
    vms = [vm for vm in live if groups and vm.group == groups[0].name and vm.state == "ALIVE" and vm.monitored]
    if not vms:
        raise missing(f"deployment {deployment_id!r} has no watched VM of group {group_name!r}")
    return record, groups[0], vms
