"""`esc-receiver webhooks`: how webhooks are; enables one, sends it again what it had, tries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.options import Output
from receiver.cli.output import Columns, print_items, say_nothing_found
from receiver.cli.tables import state
from receiver.cli.terminal import local_time

WEBHOOKS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "SINCE": lambda item: local_time(item["since"]) if item["since"] else "",
    "WEBHOOK": lambda item: item["name"],
    "PENDING": lambda item: "unknown" if item["pending"] is None else str(item["pending"]),
    "CURSOR": lambda item: "none yet" if item["cursor_sequence"] is None else str(item["cursor_sequence"]),
    "LAST TAKEN": lambda item: local_time(item["last_delivered_at"]) or "none yet",
    "URL": lambda item: item["url"],
    "NOTES": lambda item: item["reason"] or "",
}
TESTS: Columns = {
    "WEBHOOK ID": lambda item: item["webhook_id"],
    "TAKEN": lambda item: "yes" if item["delivered"] else "no",
    "SECONDS": lambda item: f"{item['took_s']:.3f}",
    "ANSWER": lambda item: item["said"],
}
NOT_TAKEN = 1
"""The exit status of a test that the webhook did not take."""


@click.group("webhooks", invoke_without_command=True)
@options.output
@with_client
def webhooks_command(*, client: SyncEscReceiver, output: Output) -> None:
    """List where events are posted and how it goes, or do something about one.

    \b
    Examples:
      esc-receiver webhooks
      esc-receiver webhooks test orders
      esc-receiver webhooks enable orders
      esc-receiver webhooks resend orders --from-seq 4711
    """
    if click.get_current_context().invoked_subcommand is None:
        _list(client, output)


@webhooks_command.command("list")
@options.output
@with_client
def list_command(*, client: SyncEscReceiver, output: Output) -> None:
    """List webhooks.

    \b
    PENDING are events that it has yet to take; everything in the stream up to CURSOR was taken.
    """
    _list(client, output)


@webhooks_command.command("enable")
@click.argument("name")
@options.output
@with_client
def enable_command(*, client: SyncEscReceiver, name: str, output: Output) -> None:
    """Deliver again to a webhook, from where it stood."""
    _print([client.post("webhooks", name, "enable", document={})], output)


@webhooks_command.command("resend")
@click.argument("name")
@click.option(
    "--from-seq", "sequence", type=click.IntRange(1), required=True, help="Sequence of the stream to begin at."
)
@options.output
@with_client
def resend_command(*, client: SyncEscReceiver, name: str, sequence: int, output: Output) -> None:
    """Deliver to a webhook from a sequence of the stream on, with the same ids as before; also enables it.

    \b
    It may lie before the webhook's cursor, to send again, or behind it, to pass over what is never taken.
    """
    _print([client.post("webhooks", name, "resend", document={"from_sequence": sequence})], output)


@webhooks_command.command("test")
@click.argument("name")
@options.output
@with_client
def test_command(*, client: SyncEscReceiver, name: str, output: Output) -> None:
    """Post a test event to a webhook, once; exit status 1 when it is not taken."""
    tried = client.post("webhooks", name, "test", document={})
    print_items([tried], TESTS, "webhook_id", output)
    if not tried["delivered"]:
        click.get_current_context().exit(NOT_TAKEN)


def _list(client: SyncEscReceiver, output: Output) -> None:
    items = client.get("webhooks")["items"]
    _print(items, output)
    if not items and output in (Output.TABLE, Output.WIDE):
        say_nothing_found("webhooks", {})


def _print(items: list[Mapping[str, Any]], output: Output) -> None:
    print_items(items, WEBHOOKS, "name", output)
