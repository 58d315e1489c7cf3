"""The way of a callback, from the socket to the answer: a traced run is compared with docs/architecture.md#path."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.cli.about import is_compiled
from tools.docs.callback_path import PAGE, calls_of_a_callback, files, page, stations

STATIONS_MAX = 16
"""How many files a callback is handed to, from room to room: those a newcomer reads to follow it."""
FILES_MAX = 51
"""All that run, with what each room calls of its own. It may only become less."""


@pytest.mark.skipif(is_compiled(), reason="compiled functions are not traced; `make test` does it")
async def test_the_way_of_a_callback_is_as_the_page_has_it(postgres_dsn: str, tmp_path: Path) -> None:
    """Every file that runs is listed, in order, with the function that is called first; else: `make docs`."""
    calls = await calls_of_a_callback(postgres_dsn, tmp_path)
    assert PAGE.read_text("utf-8").splitlines() == page(calls).splitlines()
    assert len(stations(calls)) <= STATIONS_MAX
    assert len(files(calls)) <= FILES_MAX
