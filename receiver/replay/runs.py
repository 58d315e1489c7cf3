"""Runs of `esc-receiver replay`: stored callbacks applied again, or written to a file, and a summary.

Must not know the terminal (`receiver.cli.replay`), how a callback is decided, nor what a line of a file looks like.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.lifecycle import Windows
from receiver.model.envelope import BODY_LEFT_OUT, Envelope
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.replay.export_file import count, line_of, lines
from receiver.replay.replayer import Batches, Replay, check_schema
from receiver.replay.results import Fate, ReplayResult, Selection, Wanted

Show = Callable[[ReplayResult], None]
Report = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

FAILURES_SHOWN_MAX = 20


@dataclass(slots=True)
class Summary:
    """What a run did, or would do."""

    dry_run: bool
    callbacks: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    new: int = 0
    """Callbacks that were not stored before."""
    entries: int = 0
    """Ledger entries appended."""
    failures: list[str] = field(default_factory=list)
    """The first of them."""

    def note(self, one: ReplayResult) -> None:
        """Count one callback."""
        self.callbacks += 1
        self.fates[one.fate] += 1
        self.new += one.is_new
        self.entries += len(one.entries)
        if one.fate is Fate.FAILED and len(self.failures) < FAILURES_SHOWN_MAX:
            self.failures.append(f"callback {one.receipt} could not be applied: {one.why}")

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        fates = {fate.value: self.fates[fate] for fate in Fate}
        return {"dry_run": self.dry_run, "callbacks": self.callbacks, **fates, "new": self.new, "entries": self.entries}


async def replay(
    settings: Settings,
    selection: Selection,
    file: Path | None = None,
    *,
    dry_run: bool = False,
    show: Show = lambda _: None,
    report: Report = lambda _, __: None,
) -> Summary:
    """Apply again what is stored, or what is in `file` (of the selection only the source counts then).

    Raises SetupError and SchemaTooNewError.
    """
    summary = Summary(dry_run)
    async with (
        _opened(settings, dry_run=dry_run, to_source=selection.to_source) as run,
        _batches(run, selection, file, settings) as (batches, total),
    ):
        async for batch in batches:
            for one in await run.apply(batch, datetime.now(UTC)):
                summary.note(one)
                show(one)
            report(summary.callbacks, total)
    return summary


async def export(settings: Settings, selection: Selection, path: Path, report: Report = lambda _, __: None) -> int:
    """Write the callbacks to a file that only the user may read; how many. Raises SetupError and SchemaTooNewError."""
    draft, written = path.with_name(f"{path.name}.new"), 0
    async with _opened(settings, dry_run=True) as run, run.select(selection) as (batches, total):
        with _created(draft) as file:
            async for batch in batches:
                rows = await run.stored_rows(batch)
                whole = [row for row in rows if BODY_LEFT_OUT not in row["notes"]]  # the first of them says the same
                file.writelines(line_of(Envelope.of_row(row)) for row in whole)
                written += len(whole)
                report(written, total)
        draft.replace(path)
    return written


@asynccontextmanager
async def _opened(settings: Settings, *, dry_run: bool, to_source: str | None = None) -> AsyncIterator[Replay]:
    database = Database(settings, Metrics(settings.all_sources))
    await database.open()
    try:
        store = Store(Windows(settings.reorder_window_s, settings.duplicate_window_s))
        run = Replay(database, store, Partitions(settings), settings, dry_run=dry_run, to_source=to_source)
        await check_schema(database)
        yield run
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be used now: {describe(error)}") from error
    finally:
        await database.close()


@asynccontextmanager
async def _batches(
    run: Replay, selection: Selection, file: Path | None, settings: Settings
) -> AsyncIterator[tuple[Batches, int]]:
    if file is None:
        async with run.select(selection) as selected:
            yield selected
    else:
        yield _from_file(file, selection.source, settings), count(file, settings)


async def _from_file(path: Path, source: str | None, settings: Settings) -> Batches:
    with path.open("rb") as file:
        envelopes = (one for one in lines(file, str(path), settings) if source in (None, one.source))
        while batch := list(islice(envelopes, settings.batch_callbacks_max)):
            yield [Wanted(envelope.receipt, envelope.received_at, envelope) for envelope in batch]


@contextmanager
def _created(path: Path) -> Iterator[Any]:
    """A new file that only the user may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
