"""TLS of the listener: its files are read and checked at start, and again when they change.

New connections use the files read last; a wrong file changes nothing, and is told. Must not know who may post.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.observability.metrics import Metrics
from receiver.tls.tls_files import (
    Stamp,
    TlsFileError,
    check_certificate,
    check_key,
    load_authority,
    load_pair,
    stamp_of,
)

log = structlog.get_logger()

FILES = ("tls_cert_file", "tls_key_file", "tls_client_ca_file")
_Stamps = tuple[Stamp, ...]


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
        return tuple(stamp_of(path) for name in FILES if (path := getattr(self._settings, name)))


def load(settings: Settings) -> tuple[_Loaded | None, list[str]]:
    """A context of the files as they are, or what is wrong with each."""
    assert settings.tls_cert_file is not None
    assert settings.tls_key_file is not None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    faults: list[str] = []
    expires_s = 0.0
    try:
        expires_s = check_certificate("tls_cert_file", settings.tls_cert_file)
    except TlsFileError as fault:
        faults.append(str(fault))
    try:
        check_key("tls_key_file", settings.tls_key_file)
        if not faults:
            load_pair(context, "tls_cert_file", settings.tls_cert_file, "tls_key_file", settings.tls_key_file)
    except TlsFileError as fault:
        faults.append(str(fault))
    if settings.tls_client_ca_file:
        try:
            load_authority(context, "tls_client_ca_file", settings.tls_client_ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL  # sources ask for one; probes, Prometheus and the board have none
        except TlsFileError as fault:
            faults.append(str(fault))
    return (None if faults else _Loaded(context, expires_s)), faults
