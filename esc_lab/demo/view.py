"""What the demo shows: facts gathered from the feed and the counters, drawn for a terminal or told in plain lines.

The fleet is counted from the feed alone, as any consumer could do it. This file must not know where the facts come
from, nor how a terminal is kept up to date (`demo`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from receiver.model.entities import DeploymentState, OperationState, VmState
from receiver.model.notification import Outcome

EVENTS_KEPT = 200
LAGS_KEPT = 500
LOOKS_KEPT = 20
NARROW = 110
"""Columns below which operations and reasons are left out."""
NAME_SHARE, REASON_SHARE = 2, 3

COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("ALIVE", "ACTIVE", "SUCCEEDED", "CREATED", "UPDATED", "applied"), "green"),
    **dict.fromkeys(("DEPLOYING", "INERT", "STARTING", "REBOOTING", "STOPPING", "UNDEPLOYING", "OPEN"), "cyan"),
    **dict.fromkeys(("STOPPED", "CANCELLED", "duplicate", "late"), "blue"),
    **dict.fromkeys(("RECOVERING", "unclassified"), "yellow"),
    **dict.fromkeys(("ERROR", "FAILED", "malformed", "refused"), "red"),
}

Event = Mapping[str, Any]
"""A payload of the feed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the receiver says of itself."""

    received: int
    refused: int
    outcomes: Mapping[Outcome, int]
    messages: int
    """What the feed must have shown, or must still show: a message for each ledger entry and unclassified callback."""


@dataclass(slots=True)
class Facts:
    """What the feed has told so far. Bounded, however long the demo."""

    messages: int = 0
    fleet: dict[str, Counter[str]] = field(default_factory=dict)
    """By entity, how many are in which state."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    lags_s: deque[float] = field(default_factory=lambda: deque(maxlen=LAGS_KEPT))
    """From the arrival of a callback to that of its message."""
    _received: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LOOKS_KEPT))

    def hear(self, event: Event, now: datetime) -> None:
        """One message of the feed."""
        self.messages += 1
        self.events.append(event)
        self.lags_s.append((now - datetime.fromisoformat(event["at"])).total_seconds())
        if "from_state" in event:
            states = self.fleet.setdefault(event["entity"], Counter())
            states[event["from_state"]] -= 1
            states[event["to_state"]] += 1

    def rate(self, received: int) -> float:
        """Callbacks a second, over the last looks."""
        now_s = monotonic()
        self._received.append((now_s, received))
        since_s, before = self._received[0]
        return (received - before) / (now_s - since_s) if now_s > since_s else 0.0

    def lag_ms(self, share: float) -> float:
        """The time within which that share (0..1) of the messages came, in milliseconds; 0 before the first."""
        lags_s = sorted(self.lags_s)
        return lags_s[min(len(lags_s) - 1, int(share * len(lags_s)))] * 1000 if lags_s else 0.0


def draw(facts: Facts, counts: Counts, *, width: int, lines: int) -> RenderableType:
    """The whole view, at most `lines` high."""
    operations = [_column("operations", _states(facts, "operation", OperationState))] if width >= NARROW else []
    columns = [
        _column("deployments", _states(facts, "deployment", DeploymentState)),
        _column("VMs", _states(facts, "vm", VmState)),
        *operations,
        _column("callbacks", _callbacks(facts, counts)),
        _column("feed", _feed(facts, counts)),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(*columns)
    height = max(column.row_count for column in columns) + 1
    return Group(grid, Text(), _events(facts, width, max(1, lines - height - 1)))


def event_line(event: Event) -> str:
    """A message of the feed in one line."""
    return f"{_time(event)} {event['source']} {event['entity']} {_name(event)} {_change(event)}: {event['reason']}"


def status_line(facts: Facts, counts: Counts) -> str:
    """The view in one line."""
    outcomes = ", ".join(f"{outcome} {n}" for outcome, n in counts.outcomes.items() if n)
    fleet = ", ".join(f"{state} {n}" for state, n in _states(facts, "deployment", DeploymentState))
    vms = ", ".join(f"{state} {n}" for state, n in _states(facts, "vm", VmState))
    feed = f"{facts.messages}, {_on_their_way(facts, counts)} on their way, lag p99 {facts.lag_ms(0.99):.0f} ms"
    return (
        f"-- callbacks {counts.received} ({facts.rate(counts.received):.0f}/s): {outcomes or 'none'} "
        f"-- deployments {fleet or 'none'} -- VMs {vms or 'none'} -- feed {feed}"
    )


def _states(facts: Facts, entity: str, order: Iterable[str]) -> list[tuple[str, str]]:
    states = facts.fleet.get(entity, Counter())
    return [(str(state), f"{states[state]:,}") for state in order if state != "UNSEEN" and states[state] > 0]


def _callbacks(facts: Facts, counts: Counts) -> list[tuple[str, str]]:
    rows = [("received", f"{counts.received:,}"), ("a second", f"{facts.rate(counts.received):.0f}")]
    rows += [(outcome, f"{counts.outcomes[outcome]:,}") for outcome in Outcome]
    return [*rows, ("refused", f"{counts.refused:,}")] if counts.refused else rows


def _feed(facts: Facts, counts: Counts) -> list[tuple[str, str]]:
    return [
        ("messages", f"{facts.messages:,}"),
        ("on their way", f"{_on_their_way(facts, counts):,}"),
        ("lag p50", f"{facts.lag_ms(0.5):.0f} ms"),
        ("lag p99", f"{facts.lag_ms(0.99):.0f} ms"),
    ]


def _on_their_way(facts: Facts, counts: Counts) -> int:
    """The receiver's count was read a moment ago; messages have come since."""
    return max(0, counts.messages - facts.messages)


def _column(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(title, style="bold"))
    for word, number in rows:
        table.add_row(Text(word, style=COLOURS.get(word, "")), Text(number, justify="right"))
    return table


def _events(facts: Facts, width: int, lines: int) -> Table:
    """The latest messages, the newest last."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=NAME_SHARE)
    table.add_column(no_wrap=True)
    if width >= NARROW:
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=REASON_SHARE, style="dim")
    for event in list(facts.events)[-lines:]:
        cells = [
            Text(_time(event), style="dim"),
            Text(f"{event['source']} {event['entity']}"),
            Text(_name(event)),
            _coloured(event),
        ]
        table.add_row(*cells, *([Text(event["reason"])] if width >= NARROW else []))
    return table


def _time(event: Event) -> str:
    return datetime.fromisoformat(event["at"]).astimezone(UTC).strftime("%H:%M:%S.%f")[:-5]


def _name(event: Event) -> str:
    """Who it is about. Names come from outside: nothing in them may steer the terminal."""
    name = str(event.get("name") or event.get("trigger") or event.get("root"))
    if event["entity"] == "operation":
        name = f"{event['item']['kind']} {event['item']['deployment'] or ''}".strip()
    return name if name.isprintable() else ascii(name)


def _change(event: Event) -> str:
    if event.get("from_state") == event.get("to_state"):
        return str(event["change"])
    return f"{event['from_state']} → {event['to_state']}"


def _coloured(event: Event) -> Text:
    state = event.get("to_state", "unclassified")
    if event.get("from_state") == event.get("to_state"):
        return Text(event["change"], style="dim")
    return Text.assemble((f"{event['from_state']} → ", "dim"), (state, COLOURS.get(state, "")))
