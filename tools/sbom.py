"""`make sbom`: the parts of what we ship as CycloneDX, from a lock: `python -m tools.sbom LOCK FILE`.

From `run` (what `serve --embedded` and the tools need) or `image` (what is in the container image). Every part has the
hashes that are demanded of it when it is installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("run", "image")
INDEX = "https://pypi.org/simple"
"""Named in the document whatever index this machine uses."""


def main() -> None:
    """Write the document."""
    lock, file = sys.argv[1:]
    options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--index-url", INDEX, "--spec-version", "1.6")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cyclonedx_py",
        "requirements",
        *options,
        "--output-file",
        str(Path(file).absolute()),
    ]
    subprocess.run([*command, f"requirements/{lock}.lock"], cwd=ROOT, check=True)  # noqa: S603 - our own locks
    sys.stdout.write(f"written: {file}\n")


if __name__ == "__main__":
    main()
