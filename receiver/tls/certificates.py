"""What is read of certificates: from when until when they are valid (X.509, DER), and the subject of a client's.

The ssl module tells the dates of a peer's certificate alone, not those of our own. Must not know settings or sockets.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from receiver.config.sources import Subject

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_FIELDS_BEFORE_VALIDITY: Final = 3
"""Serial number, algorithm, issuer."""
_SHORT: Final[Mapping[str, str]] = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "stateOrProvinceName": "ST", "localityName": "L", "domainComponent": "DC", "userId": "UID",
}  # fmt: skip


class NoCertificateError(Exception):
    """The text holds no certificate."""


class Validity(NamedTuple):
    """Seconds since 1970."""

    from_s: float
    until_s: float


def validity_of(text: str) -> list[Validity]:
    """Of each certificate of a PEM file, in order; at least one. Raises NoCertificateError."""
    found = [_validity(ssl.PEM_cert_to_DER_cert(pem)) for pem in _PEM.findall(text)]
    if not found:
        raise NoCertificateError
    return found


def subject_of(certificate: Mapping[str, Any]) -> Subject:
    """The attributes of the subject, as `getpeercert` tells them."""
    pairs = (pair for part in certificate.get("subject", ()) for pair in part)
    return frozenset((_SHORT.get(name, name).upper(), value) for name, value in pairs)


def _validity(der: bytes) -> Validity:
    try:
        certificate = _open(der, 0)[1]
        fields = _open(certificate, 0)[1]
        at = _open(fields, 0)[2] if fields[0] == _VERSION else 0
        for _ in range(_FIELDS_BEFORE_VALIDITY):
            at = _open(fields, at)[2]
        dates = _open(fields, at)[1]
        kind, begin, at = _open(dates, 0)
        return Validity(_time(kind, begin), _time(*_open(dates, at)[:2]))
    except (IndexError, ValueError) as error:
        raise NoCertificateError from error


def _open(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Kind and content of the value there, and where the next begins."""
    kind, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        digits = length & 0x7F
        length, at = int.from_bytes(der[at : at + digits], "big"), at + digits
    return kind, der[at : at + length], at + length


def _time(kind: int, content: bytes) -> float:
    text = content.decode("ascii")
    if kind == _UTC_TIME:  # two digits for the years 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
