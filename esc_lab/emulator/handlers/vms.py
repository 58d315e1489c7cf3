"""Chapter 08: what is done to one VM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.healing import recovery_play
from esc_lab.emulator.placement import host
from esc_lab.emulator.refusal import conflict, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import Play, line_of, scripted
from esc_lab.emulator.world import Placed, Thing, Urls
from esc_lab.simulator.fleet import Vm, uuid_of


def vm_operation(esc: Esc, call: Call) -> Reply:
    """POST: stop, start, reboot, monitoring on or off, resize confirmed or reverted."""
    placed, vm = _vm(esc, call)
    wanted = str(call.body.fields["operation"])
    script, applies = _OPERATIONS[wanted]
    if not applies(vm):
        raise conflict(f"{wanted} is not applicable: VM {vm.name!r} is {vm.state or 'being made'}")
    _begin(esc, placed)
    if esc.faults.happens("work-fails", esc.rng) and script not in {"vm-monitor-on", "vm-monitor-off"}:
        return Reply(work=scripted(esc, placed, Play(f"{script}-fails", {"subject": [vm]}), call.urls))
    role = ("monitored" if vm.monitored else "unmonitored") if script in {"vm-start", "vm-reboot"} else "subject"
    return Reply(work=scripted(esc, placed, Play(script, {role: [vm]}), call.urls))


def migrate_vm(esc: Esc, call: Call) -> Reply:
    """POST: to the host that is named, or to another one."""
    placed, vm = _vm(esc, call)
    name, uuid = host(esc, placed.deployment.vim, str(call.body.fields.get("host", "")))
    _begin(esc, placed)

    def move() -> None:
        vm.instance = replace(vm.instance, host_name=name, host_uuid=uuid)

    return _guessed(esc, placed, "vm-migrate", vm, call, move)


def recovery_vm(esc: Esc, call: Call) -> Reply:
    """POST: recovery by hand of a VM that waits for it, or that is not to be checked before."""
    placed, vm = _vm(esc, call)
    if vm.state != "ERROR" and (call.body.fields.get("checkVmBeforeRecovery") or not vm.monitored):
        raise conflict(f"VM {vm.name!r} is {vm.state or 'being made'}; only a VM in error needs a recovery")
    _begin(esc, placed)
    return Reply(work=scripted(esc, placed, recovery_play(esc, placed, vm), _urls(placed, call)))


def snapshot_vm(esc: Esc, call: Call) -> Reply:
    """POST: a snapshot, under the id that the client gives, or one of ESC's."""
    placed, vm = _vm(esc, call)
    given = str(call.body.fields.get("id", ""))
    snapshot_id = esc.new_id(given, "snapshot id") if given else uuid_of(esc.rng)
    _begin(esc, placed)
    snapshot = Thing(
        "snapshot",
        snapshot_id,
        placed.deployment.tenant.internal_id,
        {
            "id": snapshot_id,
            "name": call.body.fields["name"],
            "internal_tenant_id": placed.deployment.tenant.internal_id,
            "vm_name": vm.name,
            "vm_uuid": vm.instance.vm_uuid,
            "metadata": call.body.fields.get("metadata", {}),
            "status": "ACTIVE",
        },
    )

    def keep() -> None:
        snapshot.state = "CREATED"
        esc.world.put(snapshot)

    return _guessed(esc, placed, "vm-snapshot", vm, call, keep)


_OPERATIONS: Mapping[str, tuple[str, Callable[[Vm], bool]]] = {
    "stop": ("vm-stop", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "start": ("vm-start", lambda vm: vm.state == "STOPPED"),
    "reboot": ("vm-reboot", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "enable_monitoring": ("vm-monitor-on", lambda vm: vm.monitorable and not vm.monitored),
    "disable_monitoring": ("vm-monitor-off", lambda vm: vm.monitored),
    "confirm_resize": ("vm-confirm-resize", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "revert_resize": ("vm-revert-resize", lambda vm: vm.state in {"ALIVE", "INERT"}),
}


def _guessed(esc: Esc, placed: Placed, script: str, vm: Vm, call: Call, done: Callable[[], None]) -> Reply:
    failing = esc.faults.happens("work-fails", esc.rng)
    play = Play(f"{script}-fails" if failing else script, {"subject": [vm]})
    return Reply(work=scripted(esc, placed, play, call.urls, afterwards=None if failing else done))


def _vm(esc: Esc, call: Call) -> tuple[Placed, Vm]:
    tenant = esc.tenant(call.path["internal_tenant_id"])
    name = call.path["vm_name"]
    placed = esc.world.vm_owner(name)
    if placed is None or placed.deployment.tenant.internal_id != tenant.internal_id:
        raise missing(f"tenant {tenant.internal_id!r} has no VM {name!r}")
    return placed, next(vm for vm in placed.deployment.live_vms() if vm.name == name)


def _begin(esc: Esc, placed: Placed) -> None:
    if placed.deployment.state not in {"ACTIVE", "STOPPED"}:
        raise conflict(f"deployment {placed.id!r} is {placed.deployment.state or 'still being deployed'}")
    esc.begin(line_of(placed))


def _urls(placed: Placed, call: Call) -> Urls:
    """Where the request names none, those of the deploy."""
    return Urls(call.urls.callback or placed.urls.callback, call.urls.events or placed.urls.events)


HANDLERS = {
    **{one.__name__: one for one in (vm_operation, migrate_vm, recovery_vm, snapshot_vm)},
}
