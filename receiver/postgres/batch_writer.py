"""Keeping a batch whatever happens to it: tried again where that can help, split where one letter is at fault.

A letter that cannot be judged or written as understood is kept as it came, without being applied; only when
PostgreSQL itself does not answer is it not kept. Must not know HTTP, XML, SQL or NATS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError, RefusedError, describe
from receiver.model.entities import Decision
from receiver.observability.labels import CommitFailure
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import (
    CONFLICTS,
    CONNECTION_LOST,
    UNAVAILABLE,
    UNUSABLE,
    WHOLE_BATCH_ERRORS,
    is_partition_missing,
)
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store, nobody_waits

WriteResult = Decision | CannotKeepError
WriteResults = dict[UUID, WriteResult]
"""What became of letters, by receipt."""

log = structlog.get_logger()


@dataclass(slots=True)
class WriteAttempt:
    """The work on one batch: until when, and what is done."""

    until_s: float
    """By the loop's clock."""
    judged: Callable[[], None]
    kept: WriteResults = field(default_factory=dict)

    def left_s(self) -> float:
        """How much time there still is."""
        return self.until_s - asyncio.get_running_loop().time()

    def left(self, letters: Sequence[ParsedCallback]) -> list[ParsedCallback]:
        """Those of which it is not known yet what became of them."""
        return [letter for letter in letters if letter.envelope.receipt not in self.kept]


class BatchWriter:
    """Keeps letters in PostgreSQL, each exactly once."""

    def __init__(
        self, database: Database, store: Store, partitions: Partitions, settings: Settings, metrics: Metrics
    ) -> None:
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._metrics = metrics

    async def keep(
        self, letters: Sequence[ParsedCallback], judged: Callable[[], None] = nobody_waits
    ) -> list[WriteResult]:
        """What became of each letter, in order: its decision, or why it could not be kept in time.

        `judged` is called when they are judged, and only PostgreSQL has work with them.
        """
        if not self._database.ready:
            return [CannotKeepError("PostgreSQL is not ready yet") for _ in letters]
        effort = WriteAttempt(asyncio.get_running_loop().time() + self._settings.commit_timeout_s, judged)
        try:
            await self._patiently(letters, effort)
        except UNAVAILABLE as error:
            self._failed(CommitFailure.UNAVAILABLE)
            missing = len(effort.left(letters))
            log.warning("callbacks could not be kept", callbacks=missing, why=describe(error))
        away = CannotKeepError("PostgreSQL cannot keep it now")
        return [effort.kept.get(letter.envelope.receipt, away) for letter in letters]

    async def takes(self) -> bool:
        """Whether PostgreSQL would commit a callback now, as far as can be told without one."""
        try:
            async with self._database.acquire() as connection:
                await self._store.probe(connection)
        except UNUSABLE:
            return False
        return self._database.ready

    async def _patiently(self, letters: Sequence[ParsedCallback], effort: WriteAttempt) -> None:
        """Try until it is known what became of all of them. A connection that broke may have committed."""
        races = 0
        while rest := effort.left(letters):
            try:
                effort.kept |= await self._once(rest, effort)
            except CONFLICTS as error:
                races += 1
                self._failed(CommitFailure.RACE)
                if races > self._settings.commit_races_max:
                    await self._split(rest, effort, error)
                log.info("a batch is judged again", callbacks=len(rest), why=type(error).__name__)
                effort.kept |= await self._before(rest, effort)
            except ValueError as error:  # asyncpg's too: its DataError would else pass for a broken connection
                await self._split(rest, effort, error)
            except CONNECTION_LOST:
                self._failed(CommitFailure.CONNECTION_LOST)
                if effort.left_s() < self._settings.commit_retry_s:
                    raise
                await asyncio.sleep(self._settings.commit_retry_s)
                effort.kept |= await self._before(rest, effort)
            except UNAVAILABLE:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter must not sink its neighbours
                if not is_partition_missing(error):
                    await self._split(rest, effort, error)
                self._partitions.forget()

    async def _once(self, letters: Sequence[ParsedCallback], effort: WriteAttempt) -> WriteResults:
        async with self._database.acquire(effort.left_s()) as connection:
            await self._partitions.ensure(connection, (letter.envelope.received_at for letter in letters))
            decisions = await self._store.keep(connection, letters, effort.judged)
        return {letter.envelope.receipt: decision for letter, decision in zip(letters, decisions, strict=True)}

    def _failed(self, reason: CommitFailure) -> None:
        self._metrics.commit_failures.cells[(reason,)].value += 1

    async def _before(self, letters: Sequence[ParsedCallback], effort: WriteAttempt) -> WriteResults:
        """What a broken connection had committed after all."""
        try:
            async with self._database.acquire(effort.left_s()) as connection:
                return {**await self._store.kept_before(connection, letters)}
        except CONNECTION_LOST:
            return {}

    async def _split(self, letters: Sequence[ParsedCallback], effort: WriteAttempt, error: Exception) -> None:
        """Halve the batch until the letter at fault is alone; keep that one as it came."""
        self._failed(CommitFailure.SPLIT)
        first, receipt = letters[0], str(letters[0].envelope.receipt)
        if len(letters) > 1:
            half = len(letters) // 2
            await self._patiently(letters[:half], effort)
            await self._patiently(letters[half:], effort)
        elif first.decision_without_lifecycle() is None:
            log.error("a callback could not be judged; it is kept as it came", receipt=receipt, exc_info=error)
            await self._patiently([first.without_content()], effort)
        else:
            log.error("a callback could not be kept", receipt=receipt, exc_info=error)
            refused = CannotKeepError if isinstance(error, WHOLE_BATCH_ERRORS) else RefusedError
            effort.kept[first.envelope.receipt] = refused("PostgreSQL refuses it")
