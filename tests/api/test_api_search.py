"""`GET search`: names and ids of every kind are found by their beginning, by indexes, and by a limit."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from receiver.api.search import COLUMNS, INDEXED_CHARACTERS
from tests.support.batches import letter, of_deployment
from tests.support.query_api import deploy, running_api, store
from tests.support.samples import SAMPLES


async def test_every_name_and_id_is_found_by_its_beginning(postgres_dsn: str) -> None:
    """In any case; what matched is said, and the whole value comes before longer ones."""
    network = letter(SAMPLES["rec-network-create"])
    first = letter(of_deployment(SAMPLES["rec-deploy-01-vm-deployed"], "dep-a"), ref="Order-4711")
    await store(postgres_dsn, [first, *deploy("dep-a")[1:], *deploy("dep-ab"), network])
    async with running_api(postgres_dsn) as api:
        (vm,) = (await api.get("/vms", deployment="dep-a")).items
        (deployment,) = (await api.get("/deployments", deployment="dep-a")).items
        (operation,) = (await api.get("/operations", deployment="dep-a")).items
        (resource,) = (await api.get("/resources")).items
        asked = {
            ("vm", "vm_name"): vm["vm_name"],
            ("deployment", "internal_deployment_id"): deployment["internal_deployment_id"],
            ("deployment", "deployment_name"): deployment["deployment_name"],
            ("operation", "transaction_id"): operation["transaction_id"],
            ("operation", "ref"): "Order-4711",
            ("resource", "name"): resource["resource_id"],  # which is its name as well
        }
        for (kind, matched), value in asked.items():
            for typed in (value, value.upper(), value[: max(4, len(value) // 2)]):
                found = (await api.get("/search", q=typed, limit=50)).body["items"]
                assert (kind, matched) in {(one["kind"], one["matched"]) for one in found}, (typed, found)
        exact = (await api.get("/search", q="dep-a")).body["items"]
        assert (exact[0]["kind"], exact[0]["name"]) == ("deployment", "dep-a")
        assert (await api.get("/search", q=vm["vm_uuid"])).body["items"][0]["kind"] == "vm"
        (callback,) = (await api.get("/search", q=str(first.envelope.receipt))).body["items"]
        assert (callback["kind"], callback["name"]) == ("callback", str(first.envelope.receipt))
        assert (await api.get("/search", q=str(UUID(int=7)))).body == {"items": [], "more": False}
        assert (await api.get("/search", q="%")).body["items"] == []
        short = (await api.get("/search", q="dep-a", limit=1)).body
        assert (len(short["items"]), short["more"]) == (1, True)
        assert (await api.get("/search")).status == 400


async def test_names_longer_than_their_index_are_told_apart(postgres_dsn: str, connection: asyncpg.Connection) -> None:
    """The index holds the beginning, the rest is compared."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    alike = "n" * INDEXED_CHARACTERS
    for name, deployment in ((f"{alike}-one", "dep-a"), (f"{alike}-two", "dep-b")):
        await connection.execute("UPDATE vms SET vm_name = $1 WHERE deployment = $2", name, deployment)
    async with running_api(postgres_dsn) as api:
        (found,) = (await api.get("/search", q=f"{alike}-tw")).body["items"]
        assert found["name"] == f"{alike}-two"


async def test_no_search_reads_a_whole_table(postgres_dsn: str, connection: asyncpg.Connection) -> None:
    """Each column is looked up in the index that is there for it."""
    await store(postgres_dsn, deploy("dep-a"))
    await connection.execute("SET enable_seqscan = off")
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    for column in COLUMNS:
        rows = await connection.fetch(f"EXPLAIN {column.statement}", "dep", 20)
        plan = "\n".join(row[0] for row in rows)
        assert 'Index Cond: (("left"(lower(' in plan, (column, plan)
        assert "_search_" in plan, (column, plan)
        assert "Seq Scan" not in plan, (column, plan)
