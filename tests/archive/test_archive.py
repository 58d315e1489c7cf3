"""The archive of a real ledger: whole it verifies, and whatever is done to it is found and named."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.archive import ledger_pages
from receiver.archive.exporter import Export, Exported
from receiver.archive.findings import Fault
from receiver.archive.format import content_hash, entry_line, line_of, read_entry
from receiver.archive.run import export, verify
from receiver.archive.segments import HEADS, segment_path
from receiver.archive.signing import public_key, signer
from receiver.archive.verification import Verified
from receiver.config.settings import Settings
from receiver.errors import ArchiveError
from receiver.model.entities import Transition
from tests.support.batches import decisions, keeping
from tests.support.replays import letters, traffic


class Place(NamedTuple):
    """A ledger, and where its archive is."""

    settings: Settings
    folder: Path
    key: Path
    connection: asyncpg.Connection[asyncpg.Record]

    async def keep(self, seed: int) -> None:
        """More of a ledger."""
        async with keeping(self.settings.postgres_dsn) as keeper:
            await decisions(keeper, letters(traffic(seed, gap_s=1.0)))

    async def export(self, *, publish: bool = False) -> Exported:
        """One segment more."""
        return await export(self.settings, Export(self.folder, signer(self.key), quiet), publish=publish)

    async def verify(self, *, with_ledger: bool = False, **given: Any) -> Verified:
        """What is found."""
        key = public_key(self.key.with_suffix(".pub"))
        settings = self.settings if with_ledger else None
        return await verify(self.folder, quiet, **{"key": key, "published": {}} | given, settings=settings)

    async def faults(self, **given: Any) -> list[tuple[str, str]]:
        """Of the verification: what is wrong, and the words for it."""
        found = (await self.verify(**given)).findings
        assert found.count == len(found.named)
        return [(one.fault, f"{one.where}: {one.what}") for one in found.named]

    async def entries(self) -> int:
        """In the ledger."""
        return int(await self.connection.fetchval("SELECT count(*) FROM transitions"))

    def lines(self, segment: int = 1) -> list[bytes]:
        """Those of a segment."""
        return segment_path(self.folder, segment).read_bytes().splitlines(keepends=True)

    def rewrite(self, lines: Sequence[bytes], segment: int = 1) -> None:
        """By somebody who has no key."""
        segment_path(self.folder, segment).write_bytes(b"".join(lines))


def quiet(_: str, __: int, ___: int) -> None:
    """No bar."""


def make_key(path: Path) -> None:
    """As openssl makes them."""
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)


@pytest.fixture
async def place(
    postgres_dsn: str, connection: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> AsyncIterator[Place]:
    """A ledger of some hundred entries, read in small pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_pages, "PAGE", 7)
        make_key(tmp_path / "ledger.key")
        made = Place(Settings(postgres_dsn=postgres_dsn), tmp_path / "archive", tmp_path / "ledger.key", connection)
        await made.keep(1)
        yield made


# What is whole.


async def test_a_whole_archive_verifies_and_has_every_entry_once(place: Place) -> None:
    """In the order of visibility, also in several segments; with nothing new there is no segment."""
    first = await place.export()
    assert first.entries == first.total == await place.entries() > 50
    assert (await place.export()).segment == 0
    await place.keep(2)
    second = await place.export()
    assert (second.segment, second.total) == (2, await place.entries())
    found = await place.verify(with_ledger=True)
    assert found.findings.named == []
    assert (found.segments, found.entries, found.begin_later) == (2, second.total, 0)
    assert found.compared is not None
    assert (found.compared.alike, found.compared.dropped) == (second.total, 0)
    archived = [orjson.loads(line)["entry"]["id"] for n in (1, 2) for line in place.lines(n) if b'"entry"' in line]
    rows = await place.connection.fetch("SELECT id FROM transitions ORDER BY xid, position")
    assert archived == [str(row["id"]) for row in rows]


async def test_it_is_written_while_receivers_write_and_misses_nothing(place: Place) -> None:
    """An entry whose transaction is still open when it is written comes with the next segment."""
    other = await asyncpg.connect(place.settings.postgres_dsn)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_current_xact_id()")
        await place.keep(2)
        early = await place.export()
        assert early.total < await place.entries()
        await transaction.rollback()
    finally:
        await other.close()
    assert (await place.export()).total == await place.entries()
    assert await place.faults(with_ledger=True) == []


async def test_heads_that_are_lost_or_stale_are_made_again(place: Place) -> None:
    """A crash between a segment and its heads costs a reading, and nothing else."""
    await place.export()
    (place.folder / HEADS).rename(place.folder / "old")
    await place.keep(2)
    await place.export()
    for left in place.folder.glob(f"{HEADS}*"):
        left.unlink()
    shutil.move(place.folder / "old", place.folder / HEADS)
    await place.keep(3)
    assert (await place.export()).segment == 3
    assert await place.faults(with_ledger=True) == []


async def test_what_fails_leaves_no_half_a_segment(place: Place) -> None:
    """Nor heads that know of entries which no segment has."""
    work = Export(place.folder, signer(place.key), broken)
    with pytest.raises(ArchiveError, match="full"):
        await export(place.settings, work, publish=False)
    assert sorted(path.name for path in place.folder.iterdir() if HEADS not in path.name) == []
    await place.export()
    assert await place.faults(with_ledger=True) == []


def broken(_: str, __: int, ___: int) -> None:
    """As if the disk were full."""
    raise ArchiveError("full")


async def test_months_that_retention_dropped_are_no_fault(place: Place) -> None:
    """Of an archive that has them, and of one that began later."""
    await place.export()
    await place.connection.execute("UPDATE transitions SET at = at")  # another place, the same entries
    partitions = await place.connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'transitions'::regclass"
    )
    for row in partitions:
        await place.connection.execute(f"DELETE FROM {row['name']}")  # noqa: S608 - ours
    found = await place.verify(with_ledger=True)
    assert found.findings.named == []
    assert found.compared is not None
    assert found.compared.dropped == found.entries


# What is done to an archive.


def entry_places(lines: Sequence[bytes]) -> list[int]:
    """Where the entries stand."""
    return [place for place, line in enumerate(lines) if b'"entry"' in line]


def changed(lines: list[bytes], at: int) -> None:
    """One word of it."""
    document = orjson.loads(lines[at])
    document["entry"]["reason"] = "nothing happened"
    lines[at] = line_of(document)


def changed_with_its_hash(lines: list[bytes], at: int) -> None:
    """By somebody who knows how."""
    line = read_entry(orjson.loads(lines[at]))
    lines[at] = entry_line(line.number, line.entry | {"reason": "nothing happened"}, line.after).line()


def removed(lines: list[bytes], at: int) -> None:
    """One."""
    del lines[at]


def inserted(lines: list[bytes], at: int) -> None:
    """One that never was, behind it."""
    line = read_entry(orjson.loads(lines[at]))
    lines.insert(at + 1, entry_line(line.number, line.entry | {"reason": "invented"}, line.after).line())


def swapped(lines: list[bytes], at: int) -> None:
    """With the one behind it."""
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (changed, Fault.CHANGED),
        (changed_with_its_hash, Fault.CHANGED),
        (removed, Fault.REMOVED),
        (inserted, Fault.INSERTED),
        (swapped, Fault.REORDERED),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("which", [0, 20, -2])
async def test_a_row_that_is_tampered_with_is_named(
    place: Place, tamper: Callable[[list[bytes], int], None], fault: Fault, which: int
) -> None:
    """First, in the middle, nearly last: by its id or number, and the segment is not what was signed."""
    await place.export()
    lines = place.lines()
    at = entry_places(lines)[which]
    victim = orjson.loads(lines[at])
    tamper(lines, at)
    place.rewrite(lines)
    found = await place.faults()
    name = victim["entry"]["id"] if fault is not Fault.REMOVED else f"number {victim['n']} is missing"
    assert [words for kind, words in found if kind == fault and name in words], found
    assert {kind for kind, _ in found} <= {fault, Fault.SEGMENT, Fault.HEAD}
    assert any("not what was signed" in words for _, words in found)


async def test_an_end_that_is_cut_off_and_a_segment_that_is_gone(place: Place) -> None:
    """Also the segment behind it says so."""
    await place.export()
    await place.keep(2)
    await place.export()
    lines = place.lines()
    place.rewrite(lines[:-1])
    assert "segment 1: has no end: it was cut off" in [words for _, words in await place.faults()]
    segment_path(place.folder, 1).unlink()
    found = await place.faults()
    assert (Fault.SEGMENT, "segment 1: is missing") in found
    assert (Fault.SEGMENT, "segment 2: does not follow the segment before it") in found
    with pytest.raises(ArchiveError, match="lacks a segment"):
        await place.export()


async def test_an_archive_made_anew_by_somebody_else_is_not_signed_by_us(place: Place, tmp_path: Path) -> None:
    """And the heads that were published do not fit it."""
    told = await place.export()
    heads = {(day.day, day.entries): day.head for day in told.days}
    assert await place.faults(published=heads) == []
    shutil.rmtree(place.folder)
    make_key(tmp_path / "other.key")
    entry = await place.connection.fetchval("SELECT id FROM transitions ORDER BY xid, position LIMIT 1")
    await place.connection.execute("UPDATE transitions SET reason = 'nothing happened' WHERE id = $1", entry)
    await export(place.settings, Export(place.folder, signer(tmp_path / "other.key"), quiet), publish=False)
    found = await place.faults(published=heads)
    assert {kind for kind, _ in found} == {Fault.SIGNATURE, Fault.HEAD}
    assert await place.faults(key=None) == []  # of itself it is whole: that is why a key and heads are kept elsewhere


# What is done to the ledger.


async def test_a_row_of_the_ledger_that_is_tampered_with_is_named(place: Place) -> None:
    """Changed, removed or inserted since it was archived."""
    await place.export()
    rows = await place.connection.fetch("SELECT id FROM transitions ORDER BY xid, position")
    ids = [row["id"] for row in rows]
    await place.connection.execute("UPDATE transitions SET to_state = 'ACTIVE' WHERE id = $1", ids[5])
    await place.connection.execute("DELETE FROM transitions WHERE id = $1", ids[9])
    await place.connection.execute(
        "INSERT INTO transitions SELECT (r).* FROM (SELECT jsonb_populate_record(t, jsonb_build_object("
        "'id', gen_random_uuid(), 'sequence', 999)) AS r FROM transitions AS t WHERE id = $1) AS made", ids[11],
    )  # fmt: skip
    found = await place.faults(with_ledger=True)
    assert sorted(kind for kind, _ in found) == [Fault.CHANGED, Fault.LEFT_OUT, Fault.REMOVED]
    assert str(ids[5]) in dict(found)[Fault.CHANGED]
    assert str(ids[9]) in dict(found)[Fault.REMOVED]
    assert "number 999" in dict(found)[Fault.LEFT_OUT]


async def test_an_entry_that_the_ledger_lacked_when_it_was_archived_is_found(place: Place) -> None:
    """Entities count their entries: one that was removed before leaves a gap."""
    victim = await place.connection.fetchrow(
        "DELETE FROM transitions WHERE id = (SELECT t.id FROM transitions AS t WHERE sequence = 2 AND EXISTS"
        " (SELECT FROM transitions AS o WHERE o.entity_id = t.entity_id AND o.sequence = 3) ORDER BY position LIMIT 1)"
        " RETURNING name"
    )
    assert victim is not None
    done = await place.export()
    assert done.holes == 1
    found = await place.faults()
    assert [kind for kind, _ in found] == [Fault.LEFT_OUT]
    assert victim["name"] in found[0][1]


async def test_numbers_that_go_on_above_a_floor_are_no_gap(place: Place) -> None:
    """After an epoch; any other jump is one, also behind it."""
    await place.export()
    await place.connection.execute(
        "INSERT INTO epochs (sequence_floor, lost_messages, first_sequence, last_sequence) VALUES (40, 1, 1, 1)"
    )
    await place.connection.execute("UPDATE relay SET sequence_floor = 40")
    await place.keep(9)
    assert (await place.export()).holes == 0
    assert await place.faults(with_ledger=True) == []
    assert await place.connection.fetchval("SELECT max(sequence) FROM transitions") > 40


async def test_a_ledger_that_went_back_is_not_archived_as_if_nothing_had_been(place: Place) -> None:
    """Nor another database's."""
    await place.export()
    await place.connection.execute(
        "DELETE FROM transitions WHERE (xid, position) = (SELECT xid, position FROM transitions"
        " ORDER BY xid DESC, position DESC LIMIT 1)"
    )
    with pytest.raises(ArchiveError, match="gone back"):
        await place.export()
    await place.connection.execute("UPDATE relay SET database_id = gen_random_uuid()")
    with pytest.raises(ArchiveError, match="another database"):
        await place.export()


async def test_a_restored_ledger_whose_positions_are_new_goes_on(place: Place) -> None:
    """After pg_dump and restore all entries have one transaction id; none is archived twice."""
    await place.export()
    await place.connection.execute("UPDATE transitions SET xid = '3'")
    await place.keep(2)
    assert (await place.export()).total == await place.entries()
    assert await place.faults() == []


async def test_the_heads_are_told_on_the_feed(place: Place) -> None:
    """As a message that fits its schema, with what `verify --head` takes."""
    done = await place.export(publish=True)
    row = await place.connection.fetchrow("SELECT subject, payload FROM outbox WHERE subject LIKE '%.ledger.%'")
    assert row is not None
    told = orjson.loads(row["payload"])
    assert (told["digest"], told["days"]) == (done.digest, [day._asdict() for day in done.days])
    assert told["key"] == public_key(place.key.with_suffix(".pub"))


def test_a_hash_covers_every_column() -> None:
    """Also one that is null."""
    line = dict.fromkeys(Transition._fields) | {"at": "2026-01-01T00:00:00Z", "sequence": 1}
    assert len({content_hash(line | {name: "x"}) for name in line}) == len(line)
