"""The way of a callback, from the socket to the answer: a traced run is compared with docs/architecture.md#path."""

from __future__ import annotations

from pathlib import Path

from tools.docs.callback_path import PAGE, calls_of_a_callback, files, page

MODULES_MAX = 39
"""How many files a newcomer opens to follow a callback. It may only become less; the aim is 16."""


async def test_the_way_of_a_callback_is_as_the_page_has_it(postgres_dsn: str, tmp_path: Path) -> None:
    """Every file that runs is listed, in order, with the function that is called first; else: `make docs`."""
    calls = await calls_of_a_callback(postgres_dsn, tmp_path)
    assert PAGE.read_text("utf-8").splitlines() == page(calls).splitlines()
    assert len(files(calls)) <= MODULES_MAX
