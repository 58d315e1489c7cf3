"""Keeps the world in one SQLite file, so that it survives a restart; without a folder, in memory only.

What has changed is written before the request is answered and before the callback is sent. Work in progress is not
kept: ESC loses it too (docs/esc-callbacks.md#1, "in-flight work"). This file must not know what the values mean.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from esc_lab.emulator.world import DeploymentRecord, World
from esc_lab.simulator.resource_scripts import Resource
from receiver.errors import SetupError

FILE = "emulator.sqlite"
PARTS: dict[str, Any] = {"resources": Resource, "deployments": DeploymentRecord, "incarnations": int, "settings": str}
"""The attributes of the world that are kept, and the type of their values."""


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
                "CREATE TABLE IF NOT EXISTS world (part TEXT, key TEXT, value BLOB, PRIMARY KEY (part, key)) STRICT"
            )
        except (OSError, sqlite3.Error) as error:
            raise SetupError(f"{path} cannot be used to keep the emulator's state: {error}") from error
        self._keeps = folder is not None
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def count_start(self) -> int:
        """How often an emulator was started on this state before; counts this start."""
        rows = self._database.execute("SELECT value FROM world WHERE part = 'starts'").fetchall()
        starts = int(rows[0][0]) if rows else 0
        self._database.execute("INSERT OR REPLACE INTO world VALUES ('starts', '', ?)", (str(starts + 1).encode(),))
        return starts

    def load(self, world: World) -> None:
        """Everything that was kept, into a new world; raises SetupError for what another version has kept."""
        for part in PARTS:
            rows = self._database.execute("SELECT key, value FROM world WHERE part = ? ORDER BY key", (part,))
            try:
                getattr(world, part).update((key, _adapter(part).validate_json(value)) for key, value in rows)
            except ValidationError as error:
                where = f"{self._path} holds {part} of another version of the emulator"
                raise SetupError(f"{where}; remove it, or name another folder") from error
        world.changed.clear()

    def save(self, world: World) -> None:
        """What has changed."""
        if self._keeps and world.changed:
            changes = sorted(world.changed)
            found = [(part, key, getattr(world, part).get(key)) for part, key in changes]
            rows = [(part, key, _adapter(part).dump_json(value)) for part, key, value in found if value is not None]
            self._database.execute("BEGIN")
            self._database.executemany("DELETE FROM world WHERE part = ? AND key = ?", changes)
            self._database.executemany("INSERT INTO world VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
        world.changed.clear()


@cache
def _adapter(part: str) -> TypeAdapter[Any]:
    return TypeAdapter(PARTS[part])
