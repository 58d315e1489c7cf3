"""The one callback that ends the work on a resource (docs/esc-callbacks.md#3.3).

Tenants, networks, subnets, images, flavors and routers are written by the simulator; the fields of the other kinds are
those of their models, and their roots are guesses. This file must not know requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from esc_lab.emulator.codec import nodes
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.world import Thing
from esc_lab.simulator.esc_messages import Message, Node, headers_of, render
from esc_lab.simulator.fleet import Tenant
from esc_lab.simulator.lives import resource_operation
from esc_lab.simulator.resource_scripts import KINDS, Action, Resource, Values, make_resource, resource_message
from esc_lab.simulator.script_runner import Operation

TAKES_S = 2.0, 12.0
"""How long ESC works on a resource, from and to; invented, but of the right order of magnitude."""


def defaults(kind: str, tenant: Tenant, thing_id: str, rng: Random) -> dict[str, Any]:
    """What the VIM adds to what the client says: ids, and values of fields that the callback always has."""
    if kind not in KINDS:
        return {}
    made = make_resource(kind, tenant, thing_id, rng).values
    return {name: value for name, value in made.items() if isinstance(value, str)} | _SHAPED.get(kind, {})


_SHAPED: Mapping[str, dict[str, Any]] = {"router": {"interface": []}}


def as_resource(thing: Thing) -> Resource:
    """As the simulator has it."""
    values: dict[str, Values] = {}
    for name, value in nodes(thing.values):
        values[name] = _joined(values[name], value) if name in values else value
    for name in MODELS[thing.kind].shape:
        values.setdefault(name, () if isinstance(MODELS[thing.kind].shape[name], list) else "")
    return Resource(thing.kind, thing.id, values)


def ending(
    thing: Thing, action: Action, transaction: str, *, style: str, ok: bool, source: str, rng: Random
) -> Operation:
    """Work on a resource, and the callback that ends it."""
    resource = as_resource(thing)
    if thing.kind in KINDS:
        message = resource_message(resource, action, transaction, style, ok=ok)
    else:
        message = _guessed(thing, action, transaction, style, ok=ok)
    before = {"CREATED": frozenset({"CREATED", "UPDATED"}), "ERROR": frozenset({"ERROR"})}.get(thing.state, frozenset())
    message = replace(message, pause_s=rng.uniform(*TAKES_S))
    return resource_operation(resource, action, source, before, transaction, message)


def _guessed(thing: Thing, action: Action, transaction: str, style: str, *, ok: bool) -> Message:
    says = f"{action}_{thing.kind.upper()}"
    word = {"CREATE": "creation", "UPDATE": "update", "DELETE": "deletion"}[action]
    text = f"{thing.kind.replace('_', ' ').capitalize()} {word} {'completed successfully' if ok else 'failed'}"
    fields = sorted({**thing.values, "event_type": says}.items())
    headers = headers_of(style, transaction, text, ok=ok)
    return Message("callback", thing.kind, says, ok, headers, render(thing.kind, nodes(dict(fields))))


def _joined(there: Values, more: str | list[Node]) -> Values:
    if isinstance(more, str):
        return there
    return (*there, more) if isinstance(there, tuple) else (there, more) if isinstance(there, list) else more
