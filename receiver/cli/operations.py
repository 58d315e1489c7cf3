"""`esc-receiver operations`: what was asked of ESC and how it goes; with `--wait` until one has ended, for scripts.

The exit status of a wait tells how it ended: 0 succeeded, 1 failed or cancelled, 3 still open when the time was over,
4 nobody has heard of it, 130 interrupted. A receiver that restarts meanwhile, or another behind the same URL, is asked
on.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

import click
import stamina
from rich.text import Text

from receiver.cli import options
from receiver.cli.api_client import (
    ANSWER_TIMEOUT_S,
    PAGE_ITEMS_MAX,
    AskError,
    QueryClient,
    UnansweredError,
    UnknownError,
)
from receiver.cli.lists import Columns, Item, print_list
from receiver.cli.terminal import console, duration, local_time, print_json, state
from receiver.model.entities import OperationState
from receiver.model.sanitize import plain

REQUEST_S_MAX = 30
"""One request waits no longer: proxies and firewalls cut what is silent."""
RETRY_S = 1.0
EXIT = {OperationState.SUCCEEDED: 0, OperationState.FAILED: 1, OperationState.CANCELLED: 1}
STILL_OPEN = 3
UNKNOWN = 4

OPERATIONS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "KIND": lambda item: item["kind"] or "",
    "FIRST SEEN": lambda item: local_time(item["first_seen_at"]),
    "TOOK": lambda item: duration(item["first_seen_at"], item["ended_at"]),
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
@click.option("--source", help="Only this ESC instance; else all.")
@options.tenant
@options.deployment
@click.option("--kind", help="Only what was asked for so: deploy, undeploy, recovery …")
@options.state(OperationState)
@click.option("--since", help="Only what was first seen at this time or later: 2026-01-31T12:00:00Z.")
@click.option("--until", help="Only what was first seen before this time.")
@options.limit
@options.json("Each operation as JSON, one a line.")
@options.reading
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

    Exit status of --wait: 0 succeeded, 1 failed or cancelled, 3 still open, 4 nothing was heard of it, 130 interrupted
    (Ctrl-C). The wait may begin before ESC's first callback has come.

    \b
    Examples:
      esc-receiver operations --state OPEN
      esc-receiver operations --kind deploy --since 2026-01-31T12:00:00Z
      esc-receiver operations --wait d53f0047-2315-466c-b7e3-aa78e0a567e8 --timeout 600 && echo deployed
    """
    if transaction is None:
        print_list(client, "operations", OPERATIONS, limit, as_json=as_json, source=source, order="newest", **filters)
        return
    operation = _waited(client, source, transaction, timeout_s)
    if operation is None:
        where = f"by source {plain(source)}" if source else "by any source"
        click.echo(f"nothing was heard of {plain(transaction)} {where}", err=True)
    elif as_json:
        print_json(operation)
    else:
        console(sys.stdout).print(_line(operation))
    sys.exit(EXIT.get(operation["state"], STILL_OPEN) if operation else UNKNOWN)


def _waited(client: QueryClient, source: str | None, transaction: str, timeout_s: float) -> Item | None:
    """The operation when it has ended or the time is over; None when nobody has heard of it."""
    until_s = time.monotonic() + timeout_s
    operation = _operation(client, source, transaction, 0)  # a receiver that is not there is an error at once
    on = console(sys.stderr)
    with on.status(f"waiting for {plain(transaction)}") if on.is_terminal else nullcontext():
        while (operation is None or operation["ended_at"] is None) and (left_s := until_s - time.monotonic()) > 0:
            for attempt in stamina.retry_context(
                UnansweredError, attempts=None, timeout=left_s, wait_initial=RETRY_S, wait_max=RETRY_S, wait_jitter=0
            ):
                with attempt:
                    operation = _operation(client, source, transaction, until_s - time.monotonic())
    return operation


def _operation(client: QueryClient, source: str | None, transaction: str, wait_s: float) -> Item | None:
    """As it is when it has ended or the wait is over; None while nothing was heard of it."""
    if source is None and (source := _source(client, transaction)) is None:
        time.sleep(min(RETRY_S, max(0.0, wait_s)))
        return None
    # Whole seconds, at least one: less would ask and ask until the time is over.
    wait = max(1, min(int(wait_s), REQUEST_S_MAX)) if wait_s else 0
    try:
        answer: Item = client.get("operations", source, transaction, timeout_s=wait + ANSWER_TIMEOUT_S, wait=wait)
    except UnknownError:
        return None
    return answer


def _source(client: QueryClient, transaction: str) -> str | None:
    """The ESC that has spoken of it. Raises AskError when it is not one alone."""
    items, _ = client.items("operations", PAGE_ITEMS_MAX, transaction_id=transaction)
    if len(items) > 1:
        sources = ", ".join(plain(item["source"]) for item in items)
        raise AskError(f"{plain(transaction)} is an operation of several sources ({sources}): choose one with --source")
    return items[0]["source"] if items else None


def _line(operation: Item) -> Text:
    progress = operation["progress"]
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    message = f" ({operation['status_message']})" if operation["status_message"] else ""
    kind = f" {operation['kind']}" if operation["kind"] else ""
    took = duration(operation["first_seen_at"], operation["ended_at"])
    rest = f"{kind} {operation['transaction_id']}: {progress['alive']} of {progress['expected']} VMs alive{failed}"
    return state(operation["state"]) + Text(plain(f"{rest}, {took}{message}"))
