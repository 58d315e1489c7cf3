"""`esc-receiver status`: what a running receiver says of itself: readiness, what is wrong, lags, counts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rich.text import Text

from esc_receiver_client import ApiError, SyncEscReceiver, UnansweredError, UnknownError
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.output import counted
from receiver.cli.tables import print_table
from receiver.cli.terminal import colour_of, duration, local_time, print_json
from receiver.model.sanitize import plain

NOT_READY = 1
KINDS = ("deployments", "vms", "operations")
COUNTED = ("received", "recovered", "stored", "spool_callbacks", "in_flight", "refused")
"""What adds up (docs/promises.md#promise-8): the first two are the sum of the others."""


@click.command("status")
@options.json("Readiness, statistics and counts as one JSON document.")
@options.at
@with_client
def status_command(*, client: SyncEscReceiver, as_json: bool, at: str | None) -> None:
    """Say how a running receiver is. Exit status 0: ready, perhaps degraded; 1: it could not keep a callback now.

    With --at: only how many deployments, VMs and operations were in which state then.

    \b
    Examples:
      esc-receiver status
      esc-receiver status --url http://receiver.example:9010 --token "$TOKEN"
      esc-receiver status --json | jq .stats.vms
      esc-receiver status --at 2026-01-31T12:00:00Z
    """
    if at:
        _print_then(client, at, as_json=as_json)
        return
    readiness = _readiness(client)
    metrics = _families(client.text("/metrics"))
    document = {
        "readiness": readiness, "receiver": _receiver(metrics), "stats": _stats(client), "sources": _sources(client),
        "counts": _counts(metrics),
    }  # fmt: skip
    if as_json:
        print_json(document)
    else:
        print_table(("RECEIVER", plain(client.url)), _rows(document), folded=True)
    sys.exit(0 if readiness["ready"] else NOT_READY)


def _print_then(client: SyncEscReceiver, at: str, *, as_json: bool) -> None:
    then = client.get("stats", at=at)
    if as_json:
        print_json(then)
    else:
        rows = [(kind, _states(then[kind])) for kind in KINDS]
        print_table(("AS IT WAS", local_time(then["at"])), rows, folded=True)


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


def _sources(client: SyncEscReceiver) -> list[dict[str, Any]] | None:
    """None while PostgreSQL cannot be asked, or by an earlier receiver."""
    try:
        return list(client.get("sources")["items"])
    except (UnansweredError, UnknownError):
        return None


def _families(metrics: str) -> dict[str, Metric]:
    return {family.name.removeprefix("esc_receiver_"): family for family in text_string_to_metric_families(metrics)}


def _receiver(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Version, and since when it runs."""
    build, start = metrics.get("build_info"), metrics.get("process_start_time_seconds")
    since = datetime.fromtimestamp(start.samples[0].value, UTC) if start else None
    return {
        "version": build.samples[0].labels.get("version") if build else None,
        "since": since.isoformat() if since else None,
    }


def _counts(metrics: Mapping[str, Metric]) -> dict[str, int]:
    """The figures that add up, over all sources."""
    return {
        name: int(sum(one.value for one in metrics[name].samples if not one.name.endswith("_created")))
        if name in metrics
        else 0
        for name in COUNTED
    }


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str | Text]]:
    readiness, stats = document["readiness"], document["stats"]
    yield "readiness", _ready(readiness)
    receiver = document["receiver"]
    if receiver["since"]:
        yield "version", f"{receiver['version']}, running for {duration(receiver['since'])}"
    for name, found in readiness["dependencies"].items():
        yield f"  {name}", Text("ok", style="green") if found["ok"] else Text(plain(found["why"]), style="bold red")
    for warning in readiness.get("warnings", ()):
        yield "  warning", Text(plain(warning), style="yellow")
    for one in document["sources"] or ():
        last = f"last message {duration(one['last_message_at'])} ago" if one["last_message_at"] else "no message yet"
        yield (
            f"source {one['source']}",
            f"{last}, {counted(one['open_operations'], 'operation')} open, {one['refused']} refused",
        )
    if stats:
        yield from _states_by_kind(stats)
        yield from _lags(stats)
    yield "counts", ", ".join(f"{name} {count}" for name, count in document["counts"].items())


def _states_by_kind(stats: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    for kind in KINDS:
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
    yield "quarantine", f"{counted(quarantine['callbacks_last_day'], 'callback')} of the last day{last}"


def _ready(readiness: Mapping[str, Any]) -> Text:
    if not readiness["ready"]:
        return Text("not ready: a callback could not be kept", style="bold red")
    return Text("ready, but degraded", style="yellow") if readiness["degraded"] else Text("ready", style="green")


def _states(states: Mapping[str, int], most: float = math.inf) -> Text:
    """Each state in its colour, the most frequent first."""
    text = Text()
    for name, count in sorted(states.items(), key=lambda one: -one[1]):
        more = "+" if count >= most else ""
        text.append(f"{plain(name)} {count}{more}  ", style=colour_of(name) or "")
    return text if text.plain else Text("none")
