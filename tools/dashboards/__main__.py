"""`python -m tools.dashboards`: writes the boards' JSON.

`--check` writes nothing, and exits with 1 when one is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import feed, fleet, lifecycle, operations, service
from tools.dashboards.parts import Board

FOLDER = Path(__file__).parents[2] / "dashboards" / "boards"
BOARDS: tuple[Board, ...] = (fleet.BOARD, lifecycle.BOARD, operations.BOARD, service.BOARD, feed.BOARD)


def fresh() -> dict[Path, str]:
    """What the files should be."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {FOLDER / f"{board.uid}.json": encoder.encode(board.build()) + "\n" for board in BOARDS}


def stale() -> dict[Path, str]:
    """Those that are not so, or not there; and those that are there and should not be (empty)."""
    wanted = fresh()
    extra = {path: "" for path in FOLDER.glob("*.json") if path not in wanted}
    return extra | {path: text for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}


def main() -> None:
    """Write, or with `--check` only tell."""
    checking = "--check" in sys.argv[1:]
    found = stale()
    for path, text in found.items():
        sys.stdout.write(f"{'stale' if checking else 'written'}: {path.name}\n")
        if checking:
            continue
        if text:
            path.write_text(text, "utf-8")
        else:
            path.unlink()
    sys.exit(1 if checking and found else 0)


if __name__ == "__main__":
    main()
