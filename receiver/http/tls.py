"""TLS of the listener: its files are read and checked at start, and again when they change.

New connections use the files read last; a wrong file changes nothing, and is told. Must not know who may post.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from receiver.config.settings import PREFIX, Settings
from receiver.errors import SetupError
from receiver.http.certificates import NoCertificateError, Validity, validity_of
from receiver.observability.metrics import Metrics

log = structlog.get_logger()

FILES = ("tls_cert_file", "tls_key_file", "tls_client_ca_file")
_Stamps = tuple[tuple[int, int, int] | None, ...]


class _FileError(Exception):
    """What is wrong with a file, and which setting names it."""

    def __init__(self, setting: str, path: Path, what: str) -> None:
        super().__init__(f"{PREFIX}{setting.upper()}: {path} {what}")


class _Loaded(NamedTuple):
    context: ssl.SSLContext
    expires_s: float


class _ChangingContext(ssl.SSLContext):
    """What asyncio is given once; each connection is made by the context loaded last."""

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """The TLS of one connection."""
        return self.current.wrap_bio(*args, **options)


class ListenerTls:
    """The listener's certificate, its key, and the authority of its clients; nothing when none is set."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._context: _ChangingContext | None = None
        self._fault: str | None = None
        self._tried: _Stamps = ()
        """The state of the files when they were read last."""

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the server; None when it speaks plain HTTP."""
        return self._context

    @property
    def configured(self) -> bool:
        """Whether the listener speaks TLS."""
        return self._settings.tls_cert_file is not None

    def open(self) -> None:
        """Read the files. Raises SetupError, a line for each that is wrong."""
        if not self.configured:
            return
        self._tried = self._stamps()
        loaded, faults = load(self._settings)
        if loaded is None:
            raise SetupError("\n".join(faults))
        self._context = _ChangingContext(ssl.PROTOCOL_TLS_SERVER)
        self._use(loaded)

    async def reload(self) -> None:
        """Read the files again; what runs goes on with what it has when one is wrong."""
        if self._context is None:
            return
        self._tried = self._stamps()
        loaded, faults = await asyncio.to_thread(load, self._settings)
        if loaded is None:
            self._fault = "; ".join(faults)
            log.error("the TLS files are wrong; the ones read before stay in use", why=self._fault)
            return
        self._fault = None
        self._use(loaded)
        expiry = datetime.fromtimestamp(loaded.expires_s, UTC)
        log.info("the TLS files were read again", certificate_expires=expiry.isoformat())

    async def run(self) -> None:
        """Read the files again when they have changed and no longer do, until cancelled."""
        seen = self._tried
        while True:
            await asyncio.sleep(self._settings.tls_check_s)
            before, seen = seen, self._stamps()
            if seen != self._tried and seen == before:
                await self.reload()

    async def ping(self) -> None:
        """Raises SetupError while the files are wrong."""
        if self._fault:
            raise SetupError(self._fault)

    def _use(self, loaded: _Loaded) -> None:
        assert self._context is not None
        self._context.current = loaded.context
        self._metrics.tls_certificate_expiry_timestamp_seconds.set(loaded.expires_s)

    def _stamps(self) -> _Stamps:
        return tuple(_stamp(path) for name in FILES if (path := getattr(self._settings, name)))


def load(settings: Settings) -> tuple[_Loaded | None, list[str]]:
    """A context of the files as they are, or what is wrong with each."""
    assert settings.tls_cert_file is not None
    assert settings.tls_key_file is not None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    faults: list[str] = []
    expires_s = 0.0
    try:
        expires_s = _check_certificate(settings.tls_cert_file)
    except _FileError as fault:
        faults.append(str(fault))
    try:
        _check_key(settings.tls_key_file)
        if not faults:
            _load_pair(context, settings.tls_cert_file, settings.tls_key_file)
    except _FileError as fault:
        faults.append(str(fault))
    if settings.tls_client_ca_file:
        try:
            _load_client_authority(context, settings.tls_client_ca_file)
        except _FileError as fault:
            faults.append(str(fault))
    return (None if faults else _Loaded(context, expires_s)), faults


def _check_certificate(path: Path) -> float:
    """When the first of its certificates expires."""
    found = _certificates("tls_cert_file", path)
    for validity in found:
        if fault := _out_of_time(validity):
            raise _FileError("tls_cert_file", path, fault)
    return min(validity.until_s for validity in found)


def _check_key(path: Path) -> None:
    text = _read("tls_key_file", path)
    if "PRIVATE KEY-----" not in text:
        raise _FileError("tls_key_file", path, "holds no private key (PEM)")
    if "ENCRYPTED" in text:
        raise _FileError(
            "tls_key_file", path, "has a passphrase, which nobody could type in; store the key without one"
        )


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _FileError("tls_key_file", key, f"is not the key of the certificate in {cert}") from error
        if (error.reason or "").startswith(("EE_", "CA_")):
            raise _FileError("tls_cert_file", cert, f"is too weak ({error.reason})") from error
        raise _FileError("tls_key_file", key, f"cannot be used ({error.reason or error})") from error
    except OSError as error:
        raise _FileError("tls_cert_file", cert, f"cannot be read: {error.strerror}") from error


def _load_client_authority(context: ssl.SSLContext, path: Path) -> None:
    found = _certificates("tls_client_ca_file", path)
    faults = [fault for validity in found if (fault := _out_of_time(validity))]
    if len(faults) == len(found):
        raise _FileError("tls_client_ca_file", path, faults[0])
    context.load_verify_locations(path)
    if not context.cert_store_stats()["x509_ca"]:
        raise _FileError("tls_client_ca_file", path, "holds no certificate of an authority")
    context.verify_mode = ssl.CERT_OPTIONAL  # sources ask for one; probes, Prometheus and the board have none


def _certificates(setting: str, path: Path) -> list[Validity]:
    text = _read(setting, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
        return validity_of(text)
    except (ssl.SSLError, NoCertificateError, ValueError) as error:
        raise _FileError(setting, path, "holds no certificate (PEM) that can be read") from error


def _read(setting: str, path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise _FileError(setting, path, f"cannot be read: {error.strerror}") from error


def _out_of_time(validity: Validity) -> str | None:
    now_s = time.time()
    if validity.until_s < now_s:
        return f"expired on {datetime.fromtimestamp(validity.until_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if validity.from_s > now_s:
        return f"is not valid before {datetime.fromtimestamp(validity.from_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
