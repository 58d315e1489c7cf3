"""How things are said on a terminal: the colour of a word, times, JSON. Text from outside is made harmless.

What needs rich is in `tables`. This file must not know where what is shown comes from.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from receiver.model.sanitize import plain

COLOURS = {
    "red": "error failed overdue",
    "green": "alive active succeeded created updated",
    "yellow": "recovering stopping starting rebooting undeploying deploying unclassified cancelled",
    "bright_black": "undeployed deleted stopped inert open",
}


def colour_of(word: str) -> str | None:
    """The colour of a state or a change; None for a word that has none."""
    return next((colour for colour, words in COLOURS.items() if word.lower() in words.split()), None)


def local_time(time: str | None) -> str:
    """A time of the API in the user's zone, to the second."""
    return "" if time is None else f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}"


def local_time_ms(time: str | None) -> str:
    """The same to the millisecond."""
    return "" if time is None else f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]


def duration(since: str, until: str | None = None) -> str:
    """From a time of the API to another, else to now, in the two largest units that matter."""
    end = datetime.fromisoformat(until) if until else datetime.now(UTC)
    length = end - datetime.fromisoformat(since)
    if length < timedelta(minutes=1):
        return f"{max(0.0, length.total_seconds()):.1f} s"
    rounded = timedelta(seconds=round(length.total_seconds()))
    minutes, seconds = divmod(rounded.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if rounded.days:
        return f"{rounded.days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def print_json(document: Any) -> None:
    """One document on one line, so that lists can be read line by line."""
    click.echo(plain(json.dumps(document, ensure_ascii=False)))
