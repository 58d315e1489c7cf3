"""The sockets that workers listen on: one for each place of a worker, all on one port, held by the supervisor.

On Linux the kernel divides new connections among the sockets of a port (`SO_REUSEPORT`) by chance, and evenly; of one
socket that all share, who wakes first takes most (docs/scale.md#one-port). The supervisor keeps them all open: what
waits in a socket whose worker is replaced or died is taken by the next one, and nobody is refused. Elsewhere the kernel
does not divide, and all places share one socket. Must not know who accepts.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from receiver.config.addresses import Address, admin_address, callback_address
from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.http.listening import BACKLOG, bind_error

DIVIDES = sys.platform == "linux"


class Listeners:
    """Those of all places; `close` leaves the port."""

    def __init__(self, places: Sequence[Sequence[socket.socket]], admin: int = 0) -> None:
        self._places = [list(sockets) for sockets in places]
        self.admin = admin
        """How many of a place's sockets, the last ones, are not for callbacks."""
        self._left: dict[int, list[tuple[int, Any]]] = {}
        """By place: what its sockets were bound to."""

    def of(self, place: int) -> Sequence[socket.socket]:
        """What the worker of this place listens on; the first place is 1."""
        return self._places[place - 1]

    def leave(self, place: int) -> None:
        """Nobody will be there for a while: the kernel gives its new connections to the other places."""
        if DIVIDES and len(self._places) > 1:
            self._left[place] = [(one.family, one.getsockname()) for one in self.of(place)]
            for one in self.of(place):
                one.close()

    def take_again(self, place: int) -> None:
        """Somebody will. Raises OSError."""
        for number, (family, address) in enumerate(self._left.pop(place, ())):
            again = _socket(family)
            self._places[place - 1][number] = again
            _share(again, address)
            again.listen(BACKLOG)

    def close(self) -> None:
        """Workers that still have them may go on."""
        for sockets in self._places:
            for one in sockets:
                one.close()


def listen(settings: Settings, places: int) -> Listeners:
    """Take the port, and that of API, board and metrics if it is another. Raises SetupError when one cannot be had."""
    apart = admin_address(settings)
    with ExitStack() as undo:
        found = _bound(callback_address(settings), places, undo)
        admin = _bound(apart, places, undo) if apart else []
        undo.pop_all()
    return Listeners(list(zip(*found, *admin, strict=True)), len(admin))


def _bound(where: Address, places: int, undo: ExitStack) -> list[list[socket.socket]]:
    try:
        return [_listeners(family, address, places, undo) for family, address in _addresses(where)]
    except OSError as error:
        raise SetupError(bind_error(error, where)) from error


def _addresses(where: Address) -> Iterator[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Those that a host's name stands for, each once."""
    found = socket.getaddrinfo(where.host or None, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    yield from dict.fromkeys((family, (str(address[0]), int(address[1]))) for family, *_, address in found)


def _listeners(
    family: socket.AddressFamily, address: tuple[str, int], places: int, undo: ExitStack
) -> list[socket.socket]:
    """One for each place. The first is bound alone: another program's port must not be shared with it."""
    first = undo.enter_context(_socket(family))
    first.bind(address)
    if not DIVIDES:
        first.listen(BACKLOG)
        return [first] * places
    bound = first.getsockname()
    first.close()
    sockets = [undo.enter_context(_socket(family)) for _ in range(places)]
    for one in sockets:
        _share(one, bound)
    for one in sockets:
        one.listen(BACKLOG)
    return sockets


def _share(one: socket.socket, address: Any) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(address)


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
