"""The map of the rooms in docs/architecture.md: which room imports which, what each is for, what it must not know.

The map follows from the imports, the layers from pyproject.toml, the words from the docstring of each room.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGE = "receiver"


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """By room, the rooms that it imports."""
    graph = grimp.build_graph(PACKAGE)
    rooms = sorted(graph.find_children(PACKAGE))
    for room in rooms:
        graph.squash_module(room)
    return {
        room.rpartition(".")[2]: frozenset(
            found.rpartition(".")[2]
            for found in graph.find_modules_directly_imported_by(room)
            if found not in (PACKAGE, room)
        )
        for room in rooms
    }


def layers() -> list[list[str]]:
    """The rooms of each layer, from above."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("containers") == [PACKAGE])
    return [re.split(r" [|:] ", layer) for layer in contract["layers"]]


def rooms_map() -> str:
    """A Mermaid chart: an arrow to each room that a room needs, but for those it reaches through another one anyway."""
    placed = layers()
    lines = ["```mermaid", "flowchart TB"]
    for number, rooms in enumerate(placed):
        lines += [f"    subgraph layer{number}[ ]", *(f"        {room}" for room in rooms), "    end"]
    for room in (room for rooms in placed for room in rooms):
        lines += [f"    {room} --> {target}" for target in sorted(_needed(room))]
    return "\n".join([*lines, "```"])


def rooms_table() -> str:
    """Each room, from above: what it is for, what it must not know, what it imports."""
    rows = ["| room | is for | must not | imports |", "| --- | --- | --- | --- |"]
    for room in (room for rooms in layers() for room in rooms):
        purpose, limits = _described(room)
        rows.append(f"| `{room}` | {purpose} | {limits} | {', '.join(sorted(imports()[room]))} |")
    return "\n".join(rows)


def _needed(room: str) -> frozenset[str]:
    direct = imports()[room]
    through = frozenset[str]().union(*(_reached(other) for other in direct))
    return direct - through


@cache
def _reached(room: str) -> frozenset[str]:
    direct = imports()[room]
    return direct.union(*(_reached(other) for other in direct))


def _described(room: str) -> tuple[str, str]:
    path = ROOT / PACKAGE / room
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split()).replace("|", "\\|")
    sentences = re.split(r"(?<=\.) (?=[A-Z`])", text)
    limits = next((one for one in sentences if re.match(r"Pure\b|(It |This file )?[Mm](ust|ay) not", one)), "")
    return sentences[0].rstrip("."), re.sub(r"^.*?\bnot ", "", limits).rstrip(".")
