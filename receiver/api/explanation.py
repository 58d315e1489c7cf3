"""`GET explain`: why a VM is in its state, from the callback that brought it there to what is expected next.

What is unknown is null, never guessed. This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from receiver.api.api_errors import NothingFoundError
from receiver.api.next_steps import RESTS, expected, expected_of_operation
from receiver.api.operation_times import OperationTimes, OperationTimesReader
from receiver.api.read_pool import Reader
from receiver.api.receipts import received_at
from receiver.api.row_shapes import callback_item, transition_item
from receiver.api.source_list import Sources
from receiver.config.settings import Settings
from receiver.events.cloudevents import item, transition_event
from receiver.lifecycle.overdue import for_people
from receiver.model.entities import Operation, SourceState, Transition, Vm
from receiver.model.entity_ids import entity_id
from receiver.model.envelope import Envelope
from receiver.parsing.parsed_callback import read

HISTORY_MAX = 20
OUTBOX_SCAN_MAX = 10_000

FindMessage = Callable[[str, str, datetime], Awaitable[tuple[int, str] | None]]
"""Sequence and time of a message in the feed's stream, by its subject, its id, and when it was made."""


class Explainer:
    """Answers the endpoint `explain`."""

    def __init__(
        self, reader: Reader, settings: Settings, sources: Sources, times: OperationTimesReader,
        find: FindMessage | None = None,
    ) -> None:  # fmt: skip
        """`find` looks into the feed's stream; without it the sequence of a message there is unknown."""
        self._reader = reader
        self._find = find
        self._sources = sources
        self._stream = settings.stream_name
        self._body_bytes_max, self._depth_max = settings.body_inline_bytes_max, settings.xml_depth_max
        self._times = times

    async def explain(self, source: str, vm_name: str, deployment: str | None) -> dict[str, Any]:
        """The explanation of a VM. Raises NothingFoundError."""
        row = await self._reader.row("vm_with_history", source, vm_name, deployment, HISTORY_MAX)
        if row is None:
            raise NothingFoundError("no VM of this name is known")
        *columns, history = row
        vm = Vm(*columns)
        changes = [entry for entry in history if entry["from_state"] != entry["to_state"]]
        if len(changes) < 2 and len(history) == HISTORY_MAX:  # they are older than many notes
            changes = await self._reader.rows("changes", vm.id, vm.sequence)
        cause, before = (*changes[:2], None, None)[:2]
        operation, published = await self._operation_and_message(vm, cause) if cause else (None, None)
        esc = next((one for one in await self._sources.all() if one["source"] == vm.source), None)
        times = await self._times.now()
        story = {
            "vm": item(vm),
            "state": vm.state,
            "since": vm.changed_at,
            "cause": transition_item(cause) if cause else None,
            "callback": await self._callback(cause) if cause else None,
            "event": await self._event([one for one in (cause, *history[:1]) if one]),
            "previous": _previous(cause, before) if cause else None,
            "operation": times.shown(operation) if operation else None,
            "expected": _expected(vm, cause, operation, times),
            "published": published,
            "source": esc,
            "history": [transition_item(entry) for entry in history],
        }
        return {**story, "words": _words(story)}

    async def _operation_and_message(self, vm: Vm, cause: asyncpg.Record) -> tuple[Operation | None, dict[str, Any]]:
        """The operation of a change, and whether the feed has it: null when the outbox is too long to tell."""
        id_ = entity_id("operation", vm.source, cause["operation"]) if cause["operation"] else None
        row = await self._reader.row("beside_a_change", id_, cause["id"], OUTBOX_SCAN_MAX)
        assert row is not None  # an aggregate always has one row
        published = None
        if row["waits"] or row["scanned"] < OUTBOX_SCAN_MAX:
            published = not row["waits"]
        message = {"stream": self._stream, "id": cause["id"], "published": published, "sequence": None, "at": None}
        if published is not False:
            message |= await self._acknowledgement(vm, cause)
        return Operation(*row["operation"]) if row["operation"] else None, message

    async def _acknowledgement(self, vm: Vm, cause: asyncpg.Record) -> dict[str, Any]:
        """Where the message of the change stands in the stream; nothing when it is not found."""
        transition = Transition(*(cause[name] for name in Transition._fields))
        subject = transition_event(transition, vm).subject
        found = await self._find(subject, str(transition.id), transition.at) if self._find else None
        return {"published": True, "sequence": found[0], "at": found[1]} if found else {}

    async def _callback(self, cause: asyncpg.Record) -> dict[str, Any] | None:
        if cause["receipt"] is None:
            return None
        try:
            row = await self._reader.row("callback", cause["receipt"], received_at(cause["receipt"]))
        except NothingFoundError:  # not a receipt of ours
            return None
        return callback_item(row) if row else None

    async def _event(self, entries: Iterable[asyncpg.Record]) -> dict[str, Any] | None:
        """What ESC said of the event itself: of the one that brought the state, else of the latest."""
        for receipt in dict.fromkeys(one["receipt"] for one in entries if one["receipt"]):
            if facts := await self._facts(receipt):
                return facts
        return None

    async def _facts(self, receipt: UUID) -> dict[str, Any]:
        try:
            row = await self._reader.row("whole", receipt, received_at(receipt), self._body_bytes_max)
        except NothingFoundError:  # not a receipt of ours
            return {}
        if row is None:
            return {}
        notification = read(Envelope.of_row(row), self._depth_max).notification
        return dict(notification.event) if notification else {}


def _expected(
    vm: Vm, cause: asyncpg.Record | None, operation: Operation | None, times: OperationTimes
) -> dict[str, Any]:
    """`by` is when the operation would be overdue: by then something is expected to arrive."""
    messages = expected(vm, cause["trigger"] if cause else None)
    return {
        "messages": messages,
        "of_the_operation": expected_of_operation(operation),
        "by": times.due_at(operation) if operation else None,
        "rests": None if messages else RESTS.get(vm.state),
    }


def _times_in_words(operation: Mapping[str, Any]) -> Iterable[str]:
    if operation["usual_s"] is not None:
        usual, longest = for_people(operation["usual_s"]), for_people(operation["longest_s"])
        yield f"A {operation['kind']} usually takes {usual} there, and {longest} at the longest."
    if operation["due_at"]:
        yield f"It is overdue at {_time(operation['due_at'])} if nothing more is heard of it."


def _previous(cause: asyncpg.Record, before: asyncpg.Record | None) -> dict[str, Any]:
    """The state before; what brought it may be past its retention."""
    since = {"since": before["at"], "rule": before["rule"], "reason": before["reason"]} if before else {}
    return {"state": cause["from_state"], "since": None, "rule": None, "reason": None} | since


def _words(story: Mapping[str, Any]) -> list[str]:
    """The same as sentences."""
    vm, cause, following, operation = story["vm"], story["cause"], story["expected"], story["operation"]
    words = [f"{vm['vm_name']} of {vm['deployment']} is {vm['state']} since {_time(vm['changed_at'])}."]
    if cause is None:
        return [*words, "The ledger entry that says why is past its retention."]
    words.append(f"{cause['trigger']} moved it there from {cause['from_state']}: {cause['reason']} ({cause['rule']}).")
    if story["callback"] is None:
        words.append("The callback is past its retention." if cause["receipt"] else "No callback brought it about.")
    if event := story["event"]:
        words.append(f"ESC said of it: {', '.join(f'{name} {value}' for name, value in event.items())}.")
    if operation:
        words.append(
            f"It belongs to the {operation['kind']} {operation['transaction_id']}, which is {operation['state']}."
        )
        words += _times_in_words(operation)
    source = story["source"]
    if source and source["state"] == SourceState.OUT_OF_SERVICE:
        why = f" ({source['reason']})" if source["reason"] else ""
        words.append(f"{source['source']} is out of service since {_time(source['since'])}{why}: it may send nothing.")
    if following["messages"]:
        messages = ", ".join(f"{one['trigger']} ({one['state'] or 'no change'})" for one in following["messages"])
        by = f", by {_time(following['by'])}" if following["by"] else ""
        words.append(f"Expected next: {messages}{by}.")
    elif following["rests"]:
        words.append(f"Expected next: {following['rests']}.")
    if (published := story["published"]) and published["sequence"]:
        words.append(f"It was published as message {published['sequence']} of stream {published['stream']}.")
    return words


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
