"""`esc-receiver reconcile`: a running receiver asks ESC what its callbacks did not tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
import orjson
from rich.console import Console

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.output import counted
from receiver.cli.progress_bar import progress_bar
from receiver.model.sanitize import plain

CANNOT_ASK = 2


@click.command("reconcile")
@options.source
@click.option("--deployment", help="Only this deployment (internal id) of --source.")
@click.option("--dry-run", is_flag=True, help="Tell what would change and why, and change nothing.")
@click.option("--yes", is_flag=True, help="Believe ESC however many deployments it does not have any more.")
@options.json("One JSON object a line, as the receiver tells it; the last one has the exit status.")
@with_client
def reconcile_command(*, client: SyncEscReceiver, as_json: bool, **order: Any) -> None:
    """Ask ESC for its deployments, and mend what callbacks did not tell (docs/reconcile.md).

    Exit status 0: nothing to mend; 1: something was mended, or would be with --dry-run; 2: an ESC could not be asked.

    \b
    Examples:
      esc-receiver reconcile --dry-run
      esc-receiver reconcile --source lab1 --deployment dep-1
    """
    document = {name: value for name, value in order.items() if value}
    status = CANNOT_ASK
    with progress_bar(Console(stderr=True)) as bar:
        for event in client.post_lines("reconcile", document=document):
            if event["event"] == "progress":
                bar(event["source"], event["done"], event["total"])
            status = event.get("status", status)
            if as_json:
                click.echo(plain(orjson.dumps(event).decode()))
            elif text := _text(event):
                click.echo(plain(text), err=event["event"] == "trouble")
    sys.exit(status)


def _text(event: dict[str, Any]) -> str:
    """A line for people; "" for what only moves the bar."""
    line = _LINES.get(event["event"])
    return line(event) if line else ""


def _change(event: dict[str, Any]) -> str:
    within = f"{event['deployment']}/" if event["entity"] == "vm" else ""
    place, moved = f"{event['source']}/{within}{event['name']}", f"{event['from_state']} → {event['to_state']}"
    return f"{event['entity']}  {place}  {moved}  {event['change']}  {event['reason']} ({event['rule']})"


def _result(event: dict[str, Any]) -> str:
    would = "would be " if event["dry_run"] else ""
    changes = f"{counted(event['changes'], 'ledger entry', 'ledger entries')} {would}appended"
    told = f"{counted(event['deployments'], 'deployment')}, {changes}"
    return f"{event['source']}: {told}"


_LINES: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "change": _change,
    "confirming": lambda event: (
        f"{event['source']}: {event['missing']} deployments are missing; asked again in {event['after_s']:g} s"
    ),
    "missing": lambda event: (
        f"{event['source']}: {event['missing']} deployments are missing, more than {event['allowed']}: none goes. "
        "If they are gone: --yes"
    ),
    "left-out": lambda event: f"{event['source']}: left alone: {event['reason']}",
    "trouble": lambda event: f"{event['source']}: {event['reason']}",
    "result": _result,
}
