"""`make asking`: the comparison with the emulator's own world sees what is wrong; a seed gives its mishaps."""

from __future__ import annotations

from dataclasses import replace

import asyncpg

from chaos.asking.esc import Esc
from chaos.asking.truth import compare, world_of
from chaos.asking.walk import mishaps
from tests.support.emulator import TENANT, model, orchestrating
from tests.support.reconciling import hear

DAMAGES = {
    "deployment d1: INERT": "UPDATE deployments SET state = 'INERT' WHERE internal_deployment_id = 'd1'",
    "deployment d1: not known": "UPDATE deployments SET current = false WHERE internal_deployment_id = 'd1'",
    "VM d1_web": "UPDATE vms SET state = 'ERROR' WHERE vm_name LIKE 'd1_web%'",
    "d1: VMs": "UPDATE vms SET vm_name = 'other' WHERE vm_name LIKE 'd1_web%'",
    "instance other": "UPDATE vms SET vm_uuid = 'other' WHERE vm_name LIKE 'd1_web%'",
    "FAILED, and in truth SUCCEEDED": "UPDATE operations SET state = 'FAILED' WHERE deployment = 'd1'",
    "still OPEN": "UPDATE operations SET state = 'OPEN', ended_at = NULL WHERE deployment = 'd1'",
    "was delivered": "UPDATE operations SET state = 'OVERDUE', ended_at = NULL WHERE deployment = 'd1'",
    "ESC knows it not": "UPDATE operations SET transaction_id = 'another' WHERE deployment = 'd1'",
    "d2: ACTIVE, and ESC has it not": "UPDATE deployments SET state = 'ACTIVE', ended_at = NULL WHERE ended_at < now()",
    "callbacks kept": "DELETE FROM callbacks WHERE deployment = 'd1'",
}
"""What is told, and why."""


async def test_the_comparison_sees_damage(postgres_dsn: str) -> None:
    """All that an emulated ESC said was heard: no difference; each damage is one."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.emulator.engine.idle()
        for name in ("d1", "d2"):
            await client.ask("POST", f"/v0/deployments/{name}", model(name))
        await client.emulator.engine.idle()
        await client.ask("DELETE", "/v0/deployments/d2")
        await hear(postgres_dsn, await client.done())
        world = await world_of(Esc(client.session, client.emulator.url, ""))
    connection = await asyncpg.connect(postgres_dsn)
    try:
        same = await compare(connection, world)
        assert (same.findings, same.deployments, same.vms, same.operations) == ([], 2, 1, 3)
        for finding, damage in DAMAGES.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(damage)
            found = (await compare(connection, world)).findings
            assert any(finding in one for one in found), (damage, found)
            await transaction.rollback()
        unsaid = dict.fromkeys(world.told, "dropped")
        await connection.execute(
            "UPDATE operations SET state = 'OVERDUE', ended_at = NULL WHERE deployment IS NOT NULL"
        )
        found = (await compare(connection, replace(world, told=unsaid))).findings
        assert ["leaves no doubt" in one or "without a note" in one for one in found] == [True] * 3
    finally:
        await connection.close()


def test_a_seed_gives_the_same_mishaps() -> None:
    """So that a failing seed can be tried again; and each has a failover."""
    assert mishaps(7) == mishaps(7)
    assert mishaps(7) != mishaps(8)
    assert all(any(one.what.startswith("failover") for one in mishaps(seed)) for seed in range(20))
