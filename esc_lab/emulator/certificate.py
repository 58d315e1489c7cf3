"""A self-signed certificate, as every ESC makes one for itself (S REST HTTPS Support); a failover brings another one.

Needs the extra `emulator` (the library `cryptography`). This file must not know who serves it.
"""

from __future__ import annotations

import importlib.util
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from receiver.errors import SetupError

VALID_DAYS = 365


class Certificate:
    """A TLS context whose certificate can be changed while it serves."""

    def __init__(self, host: str) -> None:
        """Raises SetupError without the extra."""
        if importlib.util.find_spec("cryptography") is None:
            raise SetupError("HTTPS needs the extra: pip install 'esc-receiver[emulator]'")
        self._host = host
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.pem = ""
        self.renew()

    def renew(self) -> None:
        """Another key, another certificate; connections that stand keep theirs."""
        certificate, key = _made(self._host)
        self.pem = certificate.decode()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "both.pem"
            path.touch(mode=0o600)
            path.write_bytes(certificate + key)
            self.context.load_cert_chain(path)


def _made(host: str) -> tuple[bytes, bytes]:
    from cryptography import x509  # noqa: PLC0415 -- of an extra
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "esc-receiver emulator")])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    try:
        names.append(x509.IPAddress(ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(list(dict.fromkeys(names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
