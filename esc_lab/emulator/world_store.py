"""Keeps the world in one SQLite file, so that it survives a restart; without a folder, in memory only.

What has changed is written before the request is answered and before the callback is sent. Work that was going on is
not kept: ESC loses it too (docs/esc-callbacks.md#1, "in-flight work"). This file must not know what the values mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from esc_lab.emulator.world import (
    DEPLOYMENTS,
    INCARNATIONS,
    KEY_SEPARATOR,
    OWN,
    PARAMETERS,
    THINGS,
    Parameter,
    Placed,
    Thing,
    World,
)
from receiver.errors import SetupError

FILE = "emulator.sqlite"
BOOTS = "boots"


class Store:
    """One file, or none."""

    def __init__(self, folder: Path | None) -> None:
        """Raises SetupError when the file cannot be used."""
        path = ":memory:"
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                path = str(folder / FILE)
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS kept (part TEXT, key TEXT, value BLOB, PRIMARY KEY (part, key)) STRICT"
            )
        except (OSError, sqlite3.Error) as error:
            raise SetupError(f"{path} cannot be used to keep the emulator's state: {error}") from error
        self._keeps = folder is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def boots(self) -> int:
        """How often this state was taken up before; counts."""
        row = self._database.execute("SELECT value FROM kept WHERE part = ? AND key = ''", (BOOTS,)).fetchone()
        boots = int(row[0]) if row else 0
        self._database.execute("INSERT OR REPLACE INTO kept VALUES (?, '', ?)", (BOOTS, str(boots + 1).encode()))
        return boots

    def load(self, world: World) -> None:
        """Everything that was kept, into an empty world."""
        for thing in self._all(THINGS):
            world.put(thing)
        for parameter in self._all(PARAMETERS):
            world.parameters[parameter.category, parameter.key] = parameter
        for placed in self._all(DEPLOYMENTS):
            world.deployments[placed.id] = placed
            world.names[placed.full_name] = placed.id
        for deployment_id, number in self._rows(INCARNATIONS):
            world.incarnations[deployment_id] = int(number)
        world.own.update((name, value.decode()) for name, value in self._rows(OWN))
        world.touched.clear()

    def keep(self, world: World) -> None:
        """What has changed."""
        if self._keeps and world.touched:
            changes = [(part, key, _value(world, part, key)) for part, key in sorted(world.touched)]
            self._database.execute("BEGIN")
            self._database.executemany("DELETE FROM kept WHERE part = ? AND key = ?", [one[:2] for one in changes])
            there = [one for one in changes if one[2] is not None]
            self._database.executemany("INSERT INTO kept VALUES (?, ?, ?)", there)
            self._database.execute("COMMIT")
        world.touched.clear()

    def _all(self, part: str) -> Iterable[Any]:
        return (_adapter(part).validate_json(value) for _, value in self._rows(part))

    def _rows(self, part: str) -> list[tuple[str, bytes]]:
        return self._database.execute("SELECT key, value FROM kept WHERE part = ? ORDER BY key", (part,)).fetchall()


@cache
def _adapter(part: str) -> TypeAdapter[Any]:
    return TypeAdapter({THINGS: Thing, DEPLOYMENTS: Placed, PARAMETERS: Parameter}[part])


def _value(world: World, part: str, key: str) -> bytes | None:
    """None: it is gone."""
    if part == INCARNATIONS:
        return str(world.incarnations[key]).encode()
    if part == OWN:
        return world.own[key].encode()
    if part == THINGS:
        kind, parent, thing_id = key.split(KEY_SEPARATOR, 2)
        found: Any = world.things.get((kind, parent, thing_id))
    elif part == DEPLOYMENTS:
        found = world.deployments.get(key)
    else:
        category, _, name = key.partition("/")
        found = world.parameters.get((category, name))
    return None if found is None else _adapter(part).dump_json(found)
