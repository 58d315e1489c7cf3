"""Why a VM is in its state: from the callback that brought it there to what is expected next."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from receiver.api.next_steps import NEXT, RESTS, expected
from receiver.config.overdue_after import OVERDUE_AFTER_S
from receiver.lifecycle import stage_rules
from receiver.model.entities import Vm, VmState
from tests.support import feed, field
from tests.support.batches import letter, of_deployment
from tests.support.browser import post, receiving
from tests.support.query_api import ALIVE, DEPLOYED, SERVICE_ALIVE, deploy, running_api, store
from tests.support.samples import RECEIVED_AT, SAMPLES

NEW = field.target("u-c", name="c")


async def test_a_vm_that_is_coming_up(postgres_dsn: str) -> None:
    """The callback, the rule, the state before, what comes next and by when, and that it is not published yet."""
    await store(postgres_dsn, [letter(of_deployment(DEPLOYED, "dep-a"))])
    async with running_api(postgres_dsn) as api:
        vm = (await api.get("/vms")).items[0]
        story = (await api.get(f"/explain/default/{vm['vm_name']}")).body
        callback = (await api.get("/callbacks")).items[0]
        operation = (await api.get("/operations")).items[0]
        assert (story["vm"], story["callback"], story["operation"]) == (vm, callback, operation)
        assert (story["cause"]["rule"], story["cause"]["receipt"]) == ("vm-deployed", callback["receipt"])
        assert story["previous"] == {"state": "UNSEEN", "since": None, "rule": None, "reason": None}
        assert [(m["trigger"], m["state"]) for m in story["expected"]["messages"]] == [("VM_ALIVE", "ALIVE")]
        assert story["expected"]["of_the_operation"] == ["SERVICE_ALIVE"]
        by = datetime.fromisoformat(story["expected"]["by"])
        heard = datetime.fromisoformat(operation["last_seen_at"])
        assert by - heard == timedelta(seconds=OVERDUE_AFTER_S["deploy"])
        published = {"published": False, "sequence": None, "at": None}
        assert story["published"] == {"stream": "ESC", "id": story["cause"]["id"]} | published
        assert "Expected next: VM_ALIVE (ALIVE)" in " ".join(story["words"])


async def test_a_vm_at_rest(postgres_dsn: str, connection: Any) -> None:
    """Nothing is expected, the state before is told with its time, and what left the outbox is published."""
    await store(postgres_dsn, deploy("dep-a"))
    await connection.execute("DELETE FROM outbox")
    async with running_api(postgres_dsn) as api:
        vm = (await api.get("/vms")).items[0]
        story = (await api.get(f"/explain/default/{vm['vm_name']}", deployment="dep-a")).body
        assert story["expected"] == {"messages": [], "of_the_operation": [], "by": None, "rests": RESTS["ALIVE"]}
        assert story["previous"]["state"] == "INERT"
        assert story["previous"]["since"] == story["history"][-1]["at"]
        assert story["published"]["published"] is True
        assert [entry["sequence"] for entry in story["history"]] == [2, 1]


async def test_the_publish_receipt(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Stream, sequence and time are those of the message that bears the change; NATS away, they are not known."""
    async with receiving(postgres_dsn, nats_url, tmp_path) as app, aiohttp.ClientSession(app.url) as client:
        await app.until_ready()
        for _ in range(3):  # the same subject again and again: it comes up, is rebooted, and comes up
            await post(app, [of_deployment(sample, "dep-a") for sample in (DEPLOYED, ALIVE, SERVICE_ALIVE)])
            await post(app, [of_deployment(SAMPLES["rec-service-reboot-01-vm-rebooted"], "dep-a")])

        async def explained() -> dict[str, Any]:
            async with client.get("/api/v1/vms") as answer:
                (vm,) = (await answer.json())["items"]
            async with client.get(f"/api/v1/explain/default/{vm['vm_name']}") as answer:
                story: dict[str, Any] = await answer.json()
                return story

        async def is_published() -> bool:
            return bool((await explained())["published"]["published"])

        await feed.until(is_published)
        story = await explained()
        (message,) = [one for one in await feed.stored(nats_url) if str(one.id) == story["cause"]["id"]]
        assert story["published"]["sequence"] == message.sequence
        assert datetime.fromisoformat(story["cause"]["at"]) < datetime.fromisoformat(
            story["published"]["at"][:26] + "Z"
        )
        assert f"message {message.sequence} of stream ESC" in story["words"][-1]
        await app.broker.close()
        assert (await explained())["published"]["sequence"] is None


async def test_what_is_past_its_retention_is_said_to_be(postgres_dsn: str, connection: Any) -> None:
    """Callback and ledger are dropped long before the state is."""
    await store(postgres_dsn, [letter(of_deployment(ALIVE, "dep-a"))])
    async with running_api(postgres_dsn) as api:
        vm = (await api.get("/vms")).items[0]
        await connection.execute("DELETE FROM callbacks")
        story = (await api.get(f"/explain/default/{vm['vm_name']}")).body
        assert (story["callback"], story["cause"]["rule"]) == (None, "vm-alive")
        assert "The callback is past its retention." in story["words"]
        await connection.execute("DELETE FROM transitions")
        story = (await api.get(f"/explain/default/{vm['vm_name']}")).body
        assert (story["cause"], story["previous"], story["published"]) == (None, None, None)


def test_every_state_either_leads_on_or_rests() -> None:
    """Recovering goes by the steps of a recovery; every message named is one that the lifecycle knows."""
    assert set(VmState) == {*NEXT, *RESTS, VmState.RECOVERING}
    assert all((trigger, stage_rules.OK) in stage_rules.VM for triggers in NEXT.values() for trigger in triggers)


@pytest.mark.parametrize(
    ("trigger", "following"),
    [
        ("VM_RECOVERY_INIT", "VM_RECOVERY_REBOOT"),
        ("VM_RECOVERY_UNDEPLOYED", "VM_RECOVERY_DEPLOYED"),
        ("VM_RECOVERY_DEPLOYED", "VM_RECOVERY_CANCELLED"),
    ],
)
def test_a_recovery_goes_on_with_what_ranks_above(trigger: str, following: str) -> None:
    """The steps that may still come, nearest first, down to its end."""
    vm = Vm(
        id=UUID(int=1), source="lab1", deployment_id=UUID(int=2), deployment="dep-1", tenant=None, vm_name="vm-1",
        state=VmState.RECOVERING, first_seen_at=RECEIVED_AT, changed_at=RECEIVED_AT,
    )  # fmt: skip
    triggers = [message["trigger"] for message in expected(vm, trigger)]
    assert triggers[0] == following
    assert triggers[-1] == "VM_RECOVERY_COMPLETE"
    assert trigger not in triggers


@pytest.mark.parametrize(("event", "state"), [("VM_SCALE_OUT_COMPLETE", "ALIVE"), ("VM_SCALE_IN_INIT", "ALIVE")])
async def test_what_caused_a_scaling(postgres_dsn: str, event: str, state: str) -> None:
    """The user's KPI (docs/esc-callbacks.md#10), also where the event moved nothing."""
    kpi = "<event><name>cpu</name><threshold>80</threshold><value>95</value><details>for 2 min</details></event>"
    await field.stored(postgres_dsn, [*field.living(), field.ev("o", event, f"{field.source('a')}{kpi}{NEW}")])
    async with running_api(postgres_dsn) as api:
        story = (await api.get(f"/explain/default/{'c' if 'OUT' in event else 'a'}")).body
    assert story["state"] == state
    assert story["event"] == {"name": "cpu", "threshold": "80", "value": "95", "details": "for 2 min"}
    assert "ESC said of it: name cpu, threshold 80, value 95, details for 2 min." in story["words"]
