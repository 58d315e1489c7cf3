"""What core and shell exchange: a request, its reply, and work to be done at ESC's own pace.

This file must not know how anything is done, sent or stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esc_lab.emulator.body_schemas import Language
from esc_lab.emulator.codec import Body
from esc_lab.emulator.endpoint_model import Row
from esc_lab.emulator.world import Urls
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.script_runner import Operation


@dataclass(frozen=True, slots=True)
class Call:
    """A well-formed request."""

    row: Row
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    """Also parameters that stand in the header."""
    urls: Urls = field(default_factory=Urls)
    body: Body = field(default_factory=Body)


@dataclass(frozen=True, slots=True)
class Work:
    """What an accepted request, or ESC by itself, starts: messages in order, each after its `pause_s`."""

    key: str
    """The entity it is about. Work with one key is done one at a time, and its callbacks are sent in order."""
    operation: Operation
    urls: Urls
    apply: Callable[[Message], None] = lambda _: None
    """Called with each message when it is due: takes over the states that it reports."""
    finish: Callable[[], None] = lambda: None
    """Brings the world to the end of the operation; not called when the work is lost before."""
    interrupts: bool = False
    """It ends the work in progress with its key, and takes its place."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request. `one` or `many` is its body, by the model that the row names."""

    one: Mapping[str, Any] | None = None
    many: Sequence[Mapping[str, Any]] | None = None
    model: tuple[str, Language] | None = None
    """A data model as it was given, and its language."""
    work: Work | None = None
    status: int = 0
    """0: the row's own."""
