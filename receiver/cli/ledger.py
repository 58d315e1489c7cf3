"""`esc-receiver callbacks` and `ledger`: what was received, and what it changed."""

from __future__ import annotations

import sys
from typing import Any

import click

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.lists import print_list
from receiver.cli.options import Output
from receiver.cli.output import Columns
from receiver.cli.tables import state
from receiver.cli.terminal import local_time_ms, print_json
from receiver.model.entities import EntityKind
from receiver.model.notification import Outcome

CALLBACKS: Columns = {
    "RECEIVED": lambda item: local_time_ms(item["received_at"]),
    "OUTCOME": lambda item: state(item["outcome"]),
    "SOURCE": lambda item: item["source"],
    "WHAT": lambda item: item["trigger"] or item["family"],
    "DEPLOYMENT": lambda item: item["deployment"] or "",
    "VM": lambda item: item["vm_name"] or "",
    "RECEIPT": lambda item: item["receipt"],
    "BECAUSE": lambda item: item["reason"] or "",
}
TRANSITIONS: Columns = {
    "AT": lambda item: local_time_ms(item["at"]),
    "ENTITY": lambda item: item["entity"],
    "NAME": lambda item: item["name"],
    "FROM": lambda item: item["from_state"],
    "TO": lambda item: state(item["to_state"]),
    "CHANGE": lambda item: item["change"],
    "SOURCE": lambda item: item["source"],
    "RULE": lambda item: item["rule"],
    "BECAUSE": lambda item: item["reason"] or "",
}
NEWEST = {"order": "newest"}
DEAD_LETTERS = [Outcome.MALFORMED, Outcome.UNCLASSIFIED]


@click.command("callbacks")
@click.argument("receipt", required=False)
@click.option(
    "--raw", is_flag=True, help="With RECEIPT: its bytes, to a file or a pipe. Needs a token with the scope raw."
)
@click.option("--dead", is_flag=True, help="Only dead letters: what could not be read or understood.")
@options.source
@options.deployment
@click.option("--vm", "vm_name", help="Only about the VM of this name.")
@click.option("--transaction", "transaction_id", help="Only of this ESC transaction id.")
@click.option(
    "--outcome", multiple=True, type=click.Choice([str(one) for one in Outcome]), help="Only those; may be repeated."
)
@options.since
@options.until
@options.limit
@options.output
@with_client
def callbacks_command(
    *,
    client: SyncEscReceiver,
    receipt: str | None,
    raw: bool,
    dead: bool,
    outcome: tuple[str, ...],
    limit: int,
    output: Output,
    **filters: Any,
) -> None:
    """List callbacks, the newest first; or show one, or its bytes.

    \b
    Examples:
      esc-receiver callbacks --dead --since 1d
      esc-receiver callbacks --vm vm-1 -o csv > vm-1.csv
      esc-receiver callbacks 01a22a07-dea3-72df-a8e0-f82df17851ea
      esc-receiver callbacks 01a22a07-dea3-72df-a8e0-f82df17851ea --raw > body.xml
    """
    if raw and not receipt:
        raise click.UsageError("--raw needs a receipt")
    if receipt and raw:
        _write_raw(client, receipt)
    elif receipt:
        print_json(client.get("callbacks", receipt))
    else:
        filters["outcome"] = [*outcome, *(DEAD_LETTERS if dead else ())]
        print_list(client, "callbacks", CALLBACKS, limit, output, id_field="receipt", unless=NEWEST, **filters)


def _write_raw(client: SyncEscReceiver, receipt: str) -> None:
    if sys.stdout.isatty():
        raise click.UsageError("the bytes of a sender are not shown on a terminal: write them to a file or a pipe")
    sys.stdout.buffer.write(client.raw(receipt))


@click.command("ledger")
@click.option("--entity", type=click.Choice([str(one) for one in EntityKind]), help="Only about these.")
@options.source
@options.tenant
@options.deployment
@click.option("--name", help="Only about the thing of this name.")
@click.option("--operation", help="Only of this ESC transaction id.")
@click.option("--state", help="Only where it came to this state.")
@click.option("--change", help="Only these: the new state or the note, in lower case.")
@options.since
@options.until
@options.limit
@options.output
@with_client
def ledger_command(*, client: SyncEscReceiver, limit: int, output: Output, **filters: Any) -> None:
    """List ledger entries: every change of state and every note, the newest first.

    \b
    Examples:
      esc-receiver ledger --entity vm --name vm-1
      esc-receiver ledger --change error --since 2h -o csv > errors.csv
    """
    print_list(client, "transitions", TRANSITIONS, limit, output, id_field="id", unless=NEWEST, **filters)
