"""Envelope to Notification: what a callback says, in our words.

The root element tells the family, and each family has its parser (`deployment_parser`, `resource_parser`). What is
not in the tables of `vocabulary` becomes unclassified with a reason. What a message does to an entity is decided by
`lifecycle`. Must not know SQL, HTTP or NATS, and of XML only the plain values that `xml_document` makes of it.
"""

from __future__ import annotations

from hashlib import blake2b

from receiver.errors import NotXmlError
from receiver.model.envelope import Envelope
from receiver.model.notification import Channel, Family, Notification
from receiver.parsing.deployment_parser import parse_deployment
from receiver.parsing.fields import Meaning, NameTooLongError, shown, take_text
from receiver.parsing.netconf_parser import parse_netconf
from receiver.parsing.reading import Reading
from receiver.parsing.resource_parser import parse_resource
from receiver.parsing.vocabulary import EVENT_ROOTS, FAMILIES, NETCONF_ROOTS
from receiver.parsing.xml_document import NAME_CHARACTERS_MAX, Document, read


def parse(envelope: Envelope, depth_max: int, reading: Reading | None = None) -> Notification:
    """Read a callback; `depth_max` is how deep its elements may be nested, `reading` what was read of it before.

    Raises NotXmlError for a body that is no document we are willing to read. Every other body gives a
    Notification, unclassified when its meaning is not known.
    """
    if envelope.undecodable_because is not None:
        raise NotXmlError(envelope.undecodable_because)
    document = _document(reading) if reading else read(envelope.body, depth_max)
    family = FAMILIES.get(document.root, Family.UNKNOWN)
    try:
        meaning = _meaning(family, document, envelope)
    except NameTooLongError as error:
        meaning = Meaning(unclassified_because=str(error))
    e, m = envelope, meaning
    status, code, message, remarks = m.said or (e.status, e.status_code, e.status_message, ())
    notes = (*e.notes, *remarks, "fields-cut") if document.cut else e.notes + remarks
    return Notification(
        e.receipt, e.source, e.received_at, m.family or family, document.root[:NAME_CHARACTERS_MAX], m.trigger,
        m.raw_trigger, status, code, message, e.transaction_id, e.ref, m.deployment, m.vm, m.target, m.resource,
        fingerprint(e), m.unclassified_because, notes, m.event,
    )  # fmt: skip


def _document(reading: Reading) -> Document:
    if reading.malformed is not None:
        raise NotXmlError(reading.malformed)
    if reading.document is None:
        raise RuntimeError("a large body could not be read")
    return reading.document


def channel_of(root: str | None) -> Channel:
    """The channel of a callback posted to `/`, by its root element (docs/esc-callbacks.md#2); None: malformed."""
    return Channel.EVENTS if root in EVENT_ROOTS else Channel.CALLBACK


def fingerprint(envelope: Envelope) -> str:
    """16 hex digits, equal for a repeat: over source, transaction id, status code and body."""
    head = f"{envelope.source}\n{envelope.transaction_id}\n{envelope.status_code}\n"
    return blake2b(head.encode() + envelope.body, digest_size=8).hexdigest()


def _meaning(family: Family, document: Document, envelope: Envelope) -> Meaning:
    root, fields, _ = document
    if root in NETCONF_ROOTS:
        return parse_netconf(root, fields, envelope)
    match family:
        case Family.DEPLOYMENT | Family.VM_EVENT:
            return parse_deployment(root, fields, envelope.status_message)
        case Family.RESOURCE:
            return parse_resource(root, fields)
        case Family.UNKNOWN:
            because = f"the root element {shown(root)} is not known"
            return Meaning(None, take_text(fields, "event_type"), unclassified_because=because)
