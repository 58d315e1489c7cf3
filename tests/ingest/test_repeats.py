"""A sender in a loop: its duplicates are stored, and after a while without their body."""

from __future__ import annotations

from pathlib import Path

import orjson

from receiver.config.settings import Settings
from receiver.ingest import repeats
from receiver.ingest.repeats import Repeats
from receiver.model.notification import Outcome
from receiver.replay.results import Selection
from receiver.replay.runs import export, replay
from tests.support.auditor import Connection
from tests.support.batches import accepting
from tests.support.samples import SAMPLES

DEPLOYED = SAMPLES["rec-deploy-01-vm-deployed"]


async def test_many_duplicates_are_stored_without_their_body(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """The row says so. The first and so many repeats are whole; neither export nor replay stumbles over the others."""
    async with accepting(postgres_dsn, tmp_path, duplicate_bodies_max=3) as place:
        outcomes = [(await place.accept(DEPLOYED)).outcome for _ in range(8)]
        assert place.sums() == {"received": 8, "stored": 8}
    assert outcomes == [Outcome.APPLIED, *[Outcome.DUPLICATE] * 7]
    rows = await connection.fetch("SELECT body, notes FROM callbacks ORDER BY received_at")
    assert [row["body"] for row in rows] == [DEPLOYED.body] * 4 + [b""] * 4
    assert ["body-left-out" in row["notes"] for row in rows] == [False] * 4 + [True] * 4
    settings = Settings(postgres_dsn=postgres_dsn, data_dir=tmp_path)
    everything = Selection(quarantine=False)
    assert await export(settings, everything, tmp_path / "exported") == 4
    assert len([orjson.loads(line) for line in (tmp_path / "exported").read_bytes().splitlines()]) == 4
    assert not (await replay(settings, everything, show=lambda _: None)).failures


def test_repeats_are_counted_within_the_window() -> None:
    """Each within it after the one before; another callback is another one."""
    seen = Repeats(10)
    assert [seen.count("a", now_s) for now_s in (0, 5, 15, 20)] == [0, 1, 2, 3]
    assert seen.count("b", 20) == 0
    assert seen.count("a", 31) == 0


def test_only_so_many_are_remembered() -> None:
    """Those that came longest ago are forgotten."""
    seen = Repeats(10)
    for number in range(repeats.REMEMBERED_MAX + 1):
        seen.count(str(number), 0)
    assert seen.count(str(repeats.REMEMBERED_MAX), 0) == 1
    assert seen.count("0", 0) == 0
