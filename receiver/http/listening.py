"""What sockets that listen have in common, whoever opens them. Must not know what is served on them."""

from __future__ import annotations

import errno

from receiver.config.addresses import Address

BACKLOG = 4_096
"""Connections of a worker that wait to be accepted; the system's own limit (`net.core.somaxconn`) may be below it."""


def bind_error(error: OSError, address: Address) -> str:
    """Why the address cannot be served on, for people."""
    where, setting = f"{address.host}:{address.port}", address.setting
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program; stop it, or set {setting}PORT to a free port"
    if error.errno == errno.EACCES:
        return f"{where} may not be served on by this user; set {setting}PORT to a port above 1023"
    return f"{where} cannot be served on ({error.strerror or error}); set {setting}HOST and {setting}PORT"
