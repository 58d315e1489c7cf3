"""What the demo shows: facts from the feed and the counters, drawn for a terminal or printed in plain lines.

The fleet is counted from the feed alone, as any consumer could do it. This file must not know where the facts come
from, nor how a terminal is kept up to date (`demo`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from esc_lab.simulator.report import Latency
from receiver.cli.tables import state
from receiver.model.entities import DeploymentState, OperationState, VmState
from receiver.model.notification import Outcome
from receiver.model.sanitize import plain

EVENTS_KEPT = 200
RATE_SAMPLES = 20
NARROW = 110
"""Columns below which operations and reasons are left out."""
_FLEET = {"operations": ("operation", OperationState), "deployments": ("deployment", DeploymentState)} | {
    "VMs": ("vm", VmState)
}

Event = Mapping[str, Any]
"""A payload of the feed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The receiver's own counts."""

    received: int
    refused: int
    outcomes: Mapping[Outcome, int]
    messages: int
    """Due on the feed: one for each ledger entry and each unclassified callback."""


@dataclass(slots=True)
class Facts:
    """What the feed has brought so far. Bounded, however long the demo."""

    messages: int = 0
    fleet: dict[str, Counter[str]] = field(default_factory=dict)
    """By entity, how many are in which state."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    lag: Latency = field(default_factory=Latency)
    """From the arrival of a callback to that of its message."""
    _received: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_SAMPLES))

    def add(self, event: Event, now: datetime) -> None:
        """One message of the feed."""
        self.messages += 1
        self.events.append(event)
        self.lag.add((now - datetime.fromisoformat(event["at"])).total_seconds())
        if "from_state" in event:
            states = self.fleet.setdefault(event["entity"], Counter())
            states[event["from_state"]] -= 1
            states[event["to_state"]] += 1

    def rate(self, received: int) -> float:
        """Callbacks a second, over the last samples; each call is one."""
        now_s = monotonic()
        self._received.append((now_s, received))
        since_s, before = self._received[0]
        return (received - before) / (now_s - since_s) if now_s > since_s else 0.0


def draw(facts: Facts, counts: Counts, *, width: int, lines: int) -> RenderableType:
    """The whole view, at most `lines` high."""
    figures = _figures(facts, counts)
    if width < NARROW:
        del figures["operations"]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(*(_column(title, rows) for title, rows in figures.items()))
    height = max(map(len, figures.values())) + 2
    return Group(grid, Text(), _events(facts, width, max(1, lines - height - 1)))


def event_line(event: Event) -> str:
    """A message of the feed in one line."""
    who = f"{event['source']} {event['entity']} {_name(event)}"
    return plain(f"{_time(event)} {who} {_change(event)}: {event['reason']}")


def status_line(facts: Facts, counts: Counts) -> str:
    """The view in one line."""
    figures = _figures(facts, counts)
    outcomes = {str(outcome): str(number) for outcome, number in counts.outcomes.items() if number}
    words: dict[str, Mapping[str, str]] = {
        "callbacks": outcomes,
        "deployments": figures["deployments"],
        "VMs": figures["VMs"],
    }
    parts = {name: ", ".join(map(" ".join, rows.items())) or "none" for name, rows in words.items()}
    callbacks, feed = figures["callbacks"], figures["feed"]
    return (
        f"-- callbacks {counts.received} ({callbacks['a second']}/s): {parts['callbacks']} "
        f"-- deployments {parts['deployments']} -- VMs {parts['VMs']} "
        f"-- feed {facts.messages}, {feed['on their way']} on their way, lag p99 {feed['lag p99']}"
    )


def _figures(facts: Facts, counts: Counts) -> dict[str, dict[str, str]]:
    fleet: dict[str, dict[str, str]] = {}
    for title, (entity, order) in _FLEET.items():
        states = facts.fleet.get(entity, Counter())
        fleet[title] = {str(one): f"{states[one]:,}" for one in order if one != "UNSEEN" and states[one] > 0}
    callbacks = {"received": f"{counts.received:,}", "a second": f"{facts.rate(counts.received):.0f}"}
    callbacks |= {outcome: f"{number:,}" for outcome, number in counts.outcomes.items()}
    if counts.refused:
        callbacks["refused"] = f"{counts.refused:,}"
    p50, p99 = (facts.lag.percentile_ms(share) or 0.0 for share in (0.5, 0.99))
    # The receiver's count was read a moment ago; messages have come since.
    due = max(0, counts.messages - facts.messages)
    feed = {"messages": f"{facts.messages:,}", "on their way": f"{due:,}"}
    feed |= {"lag p50": f"{p50:.0f} ms", "lag p99": f"{p99:.0f} ms"}
    return {**fleet, "callbacks": callbacks, "feed": feed}


def _column(title: str, rows: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(title, style="bold"))
    for name, number in rows.items():
        table.add_row(state(name), Text(number, justify="right"))
    return table


def _events(facts: Facts, width: int, lines: int) -> Table:
    """The latest messages, the newest last."""
    table = Table.grid(padding=(0, 2), expand=True)
    for ratio in (None, None, 2, None, 3)[: 5 if width >= NARROW else 4]:
        table.add_column(no_wrap=True, overflow="ellipsis" if ratio else "fold", ratio=ratio)
    for event in list(facts.events)[-lines:]:
        who = Text(plain(f"{event['source']} {event['entity']}"))
        cells = (Text(_time(event), style="dim"), who, Text(_name(event)), _coloured(event))
        table.add_row(*cells, *([Text(plain(event["reason"]), style="dim")] if width >= NARROW else []))
    return table


def _time(event: Event) -> str:
    return datetime.fromisoformat(event["at"]).astimezone(UTC).strftime("%H:%M:%S.%f")[:-5]


def _name(event: Event) -> str:
    """The entity's name. It comes from outside, and must not steer the terminal."""
    if event["entity"] == "operation":
        return plain(f"{event['item']['kind']} {event['item']['deployment'] or ''}".strip())
    return plain(str(event.get("name") or event.get("trigger") or event.get("root")))


def _change(event: Event) -> str:
    return str(_coloured(event))


def _coloured(event: Event) -> Text:
    if event.get("from_state") == event.get("to_state"):
        return Text(plain(event["change"]), style="dim")
    return Text.assemble((plain(f"{event['from_state']} → "), "dim"), state(event["to_state"]))
