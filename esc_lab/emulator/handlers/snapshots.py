"""Chapter 18: what is done with a VM's snapshots."""

from __future__ import annotations

from collections.abc import Callable

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.resources import shown, work_on
from esc_lab.emulator.refusal import conflict, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import Play, line_of, scripted
from esc_lab.emulator.world import Thing
from esc_lab.simulator.fleet import uuid_of


def list_snapshots(esc: Esc, call: Call) -> Reply:
    """GET all, or those of a tenant, or of a VM."""
    wanted = {"internal_tenant_id": call.query.get("internalTenantId"), "vm_name": call.query.get("generatedVMName")}
    found = [
        shown(thing)
        for thing in esc.world.of_kind("snapshot")
        if all(value in {None, "", thing.values[name]} for name, value in wanted.items())
    ]
    return Reply(many=found)


def volume_from_snapshot(esc: Esc, call: Call) -> Reply:
    """POST: a bootable volume, named by the body."""
    snapshot = esc.thing("snapshot", call.path["snapshotId"])
    volume_id = uuid_of(esc.rng)
    values = {
        "internal_volume_id": volume_id,
        "name": call.body.fields.get("name", f"{snapshot.values['name']}-volume"),
        "volume_snapshot_id": snapshot.id,
        "internal_tenant_id": snapshot.parent,
    }
    thing = Thing("volume", volume_id, snapshot.parent, values)
    work = work_on(esc, thing, "CREATE", call)
    esc.world.put(thing)
    return Reply(work=work)


def delete_snapshot(esc: Esc, call: Call) -> Reply:
    """DELETE by id, or by a name that is unique."""
    snapshot = _by_id_or_name(esc, call)
    return _on_its_vm(esc, call, snapshot, "snapshot-delete", lambda: esc.world.drop(snapshot))


def revert_to_snapshot(esc: Esc, call: Call) -> Reply:
    """POST: the VM goes back to it."""
    return _on_its_vm(esc, call, _by_id_or_name(esc, call), "snapshot-revert", lambda: None)


def _on_its_vm(esc: Esc, call: Call, snapshot: Thing, script: str, done: Callable[[], None]) -> Reply:
    name = str(snapshot.values["vm_name"])
    placed = esc.world.vm_owner(name)
    if placed is None:
        if script == "snapshot-delete":  # the VM may be gone; then there is nobody for an event to name
            done()
            return Reply()
        raise missing(f"VM {name!r} of snapshot {snapshot.id!r} is gone")
    vm = next(one for one in placed.deployment.live_vms() if one.name == name)
    esc.begin(line_of(placed))
    failing = esc.faults.happens("work-fails", esc.rng)
    play = Play(f"{script}-fails" if failing else script, {"subject": [vm]})
    return Reply(work=scripted(esc, placed, play, call.urls, afterwards=None if failing else done))


def _by_id_or_name(esc: Esc, call: Call) -> Thing:
    wanted = call.path["snapshotIdOrName"]
    if (found := esc.world.thing("snapshot", wanted)) is not None:
        return found
    named = [thing for thing in esc.world.of_kind("snapshot") if thing.values["name"] == wanted]
    if not named:
        raise missing(f"there is no snapshot {wanted!r}")
    if len(named) > 1:
        raise conflict(f"snapshot name {wanted!r} is not unique: {', '.join(thing.id for thing in named)}")
    return named[0]


HANDLERS: dict[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one for one in (list_snapshots, volume_from_snapshot, delete_snapshot, revert_to_snapshot)
}
