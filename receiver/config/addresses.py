"""Where the receiver listens: for callbacks, and, if it is told to, apart from them for API, board and metrics.

Must not know sockets, nor what is served.
"""

from __future__ import annotations

from typing import NamedTuple

from receiver.config.settings import PREFIX, Settings


class Address(NamedTuple):
    """One that is listened on."""

    host: str
    port: int
    setting: str
    """What the names of its settings begin with."""


def callback_address(settings: Settings) -> Address:
    """Where callbacks are posted."""
    return Address(settings.host, settings.port, PREFIX)


def admin_address(settings: Settings) -> Address | None:
    """Where API, board, probes and metrics are; None: where callbacks are posted, too."""
    if settings.admin_port is None:
        return None
    return Address(settings.admin_host or settings.host, settings.admin_port, f"{PREFIX}ADMIN_")
