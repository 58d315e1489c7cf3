"""`esc-receiver replay` in a terminal: what it takes, what it refuses, what it prints.

Must not know how a run goes (`replay_run`, `replay_stream`).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from receiver.cli import options
from receiver.cli.output import counted
from receiver.cli.progress_bar import progress_bar
from receiver.cli.server_settings import server_settings
from receiver.errors import SettingsError, SetupError
from receiver.model.entities import Transition
from receiver.model.sanitize import plain
from receiver.replay.results import Fate, ReplayResult, Selection
from receiver.replay.runs import Summary, export, replay
from receiver.replay.stream_rebuild import to_stream as rebuilt


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
  esc-receiver replay --source lba1 --to-source lab1   what came to a mistyped URL, to the right source
  esc-receiver replay --quarantine --export quarantine.jsonl
  esc-receiver replay --file quarantine.jsonl
  esc-receiver replay --to-stream                    the feed anew, where its stream was lost

\b
A file holds one JSON object a line: {"source": "lab1", "body": "<base64>", "headers": [["name", "value"], …]},
and optionally channel, received_at, receipt, remote, ref, redacted, unknown_source. Without received_at it arrives now.
"""
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("replay", epilog=_EPILOG)
@options.config
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where PostgreSQL and NATS are.")
@click.option("--quarantine", is_flag=True, help="Those that were never applied: malformed or unclassified.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_time,
    help="Those received at this time or later; ISO 8601, UTC unless it says so.",
)
@click.option("--until", metavar="TIME", callback=_time, help="Those received before this time.")
@click.option("--source", help="Those of this ESC instance.")
@click.option(
    "--to-source",
    help="Of --source, which was not configured when they came: as if they had come to this one, which is.",
)
@click.option("--file", type=_FILE, help="Those of a file; what is not kept yet is kept.")
@click.option(
    "--export", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write them to a file instead."
)
@click.option("--to-stream", is_flag=True, help="Publish the whole ledger again, into a stream that is empty.")
@click.option("--purge", is_flag=True, help="With --to-stream: empty the stream first.")
@click.option("--dry-run", is_flag=True, help="Tell what would be appended to the ledger, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last one is the summary.")
def replay_command(
    config: Path | None,
    data_dir: Path | None,
    file: Path | None,
    target: Path | None,
    to_stream: bool,
    purge: bool,
    dry_run: bool,
    as_json: bool,
    **selected: Any,
) -> None:
    """Apply kept callbacks again, as this version reads and judges them.

    The ledger is never rewritten: where the result is what it was, nothing changes; where it is different, entries
    are appended, with trigger `replay`. Receivers may run meanwhile. It may be repeated, and interrupted, at any time.

    With --to-stream nothing is judged: every ledger entry, and every callback that was not understood, is published
    again, with the ids of the first time.
    """
    selection = Selection(**selected)
    _check(selection, file, target, to_stream=to_stream, purge=purge, dry_run=dry_run)
    result: dict[str, Any]
    settings, failures = server_settings(config, data_dir), ""
    if (to := selection.to_source) and to not in settings.all_sources:
        raise SettingsError(f"--to-source: no source {to} is configured (settings: sources)")
    with progress_bar(Console(stderr=True)) as bar:
        tell = partial(bar, "callbacks")
        if to_stream:
            count = asyncio.run(rebuilt(settings, bar, purge=purge))
            result, text = {"published": count}, f"{counted(count, 'message')} published"
        elif target:
            count = asyncio.run(export(settings, selection, target, tell))
            result, text = {"exported": count}, f"{counted(count, 'callback')} in {target}"
        else:
            show = _show_json if as_json else _show
            summary = asyncio.run(replay(settings, selection, file, dry_run=dry_run, show=show, report=tell))
            result, text, failures = {"summary": summary.as_dict()}, _text(summary), _failures(summary)
    click.echo(orjson.dumps(result).decode() if as_json else text)
    if failures:
        raise SetupError(failures)


def _check(
    selection: Selection, file: Path | None, target: Path | None, *, to_stream: bool, purge: bool, dry_run: bool
) -> None:
    """Raises SettingsError for options that do not go together."""
    if to_stream:
        if file or target or dry_run or selection != Selection():
            raise SettingsError("--to-stream goes with none of the options that choose callbacks, nor with --dry-run")
        return
    if purge:
        raise SettingsError("--purge goes with --to-stream")
    if file and (target or selection != Selection(source=selection.source)):
        raise SettingsError("--file goes with none of --quarantine, --since, --until and --export")
    if selection.to_source and (target or not selection.source):
        raise SettingsError("--to-source goes with --source, which says where they came to, and not with --export")
    if target and dry_run:
        raise SettingsError("--export changes nothing, so it has no --dry-run")
    if not file and not (selection.quarantine or selection.since or selection.until or selection.to_source):
        raise SettingsError("say which callbacks: --quarantine, --since and --until, or --file")


def _show(one: ReplayResult) -> None:
    """A line for each ledger entry: when the callback arrived, what it moved, and by which rule."""
    assert not one.entries or one.callback  # only what was read is applied
    for transition, _ in one.entries:
        at = one.callback.envelope.received_at if one.callback else transition.at
        moved = f"{transition.from_state} → {transition.to_state}"
        words = (f"{at:%Y-%m-%d %H:%M:%S}Z", transition.entity, _place(transition), moved, transition.change)
        click.echo(plain("  ".join((*words, f"({transition.rule})", str(one.receipt)))))


def _place(transition: Transition) -> str:
    parts = (transition.source, transition.deployment if transition.entity == "vm" else None, transition.name)
    return "/".join(part for part in parts if part)


def _show_json(one: ReplayResult) -> None:
    for transition, _ in one.entries:
        click.echo(plain(orjson.dumps(transition._asdict(), default=str, option=orjson.OPT_UTC_Z).decode()))


def _text(summary: Summary) -> str:
    counts = ", ".join(f"{summary.fates[fate]} {fate}" for fate in Fate if summary.fates[fate])
    would = "would be " if summary.dry_run else ""
    new = f", {summary.new} of them new" if summary.new else ""
    callbacks = f"{counted(summary.callbacks, 'callback')}{f': {counts}' if counts else ''}{new}"
    return f"{callbacks}\n{counted(summary.entries, 'ledger entry', 'ledger entries')} {would}appended"


def _failures(summary: Summary) -> str:
    failed = summary.fates[Fate.FAILED]
    if not failed:
        return ""
    return "\n".join((*summary.failures, f"{counted(failed, 'callback')} could not be applied; nothing came of them"))
