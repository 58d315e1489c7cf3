"""Access control of the callback paths: path token, HTTP Basic, address. Fails closed.

Secrets are compared by their digests, all candidates each time, so that the duration reveals nothing.
Must not know how a refusal is answered, nor anything of bodies.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from receiver.config.sources import Network, Source, Subject, read_subject
from receiver.errors import AddressError, BasicCredentialsError, CertificateError, CredentialsError, UnknownSourceError
from receiver.http.sender_address import SenderAddresses
from receiver.tls.certificates import subject_of


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
        proxies = tuple(trusted_proxies)
        self._addresses = SenderAddresses(proxies)
        self.open = frozenset(
            name for name, rules in self._rules.items() if rules.open and not (proxies or certificates)
        )
        """Sources without rules: anybody may post for them from any address."""

    def check(self, source: str, sender: Sender) -> str | None:
        """The sender's address, when it may post for the source.

        Raises UnknownSourceError, AddressError, CertificateError or CredentialsError.
        """
        rules = self._rules.get(source)
        if rules is None:
            raise UnknownSourceError("no such source")
        address = self._addresses.behind(sender.peer, sender.forwarded_for)
        if rules.allow and not (address and any(address in network for network in rules.allow)):
            raise AddressError("this address may not post for this source")
        self._check_certificate(rules, sender.certificate)
        if rules.tokens and not _is_one_of(sender.token or "", rules.tokens):
            raise CredentialsError("the path ends in no valid token")
        if rules.basic and not _is_one_of(_basic(sender.authorization), rules.basic):
            raise BasicCredentialsError("the HTTP Basic credentials are missing or wrong")
        return str(address) if address else sender.peer

    def check_unknown(self, sender: Sender) -> str | None:
        """The address of one that posts for a source which is not configured; raises CertificateError."""
        if self._certificates and not sender.certificate:
            raise CertificateError("no client certificate was shown")
        address = self._addresses.behind(sender.peer, sender.forwarded_for)
        return str(address) if address else sender.peer

    def _check_certificate(self, rules: _SourceRules, certificate: Mapping[str, Any] | None) -> None:
        if not self._certificates and not rules.subjects:
            return
        if not certificate:
            raise CertificateError("no client certificate was shown")
        if rules.subjects and not any(wanted <= subject_of(certificate) for wanted in rules.subjects):
            raise CertificateError("the client certificate has a subject that may not post for this source")


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
