"""`GET explain`: why a VM is in its state, from the callback that brought it there to what is expected next.

Each step is told with its time, and all of it in a few sentences. What is not known is null, never guessed. This
file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from receiver.api.api_errors import NothingFoundError
from receiver.api.next_steps import RESTS, expected, expected_of_operation
from receiver.api.read_pool import Reader
from receiver.api.receipts import received_at
from receiver.api.row_shapes import shown_callback, shown_transition, sql
from receiver.config.settings import Settings
from receiver.events.cloudevents import item, transition_event
from receiver.lifecycle.overdue import Limits
from receiver.model.entities import Operation, OperationState, Transition, Vm, entity_id

HISTORY_MAX = 20
OUTBOX_LOOKED_AT_MAX = 10_000


FindMessage = Callable[[str, str, datetime], Awaitable[tuple[int, str] | None]]
"""Sequence and time of a message in the feed's stream, by its subject, its id, and when it was made."""


class Explainer:
    """Tells why."""

    def __init__(self, reader: Reader, settings: Settings, find: FindMessage | None = None) -> None:
        """`find` looks into the feed's stream; without it nobody knows where in it a message stands."""
        self._reader = reader
        self._find = find
        self._stream = settings.stream_name
        self._limits = Limits(settings.overdue_after_s, settings.reorder_window_s)
        self._sql = sql()

    async def explain(self, source: str, vm_name: str, deployment: str | None) -> dict[str, Any]:
        """The whole story. Raises NothingFoundError."""
        row = await self._reader.row(self._sql["vm_with_history"], source, vm_name, deployment, HISTORY_MAX)
        if row is None:
            raise NothingFoundError("no VM of this name is known")
        *columns, history = row
        vm = Vm(*columns)
        changes = [entry for entry in history if entry["from_state"] != entry["to_state"]]
        if len(changes) < 2 and len(history) == HISTORY_MAX:  # they lie further back, behind many notes
            changes = await self._reader.rows(self._sql["changes"], vm.id, vm.sequence)
        cause = changes[0] if changes else None
        operation, published = await self._beside(source, cause) if cause else (None, None)
        story = {
            "vm": item(vm),
            "state": vm.state,
            "since": vm.changed_at,
            "cause": shown_transition(cause) if cause else None,
            "callback": await self._callback(cause),
            "previous": _previous(cause, changes[1] if len(changes) > 1 else None),
            "operation": item(operation) if operation else None,
            "expected": self._expected(vm, cause, operation),
            "published": published,
            "history": [shown_transition(entry) for entry in history],
        }
        if cause and published and published["published"] is not False:
            published |= await self._place(vm, cause)
        return {**story, "words": _words(story)}

    async def _beside(self, source: str, cause: asyncpg.Record) -> tuple[Operation | None, dict[str, Any]]:
        """Its operation, and whether the feed has it: null when that cannot be told because the outbox is too long."""
        id_ = entity_id("operation", source, cause["operation"]) if cause["operation"] else None
        row = await self._reader.row(self._sql["beside_a_change"], id_, cause["id"], OUTBOX_LOOKED_AT_MAX)
        assert row is not None  # an aggregate has always one row
        told = row["waits"] or row["looked_at"] < OUTBOX_LOOKED_AT_MAX
        published = not row["waits"] if told else None
        place = {"stream": self._stream, "id": cause["id"], "published": published, "sequence": None, "at": None}
        return Operation(*row["operation"]) if row["operation"] else None, place

    async def _callback(self, cause: asyncpg.Record | None) -> dict[str, Any] | None:
        if cause is None or cause["receipt"] is None:
            return None
        receipt: UUID = cause["receipt"]
        try:
            row = await self._reader.row(self._sql["callback"], receipt, received_at(receipt))
        except NothingFoundError:  # a receipt that is none of ours
            return None
        return shown_callback(row) if row else None

    def _expected(self, vm: Vm, cause: asyncpg.Record | None, operation: Operation | None) -> dict[str, Any]:
        """`by` is when the operation would be overdue: by then something is expected to have been heard."""
        following = expected(vm, cause["trigger"] if cause else None)
        is_open = operation is not None and operation.state == OperationState.OPEN
        return {
            "messages": following,
            "of_the_operation": expected_of_operation(operation),
            "by": _overdue_at(operation, self._limits) if operation and is_open else None,
            "rests": None if following else RESTS.get(vm.state),
        }

    async def _place(self, vm: Vm, cause: asyncpg.Record) -> dict[str, Any]:
        """The receipt that JetStream gave for the change."""
        transition = Transition(*(cause[name] for name in Transition._fields))
        subject = transition_event(transition, vm).subject
        place = await self._find(subject, str(transition.id), transition.at) if self._find else None
        return {"published": True, "sequence": place[0], "at": place[1]} if place else {}


def _overdue_at(operation: Operation, limits: Limits) -> datetime:
    return operation.last_seen_at + timedelta(seconds=limits.of(operation.kind))


def _previous(cause: asyncpg.Record | None, before: asyncpg.Record | None) -> dict[str, Any] | None:
    if cause is None:
        return None
    return {
        "state": cause["from_state"],
        "since": before["at"] if before else None,
        "rule": before["rule"] if before else None,
        "reason": before["reason"] if before else None,
    }


def _words(story: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    vm, cause, following = story["vm"], story["cause"], story["expected"]
    since = f"{vm['changed_at']:%Y-%m-%d %H:%M:%S} UTC"
    words = [f"{vm['vm_name']} of {vm['deployment']} is {vm['state']} since {since}."]
    if cause is None:
        return [*words, "The ledger entry that says why is past its retention."]
    words.append(f"{cause['trigger']} moved it there from {cause['from_state']}: {cause['reason']} ({cause['rule']}).")
    if story["callback"] is None:
        words.append("The callback is past its retention." if cause["receipt"] else "No callback brought it about.")
    if operation := story["operation"]:
        words.append(
            f"It belongs to the {operation['kind']} {operation['transaction_id']}, which is {operation['state']}."
        )
    if following["messages"]:
        named = ", ".join(
            f"{message['trigger']} ({message['state'] or 'no change'})" for message in following["messages"]
        )
        by = f", by {following['by']:%Y-%m-%d %H:%M:%S} UTC" if following["by"] else ""
        words.append(f"Expected next: {named}{by}.")
    elif following["rests"]:
        words.append(f"Expected next: {following['rests']}.")
    if (published := story["published"]) and published["sequence"]:
        words.append(f"It was published as message {published['sequence']} of stream {published['stream']}.")
    return words
