"""The spool when things go wrong, for real: killed writers, full disks, failing disks, damaged files."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver.errors import SetupError, SpoolBrokenError
from receiver.model.envelope import Envelope
from receiver.spool import Spool
from receiver.spool.page_reader import PAGE_BYTES, is_torn
from receiver.spool.salvage import BECAUSE
from tests.support.spools import (
    commits,
    content,
    crash,
    empty,
    envelopes,
    program,
    receipts,
    set_aside,
    spool_at,
    spooling,
    told,
)

DATABASE, LOG = "spool.db", "spool.db-wal"
MEBIBYTE = 1_048_576
only_on_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="system calls are made to fail by seccomp",
)


# Killed.


@pytest.mark.parametrize("seed", range(3))
async def test_a_writer_that_is_killed_loses_nothing_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """At any moment, again and again on the same files: what was put is there exactly once, unless it was taken."""
    drawn = random.Random(seed)
    folder = tmp_path / "spool"
    put: set[str] = set()
    taken: set[str] = set()
    for _ in range(4):
        put_now, taken_now, perhaps = await _run_and_kill(folder, lines=int(drawn.expovariate(1 / 200)) + 1)
        put |= put_now
        taken |= taken_now
        async with spooling(folder) as spool:
            found = receipts(await content(spool))
        assert len(found) == len(set(found))
        assert put - taken - perhaps <= set(found)
        assert not taken & set(found)
        assert not set_aside(folder)
        taken |= perhaps - set(found)
        put |= set(found)


async def _run_and_kill(folder: Path, lines: int) -> tuple[set[str], set[str], set[str]]:
    """What was put, what was taken, and what was being taken."""
    writer = await program("work", folder)
    assert writer.stdout
    told = [await writer.stdout.readline() for _ in range(lines)]
    writer.kill()
    output, _ = await writer.communicate()
    put: set[str] = set()
    taken: set[str] = set()
    perhaps: set[str] = set()
    for line in b"".join((*told, output)).decode().splitlines():
        word, *names = line.split()
        if word == "put":
            put.update(names)
        elif word == "taking":
            perhaps = set(names)
        elif word == "taken":
            taken |= perhaps
            perhaps = set()
    return put, taken, perhaps


async def test_order_outlives_a_crash(tmp_path: Path) -> None:
    """As does every byte, in the log and in the database."""
    async with spooling(tmp_path / "spool", spool_bytes_max=8 * MEBIBYTE) as spool:
        arrived = envelopes(1200)
        for start in range(0, len(arrived), 40):
            await spool.put(arrived[start : start + 40])
        left = crash(tmp_path / "spool", tmp_path / "left")
        assert (left / LOG).stat().st_size > 0
    async with spooling(left) as spool:
        assert spool.recovered == len(arrived)
        assert await empty(spool) == arrived
    assert not set_aside(left)


# Out of room.


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """Four mebibytes, if we may mount them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if await _run("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", str(disk)):
        pytest.skip("only root may mount a small disk; the limit on the size of files is tried in any case")
    yield disk
    assert not await _run("umount", str(disk))


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


async def test_a_full_disk_refuses_what_it_cannot_keep(small_disk: Path) -> None:
    """What was put before stays; room that somebody else gives back is used at once."""
    other = small_disk / "other"
    other.write_bytes(bytes(2 * MEBIBYTE))
    arrived: list[Envelope] = []
    async with spooling(small_disk / "spool", spool_bytes_max=8 * MEBIBYTE) as spool:
        assert "full" in await _fill(spool, arrived)
        with pytest.raises(SpoolBrokenError, match="full"):
            await spool.put(envelopes(600))
        assert await content(spool) == arrived
        other.unlink()
        await spool.put(after := envelopes(600))
        await spool.ping()
        assert await content(spool) == arrived + after


async def test_a_full_disk_can_be_drained(small_disk: Path) -> None:
    """Forgetting needs room too, which was set apart; nothing is put until it is there again."""
    arrived: list[Envelope] = []
    async with spooling(small_disk / "spool", spool_bytes_max=8 * MEBIBYTE) as spool:
        await _fill(spool, arrived)
        taken, refused = await _drain(spool)
        assert taken == arrived
        assert refused
        await spool.ping()
        await spool.put(again := envelopes(100))
        assert await content(spool) == again


async def test_a_disk_that_is_full_at_the_start_can_be_drained(small_disk: Path) -> None:
    """What an earlier run left is found, and leaves; room is there again when all is gone."""
    folder, arrived = small_disk / "spool", list[Envelope]()
    async with spooling(folder, spool_bytes_max=8 * MEBIBYTE) as spool:
        await _fill(spool, arrived)
    (small_disk / "other").write_bytes(bytes(_free_bytes(small_disk)))
    async with spooling(folder, spool_bytes_max=8 * MEBIBYTE) as spool:
        assert spool.recovered == len(arrived)
        taken, _ = await _drain(spool)
        assert taken == arrived
        await spool.put(envelopes(1))


async def test_a_limit_on_the_size_of_files_is_like_a_full_disk(tmp_path: Path) -> None:
    """Whatever was put before is there, nothing else is, and when the limit goes, so does the trouble."""
    broken, kept = await told(await program("limited", tmp_path / "spool", "500000"))
    assert broken.startswith("broken ")
    async with spooling(tmp_path / "spool") as spool:
        assert receipts(await content(spool)) == kept.split()[1:]


async def _fill(spool: Spool, arrived: list[Envelope]) -> str:
    """Put until the disk is full; what it said then."""
    while True:
        some = envelopes(10)
        try:
            await spool.put(some)
        except SpoolBrokenError as error:
            return str(error)
        arrived += some


async def _drain(spool: Spool) -> tuple[list[Envelope], int]:
    """What was taken out, and how often that was refused at first."""
    taken: list[Envelope] = []
    refused = 0
    while found := await spool.first(50):
        for attempt in range(3):
            try:
                await spool.delete(position for position, _ in found)
                break
            except SpoolBrokenError:
                assert attempt < 2
                refused += 1
        taken += [envelope for _, envelope in found]
    return taken, refused


def _free_bytes(disk: Path) -> int:
    return shutil.disk_usage(disk).free


# On a disk that fails.


@only_on_linux
@pytest.mark.parametrize("calls", [("fsync", "fdatasync"), ("pwrite64",), ("pread64",)], ids="-".join)
async def test_a_disk_that_fails_makes_no_false_promise(tmp_path: Path, calls: tuple[str, ...]) -> None:
    """What is refused then does not appear later, what was kept does not go, and nothing is taken for damaged."""
    *broken, kept = await told(await program("failing", tmp_path / "spool", *calls))
    assert sum(line.startswith("broken ") for line in broken) == 2
    assert not set_aside(tmp_path / "spool")
    async with spooling(tmp_path / "spool") as spool:
        assert receipts(await content(spool)) == kept.split()[1:]


@only_on_linux
async def test_what_was_refused_is_not_found_at_the_next_start(tmp_path: Path) -> None:
    """Although it lies in the log, complete: a failed fsync says nothing of what was written."""
    folder = tmp_path / "spool"
    output, _ = await (await program("refused", folder)).communicate()
    assert commits(folder) >= 2
    async with spooling(folder) as spool:
        assert receipts(await content(spool)) == output.decode().splitlines()[-1].split()[1:]
        await spool.put(envelopes(1))
        assert spool.depth == spool.recovered + 1 == 6
    async with spooling(folder) as spool:
        assert spool.recovered == 6
    assert not (folder / "spool.suspected").exists()


# Damaged.


def _overwrite(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(content)


def _header(folder: Path, drawn: random.Random) -> None:
    _overwrite(folder / DATABASE, 0, drawn.randbytes(100))


def _first_pages(folder: Path, drawn: random.Random) -> None:
    _overwrite(folder / DATABASE, 0, bytes(drawn.randint(2, 4) * PAGE_BYTES))


def _middle(folder: Path, drawn: random.Random) -> None:
    size = (folder / DATABASE).stat().st_size
    _overwrite(folder / DATABASE, drawn.randrange(size // 2), drawn.randbytes(drawn.randint(1, 3 * PAGE_BYTES)))


def _spots(folder: Path, drawn: random.Random) -> None:
    size = (folder / DATABASE).stat().st_size
    for _ in range(10):
        _overwrite(folder / DATABASE, drawn.randrange(size - 50), drawn.randbytes(50))


def _half(folder: Path, drawn: random.Random) -> None:
    size = (folder / DATABASE).stat().st_size
    os.truncate(folder / DATABASE, drawn.randint(size // 4, size // 2))


def _no_database(folder: Path, drawn: random.Random) -> None:
    (folder / DATABASE).write_bytes(drawn.randbytes(50_000))


def _gone(folder: Path, _: random.Random) -> None:
    (folder / DATABASE).unlink()


def _log_header(folder: Path, drawn: random.Random) -> None:
    _overwrite(folder / LOG, drawn.randrange(24), drawn.randbytes(8))


def _log_middle(folder: Path, drawn: random.Random) -> None:
    size = (folder / LOG).stat().st_size
    _overwrite(folder / LOG, drawn.randrange(40, size // 2), drawn.randbytes(drawn.randint(1, 9000)))


DAMAGES = (_header, _first_pages, _middle, _spots, _half, _no_database, _gone, _log_header, _log_middle)


@pytest.fixture(scope="session")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Envelope]]:
    """What a crash left of a spool, most of it in the database and some in the log; and what is in it."""
    base = tmp_path_factory.mktemp("crashed")

    async def make() -> list[Envelope]:
        async with spooling(base / "spool", spool_bytes_max=8 * MEBIBYTE) as spool:
            arrived: list[Envelope] = []
            for number in range(111):
                some = envelopes(3, body_bytes=9_000 if number % 10 == 5 else 500)
                await spool.put(some)
                arrived += some
            await spool.delete([position for position, _ in await spool.first(11)])
            for _ in range(6):
                await spool.put(some := envelopes(3, body_bytes=500))
                arrived += some
            crash(base / "spool", base / "left")
        return arrived[11:]

    arrived = asyncio.run(make())
    assert commits(base / "left") > 4
    assert (base / "left" / DATABASE).stat().st_size > 100 * PAGE_BYTES
    return base / "left", arrived


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
async def test_what_can_be_read_of_a_damaged_spool_is_taken_over(
    tmp_path: Path,
    crashed: tuple[Path, list[Envelope]],
    damage: Callable[[Path, random.Random], None],
    seed: int,
) -> None:
    """Whole rows on untouched pages, at the least; no row is altered without saying so; no loss is silent."""
    left, arrived = crashed
    folder = shutil.copytree(left, tmp_path / "spool")
    damage(folder, random.Random(seed))
    certain = _on_untouched_pages(arrived, left, folder)
    with capture_logs() as logged:
        async with spooling(folder) as spool:
            found = await content(spool)
            unharmed = [envelope for envelope in found if envelope.undecodable_because != BECAUSE]
            order = receipts(arrived)
            places = [order.index(str(envelope.receipt)) for envelope in found if str(envelope.receipt) in order]
            assert places == sorted(set(places))
            assert [envelope for envelope in unharmed if str(envelope.receipt) in order] == [
                envelope for envelope in arrived if envelope in unharmed
            ]
            assert set(receipts(certain)) <= set(receipts(unharmed))
            aside = set_aside(folder)
            assert aside or found == arrived
            errors = [line for line in logged if line["log_level"] == "error" and "set aside" in line["event"]]
            assert [line["file"] for line in errors] == [str(path) for path in aside]
            await spool.put(more := envelopes(3))
            found += more
        async with spooling(folder) as spool:
            assert await content(spool) == found
    assert set_aside(folder) == aside


def _on_untouched_pages(arrived: list[Envelope], before: Path, after: Path) -> list[Envelope]:
    """The callbacks that lie, whole, on one page that is still the one it was."""
    untouched = _pages(before) & _pages(after)
    return [envelope for envelope in arrived if any(envelope.body in page for page in untouched)]


def _pages(folder: Path) -> set[bytes]:
    """Of the database, and those in the log that are newer."""
    pages = set()
    for name, start, gap, end in ((DATABASE, 0, 0, None), (LOG, 56, 24, _end_of_log(folder))):
        if (folder / name).exists():
            file = (folder / name).read_bytes()[:end]
            pages |= {file[at : at + PAGE_BYTES] for at in range(start, len(file), PAGE_BYTES + gap)}
    return pages


async def test_a_healthy_spool_is_not_taken_for_damaged(crashed: tuple[Path, list[Envelope]], tmp_path: Path) -> None:
    """The measure of the tests above: without damage all is there, and nothing is set aside."""
    left, arrived = crashed
    folder = shutil.copytree(left, tmp_path / "spool")
    assert not is_torn(folder / LOG)
    async with spooling(folder) as spool:
        assert await content(spool) == arrived
    assert not set_aside(folder)
    assert len(_on_untouched_pages(arrived, left, left)) > len(arrived) // 2


async def test_a_changed_byte_makes_a_callback_malformed(crashed: tuple[Path, list[Envelope]], tmp_path: Path) -> None:
    """Whose it is can still be told, so it is kept under its receipt, and nothing is made of it."""
    left, arrived = crashed
    folder = shutil.copytree(left, tmp_path / "spool")
    file = (folder / DATABASE).read_bytes()
    hit = next(envelope for envelope in arrived[20:] if len(envelope.body) == 500 and file.count(envelope.body) == 1)
    _overwrite(folder / DATABASE, file.index(hit.body) + 100, b"!")
    async with spooling(folder) as spool:
        found = await content(spool)
        assert receipts(found) == receipts(arrived)
        (changed,) = [envelope for envelope in found if envelope not in arrived]
        assert changed.receipt == hit.receipt
        assert changed.undecodable_because == BECAUSE
        assert changed.body == hit.body[:100] + b"!" + hit.body[101:]


async def test_a_log_cut_short_ends_there(crashed: tuple[Path, list[Envelope]], tmp_path: Path) -> None:
    """As after a crash in the middle of a write, which was never acknowledged: no reason for alarm."""
    left, arrived = crashed
    end = _end_of_log(left)
    for cut_bytes in (1, 3_000, 20_000):
        folder = shutil.copytree(left, tmp_path / str(cut_bytes))
        os.truncate(folder / LOG, end - cut_bytes)
        async with spooling(folder) as spool:
            found = await content(spool)
            assert found == arrived[: len(found)]
            assert len(arrived) - 18 <= len(found) < len(arrived)
        assert not set_aside(folder)


def _end_of_log(folder: Path) -> int:
    """Where the frames end that were written since the log was begun anew."""
    file = (folder / LOG).read_bytes()
    frames = range(32, len(file), PAGE_BYTES + 24)
    return max((at + PAGE_BYTES + 24 for at in frames if file[at + 8 : at + 16] == file[16:24]), default=0)


async def test_damage_that_shows_while_it_is_drained(tmp_path: Path) -> None:
    """The rest is drained all the same, in order; what is missing is counted, and new ones are kept."""
    folder = tmp_path / "spool"
    async with spooling(folder) as spool:
        arrived = envelopes(6000)
        for start in range(0, len(arrived), 200):
            await spool.put(arrived[start : start + 200])
        hit = arrived[2000]
        with (folder / DATABASE).open("rb") as file:
            page = file.read().index(hit.body) // PAGE_BYTES
        _overwrite(folder / DATABASE, page * PAGE_BYTES, bytes(PAGE_BYTES))
        taken = await empty(spool)
        left = set(receipts(taken))
        assert taken == [envelope for envelope in arrived if str(envelope.receipt) in left]
        assert str(hit.receipt) not in left
        assert 0 < spool.lost == len(arrived) - len(taken) < 10
        assert spool.recovered == 0
        await spool.put(more := envelopes(3))
        assert await content(spool) == more
    assert len(set_aside(folder)) == 1


@pytest.mark.parametrize("renamed", [0, 1, 2])
async def test_a_salvage_that_is_cut_off_is_finished_at_the_next_start(tmp_path: Path, renamed: int) -> None:
    """Wherever it was: the draft that is complete takes its place, and a damaged log is not taken for its."""
    folder = tmp_path / "spool"
    async with spooling(folder) as spool:
        await spool.put(arrived := envelopes(50))
    (folder / DATABASE).rename(folder / "spool.db.complete")
    for file in (DATABASE, LOG)[renamed:]:
        (folder / file).write_bytes(random.Random(renamed).randbytes(50_000))
    async with spooling(folder) as spool:
        assert await content(spool) == arrived
    assert len(set_aside(folder)) == (renamed < 2)


async def test_a_draft_that_was_not_completed_is_worth_nothing(tmp_path: Path) -> None:
    """A crash in the middle of a salvage: the damaged file is still there, and is read again."""
    folder = tmp_path / "spool"
    async with spooling(folder) as spool:
        await spool.put(arrived := envelopes(50))
    _overwrite(folder / DATABASE, 0, bytes(100))
    (folder / "spool.db.draft").write_bytes(b"half")
    async with spooling(folder) as spool:
        assert await content(spool) == arrived
    assert not (folder / "spool.db.draft").exists()
    assert len(set_aside(folder)) == 1


async def test_a_spool_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """Nothing is believed kept until then; what is in it is found then."""
    async with spooling(tmp_path / "there" / "spool") as spool:
        await spool.put(arrived := envelopes(4))
    (tmp_path / "there").rename(tmp_path / "away")
    (tmp_path / "there").touch()
    spool = spool_at(tmp_path / "there" / "spool")
    with pytest.raises(SetupError):
        await spool.open()
    with pytest.raises(SpoolBrokenError):
        await spool.put(envelopes(1))
    (tmp_path / "there").unlink()
    (tmp_path / "away").rename(tmp_path / "there")
    await spool.put(after := envelopes(1))
    assert spool.recovered == 4
    assert await content(spool) == arrived + after
    await spool.close()
