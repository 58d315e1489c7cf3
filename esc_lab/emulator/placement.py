"""VMs made from a data model: their names, hosts and interfaces (docs/esc-callbacks.md#3.1, #6.3).

Everything is drawn from the `random.Random` it is given. This file must not know requests or messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from esc_lab.emulator.datamodel import Datamodel, Group, Interface
from esc_lab.emulator.esc import Esc, hosts_of
from esc_lab.emulator.refusal import RefusalError, Wrong, missing
from esc_lab.emulator.world import Placed
from esc_lab.simulator.fleet import Deployment, Instance, Nic, Vim, Vm, hex_of, uuid_of

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True)
class Change:
    """What an update does to the VMs of a deployment."""

    added: tuple[Vm, ...]
    removed: tuple[Vm, ...]
    changed: tuple[Vm, ...]
    rewired: Mapping[str, Instance]
    """What runs for those that are changed, by name."""


def vms_of(esc: Esc, deployment: Deployment, group: Group, count: int) -> list[Vm]:
    """So many new VMs of a group."""
    return [_vm(esc, deployment, group, index) for index in range(count)]


def change(esc: Esc, placed: Placed, model: Datamodel) -> Change:
    """From what there is to what the new model wants; changed is a VM whose interfaces are
    (docs/esc-callbacks.md#S, chapter 06, PUT)."""
    added: list[Vm] = []
    removed: list[Vm] = []
    changed: list[Vm] = []
    before = {group.name: group for group in placed.model.groups}
    wanted = {group.name: group for group in model.groups}
    for name, group in wanted.items():
        there = [vm for vm in placed.deployment.live_vms() if vm.group == name]
        keep = min(max(len(there), group.min_active), group.max_active)
        added += vms_of(esc, placed.deployment, group, max(0, keep - len(there)))
        removed += there[keep:]
        if name in before and before[name].interfaces != group.interfaces:
            changed += there[:keep]
    removed += [vm for vm in placed.deployment.live_vms() if vm.group not in wanted]
    rewired = {vm.name: _rewired(esc, placed, vm, wanted[vm.group]) for vm in changed}
    return Change(tuple(added), tuple(removed), tuple(changed), rewired)


def _rewired(esc: Esc, placed: Placed, vm: Vm, group: Group) -> Instance:
    """The VM's instance with the interfaces of its changed group; those that stay keep their addresses."""
    there = {nic.nic_id: nic for nic in vm.instance.nics}
    old = {one.nic_id: one for group in placed.model.groups if group.name == vm.group for one in group.interfaces}
    nics = tuple(
        there[one.nic_id]
        if one.nic_id in there and old.get(one.nic_id) == one
        else _nic(placed.deployment.vim, one, "", esc.rng)
        for one in group.interfaces
    )
    return replace(vm.instance, nics=nics)


def renew(esc: Esc, vim: Vim, vm: Vm, rng: Random) -> Instance:
    """What runs for a VM after a redeploy: another uuid, perhaps another host; static addresses stay
    (docs/esc-callbacks.md#N22, p. 78)."""
    name, uuid = host(esc, vim)
    nics = tuple(
        replace(nic, mac_address=_mac(vim, rng), port_uuid=uuid_of(rng) if nic.port_uuid else "")
        for nic in vm.instance.nics
    )
    return Instance(uuid_of(rng), uuid, name, nics)


def host(esc: Esc, vim: Vim, wanted: str = "") -> tuple[str, str]:
    """Name and uuid of a host that takes VMs (docs/esc-callbacks.md#S, chapter 12): the one that is wanted, or any."""
    disabled = {thing.id for thing in esc.world.of_kind("disabled_host")}
    hosts = hosts_of(vim)
    if wanted and wanted not in hosts:
        raise missing(f"there is no host {wanted!r}; there are {', '.join(hosts)}")
    open_hosts = [one for one in hosts.items() if one[0] not in disabled and wanted in {"", one[0]}]
    if not open_hosts:
        raise RefusalError(Wrong.VIM, f"host {wanted!r} is disabled" if wanted else "every host is disabled")
    return esc.rng.choice(open_hosts)


def _vm(esc: Esc, deployment: Deployment, group: Group, index: int) -> Vm:
    number = deployment.vms_made
    deployment.vms_made += 1
    of_group = sum(1 for vm in deployment.vms if vm.group == group.name) + index
    short = _NOT_IN_NAMES.sub("-", deployment.name[:16]), _NOT_IN_NAMES.sub("-", group.name[:6])
    name = f"{short[0]}_{short[1]}_{of_group}_{uuid_of(esc.rng)}"
    host_name, host_uuid = host(esc, deployment.vim, group.host)
    nics = tuple(_nic(deployment.vim, one, _static(group, one, number), esc.rng) for one in group.interfaces)
    instance = Instance(uuid_of(esc.rng), host_uuid, host_name, nics)
    return Vm(name, group.name, group.is_watched, instance, monitored=group.is_watched)


def _static(group: Group, interface: Interface, number: int) -> str:
    pool = [address for network, address in group.addresses if network in {"", interface.network}]
    if interface.address and group.max_active == 1:
        return interface.address
    return pool[number % len(pool)] if pool else ""


def _nic(vim: Vim, interface: Interface, address: str, rng: Random) -> Nic:
    drawn = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(2, 255)}"
    address = address or interface.address or drawn
    mac = _mac(vim, rng)
    if vim == "vmware":
        return Nic(interface.nic_id, interface.network, "", "", address, mac)
    network = str(_uuid_for(interface.network))
    subnet, port = str(_uuid_for(f"{interface.network}/subnet")), uuid_of(rng)
    return Nic(interface.nic_id, network, subnet, port, address, mac, _gateway(address), "255.255.255.0")


def _gateway(address: str) -> str:
    return f"{address.rpartition('.')[0]}.1" if "." in address else f"{address.rpartition(':')[0]}:1"


@lru_cache(1024)
def _uuid_for(name: str) -> str:
    """A network has one id, whoever uses it."""
    return uuid_of(Random(f"network/{name}"))  # noqa: S311 -- repeatable, not secret


def _mac(vim: Vim, rng: Random) -> str:
    tail = hex_of(rng, 6)
    return f"{'00:50:56' if vim == 'vmware' else 'fa:16:3e'}:{tail[:2]}:{tail[2:4]}:{tail[4:]}"
