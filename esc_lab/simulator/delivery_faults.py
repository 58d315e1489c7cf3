"""Injects delivery faults into an operation: repeats, wrong order, gaps, malformed and unknown messages, wrong tokens.

Malformed, unknown and wrongly authorised messages come beside the true ones, never in their place; only a gap loses
one. This file must not know what the messages mean.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random
from typing import Literal

from esc_lab.chances import happens, read_chances
from esc_lab.simulator.esc_messages import Message, render
from esc_lab.simulator.script_runner import Operation

Sort = Literal["real", "duplicate", "malformed", "unknown", "wrong-token"]


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is: `reorder` for an operation, the others for a message."""

    duplicate: float = 0.0
    reorder: float = 0.0
    gap: float = 0.0
    malformed: float = 0.0
    unknown: float = 0.0
    wrong_token: float = 0.0

    @classmethod
    def of(cls, text: str) -> Faults:
        """Reads `duplicate=0.05,reorder=0.1`; raises SettingsError naming every part that is wrong."""
        chances = read_chances(text, [field.name.replace("_", "-") for field in fields(cls)])
        return cls(**{name.replace("-", "_"): chance for name, chance in chances.items()})


@dataclass(frozen=True, slots=True)
class Sending:
    """One POST to make. `position`: which message of the operation it carries or, for rubbish, goes with."""

    position: int
    sort: Sort
    message: Message


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """The POSTs that deliver an operation, in order."""

    operation: Operation
    sendings: tuple[Sending, ...]
    reordered: bool = False


def inject_faults(operation: Operation, faults: Faults, rng: Random) -> PlannedDelivery:
    """The operation's messages in order, or changed by the faults that happen."""
    kept = [
        Sending(position, "real", message)
        for position, message in enumerate(operation.messages)
        if not happens(faults.gap, rng)
    ]
    reordered = len(kept) > 1 and happens(faults.reorder, rng)
    if reordered:
        rng.shuffle(kept)
    sendings = list(kept)
    for sending in kept:
        for extra in _extras(sending, faults, rng):
            first = sendings.index(sending) + 1
            # At once, or after others of the same operation.
            sendings.insert(rng.choice((first, rng.randint(first, len(sendings)))), extra)
    return PlannedDelivery(operation, tuple(sendings), reordered)


def _extras(sending: Sending, faults: Faults, rng: Random) -> list[Sending]:
    message = replace(sending.message, pause_s=0.0)
    extras: list[Sending] = []
    if happens(faults.duplicate, rng):
        extras.append(Sending(sending.position, "duplicate", message))
    if happens(faults.malformed, rng):
        extras.append(Sending(sending.position, "malformed", replace(message, body=_malformed(message.body, rng))))
    if happens(faults.unknown, rng):
        extras.append(Sending(sending.position, "unknown", _unknown(message, rng)))
    if happens(faults.wrong_token, rng):
        extras.append(Sending(sending.position, "wrong-token", message))
    return extras


def _malformed(body: bytes, rng: Random) -> bytes:
    """Not well-formed XML, in one of the ways of the malformed samples."""
    return rng.choice(
        (
            body[: len(body) // 2],
            body.replace(b"</deployment_name>", b"</deployment_name", 1)[:-8],
            b'{"deployment_stage":"VM_ALIVE"}',
            b"",
            body.replace(b"?>\n", b'?>\n<!DOCTYPE d [<!ENTITY x SYSTEM "file:///nowhere">]>\n', 1),
        )
    )


def _unknown(message: Message, rng: Random) -> Message:
    """Well-formed, but with a root, a stage or an event that no receiver knows."""
    strange = {"deployment": "VM_TELEPORTED", "esc_event": "VM_MIGRATE_COMPLETE"}.get(message.root)
    if strange is None or rng.random() < 0.3:
        widget = {"event_type": "CREATE_WIDGET", "internal_widget_id": f"w{rng.randrange(10_000)}"}
        return replace(message, root="widget", event="CREATE_WIDGET", vms=(), body=render("widget", widget))
    body = message.body.replace(f">{message.event}<".encode(), f">{strange}<".encode())
    return replace(message, event=strange, body=body)
