"""Notifications of ESC's NETCONF stream, which some sites relay to a callback URL (docs/esc-callbacks.md#3.2, #10).

They carry in the body what a callback has in its header: without ESC's headers, and also beside them, the body says
whether it went well. The deployment is named by `depid` or by tenant and name, never by the internal id of REST.
"""

from __future__ import annotations

import re
from typing import Final

from receiver.model.envelope import Envelope
from receiver.model.notification import DeploymentReport, Family, ResourceReport, Status
from receiver.parsing.deployment_parser import parse_deployment
from receiver.parsing.fields import Meaning, Said, rename, shown, take_block, take_name, take_text
from receiver.parsing.vocabulary import NETCONF_ALIASES, NETCONF_EVENT, RESOURCE_EVENTS, SAYS_ALL_BY_ITS_NAME
from receiver.parsing.xml_document import Fields

_CODE: Final = re.compile(r"[0-9]{1,9}")
_SUCCEEDED: Final = "SUCCESS"
CONFLICT: Final = "conflicting-status-codes"


def parse_netconf(root: str, fields: Fields, envelope: Envelope) -> Meaning:
    """A `notification` that holds an `escEvent`, or that alone; any other notification is unclassified by its name."""
    time = take_text(fields, "eventTime")
    event = fields if root == NETCONF_EVENT else take_block(fields, NETCONF_EVENT)
    if event is None:
        name = next(iter(fields), None)
        because = f"a notification {shown(name)} is not known" if name else "a notification without an event"
        return Meaning(None, name, unclassified_because=because)
    rename(event, NETCONF_ALIASES)
    said = _said(event, envelope)
    meaning = _meaning(event, said)
    if meaning.trigger and said.status is Status.UNKNOWN and meaning.trigger not in SAYS_ALL_BY_ITS_NAME:
        because = f"{meaning.trigger} without a status: neither header nor body says whether it succeeded"
        meaning = meaning._replace(trigger=None, unclassified_because=because)
    facts = {**meaning.event, "time": time} if time else meaning.event
    return meaning._replace(said=said, event=facts)


def _meaning(event: Fields, said: Said) -> Meaning:
    inner = event.get("event")
    raw = inner.get("type") if isinstance(inner, dict) else None
    kind = _kind_of_resource(raw.upper()) if isinstance(raw, str) else None
    if kind is not None and isinstance(raw, str):
        return _resource(event, kind, raw)
    internal_id = _internal_id(event)
    if internal_id:
        event["internal_deployment_id"] = internal_id
    meaning = parse_deployment("esc_event", event, said.message)
    if meaning.deployment:
        meaning = meaning._replace(deployment=_looked_up(meaning.deployment))
    is_service = (meaning.trigger or "").startswith("SERVICE_")
    return meaning._replace(family=Family.DEPLOYMENT if is_service else Family.VM_EVENT)


def _internal_id(event: Fields) -> str | None:
    """What ESC calls a deployment that was made over NETCONF: tenant and name run together."""
    tenant, name, depid = (
        value if isinstance(value := event.get(field), str) else ""
        for field in ("internal_tenant_id", "deployment_name", "external_deployment_id")
    )
    return tenant + name if tenant and name else depid or None


def _looked_up(report: DeploymentReport) -> DeploymentReport:
    return DeploymentReport(
        report.internal_id, report.external_id, report.name, report.internal_tenant_id, report.external_tenant_id,
        report.state, report.raw_state, report.extra, is_looked_up=True,
    )  # fmt: skip


def _kind_of_resource(trigger: str) -> str | None:
    return next((kind for kind, events in RESOURCE_EVENTS.items() if trigger in events), None)


def _resource(event: Fields, kind: str, raw: str) -> Meaning:
    """A tenant, network, subnet …, by the name that stands in the field of its kind."""
    name = take_name(event, "internal_tenant_id" if kind == "tenant" else kind)
    if name is None:
        because = f"{shown(raw)} without {kind}: which one is not said"
        return Meaning(None, raw, family=Family.RESOURCE, unclassified_because=because)
    tenant = name if kind == "tenant" else take_name(event, "internal_tenant_id")
    report = ResourceReport(
        kind, name, take_name(event, f"external_{kind}_id"), name, tenant, take_text(event, "external_tenant_id")
    )
    return Meaning(raw.upper(), raw, resource=report, family=Family.RESOURCE)


def _said(event: Fields, envelope: Envelope) -> Said:
    """Success only if nothing says otherwise: neither the header, nor word or code in the body."""
    word, digits = take_text(event, "status"), take_text(event, "status_code")
    message = take_text(event, "status_message") or envelope.status_message
    code = int(digits) if digits and _CODE.fullmatch(digits) else None
    told = [envelope.status]
    if word:
        told.append(Status.OK if word.upper() == _SUCCEEDED else Status.FAILED)
    if code is not None:
        told.append(Status.OK if 200 <= code <= 299 else Status.FAILED)
    known = {status for status in told if status is not Status.UNKNOWN}
    status = Status.FAILED if Status.FAILED in known else next(iter(known), Status.UNKNOWN)
    shown_code = envelope.status_code if envelope.status_code is not None else code
    return Said(status, shown_code, message, (CONFLICT,) if len(known) > 1 else ())
