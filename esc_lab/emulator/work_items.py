"""What is handed between the core and its shell: a request read, its answer, and work to be done in ESC's own time.

This file must not know how anything is done, sent or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esc_lab.emulator.codec import Body
from esc_lab.emulator.endpoint_model import Row
from esc_lab.emulator.world import Urls
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.script_runner import Operation


def _nothing() -> None:
    """Nothing is left to do."""


def _unheard(_: Message) -> None:
    """It changes nothing that ESC tells of itself."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose form is right."""

    row: Row
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    """Also parameters that stand in the header."""
    urls: Urls = field(default_factory=Urls)
    body: Body = field(default_factory=Body)


@dataclass(frozen=True, slots=True)
class Work:
    """What an accepted request, or ESC by itself, sets going: messages in order, each after its `pause_s`."""

    line: str
    """What it is about. Of one line one work goes on at a time, and its callbacks are sent in order."""
    operation: Operation
    urls: Urls
    hear: Callable[[Message], None] = _unheard
    """Told of each message in its time: what it says becomes so."""
    finish: Callable[[], None] = _nothing
    """Brings the world to where it ends; not called when it is lost on the way."""
    interrupts: bool = False
    """It ends what is going on in its line, and takes its place."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request. `one` or `many` is its body, by the model that the row names."""

    one: Mapping[str, Any] | None = None
    many: Sequence[Mapping[str, Any]] | None = None
    text: tuple[str, str] | None = None
    """A body as it is, and its media type."""
    work: Work | None = None
    status: int = 0
    """0: the row's own."""
