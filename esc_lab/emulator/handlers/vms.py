"""Chapters 08 and 18: operations on one VM, and on its snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.resources import work_on
from esc_lab.emulator.healing import recovery_scenario
from esc_lab.emulator.placement import choose_host
from esc_lab.emulator.refusal import conflict, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import Scenario, one_event, play
from esc_lab.emulator.world import DeploymentRecord, Urls, work_key
from esc_lab.simulator.esc_messages import deployment_ids
from esc_lab.simulator.fleet import Vm, uuid_of
from esc_lab.simulator.resource_scripts import Resource

_OPERATIONS: Mapping[str, tuple[str, Callable[[Vm], bool]]] = {
    "stop": ("vm-stop", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "start": ("vm-start", lambda vm: vm.state == "STOPPED"),
    "reboot": ("vm-reboot", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "enable_monitoring": ("vm-monitor-on", lambda vm: vm.monitorable and not vm.monitored),
    "disable_monitoring": ("vm-monitor-off", lambda vm: vm.monitored),
    "confirm_resize": ("vm-confirm-resize", lambda vm: vm.state in {"ALIVE", "INERT"}),
    "revert_resize": ("vm-revert-resize", lambda vm: vm.state in {"ALIVE", "INERT"}),
}
"""The script of each operation, and the VMs that it is applicable to."""


_DEPLOYMENT_IDS = ("deployment_name", "deployment_id", "tenant_id")
"""How the fields end by which a message names a deployment."""


def vm_operation(esc: Esc, call: Call) -> Reply:
    """POST: stop, start, reboot, monitoring on or off, resize confirmed or reverted."""
    record, vm = _vm(esc, call)
    wanted = str(call.body.fields["operation"])
    script, is_applicable = _OPERATIONS[wanted]
    if not is_applicable(vm):
        raise conflict(f"{wanted} is not applicable: VM {vm.name!r} is {vm.state or 'being made'}")
    _claim(esc, record)
    if esc.fault("work-fails") and script not in {"vm-monitor-on", "vm-monitor-off"}:
        return Reply(work=play(esc, record, Scenario(f"{script}-fails", {"subject": [vm]}), call.urls))
    role = ("monitored" if vm.monitored else "unmonitored") if script in {"vm-start", "vm-reboot"} else "subject"
    return Reply(work=play(esc, record, Scenario(script, {role: [vm]}), call.urls))


def migrate_vm(esc: Esc, call: Call) -> Reply:
    """POST: to the host that is named, or to another one."""
    record, vm = _vm(esc, call)
    name, uuid = choose_host(esc, record.deployment.vim, str(call.body.fields.get("host", "")))
    _claim(esc, record)

    def move() -> None:
        vm.instance = replace(vm.instance, host_name=name, host_uuid=uuid)

    return _unpublished(esc, record, "vm-migrate", vm, call, move)


def recovery_vm(esc: Esc, call: Call) -> Reply:
    """POST: recovery by hand of a VM in error, or of one that is not to be checked before."""
    record, vm = _vm(esc, call)
    if vm.state != "ERROR" and (call.body.fields.get("checkVmBeforeRecovery") or not vm.monitored):
        raise conflict(f"VM {vm.name!r} is {vm.state or 'being made'}; only a VM in error needs a recovery")
    _claim(esc, record)
    # Where the request names no URLs, those of the deploy are used.
    urls = Urls(call.urls.callback or record.urls.callback, call.urls.events or record.urls.events)
    return Reply(work=play(esc, record, recovery_scenario(esc, record, vm), urls))


def snapshot_vm(esc: Esc, call: Call) -> Reply:
    """POST: a snapshot, under the id that the client gives, or one of ESC's."""
    record, vm = _vm(esc, call)
    given = str(call.body.fields.get("id", ""))
    snapshot_id = esc.new_id(given, "snapshot id") if given else uuid_of(esc.rng)
    _claim(esc, record)
    tenant_id = record.deployment.tenant.internal_id
    values = {
        "id": snapshot_id,
        "name": call.body.fields["name"],
        "internal_tenant_id": tenant_id,
        "vm_name": vm.name,
        "vm_uuid": vm.instance.vm_uuid,
        "deployment_name": record.deployment.name,
        **deployment_ids(record.deployment),
        "metadata": call.body.fields.get("metadata", {}),
        "status": "ACTIVE",
    }
    snapshot = Resource("snapshot", snapshot_id, values, tenant_id, "CREATED")
    return _unpublished(esc, record, "vm-snapshot", vm, call, lambda: esc.world.put(snapshot))


def volume_from_snapshot(esc: Esc, call: Call) -> Reply:
    """POST: a bootable volume; the body has its name."""
    snapshot = esc.resource("snapshot", call.path["snapshotId"])
    volume_id = uuid_of(esc.rng)
    values = {
        "volume_id": volume_id,
        "volume_snapshot_id": snapshot.id,
        "name": call.body.fields.get("name", f"{snapshot.values['name']}-volume"),
    }
    volume = Resource("volume", volume_id, values, snapshot.parent)
    work = work_on(esc, volume, "CREATE", call)
    esc.world.put(volume)
    return Reply(work=work)


def delete_snapshot(esc: Esc, call: Call) -> Reply:
    """DELETE by id, or by a name that is unique."""
    snapshot = _snapshot(esc, call)
    if esc.world.find_vm(str(snapshot.values["vm_name"])) is None:
        return _delete_orphan(esc, call, snapshot)
    return _on_its_vm(esc, call, snapshot, "snapshot-delete", lambda: esc.world.drop(snapshot))


def revert_to_snapshot(esc: Esc, call: Call) -> Reply:
    """POST: the VM is reverted to it."""
    return _on_its_vm(esc, call, _snapshot(esc, call), "snapshot-revert", lambda: None)


def _delete_orphan(esc: Esc, call: Call, snapshot: Resource) -> Reply:
    """Of a VM that is gone: its callback can name the deployment, and no VM."""
    event = "VM_SNAPSHOT_DELETE_COMPLETE"
    fields = {name: value for name, value in snapshot.values.items() if name.endswith(_DEPLOYMENT_IDS)}
    fields |= {"event_details": "", "event_type": event, "vm_source": ""}
    return Reply(
        work=one_event(
            esc,
            work_key(snapshot),
            kind="snapshot-delete",
            root="esc_event",
            fields=dict(sorted(fields.items())),
            texts=("VM snapshot deletion completed successfully", "VM snapshot deletion failed"),
            urls=call.urls,
            afterwards=lambda: esc.world.drop(snapshot),
        )
    )


def _on_its_vm(esc: Esc, call: Call, snapshot: Resource, script: str, afterwards: Callable[[], None]) -> Reply:
    found = esc.world.find_vm(str(snapshot.values["vm_name"]))
    if found is None:
        raise missing(f"VM {snapshot.values['vm_name']!r} of snapshot {snapshot.id!r} is gone")
    record, vm = found
    esc.claim(record.work_key)
    return _unpublished(esc, record, script, vm, call, afterwards)


def _snapshot(esc: Esc, call: Call) -> Resource:
    wanted = call.path["snapshotIdOrName"]
    if (found := esc.world.resource("snapshot", wanted)) is not None:
        return found
    named = [one for one in esc.world.of_kind("snapshot") if one.values["name"] == wanted]
    if not named:
        raise missing(f"there is no snapshot {wanted!r}")
    if len(named) > 1:
        raise conflict(f"snapshot name {wanted!r} is not unique: {', '.join(one.id for one in named)}")
    return named[0]


def _unpublished(
    esc: Esc, record: DeploymentRecord, script: str, vm: Vm, call: Call, afterwards: Callable[[], None]
) -> Reply:
    """The work of an operation whose messages nobody has published; `afterwards` when it succeeds."""
    failing = esc.fault("work-fails")
    scenario = Scenario(f"{script}-fails" if failing else script, {"subject": [vm]})
    return Reply(work=play(esc, record, scenario, call.urls, afterwards=None if failing else afterwards))


def _vm(esc: Esc, call: Call) -> tuple[DeploymentRecord, Vm]:
    return esc.vm(call.path["vm_name"], esc.tenant(call.path["internal_tenant_id"]).id)


def _claim(esc: Esc, record: DeploymentRecord) -> None:
    if record.deployment.state not in {"ACTIVE", "STOPPED"}:
        raise conflict(f"deployment {record.id!r} is {record.deployment.state or 'still being deployed'}")
    esc.claim(record.work_key)
