"""No statement reads an attribute, waits, and then writes it: what others wrote in between would be lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import CHECKOUT

PACKAGES = ("receiver", "client/esc_receiver_client", "esc_lab")


def lost_updates(source: str) -> Iterator[str]:
    """The statements that are so."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Attribute() as target], value=value) if has_await(value):
                if ast.unparse(target) in set(read_outside_awaits(value)):
                    yield ast.unparse(node)
            case ast.AugAssign(target=ast.Attribute(), value=value) if has_await(value):
                yield ast.unparse(node)
            case _:
                pass


def has_await(node: ast.AST) -> bool:
    """Whether it waits somewhere."""
    return any(isinstance(inner, ast.Await) for inner in ast.walk(node))


def read_outside_awaits(node: ast.AST) -> Iterator[str]:
    """Attributes that are read, but for what only goes into that which is waited for."""
    if isinstance(node, ast.Attribute):
        yield ast.unparse(node)
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, ast.Await):
            yield from read_outside_awaits(inner)


@pytest.mark.parametrize("path", [path for name in PACKAGES for path in sorted((CHECKOUT / name).rglob("*.py"))],
                         ids=lambda path: str(path.relative_to(CHECKOUT)))  # fmt: skip
def test_no_statement_waits_between_reading_and_writing_the_same(path: Path) -> None:
    """Python reads `self.row` of `self.row = self.row.at(await …)` before it waits."""
    assert not list(lost_updates(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "source", ["self.row = self.row.at(await place())", "self.count += await many()", "row.all |= {one: await two()}"]
)
def test_one_that_does_is_found(source: str) -> None:
    """And its neighbour that only hands the old value on is not one."""
    assert list(lost_updates(f"async def one():\n    {source}"))
    assert not list(lost_updates("async def one():\n    self.row = (await publish(self.row)).last"))
