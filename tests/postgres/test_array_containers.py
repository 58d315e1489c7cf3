"""asyncpg asks concrete classes what an array is: it takes the same for one, and still asks by these names."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from asyncpg.protocol import protocol

from receiver.postgres.array_containers import ARRAYS, ASKED, ask_concrete_classes
from tests.support.auditor import Connection

ARRAY = "SELECT $1::int[]"


@pytest.fixture(autouse=True)
def concrete(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test; other connections of the process may have done it before."""
    for name in ASKED:
        monkeypatch.setattr(protocol, name, getattr(protocol, name))
    ask_concrete_classes()


@pytest.mark.parametrize(
    "values",
    [[1, 2], (1, 2), {1: "a", 2: "b"}.keys(), {"a": 1, "b": 2}.values(), frozenset([1, 2])],
    ids=lambda values: type(values).__name__,
)
async def test_what_holds_values_is_an_array(connection: Connection, values: Any) -> None:
    """Whatever it is."""
    assert sorted(await connection.fetchval(ARRAY, values)) == [1, 2]


async def test_arrays_in_arrays_and_rows_in_arrays(connection: Connection) -> None:
    """A tuple is a row where rows are expected; what a row holds may be an array again."""
    assert await connection.fetchval(ARRAY, [[1, 2], [3, None]]) == [[1, 2], [3, None]]
    row = ("default", "vm-uuid", None, None, None)
    assert [tuple(one) for one in await connection.fetchval("SELECT $1::alias_row[]", [row, row])] == [row, row]


@pytest.mark.parametrize("value", ["12", b"12", {"a": 1}, 12], ids=lambda value: type(value).__name__)
async def test_nothing_else_is_one(connection: Connection, value: Any) -> None:
    """A text above all, which can be gone through, too."""
    with pytest.raises(asyncpg.DataError, match="a sized iterable container expected"):
        await connection.fetchval(ARRAY, value)


@pytest.mark.parametrize("name", ASKED)
async def test_asyncpg_asks_by_these_names(connection: Connection, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it does not any more, this file and `receiver/postgres/array_containers.py` have no use."""
    asked: list[Any] = []

    class Asked(type):
        def __instancecheck__(cls, value: Any) -> bool:
            asked.append(value)
            return isinstance(value, ASKED[name])

    monkeypatch.setattr(protocol, name, Asked(name, (), {}))
    values = [[7]]
    assert await connection.fetchval(ARRAY, values) == values
    assert values in asked
    assert isinstance(values, ARRAYS)
