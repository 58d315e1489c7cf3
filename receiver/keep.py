"""Keeping a batch whatever happens to it: tried again where that can help, split where one letter is at fault.

A letter that cannot be judged or written as understood is kept as it came, without being applied; only when
PostgreSQL itself does not answer is it not kept. Must not know HTTP, XML, SQL or NATS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from receiver.database import AWAY, BROKEN, RACES, Database, is_partition_missing
from receiver.entities import Decision
from receiver.errors import CannotKeepError
from receiver.letter import Letter
from receiver.metrics import Metrics
from receiver.partitions import Partitions
from receiver.settings import Settings
from receiver.store import Store

Kept = Decision | CannotKeepError
Fates = dict[UUID, Kept]
"""What became of letters, by receipt."""

log = structlog.get_logger()


class Keeper:
    """Keeps letters in PostgreSQL, each exactly once."""

    def __init__(
        self, database: Database, store: Store, partitions: Partitions, settings: Settings, metrics: Metrics
    ) -> None:
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._metrics = metrics

    async def keep(self, letters: Sequence[Letter]) -> list[Kept]:
        """What became of each letter, in order: its decision, or why it could not be kept in time."""
        kept: Fates = {}
        try:
            async with asyncio.timeout(self._settings.commit_timeout_s):
                await self._patiently(letters, kept)
        except AWAY as error:
            missing = len(letters) - len(kept)
            log.warning("callbacks could not be kept", callbacks=missing, why=str(error) or type(error).__name__)
        away = CannotKeepError("PostgreSQL cannot keep it now")
        return [kept.get(letter.envelope.receipt, away) for letter in letters]

    async def _patiently(self, letters: Sequence[Letter], kept: Fates) -> None:
        """Try until it is known what became of all of them. A connection that broke may have committed."""
        races = 0
        while rest := [letter for letter in letters if letter.envelope.receipt not in kept]:
            try:
                kept |= await self._once(rest)
            except RACES as error:
                races += 1
                if races > self._settings.commit_races_max:
                    await self._split(rest, kept, error)
                log.info("a batch is judged again", callbacks=len(rest), why=type(error).__name__)
                kept |= await self._before(rest)
            except ValueError as error:  # asyncpg's too: its DataError would else pass for a broken connection
                await self._split(rest, kept, error)
            except BROKEN:
                await asyncio.sleep(self._settings.commit_retry_s)
                kept |= await self._before(rest)
            except AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter must not sink its neighbours
                if not is_partition_missing(error):
                    await self._split(rest, kept, error)
                self._partitions.forget()

    async def _once(self, letters: Sequence[Letter]) -> Fates:
        async with self._database.acquire() as connection:
            await self._partitions.ensure(connection, (letter.envelope.received_at for letter in letters))
            decisions = await self._store.keep(connection, letters)
        return {letter.envelope.receipt: decision for letter, decision in zip(letters, decisions, strict=True)}

    async def _before(self, letters: Sequence[Letter]) -> Fates:
        """What a broken connection had committed after all."""
        try:
            async with self._database.acquire() as connection:
                return {**await self._store.kept_before(connection, letters)}
        except BROKEN:
            return {}

    async def _split(self, letters: Sequence[Letter], kept: Fates, error: Exception) -> None:
        """Halve the batch until the letter at fault is alone; keep that one as it came."""
        first, receipt = letters[0], str(letters[0].envelope.receipt)
        if len(letters) > 1:
            half = len(letters) // 2
            await self._patiently(letters[:half], kept)
            await self._patiently(letters[half:], kept)
        elif first.without_judgement() is None:
            log.error("a callback could not be judged; it is kept as it came", receipt=receipt, exc_info=error)
            await self._patiently([first.as_it_came()], kept)
        else:
            log.error("a callback could not be kept", receipt=receipt, exc_info=error)
            kept[first.envelope.receipt] = CannotKeepError("PostgreSQL refuses it")
