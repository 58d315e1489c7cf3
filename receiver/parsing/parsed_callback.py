"""One callback between its arrival and its transaction: the envelope, what it says, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from receiver.errors import NotXmlError
from receiver.lifecycle import DelayedContext
from receiver.model.entities import Decision
from receiver.model.envelope import UNKNOWN_SOURCE, Envelope
from receiver.model.notification import Channel, Family, Notification, Outcome
from receiver.parsing.parser import channel_of, parse
from receiver.parsing.reading import Reading

log = structlog.get_logger()

EntityKey = tuple[str, ...]
"""What a callback may be about: an operation, a deployment or a resource, by its identity."""


def read(
    envelope: Envelope, depth_max: int, delayed: DelayedContext | None = None, reading: Reading | None = None
) -> ParsedCallback:
    """Parse an envelope; never raises for what its body holds. `reading` is what was read of its body before."""
    try:
        return ParsedCallback(envelope, parse(envelope, depth_max, reading), delayed=delayed)
    except NotXmlError as error:
        return ParsedCallback(envelope, malformed=str(error), delayed=delayed)
    except Exception:
        log.exception("a callback could not be read; it is kept as it came", receipt=str(envelope.receipt))
        return ParsedCallback(envelope).without_content()


@dataclass(slots=True)
class ParsedCallback:
    """`notification` is None when the body could not be read; then `malformed` says why."""

    envelope: Envelope
    notification: Notification | None = None
    malformed: str | None = None
    internal_error: bool = False
    """Parsing or deciding failed for a fault of ours; it is stored without being applied."""
    body_is_spare: bool = False
    """The same has come so often that, if it is a duplicate, it is stored without its body."""
    delayed: DelayedContext | None = None
    """Set when it waited since it arrived (spool, replay)."""

    def decision_without_lifecycle(self) -> Decision | None:
        """The decision on a callback that the lifecycle is not asked about."""
        if self.malformed is not None:
            return Decision(Outcome.MALFORMED, "malformed", self.malformed)
        if self.envelope.is_of_unknown_source:
            return Decision(Outcome.UNCLASSIFIED, UNKNOWN_SOURCE, "no source of this name is configured")
        if self.internal_error:
            return Decision(
                Outcome.UNCLASSIFIED, "internal-error", "the receiver failed to judge it; it can be replayed"
            )
        return None

    @property
    def has_content(self) -> bool:
        """Whether what its body says would be stored, and could be at fault."""
        return self.notification is not None and not self.internal_error

    def without_content(self) -> ParsedCallback:
        """The same without what its body says, which is at fault: to be stored and published, not applied."""
        e = self.envelope
        nothing = Notification(
            e.receipt, e.source, e.received_at, Family.UNKNOWN, "", None, None, e.status, e.status_code,
            e.status_message, e.transaction_id, e.ref, notes=e.notes,
        )  # fmt: skip
        return ParsedCallback(e, nothing, internal_error=True)

    @property
    def family(self) -> Family:
        """What it is about, as far as it could be read."""
        return self.notification.family if self.notification else Family.UNKNOWN

    _keys: list[EntityKey] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def entity_keys(self) -> list[EntityKey]:
        """The entities it names; VMs belong to their deployment."""
        if self._keys is None:  # asked for by the queue again and again
            self._keys = self._named()
        return self._keys

    def _named(self) -> list[EntityKey]:
        n = self.notification
        if n is None:
            return []
        keys: list[EntityKey] = [("operation", n.source, n.transaction_id)] if n.transaction_id else []
        if n.deployment:
            keys.append(("deployment", n.source, n.deployment.internal_id))
        if n.resource:
            keys.append(("resource", n.source, n.resource.kind, n.resource.id))
        return keys

    @property
    def channel(self) -> Channel:
        """The URL it came to; posted to `/`, its root element decides (docs/ingress.md#paths)."""
        return self.envelope.channel or channel_of(self.notification.root if self.notification else None)
