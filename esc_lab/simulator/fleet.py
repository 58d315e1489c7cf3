"""The world that the scripts change: tenants, deployments, VMs and what the VIM runs for them.

Everything is drawn from the `random.Random` it is given, ids included, so one seed makes one world. This file must
not know of messages or of scripts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal
from uuid import UUID

Vim = Literal["openstack", "vmware"]

SERVICES = ("vfirewall", "vrouter", "vepc", "sbc", "dns", "loadbalancer", "vcpe", "ims")
TENANTS = ("acme", "globex", "initech", "umbrella")
GROUPS = ("ASA-1", "CSR-1", "web", "control", "media", "edge")


def uuid_of(rng: Random) -> str:
    """A version 4 UUID of the seed's making."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def hex_of(rng: Random, digits: int) -> str:
    """So many hexadecimal digits."""
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`internal_id` is the client's, `external_id` the VIM's (32 hex digits)."""

    internal_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface (docs/esc-callbacks.md#3.1); on VMware `gateway`, `netmask` and the uuids of port and subnet are
    absent."""

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
    """Where the last whole operation left it; empty before the first."""


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
    worked: bool = False
    """It has been ACTIVE at some time."""
    vms: list[Vm] = field(default_factory=list)
    network: str = ""
    """Internal id of the network made with it, or empty."""
    vms_made: int = 0

    def live_vms(self) -> list[Vm]:
        """Those that have not gone."""
        return [vm for vm in self.vms if vm.state != "UNDEPLOYED"]

    def next_incarnation(self, rng: Random) -> Deployment:
        """The same internal id taken again after an undeploy, with another external id."""
        return Deployment(
            source=self.source,
            tenant=self.tenant,
            vim=self.vim,
            name=self.name,
            internal_id=self.internal_id,
            external_id=uuid_of(rng),
            incarnation=self.incarnation + 1,
        )


def make_tenant(source: str, index: int) -> Tenant:
    """The index-th tenant of an ESC instance; the same at every seed, for tenants outlive runs."""
    name = TENANTS[index % len(TENANTS)]
    return Tenant(name, hex_of(Random(f"tenant/{source}/{name}"), 32))  # noqa: S311 -- repeatable, not secret


def make_deployment(source: str, tenant: Tenant, vim: Vim, label: str, rng: Random) -> Deployment:
    """A deployment that nobody has deployed yet; `label` keeps its internal id unlike all others of the run."""
    name = f"{rng.choice(SERVICES)}-{label}"
    return Deployment(source, tenant, vim, name, f"{tenant.internal_id}-{name}-{hex_of(rng, 6)}", uuid_of(rng))


def make_instance(vim: Vim, nics: int, rng: Random) -> Instance:
    """Something new in the VIM."""
    host = rng.randrange(1, 40)
    if vim == "vmware":
        host_uuid, host_name = f"host-{14800 + host}", f"10.85.103.{host}"
    else:
        host_uuid, host_name = hex_of(Random(f"host/{host}"), 56), f"my-ucs-{host}"  # noqa: S311 -- repeatable
    return Instance(uuid_of(rng), host_uuid, host_name, tuple(_make_nic(vim, number, rng) for number in range(nics)))


def make_vm(deployment: Deployment, rng: Random, *, monitorable: bool) -> Vm:
    """A VM with ESC's kind of name: 16 characters of the deployment, 6 of the group, index, uuid
    (docs/esc-callbacks.md#6.3)."""
    group = rng.choice(GROUPS)
    name = f"{deployment.name[:16]}_{group[:6]}_{deployment.vms_made}_{uuid_of(rng)}"
    deployment.vms_made += 1
    instance = make_instance(deployment.vim, rng.choice((1, 1, 2)), rng)
    return Vm(name, group, monitorable, instance, monitored=monitorable)


def _make_nic(vim: Vim, number: int, rng: Random) -> Nic:
    ip_address = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(2, 255)}"
    tail = ":".join(f"{rng.randrange(256):02x}" for _ in range(3))
    if vim == "vmware":
        return Nic(number, f"MgtNetwork{number}", "", "", ip_address, f"00:50:56:{tail}")
    subnet = ip_address.rpartition(".")[0]
    network_uuid, subnet_uuid, port_uuid = uuid_of(rng), uuid_of(rng), uuid_of(rng)
    return Nic(
        number, network_uuid, subnet_uuid, port_uuid, ip_address, f"fa:16:3e:{tail}", f"{subnet}.1", "255.255.255.0"
    )
