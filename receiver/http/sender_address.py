"""The address that a request counts for: the other end's, or behind a trusted proxy the one that the proxy names.

One rule for all that is limited or allowed by address: callbacks, questions, sessions, connections. Must not know what
is limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Protocol

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from receiver.config.sources import Network

Address = IPv4Address | IPv6Address

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}")
_HOST_BITS = 64
"""Of an IPv6 address: whoever has one has them all."""


class Request(Protocol):
    """A request, as far as it shows who sent it."""

    @property
    def remote(self) -> str | None:
        """The address of the connection's other end."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Its header fields."""


class SenderAddresses:
    """Knows the trusted proxies."""

    def __init__(self, trusted_proxies: Iterable[Network] = ()) -> None:
        self._proxies = tuple(trusted_proxies)

    def behind(self, peer: str | None, forwarded_for: Sequence[str]) -> Address | None:
        """The sender's address: behind trusted proxies the last untrusted hop, None when all hops are proxies."""
        address = parse_address(peer or "")
        if address is None or not self.is_proxy(address):
            return address
        hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops):
            address = parse_address(hop)
            if address is None or not self.is_proxy(address):
                return address
        return None

    def client(self, request: Request) -> str:
        """Whom the limits of a request are counted for."""
        if not self._proxies:
            return client_of(parse_address(request.remote or ""))
        return client_of(self.behind(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, ())))

    def is_local(self, request: Request) -> bool:
        """Whether it surely comes from this machine itself."""
        hops = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
        if hops and not self._proxies:
            return False  # somebody stands between, who is not known
        address = self.behind(request.remote, hops)
        return address is not None and address.is_loopback

    def is_proxy(self, address: Address) -> bool:
        """Whether it is trusted to name who is behind it."""
        return any(address in network for network in self._proxies)


def client_of(address: Address | None) -> str:
    """Whom an address counts for: of IPv6, the whole network; all without an address are one."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _HOST_BITS), strict=False))
    return str(address or "")


def parse_address(text: str) -> Address | None:
    """An address as it stands in a socket's name or, perhaps with a port, in X-Forwarded-For."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2] if match else text).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
