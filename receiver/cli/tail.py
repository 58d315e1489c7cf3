"""`esc-receiver tail`: follows the feed in the terminal, of a receiver or straight from JetStream.

From JetStream it reads with a consumer of its own that leaves nothing behind, and needs no receiver to be up. Either
way it goes on behind the last message it showed when the other side was away. This file must not know how the feed
comes about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from datetime import datetime
from itertools import islice, product
from pathlib import Path
from typing import Any

import click
import orjson
from click.core import ParameterSource

from esc_receiver_client import EscFeed, Event, FeedUnreachableError, NotAnEventError, SyncEscReceiver
from esc_receiver_client.questions import FEED_BEGINNING
from receiver.cli import nats_options, options
from receiver.cli.endpoints_file import read_endpoints
from receiver.cli.terminal import colour_of
from receiver.errors import SetupError
from receiver.events.cloudevents import SUBJECTS
from receiver.events.subjects import token
from receiver.model.entities import EntityKind
from receiver.model.sanitize import plain
from receiver.publishing.nats_access import NatsAccess

EPILOG = """\b
Examples:
  esc-receiver tail                                  what happens from now on
  esc-receiver tail --from-start --entity vm         all that happened to VMs
  esc-receiver tail --change error --change failed   failures only
  esc-receiver tail --data-dir data --source lab1    of an embedded receiver, from its NATS
  esc-receiver tail --json | jq .to_state            ledger entries (from NATS: CloudEvents), one a line
"""


@click.command("tail", epilog=EPILOG)
@options.url
@options.token
@click.option(
    "--nats-url",
    envvar="ESC_RECEIVER_NATS_URL",
    show_envvar=True,
    help="Read from these NATS servers instead, comma between, unless --url is given.",
)
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where NATS is.")
@nats_options.access
@click.option(
    "--subject-prefix",
    envvar="ESC_RECEIVER_SUBJECT_PREFIX",
    default=SUBJECTS,
    show_default=True,
    help="First tokens of the feed's subjects.",
)
@click.option(
    "--stream",
    envvar="ESC_RECEIVER_STREAM_NAME",
    default="ESC",
    show_default=True,
    help="JetStream stream of the feed.",
)
@click.option(
    "--entity",
    multiple=True,
    type=click.Choice([*(kind.value for kind in EntityKind), "callback"]),
    help="Only these; may be given several times, like the next three. NATS alone tells of callbacks not understood.",
)
@click.option("--change", multiple=True, help="Only this new state or note: alive, error, succeeded …")
@click.option("--source", multiple=True, help="Only this ESC instance.")
@click.option("--deployment", multiple=True, help="Only what belongs to this deployment (internal id).")
@click.option("--from-start", is_flag=True, help="First all that is still kept, then what comes.")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Each message in JSON, one a line; from NATS as a CloudEvent.")
@click.pass_context
def tail_command(
    ctx: click.Context,
    /,
    url: str,
    token: str | None,
    nats_url: str | None,
    data_dir: Path | None,
    access: nats_options.Access,
    subject_prefix: str,
    stream: str,
    from_start: bool,
    limit: int | None,
    as_json: bool,
    **filters: tuple[str, ...],
) -> None:
    """Follow the feed in the terminal, until Ctrl-C.

    It is a receiver's (--url), or the one of a NATS that is named by --nats-url or --data-dir.
    """
    if data_dir:
        nats_url = read_endpoints(data_dir, "nats_url", what="NATS is")["nats_url"]
    elif ctx.get_parameter_source("url") not in (None, ParameterSource.DEFAULT):
        nats_url = None
    try:
        if nats_url is None:
            after = FEED_BEGINNING if from_start else ""
            with SyncEscReceiver(url, token) as client, closing(client.feed(filters, after=after)) as entries:
                for entry in islice(entries, limit):
                    click.echo(plain(orjson.dumps(entry).decode()) if as_json else _line(entry))
        else:
            subjects = _subjects(subject_prefix, filters["entity"], filters["change"], filters["source"])
            show = _as_cloud_event if as_json else _as_line
            how = {"subjects": subjects, "start": "beginning" if from_start else "new"}
            asyncio.run(_print(access(nats_url), stream, how, show, filters["deployment"], limit))
    except KeyboardInterrupt:
        return
    except FeedUnreachableError as error:
        if "SSL" not in str(error):
            raise
        hint = "NATS_CA_FILE says who may sign its certificate, NATS_CERT_FILE what is shown to it"
        raise SetupError(f"{error}; {hint}") from error


async def _print(
    access: NatsAccess,
    stream: str,
    how: Any,
    show: Callable[[Event], str],
    deployments: Sequence[str],
    limit: int | None,
) -> None:
    """The events of these deployments, or all; the subject's place of a deployment depends on the entity."""
    shown = 0
    async with (
        EscFeed(access.servers, stream=stream, name="esc-receiver tail", **access.options()) as feed,
        aclosing(feed.subscribe(**how)) as events,
    ):
        async for event in events:
            if deployments and _deployment(event) not in deployments:
                continue
            click.echo(show(event))
            shown += 1
            if shown == limit:
                return


def _deployment(event: Event) -> str | None:
    try:
        return str(event.json()["deployment"])
    except (NotAnEventError, KeyError):
        return None


def _subjects(prefix: str, entities: Sequence[str], changes: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Non-overlapping subjects that match the filters. What follows the source has at least one token, or none."""
    starts = [".".join((prefix, *parts)) for parts in product(_tokens(entities), _tokens(changes), _tokens(sources))]
    return [f"{start}{end}" for start in starts for end in ("", ".>")]


def _tokens(texts: Sequence[str]) -> list[str]:
    return sorted({token(text) for text in texts}) or ["*"]


def _as_cloud_event(event: Event) -> str:
    return plain(orjson.dumps(event.cloud_event()).decode())


def _as_line(event: Event) -> str:
    """One line for a person: when, what, who, from where to where, why."""
    try:
        return _line(event.json())
    except (NotAnEventError, ValueError, KeyError, TypeError):
        return plain(f"{event.nats_subject}  {len(event.raw)} bytes that are none of ours")


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromisoformat(event["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    who = "/".join(filter(None, (event["source"], event.get("tenant"), *_names(event))))
    colour = colour_of(event["change"])
    change = click.style(f"{plain(event['change']):<12}", fg=colour, bold=colour == "red")
    moved = f"{event['from_state']} → {event['to_state']}  " if "to_state" in event else ""
    why = click.style(plain(f"{event['trigger'] or ''}: {event['reason']}"), dim=True)
    return f"{at}  {plain(event['entity']):<10}  {change}  {plain(who)}  {plain(moved)}{why}"


def _names(event: dict[str, Any]) -> tuple[str | None, ...]:
    match event["entity"]:
        case "vm":
            return (event["deployment"], event["name"])
        case "callback":
            return (event["root"], event["receipt"])
        case _:
            return (event["name"],)
