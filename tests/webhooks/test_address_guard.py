"""Private addresses are refused in whatever way they are written."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network

import pytest

from receiver.webhooks.address_guard import AddressGuard, RefusedAddressError

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2002:7f00:1::",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused(address: str) -> None:
    """Also one that stands for an IPv4 address."""
    with pytest.raises(RefusedAddressError, match="WEBHOOK_ALLOW"):
        AddressGuard(()).check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_not(address: str) -> None:
    """Without being allowed."""
    AddressGuard(()).check(address)


def test_what_is_allowed_by_name_may_be_used_and_nothing_beside_it() -> None:
    """Also as an IPv6 address that stands for it."""
    guard = AddressGuard([ip_network("10.1.0.0/16"), ip_network("fc00::/7")])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fc00::1"):
        guard.check(address)
    refused = []
    for address in ("10.2.0.1", "127.0.0.1", "::1"):
        with suppress(RefusedAddressError):
            guard.check(address)
            continue
        refused.append(address)
    assert refused == ["10.2.0.1", "127.0.0.1", "::1"]
