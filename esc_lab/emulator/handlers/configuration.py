"""Chapter 09: configuration parameters, with the defaults and options that the document prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.refusal import conflict, invalid, missing, unacceptable
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.world import Parameter

DEFAULTS = (
    Parameter("DEFAULT", "VM_RECOVERY_RETRY_MAX", "INT", "3"),
    Parameter("OPENSTACK", "ENDPOINT", "STRING", "adminURL"),
    Parameter("LOG", "LEVEL", "STRING", "INFO"),
    Parameter("AFFINITY", "FILTER", "STRING", "SameHostFilter"),
    Parameter("ANTI-AFFINITY", "FILTER", "STRING", "DifferentHostFilter"),
)
OPTIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("OPENSTACK", "ENDPOINT"): ("adminURL", "publicURL"),
    ("LOG", "LEVEL"): ("INFO", "TRACE", "DEBUG"),
    ("AFFINITY", "FILTER"): ("SameHostFilter", "ServerGroupAffinity"),
    ("ANTI-AFFINITY", "FILTER"): ("DifferentHostFilter", "ServerGroupAffinity"),
}
"""Taken in any case: the printed request says `debug`, and so does its answer."""
VALUE_MAX = 255
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,72}")
_WHOLE = re.compile(r"[0-9]{1,9}")


def list_config(esc: Esc, call: Call) -> Reply:
    """GET all, or all of a category."""
    wanted = _word(call.path["category"], "category") if "category" in call.path else ""
    found = [one for key, one in sorted(esc.world.parameters.items()) if wanted in {"", key[0]}]
    if not found:
        raise missing(f"there is no category {wanted!r}")
    return Reply(many=[_shown(one) for one in found])


def get_config(esc: Esc, call: Call) -> Reply:
    """GET one."""
    return Reply(_shown(_there(esc, call)))


def create_config(esc: Esc, call: Call) -> Reply:
    """POST a new key; the body is its value."""
    key = _word(call.path["category"], "category"), _word(call.path["key"], "key")
    if key in esc.world.parameters:
        raise conflict(f"{key[0]}/{key[1]} is there; PUT changes it")
    value = _checked_value(str(call.body.fields["value"]))
    kind = "INT" if _WHOLE.fullmatch(value) else "STRING"
    parameter = esc.world.parameters[key] = Parameter(*key, kind, value)
    esc.world.touch(parameter)
    return Reply(_shown(parameter))


def set_config(esc: Esc, call: Call) -> Reply:
    """PUT a value."""
    parameter = _there(esc, call)
    value = _checked_value(call.path["value"])
    where = f"{parameter.category}/{parameter.key}"
    if parameter.type == "INT" and not _WHOLE.fullmatch(value):
        raise invalid(f"{where} is {value!r}, and should be a whole number")
    options = OPTIONS.get((parameter.category, parameter.key), ())
    if options and value.lower() not in {option.lower() for option in options}:
        raise unacceptable(f"{where} is {value!r}, and should be one of {', '.join(options)}")
    parameter.value = value
    esc.world.touch(parameter)
    return Reply(_shown(parameter))


def _there(esc: Esc, call: Call) -> Parameter:
    key = _word(call.path["category"], "category"), _word(call.path["key"], "key")
    found = esc.world.parameters.get(key)
    if found is None:
        raise missing(f"there is no parameter {key[0]}/{key[1]}")
    return found


def _word(given: str, what: str) -> str:
    if not _WORD.fullmatch(given):
        raise invalid(f"{what} {given[:80]!r} is no name of a {what}")
    return given.upper()


def _checked_value(given: str) -> str:
    if not 1 <= len(given) <= VALUE_MAX or not given.isprintable():
        raise invalid(f"the value should be 1 to {VALUE_MAX} printable characters")
    return given


def _shown(parameter: Parameter) -> dict[str, Any]:
    return {
        "category": parameter.category,
        "key": parameter.key,
        "type": parameter.type,
        "value": parameter.value,
    }


HANDLERS: dict[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one for one in (list_config, get_config, create_config, set_config)
}
