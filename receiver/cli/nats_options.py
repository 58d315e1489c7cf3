"""How a command is told of NATS: the receiver's own settings, as options. Must not know what is read there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from receiver.errors import SetupError

_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option("--nats-credentials-file", type=_FILE, envvar="ESC_RECEIVER_NATS_CREDENTIALS_FILE", show_envvar=True,
                 help="A NATS credentials (.creds) file."),
    click.option("--nats-credentials", envvar="ESC_RECEIVER_NATS_CREDENTIALS", show_envvar=True,
        help="The text of such a file; better in a variable or a file than on a command line."),
    click.option("--nats-ca-file", type=_FILE, envvar="ESC_RECEIVER_NATS_CA_FILE", show_envvar=True,
                 help="Authorities that may sign the certificate of NATS, PEM."),
    click.option("--nats-cert-file", type=_FILE, envvar="ESC_RECEIVER_NATS_CERT_FILE", show_envvar=True,
                 help="Client certificate to show to NATS, PEM."),
    click.option("--nats-key-file", type=_FILE, envvar="ESC_RECEIVER_NATS_KEY_FILE", show_envvar=True,
                 help="Its private key, PEM."),
    click.option("--nats-tls-first", is_flag=True, envvar="ESC_RECEIVER_NATS_TLS_FIRST", show_envvar=True,
                 help="Begin with TLS, for servers with handshake_first."),
)  # fmt: skip


class NatsOptions(NamedTuple):
    """What was given."""

    credentials_file: Path | None
    credentials_text: str | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    tls_first: bool

    def credentials(self) -> str:
        """Of the file or as given. Raises SetupError for a file that cannot be read."""
        return _content(self.credentials_file) if self.credentials_file else self.credentials_text or ""


def nats_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, as `nats`."""

    @wraps(command)
    def called(
        *arguments: Any,
        nats_credentials_file: Path | None,
        nats_credentials: str | None,
        nats_ca_file: Path | None,
        nats_cert_file: Path | None,
        nats_key_file: Path | None,
        nats_tls_first: bool,
        **others: Any,
    ) -> Any:
        given = NatsOptions(
            nats_credentials_file, nats_credentials, nats_ca_file, nats_cert_file, nats_key_file, nats_tls_first
        )
        return command(*arguments, nats=given, **others)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"ESC_RECEIVER_NATS_CREDENTIALS_FILE: {path} cannot be read: {error}") from error
