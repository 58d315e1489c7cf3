"""Questions to one ESC, and its answers as what the lifecycle judges: each deployment with the bytes that show it.

Bodies are redacted before anything else sees them; large ones are worked on aside. Must not know SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from receiver.config.settings import Settings
from receiver.errors import CannotAskError, NotXmlError
from receiver.lifecycle.answer import Answer
from receiver.model.envelope import Clock, Envelope, Head
from receiver.model.notification import Channel, Status
from receiver.parsing.answer_parser import ShownDeployment, read_answer
from receiver.reconcile.esc_client import EscClient, Reply
from receiver.redaction.redactor import Redactor

NOT_LISTED: Final = "not-listed"
"""Noted of an answer that is about a deployment by not showing it."""
XML: Final = "application/xml"


class NotUnderstoodError(CannotAskError):
    """The answer is no answer to this question; it is kept as a dead letter."""

    def __init__(self, why: str, envelope: Envelope) -> None:
        super().__init__(f"its answer is not understood: {why}")
        self.why = why
        self.envelope = envelope


@dataclass(slots=True)
class Listing:
    """All deployments of an ESC at one time."""

    asked_at: datetime
    shown: dict[str, ShownDeployment] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


class Questions:
    """Those to one ESC."""

    def __init__(self, source: str, client: EscClient, settings: Settings) -> None:
        self.source = source
        self.client = client
        self._depth_max = settings.xml_depth_max
        self._redactor = Redactor(settings.secret_names, settings.redaction_tokens_max)
        self._clock = Clock()

    async def ask_all(self, asked_at: datetime) -> Listing:
        """Raises CannotAskError."""
        reply = await self.client.deployments()
        shown, unread = await self._read(reply)
        return Listing(asked_at, {one.deployment.internal_id: one for one in shown}, unread)

    async def ask_for(self, names: Iterable[str], asked_at: datetime) -> Listing:
        """Only these, one by one; what is not shown is not there. Raises CannotAskError."""
        listing = Listing(asked_at)
        for name in names:
            reply = await self.client.deployment(name)
            if reply.status == 404:
                continue
            shown, unread = await self._read(reply)
            found = next((one for one in shown if one.deployment.internal_id == name), None)
            if found is None:
                raise self._not_understood(reply, f"asked for {name}, it shows {len(shown)} other deployments")
            listing.shown[name] = found
            listing.unread += unread
        return listing

    def answer(self, name: str, listing: Listing) -> tuple[Answer, Envelope]:
        """What it says of one deployment, and what is kept of that."""
        shown, (at, receipt) = listing.shown.get(name), self._clock.stamp()
        answer = Answer(
            receipt, self.source, name, listing.asked_at, max(at, listing.asked_at),
            shown.deployment if shown else None, shown.vms if shown else (),
        )  # fmt: skip
        body = shown.raw if shown else b""
        return answer, self._envelope(answer, body, 200 if shown else 404, () if shown else (NOT_LISTED,))

    async def _read(self, reply: Reply) -> tuple[list[ShownDeployment], list[str]]:
        try:
            answer = await asyncio.to_thread(read_answer, reply.body, self._depth_max)
        except NotXmlError as error:
            raise self._not_understood(reply, str(error)) from None
        return answer.shown, answer.unread

    def _not_understood(self, reply: Reply, why: str) -> NotUnderstoodError:
        at, receipt = self._clock.stamp()
        answer = Answer(receipt, self.source, "", at, at)
        return NotUnderstoodError(why, self._envelope(answer, reply.body[:_KEPT_BYTES_MAX], reply.status, ()))

    def _envelope(self, answer: Answer, sent: bytes, status: int, notes: tuple[str, ...]) -> Envelope:
        body, redacted = self._redactor.redact(sent)
        head = Head([("Content-Type", XML)], None, Status.OK if status == 200 else Status.UNKNOWN, status, None, notes)
        return Envelope.of(
            head, receipt=answer.receipt, received_at=answer.answered_at, source=self.source,
            channel=Channel.RECONCILE, remote=self.client.host, ref=None, body=body, redacted=redacted,
        )  # fmt: skip


_KEPT_BYTES_MAX: Final = 65_536
"""Of an answer that is not understood."""


def now() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)
