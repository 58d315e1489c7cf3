"""`GET sources`: each ESC, what it says of itself, when it was heard of, what was refused, and what it has in hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.config.cell_file import cells_of
from receiver.config.settings import Settings
from receiver.errors import SettingsError
from receiver.jobs.entity_counts import EntityCounts
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from tests.lifecycle.test_source import IN, OUT
from tests.support.field import ev, living, source, stored
from tests.support.query_api import running_api

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
CELLS = """
[cells.cell-a]
sources = ["lab1", "lab2"]
[cells.cell-b]
url = "https://cell-b.example"
sources = ["lab3"]
[cells.cell-c]
sources = ["lab4"]
"""
OWN = {"cell": "cell-a", "stream_name": "ESC-cell-a", "subject_prefix": "esc.cell-a.v1"}
CONFIGURED: dict[str, dict[str, str]] = {"lab1": {}, "lab2": {}}


async def test_what_there_is_of_sources(postgres_dsn: str) -> None:
    """Those that are configured, and those that said something of themselves; also one alone."""
    await stored(postgres_dsn, [*living(), ev("r", "VM_RECOVERY_INIT", source("a")), OUT])
    async with running_api(postgres_dsn, sources=CONFIGURED, default_source=True) as api:
        items = (await api.get("/sources")).items
        assert [(one["source"], one["configured"], one["state"]) for one in items] == [
            ("default", True, "OUT_OF_SERVICE"), ("lab1", True, "UNSEEN"), ("lab2", True, "UNSEEN"),
        ]  # fmt: skip
        one = (await api.get("/sources/default")).body
        assert one == items[0]
        assert (one["reason"], one["open_operations"], one["sequence"]) == ("the VIM does not answer", 1, 1)
        assert (one["last_message_at"], one["refused"]) == (None, 0)
        assert (await api.get("/sources/nobody")).status == 404
        ledger = (await api.get("/transitions", entity="source")).items
        assert [(entry["name"], entry["to_state"]) for entry in ledger] == [("default", "OUT_OF_SERVICE")]


async def test_sources_of_other_cells_are_named_with_their_place(postgres_dsn: str, tmp_path: Path) -> None:
    """In the list, and to whoever asks for one of them; a single cell has none."""
    file = tmp_path / "cells.toml"
    file.write_text(CELLS)
    own: dict[str, Any] = {**OWN, "cells_file": file}
    async with running_api(postgres_dsn, sources=CONFIGURED, **own) as api:
        told = (await api.get("/sources")).body
        assert told["cell"] == "cell-a"
        assert told["elsewhere"] == [
            {"source": "lab3", "cell": "cell-b", "url": "https://cell-b.example"},
            {"source": "lab4", "cell": "cell-c", "url": None},
        ]
        assert [one["source"] for one in told["items"]] == ["lab1", "lab2"]
        asked = await api.get("/sources/lab3")
        assert (asked.status, "cell-b: https://cell-b.example" in asked.body["detail"]) == (404, True)
    async with running_api(postgres_dsn, sources=CONFIGURED) as api:
        alone = (await api.get("/sources")).body
    assert (alone["cell"], alone["elsewhere"]) == (None, [])


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"cell": "cell-x"}, "ESC_RECEIVER_CELL: cell-x; "),
        ({"cell": ""}, "ESC_RECEIVER_CELL: not set; "),
        ({"cells_file": None}, "ESC_RECEIVER_CELLS_FILE: not set, but ESC_RECEIVER_CELL is"),
        ({"stream_name": "ESC"}, "ESC_RECEIVER_STREAM_NAME: ESC, but cell cell-a has ESC-cell-a"),
        ({"subject_prefix": "esc.v1"}, "ESC_RECEIVER_SUBJECT_PREFIX: esc.v1, but cell cell-a has esc.cell-a.v1"),
    ],
)
def test_a_receiver_that_does_not_fit_the_file_does_not_start(
    tmp_path: Path, given: dict[str, Any], fault: str
) -> None:
    """Two cells with one stream would each take the other for a stranger."""
    file = tmp_path / "cells.toml"
    file.write_text(CELLS)
    own: dict[str, Any] = {**OWN, "cells_file": file, **given}
    with pytest.raises(SettingsError) as told:
        cells_of(Settings(**own))
    assert fault in str(told.value)


async def test_explain_says_that_nothing_is_expected_of_an_esc_that_is_out(postgres_dsn: str) -> None:
    """No time by which its operation would be overdue; when it is back there is one, from its return on."""
    await stored(postgres_dsn, [*living(), ev("r", "VM_RECOVERY_INIT", source("a")), OUT])
    async with running_api(postgres_dsn) as api:
        story = (await api.get("/explain/default/a")).body
        assert (story["expected"]["by"], story["source"]["state"]) == (None, "OUT_OF_SERVICE")
        assert any("default is out of service since" in sentence for sentence in story["words"])
        await stored(postgres_dsn, [IN], first=100)
        story = (await api.get("/explain/default/a")).body
        returned = datetime.fromisoformat(story["source"]["since"])
        assert datetime.fromisoformat(story["expected"]["by"]) > returned
        assert not any("out of service" in sentence for sentence in story["words"])


async def test_what_receivers_have_heard_is_added_up(postgres_dsn: str) -> None:
    """By each of them at its counts; the gauges of all tell the same. A source that is not configured is no label."""
    await stored(postgres_dsn, [OUT])
    settings = Settings.model_validate(
        {"postgres_dsn": postgres_dsn, "sources": CONFIGURED, "default_source": True, "counts_interval_s": 0.001}
    )
    for _ in range(2):
        metrics = Metrics(settings.all_sources)
        database = Database(settings, metrics)
        await database.open()
        metrics.activity.kept("lab1", AT)
        metrics.activity.refused("lab1", "credentials")
        metrics.activity.refused("nobody", "unknown-source")
        await EntityCounts(database, settings, metrics).run_once()
        await database.close()
    assert metrics.source_refused_callbacks.labels("lab1")._value.get() == 2
    assert metrics.source_last_message_timestamp_seconds.labels("lab1")._value.get() == AT.timestamp()
    assert metrics.source_out_of_service.labels("default")._value.get() == 1
    assert metrics.source_state_timestamp_seconds.labels("default")._value.get() > 0
    assert metrics.source_out_of_service.labels("lab1")._value.get() == 0
    async with running_api(postgres_dsn, sources=CONFIGURED, default_source=True) as api:
        one = (await api.get("/sources/lab1")).body
    assert (one["refused"], one["refused_because"]) == (2, "credentials")
    assert datetime.fromisoformat(one["last_message_at"]) == AT


async def test_what_could_not_be_added_is_added_later() -> None:
    """PostgreSQL was away meanwhile."""
    activity = Metrics(["lab1"]).activity
    activity.refused("lab1", "credentials")
    taken = activity.take()
    activity.kept("lab1", AT)
    activity.refused("lab1", "address")
    activity.give_back(taken)
    (one,) = activity.take()
    assert (one.last_message_at, one.refused, one.refused_because) == (AT, 2, "address")
    assert activity.take() == []
