"""What happens in an ESC's own time: lifecycles as docs/esc-callbacks.md#5 has them, good and bad."""

from __future__ import annotations

import pytest

from esc_lab.emulator import Habits, Options
from esc_lab.emulator.healing import die
from tests.support.emulator import TENANT, Orchestrator, deployed, model, orchestrating

DEPLOYMENT = "/v0/deployments/dep-1"
SERVICE = "/v0/acme/deployments/service/dep-1"


def service(operation: str) -> str:
    """The body of chapter 07."""
    return f"<service_operation><operation>{operation}</operation></service_operation>"


def of_vm(operation: str) -> str:
    """The body of chapter 08."""
    return f"<vm_operation><operation>{operation}</operation></vm_operation>"


async def state(client: Orchestrator) -> tuple[str, list[str]]:
    """The service's and its VMs', as a GET tells."""
    found = await client.look(DEPLOYMENT)
    vms = [vm["vm_state_machine_state"] for vm in found["deployment_details"]]
    return found["service_state_machine_state"], sorted(vms)


async def test_vms_come_as_the_data_model_says() -> None:
    """So many of each group; only watched ones are told alive; the service is last, and all of one transaction."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        groups = {"web": {"vms": 3}, "db": {"watched": False, "vms": 2}}
        answer = await client.ask("POST", DEPLOYMENT, model("dep-1", groups))
        heard = await client.done()
        assert [one.says for one in heard].count("VM_DEPLOYED") == 5
        assert {one.field("vm_group_name") for one in heard if one.says == "VM_ALIVE"} == {"web"}
        assert (heard[-1].says, len(heard)) == ("SERVICE_ALIVE", 9)
        assert {one.transaction for one in heard} == {answer.transaction}
        assert await state(client) == ("SERVICE_ACTIVE_STATE", ["VM_ALIVE_STATE"] * 3 + ["VM_INERT_STATE"] * 2)


async def test_vms_interleave_and_take_their_bootup_time() -> None:
    """Each VM keeps its own time: all of them are made before the first, slow one answers."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        groups = {"web": {"vms": 6, "bootup_time": 1000}}
        await client.ask("POST", DEPLOYMENT, model("dep-1", groups))
        heard = [one.says for one in await client.done()]
        assert heard[:6] == ["VM_DEPLOYED"] * 6
        assert heard[6:] == ["VM_ALIVE"] * 6 + ["SERVICE_ALIVE"]


async def test_times_are_those_of_the_data_model() -> None:
    """Seconds of a real ESC: the emulator scales them."""
    times = {"bootup_time": 500, "reboot_time": 90, "recovery_wait_time": 40}
    async with orchestrating() as client:
        (name,) = await deployed(client, web=times)
        init, reboot, complete = die(client.emulator.esc, name, "reboot").operation.messages
        assert init.pause_s == 40
        assert 0 < reboot.pause_s < 90
        assert 0 < complete.pause_s < 90  # it answers after a reboot


@pytest.mark.parametrize(
    ("fault", "says", "ends"),
    [
        ("vm-fails", ["VM_DEPLOYED"] * 2 + ["VM_ALIVE", "SERVICE_ALIVE"], "SERVICE_ERROR_STATE"),
        ("vm-silent", ["VM_DEPLOYED"] * 2 + ["VM_ALIVE", "SERVICE_ALIVE"], "SERVICE_ERROR_STATE"),
    ],
)
async def test_a_deploy_fails(fault: str, says: list[str], ends: str) -> None:
    """The others still report; the end says failure; only an undeploy is taken then (docs/esc-callbacks.md#A52)."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        await client.ask("POST", "/emulator/faults", f'{{"next": {{"{fault}": 1}}}}')
        await client.ask("POST", DEPLOYMENT, model("dep-1", {"web": {"vms": 2}}))
        heard = await client.done()
        assert (sorted(one.says for one in heard), heard[-1].says) == (sorted(says), "SERVICE_ALIVE")
        assert not heard[-1].ok
        if fault == "vm-fails":
            assert [one.field("vm_name") for one in heard if not one.ok] == ["", ""]
        assert (await state(client))[0] == ends
        assert (await client.ask("PUT", DEPLOYMENT, model("dep-1"))).status == 409
        assert (await client.ask("POST", DEPLOYMENT, model("dep-1"))).status == 409
        assert (await client.ask("DELETE", DEPLOYMENT)).status == 200
        assert (await client.done())[-1].says == "SERVICE_UNDEPLOYED"
        assert (await client.ask("GET", DEPLOYMENT)).status == 404


async def test_a_deployment_lives() -> None:
    """Stopped, started, rebooted, its monitoring off and on, updated and undeployed; what does not apply is 400."""
    async with orchestrating() as client:
        await deployed(client, web={"vms": 2})
        assert (await client.ask("POST", SERVICE, service("start"))).status == 400
        for operation, says, ends in (
            ("stop", ["VM_STOPPED"] * 2 + ["SERVICE_STOPPED"], "SERVICE_STOPPED_STATE"),
            ("start", ["VM_STARTED"] * 2 + ["VM_ALIVE"] * 2 + ["SERVICE_ALIVE"], "SERVICE_ACTIVE_STATE"),
            ("reboot", ["VM_REBOOTED"] * 2 + ["VM_ALIVE"] * 2 + ["SERVICE_ALIVE"], "SERVICE_ACTIVE_STATE"),
            ("disable_monitoring", ["VM_MONITOR_UNSET"] * 2 + ["SERVICE_MONITOR_UNSET"], "SERVICE_ACTIVE_STATE"),
            ("enable_monitoring", ["VM_ALIVE"] * 2 + ["SERVICE_ALIVE"], "SERVICE_ACTIVE_STATE"),
        ):
            assert (await client.ask("POST", SERVICE, service(operation))).status == 200
            heard = [one.says for one in await client.done()]
            assert (sorted(heard), heard[-1]) == (sorted(says), says[-1]), operation
            assert (await state(client))[0] == ends
        assert (await client.ask("PUT", DEPLOYMENT, model("dep-1", {"db": {}, "web": {"max": 1}}))).status == 200
        heard = [one.says for one in await client.done()]
        assert sorted(heard) == ["SERVICE_UPDATED", "VM_ALIVE", "VM_DEPLOYED", "VM_UNDEPLOYED"]
        assert (await client.ask("DELETE", DEPLOYMENT)).status == 200
        assert [one.says for one in await client.done()] == ["VM_UNDEPLOYED"] * 2 + ["SERVICE_UNDEPLOYED"]


async def test_an_undeploy_interrupts_and_nothing_else_does() -> None:
    """While a deploy goes on any other operation is a conflict; what was interrupted is not heard of any more."""
    async with orchestrating(Options(port=0, time_scale=3600.0, seed=1)) as client:
        await client.ask("POST", "/v0/images/img", "<image><name>img</name></image>")
        assert (await client.ask("DELETE", "/v0/images/img")).status == 400
        assert (await client.ask("POST", "/v0/images/img", "<image><name>img</name></image>")).status == 409
        dep = model("dep-1", tenant="admin")
        assert (await client.ask("POST", DEPLOYMENT, dep)).status == 200
        for method, path, body, status in (
            ("PUT", DEPLOYMENT, dep, 409),
            ("POST", "/v0/SystemAdminTenantId/deployments/service/dep-1", service("reboot"), 400),
        ):
            assert (await client.ask(method, path, body)).status == status
        assert client.emulator.engine.in_progress == 2
        assert (await client.ask("DELETE", DEPLOYMENT)).status == 200
        assert client.emulator.engine.in_progress == 2


async def test_a_vm_is_stopped_started_and_rebooted() -> None:
    """Events go to Callback-ESC-Events, the VM's own answer to Callback."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        path = f"/v0/acme/deployments/vm/{name}"
        for operation, says in (
            ("stop", ["VM_STOP_COMPLETE"]),
            ("start", ["VM_START_COMPLETE", "VM_ALIVE"]),
            ("reboot", ["VM_REBOOT_COMPLETE", "VM_ALIVE"]),
            ("disable_monitoring", ["VM_MONITOR_UNSET"]),
            ("enable_monitoring", ["VM_MONITOR_SET"]),
            ("confirm_resize", ["VM_CONFIRM_RESIZE_COMPLETE"]),
            ("revert_resize", ["VM_REVERT_RESIZE_COMPLETE"]),
        ):
            assert (await client.ask("POST", path, of_vm(operation))).status == 200
            heard = await client.done()
            assert [one.says for one in heard] == says
            assert [one.path for one in heard] == ["/events", "/"][: len(heard)]
        assert (await client.ask("POST", path, of_vm("start"))).status == 400
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        await client.ask("POST", path, of_vm("stop"))
        (heard_of,) = await client.done()
        assert (heard_of.ok, heard_of.field("vm_name")) == (False, "")


@pytest.mark.parametrize(
    ("recovery", "says", "stays"),
    [
        ("reboot", ["INIT", "REBOOT", "COMPLETE"], True),
        ("redeploy", ["INIT", "REBOOT", "UNDEPLOYED", "DEPLOYED", "COMPLETE"], False),
        ("by-itself", ["INIT", "CANCELLED"], True),
        ("never", ["INIT", "REBOOT", "UNDEPLOYED", "DEPLOYED", "COMPLETE"], True),
    ],
)
async def test_a_vm_dies_and_recovers(recovery: str, says: list[str], stays: bool) -> None:
    """By reboot with its uuid, by redeploy with another, by itself, or not at all: then the deployment is lost."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        before = (await client.look(DEPLOYMENT))["deployment_details"][0]["vm_uuid"]
        answer = await client.ask("POST", f"/emulator/vms/{name}/die", f'{{"recovery": "{recovery}"}}')
        assert answer.status == 200
        heard = await client.done()
        assert [one.says for one in heard] == [f"VM_RECOVERY_{word}" for word in says]
        assert {one.path for one in heard} == {"/events"}
        after = (await client.look(DEPLOYMENT))["deployment_details"][0]["vm_uuid"]
        assert (after == before) is (stays and recovery != "never")
        assert heard[-1].ok is (recovery != "never")
        assert (await state(client))[0] == f"SERVICE_{'ERROR' if recovery == 'never' else 'ACTIVE'}_STATE"
        assert (await client.ask("PUT", DEPLOYMENT, model("dep-1"))).status == (409 if recovery == "never" else 200)


async def test_a_manual_policy_waits_for_recovery_vm() -> None:
    """VM_MANUAL_RECOVERY_NEEDED first; the recovery asked for goes to the URLs of its own request."""
    async with orchestrating() as client:
        policy = {"recovery_policy": "<recovery_type>MANUAL</recovery_type>"}
        (name,) = await deployed(client, web=policy)
        await client.ask("POST", f"/emulator/vms/{name}/die")
        assert [one.says for one in await client.done()] == ["VM_MANUAL_RECOVERY_NEEDED"]
        body = "<recovery_vm_operation><operation>recovery_do</operation></recovery_vm_operation>"
        answer = await client.ask("POST", f"/v0/acme/deployments/recovery-vm/{name}", body)
        assert answer.status == 200
        heard = await client.done()
        assert heard[-1].says == "VM_RECOVERY_COMPLETE"
        assert {one.transaction for one in heard} == {answer.transaction}


async def test_a_group_scales_out_and_in_within_its_limits() -> None:
    """Three notifications and two, no service stage; beyond the limits is a conflict."""
    async with orchestrating() as client:
        await deployed(client, web={"max": 2})
        path = "/emulator/deployments/dep-1/scale-"
        assert (await client.ask("POST", f"{path}in")).status == 409
        await client.ask("POST", f"{path}out")
        assert [one.says for one in await client.done()] == [
            f"VM_SCALE_OUT_{word}" for word in ("INIT", "DEPLOYED", "COMPLETE")
        ]
        assert (await state(client))[1] == ["VM_ALIVE_STATE"] * 2
        assert (await client.ask("POST", f"{path}out")).status == 409
        await client.ask("POST", f"{path}in")
        assert [one.says for one in await client.done()] == ["VM_SCALE_IN_INIT", "VM_SCALE_IN_COMPLETE"]
        assert (await state(client))[1] == ["VM_ALIVE_STATE"]


async def test_one_seed_repeats_a_run() -> None:
    """The same requests bring the same callbacks, byte for byte; another seed brings others."""

    async def run(seed: int) -> list[tuple[str, bytes]]:
        async with orchestrating(seed=seed) as client:
            (name,) = await deployed(client)
            await client.ask("POST", f"/emulator/vms/{name}/die", '{"recovery": "redeploy"}')
            return [(one.transaction, one.body) for one in await client.done()]

    first, again, other = await run(7), await run(7), await run(8)
    assert first == again
    assert all(one != another for one, another in zip(first, other, strict=True))


async def test_what_happens_beside_it_changes_nothing() -> None:
    """A deployment's callbacks are the same whatever else is asked for before, after or meanwhile."""
    heard = []
    for others in ((), ("dep-2", "dep-3")):
        async with orchestrating() as client:
            await client.ask("POST", "/v0/tenants/acme", TENANT)
            for deployment in (*others, "dep-1"):
                await client.ask("POST", f"/v0/deployments/{deployment}", model(deployment))
            heard.append([one.body for one in await client.done() if one.field("internal_deployment_id") == "dep-1"])
    assert heard[0] == heard[1] != []


async def test_what_the_document_leaves_open_is_an_option() -> None:
    """Both URLs, the spelling of headers, the stage of a changed VM, messages nobody has seen."""
    habits = Habits(header_style="lower", events_to="callback", updated_stage="VM_UPDATED", suspected=False)
    async with orchestrating(habits=habits) as client:
        (name,) = await deployed(client)
        await client.ask("POST", f"/v0/acme/deployments/vm/{name}", of_vm("stop"))
        (stopped,) = await client.done()
        assert (stopped.path, stopped.says) == ("/", "VM_STOP_COMPLETE")
        assert "esc-transaction-id" in stopped.headers
        await client.ask("POST", f"/v0/acme/deployments/vm/{name}", of_vm("start"))
        assert [one.says for one in await client.done()] == ["VM_ALIVE"]  # VM_START_COMPLETE is only suspected
        await client.ask("PUT", DEPLOYMENT, model("dep-1", {"web": {"networks": ("net", "net2")}}))
        assert [one.says for one in await client.done()] == ["VM_UPDATED", "SERVICE_UPDATED"]
