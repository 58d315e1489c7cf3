"""Places the VMs of a data model: their hosts and interfaces, and how an update changes them.

Everything is drawn from the ESC's `rng`. This file must not know requests or messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from esc_lab.emulator.datamodel import Datamodel, Group, Interface
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.refusal import RefusalError, Wrong, missing
from esc_lab.emulator.wiring import Wiring
from esc_lab.emulator.world import DeploymentRecord
from esc_lab.simulator.fleet import Deployment, Instance, Vim, Vm, hosts_of, uuid_of, vm_name


@dataclass(frozen=True, slots=True)
class PlannedUpdate:
    """What an update does to the VMs of a deployment."""

    added: list[Vm] = field(default_factory=list)
    removed: list[Vm] = field(default_factory=list)
    changed: list[tuple[Vm, Instance]] = field(default_factory=list)
    """VMs whose interfaces change, and the instance that runs for each then."""
    watched: list[Vm] = field(default_factory=list)
    """VMs that run, and of which the new model has a KPI and a rule for VM_ALIVE that the old one lacked."""

    @contextmanager
    def rewired(self) -> Iterator[None]:
        """While the messages are written the VMs are as they will be; they are so when the update has succeeded."""
        before = [(vm, vm.instance) for vm, _ in self.changed]
        for vm, instance in self.changed:
            vm.instance = instance
        try:
            yield
        finally:
            for vm, instance in before:
                vm.instance = instance


def new_vms(esc: Esc, deployment: Deployment, group: Group, wiring: Wiring, count: int | None = None) -> list[Vm]:
    """So many new VMs of a group: as many as it must have, unless it is said."""
    number = group.scaling.min_active if count is None else count
    return [_new_vm(esc, deployment, group, index, wiring) for index in range(number)]


def plan_update(esc: Esc, record: DeploymentRecord, model: Datamodel, wiring: Wiring) -> PlannedUpdate:
    """The difference between the VMs there are and the new model (docs/esc-callbacks.md#S, chapter 06, PUT)."""
    planned = PlannedUpdate()
    before = {group.name: group for group in record.model.groups}
    wanted = {group.name: group for group in model.groups}
    live = record.deployment.live_vms()
    for name, group in wanted.items():
        existing = [vm for vm in live if vm.group == name]
        kept = min(max(len(existing), group.scaling.min_active), group.scaling.max_active)
        planned.added.extend(new_vms(esc, record.deployment, group, wiring, max(0, kept - len(existing))))
        planned.removed.extend(existing[kept:])
        if name in before and before[name].interfaces != group.interfaces:
            planned.changed.extend((vm, _rewired(vm, before[name], group, wiring)) for vm in existing[:kept])
        if group.is_monitored:
            running = [vm for vm in existing[:kept] if vm.state in {"ALIVE", "INERT"}]
            planned.watched.extend(vm for vm in running if not vm.monitorable)
    planned.removed.extend(vm for vm in live if vm.group not in wanted)
    return planned


def watch_as_told(deployment: Deployment, model: Datamodel) -> None:
    """Who is watched changes with the KPIs and rules; a monitor that was switched off by hand stays off."""
    watched = {group.name for group in model.groups if group.is_monitored}
    for vm in deployment.live_vms():
        if vm.monitorable != (vm.group in watched):
            vm.monitorable = vm.monitored = vm.group in watched


def choose_host(esc: Esc, vim: Vim, wanted: str = "") -> tuple[str, str]:
    """Name and uuid of an enabled host (docs/esc-callbacks.md#S, chapter 12): the wanted one, or any."""
    disabled = {one.id for one in esc.world.of_kind("disabled_host")}
    hosts = hosts_of(vim)
    if wanted and wanted not in hosts:
        raise missing(f"there is no host {wanted!r}; there are {', '.join(hosts)}")
    enabled = [one for one in hosts.items() if one[0] not in disabled and wanted in {"", one[0]}]
    if not enabled:
        raise RefusalError(Wrong.VIM, f"host {wanted!r} is disabled" if wanted else "every host is disabled")
    return esc.rng.choice(enabled)


def _new_vm(esc: Esc, deployment: Deployment, group: Group, index: int, wiring: Wiring) -> Vm:
    number = deployment.vms_made
    deployment.vms_made += 1
    of_group = sum(1 for vm in deployment.vms if vm.group == group.name) + index
    name = vm_name(deployment.name, group.name, of_group, esc.rng)
    host_name, host_uuid = choose_host(esc, deployment.vim, group.host)
    nics = tuple(wiring.connect(one, _static_address(group, one, number) or one.ip_address) for one in group.interfaces)
    instance = Instance(uuid_of(esc.rng), host_uuid, host_name, nics)
    return Vm(name, group.name, group.is_monitored, instance, monitored=group.is_monitored)


def _rewired(vm: Vm, before: Group, after: Group, wiring: Wiring) -> Instance:
    """The VM's instance with the interfaces of its changed group; those that stay keep their addresses."""
    existing = {nic.nic_id: nic for nic in vm.instance.nics}
    unchanged = {one.nicid for one in before.interfaces if one in after.interfaces and one.nicid in existing}
    nics = tuple(
        existing[one.nicid] if one.nicid in unchanged else wiring.connect(one, one.ip_address)
        for one in after.interfaces
    )
    return replace(vm.instance, nics=nics)


def _static_address(group: Group, interface: Interface, number: int) -> str:
    """The interface's own address, or one of the group's pool for each VM in turn."""
    if interface.ip_address and group.scaling.max_active == 1:
        return interface.ip_address
    pools = [one for one in group.scaling.static_ip_address_pool if one.network in {"", interface.network}]
    addresses = [address for pool in pools for address in pool.ip_address]
    return addresses[number % len(addresses)] if addresses else ""
