"""The families `deployment` and `esc_event`: stages and events of deployments and VMs (docs/esc-callbacks.md#3).

Tolerant of all that is known to arrive (docs/esc-callbacks.md#7, #8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from unicodedata import normalize

from receiver.model.notification import NOTHING, DeploymentReport, VmReport
from receiver.parsing.fields import Meaning, rename, shown, take_block, take_name, take_text
from receiver.parsing.vocabulary import (
    ALIASES,
    DEPLOYMENT_STATES,
    EVENT_FACTS,
    NIC_ALIASES,
    NIC_FIELDS,
    STAGES,
    TRIGGER_FIELDS,
    UNMONITORED_STATES,
    UPDATED_MESSAGE,
    VM_STATES,
)
from receiver.parsing.xml_document import Fields, Value

_ALIASED: Final = frozenset(ALIASES)


def parse_deployment(root: str, fields: Fields, status_message: str | None) -> Meaning:
    """A deployment's stage (root `deployment`) or a VM's event (root `esc_event`): they differ in where it stands."""
    if not _ALIASED.isdisjoint(fields):
        rename(fields, ALIASES)
    own, others = TRIGGER_FIELDS[root]
    event = take_block(fields, "event") or {}
    raw = take_text(fields, own) or take_text(fields, others) or take_text(event, "type")
    because = trigger = None
    if raw is None:
        because = f"{root} without {own}: what happened is not said"
    elif (trigger := STAGES[root].get(raw.upper())) is None:
        because = f"{own} {shown(raw)} is not known"
    elif trigger == "VM_ALIVE" and _tells_update(status_message):
        trigger = "VM_UPDATED"
    vm = read_vm(take_block(fields, "deployment_details") or take_block(fields, "vm_source"))
    target = read_vm(take_block(fields, "vm_target"))
    if vm is None and (group := take_text(fields, "vm_group_name")):
        vm = VmReport(group=group)  # beside the blocks, and they are empty: docs/esc-callbacks.md#10
    facts = _event_facts(event, fields)
    return Meaning(trigger, raw, read_deployment(fields), vm, target, unclassified_because=because, event=facts)


def _tells_update(message: str | None) -> bool:
    return message is not None and message.lstrip()[: len(UPDATED_MESSAGE)].lower() == UPDATED_MESSAGE


def _event_facts(event: Fields, fields: Fields) -> Mapping[str, Any]:
    """What caused it, in a block of its own or in `event_details`; what is not understood of it stays."""
    details = fields.get("event_details")
    if not (event or details):
        return NOTHING
    blocks = [event, *([details] if isinstance(details, dict) else [])]
    facts = {name: text for block in blocks for name in EVENT_FACTS if (text := take_text(block, name))}
    if isinstance(details, str):
        facts.setdefault("details", details)
    if event:
        fields["event"] = event
    if not details or isinstance(details, str):
        fields.pop("event_details", None)
    return facts or NOTHING


def read_deployment(fields: Fields) -> DeploymentReport | None:
    """None without an internal id: the lifecycle may know the deployment by its transaction."""
    internal_id = take_name(fields, "internal_deployment_id")
    if internal_id is None:
        return None
    if fields.get("datacenter") == {"default": "false"}:  # so in every printed example: it says nothing
        del fields["datacenter"]
    raw_state = take_text(fields, "service_state_machine_state")
    return DeploymentReport(
        internal_id,
        take_text(fields, "external_deployment_id"),
        take_text(fields, "deployment_name"),
        take_name(fields, "internal_tenant_id"),
        take_text(fields, "external_tenant_id"),
        raw_state and DEPLOYMENT_STATES.get(raw_state.upper()),
        raw_state,
        fields or NOTHING,
    )


def read_vm(fields: Fields | None) -> VmReport | None:
    """A VM, in any of the blocks that may show one."""
    if not fields:
        return None
    if not _ALIASED.isdisjoint(fields):
        rename(fields, ALIASES)
    raw_state = take_text(fields, "vm_state_machine_state")
    return VmReport(
        take_name(fields, "vm_name"),
        take_text(fields, "vm_group_name"),
        take_name(fields, "vm_uuid"),
        take_text(fields, "host_uuid"),
        take_text(fields, "host_name"),
        tuple(_nics(fields)),
        raw_state and VM_STATES.get(raw_state.upper()),
        raw_state,
        fields or NOTHING,
        False if raw_state and raw_state.upper() in UNMONITORED_STATES else None,
    )


def _nics(fields: Fields) -> list[Mapping[str, Any]]:
    """Take out the interfaces: in a wrapper, in two, in none, or several of each (docs/esc-callbacks.md#trap-8), inner
    ones first."""
    nics: list[Mapping[str, Any]] = []
    for wrapper in ("interfaces", "interface"):
        value = fields.pop(wrapper, None)
        if value is None:
            continue
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, dict):
                if "interface" in one or "interfaces" in one:
                    nics += _nics(one)
                    one.pop("#text", None)  # stray text around interfaces is none itself
                if one:
                    nics.append(_nic(one))
            else:
                fields[wrapper] = one  # a text is no interface; kept as it is
    return nics


def _nic(fields: Fields) -> Mapping[str, Any]:
    if NIC_FIELDS.issuperset(fields):
        return fields
    rename(fields, NIC_ALIASES)
    for name in [name for name in fields if _means_nic_id(name)]:
        rename(fields, {name: "nic_id"})
    if "security_groups" in fields:
        fields["security_groups"] = _listed(fields["security_groups"])
    return fields


def _means_nic_id(name: str) -> bool:
    """`níc_id`, `nict_id` and their like: `n?c*_id` (docs/esc-callbacks.md#8), the accent as one character or two."""
    composed = normalize("NFC", name)
    return composed[:1] == "n" and composed[2:3] == "c" and composed.endswith("_id")


def _listed(groups: Value) -> list[Any]:
    """Security groups as a list, whether they came as text, repeated, or each in an element of its own."""
    if isinstance(groups, dict) and len(groups) == 1:
        (groups,) = groups.values()
    return groups if isinstance(groups, list) else [groups]
