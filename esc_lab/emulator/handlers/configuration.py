"""Chapters 09 and 17: configuration parameters and dynamic mappings (actions and metrics), with ESC's own entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from esc_lab.emulator.datamodel import Datamodel
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.refusal import RefusalError, Wrong, conflict, invalid, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.simulator.resource_scripts import Resource

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "OPENSTACK/ENDPOINT": ("adminURL", "publicURL"),
    "LOG/LEVEL": ("INFO", "TRACE", "DEBUG"),
    "AFFINITY/FILTER": ("SameHostFilter", "ServerGroupAffinity"),
    "ANTI-AFFINITY/FILTER": ("DifferentHostFilter", "ServerGroupAffinity"),
}
"""The default first. Taken in any case: the printed request says `debug`, and so does its answer."""
RETRIES, RETRIES_DEFAULT = "DEFAULT/VM_RECOVERY_RETRY_MAX", 3
CORE = {
    "action": (
        "log", "esc_vm_alive_notification", "recover", "servicebooted.sh", "servicescaleup.sh", "servicescaledown.sh",
    ),
    "metric": ("ICMPPing", "MEMORY", "CPU", "CPU_LOAD_1", "CPU_LOAD_5", "CPU_LOAD_15"),
}  # fmt: skip
"""The mappings that the document's data models use, and a few of the user guides'; ESC has more."""
VALUE_MAX = 255
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,72}")
_WHOLE = re.compile(r"[0-9]{1,9}")


def defaults() -> Iterator[Resource]:
    """The parameters and mappings of a new ESC."""
    yield _parameter(RETRIES, str(RETRIES_DEFAULT))
    for name, options in OPTIONS.items():
        yield _parameter(name, options[0])
    for kind, names in CORE.items():
        yield from (Resource(kind, name, {"name": name, "type": "CORE"}, "mappings", "CREATED") for name in names)


def recovery_retries(esc: Esc) -> int:
    """How often a recovery is tried."""
    value = str(esc.resource("config_parameter", RETRIES).values["value"])
    return int(value) if value.isdecimal() else RETRIES_DEFAULT


def list_config(esc: Esc, call: Call) -> Reply:
    """GET all, or all of a category."""
    category = _name(call, "category") if "category" in call.path else None
    found = list(esc.world.of_kind("config_parameter", category))
    if not found:
        raise missing(f"there is no category {category!r}")
    return Reply(many=[one.values for one in found])


def get_config(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(_existing_parameter(esc, call).values)


def create_config(esc: Esc, call: Call) -> Reply:
    """POST a new key; the body is its value."""
    name = f"{_name(call, 'category')}/{_name(call, 'key')}"
    if esc.world.resource("config_parameter", name) is not None:
        raise conflict(f"{name} exists; PUT changes it")
    parameter = _parameter(name, _checked_value(str(call.body.fields["value"])))
    esc.world.put(parameter)
    return Reply(parameter.values)


def set_config(esc: Esc, call: Call) -> Reply:
    """PUT a value."""
    parameter, value = _existing_parameter(esc, call), _checked_value(call.path["value"])
    if parameter.values["type"] == "INT" and not _WHOLE.fullmatch(value):
        raise invalid(f"{parameter.id} is {value!r}, and should be a whole number")
    options = OPTIONS.get(parameter.id, ())
    if options and value.lower() not in {option.lower() for option in options}:
        text = f"{parameter.id} is {value!r}, and should be one of {', '.join(options)}"
        raise RefusalError(Wrong.UNACCEPTABLE, text)
    parameter.values["value"] = value
    esc.world.put(parameter)
    return Reply(parameter.values)


def require_mappings(esc: Esc, model: Datamodel) -> None:
    """Refuses a rule or a KPI of what nobody has defined."""
    for kind, names in (("action", model.actions), ("metric", model.metrics)):
        for name in sorted(names):
            if esc.world.resource(kind, name) is None:
                raise invalid(f"{kind} {name[:80]!r} is not defined; POST /v0/dynamic_mapping/{kind}s defines it")


def get_mapping(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(_existing_mapping(esc, call).values)


def create_mappings(esc: Esc, call: Call) -> Reply:
    """POST one or more; all or none of them are created."""
    kind, given = call.row.kind, call.body.fields.get(call.row.kind, [])
    if not given:
        raise invalid(f"No {kind} definition found.")
    names = [_mapping_name(str(one.get("name", "")), kind) for one in given]
    made = [
        Resource(kind, name, {"type": "SCRIPT", **one}, "mappings", "CREATED")
        for name, one in zip(names, given, strict=True)
    ]
    for one in made:
        if esc.world.resource(kind, one.id) is not None or names.count(one.id) > 1:
            raise conflict(f"{kind.capitalize()} [{one.id}] already exists.")
        if _is_core(one):
            raise invalid(f"{kind.capitalize()} [{one.id}] cannot be made a CORE {kind}.")
    for one in made:
        esc.world.put(one)
    return Reply()


def delete_mapping(esc: Esc, call: Call) -> Reply:
    """DELETE one."""
    mapping, kind = _existing_mapping(esc, call), call.row.kind
    if _is_core(mapping):
        raise invalid(f"{kind.capitalize()} [{mapping.id}] is a CORE {kind}, cannot delete.")
    if mapping.id in _mappings_in_use(esc):
        raise invalid(f"{kind.capitalize()} [{mapping.id}] is currently referenced in a deployment, cannot delete.")
    esc.world.drop(mapping)
    return Reply()


def delete_mappings(esc: Esc, call: Call) -> Reply:
    """DELETE all that are neither CORE nor in use."""
    in_use = _mappings_in_use(esc)
    for mapping in list(esc.world.of_kind(call.row.kind)):
        if not _is_core(mapping) and mapping.id not in in_use:
            esc.world.drop(mapping)
    return Reply()


def _parameter(name: str, value: str) -> Resource:
    category, _, key = name.partition("/")
    values = {"category": category, "key": key, "type": "INT" if _WHOLE.fullmatch(value) else "STRING", "value": value}
    return Resource("config_parameter", name, values, category, "CREATED")


def _existing_parameter(esc: Esc, call: Call) -> Resource:
    name = f"{_name(call, 'category')}/{_name(call, 'key')}"
    found = esc.world.resource("config_parameter", name)
    if found is None:
        raise missing(f"there is no parameter {name}")
    return found


def _name(call: Call, what: str) -> str:
    given = call.path[what]
    if not _WORD.fullmatch(given):
        raise invalid(f"{what} {given[:80]!r} is no name of a {what}")
    return given.upper()


def _checked_value(given: str) -> str:
    if not 1 <= len(given) <= VALUE_MAX or not given.isprintable():
        raise invalid(f"the value should be 1 to {VALUE_MAX} printable characters")
    return given


def _existing_mapping(esc: Esc, call: Call) -> Resource:
    kind = call.row.kind
    name = _mapping_name(call.path[f"{kind}_name"], kind, is_quoted=call.row.method == "GET")
    found = esc.world.resource(kind, name)
    if found is None:
        raise missing(f"{kind.capitalize()} [{name}] not found.")
    return found


def _mapping_name(given: str, kind: str, *, is_quoted: bool = True) -> str:
    """`is_quoted`: whether a refusal tells the name, as the document has it."""
    if not 1 <= len(given) <= VALUE_MAX or not given.isprintable():
        raise invalid(f"Invalid {kind} name provided{f' [{given[:80]}].' if is_quoted else ''}")
    return given


def _is_core(mapping: Resource) -> bool:
    return bool(mapping.values.get("type") == "CORE")


def _mappings_in_use(esc: Esc) -> set[str]:
    models = [record.model for record in esc.world.deployments.values()]
    return set().union(*(model.actions | model.metrics for model in models))
