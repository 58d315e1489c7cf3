"""`esc-receiver operations`: what was asked of ESC and how it goes; with `--wait` until one has ended, for scripts.

The exit status of a wait tells how it ended: 0 succeeded, 1 failed or cancelled, 3 still open when the time was over,
4 nobody has heard of it, 130 interrupted. A receiver that restarts meanwhile, or another behind the same URL, is asked
on.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import click
from rich.text import Text

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.lists import print_list
from receiver.cli.options import Output
from receiver.cli.output import Columns, Item
from receiver.cli.tables import console, state
from receiver.cli.terminal import duration, local_time, print_json
from receiver.model.entities import OperationState
from receiver.model.sanitize import plain

EXIT = {OperationState.SUCCEEDED: 0, OperationState.FAILED: 1, OperationState.CANCELLED: 1}
STILL_OPEN = 3
UNKNOWN = 4

OPERATIONS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "KIND": lambda item: item["kind"] or "",
    "FIRST SEEN": lambda item: local_time(item["first_seen_at"]),
    "TOOK": lambda item: duration(item["first_seen_at"], item["ended_at"]),
    "VMS DONE": lambda item: f"{_done(item)}/{item['vms_seen']}" if "vms_seen" in item else "",
    "FAILED": lambda item: Text(str(item.get("vms_failed", "")), style="bold red" if item.get("vms_failed") else ""),
    "SOURCE": lambda item: item["source"],
    "DEPLOYMENT": lambda item: item["deployment"] or "",
    "TRANSACTION": lambda item: item["transaction_id"],
}


@click.command("operations")
@click.option("--wait", "transaction", metavar="TXN", help="Wait until the operation of this ESC transaction id ends.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="With --wait: seconds to wait; 0 only looks.",
)
@click.option("--source", help="Only this ESC instance; else all.")
@options.tenant
@options.deployment
@click.option("--kind", help="Only what was asked for so: deploy, undeploy, recovery …")
@options.state(OperationState)
@click.option("--ref", help="Only those of this reference of the caller's (`?ref=` of the callback URL).")
@options.search
@options.since
@options.until
@options.at
@options.limit
@options.output
@with_client
def operations_command(
    *,
    client: SyncEscReceiver,
    transaction: str | None,
    timeout_s: float,
    source: str | None,
    at: str | None,
    limit: int,
    output: Output,
    **filters: Any,
) -> None:
    """List operations, the newest first; or wait for one to end.

    Exit status of --wait: 0 succeeded, 1 failed or cancelled, 3 still open, 4 nothing was heard of it, 130 interrupted
    (Ctrl-C). The wait may begin before ESC's first callback has come.

    \b
    Examples:
      esc-receiver operations --state OPEN
      esc-receiver operations --kind deploy --since 2026-01-31T12:00:00Z
      esc-receiver operations --state OPEN --at 90m
      esc-receiver operations --wait d53f0047-2315-466c-b7e3-aa78e0a567e8 --timeout 600 && echo deployed
    """
    if transaction is None:
        columns = OPERATIONS if at is None else {**OPERATIONS, "TOOK": lambda item: _took(item, at)}
        print_list(
            client, "operations", columns, limit, output, id_field="transaction_id", unless={"order": "newest"},
            source=source, at=at, **filters,
        )  # fmt: skip
        return
    if at:
        raise click.UsageError("--at tells of the past, in which there is nothing to --wait for")
    operation = _waited(client, source, transaction, timeout_s)
    if operation is None:
        where = f"by source {plain(source)}" if source else "by any source"
        click.echo(f"nothing was heard of {plain(transaction)} {where}", err=True)
    elif output is Output.JSON:
        print_json(operation)
    else:
        console(sys.stdout).print(_line(operation))
    sys.exit(EXIT.get(operation["state"], STILL_OPEN) if operation else UNKNOWN)


def _done(operation: Item) -> int:
    """VMs with which nothing is left to do: those of a success, told alive or not, else those that are alive."""
    seen, alive = operation["vms_seen"], operation["vms_alive"]
    failing = max(0, min(operation["vms_failed"], seen - alive))
    return int(seen - failing if operation["state"] == OperationState.SUCCEEDED else alive)


def _took(item: Item, until: str) -> str:
    return duration(item["first_seen_at"], item["ended_at"] or until)


def _waited(client: SyncEscReceiver, source: str | None, transaction: str, timeout_s: float) -> Item | None:
    """The operation when it has ended or the time is over; None when nobody has heard of it."""
    on = console(sys.stderr)
    with on.status(f"waiting for {plain(transaction)}") if on.is_terminal else nullcontext():
        found = client.wait(source, transaction, timeout_s)
    return found.model_dump(mode="json", exclude_unset=True) if found else None


def _line(operation: Item) -> Text:
    progress = operation["progress"]
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    message = f" ({operation['status_message']})" if operation["status_message"] else ""
    kind = f" {operation['kind']}" if operation["kind"] else ""
    took = duration(operation["first_seen_at"], operation["ended_at"])
    asked = ", as ESC said when it was asked" if operation.get("inferred") else ""
    rest = f"{kind} {operation['transaction_id']}: {_done(operation)} of {progress['expected']} VMs done{failed}{asked}"
    return state(operation["state"]) + Text(plain(f"{rest}, {took}{message}"))
