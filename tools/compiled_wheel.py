"""A hatchling build hook: compiles the pure rooms with mypyc, so that a callback costs a fifth less (docs/speed.md).

Off unless HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 is set: then a C compiler is needed, and the wheel fits one Python on one
kind of machine. The same files are in it as sources, for whoever reads a traceback. Must not know what is in the rooms.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("events", "lifecycle", "model", "parsing", "redaction")
"""Those that wait for nothing."""
LEFT_OUT = ("__init__.py", "entities.py", "body_readers.py", "reader_process.py")
"""Interfaces of rooms; rows, because the API's documents are written from their annotations, which mypyc drops; and the
processes for large bodies, because it knows no asynchronous generators."""
CONFIGURATION = "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"
"""Types were checked with all that the code imports; here nothing of it need be installed."""


def prepared(root: Path, folder: Path) -> list[str]:
    """Copy the package `receiver` from a checkout into this folder; the files to compile, as paths in it."""
    package = copytree(root / "receiver", folder / "receiver", ignore=ignore_patterns("*.so", "__pycache__"))
    (folder / "mypy.ini").write_text(CONFIGURATION, "utf-8")
    found = sorted(file for room in ROOMS for file in (package / room).glob("*.py") if file.name not in LEFT_OUT)
    return [str(file.relative_to(folder)) for file in found]


def compiled_copy(root: Path, folder: Path) -> None:
    """The same, and compile them there. Raises CalledProcessError."""
    command = (sys.executable, "-m", "mypyc", *prepared(root, folder))
    environment = os.environ | {"MYPYC_OPT_LEVEL": "2"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)  # noqa: S603 - ours


def _extensions(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.so")
    yield from (folder / "receiver").rglob("*.so")


class CompiledWheel(BuildHookInterface[Any]):
    """Made in a copy: nothing compiled is left beside the sources, where it would hide what is changed in them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the result in the wheel."""
        if version == "editable":
            return
        self._copy = TemporaryDirectory(prefix="esc-receiver-compiled-")
        folder = Path(self._copy.name)
        compiled_copy(Path(self.root), folder)
        for extension in _extensions(folder):
            build_data["force_include"][str(extension)] = str(extension.relative_to(folder))
        build_data |= {"pure_python": False, "infer_tag": True}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if version != "editable":
            self._copy.cleanup()


def main(folder: Path) -> None:
    """A folder to put before the checkout on PYTHONPATH: for bench and tests."""
    root = Path(__file__).parents[1]
    rmtree(folder, ignore_errors=True)
    compiled_copy(root, folder)
    copytree(root / "migrations", folder / "migrations")
    rmtree(folder / "build")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
