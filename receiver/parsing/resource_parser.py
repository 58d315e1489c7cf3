"""The family of resources: tenant, network, subnet, image, flavor, router … (docs/esc-callbacks.md#3.3)."""

from __future__ import annotations

from receiver.model.notification import NOTHING, ResourceReport
from receiver.parsing.fields import Meaning, shown, take_name, take_text
from receiver.parsing.vocabulary import RESOURCE_EVENTS, RESOURCE_ID_FIELDS
from receiver.parsing.xml_document import Fields


def parse_resource(kind: str, fields: Fields) -> Meaning:
    """The root decides the kind; only its own event_type counts, not those of the parts of a router or subnet."""
    raw = take_text(fields, "event_type")
    trigger = raw.upper() if raw else None
    report = _report(kind, fields)
    because = None
    if raw is None:
        because = f"{kind} without event_type: what happened is not said"
    elif trigger not in RESOURCE_EVENTS[kind]:
        because = f"event_type {shown(raw)} is not known of {kind}"
    elif report is None:
        because = f"{kind} without an id or a name: which one is not said"
    return Meaning(None if because else trigger, raw, resource=report, unclassified_because=because)


def _report(kind: str, fields: Fields) -> ResourceReport | None:
    own = next((found for name in RESOURCE_ID_FIELDS[kind] if (found := take_name(fields, name))), None)
    external_id = take_name(fields, f"external_{kind}_id")
    name = take_name(fields, "name")
    resource_id = own or external_id or name
    if resource_id is None:
        return None
    is_tenant = kind == "tenant"
    return ResourceReport(
        kind,
        resource_id,
        external_id,
        name,
        own if is_tenant else take_name(fields, "internal_tenant_id"),
        external_id if is_tenant else take_text(fields, "external_tenant_id"),
        take_name(fields, "internal_deployment_id"),
        fields or NOTHING,
    )
