"""Callbacks that cannot be read are published: what their head says, not their bytes; found missing, and rebuilt."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from receiver.embedded.servers import EmbeddedNats
from tests.cli.test_verify_feed import verify
from tests.support import auditor, feed
from tests.support.feed import Connection
from tests.support.samples import MALFORMED
from tests.support.served_feed import ServedFeed, quick_settings


async def test_what_cannot_be_read_is_told(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """Once each, with receipt and reason; a hole is closed, and an emptied stream filled, with the same."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        field = ServedFeed(quick_settings(postgres_dsn, tmp_path), connection, server)
        async with field.served() as app, aiohttp.ClientSession(app.url) as session:
            for sample in MALFORMED:
                url = "/esc/default/events?ref=order-1"
                async with session.post(url, data=sample.body, headers=dict(sample.headers)) as answer:
                    assert answer.status == 400
            await field.drained()
            told = await auditor.published(connection, server.url)
            rows = {row["receipt"]: row for row in await connection.fetch("SELECT * FROM callbacks")}
            assert len(told) == len(rows) == len(MALFORMED)
            for message in told:
                row = rows[message.id]
                assert message.subject == "esc.v1.callback.malformed.default"
                assert message.headers["ce-type"] == "esc.callback.malformed.v1"
                assert "ce-sequence" not in message.headers
                names = ("reason", "rule", "ref", "source", "status_code", "status_message")
                assert {name: message.event[name] for name in names} == {name: row[name] for name in names}
                assert message.event["operation"] == row["transaction_id"]
                assert not row["body"] or row["body"].decode("utf-8", "replace") not in str(message.event)
            await auditor.assert_feed_equals_ledger(connection, told)
            lost = await field.remove(2)
            result = await verify(field)
            assert (result.exit_code, lost[0] in result.stdout) == (1, True)
            await field.drained()
            after = await auditor.published(connection, server.url)
            assert [one.event for one in after if str(one.id) in lost] == [
                one.event for one in told if str(one.id) in lost
            ]
        async with feed.jetstream(server.url) as stream:
            await stream.purge_stream("ESC")
        async with field.served():
            await feed.until(lambda: all_are_back(field, len(rows)))
            again = await auditor.published(connection, server.url)
        assert {one.id: one.event for one in again} == {one.id: one.event for one in told}


async def all_are_back(field: ServedFeed, number: int) -> bool:
    """Whether the stream has so many messages."""
    return len(await field.ids()) == number
