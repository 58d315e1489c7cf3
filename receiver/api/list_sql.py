"""SQL of the lists, put together from constant conditions; values are always parameters of the statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SEARCH_WORDS_MAX = 8
TOTAL_MAX = 10_000
"""So many are counted for `total`."""


class Conditions:
    """Conditions that rows must meet, and the values of their parameters."""

    def __init__(self, *texts: str, values: Iterable[Any] = ()) -> None:
        """`values` are those that are numbered before the ones of these conditions."""
        self.texts = list(texts)
        self.values = list(values)

    def add(self, condition: str, *values: Any) -> None:
        """A condition with `{}` in the place of each value."""
        first = len(self.values) + 1
        self.texts.append(condition.format(*(f"${first + number}" for number in range(len(values)))))
        self.values += values

    def filter(self, conditions: Mapping[str, str], query: Mapping[str, Any]) -> None:
        """The conditions by name of those parameters that were given; several values stand in the place of one."""
        for name, condition in conditions.items():
            match query.get(name):
                case None | ():
                    pass
                case tuple(several):
                    self.add(condition.format(", ".join("{}" for _ in several)), *several)
                case one:
                    self.add(condition, one)

    def search(self, columns: Iterable[str], query: Mapping[str, Any]) -> None:
        """Each word of `q` stands in one of the columns, in any case."""
        for word in (query.get("q") or "").lower().split()[:SEARCH_WORDS_MAX]:
            self.add(f"position({{}} IN lower(concat_ws(' ', {', '.join(columns)}))) > 0", word)

    def __str__(self) -> str:
        return " AND ".join(self.texts) or "true"


def one_of(column: str) -> dict[str, str]:
    """A filter that is named like the column it looks at, and may be given several times."""
    return {column: f"{column} IN ({{}})"}  # not ANY: of one value alone an index also gives the order


def equal(*columns: str) -> dict[str, str]:
    """Filters that are named like the column they look at."""
    return {column: f"{column} = {{}}" for column in columns}


def ordered(columns: Iterable[str], *, descending: bool) -> str:
    """What follows ORDER BY."""
    return ", ".join(f"{column} DESC" if descending else column for column in columns)
