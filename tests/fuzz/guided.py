"""One target with atheris, in a process of its own, because libFuzzer ends the process that it runs in.

    python -m tests.fuzz.guided TARGET FOLDER [options of libFuzzer]

FOLDER gets what reaches new code, to go on with the next time, and in `broken` the inputs that break the property.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

GUIDES = ("redaction", "parsing", "spool", "api", "http", "model")
"""Rooms whose code is watched."""

with atheris.instrument_imports(include=[f"receiver.{room}" for room in GUIDES]):
    from tests.fuzz.targets import BROKEN, TARGETS


def main() -> None:
    """Fuzz until the options say that it is enough."""
    name, folder, *options = sys.argv[1:]
    target, kept, broken = TARGETS[name], Path(folder) / name, Path(folder) / BROKEN
    for path in (kept, broken):
        path.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (kept / f"seed-{number}").write_bytes(seed[: target.bytes_max])
    limits = [f"-artifact_prefix={broken}/{name}-", "-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(kept), *limits, *options], target.holds)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
