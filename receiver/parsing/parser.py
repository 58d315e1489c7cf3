"""Envelope to Notification: what a callback says, in our words.

Tolerant of all that is known to arrive (docs/esc-callbacks.md#7, #8), and honest about the rest: what is
not in the tables of `esc_words` becomes unclassified with a reason, unknown elements are kept as `extra`.
Nothing is judged here: what a message does to an entity is `lifecycle`'s matter. It must not know SQL,
HTTP or NATS, and of XML only the plain values that `document` makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from unicodedata import normalize

from receiver.errors import NotXmlError
from receiver.model.envelope import ID_BYTES_MAX, Envelope, is_too_long
from receiver.model.notification import (
    NOTHING,
    Channel,
    DeploymentReport,
    Family,
    Notification,
    ResourceReport,
    VmReport,
)
from receiver.parsing.vocabulary import (
    ALIASES,
    DEPLOYMENT_STATES,
    FAMILIES,
    NIC_ALIASES,
    NIC_FIELDS,
    RESOURCE_EVENTS,
    RESOURCE_ID_FIELDS,
    STAGES,
    TRIGGER_FIELDS,
    UPDATED_MESSAGE,
    VM_STATES,
)
from receiver.parsing.xml_document import NAME_CHARACTERS_MAX, Document, Fields, Value, read

SHOWN_CHARACTERS_MAX: Final = 64
"""Of what arrived, in a reason."""
_ALIASED: Final = frozenset(ALIASES)


class _TooLongError(Exception):
    """Something is named by more than it can be found by again: the callback is unclassified."""


def parse(envelope: Envelope, depth_max: int) -> Notification:
    """Read a callback; `depth_max` is how deep its elements may be nested.

    Raises NotXmlError for a body that is no document we are willing to read. Every other body gives a
    Notification, unclassified when it cannot be told what it means.
    """
    if envelope.undecodable_because is not None:
        raise NotXmlError(envelope.undecodable_because)
    document = read(envelope.body, depth_max)
    try:
        return _meaning(envelope, document)
    except _TooLongError as error:
        family = FAMILIES[document.root]
        return _notification(envelope, document, family, unclassified_because=str(error))


def channel_of(root: str | None) -> Channel:
    """The channel of a callback posted to `/`, by its root element (docs/esc-callbacks.md#2); None: malformed."""
    return Channel.EVENTS if root == "esc_event" else Channel.CALLBACK


def fingerprint(envelope: Envelope) -> str:
    """16 hex digits, equal for a repeat: over source, transaction id, status code and body."""
    head = f"{envelope.source}\n{envelope.transaction_id}\n{envelope.status_code}\n"
    return blake2b(head.encode() + envelope.body, digest_size=8).hexdigest()


def _meaning(envelope: Envelope, document: Document) -> Notification:
    root, fields, _ = document
    if root in STAGES:
        return _lifecycle(envelope, document)
    if root in RESOURCE_EVENTS:
        return _resource(envelope, document)
    return _notification(
        envelope,
        document,
        Family.UNKNOWN,
        raw_trigger=_text(fields, "event_type"),
        unclassified_because=f"the root element {_shown(root)} is not known",
    )


def _notification(
    envelope: Envelope,
    document: Document,
    family: Family,
    *,
    trigger: str | None = None,
    raw_trigger: str | None = None,
    unclassified_because: str | None = None,
    deployment: DeploymentReport | None = None,
    vm: VmReport | None = None,
    target: VmReport | None = None,
    resource: ResourceReport | None = None,
) -> Notification:
    return Notification(
        envelope.receipt,
        envelope.source,
        envelope.received_at,
        family,
        document.root[:NAME_CHARACTERS_MAX],
        trigger,
        raw_trigger,
        envelope.status,
        envelope.status_code,
        envelope.status_message,
        envelope.transaction_id,
        envelope.ref,
        deployment,
        vm,
        target,
        resource,
        fingerprint(envelope),
        unclassified_because,
        (*envelope.notes, "fields-cut") if document.cut else envelope.notes,
    )


# --- deployments and VMs -------------------------------------------------------------------------


def _lifecycle(envelope: Envelope, document: Document) -> Notification:
    root, fields, _ = document
    if not _ALIASED.isdisjoint(fields):
        _rename(fields, ALIASES)
    own, others = TRIGGER_FIELDS[root]
    raw = _text(fields, own) or _text(fields, others) or _netconf_event(fields)
    because = trigger = None
    if raw is None:
        because = f"{root} without {own}: what happened is not said"
    elif (trigger := STAGES[root].get(raw.upper())) is None:
        because = f"{own} {_shown(raw)} is not known"
    elif trigger == "VM_ALIVE" and _tells_update(envelope.status_message):
        trigger = "VM_UPDATED"
    vm = _vm(_block(fields, "deployment_details") or _block(fields, "vm_source"))
    target = _vm(_block(fields, "vm_target"))
    return _notification(
        envelope,
        document,
        FAMILIES[root],
        trigger=trigger,
        raw_trigger=raw,
        unclassified_because=because,
        deployment=_deployment(fields),
        vm=vm,
        target=target,
    )


def _tells_update(message: str | None) -> bool:
    return message is not None and message.lstrip()[: len(UPDATED_MESSAGE)].lower() == UPDATED_MESSAGE


def _netconf_event(fields: Fields) -> str | None:
    event = fields.get("event")
    return _text(event, "type") if isinstance(event, dict) else None


def _deployment(fields: Fields) -> DeploymentReport | None:
    """None without an internal id: the lifecycle may know the deployment by its transaction."""
    internal_id = _name(fields, "internal_deployment_id")
    if internal_id is None:
        return None
    if fields.get("datacenter") == {"default": "false"}:  # so in every printed example: it says nothing
        del fields["datacenter"]
    raw_state = _text(fields, "service_state_machine_state")
    return DeploymentReport(
        internal_id,
        _text(fields, "external_deployment_id"),
        _text(fields, "deployment_name"),
        _name(fields, "internal_tenant_id"),
        _text(fields, "external_tenant_id"),
        raw_state and DEPLOYMENT_STATES.get(raw_state.upper()),
        raw_state,
        fields or NOTHING,
    )


def _vm(fields: Fields | None) -> VmReport | None:
    if not fields:
        return None
    if not _ALIASED.isdisjoint(fields):
        _rename(fields, ALIASES)
    raw_state = _text(fields, "vm_state_machine_state")
    return VmReport(
        _name(fields, "vm_name"),
        _text(fields, "vm_group_name"),
        _name(fields, "vm_uuid"),
        _text(fields, "host_uuid"),
        _text(fields, "host_name"),
        tuple(_nics(fields)),
        raw_state and VM_STATES.get(raw_state.upper()),
        raw_state,
        fields or NOTHING,
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
    _rename(fields, NIC_ALIASES)
    for name in [name for name in fields if _means_nic_id(name)]:
        _rename(fields, {name: "nic_id"})
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


# --- resources -----------------------------------------------------------------------------------


def _resource(envelope: Envelope, document: Document) -> Notification:
    """The root decides the kind; only its own event_type counts, not those of the parts of a router or subnet."""
    kind, fields, _ = document
    raw = _text(fields, "event_type")
    trigger = raw.upper() if raw else None
    report = _resource_report(kind, fields)
    because = None
    if raw is None:
        because = f"{kind} without event_type: what happened is not said"
    elif trigger not in RESOURCE_EVENTS[kind]:
        because = f"event_type {_shown(raw)} is not known of {kind}"
    elif report is None:
        because = f"{kind} without an id or a name: which one is not said"
    return _notification(
        envelope,
        document,
        Family.RESOURCE,
        trigger=None if because else trigger,
        raw_trigger=raw,
        unclassified_because=because,
        resource=report,
    )


def _resource_report(kind: str, fields: Fields) -> ResourceReport | None:
    own = next((found for name in RESOURCE_ID_FIELDS[kind] if (found := _name(fields, name))), None)
    external_id = _name(fields, f"external_{kind}_id")
    name = _name(fields, "name")
    resource_id = own or external_id or name
    if resource_id is None:
        return None
    is_tenant = kind == "tenant"
    return ResourceReport(
        kind,
        resource_id,
        external_id,
        name,
        own if is_tenant else _name(fields, "internal_tenant_id"),
        external_id if is_tenant else _text(fields, "external_tenant_id"),
        _name(fields, "internal_deployment_id"),
        fields or NOTHING,
    )


# --- plain values --------------------------------------------------------------------------------


def _text(fields: Fields, name: str) -> str | None:
    """Take a text out. Of several the first is taken and all stay; what is no text stays too, and so is kept."""
    value = fields.pop(name, None)
    if value is None or isinstance(value, str):
        return value
    fields[name] = value
    return next((one for one in value if isinstance(one, str)), None) if isinstance(value, list) else None


def _name(fields: Fields, name: str) -> str | None:
    """Take out a text that something is found by again."""
    text = _text(fields, name)
    if text is not None and is_too_long(text):
        raise _TooLongError(f"{name} is longer than {ID_BYTES_MAX} bytes")
    return text


def _block(fields: Fields, name: str) -> Fields | None:
    """Take a block out. Of several the first is taken and all stay; what is no block stays too, and so is kept."""
    value = fields.pop(name, None)
    if value is None or isinstance(value, dict):
        return value
    fields[name] = value
    return next((dict(one) for one in value if isinstance(one, dict)), None) if isinstance(value, list) else None


def _rename(fields: Fields, aliases: Mapping[str, str]) -> None:
    """Give fields their REST names, unless that name is taken: then both stay."""
    for alias, name in aliases.items():
        if alias in fields and name not in fields:
            fields[name] = fields.pop(alias)


def _shown(text: str) -> str:
    """What arrived, fit to stand in a sentence."""
    printable = "".join(char if char.isprintable() else "�" for char in text[:SHOWN_CHARACTERS_MAX])
    return printable + "…" if len(text) > SHOWN_CHARACTERS_MAX else printable
