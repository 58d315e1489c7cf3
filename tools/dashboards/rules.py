"""Prometheus's rules: the templates in `dashboards/mixin/` with the values of a mixin filled in (`%{name}`).

A name that the mixin has not, or that no template uses, is an error. Must not know what any rule says.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

MIXIN = Path(__file__).parents[2] / "dashboards" / "mixin.toml"
TEMPLATES = MIXIN.with_suffix("")
FOLDER = MIXIN.with_name("alerts")
HEAD = "# Written by `make docs` of dashboards/mixin/{name} and dashboards/mixin.toml: change those.\n"
_PLACE = re.compile(r"%\{(\w+)}")


def fresh(mixin: Path = MIXIN, folder: Path = FOLDER) -> dict[Path, str]:
    """What the files in a folder should be. Raises ValueError when mixin and templates do not agree."""
    values = tomllib.loads(mixin.read_text("utf-8"))
    texts = {path.name: path.read_text("utf-8") for path in sorted(TEMPLATES.glob("*.yml"))}
    asked = {name for text in texts.values() for name in _PLACE.findall(text)}
    if asked != values.keys():
        raise ValueError(f"{mixin.name}: missing or not used: {', '.join(sorted(asked ^ values.keys()))}")
    return {
        folder / name: HEAD.format(name=name) + _PLACE.sub(lambda found: str(values[found[1]]), text)
        for name, text in texts.items()
    }
