"""The files that a DSN names for TLS, looked at before anything connects. Must not know what connections are for."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from receiver.errors import SettingsError
from receiver.tls.tls_files import TlsFileError, check_certificate, load_authority


def check_files(dsn: str) -> None:
    """Raises SettingsError, a line for each that cannot be used; asyncpg would tell neither which nor why."""
    try:
        query = parse_qs(urlsplit(dsn).query)
    except ValueError:  # asyncpg will say so
        return
    if query.get("sslmode") == ["disable"]:
        return
    faults: list[str] = []
    for name, check in (("sslrootcert", _authority), ("sslcert", check_certificate)):
        for path in query.get(name, []):
            try:
                check("postgres_dsn", Path(path))
            except TlsFileError as fault:
                faults.append(f"{fault} ({name})")
    if faults:
        raise SettingsError("\n".join(faults))


def _authority(setting: str, path: Path) -> None:
    load_authority(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), setting, path)
