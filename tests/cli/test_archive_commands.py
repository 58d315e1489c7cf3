"""`esc-receiver export` and `verify` as they are run: what they print, and their exit statuses."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import asyncpg
import jsonschema
import orjson

from receiver.archive.segments import segment_path
from tests.support.batches import decisions, keeping
from tests.support.program import run
from tests.support.replays import letters, traffic


def openssl(*arguments: str | Path) -> None:
    """As docs/archive.md says."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)  # noqa: S603, S607 - our own words


async def test_a_ledger_is_exported_verified_tampered_with_and_found_out(postgres_dsn: str, tmp_path: Path) -> None:
    """With the words and statuses of docs/archive.md."""
    key, public, folder = tmp_path / "ledger.key", tmp_path / "ledger.pub", tmp_path / "archive"
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, letters(traffic(3, gap_s=1.0)))
    status, said, _ = await run("export", folder, "--key", key, "-o", "json", postgres_dsn=postgres_dsn)
    assert status == 0
    done = json.loads(said)
    assert done["segment"] == 1
    status, said, _ = await run("export", folder, "--key", key, postgres_dsn=postgres_dsn)
    assert (status, said) == (0, f"nothing is new: {done['total']} entries are archived\n")
    (day, *_) = done["days"]
    head = f"{day['day']}:{day['entries']}:{day['head']}"
    given = ("verify", folder, "--public-key", public, "--head", head)
    status, said, _ = await run(*given, "--ledger", postgres_dsn=postgres_dsn)
    assert status == 0
    assert said.splitlines()[-2:] == [
        f"{done['total']} are alike in the ledger, 0 dropped there by age",
        "nothing is wrong",
    ]
    path = segment_path(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    tampered = orjson.loads(lines[7])
    lines[7] = lines[7].replace(b'"reason":"', b'"reason":"not ')
    path.write_bytes(b"".join(lines))
    status, said, _ = await run(*given)
    assert status == 1
    assert f"changed: segment 1, line 8: entry {tampered['entry']['id']}" in said
    status, said, _ = await run(*given, "-o", "json")
    assert (status, json.loads(said)["findings"][0]["fault"]) == (1, "changed")


async def test_what_cannot_be_done_is_one_line(postgres_dsn: str, tmp_path: Path) -> None:
    """Exit status 2."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.key").write_text("no key")
    for words in (
        ("verify", tmp_path / "empty"),
        ("verify", tmp_path / "empty", "--head", "yesterday"),
        ("export", tmp_path / "archive", "--key", tmp_path / "missing.key"),
        ("export", tmp_path / "archive", "--key", tmp_path / "no.key"),
    ):
        status, said, errors = await run(*words, postgres_dsn=postgres_dsn)
        assert (status, said) == (2, "")
        assert "Traceback" not in "\n".join(errors)


async def test_the_message_on_the_feed_fits_its_schema(
    postgres_dsn: str, connection: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """As it waits in the outbox."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "ledger.key")
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, letters(traffic(3, gap_s=1.0)))
    status, *_ = await run("export", tmp_path / "archive", "--key", tmp_path / "ledger.key", postgres_dsn=postgres_dsn)
    assert status == 0
    payload = await connection.fetchval("SELECT payload FROM outbox WHERE subject = 'esc.v1.ledger.archived'")
    schema = orjson.loads(files("receiver").joinpath("events/schemas/ledger.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(payload))
