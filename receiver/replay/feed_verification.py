"""`esc-receiver verify-feed`: the stream compared with the ledger, and what it lacks published again.

Must not know how it is compared (`publishing.comparison`) or published (`replay.relay_place`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from receiver.config.settings import Settings
from receiver.publishing.comparison import Comparison
from receiver.publishing.stream_end import owned_feed
from receiver.replay.relay_place import RelayPlace, Report, relay_place

NAMED_MAX = 100
"""So many of the missing are named."""


class Verification(NamedTuple):
    """What was found and done."""

    found: Comparison
    mended: int
    """Messages published again."""

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        found = self.found
        return {
            "stream": found.stream.name,
            "messages": found.messages,
            "entries": found.entries,
            "unknown": found.unknown,
            "missing": len(found.missing),
            "mended": self.mended,
            "missing_ids": [str(one.id) for one in found.missing[:NAMED_MAX]],
        }


async def verify(settings: Settings, report: Report, *, dry_run: bool) -> Verification:
    """Compare all of the stream and, unless `dry_run`, mend it. Raises ReceiverErrors, each one clear line."""

    async def step(done: int, of: int) -> None:
        report("messages compared", done, of)

    async with relay_place(settings) as place:
        found = await place.comparison.run(step)
        mended = 0 if dry_run or not found.missing else await _mend(place, found, report)
        return Verification(found, mended)


async def _mend(place: RelayPlace, found: Comparison, report: Report) -> int:
    async with place.alone() as outbox:
        await owned_feed(outbox, place.jetstream, await outbox.progress())
        # Looked at again: until now a receiver may have mended it.
        mended = await place.rebuild.fill(await place.comparison.still_missing(found))
    await place.publish(mended, report)
    return mended
