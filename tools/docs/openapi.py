"""docs/openapi.json: what the query API has promised its clients, as of the last time that it was written.

It is written anew for additions only. What would break clients is refused until the major version of the API says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from receiver.api.api_document import document
from receiver.api.endpoints import catalogue
from receiver.config.settings import Settings

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"


def written() -> bytes:
    """The document as the code is, with the settings' defaults."""
    return orjson.dumps(document(catalogue(Settings()), is_open=True), option=orjson.OPT_INDENT_2) + b"\n"


def renew(copy: Path = COPY, *, checking: bool = False) -> bool:
    """Bring the copy up to date; whether it was not. Ends the program when that would break a promise."""
    before, after = copy.read_bytes(), written()
    if found := refused(orjson.loads(before), orjson.loads(after)):
        raise SystemExit(f"clients of the query API would break; raise API_VERSION's major: {'; '.join(found)}")
    if before != after and not checking:
        copy.write_bytes(after)
    return before != after


def refused(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What breaks clients, unless the major version is another."""
    majors = {told["info"]["version"].partition(".")[0] for told in (before, after)}
    return breaks(before, after) if len(majors) == 1 else []


def breaks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What clients of `before` would miss."""
    found = []
    for path, methods in before["paths"].items():
        for method, operation in methods.items():
            other = after["paths"].get(path, {}).get(method)
            found += (
                [f"{method} {path} is gone"]
                if other is None
                else _operation_breaks(f"{method} {path}", operation, other)
            )
    for name, schema in before["components"]["schemas"].items():
        found += schema_breaks(name, schema, after["components"]["schemas"].get(name))
    return found


def _operation_breaks(where: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = ({p["name"]: p for p in operation["parameters"]} for operation in (before, after))
    found = [f"{where}: {name} is gone" for name in old.keys() - new.keys()]
    found += [f"{where}: {name} is demanded" for name in new.keys() - old.keys() if new[name]["required"]]
    for name in old.keys() & new.keys():
        was, now = (p["schema"].get("items", p["schema"]) for p in (old[name], new[name]))
        if set(was.get("enum", [])) - set(now.get("enum", was.get("enum", []))):
            found.append(f"{where}: {name} takes fewer values")
        if now.get("maximum", 0) < was.get("maximum", 0) or now.get("minimum", 0) > was.get("minimum", 0):
            found.append(f"{where}: {name} is narrower")
    found += [f"{where}: {status} is gone" for status in before["responses"].keys() - after["responses"].keys()]
    return found


def schema_breaks(where: str, before: Any, after: Any) -> list[str]:
    """What those who read by `before` would miss, also in the objects inside."""
    if after is None:
        return [f"{where} is gone"]
    if not isinstance(before, dict) or "properties" not in before:
        return [] if before == after or isinstance(before, dict) else [f"{where} is another"]
    if "properties" not in after:
        return [f"{where} is another"]
    found = [
        f"{where}: {name} is not promised any more"
        for name in set(before.get("required", [])) - set(after.get("required", []))
    ]
    for name, schema in before["properties"].items():
        other = after["properties"].get(name)
        if other is None:
            found.append(f"{where}.{name} is gone")
        elif schema.get("type") != other.get("type"):
            found.append(f"{where}.{name} has another type")
        elif "properties" in schema:
            found += schema_breaks(f"{where}.{name}", schema, other)
    return found
