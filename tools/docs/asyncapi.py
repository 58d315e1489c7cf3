"""docs/asyncapi.json: what the feed has promised its consumers, as of the last time that it was written.

It is written anew for additions only. What would break consumers is refused until the version in the subjects, and
so in every `ce-type`, says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from receiver.api.asyncapi import document
from tools.docs.openapi import schema_breaks

COPY = Path(__file__).parents[2] / "docs" / "asyncapi.json"


def written() -> bytes:
    """The document as the code is."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2) + b"\n"


def renew(copy: Path = COPY, *, checking: bool = False) -> bool:
    """Bring the copy up to date; whether it was not. Ends the program when that would break a promise."""
    before, after = copy.read_bytes() if copy.exists() else b"", written()
    if before and (found := refused(orjson.loads(before), orjson.loads(after))):
        raise SystemExit(f"consumers of the feed would break; publish them under another version: {'; '.join(found)}")
    if before != after and not checking:
        copy.write_bytes(after)
    return before != after


def refused(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What breaks consumers, unless the major version is another."""
    majors = {told["info"]["version"].partition(".")[0] for told in (before, after)}
    return breaks(before, after) if len(majors) == 1 else []


def breaks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What consumers of `before` would miss: subjects, headers, fields, and that a field is always there."""
    found = []
    for name, channel in before["channels"].items():
        if after["channels"].get(name, {}).get("address") != channel["address"]:
            found.append(f"subject {channel['address']} is gone")
    for name, schema in before["components"]["schemas"].items():
        found += schema_breaks(name, schema, after["components"]["schemas"].get(name))
    return found
