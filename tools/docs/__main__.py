"""`python -m tools.docs`: writes the parts of README and docs that follow from the code, between their markers.

`--check` writes nothing, and exits with 1 when a page is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tools.docs import asyncapi, chart, client_models
from tools.docs.openapi import COPY, renew
from tools.docs.parts import PARTS

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "architecture",
            "settings",
            "operations",
            "lifecycle",
            "feed",
            "metrics",
            "emulator",
            "scale",
            "security",
        )
    ),
)
_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def stale(root: Path = ROOT) -> dict[Path, str]:
    """The pages that are not as the code is, with what they should be."""
    pages = {root / name: (root / name).read_text("utf-8") for name in PAGES}
    fresh = {
        path: _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)
        for path, text in pages.items()
    }
    return {path: text for path, text in fresh.items() if text != pages[path]}


def main() -> None:
    """Write, or with `--check` only tell."""
    checking = "--check" in sys.argv[1:]
    pages = stale()
    for path, text in pages.items():
        sys.stdout.write(f"{'stale' if checking else 'written'}: {path.relative_to(ROOT)}\n")
        if not checking:
            path.write_text(text, "utf-8")
    other = [
        path
        for path, is_renewed in (
            (COPY, renew(checking=checking)),
            (asyncapi.COPY, asyncapi.renew(checking=checking)),
            (client_models.MODELS, client_models.renew(checking=checking)),
            (chart.SCHEMA, chart.renew(checking=checking)),
        )
        if is_renewed
    ]
    for path in other:
        sys.stdout.write(f"{'stale' if checking else 'written'}: {path.relative_to(ROOT)}\n")
    sys.exit(1 if checking and (pages or other) else 0)


if __name__ == "__main__":
    main()
