"""Connects the interfaces of VMs: to a network of the deployment or its tenant where there is one of that name, with an
address of its first subnet; any other network is taken to be in the VIM.

Everything is drawn from the ESC's `rng`. This file must not know requests or messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, ip_network

from esc_lab.emulator.datamodel import Interface
from esc_lab.emulator.esc import Esc
from esc_lab.simulator.fleet import Deployment, Nic, make_nic
from esc_lab.simulator.resource_scripts import Resource

FIRST_ADDRESS = 2
"""That a VM gets of a subnet: before it are the subnet's own and, as a rule, the gateway's."""


class Wiring:
    """The interfaces of one deployment's VMs, while a request is planned."""

    def __init__(self, esc: Esc, deployment: Deployment, planned: Sequence[Resource] = ()) -> None:
        """`planned`: networks and subnets that the same request makes."""
        self._esc = esc
        self._deployment = deployment
        tenant_id = deployment.tenant.internal_id
        there = (one for kind in ("network", "subnet") for one in esc.world.of_kind(kind, tenant_id))
        self._known = [*planned, *(one for one in there if one.state == "CREATED")]
        self._taken = {nic.ip_address for vm in deployment.live_vms() for nic in vm.instance.nics}

    def connect(self, interface: Interface, address: str) -> Nic:
        """The interface of one VM; an empty address is chosen."""
        nic = make_nic(self._deployment.vim, interface.nicid, interface.network, self._esc.rng, address)
        network = self._find("network", "name", interface.network)
        if self._deployment.vim == "vmware" or network is None:  # VMware knows networks by their names
            return nic
        nic = replace(nic, network_uuid=str(network.values["external_network_id"]), subnet_uuid="")
        subnet = self._find("subnet", "internal_network_id", network.id)
        return nic if subnet is None else self._in_subnet(nic, subnet, address)

    def _find(self, kind: str, name: str, value: str) -> Resource | None:
        return next((one for one in self._known if one.kind == kind and one.values.get(name) == value), None)

    def _in_subnet(self, nic: Nic, subnet: Resource, address: str) -> Nic:
        network, gateway = ip_network(str(subnet.values["cidr"]), strict=False), str(subnet.values["gateway_ip"])
        last = network.num_addresses - 1
        free = (str(network[number]) for number in range(min(FIRST_ADDRESS, last), max(last, 1)))
        first = next((one for one in free if one != gateway and one not in self._taken), nic.ip_address)
        self._taken.add(address or first)
        return replace(
            nic,
            subnet_uuid=str(subnet.values["external_subnet_id"]),
            ip_address=address or first,
            gateway=gateway,
            netmask=str(network.netmask) if isinstance(network, IPv4Network) else str(network.prefixlen),
        )
