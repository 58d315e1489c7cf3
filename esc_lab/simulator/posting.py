"""POSTs callbacks as ESC does, and classifies the answers: stored, lost, or unsure. Shared by player and emulator.

This file must not know what the messages mean, nor when they are due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp
from yarl import URL

from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.expected_state import Fate
from receiver.errors import describe


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: none came; `failure` is the reason, `error` the text of the exception."""

    status: int = 0
    receipt: str = ""
    failure: Literal["", "could not connect", "no answer in time", "connection broke"] = ""
    error: str = ""

    @property
    def is_success(self) -> bool:
        """A 2xx status."""
        return 200 <= self.status < 300

    @property
    def may_help_to_retry(self) -> bool:
        """Whether sending again may help."""
        return bool(self.failure) or self.status >= 500

    def fate(self, *, malformed: bool = False) -> Fate:
        """Whether the receiver has the message (docs/ingress.md#answers); it also stores a malformed one with 400."""
        if self.is_success or (self.status == 400 and (malformed or self.receipt)):
            return "kept"
        # A receiver that answers 503 may have it all the same: PostgreSQL committed, and its answer was lost.
        broke = self.failure in {"no answer in time", "connection broke"}
        return "unsure" if broke or self.status >= 500 else "lost"


async def post(session: aiohttp.ClientSession, url: URL | str, message: Message, *, redirects: bool = True) -> Answer:
    """One attempt. A target other than the receiver gives no receipt."""
    try:
        async with session.post(url, data=message.body, headers=message.headers, allow_redirects=redirects) as response:
            await response.read()
            return Answer(response.status, response.headers.get("ESC-Receipt-Id", ""))
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        return Answer(failure="could not connect", error=describe(error))
    except TimeoutError as error:
        return Answer(failure="no answer in time", error=describe(error))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(failure="connection broke", error=describe(error))


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failed POST is repeated; pauses double from `first_pause_s` up to `pause_s_max`."""

    count: int
    first_pause_s: float
    pause_s_max: float

    async def deliver(
        self,
        attempt: Callable[[], Awaitable[Answer]],
        pause: Callable[[float], Awaitable[None]],
        audit_log: AuditLog | None,
        *,
        malformed: bool = False,
        stop: asyncio.Event | None = None,
    ) -> tuple[Fate, Answer]:
        """Attempts until retrying cannot help or `stop` is set; the fate over all attempts, and the last answer."""
        fate: Fate = "lost"
        for number in range(self.count + 1):
            if number:
                await pause(min(self.first_pause_s * 2 ** min(number - 1, 64), self.pause_s_max))
            answer = await attempt()
            latest = answer.fate(malformed=malformed)
            if fate == "unsure" and latest == "kept" and audit_log is not None:
                audit_log.expected.perhaps_repeated += 1
            fate = "unsure" if fate == "unsure" and latest == "lost" else latest
            if not answer.may_help_to_retry or (stop and stop.is_set()):
                break
        return fate, answer
