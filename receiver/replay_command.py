"""`esc-receiver replay`: kept callbacks applied again, or written to a file, with a progress bar and a summary.

`replay` and `export` are what tests call; `replay_command` is the same for a terminal. This file must not know how a
callback is judged, nor what a line of a file looks like.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from receiver import logs
from receiver.database import UNUSABLE, Database
from receiver.entities import Transition
from receiver.errors import SettingsError, SetupError
from receiver.lifecycle import Windows
from receiver.metrics import Metrics
from receiver.partitions import Partitions
from receiver.replay import Replay
from receiver.replay_file import count, line_of, lines
from receiver.replayed import Fate, Replayed, Selection, Wanted
from receiver.reread import envelope_of
from receiver.settings import Settings, load
from receiver.store import Store

Batches = AsyncIterator[list[Wanted]]
Show = Callable[[Replayed], None]
Tell = Callable[[int, int], None]
"""Hears how many are done, of how many."""

FAILURES_TOLD_MAX = 20


@dataclass(slots=True)
class Summary:
    """What a run did, or would do."""

    dry_run: bool
    callbacks: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    new: int = 0
    """Callbacks that were not kept before."""
    entries: int = 0
    """Ledger entries appended."""
    failures: list[str] = field(default_factory=list)
    """The first of them."""

    def note(self, one: Replayed) -> None:
        """One callback is through."""
        self.callbacks += 1
        self.fates[one.fate] += 1
        self.new += one.is_new
        self.entries += len(one.entries)
        if one.fate is Fate.FAILED and len(self.failures) < FAILURES_TOLD_MAX:
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
    tell: Tell = lambda _, __: None,
) -> Summary:
    """Apply again what is kept, or what is in `file` (of the selection only the source counts then).

    Raises SetupError and SchemaTooNewError.
    """
    summary = Summary(dry_run)
    async with (
        _opened(settings, dry_run=dry_run) as run,
        _batches(run, selection, file, settings) as (batches, total),
    ):
        async for batch in batches:
            for one in await run.apply(batch, datetime.now(UTC)):
                summary.note(one)
                show(one)
            tell(summary.callbacks, total)
    return summary


async def export(settings: Settings, selection: Selection, path: Path, tell: Tell = lambda _, __: None) -> int:
    """Write the callbacks to a file that only the user may read; how many. Raises SetupError and SchemaTooNewError."""
    draft, written = path.with_name(f"{path.name}.new"), 0
    async with _opened(settings, dry_run=True) as run, run.choose(selection) as batches:
        with _created(draft) as file:
            async for batch in batches:
                rows = await run.kept(batch)
                file.writelines(line_of(envelope_of(row)) for row in rows)
                written += len(rows)
                tell(written, batches.total)
        draft.replace(path)
    return written


@asynccontextmanager
async def _opened(settings: Settings, *, dry_run: bool) -> AsyncIterator[Replay]:
    database = Database(settings, Metrics(settings.all_sources))
    await database.open()
    try:
        store = Store(Windows(settings.reorder_window_s, settings.duplicate_window_s))
        run = Replay(database, store, Partitions(settings), settings, dry_run=dry_run)
        await run.check()
        yield run
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be used now: {str(error) or type(error).__name__}") from error
    finally:
        await database.close()


@asynccontextmanager
async def _batches(
    run: Replay, selection: Selection, file: Path | None, settings: Settings
) -> AsyncIterator[tuple[Batches, int]]:
    if file is None:
        async with run.choose(selection) as selected:
            yield aiter(selected), selected.total
    else:
        yield _from_file(file, selection.source, settings), count(file, settings)


async def _from_file(path: Path, source: str | None, settings: Settings) -> Batches:
    with path.open("rb") as file:
        envelopes = (one for one in lines(file, str(path), settings) if source in (None, one.source))
        while batch := list(islice(envelopes, settings.batch_callbacks_max)):
            yield [Wanted(envelope.receipt, envelope.received_at, envelope) for envelope in batch]


@contextmanager
def _created(path: Path) -> Iterator[Any]:
    """A new file; bodies and headers are nobody else's business."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file


# The terminal.


def _time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """ISO 8601; UTC where it does not say otherwise."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time like 2026-01-31T12:00:00+01:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_EPILOG = """
\b
Examples:
  esc-receiver replay --quarantine --dry-run         what a new version would make of the quarantine
  esc-receiver replay --quarantine
  esc-receiver replay --since 2026-01-31T10:00 --until 2026-01-31T12:00 --source lab1 --dry-run
  esc-receiver replay --quarantine --export quarantine.jsonl
  esc-receiver replay --file quarantine.jsonl

\b
A file holds one JSON object a line: {"source": "lab1", "body": "<base64>", "headers": [["name", "value"], …]},
and optionally channel, received_at, receipt, remote, ref, redacted. Without received_at it arrives now.
"""
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("replay", epilog=_EPILOG)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings; the environment wins over it.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of an embedded receiver; its endpoints.json tells where PostgreSQL is.",
)
@click.option("--quarantine", is_flag=True, help="Those that were never applied: malformed or unclassified.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_time,
    help="Those received at this time or later; ISO 8601, UTC unless it says so.",
)
@click.option("--until", metavar="TIME", callback=_time, help="Those received before this time.")
@click.option("--source", help="Those of this ESC instance.")
@click.option("--file", type=_FILE, help="Those of a file; what is not kept yet is kept.")
@click.option(
    "--export", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write them to a file instead."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be appended to the ledger, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last one is the summary.")
def replay_command(
    config: Path | None,
    data_dir: Path | None,
    quarantine: bool,
    since: datetime | None,
    until: datetime | None,
    source: str | None,
    file: Path | None,
    target: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Apply kept callbacks again, as this version reads and judges them.

    The ledger is never rewritten: where the result is what it was, nothing changes; where it is different, entries
    are appended, with trigger `replay`. Receivers may run meanwhile. It may be repeated, and interrupted, at any time.
    """
    selection = Selection(since, until, source, quarantine)
    _check(selection, file, target, dry_run=dry_run)
    settings = load(config, _environment(data_dir))
    logs.configure(settings)
    with _progress(Console(stderr=True)) as tell:
        if target:
            written = asyncio.run(export(settings, selection, target, tell))
        else:
            show = _show_json if as_json else _show
            summary = asyncio.run(replay(settings, selection, file, dry_run=dry_run, show=show, tell=tell))
    if target:
        click.echo(orjson.dumps({"exported": written}).decode() if as_json else f"{written} callbacks in {target}")
    else:
        _conclude(summary, as_json=as_json)


def _check(selection: Selection, file: Path | None, target: Path | None, *, dry_run: bool) -> None:
    if file and (target or selection != Selection(source=selection.source)):
        raise SettingsError("--file goes with none of --quarantine, --since, --until and --export")
    if target and dry_run:
        raise SettingsError("--export changes nothing, so it has no --dry-run")
    if not file and not (selection.quarantine or selection.since or selection.until):
        raise SettingsError("say which callbacks: --quarantine, --since and --until, or --file")


def _environment(data_dir: Path | None) -> dict[str, str]:
    if data_dir is None:
        return dict(os.environ)
    path = data_dir / "endpoints.json"
    try:
        return {**os.environ, "ESC_RECEIVER_POSTGRES_DSN": str(orjson.loads(path.read_bytes())["postgres_dsn"])}
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error.strerror}): is an embedded receiver running there?") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{path} does not say where PostgreSQL is") from error


@contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """A bar where there is a terminal to draw it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("callbacks", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _show(one: Replayed) -> None:
    """A line for each ledger entry: when the callback arrived, what it moved, and by which rule."""
    assert not one.entries or one.letter  # only what was read is applied
    for transition, _ in one.entries:
        at = one.letter.envelope.received_at if one.letter else transition.at
        moved = f"{transition.from_state} → {transition.to_state}"
        words = (f"{at:%Y-%m-%d %H:%M:%S}Z", transition.entity, _place(transition), moved, transition.change)
        click.echo(_printable("  ".join((*words, f"({transition.rule})", str(one.receipt)))))


def _place(transition: Transition) -> str:
    parts = (transition.source, transition.deployment if transition.entity == "vm" else None, transition.name)
    return "/".join(part for part in parts if part)


def _printable(text: str) -> str:
    """Names come from outside: what steers a terminal must not reach it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _show_json(one: Replayed) -> None:
    for transition, _ in one.entries:
        click.echo(orjson.dumps(transition._asdict(), default=str, option=orjson.OPT_UTC_Z).decode())


def _conclude(summary: Summary, *, as_json: bool) -> None:
    """What it comes to. Raises SetupError when anything failed."""
    if as_json:
        click.echo(orjson.dumps({"summary": summary.as_dict()}).decode())
    else:
        counts = ", ".join(f"{summary.fates[fate]} {fate}" for fate in Fate if summary.fates[fate])
        would = "would be " if summary.dry_run else ""
        new = f", {summary.new} of them new" if summary.new else ""
        click.echo(f"{summary.callbacks} callbacks{f': {counts}' if counts else ''}{new}")
        click.echo(f"{summary.entries} ledger entries {would}appended")
    if failed := summary.fates[Fate.FAILED]:
        raise SetupError(
            "\n".join((*summary.failures, f"{failed} callbacks could not be applied; nothing came of them"))
        )
