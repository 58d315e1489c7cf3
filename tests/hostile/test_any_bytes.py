"""Whatever is posted is kept, or refused by the name of a limit: bytes of any kind, over HTTP, to the whole service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.app import App
from tests.fuzz.redaction import CODINGS, ENCODINGS, PACKINGS, PIECES
from tests.support.browser import receiving

KEPT = {200, 202, 400}
"""What comes with a receipt."""
LIMITS = {"body_bytes_max", "header_field_bytes_max", "header_bytes_max"}

composed = st.builds(
    lambda pieces, encoding: "".join(pieces).encode(encoding, "replace"),
    st.lists(st.sampled_from(PIECES), max_size=40),
    st.sampled_from(ENCODINGS),
)
piece = st.sampled_from(PIECES).map(lambda text: text.encode("utf-8", "replace"))
longer = st.builds(
    lambda before, repeated, times, after: before + repeated * times + after,
    composed, piece, st.integers(100, 3_000), composed,
)  # fmt: skip
references = st.integers(1, 6_000).map(lambda digits: b"<p name='&#%b;'/>" % (b"1" * digits))
bodies = st.builds(
    lambda pack, body: pack(body), st.sampled_from(PACKINGS), st.binary() | composed | longer | references
)
fields = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60).map(
    lambda text: text.strip().encode("latin-1")
)


async def test_any_bytes_are_kept_or_refused_by_a_named_limit(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Never an answer that says nothing; a receipt is a row, and all that was received is counted once."""
    receipts: set[UUID] = set()
    async with receiving(postgres_dsn, nats_url, tmp_path) as app:
        await app.until_ready()
        await asyncio.to_thread(_post_all, app, receipts)
        sums = app.metrics.sums()
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch("SELECT receipt FROM callbacks")
    await connection.close()
    assert {row["receipt"] for row in rows} == receipts
    assert sums["received"] == len(receipts) + sums["refused"]


def _post_all(app: App, receipts: set[UUID]) -> None:
    with httpx2.Client(base_url=app.url, trust_env=False, timeout=30) as client:

        @settings(max_examples=300)
        @given(body=bodies, coding=st.sampled_from(CODINGS), transaction=fields, message=fields, channel=fields)
        def post(body: bytes, coding: str, transaction: bytes, message: bytes, channel: bytes) -> None:
            path = "/esc/default/events" if channel else "/esc/default/callback"
            headers = {
                b"Content-Encoding": coding.encode(),
                b"ESC-Transaction-Id": transaction,
                b"ESC-Status-Message": message,
            }
            answer = client.post(path, params={"ref": channel}, content=body, headers=headers)
            if answer.status_code in KEPT:
                receipts.add(UUID(answer.headers["ESC-Receipt-Id"]))
            else:
                assert answer.json().get("setting") in LIMITS, answer.text

        post()
