"""The live feed of a receiver, read as it comes; after a break it goes on behind the last event, nothing twice.

Server-sent events, as `GET /api/v1/feed` sends them. It must not know what an event is about.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any

from receiver.cli.api_client import API, QueryClient, UnansweredError

SILENCE_S_MAX = 60.0
"""Longer than the pause between two signs of life (`feed_heartbeat_s`): then the connection is taken for broken."""
AGAIN_S = 1.0
BEGINNING = "0-0"


def entries(
    client: QueryClient, filters: Mapping[str, tuple[str, ...]], *, from_start: bool
) -> Generator[dict[str, Any], None, None]:
    """Ledger entries, for ever. Raises AskError when the feed cannot be read at the start."""
    position, began = (BEGINNING if from_start else None), False
    while True:
        headers = {"Last-Event-ID": position} if position else {}
        try:
            with client.open(f"{API}/feed", filters, SILENCE_S_MAX, headers) as answer:
                began = True
                for place, data in _events(answer):
                    position = place or position
                    if data:
                        yield json.loads(data)
        except UnansweredError:
            if not began:
                raise
        time.sleep(AGAIN_S)


def _events(answer: HTTPResponse) -> Iterator[tuple[str, str]]:
    """Id and data of each event until the connection ends; what was cut off does not count."""
    place, data = "", ""
    try:
        for raw in answer:
            line = raw.decode().rstrip("\r\n")
            name, _, value = line.partition(": ")
            if name == "id":
                place = value
            elif name == "data":
                data = value
            elif not line:
                yield place, data
                place, data = "", ""
    except (OSError, HTTPException) as error:
        raise UnansweredError("the feed was cut off") from error
