"""Who waits is woken after a commit, not within it: commits of several receivers do not wait for each other."""

from __future__ import annotations

from functools import partial

import pytest

from receiver.postgres.wake_ups import ANY_OPERATION, OPERATIONS_MAX, wake
from tests.support import feed
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.samples import SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples


async def heard(connection: Connection) -> list[str]:
    """A list to which the payloads of wake-ups will be added."""
    payloads: list[str] = []
    channel = await connection.fetchval("SELECT channel FROM relay")
    await connection.add_listener(channel, lambda *notification: payloads.append(str(notification[-1])))
    return payloads


async def test_wake_ups_name_the_operations_that_ended(postgres_dsn: str, connection: Connection) -> None:
    """By the first digits of their ids; what changes nothing wakes nobody."""
    payloads = await heard(connection)
    sample = STORY[-1]
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(one) for one in STORY])
        await feed.until(partial(_is_heard, payloads, 1))
        await decisions(keeper, [letter(sample)])
    row = await connection.fetchval("SELECT id FROM operations")
    assert payloads == [row.hex[:8]]


async def test_wake_ups_that_come_together_are_told_together(postgres_dsn: str, connection: Connection) -> None:
    """The first at once, the others after `wake_gather_s`: none is left out."""
    payloads = await heard(connection)
    async with keeping(postgres_dsn, wake_gather_s=0.5) as keeper:
        for number in range(5):
            await decisions(keeper, [letter(of_deployment(sample, f"dep-{number}")) for sample in STORY])
    ids = await connection.fetch("SELECT id FROM operations")
    assert {name for payload in payloads for name in payload.split()} == {row["id"].hex[:8] for row in ids}
    assert len(payloads) < 5


@pytest.mark.parametrize("ended", [{ANY_OPERATION, "a"}, {f"{n:08x}" for n in range(OPERATIONS_MAX + 1)}])
async def test_more_than_a_wake_up_holds(connection: Connection, ended: set[str]) -> None:
    """Any operation may have ended."""
    payloads = await heard(connection)
    await wake(connection, ended)
    await feed.until(partial(_is_heard, payloads, 1))
    assert payloads == [ANY_OPERATION]


async def test_a_wake_up_that_cannot_be_told_stops_nothing(postgres_dsn: str, connection: Connection) -> None:
    """The callback is committed all the same."""
    await connection.execute("ALTER TABLE relay RENAME COLUMN channel TO former_channel")
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(one) for one in STORY])
    assert await connection.fetchval("SELECT count(*) FROM outbox") > 0


async def _is_heard(payloads: list[str], number: int) -> bool:
    return len(payloads) >= number
