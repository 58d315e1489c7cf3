"""Who may post: every kind that a source lists must be satisfied, any entry of a kind will do, and doubt is a no."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_network

import pytest

from receiver.config.sources import Source
from receiver.errors import AccessError, AddressError, BasicCredentialsError, CredentialsError, UnknownSourceError
from receiver.http.access import Access, Sender

LAN = "10.1.2.3"


def access(proxies: tuple[str, ...] = (), **source: tuple[str, ...]) -> Access:
    """Of one source, `lab`."""
    return Access({"lab": Source.model_validate(source)}, [ip_network(proxy) for proxy in proxies])


def basic(credentials: str) -> str:
    """An Authorization header."""
    return "Basic " + b64encode(credentials.encode()).decode()


def sender(
    token: str | None = None, authorization: str | None = None, peer: str | None = LAN, forwarded: tuple[str, ...] = ()
) -> Sender:
    """Somebody on the lab's network."""
    return Sender(token, authorization, peer, forwarded)


def test_an_open_source_takes_everybody() -> None:
    """Also those who bring a token that nobody asked for."""
    assert access().check("lab", sender(token="any", authorization="Basic ???")) == LAN
    assert access().open == {"lab"}


def test_an_unknown_source_is_unknown() -> None:
    """Whoever asks."""
    with pytest.raises(UnknownSourceError):
        access().check("bal", sender())


@pytest.mark.parametrize("token", ["old", "new", "grün"])
def test_any_of_several_tokens_will_do(token: str) -> None:
    """So a token can be changed without a gap."""
    assert access(tokens=("old", "new", "grün")).check("lab", sender(token=token)) == LAN


@pytest.mark.parametrize("token", [None, "", "ol", "oldnew", "old ", "OLD", "\udcff"])
def test_a_wrong_token_is_refused(token: str | None) -> None:
    """With no challenge: the way in is not to be shown."""
    with pytest.raises(CredentialsError) as caught:
        access(tokens=("old", "new")).check("lab", sender(token=token))
    assert not isinstance(caught.value, BasicCredentialsError)


@pytest.mark.parametrize("credentials", ["esc:s3cret", "esc:", "esc:with:colon", "grün:straße"])
def test_any_of_several_credentials_will_do(credentials: str) -> None:
    """A password may hold colons."""
    lab = access(basic=("esc:s3cret", "esc:with:colon", "grün:straße"))
    if credentials == "esc:":
        with pytest.raises(BasicCredentialsError):
            lab.check("lab", sender(authorization=basic(credentials)))
    else:
        assert lab.check("lab", sender(authorization=basic(credentials))) == LAN


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic %%%",
        "Basic " + b64encode(b"\xff:\xff").decode(),
        basic("esc:wrong"),
        "Bearer s3cret",
    ],
)
def test_wrong_credentials_are_refused(authorization: str | None) -> None:
    """Whatever the header holds."""
    with pytest.raises(BasicCredentialsError):
        access(basic=("esc:s3cret",)).check("lab", sender(authorization=authorization))


def test_all_kinds_that_are_listed_must_be_satisfied() -> None:
    """A token does not make up for an address."""
    lab = access(tokens=("t",), basic=("u:p",), allow=("10.1.0.0/16",))
    assert lab.check("lab", sender("t", basic("u:p"))) == LAN
    for wrong in (sender(None, basic("u:p")), sender("t", None), sender("t", basic("u:p"), "10.2.0.1")):
        with pytest.raises(AccessError):
            lab.check("lab", wrong)


@pytest.mark.parametrize("peer", ["10.1.0.1", "::ffff:10.1.0.1", "fd00::1", "fd00::1%eth0"])
def test_an_address_in_range_may_post(peer: str) -> None:
    """IPv4, IPv4 in IPv6, IPv6."""
    assert access(allow=("10.1.0.0/16", "fd00::/8")).check("lab", sender(peer=peer))


@pytest.mark.parametrize("peer", ["10.2.0.1", "::1", None, "", "unix"])
def test_an_address_out_of_range_or_unknown_may_not(peer: str | None) -> None:
    """No address is no permission."""
    with pytest.raises(AddressError):
        access(allow=("10.1.0.0/16",)).check("lab", sender(peer=peer))


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (("10.1.0.7",), "10.1.0.7"),
        (("8.8.8.8, 10.1.0.7",), "10.1.0.7"),
        (("8.8.8.8, 10.1.0.7, 192.168.0.2",), "10.1.0.7"),
        (("8.8.8.8", "10.1.0.7"), "10.1.0.7"),
        (("10.1.0.7:4711",), "10.1.0.7"),
        (("[fd00::7]:4711",), "fd00::7"),
        (("garbage, 10.1.0.7",), "10.1.0.7"),
    ],
)
def test_behind_a_trusted_proxy_its_word_counts(forwarded: tuple[str, ...], address: str) -> None:
    """The last hop that is no trusted proxy is the sender; what stands before it, it may have made up."""
    lab = access(("192.168.0.0/24",), allow=("10.1.0.0/16", "fd00::/8"))
    assert lab.check("lab", sender(peer="192.168.0.1", forwarded=forwarded)) == address


@pytest.mark.parametrize(
    "forwarded", [(), ("",), ("10.1.0.7, garbage",), ("10.1.0.7, 8.8.8.8",), ("192.168.0.2",), ("10.1.0.7,",)]
)
def test_what_a_proxy_does_not_say_is_not_allowed(forwarded: tuple[str, ...]) -> None:
    """Neither the proxy's own address nor a made-up one opens the door."""
    lab = access(("192.168.0.0/24",), allow=("10.1.0.0/16", "192.168.0.0/24"))
    with pytest.raises(AddressError):
        lab.check("lab", sender(peer="192.168.0.1", forwarded=forwarded))


def test_the_word_of_a_stranger_does_not_count() -> None:
    """X-Forwarded-For from anybody but a trusted proxy is ignored."""
    lab = access(("192.168.0.1",), allow=("10.1.0.0/16",))
    with pytest.raises(AddressError):
        lab.check("lab", sender(peer="8.8.8.8", forwarded=("10.1.0.7",)))


def test_without_a_range_the_senders_address_is_only_recorded() -> None:
    """Behind a proxy that says nothing, it is the proxy's."""
    lab = access(("192.168.0.1",))
    assert lab.check("lab", sender(peer="192.168.0.1", forwarded=("10.1.0.7",))) == "10.1.0.7"
    assert lab.check("lab", sender(peer="192.168.0.1")) == "192.168.0.1"
