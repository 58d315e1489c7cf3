"""Chapter 17: dynamic mappings, actions and metrics. CORE entries and those in use stay."""

from __future__ import annotations

from collections.abc import Callable

from esc_lab.emulator.datamodel import referenced
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.world import Thing

NAME_MAX = 255
CORE = {
    "action": ("log", "esc_vm_alive_notification", "recover", "servicebooted.sh"),
    "metric": ("ICMPPing",),
}
"""The names that the document's data models use, and a few of the user guides'; ESC has more."""


def core_mappings() -> list[Thing]:
    """What every ESC has."""
    return [
        Thing(kind, name, "mappings", {"name": name, "type": "CORE"}, "CREATED")
        for kind, names in CORE.items()
        for name in names
    ]


def list_mappings(esc: Esc, call: Call) -> Reply:
    """GET all."""
    return Reply(many=[thing.values for thing in esc.world.of_kind(call.row.kind)])


def get_mapping(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(_there(esc, call).values)


def create_mappings(esc: Esc, call: Call) -> Reply:
    """POST one or more; all or none of them are made."""
    kind = call.row.kind
    given = call.body.fields.get(kind, [])
    if not given:
        raise invalid(f"No {kind} definition found.")
    made = [Thing(kind, _name(str(one.get("name", "")), kind), "mappings", one, "CREATED") for one in given]
    names = [thing.id for thing in made]
    for thing in made:
        if esc.world.thing(kind, thing.id) is not None or names.count(thing.id) > 1:
            raise conflict(f"{kind.capitalize()} [{thing.id}] already exists.")
    for thing in made:
        thing.values = {"type": "SCRIPT", **thing.values}
        if thing.values["type"] == "CORE":
            raise invalid(f"{kind.capitalize()} [{thing.id}] cannot be made a CORE {kind}.")
    for thing in made:
        esc.world.put(thing)
    return Reply()


def delete_mapping(esc: Esc, call: Call) -> Reply:
    """DELETE one."""
    thing = _there(esc, call)
    what = f"{thing.kind.capitalize()} [{thing.id}]"
    if _is_core(thing):
        raise invalid(f"{what} is a CORE {thing.kind}, cannot delete.")
    if thing.id in _in_use(esc):
        raise invalid(f"{what} is currently referenced in a deployment, cannot delete.")
    esc.world.drop(thing)
    return Reply()


def delete_mappings(esc: Esc, call: Call) -> Reply:
    """DELETE all that are neither CORE nor in use."""
    in_use = _in_use(esc)
    for thing in list(esc.world.of_kind(call.row.kind)):
        if not _is_core(thing) and thing.id not in in_use:
            esc.world.drop(thing)
    return Reply()


def _there(esc: Esc, call: Call) -> Thing:
    kind = call.row.kind
    name = _name(call.path[f"{kind}_name"], kind)
    found = esc.world.thing(kind, name)
    if found is None:
        raise missing(f"{kind.capitalize()} [{name}] not found.")
    return found


def _name(given: str, kind: str) -> str:
    if not 1 <= len(given) <= NAME_MAX or not given.isprintable():
        raise invalid(f"Invalid {kind} name provided [{given[:80]}].")
    return given


def _is_core(thing: Thing) -> bool:
    return bool(thing.values.get("type") == "CORE")


def _in_use(esc: Esc) -> set[str]:
    return set().union(*(referenced(placed.fields) for placed in esc.world.deployments.values()))


HANDLERS: dict[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one for one in (list_mappings, get_mapping, create_mappings, delete_mapping, delete_mappings)
}
