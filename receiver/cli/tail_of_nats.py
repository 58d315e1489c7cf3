"""What `esc-receiver tail` shows of a NATS: events read with a consumer that leaves nothing behind.

Apart from `tail`, which has no use for NATS when it asks a receiver. Must not know how the feed comes about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import product

import click
import orjson

from esc_receiver_client import EscFeed, Event, NotAnEventError
from receiver.cli.feed_lines import line
from receiver.cli.nats_options import NatsOptions
from receiver.events.subjects import token
from receiver.model.sanitize import plain
from receiver.publishing.nats_access import NatsAccess


async def follow(
    url: str,
    nats: NatsOptions,
    stream: str,
    subject_prefix: str,
    filters: Mapping[str, Sequence[str]],
    limit: int | None,
    *,
    from_start: bool,
    as_json: bool,
) -> None:
    """Print the events that match; the subject's place of a deployment depends on the entity."""
    access = NatsAccess(url, nats.credentials(), nats.ca_file, nats.cert_file, nats.key_file, nats.tls_first)
    subjects = _subjects(subject_prefix, filters["entity"], filters["change"], filters["source"])
    show: Callable[[Event], str] = _as_cloud_event if as_json else _as_line
    shown = 0
    async with (
        EscFeed(access.servers, stream=stream, name="esc-receiver tail", **access.options()) as feed,
        aclosing(feed.subscribe(subjects=subjects, start="beginning" if from_start else "new")) as events,
    ):
        async for event in events:
            if filters["deployment"] and _deployment(event) not in filters["deployment"]:
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
        return line(event.json())
    except (NotAnEventError, ValueError, KeyError, TypeError):
        return plain(f"{event.nats_subject}  {len(event.raw)} bytes that are none of ours")
