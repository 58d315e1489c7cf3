"""What workers that are no more left in their spools is stored, and told for as long as the process lives."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.errors import SetupError
from tests.support.spools import envelopes, spool_at, spooling
from tests.support.waiting import until


async def test_a_spool_that_was_emptied_in_a_moment_is_told_of_afterwards(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """The supervisor asks now and then, and must hear what was found: else it counts what was left as still waiting."""
    left = tmp_path / "spool-2"
    async with spooling(left) as spool:
        await spool.put(envelopes(5))
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, data_dir=tmp_path, port=0, spool_left_check_s=0.05
    )
    async with running(settings) as app:
        await until(partial(_has_stored, app, 5))
        await until(partial(_is_free, left))
        assert (str(left), 5, 0) in app.report().spools.values()


async def _has_stored(app: App, number: int) -> bool:
    return app.metrics.sums()["stored"] == number


async def _is_free(folder: Path) -> bool:
    spool = spool_at(folder)
    try:
        await spool.open()
    except SetupError:
        return False
    await spool.close()
    return True
