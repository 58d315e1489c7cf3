"""What the commands share that ask a running receiver: where it is, and the consumers' kit as the client."""

from __future__ import annotations

from functools import wraps
from typing import Any

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options


def with_client(command: options.Command) -> options.Command:
    """Options `--url` and `--token`, handed on as `client`."""

    @options.url
    @options.token
    @wraps(command)
    def run(*, url: str, token: str | None, **given: Any) -> None:
        with SyncEscReceiver(url, token) as client:
            command(client=client, **given)

    return run
