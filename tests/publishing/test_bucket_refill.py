"""What a bucket that has lost everything is filled with: what it would show had it lost nothing."""

from __future__ import annotations

import orjson

from receiver.config.settings import Settings
from receiver.events.cloudevents import BucketRow
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.publishing.bucket_refill import BucketRefill
from tests.support.feed import Connection
from tests.support.query_api import deploy, store

ENDED = "UPDATE {} SET state = 'UNDEPLOYED', ended_at = now() - make_interval(secs => $1)"
MADE_ANEW = """
CREATE TEMPORARY TABLE anew ON COMMIT DROP AS SELECT gen_random_uuid() AS new_id, * FROM deployments;
CREATE TEMPORARY TABLE anew_vms ON COMMIT DROP AS SELECT v.*, a.new_id
FROM vms AS v JOIN anew AS a ON a.id = deployment_id;
UPDATE deployments SET current = false;
UPDATE anew SET id = new_id, incarnation = incarnation + 1;
UPDATE anew_vms SET id = gen_random_uuid(), deployment_id = new_id;
ALTER TABLE anew DROP COLUMN new_id;
ALTER TABLE anew_vms DROP COLUMN new_id;
INSERT INTO deployments SELECT * FROM anew;
INSERT INTO vms SELECT * FROM anew_vms
"""
"""As ESC does it under the same id: each deployment has a second incarnation, with VMs of the same names."""


async def shown(dsn: str, **changed: object) -> dict[str, str]:
    """The id of what each key shows at last; a portion has two rows."""
    settings = Settings.model_validate({"postgres_dsn": dsn, "port": 0, "publish_batch_max": 2} | changed)
    database = Database(settings, Metrics(settings.all_sources))
    await database.open()
    rows: list[BucketRow] = []
    async for portion in BucketRefill(database, settings).portions():
        assert len(portion) <= 2
        rows += portion
    await database.close()
    return {row.kv_key: orjson.loads(row.payload)["id"] for row in rows if row.kv_key}


async def vms(connection: Connection) -> set[str]:
    """The ids of all."""
    return {str(row["id"]) for row in await connection.fetch("SELECT id FROM vms")}


async def test_of_two_vms_with_one_key_the_present_one_is_shown(postgres_dsn: str, connection: Connection) -> None:
    """Whichever has the later id, and although each portion is read by itself."""
    await store(postgres_dsn, [message for name in ("dep-a", "dep-b", "dep-c") for message in deploy(name)])
    former = await vms(connection)
    async with connection.transaction():
        await connection.execute(MADE_ANEW)
    present = await vms(connection) - former
    assert (len(former), len(present)) == (3, 3)
    for wanted in (present, former):
        found = await shown(postgres_dsn)
        assert {vm for key, vm in found.items() if key.startswith("vm.")} == wanted
        assert len(found) == 6
        await connection.execute("UPDATE deployments SET current = false WHERE current")
        await connection.execute("UPDATE deployments SET current = true WHERE incarnation = 1")


async def test_what_ended_is_shown_as_long_as_the_bucket_keeps_it(postgres_dsn: str, connection: Connection) -> None:
    """`kv_ended_ttl_s`: the relay removes it after that, so it does not come back."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    for table in ("deployments", "vms"):
        await connection.execute(ENDED.format(table), 3_000.0)
    assert len(await shown(postgres_dsn, kv_ended_ttl_s=3_600)) == 4
    assert await shown(postgres_dsn, kv_ended_ttl_s=2_000) == {}
