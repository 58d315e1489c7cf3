"""One turn through one ESC: ask, ask again where much is missing, judge, write, and tell all of it as it happens.

An empty or much shorter list is never believed at first, for an ESC may answer so for a moment after its own failover;
and more deployments than `reconcile_gone_max` allows go only when a person says so. Must not know HTTP or SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.config.settings import Settings
from receiver.model.entities import Decision, Transition
from receiver.parsing.answer_parser import is_safe
from receiver.reconcile.answer_store import Answered, AnswerStore
from receiver.reconcile.questions import Listing, Questions, now

GONE_LEAST: Final = 3
"""So many may always be found gone."""
JUDGED_AT_ONCE: Final = 128
WRITTEN_AT_ONCE: Final = 32
_SHOWN: Final = (
    "entity", "source", "tenant", "deployment", "name", "from_state", "to_state", "change", "rule", "reason",
)  # fmt: skip

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be asked, and what may come of it."""

    deployments: tuple[str, ...] = ()
    """Only these; none: all."""
    dry_run: bool = False
    """Nothing is changed: only told."""
    yes: bool = False
    """As many as there are may be found gone."""


@dataclass(slots=True)
class Sweep:
    """One; `events` runs it. Its errors are CannotAskError and what `AnswerStore` raises."""

    questions: Questions
    store: AnswerStore
    settings: Settings
    wanted: Wanted = field(default_factory=Wanted)
    deployments: int = 0
    changes: int = 0
    missing: int = 0
    """Deployments that ESC does not show, and that stay all the same."""

    async def events(self) -> AsyncIterator[Event]:
        """Run it: `progress`, `change`, `missing`, `left-out` and at last `result`."""
        live, about = await self.store.names(self.questions.source)
        listing = await self._ask()
        self.deployments = len(listing.shown)
        for why in listing.unread:
            yield self._event("left-out", reason=why)
        gone = self._gone(live, listing)
        if self._needs_confirmation(live, gone, listing, about):
            yield self._event("confirming", missing=len(gone), after_s=self.settings.reconcile_confirm_s)
            await asyncio.sleep(self.settings.reconcile_confirm_s)
            listing = await self._ask()
            gone &= self._gone(live, listing)
        if len(gone) > self._allowed(live) and not self.wanted.yes:
            self.missing = len(gone)
            yield self._event("missing", missing=len(gone), allowed=self._allowed(live))
            gone = set()
        names = [*listing.shown, *sorted(gone | self._ended(about - live, listing))]
        async for event in self._judge(listing, names):
            yield event
        yield self._event(
            "result", deployments=self.deployments, changes=self.changes, missing=self.missing,
            dry_run=self.wanted.dry_run,
        )  # fmt: skip

    async def _ask(self) -> Listing:
        asked_at = min(now(), await self.store.clock())  # a clock that has jumped ahead makes nothing silent
        if self.wanted.deployments:
            return await self.questions.ask_for(self.wanted.deployments, asked_at)
        return await self.questions.ask_all(asked_at)

    def _gone(self, live: set[str], listing: Listing) -> set[str]:
        """Those of ours that it does not show. Where it shows one that cannot be read, nobody knows which that is."""
        if listing.unread:
            return set()
        asked = live & set(self.wanted.deployments) if self.wanted.deployments else live
        return {name for name in asked - listing.shown.keys() if is_safe(name)}

    def _ended(self, about: set[str], listing: Listing) -> set[str]:
        """Those that are gone already, and whose operations have not ended."""
        asked = about & set(self.wanted.deployments) if self.wanted.deployments else about
        return set() if listing.unread else {name for name in asked - listing.shown.keys() if is_safe(name)}

    def _needs_confirmation(self, live: set[str], gone: set[str], listing: Listing, about: set[str]) -> bool:
        if not gone:
            return False
        if self.wanted.deployments:
            return not gone <= about  # one that is being undeployed, for example, may well be gone
        return not listing.shown or len(gone) > self._allowed(live)

    def _allowed(self, live: set[str]) -> int:
        return max(GONE_LEAST, int(self.settings.reconcile_gone_max * len(live)))

    async def _judge(self, listing: Listing, names: Sequence[str]) -> AsyncIterator[Event]:
        total = len(names)
        for first in range(0, total, JUDGED_AT_ONCE):
            answers = [self.questions.answer(name, listing) for name in names[first : first + JUDGED_AT_ONCE]]
            decisions = await self.store.judge_all(answers)
            pairs = zip(answers, decisions, strict=True)
            changing = [answered for answered, decision in pairs if decision.transitions]
            for other in decisions:
                if other.rule == "reconcile-another-tenant":
                    yield self._event("left-out", reason=other.reason)
            async for event in self._mend(changing):
                yield event
            yield self._event("progress", done=min(first + JUDGED_AT_ONCE, total), total=total)

    async def _mend(self, changing: Sequence[Answered]) -> AsyncIterator[Event]:
        for first in range(0, len(changing), WRITTEN_AT_ONCE):
            portion = changing[first : first + WRITTEN_AT_ONCE]
            decide = self.store.judge_all if self.wanted.dry_run else self.store.write
            decisions: list[Decision] = await decide(portion)
            for decision in decisions:
                for transition, _ in decision.transitions:
                    self.changes += 1
                    yield self._event("change", **_shown(transition))

    def _event(self, name: str, /, **facts: Any) -> Event:
        return {"event": name, "source": self.questions.source, **facts}


def _shown(transition: Transition) -> Event:
    return {name: getattr(transition, name) for name in _SHOWN if name != "source"}
