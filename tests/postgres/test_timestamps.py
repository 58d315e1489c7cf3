"""Times come back as they were written, as asyncpg's own way would bring them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.postgres.session import set_codecs
from receiver.postgres.timestamps import from_microseconds, to_microseconds
from tests.support.auditor import Connection

ZONES = st.timezones() | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001  # bounds have none
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ECHO = "SELECT $1::timestamptz"
SAME = [
    datetime(2, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=2))),
    datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
]


@given(TIMES)
def test_any_time_comes_back_to_the_microsecond(time: datetime) -> None:
    """In UTC, whatever zone it was told in."""
    back = from_microseconds(to_microseconds(time))
    assert (back, back.tzinfo) == (time, UTC)


@pytest.mark.parametrize("time", SAME, ids=str)
async def test_postgresql_is_told_what_asyncpg_would_tell_it(connection: Connection, time: datetime) -> None:
    """Alone, in an array, and read by either."""
    expected = await connection.fetchval(ECHO + "::text", time)
    await set_codecs(connection)
    assert await connection.fetchval(ECHO + "::text", time) == expected
    assert await connection.fetchval(ECHO, time) == time
    assert await connection.fetchval("SELECT $1::timestamptz[]", [time, None]) == [time, None]


@pytest.mark.parametrize(("sign", "nearest"), [("", LAST), ("-", FIRST)], ids=["infinity", "-infinity"])
async def test_what_never_is_or_always_was(connection: Connection, sign: str, nearest: datetime) -> None:
    """Is the last or the first time there is."""
    await set_codecs(connection)
    assert await connection.fetchval(f"SELECT '{sign}infinity'::timestamptz") == nearest


async def test_a_time_without_a_zone_is_refused(connection: Connection) -> None:
    """It would be a guess."""
    await set_codecs(connection)
    with pytest.raises(asyncpg.DataError, match="offset-naive"):
        await connection.fetchval(ECHO, datetime(2026, 1, 1))  # noqa: DTZ001  # that is what it is about


async def test_a_time_that_python_does_not_know_is_an_error(connection: Connection) -> None:
    """Not another time."""
    await set_codecs(connection)
    with pytest.raises(OverflowError):
        await connection.fetchval("SELECT '20000-01-01'::timestamptz")
