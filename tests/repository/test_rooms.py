"""The rooms: every module of the program has its layer, and no file name stands in two rooms by chance."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("receiver", "esc_lab", "chaos", "benchmarks", "tools")
ENTRIES_MAX = 29
"""With `webhooks`: posting events needs HTTP and a table, neither of which `publishing` should know.
With `reconcile`: a client of ESC is neither a job, which knows no HTTP, nor a way in."""
LAYERS_MAX = 10
SAME_IN_EACH = {
    "__init__": "what a room is for",
    "routes": "the paths a room serves",
}
"""File names that may stand in several rooms, because they are the same thing in each."""


def contract_of(package: str) -> dict[str, object]:
    """The contract that puts the modules of a package into layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    found: list[dict[str, object]] = [one for one in contracts if one.get("containers") == [package]]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_layers_of_a_package_are_exhaustive(package: str) -> None:
    """So that `make check` fails for a module in no layer."""
    assert contract_of(package)["exhaustive"] is True


def test_a_module_in_no_layer_breaks_a_contract(tmp_path: Path) -> None:
    """In each package, a stray one is named."""
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc", "callbacks"))
        (tmp_path / package / "stray.py").write_text('"""A module that nobody has put into a layer."""\n')
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    assert ran.returncode == 1
    assert [package for package in PACKAGES if f"{package}.stray" not in ran.stdout] == [], ran.stdout


def test_the_receiver_is_rooms_and_little_else() -> None:
    """A newcomer looks at one screen."""
    entries = [path.name for path in (ROOT / "receiver").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= ENTRIES_MAX
    loose = {name for name in entries if name.endswith(".py")}
    assert loose == {"app.py", "errors.py", "__init__.py", "__main__.py"}
    layers = contract_of("receiver")["layers"]
    assert isinstance(layers, list)
    assert len(layers) <= LAYERS_MAX


def test_no_file_name_stands_in_two_rooms() -> None:
    """Unless it is the same thing in each; then the reason stands here."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "receiver").rglob("*.py"):
        rooms[path.stem].add(path.relative_to(ROOT / "receiver").parts[0])
    twice = {name for name, where in rooms.items() if len(where) > 1}
    assert twice - set(SAME_IN_EACH) == set()
