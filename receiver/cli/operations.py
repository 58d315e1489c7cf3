"""`esc-receiver operations`: what was asked of ESC and how it goes; with `--wait` until one has ended, for scripts.

The exit status of a wait tells how it ended: 0 succeeded, 1 failed or cancelled, 3 still open when the time was over.
A receiver that restarts meanwhile, or another behind the same URL, is asked on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from receiver.cli.api_client import ANSWER_TIMEOUT_S, QueryClient, UnansweredError, UnknownError
from receiver.cli.lists import Columns, Item, shown
from receiver.cli.reading_options import (
    deployment_option,
    json_option,
    limit_option,
    print_json,
    reading,
    state_option,
    tenant_option,
)
from receiver.cli.terminal import at, console, plain, span, state
from receiver.model.entities import OperationState

ASKED_S_MAX = 30
"""One request waits no longer: proxies and firewalls cut what is silent."""
AGAIN_S = 1.0
EXIT = {OperationState.SUCCEEDED: 0, OperationState.FAILED: 1, OperationState.CANCELLED: 1}
STILL_OPEN = 3

OPERATIONS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "KIND": lambda item: item["kind"] or "",
    "FIRST SEEN": lambda item: at(item["first_seen_at"]),
    "TOOK": lambda item: span(_took_s(item)),
    "VMS ALIVE": lambda item: f"{item['vms_alive']}/{item['vms_seen']}",
    "FAILED": lambda item: Text(str(item["vms_failed"]), style="bold red" if item["vms_failed"] else ""),
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
@click.option("--source", help="Only this ESC instance. With --wait: the one that was asked; else `default`.")
@tenant_option
@deployment_option
@click.option("--kind", help="Only what was asked for so: deploy, undeploy, recovery …")
@state_option(OperationState)
@click.option("--since", help="Only what was first seen at this time or later: 2026-01-31T12:00:00Z.")
@click.option("--until", help="Only what was first seen before this time.")
@limit_option
@json_option("Each operation as JSON, one a line.")
@reading
def operations_command(
    *,
    client: QueryClient,
    transaction: str | None,
    timeout_s: float,
    source: str | None,
    limit: int,
    as_json: bool,
    **filters: Any,
) -> None:
    """List operations, the newest first; or wait for one to end.

    Exit status of --wait: 0 succeeded, 1 failed or cancelled, 3 still open. The wait may begin before ESC's first
    callback has come.

    \b
    Examples:
      esc-receiver operations --state OPEN
      esc-receiver operations --kind deploy --since 2026-01-31T12:00:00Z
      esc-receiver operations --wait d53f0047-2315-466c-b7e3-aa78e0a567e8 --timeout 600 && echo deployed
    """
    if transaction is None:
        shown(client, "operations", OPERATIONS, limit, as_json=as_json, source=source, order="newest", **filters)
        return
    operation = _waited(client, source or "default", transaction, timeout_s)
    if operation is None:
        click.echo(f"nothing was heard of {plain(transaction)}", err=True)
    elif as_json:
        print_json(operation)
    else:
        console(sys.stdout).print(_line(operation))
    sys.exit(EXIT.get(operation["state"], STILL_OPEN) if operation else STILL_OPEN)


def _waited(client: QueryClient, source: str, transaction: str, timeout_s: float) -> Mapping[str, Any] | None:
    """The operation when it has ended or the time is over; None when nobody has heard of it."""
    until_s = time.monotonic() + timeout_s
    operation = _asked(client, source, transaction, 0)  # a receiver that is not there is told at once
    on = console(sys.stderr)
    waiting = on.status(f"waiting for {plain(transaction)}") if on.is_terminal else nullcontext()
    with waiting:
        while (operation is None or operation["ended_at"] is None) and (left_s := until_s - time.monotonic()) > 0:
            try:
                operation = _asked(client, source, transaction, min(left_s, ASKED_S_MAX))
            except UnansweredError:
                if until_s - time.monotonic() < AGAIN_S:
                    raise
                time.sleep(AGAIN_S)
    return operation


def _asked(client: QueryClient, source: str, transaction: str, wait_s: float) -> Mapping[str, Any] | None:
    # Whole seconds, at least one: less would ask and ask until the time is over.
    wait = max(1, int(wait_s)) if wait_s else 0
    try:
        answer: Mapping[str, Any] = client.get(
            "operations", source, transaction, timeout_s=wait + ANSWER_TIMEOUT_S, wait=wait
        )
    except UnknownError:
        return None
    return answer


def _line(operation: Item) -> Text:
    progress = operation["progress"]
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    told = f" ({operation['status_message']})" if operation["status_message"] else ""
    kind = f" {operation['kind']}" if operation["kind"] else ""
    rest = f"{kind} {operation['transaction_id']}: {progress['alive']} of {progress['expected']} VMs alive{failed}"
    return state(operation["state"]) + Text(plain(f"{rest}, {span(_took_s(operation))}{told}"))


def _took_s(operation: Item) -> float:
    ended = operation["ended_at"]
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    return (until - datetime.fromisoformat(operation["first_seen_at"])).total_seconds()
