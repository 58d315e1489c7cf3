"""Where NATS is, how it is known, and what it is shown: settings and files, checked before anything connects.

The receiver and `tail` have the same. Must not know what is asked of NATS.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nats.aio.client import RawCredentials

from receiver.config.settings import PREFIX, Settings
from receiver.errors import SettingsError
from receiver.tls.tls_files import TlsFileError, check_certificate, check_key, load_authority, load_pair

_SEED = "-----BEGIN USER NKEY SEED-----"
_TOKEN = "-----BEGIN NATS USER JWT-----"  # noqa: S105 - the line before it


@dataclass(frozen=True, slots=True)
class NatsAccess:
    """All that a connection to NATS is made with."""

    url: str
    credentials: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    tls_first: bool = False

    @classmethod
    def of(cls, settings: Settings) -> NatsAccess:
        """As the settings say."""
        return cls(
            settings.nats_url, settings.nats_credentials, settings.nats_ca_file, settings.nats_cert_file,
            settings.nats_key_file, settings.nats_tls_first,
        )  # fmt: skip

    @property
    def servers(self) -> list[str]:
        """Each a URL."""
        return [server.strip() for server in self.url.split(",")]

    @property
    def wants_tls(self) -> bool:
        """Whether a server without TLS is the wrong one."""
        schemes = any(server.startswith(("tls://", "wss://")) for server in self.servers)
        return bool(schemes or self.ca_file or self.cert_file or self.key_file or self.tls_first)

    def options(self) -> dict[str, Any]:
        """Of nats-py's `connect`. Raises SettingsError."""
        context = self.checked()
        return {
            "user_credentials": RawCredentials(self.credentials) if self.credentials else None,
            "tls": context,
            "tls_handshake_first": self.tls_first,
        }

    def checked(self) -> ssl.SSLContext | None:
        """What TLS uses, of the files as they are now; None: the system's authorities, if the server asks for TLS.

        Raises SettingsError, a line for each setting that is wrong.
        """
        context = _client_context() if self.wants_tls else None
        faults = [*self._pair_faults(), *(self._load(context) if context else ()), *self._credentials_faults()]
        if faults:
            raise SettingsError("\n".join(faults))
        return context

    def _pair_faults(self) -> Iterator[str]:
        if bool(self.cert_file) != bool(self.key_file):
            given, lacking = ("CERT", "KEY") if self.cert_file else ("KEY", "CERT")
            yield f"{PREFIX}NATS_{given}_FILE: is of no use without {PREFIX}NATS_{lacking}_FILE"

    def _load(self, context: ssl.SSLContext) -> Iterator[str]:
        """What is wrong with the files."""
        try:
            if self.ca_file:  # then nobody else is trusted
                load_authority(context, "nats_ca_file", self.ca_file)
            else:
                context.load_default_certs()
        except TlsFileError as fault:
            yield str(fault)
        try:
            if self.cert_file and self.key_file:
                check_certificate("nats_cert_file", self.cert_file)
                check_key("nats_key_file", self.key_file)
                load_pair(context, "nats_cert_file", self.cert_file, "nats_key_file", self.key_file)
        except TlsFileError as fault:
            yield str(fault)

    def _credentials_faults(self) -> Iterator[str]:
        if not self.credentials:
            return
        lines = [line.strip() for line in self.credentials.splitlines()]
        if _TOKEN not in lines or _SEED not in lines:
            yield f"{PREFIX}NATS_CREDENTIALS: is no credentials file of NATS (a user's JWT and NKEY seed)"
            return
        import nkeys  # type: ignore[import-untyped]  # noqa: PLC0415 - it loads libsodium, for credentials alone

        seed = next(iter(lines[lines.index(_SEED) + 1 :]), "")
        try:
            nkeys.from_seed(bytearray(seed.encode())).wipe()
        except (nkeys.NkeysError, ValueError):  # without its text, which may be a part of the seed
            yield f"{PREFIX}NATS_CREDENTIALS: its NKEY seed is not one"


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
