"""Chances of faults: read from a command line (`drop=0.05,delay=0.1`), and drawn.

This file must not know what a fault does.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from receiver.errors import SettingsError


def read_chances(text: str, names: Collection[str]) -> dict[str, float]:
    """Chances from 0 to 1 by name. Raises SettingsError naming every part that is wrong."""
    chances: dict[str, float] = {}
    wrong: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        chance = _chance(number)
        if name not in names or chance is None:
            wrong.append(part)
        else:
            chances[name] = chance
    if wrong:
        raise SettingsError(
            f"faults: cannot read {', '.join(wrong)}: each is NAME=CHANCE, "
            f"NAME one of {', '.join(names)}, CHANCE from 0 to 1"
        )
    return chances


def happens(chance: float, rng: Random) -> bool:
    """Draws only where there is a chance: runs without faults are the same whatever faults there are to choose from."""
    return chance > 0 and rng.random() < chance


def _chance(text: str) -> float | None:
    try:
        chance = float(text)
    except ValueError:
        return None
    return chance if 0 <= chance <= 1 else None
