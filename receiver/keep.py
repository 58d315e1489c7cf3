"""Keeping a batch whatever happens to it: tried again where that can help, split where one letter is at fault.

A letter that cannot be judged or written as understood is kept as it came, without being applied; only when
PostgreSQL itself does not answer is it not kept. Must not know HTTP, XML, SQL or NATS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

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
        try:
            async with asyncio.timeout(self._settings.commit_timeout_s):
                return await self._patiently(letters)
        except AWAY as error:
            log.warning("callbacks could not be kept", callbacks=len(letters), why=str(error) or type(error).__name__)
            return [CannotKeepError("PostgreSQL cannot keep it now") for _ in letters]

    async def _patiently(self, letters: Sequence[Letter]) -> list[Kept]:
        """Try until it is known what became of all of them. A connection that broke may have committed."""
        kept: dict[object, Decision] = {}
        races = 0
        while True:
            rest = [letter for letter in letters if letter.envelope.receipt not in kept]
            try:
                decisions = await self._once(rest)
            except RACES as error:
                races += 1
                if races > self._settings.commit_races_max:
                    return await self._split(letters, kept, error)
                log.info("a batch is judged again", callbacks=len(rest), why=type(error).__name__)
            except BROKEN:
                await asyncio.sleep(self._settings.commit_retry_s)
            except AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter must not sink its neighbours
                if not is_partition_missing(error):
                    return await self._split(letters, kept, error)
                self._partitions.forget()
            else:
                kept |= {letter.envelope.receipt: decision for letter, decision in zip(rest, decisions, strict=True)}
                return [kept[letter.envelope.receipt] for letter in letters]
            kept |= await self._before(rest)

    async def _once(self, letters: Sequence[Letter]) -> list[Decision]:
        async with self._database.acquire() as connection:
            await self._partitions.ensure(connection, (letter.envelope.received_at for letter in letters))
            return await self._store.keep(connection, letters) if letters else []

    async def _before(self, letters: Sequence[Letter]) -> dict[object, Decision]:
        """What a broken connection had committed after all."""
        try:
            async with self._database.acquire() as connection:
                return await self._store.kept_before(connection, letters)
        except BROKEN:
            return {}

    async def _split(self, letters: Sequence[Letter], kept: dict[object, Decision], error: Exception) -> list[Kept]:
        """Halve the batch until the letter at fault is alone; keep that one as it came."""
        rest = [letter for letter in letters if letter.envelope.receipt not in kept]
        if len(rest) > 1:
            half = len(rest) // 2
            results = await self._patiently(rest[:half]) + await self._patiently(rest[half:])
        elif rest[0].without_judgement() is None:
            log.error(
                "a callback could not be judged; it is kept as it came",
                receipt=str(rest[0].envelope.receipt),
                exc_info=error,
            )
            results = await self._patiently([replace(rest[0], not_understood=True)])
        else:
            log.error("a callback could not be kept", receipt=str(rest[0].envelope.receipt), exc_info=error)
            results = [CannotKeepError("PostgreSQL refuses it")]
        found: dict[object, Kept] = {**kept, **{x.envelope.receipt: r for x, r in zip(rest, results, strict=True)}}
        return [found[letter.envelope.receipt] for letter in letters]
