"""Whether the stream knows more than the ledger: then PostgreSQL has gone back in time (docs/epoch.md).

A backup that was restored has forgotten entries whose messages were published, and would give their numbers to others.
What the stream has behind the relay's mark is in the outbox, or was a stranger's; an event of an ESC of this database
that is in neither outbox nor ledger is what was forgotten. Must not know how it is cured.
"""

from __future__ import annotations

from collections.abc import Sequence

from receiver.errors import LedgerBehindError
from receiver.publishing.jetstream import StreamMessage
from receiver.publishing.outbox import Outbox


async def forgotten(outbox: Outbox, others: Sequence[StreamMessage]) -> list[StreamMessage]:
    """Those of `others`, which are not in the outbox, that this database must once have had."""
    events = {one: message for message in others if message.is_event and (one := message.uuid) is not None}
    if not events:
        return []
    known = await outbox.known(list(events))
    unknown = [message for one, message in events.items() if one not in known]
    if not unknown:
        return []
    ours = await outbox.known_sources(list({message.source for message in unknown}))
    return [message for message in unknown if message.source in ours]


async def require_ledger_ahead(outbox: Outbox, others: Sequence[StreamMessage]) -> None:
    """Raises LedgerBehindError when any was forgotten."""
    if found := await forgotten(outbox, others):
        raise LedgerBehindError(
            f"the stream has messages that the ledger does not have, from {found[0].id} at {found[0].sequence} on: "
            "PostgreSQL has gone back in time (an older backup?), or another database publishes for the same ESC; "
            "nothing is published before `esc-receiver epoch` (docs/epoch.md)"
        )
