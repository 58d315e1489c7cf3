"""`esc-receiver deployments`, `vms`, `resources` and `sources`: what is there now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from esc_receiver_client import SyncEscReceiver
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.options import Output
from receiver.cli.output import Columns, print_items, say_more, say_nothing_found
from receiver.cli.tables import state
from receiver.cli.terminal import local_time
from receiver.model.entities import DeploymentState, ResourceState, VmState
from receiver.model.sanitize import plain

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
    "HOST": lambda item: item.get("host_name") or "",
    "NOTES": lambda item: _notes(item, recovery_open="in recovery", needs_manual_recovery="needs manual recovery"),
}
RESOURCES: Columns = {
    "STATE": lambda item: state(item["state"]),
    "SINCE": lambda item: local_time(item["changed_at"]),
    "SOURCE": lambda item: item["source"],
    "KIND": lambda item: item["kind"],
    "RESOURCE": lambda item: item["resource_id"],
    "NAME": lambda item: item["name"] or "",
    "TENANT": lambda item: item["tenant"] or "",
    "DEPLOYMENT": lambda item: item["deployment"] or "",
}
SOURCES: Columns = {
    "STATE": lambda item: state(item["state"]),
    "SOURCE": lambda item: item["source"],
    "LAST MESSAGE": lambda item: local_time(item["last_message_at"]) or "none yet",
    "OPEN": lambda item: str(item["open_operations"]),
    "OVERDUE": lambda item: str(item["overdue_operations"]),
    "REFUSED": lambda item: str(item["refused"]),
    "QUARANTINE": lambda item: str(item["quarantined"]),
    "NOTES": lambda item: item["reason"] or _unconfigured(item) or item["refused_because"] or "",
}
CONSUMERS: Columns = {
    "CONSUMER": lambda item: item["name"],
    "READING": lambda item: "yes" if item["reading"] else "no",
    "BEHIND": lambda item: str(item["pending"]),
    "OPEN": lambda item: str(item["unacknowledged"]),
    "AGAIN": lambda item: str(item["redelivered"]),
    "LAST ACK": lambda item: local_time(item["last_acknowledged_at"]) or "none yet",
    "SUBJECTS": lambda item: " ".join(item["subjects"]) or "all",
    "NOTES": lambda item: "" if item["durable"] else "goes with its client",
}
GONE = (DeploymentState.UNDEPLOYED, VmState.UNDEPLOYED)


@click.command("deployments")
@options.source
@options.tenant
@options.deployment
@options.state(DeploymentState)
@options.search
@options.since
@options.until
@options.gone
@click.option("--all", "earlier", is_flag=True, help="Also earlier incarnations of the same ids.")
@options.at
@options.limit
@options.output
@with_client
def deployments_command(
    *, client: SyncEscReceiver, earlier: bool, gone: bool, limit: int, output: Output, **filters: Any
) -> None:
    """List deployments as they are now, or were.

    \b
    Examples:
      esc-receiver deployments --state ERROR
      esc-receiver deployments --source lab1 --since 2h
      esc-receiver deployments --at 2026-01-31T12:00:00Z
      esc-receiver deployments -o json | jq -r .deployment
    """
    unless = {} if earlier else {"current": "true"} | _present(DeploymentState, gone=gone)
    print_list(
        client, "deployments", DEPLOYMENTS, limit, output, id_field="internal_deployment_id", unless=unless, **filters
    )


@click.command("vms")
@options.source
@options.tenant
@options.deployment
@click.option("--name", "vm_name", help="Only those of this name.")
@options.state(VmState)
@options.search
@options.since
@options.until
@options.gone
@options.at
@options.limit
@options.output
@with_client
def vms_command(*, client: SyncEscReceiver, gone: bool, limit: int, output: Output, **filters: Any) -> None:
    """List VMs as they are now, or were.

    \b
    Examples:
      esc-receiver vms --state ERROR
      esc-receiver vms --deployment dep-1 --limit 1000 --gone
      esc-receiver vms --search fw-1 --since 30m
      esc-receiver vms --state ERROR --at 2h
      esc-receiver vms --url https://esc.example/esc/ -o name
    """
    print_list(client, "vms", VMS, limit, output, id_field="vm_name", unless=_present(VmState, gone=gone), **filters)


@click.command("resources")
@options.source
@options.tenant
@options.deployment
@click.option("--kind", help="Only these: tenant, network, subnet, image, flavor, volume …")
@options.state(ResourceState)
@options.search
@options.since
@options.until
@options.limit
@options.output
@with_client
def resources_command(*, client: SyncEscReceiver, limit: int, output: Output, **filters: Any) -> None:
    """List what ESC manages beside deployments: tenants, networks, images …

    \b
    Examples:
      esc-receiver resources --kind network
      esc-receiver resources --state ERROR -o wide
    """
    print_list(client, "resources", RESOURCES, limit, output, id_field="resource_id", **filters)


@click.command("sources")
@options.output
@with_client
def sources_command(*, client: SyncEscReceiver, output: Output) -> None:
    """List the ESC instances: in or out of service, heard of when, what of theirs is open or was refused.

    \b
    Examples:
      esc-receiver sources
      esc-receiver sources -o csv > sources.csv
    """
    told = client.get("sources")
    print_items(told["items"], SOURCES, "source", output)
    for one in told.get("elsewhere", ()):
        place = f" ({one['url']})" if one["url"] else ""
        click.echo(plain(f"{one['source']} is in cell {one['cell']}{place}"), err=True)


@click.command("consumers")
@options.output
@with_client
def consumers_command(*, client: SyncEscReceiver, output: Output) -> None:
    """List who reads the feed at NATS, and how far behind each is.

    \b
    BEHIND has yet to be delivered, OPEN is not acknowledged, AGAIN of that was delivered more than once.
    \b
    Examples:
      esc-receiver consumers
      esc-receiver consumers -o json | jq 'select(.pending > 1000) | .name'
    """
    print_items(client.get("consumers")["items"], CONSUMERS, "name", output)


def print_list(
    client: SyncEscReceiver,
    path: str,
    columns: Columns,
    limit: int,
    output: Output,
    *,
    id_field: str,
    unless: Mapping[str, Any] | None = None,
    **filters: Any,
) -> None:
    """Print a list, and on standard error whether there is more of it, or what was asked when there is nothing.

    `unless` holds what is asked where the filters do not say otherwise.
    """
    asked = {key: value for key, value in filters.items() if value not in (None, ())}
    found = list(client.all_items(path, limit + 1, **{**(unless or {}), **asked}))
    items, more = found[:limit], len(found) > limit
    print_items(items, columns, id_field, output)
    if not items and output in (Output.TABLE, Output.WIDE):
        say_nothing_found(path, asked)
    if more:
        say_more(limit)


def _present(states: type[DeploymentState | VmState], *, gone: bool) -> dict[str, Any]:
    """What asks for all that is there, unless what is gone is wanted too."""
    return {} if gone else {"state": [one for one in states if one not in GONE]}


def _unconfigured(source: Mapping[str, Any]) -> str:
    if source["configured"]:
        return ""
    return "not configured: a mistyped URL?" if source["quarantined"] else "not configured any more"


def _notes(item: Mapping[str, Any], **words: str) -> str:
    return ", ".join(word for name, word in words.items() if item.get(name))
