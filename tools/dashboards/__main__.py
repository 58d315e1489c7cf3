"""`python -m tools.dashboards`: writes the boards' JSON and Prometheus's rules.

`--check` writes nothing, and exits with 1 when one is stale. `--mixin FILE --rules FOLDER` writes rules with other
values into another folder, and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import feed, fleet, lifecycle, operations, rules, service
from tools.dashboards.parts import Board

FOLDER = Path(__file__).parents[2] / "dashboards" / "boards"
BOARDS: tuple[Board, ...] = (fleet.BOARD, lifecycle.BOARD, operations.BOARD, service.BOARD, feed.BOARD)


def fresh() -> dict[Path, str]:
    """What the files should be."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {FOLDER / f"{board.uid}.json": encoder.encode(board.build()) + "\n" for board in BOARDS} | rules.fresh()


def stale() -> dict[Path, str]:
    """Those that are not so, or not there; and those that are there and should not be (empty)."""
    wanted = fresh()
    there = [*FOLDER.glob("*.json"), *rules.FOLDER.glob("*")]
    return _other_than_there(wanted) | {path: "" for path in there if path not in wanted}


def _other_than_there(wanted: Mapping[Path, str]) -> dict[Path, str]:
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}


def _write(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        else:
            path.unlink()


def main() -> None:
    """Write, or with `--check` only tell."""
    options = argparse.ArgumentParser(description="Write the boards' JSON and Prometheus's rules.")
    options.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    options.add_argument("--mixin", type=Path, help="values for the rules, instead of dashboards/mixin.toml")
    options.add_argument("--rules", type=Path, help="where rules with these values go")
    given = options.parse_args()
    if bool(given.mixin) != bool(given.rules):
        options.error("--mixin and --rules go together")
    found = _other_than_there(rules.fresh(given.mixin, given.rules)) if given.mixin else stale()
    for path in found:
        sys.stdout.write(f"{'stale' if given.check else 'written'}: {path.name}\n")
    if not given.check:
        _write(found)
    sys.exit(1 if given.check and found else 0)


if __name__ == "__main__":
    main()
