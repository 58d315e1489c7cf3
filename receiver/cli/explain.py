"""`esc-receiver explain VM`: why a VM is in its state, step by step, each with its time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.text import Text

from esc_receiver_client import ApiError, SyncEscReceiver, UnknownError
from receiver.cli import options
from receiver.cli.api_client import with_client
from receiver.cli.tables import console, print_table, state
from receiver.cli.terminal import local_time_ms, print_json
from receiver.model.sanitize import plain

Story = Mapping[str, Any]
Step = tuple[str, str, str | Text]
VMS_MAX = 10
SEARCHED_MAX = 1_000


@click.command("explain")
@click.argument("vm")
@click.option("--source", help="The ESC instance, where several have a VM of this name.")
@click.option("--deployment", help="Its deployment (internal id), where several have a VM of this name.")
@options.json("All that is known, as JSON.")
@with_client
def explain_command(
    *, client: SyncEscReceiver, vm: str, source: str | None, deployment: str | None, as_json: bool
) -> None:
    """Say why a VM is in its state, and what is expected next. VM is its name, the beginning of it, or its uuid.

    \b
    Examples:
      esc-receiver explain vm-1
      esc-receiver explain vm-1 --source lab1 --deployment dep-1
      esc-receiver explain vm-1 --json | jq .expected
    """
    source, name, deployment = _found(client, vm, source, deployment)
    story = client.get("explain", source, name, deployment=deployment)
    if as_json:
        print_json(story)
        return
    on = console(sys.stdout)
    on.print(Text(plain(f"{story['vm']['vm_name']} of {story['vm']['deployment']} is ")) + state(story["state"]))
    print_table(("WHEN", "WHAT", ""), _steps(story), folded=True)
    on.print()
    print_table(("HISTORY", "STATE", "BY", "BECAUSE"), (_entry(entry) for entry in story["history"]), folded=True)


def _found(client: SyncEscReceiver, vm: str, source: str | None, deployment: str | None) -> tuple[str, str, str | None]:
    """Source, name and deployment of the VM that is meant. Raises ApiError when there are several, or none."""
    asked = {"source": source, "deployment": deployment}
    exact = list(client.all_items("vms", VMS_MAX, vm_name=vm, **asked))
    similar = exact or [
        item
        for item in client.all_items("vms", SEARCHED_MAX, q=vm, **asked)
        if item["vm_name"].startswith(vm) or item["vm_uuid"] == vm
    ]
    found = sorted({(item["source"], item["vm_name"]) for item in similar})
    if not found:
        raise UnknownError("no VM is known by this name, this beginning of a name, or this uuid")
    if len({name for _, name in found}) > 1:
        names = ", ".join(plain(name) for _, name in found[:VMS_MAX])
        raise ApiError(f"several VMs are called so; write more of the name: {names}")
    if len(found) > 1:
        sources = ", ".join(plain(one) for one, _ in found)
        raise ApiError(f"several ESC instances have a VM of this name: choose with --source {sources}")
    return *found[0], deployment


def _steps(story: Story) -> Iterator[Step]:
    if callback := story["callback"]:
        what = f"{callback['trigger'] or callback['family']}, {callback['outcome']}, receipt {callback['receipt']}"
        yield local_time_ms(callback["received_at"]), "callback", what
    if cause := story["cause"]:
        yield local_time_ms(cause["at"]), "rule", f"{cause['rule']}: {cause['reason']}"
    else:
        yield "", "rule", "the ledger entry that says why is past its retention"
    if event := story.get("event"):  # an earlier receiver does not say
        yield "", "event", ", ".join(f"{name} {value}" for name, value in event.items())
    if previous := story["previous"]:
        yield local_time_ms(previous["since"]), "before", _because(previous)
    if operation := story["operation"]:
        what = f"{operation['kind']} {operation['transaction_id']} is {operation['state']}"
        yield local_time_ms(operation["last_seen_at"]), "operation", what
    yield local_time_ms(story["expected"]["by"]), "next, by then", _expected(story["expected"])
    if published := story["published"]:
        yield local_time_ms(published.get("at")), "published", _published(published)


def _because(previous: Mapping[str, Any]) -> str:
    why = f": {previous['reason']} ({previous['rule']})" if previous["rule"] else ""
    return f"{previous['state']}{why}"


def _expected(expected: Mapping[str, Any]) -> str:
    messages = [f"{one['trigger']} → {one['state'] or 'no change'}" for one in expected["messages"]]
    following = ", ".join(messages) or expected["rests"] or "nothing"
    ending = " or ".join(expected["of_the_operation"])
    return f"{following}; {ending} ends its operation" if ending else following


def _published(published: Mapping[str, Any]) -> str:
    where = {True: "in the feed", False: "not yet: it waits in the outbox", None: "not known"}[published["published"]]
    sequence = published.get("sequence")
    place = f"stream {published['stream']}, sequence {sequence}" if sequence else f"stream {published['stream']}"
    return f"{where}, {place}" if published["published"] else where


def _entry(entry: Mapping[str, Any]) -> tuple[str | Text, ...]:
    return local_time_ms(entry["at"]), state(entry["to_state"]), entry["trigger"], entry["reason"]
