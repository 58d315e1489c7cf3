"""`esc-receiver deployments` and `esc-receiver vms`: what is now, as a table or as JSON, one item a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.text import Text

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.terminal import local_time, print_json, print_table, state
from receiver.model.entities import DeploymentState, VmState

Item = Mapping[str, Any]
Columns = Mapping[str, Callable[[Item], str | Text]]

DEPLOYMENTS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "SINCE": lambda item: local_time(item["changed_at"]),
    "SOURCE": lambda item: item["source"],
    "TENANT": lambda item: item["tenant"] or "",
    "DEPLOYMENT": lambda item: item["internal_deployment_id"],
    "INCARNATION": lambda item: str(item["incarnation"]),
    "NAME": lambda item: item["deployment_name"] or item["external_deployment_id"] or "",
    "NOTES": lambda item: _notes(item, degraded="degraded", vim_leak_suspected="may have left something in the VIM"),
}
VMS: Columns = {
    "STATE": lambda item: state(item["state"]),
    "SINCE": lambda item: local_time(item["changed_at"]),
    "SOURCE": lambda item: item["source"],
    "DEPLOYMENT": lambda item: item["deployment"],
    "VM": lambda item: item["vm_name"],
    "HOST": lambda item: item["host_name"] or "",
    "NOTES": lambda item: _notes(item, recovery_open="in recovery", needs_manual_recovery="needs manual recovery"),
}


@click.command("deployments")
@options.source
@options.tenant
@options.deployment
@options.state(DeploymentState)
@options.since
@options.until
@click.option("--all", "earlier", is_flag=True, help="Also earlier incarnations of the same ids.")
@options.limit
@options.json("Each deployment as JSON, one a line.")
@options.reading
def deployments_command(*, client: SyncEscReceiver, earlier: bool, limit: int, as_json: bool, **filters: Any) -> None:
    """List deployments as they are now.

    \b
    Examples:
      esc-receiver deployments --state ERROR
      esc-receiver deployments --source lab1 --since 2026-01-31T12:00:00Z
      esc-receiver deployments --json | jq -r .internal_deployment_id
    """
    current = None if earlier else "true"
    print_list(client, "deployments", DEPLOYMENTS, limit, as_json=as_json, current=current, **filters)


@click.command("vms")
@options.source
@options.tenant
@options.deployment
@click.option("--name", "vm_name", help="Only those of this name.")
@options.state(VmState)
@options.since
@options.until
@options.limit
@options.json("Each VM as JSON, one a line.")
@options.reading
def vms_command(*, client: SyncEscReceiver, limit: int, as_json: bool, **filters: Any) -> None:
    """List VMs as they are now.

    \b
    Examples:
      esc-receiver vms --state ERROR
      esc-receiver vms --deployment dep-1 --limit 1000
      esc-receiver vms --url https://esc.example/esc/ --json | jq -r .vm_name
    """
    print_list(client, "vms", VMS, limit, as_json=as_json, **filters)


def print_list(
    client: SyncEscReceiver, path: str, columns: Columns, limit: int, *, as_json: bool, **filters: Any
) -> None:
    """Print a list, and on standard error whether there is more of it."""
    found = list(client.all_items(path, limit + 1, **filters))
    items, more = found[:limit], len(found) > limit
    if as_json:
        for item in items:
            print_json(item)
    elif items:
        print_table(columns, ([cell(item) for cell in columns.values()] for item in items))
    else:
        click.echo("there is nothing of this kind", err=True)
    if more:
        click.echo(f"there are more than {limit}: see --limit", err=True)


def _notes(item: Item, **words: str) -> str:
    return ", ".join(word for name, word in words.items() if item[name])
