"""An event of the feed as one line for a person: when, what, who, from where to where, why. Must not know its way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from receiver.cli.terminal import colour_of
from receiver.model.sanitize import plain


def line(event: dict[str, Any]) -> str:
    """Its ledger entry, or the callback that was not understood."""
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
