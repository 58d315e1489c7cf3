"""Which errors of PostgreSQL may be a callback's fault: raised by PostgreSQL itself, one of each class."""

from __future__ import annotations

import asyncpg
import pytest

from receiver.errors import CannotKeepError, RefusedError
from receiver.model.notification import Outcome
from receiver.postgres.driver_errors import ABOUT_A_ROW, is_about_a_row
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter
from tests.support.samples import SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
RAISING = """
CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'as wanted' USING ERRCODE = '{}';
END
$$;
CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON operations FOR EACH ROW EXECUTE FUNCTION fail();
"""
OF_THE_SURROUNDINGS = {
    "08006": "connection failure",
    "08P01": "protocol violation",
    "0A000": "a cached plan must not change its result",
    "0B000": "invalid transaction initiation",
    "25006": "read only",
    "25P02": "in a failed transaction",
    "26000": "a prepared statement does not exist: a pooler",
    "28000": "authorization",
    "28P01": "password",
    "2D000": "invalid transaction termination",
    "34000": "a cursor does not exist: a pooler",
    "38000": "external routine",
    "39000": "external routine invocation",
    "3D000": "no such database",
    "3F000": "no such schema",
    "40001": "serialization",
    "40P01": "deadlock",
    "42501": "no right to do so",
    "42703": "undefined column",
    "42804": "a row type that has changed",
    "42P01": "undefined table",
    "42P05": "a prepared statement exists already: a pooler",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55000": "not in the state for it",
    "55006": "in use",
    "55P03": "lock not available",
    "57014": "cancelled, by a time limit of the administrator's too",
    "57P01": "shut down",
    "57P03": "cannot connect now",
    "58000": "system error",
    "58030": "I/O error",
    "F0000": "configuration file",
    "HV000": "foreign data wrapper",
    "XX000": "internal error",
    "XX001": "data corrupted",
    "XX002": "index corrupted",
}


@pytest.mark.parametrize("sqlstate", OF_THE_SURROUNDINGS, ids=OF_THE_SURROUNDINGS.__getitem__)
async def test_an_error_of_the_surroundings_marks_no_callback(
    postgres_dsn: str, connection: Connection, sqlstate: str
) -> None:
    """None is stored as if it were at fault, none counts as refused; when it has passed, all are applied."""
    letters = [letter(sample) for sample in STORY]
    async with keeping(postgres_dsn, commit_races_max=1, commit_retry_s=0.001) as keeper:
        await connection.execute(RAISING.format(sqlstate))
        results = await keeper.write(letters)
        assert {type(result) for result in results} == {CannotKeepError}
        assert await connection.fetchval("SELECT count(*) FROM callbacks") == 0
        await connection.execute("DROP TRIGGER fails ON operations")
        assert {decision.outcome for decision in await decisions(keeper, letters)} == {Outcome.APPLIED}


@pytest.mark.parametrize("sqlstate", ["21000", "22003", "23514", "44000", "54000", "P0001"])
async def test_an_error_about_a_row_is_of_one_callback(
    postgres_dsn: str, connection: Connection, sqlstate: str
) -> None:
    """It is stored as it came, undecided; its neighbours are applied."""
    assert sqlstate[:2] in ABOUT_A_ROW
    first, other = letter(STORY[0]), letter(SEQUENCES[0].samples[0]).without_content()
    async with keeping(postgres_dsn) as keeper:
        await connection.execute(RAISING.format(sqlstate))
        assert [one.outcome for one in await decisions(keeper, [first, other])] == [Outcome.UNCLASSIFIED] * 2
        await connection.execute("DROP TRIGGER fails ON operations")
        await connection.execute(RAISING.format(sqlstate).replace("ON operations", "ON callbacks"))
        assert {type(result) for result in await keeper.write([letter(STORY[1])])} == {RefusedError}


def test_each_class_is_listed() -> None:
    """What PostgreSQL may raise: either it is about a row, or it has a test above."""
    classes = {
        (error.sqlstate or "")[:2]
        for error in vars(asyncpg.exceptions).values()
        if isinstance(error, type) and issubclass(error, asyncpg.PostgresError) and error.sqlstate
    }
    harmless = {"00", "01", "02", "03"}  # completion, warning, no data
    never_ours = {"09", "0F", "0L", "0P", "0Z", "10", "20", "24", "27", "2B", "2F", "3B", "72"}
    """Of triggers, locators, grantors, cursors and procedures, which we do not use: of the surroundings too."""
    tested = {sqlstate[:2] for sqlstate in OF_THE_SURROUNDINGS}
    assert classes - harmless - never_ours == tested | set(ABOUT_A_ROW)


def test_faults_of_our_own_are_of_a_callback() -> None:
    """One that cannot be judged or encoded must not sink its neighbours; a broken connection is no such fault."""
    assert all(map(is_about_a_row, (KeyError("state"), ValueError("a year too far"), RecursionError())))
    assert not any(map(is_about_a_row, (ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("closed"))))
