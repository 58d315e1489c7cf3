"""Which cells there are, and which source belongs to which: one TOML file that all of them share (docs/cells.md).

Values only. Must not know what is done with them.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from re import fullmatch
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from receiver.config.settings import Settings
from receiver.config.sources import SourceName
from receiver.errors import SettingsError


def _name(name: str) -> str:
    if not fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        raise ValueError("a cell's name is 1 to 32 letters, digits, '-' or '_', not first: it is a part of subjects")
    return name


CellName = Annotated[str, AfterValidator(_name)]


class Elsewhere(NamedTuple):
    """A source that belongs to another cell."""

    source: str
    cell: str
    url: str | None
    """Of that cell, if it is told."""


class Cell(BaseModel):
    """One PostgreSQL with its receivers."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # few have such a file
    url: str = Field("", pattern=r"^(https?://\S+)?$")
    """Of its board and query API, for people and programs; empty: it is not linked to."""
    sources: tuple[SourceName, ...] = ()


class Cells(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # few have such a file
    stream: str = Field("ESC", pattern=r"^[^\s.*>/\\]+$")
    """The one stream that all others are joined in."""
    subject_prefix: str = Field("esc.v1", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")
    """First tokens of its subjects."""
    cells: Mapping[CellName, Cell] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_source_once(self) -> Cells:
        times = Counter(source for cell in self.cells.values() for source in cell.sources)
        if twice := sorted(source for source, number in times.items() if number > 1):
            raise ValueError(f"a source belongs to one cell: {', '.join(twice)}")
        return self

    @property
    def places(self) -> dict[str, str]:
        """Source to cell, by name of the source."""
        pairs = ((source, name) for name, cell in self.cells.items() for source in cell.sources)
        return dict(sorted(pairs))

    def elsewhere(self, cell: str) -> list[Elsewhere]:
        """What belongs to others than this cell."""
        return [
            Elsewhere(source, one, self.cells[one].url or None) for source, one in self.places.items() if one != cell
        ]

    def stream_of(self, cell: str) -> str:
        """What a cell publishes to: its STREAM_NAME."""
        return f"{self.stream}-{cell}"

    def prefix_of(self, cell: str) -> str:
        """The first tokens of what it publishes: its SUBJECT_PREFIX. The version stays last."""
        head, dot, version = self.subject_prefix.rpartition(".")
        return f"{head}{dot}{cell}.{version}"


def read_cells(path: Path) -> Cells:
    """The file. Raises SettingsError, a line for each fault."""
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    try:
        return Cells.model_validate(found)
    except ValidationError as error:
        raise SettingsError("\n".join(_fault(path, one) for one in error.errors())) from error


def cells_of(settings: Settings) -> Cells | None:
    """Of a receiver; None: it is the only cell.

    Raises SettingsError, also when its own names are not those of the file: two cells with one stream would each take
    the other for a stranger.
    """
    if settings.cells_file is None:
        if settings.cell:
            raise SettingsError("ESC_RECEIVER_CELLS_FILE: not set, but ESC_RECEIVER_CELL is")
        return None
    cells, cell = read_cells(settings.cells_file), settings.cell
    if cell not in cells.cells:
        raise SettingsError(
            f"ESC_RECEIVER_CELL: {cell or 'not set'}; {settings.cells_file} has {', '.join(cells.cells)}"
        )
    wanted = {"STREAM_NAME": cells.stream_of(cell), "SUBJECT_PREFIX": cells.prefix_of(cell)}
    found = {"STREAM_NAME": settings.stream_name, "SUBJECT_PREFIX": settings.subject_prefix}
    wrong = [f"ESC_RECEIVER_{name}: {found[name]}, but cell {cell} has {wanted[name]}"
             for name in wanted if found[name] != wanted[name]]  # fmt: skip
    if wrong:
        raise SettingsError("\n".join(wrong))
    return cells


def _fault(path: Path, error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    return f"{path}: {place + ': ' if place else ''}{error['msg'].removeprefix('Value error, ')}"
