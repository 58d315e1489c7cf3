"""Access control of the callback paths: path token, HTTP Basic, address. Fails closed.

Secrets are compared by their digests, all candidates each time, so that the duration reveals nothing.
Must not know how a refusal is answered, nor anything of bodies.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from receiver.config.sources import Network, Source, Subject, read_subject
from receiver.errors import AddressError, BasicCredentialsError, CertificateError, CredentialsError, UnknownSourceError
from receiver.http.certificates import subject_of

Address = IPv4Address | IPv6Address

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}")


@dataclass(frozen=True, slots=True)
class Sender:
    """What a request shows of its sender."""

    token: str | None
    """The last part of the path."""
    authorization: str | None
    """The Authorization header."""
    peer: str | None
    """The address of the connection's other end."""
    forwarded_for: Sequence[str] = ()
    """The X-Forwarded-For headers."""
    certificate: Mapping[str, Any] | None = None
    """The client's certificate, which its authority has signed."""


@dataclass(frozen=True, slots=True)
class _SourceRules:
    """The access rules of one source; secrets are digests."""

    open: bool
    tokens: tuple[bytes, ...]
    basic: tuple[bytes, ...]
    allow: tuple[Network, ...]
    subjects: tuple[Subject, ...]


class Access:
    """Checks senders against the configured sources."""

    def __init__(
        self, sources: Mapping[str, Source], trusted_proxies: Iterable[Network] = (), certificates: bool = False
    ) -> None:
        """With `certificates`, every sender needs one."""
        self._certificates = certificates
        self._rules = {name: _rules_of(source) for name, source in sources.items()}
        self._proxies = tuple(trusted_proxies)
        self.open = frozenset(
            name for name, rules in self._rules.items() if rules.open and not (self._proxies or certificates)
        )
        """Sources without rules: anybody may post for them from any address."""

    def check(self, source: str, sender: Sender) -> str | None:
        """The sender's address, when it may post for the source.

        Raises UnknownSourceError, AddressError, CertificateError or CredentialsError.
        """
        rules = self._rules.get(source)
        if rules is None:
            raise UnknownSourceError("no such source")
        address = self._address(sender)
        if rules.allow and not (address and any(address in network for network in rules.allow)):
            raise AddressError("this address may not post for this source")
        self._check_certificate(rules, sender.certificate)
        if rules.tokens and not _is_one_of(sender.token or "", rules.tokens):
            raise CredentialsError("the path ends in no valid token")
        if rules.basic and not _is_one_of(_basic(sender.authorization), rules.basic):
            raise BasicCredentialsError("the HTTP Basic credentials are missing or wrong")
        return str(address) if address else sender.peer

    def _check_certificate(self, rules: _SourceRules, certificate: Mapping[str, Any] | None) -> None:
        if not self._certificates and not rules.subjects:
            return
        if not certificate:
            raise CertificateError("no client certificate was shown")
        if rules.subjects and not any(wanted <= subject_of(certificate) for wanted in rules.subjects):
            raise CertificateError("the client certificate has a subject that may not post for this source")

    def _address(self, sender: Sender) -> Address | None:
        """The sender's address; behind a trusted proxy the last untrusted hop, None when all hops are proxies."""
        peer = _parse_address(sender.peer or "")
        if peer is None or not self._is_proxy(peer):
            return peer
        hops = [hop.strip() for header in sender.forwarded_for for hop in header.split(",")]
        for hop in reversed(hops):
            address = _parse_address(hop)
            if address is None or not self._is_proxy(address):
                return address
        return None

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def _rules_of(source: Source) -> _SourceRules:
    return _SourceRules(
        open=not source.protected,
        tokens=tuple(_digest(token) for token in source.tokens),
        basic=tuple(_digest(credentials) for credentials in source.basic),
        allow=source.allow,
        subjects=tuple(read_subject(subject) for subject in source.subjects),
    )


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _is_one_of(given: str, candidates: Iterable[bytes]) -> bool:
    digest = _digest(given)
    found = False
    for candidate in candidates:
        found |= compare_digest(digest, candidate)
    return found


def _basic(authorization: str | None) -> str:
    """`user:secret` of an Authorization header; empty, which no source accepts, when it holds none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""


def _parse_address(text: str) -> Address | None:
    """An address as it stands in a socket's name or, perhaps with a port, in X-Forwarded-For."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2] if match else text).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
