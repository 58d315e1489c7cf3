"""What a subnet's addresses say of each other: network, gateway and pool lie in one CIDR.

Faults are ValueErrors that name the field. This file must not know requests or resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

PREFIXES: Mapping[int, int] = {4: 24, 6: 64}
"""The prefix of a subnet of which only one address is known, by IP version."""
HOSTS_MIN = 4
"""In a smaller network there is no room for a pool beside the gateway."""

Network = IPv4Network | IPv6Network


def network_of(address: str, mask: str = "") -> Network:
    """The network around an address; the mask as `255.255.255.0` or as a prefix length."""
    if not mask:
        mask = str(PREFIXES[ip_address(address).version])
    try:
        return ip_network(f"{address}/{mask}", strict=False)
    except ValueError:
        raise ValueError(f"{address!r} and {mask!r} are no address and netmask of a subnet") from None


def subnet_addresses(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The address fields of a subnet: those given, and those that follow; `before` what it had."""
    network = _network(given, before)
    if network is None:
        return {}
    gateway = str(given.get("gateway_ip", ""))
    if gateway and not _lies_in(gateway, network):
        raise ValueError(f"gateway_ip {gateway!r} does not lie in {network}")
    if given.get("ip_version", network.version) != network.version:
        raise ValueError(f"ip_version is {given['ip_version']!r}, and {network} is of version {network.version}")
    return {
        "cidr": given.get("cidr") or before.get("cidr") or str(network),
        "ip_version": network.version,
        "gateway_ip": gateway or _kept(str(before.get("gateway_ip", "")), network),
        "allocation_pools": _pools(given, before, network),
    }


def first_address(network: Network) -> str:
    """The address that a gateway has where none is given."""
    return str(network[min(1, network.num_addresses - 1)])


def _network(given: Mapping[str, Any], before: Mapping[str, Any]) -> Network | None:
    cidr, gateway = str(given.get("cidr", "")), str(given.get("gateway_ip", ""))
    if cidr:
        try:
            return ip_network(cidr, strict=False)
        except ValueError:
            raise ValueError(f"cidr {cidr[:80]!r} is no network") from None
    if before.get("cidr"):
        return ip_network(str(before["cidr"]), strict=False)
    if not gateway:
        return None
    try:
        return network_of(gateway)
    except ValueError:
        raise ValueError(f"gateway_ip {gateway[:80]!r} is no IP address") from None


def _kept(gateway: str, network: Network) -> str:
    return gateway if gateway and _lies_in(gateway, network) else first_address(network)


def _pools(given: Mapping[str, Any], before: Mapping[str, Any], network: Network) -> list[Mapping[str, str]]:
    for pool in given.get("allocation_pools", ()):
        for side, address in pool.items():
            if not _lies_in(str(address), network):
                raise ValueError(f"allocation_pools: {side} {address!r} does not lie in {network}")
    found: list[Mapping[str, str]] = given.get("allocation_pools") or before.get("allocation_pools") or []
    if all(_lies_in(str(address), network) for pool in found for address in pool.values()) and found:
        return found
    if network.num_addresses < HOSTS_MIN:
        return []
    return [{"end": str(network[-2]), "start": str(network[2])}]


def _lies_in(address: str, network: Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False
