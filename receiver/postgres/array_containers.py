"""What asyncpg takes for an array, told in concrete classes.

It asks of every value in every array whether it is iterable, has a size and is a mapping: abstract classes answer in
Python, concrete ones in C, one after the other, so that each more costs every value (docs/speed.md). An asyncpg
without these names is left as it is, only slower; a test tells. Must not know what is written.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from asyncpg.protocol import protocol

ARRAYS: Final[tuple[type, ...]] = (
    list,
    tuple,
    set,
    frozenset,
    type({}.keys()),
    type({}.values()),
)
MAPPINGS: Final[tuple[type, ...]] = (dict, MappingProxyType)
ASKED: Final = {"IterableABC": ARRAYS, "SizedABC": ARRAYS, "MappingABC": MAPPINGS}
"""By the names under which asyncpg keeps the abstract classes."""


def ask_concrete_classes() -> None:
    """For this process; harmless when done again."""
    for name, classes in ASKED.items():
        if hasattr(protocol, name):
            setattr(protocol, name, classes)
