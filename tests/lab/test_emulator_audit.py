"""What the emulator says it has done is what a receiver makes of it: audited as the simulator's traffic is.

The emulator knows nothing of our lifecycle: where both disagree, one of them is wrong.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import aiohttp
import orjson
import pytest

from esc_lab.emulator import Emulator, Faults, Options, emulating
from receiver.app import running
from receiver.config.settings import Settings
from receiver.config.sources import Source
from tests.support import feed
from tests.support.auditor import (
    Connection,
    assert_bucket_follows,
    assert_counts_add_up,
    assert_feed_equals_ledger,
    assert_kept,
    assert_ledger_is_whole,
    in_feed,
    in_postgres,
    published,
)
from tests.support.emulator import TENANT, Listener, Orchestrator, model, network, with_networks

ROUNDS = 20
TIME_SCALE = 0.0002
"""Slow enough for an undeploy to come in the middle of a deploy."""
FAULTS = {
    "work": {"vm-fails": 0.1, "vm-silent": 0.1, "work-fails": 0.2, "vm-dies": 0.3},
    "delivery": {"delay": 0.05, "double": 0.1, "reorder": 0.1, "drop": 0.05, "truncate": 0.05},
}


@pytest.mark.parametrize(
    ("seed", "chances"),
    [
        pytest.param(1, {}, id="without-faults"),
        pytest.param(2, FAULTS["work"], id="faults-of-the-work"),
        pytest.param(3, FAULTS["delivery"], id="faults-of-the-delivery"),
        pytest.param(7, FAULTS["work"] | FAULTS["delivery"], id="all-faults"),
    ],
)
async def test_what_the_emulator_does_is_what_the_receiver_knows(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path, seed: int, chances: dict[str, float]
) -> None:
    """Every receipt is kept once with its bytes, states are true, the ledger is whole, feed and bucket follow it."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, sources={"lab1": Source()}
    )
    options = Options(
        port=0,
        time_scale=TIME_SCALE,
        seed=seed,
        faults=Faults(chances, delay_s=0.1),
        source="lab1",
        keep_audit_log=True,
    )
    async with running(settings) as app, emulating(options) as emulator, aiohttp.ClientSession() as session:
        await app.until_ready()
        client = Orchestrator(emulator, Listener(f"{app.url}/esc/lab1/callback", f"{app.url}/esc/lab1/events"), session)
        await practise(client, emulator, Random(seed))
        messages = await published(connection, nats_url)
        async with aiohttp.ClientSession(app.url) as asking:
            await assert_counts_add_up(asking)
        items = await feed.items(nats_url)
    said = {delivery.says for delivery in emulator.deliveries.kept}
    assert {"SERVICE_ALIVE", "SERVICE_UPDATED", "SERVICE_UNDEPLOYED", "VM_RECOVERY_COMPLETE", "CREATE_VOLUME"} <= said
    assert {"CREATE_NETWORK", "CREATE_SUBNET", "DELETE_SUBNET", "DELETE_NETWORK"} <= said
    assert emulator.audit_log is not None
    await assert_kept(connection, emulator.audit_log.receipts)
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, messages)
    for actual in (await in_postgres(connection), in_feed(messages)):
        differences = emulator.audit_log.expected.check(actual)
        assert not differences, "\n".join(map(str, differences[:20]))
    await assert_bucket_follows(connection, messages, items)


async def practise(client: Orchestrator, emulator: Emulator, rng: Random) -> None:
    """All kinds of operations in an order drawn from the seed; what is not applicable just now is refused."""
    while (resource := emulator.esc.world.resource("tenant", "acme")) is None or resource.state != "CREATED":
        await client.ask("DELETE", "/v0/tenants/acme")  # one that failed must go before it is made again
        await client.done()
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
    for number in range(ROUNDS):
        await asyncio.gather(*(act(client, rng, f"dep-{one}") for one in rng.sample(range(4), 2)))
        await resources(client, rng, number)
        await client.done()


async def act(client: Orchestrator, rng: Random, deployment_id: str) -> None:
    """One operation on a deployment, its VMs or ESC's own."""
    path = f"/v0/deployments/{deployment_id}"
    found = await client.ask("GET", path, Accept="application/json")
    if found.status == 404:
        groups = {"web": {"vms": rng.randrange(1, 4)}, "plain": {"watched": False, "vms": rng.randrange(2)}}
        await client.ask("POST", path, with_networks(model(deployment_id, groups), *networks(rng)))
        # While the deploy goes on. Were its one message dropped, nobody would know that there was this incarnation.
        if rng.random() < 0.3 and "drop" not in client.emulator.esc.faults.chances:
            await client.ask("DELETE", path)
        return
    vms = [vm["vm_name"] for vm in (await client.look(path))["deployment_details"]] or ["none"]
    vm = rng.choice(vms)
    operation = rng.choice(
        ["stop", "start", "start", "reboot", "enable_monitoring", "disable_monitoring", "confirm_resize"]
    )
    nets = ("net", "more")[: rng.randrange(1, 3)]
    changed = {"web": {"vms": rng.randrange(1, 4), "max": 4, "networks": nets, "watched": rng.random() < 0.8}}
    choices = {
        "update": ("PUT", path, with_networks(model(deployment_id, changed), *networks(rng))),
        "undeploy": ("DELETE", path, ""),
        "service": (
            "POST",
            f"/v0/acme/deployments/service/{deployment_id}",
            f"<service_operation><operation>{operation}</operation></service_operation>",
        ),
        "vm": (
            "POST",
            f"/v0/acme/deployments/vm/{vm}",
            f"<vm_operation><operation>{operation}</operation></vm_operation>",
        ),
        "recover": (
            "POST",
            f"/v0/acme/deployments/recovery-vm/{vm}",
            "<recovery_vm_operation><operation>recovery_do</operation></recovery_vm_operation>",
        ),
        "die": (
            "POST",
            f"/emulator/vms/{vm}/die",
            orjson.dumps({"recovery": rng.choice(["reboot", "redeploy", "by-itself"])}).decode(),
        ),
        "out": ("POST", f"/emulator/deployments/{deployment_id}/scale-out", ""),
        "in": ("POST", f"/emulator/deployments/{deployment_id}/scale-in", ""),
    }
    (name,) = rng.choices(list(choices), weights=[3, 2, 3, 3, 1, 3, 2, 2])
    method, where, body = choices[name]
    answer = await client.ask(method, where, body)
    assert answer.status in {200, 400, 404, 409}, (where, answer.text)


def networks(rng: Random) -> list[str]:
    """None to two, each with a subnet that may change."""
    some = [("one", "10.8.0.0"), ("two", "10.9.0.0"), ("two", "10.10.0.0")][: rng.randrange(3)]
    return [network(name, {"sub": f"<address>{rng.choice([address, '10.7.0.0'])}</address>"}) for name, address in some]


async def resources(client: Orchestrator, rng: Random, number: int) -> None:
    """One resource is made, changed or removed."""
    kind, name = rng.choice([("networks", "network"), ("routers", "router"), ("volumes", "volume")])
    path = f"/v0/acme/{kind}/{name}-{number // 3}"
    method = rng.choice(["POST", "POST", "PUT", "DELETE"])
    body = f"<{name}><name>{name} {number}</name></{name}>" if method != "DELETE" else ""
    answer = await client.ask(method, path, body)
    assert answer.status in {200, 204, 400, 404, 405, 409}, answer.text
