"""`esc-receiver tail`: follows the feed in the terminal, of a receiver or straight from JetStream.

From JetStream it reads with a consumer of its own that leaves nothing behind, and needs no receiver to be up. Either
way it goes on behind the last message it showed when the other side was away. This file must not know how the feed
comes about.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, closing
from datetime import datetime
from itertools import islice, product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import orjson
from click.core import ParameterSource
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from receiver.cli import options
from receiver.cli.api_client import QueryClient
from receiver.cli.endpoints_file import read_endpoints
from receiver.cli.terminal import colour_of
from receiver.errors import SetupError
from receiver.events.cloudevents import SUBJECTS
from receiver.events.subjects import token
from receiver.model.entities import EntityKind
from receiver.model.sanitize import plain

FETCH_MESSAGES_MAX = 256
FETCH_S = 2.0
CONNECT_S = 3.0
RETRY_S = 0.5
CONSUMER_INACTIVE_S = 60.0
"""JetStream deletes the consumer when nobody has fetched from it for so long."""

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
            with QueryClient(url, token) as client, closing(client.feed(filters, from_start=from_start)) as entries:
                for entry in islice(entries, limit):
                    click.echo(plain(orjson.dumps(entry).decode()) if as_json else _line(entry))
        else:
            subjects = _subjects(filters["entity"], filters["change"], filters["source"])
            feed = follow(nats_url, stream, subjects, from_start=from_start)
            asyncio.run(_print(feed, _as_cloud_event if as_json else _as_line, filters["deployment"], limit))
    except KeyboardInterrupt:
        return


async def _print(
    feed: AsyncGenerator[Msg], show: Callable[[Msg], str], deployments: Sequence[str], limit: int | None
) -> None:
    """The messages of these deployments, or all; the subject's place of a deployment depends on the entity."""
    shown = 0
    async with aclosing(feed) as messages:
        async for message in messages:
            if deployments and _deployment(message) not in deployments:
                continue
            click.echo(show(message))
            shown += 1
            if shown == limit:
                return


def _deployment(message: Msg) -> str | None:
    try:
        return str(orjson.loads(message.data)["deployment"])
    except (ValueError, KeyError, TypeError):
        return None


def _subjects(entities: Sequence[str], changes: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Non-overlapping subjects that match the filters. What follows the source has at least one token, or none."""
    starts = [".".join((SUBJECTS, *parts)) for parts in product(_tokens(entities), _tokens(changes), _tokens(sources))]
    return [f"{start}{end}" for start in starts for end in ("", ".>")]


def _tokens(texts: Sequence[str]) -> list[str]:
    return sorted({token(text) for text in texts}) or ["*"]


async def follow(url: str, stream: str, subjects: list[str], *, from_start: bool) -> AsyncGenerator[Msg]:
    """The messages with one of `subjects` (wildcards allowed), for ever; to be closed by the caller (`aclosing`).

    Raises SetupError when NATS cannot be reached or has no such stream at the start.
    """
    client = await _connected(url)
    try:
        last = await _last_sequence(client, stream)
        sequence = 0 if from_start else last
        while True:
            try:
                async for message in _read(client, stream, subjects, sequence):
                    sequence = message.metadata.sequence.stream
                    yield message
            except (NatsError, OSError):
                await asyncio.sleep(RETRY_S)  # NATS is away or has forgotten the consumer: read on with a new one
    finally:
        await client.close()


async def _read(client: Client, stream: str, subjects: list[str], after_sequence: int) -> AsyncGenerator[Msg]:
    """The messages after a sequence number. Raises NatsError when the consumer is gone."""
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after_sequence + 1,
        ack_policy=AckPolicy.NONE,
        filter_subjects=subjects,
        mem_storage=True,
        num_replicas=1,
        inactive_threshold=CONSUMER_INACTIVE_S,
    )
    subscription = await client.jetstream().pull_subscribe("", stream=stream, config=config)
    pending = (await subscription.consumer_info()).num_pending or 0
    while True:
        # No more than there are: nats-py would wait for the rest of them before it showed the first.
        wanted = max(1, min(pending, FETCH_MESSAGES_MAX))
        try:
            messages = await subscription.fetch(wanted, timeout=FETCH_S)
        except (NatsTimeoutError, TimeoutError):
            pending = (await subscription.consumer_info()).num_pending or 0
            continue
        for message in messages:
            pending = message.metadata.num_pending
            yield message


async def _connected(url: str) -> Client:
    """Raises SetupError, which does not show the password that the URL may hold."""
    client, faults = Client(), [""]

    async def note(error: Exception) -> None:
        faults[0] = f": {error}"

    try:
        async with asyncio.timeout(CONNECT_S):
            await client.connect(
                url.split(","),
                name="esc-receiver tail",
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_S,  # type: ignore[arg-type]  # seconds, whole or not
                error_cb=note,
            )
    except (NatsError, OSError, ValueError, TimeoutError) as error:
        servers = ", ".join(server.rpartition("@")[2] for server in url.split(","))
        raise SetupError(f"NATS cannot be reached at {servers}{faults[0]}") from error
    return client


async def _last_sequence(client: Client, stream: str) -> int:
    try:
        return int((await client.jetstream().stream_info(stream)).state.last_seq)
    except NotFoundError as error:
        raise SetupError(f"this NATS has no stream {stream}: has a receiver been connected to it?") from error
    except NatsError as error:
        raise SetupError(f"JetStream does not answer: {error}") from error


def _as_cloud_event(message: Msg) -> str:
    """The JSON format of CloudEvents 1.0."""
    headers = message.headers or {}
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    attributes["datacontenttype"] = headers.get("content-type", "application/json")
    try:
        data = {"data": orjson.loads(message.data)}
    except orjson.JSONDecodeError:
        data = {"data_base64": b64encode(message.data).decode()}
    return plain(orjson.dumps(attributes | data).decode())


def _as_line(message: Msg) -> str:
    """One line for a person: when, what, who, from where to where, why."""
    try:
        return _line(orjson.loads(message.data))
    except (ValueError, KeyError, TypeError):
        return plain(f"{message.subject}  {len(message.data)} bytes that are none of ours")


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
