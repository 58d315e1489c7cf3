"""`esc-receiver status`: what a running receiver says of itself: readiness, what is wrong, lags, counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families
from rich.text import Text

from esc_receiver_client import ApiError, SyncEscReceiver, UnansweredError
from receiver.cli import options
from receiver.cli.terminal import colour_of, duration, local_time, print_json, print_table
from receiver.model.sanitize import plain

NOT_READY = 1
COUNTED = ("received", "recovered", "stored", "spool_callbacks", "in_flight", "refused")
"""What adds up (docs/promises.md#promise-8): the first two are the sum of the others."""


@click.command("status")
@options.json("Readiness, statistics and counts as one JSON document.")
@options.reading
def status_command(*, client: SyncEscReceiver, as_json: bool) -> None:
    """Say how a running receiver is. Exit status 0: ready, perhaps degraded; 1: it could not keep a callback now.

    \b
    Examples:
      esc-receiver status
      esc-receiver status --url http://receiver.example:9010 --token "$TOKEN"
      esc-receiver status --json | jq .stats.vms
    """
    readiness = _readiness(client)
    document = {"readiness": readiness, "stats": _stats(client), "counts": _counts(client.text("/metrics"))}
    if as_json:
        print_json(document)
    else:
        print_table(("RECEIVER", plain(client.url)), _rows(document))
    sys.exit(0 if readiness["ready"] else NOT_READY)


def _readiness(client: SyncEscReceiver) -> dict[str, Any]:
    try:
        readiness = json.loads(client.text("/readyz"))
        assert isinstance(readiness["ready"], bool)
        assert isinstance(readiness["dependencies"], dict)
    except (ValueError, KeyError, TypeError, AssertionError):
        raise ApiError(f"{client.url} is no receiver: its /readyz does not say how it is") from None
    return dict(readiness)


def _stats(client: SyncEscReceiver) -> dict[str, Any] | None:
    """None while PostgreSQL cannot be asked: callbacks are kept in the spool then."""
    try:
        return dict(client.get("stats"))
    except UnansweredError:
        return None


def _counts(metrics: str) -> dict[str, int]:
    """The figures that add up, over all sources."""
    sums = dict.fromkeys(COUNTED, 0)
    for family in text_string_to_metric_families(metrics):
        name = family.name.removeprefix("esc_receiver_")
        if name in sums:
            sums[name] = int(sum(one.value for one in family.samples if not one.name.endswith("_created")))
    return sums


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str | Text]]:
    readiness, stats = document["readiness"], document["stats"]
    yield "readiness", _ready(readiness)
    for name, found in readiness["dependencies"].items():
        yield f"  {name}", Text("ok", style="green") if found["ok"] else Text(plain(found["why"]), style="bold red")
    for warning in readiness.get("warnings", ()):
        yield "  warning", Text(plain(warning), style="yellow")
    if stats:
        yield from _states_by_kind(stats)
        yield from _lags(stats)
    yield "counts", ", ".join(f"{name} {count}" for name, count in document["counts"].items())


def _states_by_kind(stats: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    for kind in ("deployments", "vms", "operations"):
        yield kind, _states(stats[kind], stats["counted_max"])
    for kind, states in sorted(stats["resources"].items()):
        yield f"resource {kind}", _states(states, stats["counted_max"])


def _lags(stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    outbox, quarantine = stats["outbox"], stats["quarantine"]
    waits = f", the oldest for {duration(outbox['oldest_at'])}" if outbox["oldest_at"] else ""
    yield "outbox", f"{outbox['messages']} messages wait to be published{waits}"
    latest = stats["ledger"]["latest_at"]
    yield "ledger", f"last entry {local_time(latest)}, {duration(latest)} ago" if latest else "empty"
    last = f", the last at {local_time(quarantine['latest_at'])}" if quarantine["latest_at"] else ""
    yield "quarantine", f"{quarantine['callbacks_last_day']} callbacks of the last day{last}"


def _ready(readiness: Mapping[str, Any]) -> Text:
    if not readiness["ready"]:
        return Text("not ready: a callback could not be kept", style="bold red")
    return Text("ready, but degraded", style="yellow") if readiness["degraded"] else Text("ready", style="green")


def _states(states: Mapping[str, int], most: int) -> Text:
    """Each state in its colour, the most frequent first."""
    text = Text()
    for name, count in sorted(states.items(), key=lambda one: -one[1]):
        more = "+" if count >= most else ""
        text.append(f"{plain(name)} {count}{more}  ", style=colour_of(name) or "")
    return text if text.plain else Text("none")
