"""`esc-receiver quarantine`: dead letters by source and reason; acknowledges them."""

from __future__ import annotations

from typing import Any

import click

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.options import Output
from receiver.cli.output import Columns, print_items, say_nothing_found
from receiver.cli.terminal import local_time
from receiver.model.notification import Outcome

GROUPS: Columns = {
    "WAITING": lambda group: str(group["unacknowledged"]),
    "ALL": lambda group: str(group["callbacks"]),
    "SOURCE": lambda group: group["source"],
    "OUTCOME": lambda group: group["outcome"],
    "RULE": lambda group: group["rule"],
    "LATEST": lambda group: local_time(group["latest_at"]),
    "REASON": lambda group: group["reason"],
}


@click.command("quarantine")
@click.option("--source", help="Only of this ESC instance, or what came under this name.")
@click.option(
    "--outcome", type=click.Choice([Outcome.MALFORMED.value, Outcome.UNCLASSIFIED.value]), help="Only of this."
)
@click.option("--rule", help="Only by this rule; to acknowledge.")
@click.option("--reason", help="Only for this reason; to acknowledge.")
@click.option("--receipt", "receipts", multiple=True, help="Only this callback; may be repeated; to acknowledge.")
@options.since
@options.until
@click.option("--acknowledge", "note", metavar="NOTE", help="Acknowledge them, with this note.")
@click.option("--by", help="Who acknowledges; else the address is kept.")
@options.output
@with_client
def quarantine_command(
    *,
    client: SyncEscReceiver,
    note: str | None,
    by: str | None,
    receipts: tuple[str, ...],
    output: Output,
    **chosen: Any,
) -> None:
    """List dead letters by source and reason, or acknowledge them; `replay --quarantine` applies them again.

    \b
    Examples:
      esc-receiver quarantine
      esc-receiver quarantine --source lab1 --rule unclassified --acknowledge "ESC 6.1, ticket 4711" --by anna
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    if note is not None:
        named = {"receipts": list(receipts)} if receipts else {}
        told = {**given, **named, "note": note, **({"by": by} if by else {})}
        click.echo(f"{client.post('quarantine', 'acknowledge', document=told)['acknowledged']} acknowledged")
        return
    if receipts or by or {"rule", "reason", "since", "until"} & given.keys():
        raise click.UsageError("--rule, --reason, --receipt, --since, --until and --by go with --acknowledge")
    groups = client.get("quarantine", **given)["items"]
    print_items(groups, GROUPS, "latest_receipt", output)
    if not groups and output in (Output.TABLE, Output.WIDE):
        say_nothing_found("quarantine", given)
