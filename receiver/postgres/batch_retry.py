"""A batch of callbacks is worked on until each has a result: retried where that can help, split where one is at fault.

Must not know what is done with a callback, nor what its result is (`BatchTask`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from receiver.postgres.driver_errors import CONFLICTS, CONNECTION_LOST, is_about_a_row, is_partition_missing
from receiver.postgres.partitions import Partitions

T = TypeVar("T")


class BatchTask(Protocol[T]):
    """The work on a batch; it collects the results."""

    def pending(self, batch: Sequence[T]) -> list[T]:
        """Those that have no result yet."""

    async def process(self, batch: Sequence[T]) -> None:
        """One transaction with all of them, after which each has its result. Raises asyncpg's errors."""

    async def on_conflict(self, batch: Sequence[T], error: Exception) -> None:
        """Another program was quicker; the batch is processed again."""

    async def on_connection_lost(self, batch: Sequence[T], error: Exception) -> None:
        """The transaction may have been committed. The batch is processed again, unless this raises."""

    async def on_failure(self, item: T, error: Exception) -> None:
        """This one is at fault. Afterwards it must have a result."""


async def process_batch(task: BatchTask[T], batch: Sequence[T], partitions: Partitions, conflicts_max: int) -> None:
    """Have each of the batch processed, in order.

    Raises errors of the surroundings, of those that `UNUSABLE` lists; then some may have no result.
    """
    conflicts = 0
    while rest := task.pending(batch):
        try:
            await task.process(rest)
        except CONFLICTS as error:
            conflicts += 1
            await task.on_conflict(rest, error)
            if conflicts > conflicts_max:
                await _split(task, rest, partitions, conflicts_max, error)
        except Exception as error:
            if is_partition_missing(error):
                partitions.forget()
            elif is_about_a_row(error):  # whatever is wrong with one callback must not sink its neighbours
                await _split(task, rest, partitions, conflicts_max, error)
            elif isinstance(error, CONNECTION_LOST):
                await task.on_connection_lost(rest, error)
            else:
                raise


async def _split(
    task: BatchTask[T], batch: Sequence[T], partitions: Partitions, conflicts_max: int, error: Exception
) -> None:
    """Halve the batch until the one at fault is alone."""
    rest = task.pending(batch)
    if len(rest) == 1:
        await task.on_failure(rest[0], error)
    else:
        half = len(rest) // 2
        await process_batch(task, rest[:half], partitions, conflicts_max)
        await process_batch(task, rest[half:], partitions, conflicts_max)
