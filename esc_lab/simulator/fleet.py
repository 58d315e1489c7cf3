"""The fleet that operations change: tenants, deployments, VMs, and the instances that run for them.

Everything is drawn from the `random.Random` that is passed in, ids included, so one seed makes one fleet. This file
must not know of messages or of scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Literal
from uuid import UUID

Vim = Literal["openstack", "vmware"]

SERVICES = ("vfirewall", "vrouter", "vepc", "sbc", "dns", "loadbalancer", "vcpe", "ims")
TENANTS = ("acme", "globex", "initech", "umbrella")
GROUPS = ("ASA-1", "CSR-1", "web", "control", "media", "edge")
HOSTS_PER_VIM = 8
_NOT_IN_VM_NAMES = re.compile(r"[^A-Za-z0-9.-]")


def uuid_of(rng: Random) -> str:
    """A version 4 UUID drawn from `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def hex_of(rng: Random, digits: int) -> str:
    """A number drawn from `rng`, in so many hexadecimal digits."""
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`internal_id` is the client's, `external_id` the VIM's (32 hex digits)."""

    internal_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface (docs/esc-callbacks.md#3.1); on VMware gateway, netmask, port and subnet are absent."""

    nic_id: int
    network_uuid: str
    subnet_uuid: str
    port_uuid: str
    ip_address: str
    mac_address: str
    gateway: str = ""
    netmask: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """What the VIM runs for a VM; a redeploy makes another one."""

    vm_uuid: str
    host_uuid: str
    host_name: str
    nics: tuple[Nic, ...]


@dataclass(slots=True)
class Vm:
    """One VM of a deployment: `name` stays over a redeploy, `instance` does not (docs/esc-callbacks.md#6.3)."""

    name: str
    group: str
    monitorable: bool
    instance: Instance
    monitored: bool = False
    state: str = ""
    """The state after the last whole operation; empty before the first."""


@dataclass(slots=True)
class Deployment:
    """One incarnation of a deployment id."""

    source: str
    tenant: Tenant
    vim: Vim
    name: str
    internal_id: str
    external_id: str
    incarnation: int = 1
    state: str = ""
    was_active: bool = False
    vms: list[Vm] = field(default_factory=list)
    vms_made: int = 0

    def live_vms(self) -> list[Vm]:
        """Those that are not undeployed."""
        return [vm for vm in self.vms if vm.state != "UNDEPLOYED"]

    def next_incarnation(self, rng: Random) -> Deployment:
        """The same internal id used again after an undeploy, with another external id."""
        fresh = Deployment(self.source, self.tenant, self.vim, self.name, self.internal_id, uuid_of(rng))
        return replace(fresh, incarnation=self.incarnation + 1)


def make_tenant(source: str, index: int) -> Tenant:
    """The index-th tenant of an ESC instance; the same with every seed, for tenants outlive runs."""
    name = TENANTS[index % len(TENANTS)]
    return Tenant(name, hex_of(Random(f"tenant/{source}/{name}"), 32))  # noqa: S311 -- repeatable, not secret


def make_deployment(source: str, tenant: Tenant, vim: Vim, label: str, rng: Random) -> Deployment:
    """A deployment that is not deployed yet; `label` makes its internal id unique in the run."""
    name = f"{rng.choice(SERVICES)}-{label}"
    return Deployment(source, tenant, vim, name, f"{tenant.internal_id}-{name}-{hex_of(rng, 6)}", uuid_of(rng))


def make_vm(deployment: Deployment, rng: Random, *, monitorable: bool) -> Vm:
    """A VM of a group that is drawn, on a host that is drawn, with one or two interfaces."""
    group = rng.choice(GROUPS)
    name = vm_name(deployment.name, group, deployment.vms_made, rng)
    deployment.vms_made += 1
    nics = tuple(
        make_nic(deployment.vim, number, f"MgtNetwork{number}", rng) for number in range(rng.choice((1, 1, 2)))
    )
    host_name, host_uuid = rng.choice(list(hosts_of(deployment.vim).items()))
    return Vm(name, group, monitorable, Instance(uuid_of(rng), host_uuid, host_name, nics), monitored=monitorable)


def vm_name(deployment: str, group: str, index: int, rng: Random) -> str:
    """ESC's kind of name: 16 characters of the deployment, 6 of the group, index, uuid (docs/esc-callbacks.md#6.3)."""
    short, short_group = (_NOT_IN_VM_NAMES.sub("-", text) for text in (deployment[:16], group[:6]))
    return f"{short}_{short_group}_{index}_{uuid_of(rng)}"


@lru_cache
def hosts_of(vim: Vim) -> Mapping[str, str]:
    """The hosts of a VIM: name to uuid, as the printed callbacks have them."""
    numbers = range(1, HOSTS_PER_VIM + 1)
    if vim == "vmware":
        return {f"10.85.103.{12 + n}": f"host-{14881 + n}" for n in numbers}
    return {f"my-ucs-{n}": hex_of(Random(f"host/{n}"), 56) for n in numbers}  # noqa: S311 -- repeatable, not secret


def make_nic(vim: Vim, nic_id: int, network: str, rng: Random, address: str = "") -> Nic:
    """An interface in a network; `address` is drawn where none is given."""
    drawn = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(2, 255)}"
    address, mac = address or drawn, _mac(vim, rng)
    if vim == "vmware":
        return Nic(nic_id, network, "", "", address, mac)
    separator = "." if "." in address else ":"
    gateway = f"{address.rpartition(separator)[0]}{separator}1"
    network_uuid, subnet_uuid = _uuid_for(network), _uuid_for(f"{network}/subnet")
    return Nic(nic_id, network_uuid, subnet_uuid, uuid_of(rng), address, mac, gateway, "255.255.255.0")


def redeployed(instance: Instance, vim: Vim, host: tuple[str, str], rng: Random) -> Instance:
    """The instance after a redeploy to a host (name, uuid): another uuid, the same addresses
    (docs/esc-callbacks.md#N22, p. 78)."""
    nics = tuple(
        replace(nic, mac_address=_mac(vim, rng), port_uuid=uuid_of(rng) if nic.port_uuid else "")
        for nic in instance.nics
    )
    return Instance(uuid_of(rng), host[1], host[0], nics)


@lru_cache(1024)
def _uuid_for(name: str) -> str:
    """A network has one id, in whichever deployment it is used."""
    return uuid_of(Random(f"network/{name}"))  # noqa: S311 -- repeatable, not secret


def _mac(vim: Vim, rng: Random) -> str:
    tail = hex_of(rng, 6)
    return f"{'00:50:56' if vim == 'vmware' else 'fa:16:3e'}:{tail[:2]}:{tail[2:4]}:{tail[4:]}"
