"""What ESC starts by itself: recovery of a VM that died, scaling of a group (docs/esc-callbacks.md#5).

The callbacks go to the URLs given with the deploy, the only ones ESC has. This file must not know requests.
"""

from __future__ import annotations

from esc_lab.emulator.esc import Esc, Recovery
from esc_lab.emulator.placement import vms_of
from esc_lab.emulator.refusal import conflict, missing
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.workflows import Play, line_of, scripted
from esc_lab.emulator.world import Placed
from esc_lab.simulator.fleet import Vm

RETRIES = "DEFAULT", "VM_RECOVERY_RETRY_MAX"


def die(esc: Esc, vm_name: str, recovery: Recovery | None = None) -> Work:
    """A VM is gone; what follows is as asked for, else as the options or its data model say."""
    placed = esc.world.vm_owner(vm_name)
    if placed is None:
        raise missing(f"there is no VM {vm_name!r}")
    vm = next(one for one in placed.deployment.live_vms() if one.name == vm_name)
    if vm.state != "ALIVE" or not vm.monitored or placed.deployment.state != "ACTIVE":
        raise conflict(f"nobody would notice: VM {vm_name!r} is {vm.state}, its deployment {placed.deployment.state}")
    esc.begin(line_of(placed))
    group = next((one for one in placed.model.groups if one.name == vm.group), None)
    by_hand = group is not None and group.recovery_type == "MANUAL" and (recovery or esc.habits.recovery) == "policy"
    play = Play("recovery-manual", {"sick": [vm]}) if by_hand else recovery_play(esc, placed, vm, recovery)
    return scripted(esc, placed, play, placed.urls)


def recovery_play(esc: Esc, placed: Placed, vm: Vm, recovery: Recovery | None = None) -> Play:
    """By reboot, by redeploy with a new uuid, not at all, or because the VM is back before anything is done."""
    wanted = recovery or esc.habits.recovery
    if wanted == "policy":
        group = next((one for one in placed.model.groups if one.name == vm.group), None)
        wanted = "redeploy" if group and group.recovery_action == "REDEPLOY_ONLY" else "reboot"
    script = {"reboot": "recovery-reboot", "redeploy": "recovery-redeploy", "by-itself": "recovery-cancelled"}.get(
        wanted, "recovery-fails" if _retries(esc) <= 1 else "recovery-fails-redeployed"
    )
    return Play(script, {"sick": [vm]})


def scale_out(esc: Esc, deployment_id: str, group_name: str = "") -> Work:
    """One VM more in a group that is not at its `max_active`."""
    placed, vms = _group_vms(esc, deployment_id, group_name)
    group = next(one for one in placed.model.groups if one.name == vms[0].group)
    if len(vms) >= group.max_active:
        raise conflict(f"group {group.name!r} has {len(vms)} VMs, and max_active is {group.max_active}")
    esc.begin(line_of(placed))
    if esc.faults.happens("vm-fails", esc.rng):
        return scripted(esc, placed, Play("scale-out-fails", {"busy": vms[:1]}), placed.urls)
    (born,) = vms_of(esc, placed.deployment, group, 1)
    placed.deployment.vms.append(born)
    return scripted(esc, placed, Play("scale-out", {"busy": vms[:1], "born": [born]}), placed.urls)


def scale_in(esc: Esc, deployment_id: str, group_name: str = "") -> Work:
    """One VM less in a group that is above its `min_active`."""
    placed, vms = _group_vms(esc, deployment_id, group_name)
    group = next(one for one in placed.model.groups if one.name == vms[0].group)
    if len(vms) <= group.min_active:
        raise conflict(f"group {group.name!r} has {len(vms)} VMs, and min_active is {group.min_active}")
    esc.begin(line_of(placed))
    failing = esc.faults.happens("work-fails", esc.rng)
    return scripted(esc, placed, Play("scale-in-fails" if failing else "scale-in", {"idle": vms[-1:]}), placed.urls)


def _group_vms(esc: Esc, deployment_id: str, group_name: str) -> tuple[Placed, list[Vm]]:
    placed = esc.deployment(deployment_id)
    if placed.deployment.state != "ACTIVE":
        raise conflict(f"deployment {deployment_id!r} is {placed.deployment.state or 'still being deployed'}")
    name = group_name or placed.model.groups[0].name
    vms = [vm for vm in placed.deployment.live_vms() if vm.group == name and vm.state == "ALIVE" and vm.monitored]
    if not vms:
        raise missing(f"deployment {deployment_id!r} has no watched VM of group {name!r}")
    return placed, vms


def _retries(esc: Esc) -> int:
    parameter = esc.world.parameters.get(RETRIES)
    return int(parameter.value) if parameter and parameter.value.isdecimal() else 3
