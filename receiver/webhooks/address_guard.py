"""Which addresses a webhook may have: those of the internet, and private ones that are allowed by name.

Judged is the address of each connection that is made, when its socket is made: what a name resolved to before, or will
resolve to later, does not count. Must not know what is sent.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from receiver.config.sources import Network

_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED_BITS = 32


class RefusedAddressError(OSError):
    """The address is private and not allowed."""


class AddressGuard:
    """Makes sockets for those addresses alone."""

    def __init__(self, allowed: Iterable[Network]) -> None:
        self._allowed = tuple(allowed)

    def make_socket(self, found: tuple[Any, ...]) -> socket.socket:
        """For an entry of `getaddrinfo`. Raises RefusedAddressError."""
        family, kind, protocol, _, address = found
        self.check(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def check(self, address: str) -> None:
        """Raises RefusedAddressError."""
        for one in _meant_by(address):
            if not (one.is_global and not one.is_multicast) and not any(one in network for network in self._allowed):
                raise RefusedAddressError(f"{one} is a private address (WEBHOOK_ALLOW says which may be used)")


def _meant_by(address: str) -> Iterable[IPv4Address | IPv6Address]:
    """The address, and the IPv4 one that it stands for."""
    one = ip_address(address.partition("%")[0])
    if isinstance(one, IPv4Address):
        return (one,)
    if inner := one.ipv4_mapped:
        return (inner,)
    if one in _NAT64:
        return (one, IPv4Address(int(one) & (2**_TRANSLATED_BITS - 1)))
    inner = one.sixtofour or (one.teredo[1] if one.teredo else None)
    return (one, inner) if inner else (one,)
