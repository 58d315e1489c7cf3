"""The spool while nothing goes wrong: exact, in order, in groups, within its ceiling, private, alone."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.config.settings import Settings
from receiver.errors import SetupError, SpoolBrokenError, SpoolFullError
from receiver.model.envelope import Envelope
from receiver.model.notification import Channel, Status
from receiver.spool import Spool
from receiver.spool.page_reader import PageReader
from receiver.spool.records import FORMAT, to_envelope, to_row
from tests.support.spools import (
    bytes_on_disk,
    commits,
    content,
    empty,
    envelopes,
    program,
    set_aside,
    spool_at,
    spooling,
)

MEBIBYTE = 1_048_576
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
"""Whatever `fit` lets through, and NUL."""


def hostile(**fixed: Any) -> st.SearchStrategy[Envelope]:
    """Envelopes with anything their types allow."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "receipt": st.uuids().map(lambda drawn: UUID(int=drawn.int)),
        "received_at": st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
        "source": TEXT,
        "channel": st.none() | st.sampled_from(Channel),
        "remote": st.none() | TEXT,
        "ref": st.none() | TEXT,
        "headers": st.lists(st.tuples(TEXT, TEXT), max_size=8),
        "body": st.binary(max_size=40) | st.integers(0, 20_000).map(lambda length: b"\0<\xff" * length),
        "redacted": st.booleans(),
        "transaction_id": st.none() | TEXT,
        "status": st.sampled_from(Status),
        "status_code": st.none() | st.integers(-(2**31), 2**31 - 1),
        "status_message": st.none() | TEXT,
        "notes": st.lists(TEXT, max_size=3).map(tuple),
        "undecodable_because": st.none() | TEXT,
        "traceparent": st.none(),
    }
    return st.builds(Envelope, **fields | {name: st.just(value) for name, value in fixed.items()})


@given(hostile())
def test_a_callback_is_read_back_as_it_was_written(envelope: Envelope) -> None:
    """Every field, every byte."""
    assert to_envelope(to_row(envelope)) == envelope


def test_the_trace_that_a_callback_belongs_to_is_in_its_headers() -> None:
    """Not written twice, and found again."""
    (envelope,) = envelopes(1)
    traced = envelope._replace(headers=[("TraceParent", "00-a-b-01")], traceparent="00-a-b-01")
    assert to_envelope(to_row(traced)) == traced


@settings(max_examples=15)
@given(st.lists(st.lists(hostile(), min_size=1, max_size=6), min_size=1, max_size=6))
async def test_what_is_put_is_found_again_in_order(groups: list[list[Envelope]]) -> None:
    """By the same process and by the next, and when the file is read past SQLite, as after damage."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "spool"
        arrived = [envelope for group in groups for envelope in group]
        async with spooling(folder) as spool:
            await asyncio.gather(*(spool.put(group) for group in groups))
            assert await content(spool) == arrived
            pages = dict(PageReader(folder / "spool.db", folder / "spool.db-wal").rows())
            assert [to_envelope(pages[position]) for position in sorted(pages)] == arrived
        async with spooling(folder) as spool:
            assert spool.recovered == spool.depth == len(arrived)
            assert await content(spool) == arrived
            assert await empty(spool) == arrived


def test_a_change_of_the_envelope_is_a_new_format() -> None:
    """Add a field, and an older program cannot read the spool: raise FORMAT, and here both."""
    assert FORMAT == 1
    assert Envelope._fields == (
        "receipt",
        "received_at",
        "source",
        "channel",
        "remote",
        "ref",
        "headers",
        "body",
        "redacted",
        "transaction_id",
        "status",
        "status_code",
        "status_message",
        "notes",
        "undecodable_because",
        "traceparent",  # not written: the headers tell it
    )  # fmt: skip - a list of names


async def test_it_is_emptied_from_the_front(tmp_path: Path) -> None:
    """Portions follow each other while new ones come behind; what is not forgotten stays first."""
    arrived = envelopes(30)
    async with spooling(tmp_path / "spool") as spool:
        await spool.put(arrived[:20])
        found = await spool.first(8)
        assert [envelope for _, envelope in found] == arrived[:8]
        await spool.delete(position for position, _ in found if position != found[3][0])
        await spool.put(arrived[20:])
        assert await content(spool) == [arrived[3], *arrived[8:]]
        assert spool.depth == 23
        assert spool.oldest == arrived[3].received_at
        await spool.delete(position for position, _ in found)
        assert await empty(spool) == arrived[8:]
        assert spool.depth == 0
        assert spool.oldest is None


async def test_a_portion_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    """Large callbacks are not all read into memory at once; one is always given."""
    async with spooling(tmp_path / "spool", drain_batch_bytes_max=50_000) as spool:
        await spool.put(envelopes(5, body_bytes=30_000))
        assert len(await spool.first(5)) == 2
        await spool.put(envelopes(1, body_bytes=90_000))
        await spool.delete([position for position, _ in await spool.first(2)])
        await spool.delete([position for position, _ in await spool.first(2)])
        await spool.delete([position for position, _ in await spool.first(2)])
        assert spool.depth == 0


async def test_those_that_come_together_are_written_together(tmp_path: Path) -> None:
    """One commit, so one fsync, for a hundred; and one for one that comes alone."""
    async with spooling(tmp_path / "spool") as spool:
        before = commits(tmp_path / "spool")
        await asyncio.gather(*(spool.put([envelope]) for envelope in envelopes(100)))
        assert commits(tmp_path / "spool") == before + 1
        await spool.put(envelopes(1))
        assert commits(tmp_path / "spool") == before + 2


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    """By callbacks and by bytes; what one caller brings stays together."""
    async with spooling(tmp_path / "spool", spool_batch_max=10, spool_batch_bytes_max=100_000) as spool:
        before = commits(tmp_path / "spool")
        await asyncio.gather(*(spool.put([envelope]) for envelope in envelopes(40)))
        assert commits(tmp_path / "spool") == before + 4
        await asyncio.gather(*(spool.put([envelope]) for envelope in envelopes(4, body_bytes=60_000)))
        assert commits(tmp_path / "spool") == before + 8
        await spool.put(envelopes(700))
        assert commits(tmp_path / "spool") == before + 9
        assert spool.depth == 744


async def test_what_is_put_is_on_the_disk_when_put_returns(tmp_path: Path) -> None:
    """And nothing is put in vain: nothing is not a commit."""
    async with spooling(tmp_path / "spool") as spool:
        await spool.put(envelopes(1))
        before = commits(tmp_path / "spool")
        await spool.put([])
        await spool.delete([])
        assert commits(tmp_path / "spool") == before


async def test_a_put_that_is_cancelled_is_not_kept(tmp_path: Path) -> None:
    """Whether it still waits, is being written, or is written and not yet told of."""
    for turns in range(12):
        async with spooling(tmp_path / str(turns)) as spool:
            kept = envelopes(3)
            await spool.put(kept[:1])
            first, doomed = asyncio.create_task(spool.put(kept[1:])), asyncio.create_task(spool.put(envelopes(2)))
            for _ in range(turns):
                await asyncio.sleep(0)
            doomed.cancel()
            done = not (await asyncio.gather(doomed, return_exceptions=True))[0]
            await first
            found = await content(spool)
            assert found[:3] == kept
            assert len(found) == (5 if done else 3)


async def test_it_takes_no_more_than_its_ceiling(tmp_path: Path) -> None:
    """On the disk, log and all; emptied a little, it takes as much again, and the order stays."""
    folder, group_bytes = tmp_path / "spool", 100_000
    arrived: list[Envelope] = []
    async with spooling(folder, spool_bytes_max=4 * MEBIBYTE) as spool:
        await _fill(spool, arrived)
        full_at = len(arrived)
        assert 3 * MEBIBYTE < bytes_on_disk(folder) < 4 * MEBIBYTE + group_bytes
        with pytest.raises(SpoolFullError, match="spool_bytes_max"):
            await spool.ping()
        found = await spool.first(full_at // 2)
        await spool.delete(position for position, _ in found)
        await spool.ping()
        await _fill(spool, arrived)
        assert len(arrived) > 1.4 * full_at
        assert bytes_on_disk(folder) < 4 * MEBIBYTE + group_bytes
        assert await content(spool) == arrived[len(found) :]
        await empty(spool)
        assert bytes_on_disk(folder) - (folder / "spool.reserve").stat().st_size < 100_000
        assert spool.bytes < 100_000


async def _fill(spool: Spool, arrived: list[Envelope]) -> None:
    while True:
        some = envelopes(20)
        try:
            await spool.put(some)
        except SpoolFullError:
            return
        arrived += some


async def test_its_files_are_private(tmp_path: Path) -> None:
    """Whatever the umask, and also in a folder that was there and was open to others."""
    for name in ("new", "old"):
        folder = tmp_path / name
        if name == "old":
            folder.mkdir()
            folder.chmod(0o755)
        before = os.umask(0)
        try:
            async with spooling(folder) as spool:
                await spool.put(envelopes(2))
                assert folder.stat().st_mode & 0o777 == 0o700
                modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
        finally:
            os.umask(before)
        assert set(modes) == {"spool.db", "spool.db-shm", "spool.db-wal", "spool.lock", "spool.reserve"}
        assert set(modes.values()) == {0o600}


async def test_a_folder_that_others_use_is_refused(tmp_path: Path) -> None:
    """It is not closed to them for our sake."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "theirs").touch()
    folder.chmod(0o755)
    with pytest.raises(SetupError, match=r"^spool_dir: .*theirs.*folder of its own"):
        await spool_at(folder).open()
    assert folder.stat().st_mode & 0o777 == 0o755


async def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """In one line that names the setting."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "spool"):
        with pytest.raises(SetupError, match=r"^spool_dir: "):
            await spool_at(path).open()


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither the folder nor a file in it, which others may have laid there while it was open to them."""
    folder, elsewhere, precious = tmp_path / "spool", tmp_path / "link", tmp_path / "precious"
    async with spooling(folder):
        pass
    elsewhere.symlink_to(folder)
    with pytest.raises(SetupError, match=rf"^spool_dir: {elsewhere} is a symbolic link; .*\({folder}\)$"):
        await spool_at(elsewhere).open()
    precious.write_text("precious")
    for name in ("spool.lock", "spool.db", "spool.db-wal", "spool.suspected", "spool.db.draft"):
        folder.chmod(0o755)
        (folder / name).rename(tmp_path / name) if (folder / name).exists() else None
        (folder / name).symlink_to(precious)
        with pytest.raises(SetupError, match=rf"^spool_dir: {folder / name} is no plain file"):
            await spool_at(folder).open()
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name) if (tmp_path / name).exists() else None
    assert precious.read_text() == "precious"
    async with spooling(folder):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    """He could read and change what is kept there; what was set aside is nobody's concern."""
    folder = tmp_path / "spool"
    async with spooling(folder):
        pass
    (folder / "spool.db.damaged-20260101T000000.0Z").touch()
    os.chown(folder / "spool.db.damaged-20260101T000000.0Z", 65_534, -1)
    async with spooling(folder):
        pass
    for path in (folder / "spool.db", folder):
        os.chown(path, 65_534, -1)
        with pytest.raises(SetupError, match=rf"^spool_dir: {path} belongs to another user \(65534\)"):
            await spool_at(folder).open()
        os.chown(path, 0, -1)


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """Also a second spool in the same process; a holder that is killed holds no more."""
    folder = tmp_path / "spool"
    holder = await program("hold", folder)
    assert holder.stdout
    assert await holder.stdout.readline() == b"open\n"
    refused = spool_at(folder)
    with pytest.raises(SetupError, match=rf"^spool_dir: {folder} is in use .*process {holder.pid}\b"):
        await refused.open()
    await refused.close()
    holder.kill()
    await holder.communicate()
    async with spooling(folder) as spool:
        assert spool.recovered == 3
        with pytest.raises(SetupError, match="in use"):
            await spool_at(folder).open()
        await spool.put(envelopes(1))


async def test_a_newer_programs_spool_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The message says what to do; not a byte is changed, and nothing is set aside."""
    folder = tmp_path / "spool"
    async with spooling(folder) as spool:
        await spool.put(envelopes(3))
    with sqlite3.connect(folder / "spool.db") as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    before = (folder / "spool.db").read_bytes()
    with pytest.raises(SetupError, match=rf"newer program \(format {FORMAT + 1}"):
        await spool_at(folder).open()
    assert (folder / "spool.db").read_bytes() == before
    assert not set_aside(folder)


async def test_it_can_be_read_by_hand(tmp_path: Path) -> None:
    """While it is in use: the view shows what an operator looks for."""
    (arrived,) = envelopes(1)
    async with spooling(tmp_path / "spool") as spool:
        await spool.put([arrived])
        with sqlite3.connect(f"file:{tmp_path}/spool/spool.db?mode=ro", uri=True) as by_hand:
            by_hand.row_factory = sqlite3.Row
            (row,) = by_hand.execute("SELECT * FROM readable").fetchall()
            assert row["receipt"] == str(arrived.receipt)
            assert row["received_at"] == arrived.received_at.isoformat()
            assert row["body"] == arrived.body.decode()
            (head,) = by_hand.execute("SELECT head FROM callbacks").fetchone()
            assert json.loads(head)["headers"] == [list(pair) for pair in arrived.headers]
        by_hand.close()
        await spool.delete([position for position, _ in await spool.first(1)])
        assert spool.depth == 0


async def test_somebody_who_holds_the_file_locked_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    """An operator's unfinished transaction costs a 503, no callback; when it ends, all is as before."""
    arrived = envelopes(2)
    async with spooling(tmp_path / "spool", spool_locked_timeout_s=0.01) as spool:
        await spool.put(arrived[:1])
        by_hand = sqlite3.connect(tmp_path / "spool" / "spool.db", isolation_level=None)
        by_hand.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolBrokenError, match="locked"):
            await spool.put(envelopes(1))
        by_hand.execute("ROLLBACK")
        by_hand.close()
        await spool.put(arrived[1:])
        assert spool.trouble is None
        assert await content(spool) == arrived


async def test_closed_it_keeps_what_waits_and_takes_no_more(tmp_path: Path) -> None:
    """Who was before the door is let in."""
    spool = spool_at(tmp_path / "spool")
    assert await spool.open() == 0
    puts = [asyncio.create_task(spool.put([envelope])) for envelope in envelopes(20)]
    await asyncio.sleep(0)
    await spool.close()
    await asyncio.gather(*puts)
    with pytest.raises(SpoolBrokenError, match="closed"):
        await spool.put(envelopes(1))
    await spool.close()
    async with spooling(tmp_path / "spool") as again:
        assert again.recovered == 20


async def test_positions_never_come_again(tmp_path: Path) -> None:
    """Not after the spool was empty and closed either: a stale `forget` harms nobody."""
    folder = tmp_path / "spool"
    async with spooling(folder) as spool:
        await spool.put(envelopes(5))
        stale = [position for position, _ in await spool.first(5)]
        await spool.delete(stale)
    async with spooling(folder) as spool:
        await spool.put(envelopes(5))
        await spool.delete(stale)
        assert spool.depth == 5


def test_it_lies_in_the_data_folder_unless_told_otherwise() -> None:
    """Where `serve --embedded` keeps the rest."""
    assert Settings(data_dir=Path("there")).spool_folder == Path("there/spool")
    assert Settings(data_dir=Path("there"), spool_dir=Path("here")).spool_folder == Path("here")


async def test_the_oldest_is_told_from_the_first_that_arrived(tmp_path: Path) -> None:
    """Also of those found at the start."""
    (early,) = envelopes(1)
    early = early._replace(received_at=early.received_at - timedelta(days=2))
    async with spooling(tmp_path / "spool") as spool:
        await spool.put([early])
        await spool.put(envelopes(2))
    async with spooling(tmp_path / "spool") as spool:
        assert spool.oldest == early.received_at
