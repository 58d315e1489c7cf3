"""A file of TLS that a setting names: readable, of the right kind, in time, and fitting the other one.

Must not know what the files are used for.
"""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

from receiver.config.settings import PREFIX
from receiver.tls.certificates import NoCertificateError, Validity, validity_of

Stamp = tuple[int, int, int] | None


class TlsFileError(Exception):
    """What is wrong with a file, and which setting names it."""

    def __init__(self, setting: str, path: Path, what: str) -> None:
        super().__init__(f"{PREFIX}{setting.upper()}: {path} {what}")


def check_certificate(setting: str, path: Path) -> float:
    """When the first of its certificates expires. Raises TlsFileError, also when one is out of time."""
    found = _certificates(setting, path)
    for validity in found:
        if fault := _out_of_time(validity):
            raise TlsFileError(setting, path, fault)
    return min(validity.until_s for validity in found)


def check_key(setting: str, path: Path) -> None:
    """Raises TlsFileError."""
    text = _read(setting, path)
    if "PRIVATE KEY-----" not in text:
        raise TlsFileError(setting, path, "holds no private key (PEM)")
    if "ENCRYPTED" in text:
        raise TlsFileError(setting, path, "has a passphrase, which nobody could type in; store the key without one")


def load_pair(context: ssl.SSLContext, cert_setting: str, cert: Path, key_setting: str, key: Path) -> None:
    """Certificate and key, to be shown to the other side. Raises TlsFileError."""
    try:
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFileError(key_setting, key, f"is not the key of the certificate in {cert}") from error
        if (error.reason or "").startswith(("EE_", "CA_")):
            raise TlsFileError(cert_setting, cert, f"is too weak ({error.reason})") from error
        raise TlsFileError(key_setting, key, f"cannot be used ({error.reason or error})") from error
    except OSError as error:
        raise TlsFileError(cert_setting, cert, f"cannot be read: {error.strerror}") from error


def load_authority(context: ssl.SSLContext, setting: str, path: Path) -> None:
    """Who may sign certificates of the other side. Raises TlsFileError, also when all of them are out of time."""
    found = _certificates(setting, path)
    faults = [fault for validity in found if (fault := _out_of_time(validity))]
    if len(faults) == len(found):
        raise TlsFileError(setting, path, faults[0])
    context.load_verify_locations(path)
    if not context.cert_store_stats()["x509_ca"]:
        raise TlsFileError(setting, path, "holds no certificate of an authority")


def stamp_of(path: Path) -> Stamp:
    """Changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _certificates(setting: str, path: Path) -> list[Validity]:
    text = _read(setting, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
        return validity_of(text)
    except (ssl.SSLError, NoCertificateError, ValueError) as error:
        raise TlsFileError(setting, path, "holds no certificate (PEM) that can be read") from error


def _read(setting: str, path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise TlsFileError(setting, path, f"cannot be read: {error.strerror}") from error


def _out_of_time(validity: Validity) -> str | None:
    now_s = time.time()
    if validity.until_s < now_s:
        return f"expired on {datetime.fromtimestamp(validity.until_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if validity.from_s > now_s:
        return f"is not valid before {datetime.fromtimestamp(validity.from_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return None
