"""What goes wrong on purpose, what is seen of it, and what an emulator keeps over a restart."""

from __future__ import annotations

import sqlite3
import ssl
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from esc_lab.emulator import Faults, Options, emulating
from esc_lab.emulator.healing import scale_out
from esc_lab.emulator.world_store import FILE
from receiver.errors import SettingsError, SetupError
from tests.support.emulator import (
    TENANT,
    Orchestrator,
    deployed,
    model,
    network,
    orchestrating,
    well_formed,
    with_networks,
)
from tests.support.waiting import until

NOWHERE = "http://127.0.0.1:1/"
IMAGE = "<image><name>i</name></image>"


async def delivered(client: Orchestrator, transaction: str) -> list[tuple[str, str, str]]:
    """What became of the callbacks of a transaction: what they say, their state, the fault."""
    found = (await client.look(f"/emulator/deliveries?transaction={transaction}"))["items"]
    return [(one["says"], one["state"], one["fault"]) for one in found]


async def stopped(client: Orchestrator, **faults: int) -> tuple[str, list[str]]:
    """A deployment is stopped while these faults are armed; its transaction, and what was heard."""
    await deployed(client, web={"vms": 2})
    armed = {name.replace("_", "-"): number for name, number in faults.items()}
    await client.ask("POST", "/emulator/faults", str({"next": armed}).replace("'", '"'))
    body = "<service_operation><operation>stop</operation></service_operation>"
    answer = await client.ask("POST", "/v0/acme/deployments/service/dep-1", body)
    heard = [one.says if well_formed(one.body) else "?" for one in await client.done()]
    return answer.transaction, heard


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ("drop", ["VM_STOPPED", "SERVICE_STOPPED"]),
        ("double", ["VM_STOPPED", "VM_STOPPED", "VM_STOPPED", "SERVICE_STOPPED"]),
        ("truncate", ["?", "VM_STOPPED", "SERVICE_STOPPED"]),
    ],
)
async def test_a_callback_goes_wrong(fault: str, heard: list[str]) -> None:
    """Once, because it was armed for once; deliveries tell which."""
    async with orchestrating() as client:
        transaction, said = await stopped(client, **{fault: 1})
        assert said == heard
        faults = [one[2] for one in await delivered(client, transaction)]
        assert faults.count(fault) == 1
        assert (await client.look("/emulator/faults"))["next"] == {}


async def test_callbacks_change_places() -> None:
    """Two of the three are held back for the one behind them."""
    async with orchestrating() as client:
        transaction, _ = await stopped(client, reorder=1)
        assert [one[2] for one in await delivered(client, transaction)] == ["", "reorder", ""]


async def test_a_delayed_callback_is_overtaken() -> None:
    """By all that follows; it still comes."""
    async with orchestrating(time_scale=0.001, faults=Faults(delay_s=300)) as client:
        _, heard = await stopped(client, delay=1)
        assert heard == ["VM_STOPPED", "SERVICE_STOPPED", "VM_STOPPED"]


async def test_the_vim_is_down() -> None:
    """503 where the document has it, 500 where it has only that; once."""
    async with orchestrating() as client:
        await client.ask("POST", "/emulator/faults", '{"next": {"vim-down": 2}}')
        assert (await client.ask("POST", "/v0/deployments/dep-1", model(tenant="admin"))).status == 503
        assert (await client.ask("POST", "/v0/images/img", IMAGE)).status == 500
        assert (await client.ask("POST", "/v0/images/img", IMAGE)).status == 200


async def test_an_unreachable_callback_blocks_nobody() -> None:
    """It is tried as often as asked for, counted and shown; others come through meanwhile."""
    async with orchestrating() as client:
        lost = await client.ask("POST", "/v0/images/lost", IMAGE, Callback=NOWHERE)
        heard = await client.ask("POST", "/v0/images/heard", IMAGE)
        assert [one.transaction for one in await client.done()] == [heard.transaction]
        (one,) = (await client.look("/emulator/deliveries?state=unreachable"))["items"]
        assert (one["transaction"], one["url"], one["attempts"]) == (lost.transaction, NOWHERE, 1)
        assert "127.0.0.1:1" in one["error"]
        assert (await client.look("/emulator"))["callbacks"] == {"delivered": 1, "unreachable": 1}


async def test_a_failed_callback_is_tried_again_when_asked_for() -> None:
    """As often as `--retries` says; what is refused for good is not."""
    async with orchestrating(retries=1) as client:
        client.listener.answers = [503, 200]
        await client.ask("POST", "/v0/images/one", IMAGE)
        assert len(await client.done()) == 2
        client.listener.answers = [404]
        await client.ask("POST", "/v0/images/two", IMAGE)
        assert len(await client.done()) == 1
        items = (await client.look("/emulator/deliveries"))["items"]
        assert [(one["state"], one["status"], one["attempts"]) for one in items] == [
            ("delivered", 200, 2),
            ("refused", 404, 1),
        ]


async def test_a_failover_loses_what_is_under_way() -> None:
    """The state stays where it was last told; the next callbacks come from another address."""
    options = Options(port=0, time_scale=0.0, seed=1, source_addresses=("127.0.0.1", "127.0.0.2"))
    async with orchestrating(options) as client:
        await deployed(client)
        client.emulator.engine.time_scale = 3600.0
        body = "<service_operation><operation>stop</operation></service_operation>"
        await client.ask("POST", "/v0/acme/deployments/service/dep-1", body)
        answer = await client.ask("POST", "/emulator/failover")
        assert (answer.status, '"lost": 1' in answer.text) == (200, True)
        client.emulator.engine.time_scale = 0.0
        assert await client.done() == []
        assert (await client.look("/v0/deployments/dep-1"))["service_state_machine_state"] == "SERVICE_ACTIVE_STATE"
        assert (await client.ask("POST", "/v0/acme/deployments/service/dep-1", body)).status == 200
        assert {one.remote for one in await client.done()} == {"127.0.0.2"}
        client.emulator.engine.time_scale = 3600.0
        order = "<service_operation><operation>start</operation></service_operation>"
        await client.ask("POST", "/v0/acme/deployments/service/dep-1", order)
        client.emulator.engine.time_scale = 0.0
        await client.ask("DELETE", "/v0/deployments/dep-1")
        await client.done()
        assert await ends(client) == [
            ("deploy", "SUCCEEDED"), ("stop", "LOST"), ("stop", "SUCCEEDED"), ("start", "INTERRUPTED"),
            ("undeploy", "SUCCEEDED"),
        ]  # fmt: skip


async def test_callbacks_that_wait_for_their_turn_are_lost_with_a_failover() -> None:
    """And are counted so."""
    async with orchestrating(Options(port=0, time_scale=0.001, seed=1)) as client:
        await deployed(client)
        await client.ask("POST", "/emulator/faults", '{"next": {"delay": 1}, "delay_s": 86400}')
        body = "<service_operation><operation>stop</operation></service_operation>"
        await client.ask("POST", "/v0/acme/deployments/service/dep-1", body)
        waiting = "/emulator/deliveries?state=waiting"

        async def one_waits() -> bool:
            return bool((await client.look(waiting))["items"])

        await until(one_waits)
        await client.ask("POST", "/emulator/failover")
        assert (await client.look(waiting))["items"] == []
        lost = (await client.look("/emulator/deliveries?state=lost"))["items"]
        assert (await client.look("/emulator"))["callbacks"]["lost"] == len(lost) >= 1


async def test_work_that_had_not_begun_is_lost_too() -> None:
    """Nothing of it is under way any more, and the next order is taken."""
    async with orchestrating() as client:
        await deployed(client)
        engine = client.emulator.engine
        engine.start(scale_out(engine.esc, "dep-1", "web"))
        await engine.lose_all()
        assert engine.in_progress == 0
        assert (await ends(client))[-1] == ("scale-out", "LOST")
        assert (await client.ask("DELETE", "/v0/deployments/dep-1")).status == 200


async def ends(client: Orchestrator) -> list[tuple[str, str]]:
    """How the operations on deployments really ended."""
    items = (await client.look("/emulator/operations"))["items"]
    return [(one["kind"], one["outcome"]) for one in items if one["deployment"] == "dep-1"]


async def test_https_has_a_certificate_of_its_own_and_another_after_a_failover() -> None:
    """A client that trusts it gets through; after the failover it must trust the new one."""
    async with orchestrating(https_port=0) as client:
        url = f"{client.emulator.https_url}/ESCManager/v0/operationmode"
        pem = (await client.ask("GET", "/emulator/certificate")).text
        assert await _mode_over_tls(url, pem) == 200
        await client.ask("POST", "/emulator/failover")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await _mode_over_tls(url, pem)
        assert await _mode_over_tls(url, (await client.ask("GET", "/emulator/certificate")).text) == 200


async def _mode_over_tls(url: str, pem: str) -> int:
    context = ssl.create_default_context(cadata=pem)
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        return answer.status


async def test_credentials_are_asked_for() -> None:
    """Of both APIs; the password can be changed."""
    right, wrong = (aiohttp.encode_basic_auth("admin", password) for password in ("s3cret", "secret"))
    async with orchestrating(basic=("admin", "s3cret")) as client:
        for path in ("/v0/tenants", "/emulator"):
            answer = await client.ask("GET", path)
            assert (answer.status, "credentials" in answer.text) == (401, True)
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
            assert (await client.ask("GET", path, Authorization=wrong)).status == 401
            assert (await client.ask("GET", path, Authorization="Basic ?")).status == 401
            assert (await client.ask("GET", path, Authorization=right)).status == 200
        change = "/v0/authentication/setpassword?userName=admin&password=secret"
        assert (await client.ask("PUT", change, Authorization=right)).status == 200
        assert (await client.ask("GET", "/v0/tenants", Authorization=wrong)).status == 200


async def test_state_survives_a_restart_in_its_folder(tmp_path: Path) -> None:
    """Everything but what was under way; ids of the next run are others."""
    options = Options(port=0, time_scale=0.0, seed=1, data_dir=tmp_path / "esc")
    async with orchestrating(options) as client:
        await deployed(client, web={"vms": 2})
        await client.ask("POST", "/v0/images/img", IMAGE)
        await client.ask("PUT", "/v0/config/log/level/DEBUG")
        await client.ask("POST", "/v0/deployments/gone", model("gone"))
        await client.done()
        await client.ask("DELETE", "/v0/deployments/gone")
        await client.done()
        before = await client.look("/v0/deployments/dep-1")
        client.emulator.engine.time_scale = 3600.0
        await client.ask("DELETE", "/v0/deployments/dep-1")
        await client.ask("POST", "/emulator/systemstates/confd", '{"state": "DOWN"}')
        await client.ask("POST", "/v0/operationmode/MAINTENANCE")
    async with orchestrating(options) as client:
        assert (await client.look("/v0/operationmode"))["mode"] == "MAINTENANCE"
        assert (await client.look("/v0/systemstate/confd"))["state"] == "DOWN"
        await client.ask("POST", "/v0/operationmode/OPERATION")
        assert await client.look("/v0/deployments/dep-1") == before
        assert (await client.look("/v0/images/img"))["name"] == "i"
        assert (await client.look("/v0/config/log/level"))["value"] == "DEBUG"
        assert (await client.ask("GET", "/v0/deployments/gone")).status == 404
        assert (await client.ask("DELETE", "/v0/deployments/dep-1")).status == 200
        assert (await client.done())[-1].says == "SERVICE_UNDEPLOYED"
        (name,) = await deployed(client, "dep-2")
        assert name not in {vm["vm_name"] for vm in before["deployment_details"]}


async def test_a_data_model_survives_a_restart_whole(tmp_path: Path) -> None:
    """Its interfaces, monitors, rules and networks: the same update again changes nothing."""
    options = Options(port=0, time_scale=0.0, seed=1, data_dir=tmp_path / "esc")
    pool = (
        "<min_active>1</min_active><max_active>9</max_active><static_ip_address_pool><ip_address>10.9.0.7</ip_address>"
    )
    given = with_networks(model("dep-1"), network("one", {"a": "<address>10.9.0.0</address>"}))
    given = given.replace("<min_active>1</min_active><max_active>9</max_active>", f"{pool}</static_ip_address_pool>")
    assert "10.9.0.7" in given
    async with orchestrating(options) as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        assert (await client.ask("POST", "/v0/deployments/dep-1", given)).status == 200
        await client.done()
        before = client.emulator.esc.world.deployments["dep-1"].model
    async with orchestrating(options) as client:
        assert client.emulator.esc.world.deployments["dep-1"].model == before
        await client.ask("PUT", "/v0/deployments/dep-1", given)
        assert [one.says for one in await client.done()] == ["SERVICE_UPDATED"]


async def test_the_state_of_another_version_is_one_clear_error(tmp_path: Path) -> None:
    """It names the file; nothing is served."""
    options = Options(port=0, seed=1, data_dir=tmp_path)
    async with orchestrating(options) as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute("UPDATE world SET value = x'7b7d' WHERE part = 'resources'")
    with pytest.raises(SetupError, match=f"{FILE} holds resources of another version"):
        async with orchestrating(options):
            pass


async def test_without_a_folder_nothing_survives() -> None:
    """Every run begins with an empty ESC."""
    for _ in range(2):
        async with orchestrating() as client:
            assert (await client.ask("POST", "/v0/tenants/acme", TENANT)).status == 200
            await client.done()


async def test_the_truststore_is_read_again(tmp_path: Path) -> None:
    """204, or 500 when it cannot be read; at the start it is one clear error."""
    store = tmp_path / "ca.pem"
    async with orchestrating(https_port=0) as client:
        store.write_text((await client.ask("GET", "/emulator/certificate")).text)
    async with orchestrating(truststore=store) as client:
        assert (await client.ask("PUT", "/internal/ssl/reload")).status == 204
        store.write_text("rubbish")
        answer = await client.ask("PUT", "/internal/ssl/reload")
        assert (answer.status, "Failed to reload ESC truststore" in answer.text) == (500, True)
    with pytest.raises(SetupError, match="truststore"):
        async with emulating(Options(port=0, truststore=store)):
            pass


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("POST", "/emulator/faults", '{"next": {"flood": 1}}', "flood"),
        ("POST", "/emulator/faults", '{"chances": {"drop": 2}}', "drop is 2"),
        ("POST", "/emulator/faults", "[]", "object"),
        ("POST", "/emulator/faults", "{", "JSON"),
        ("POST", "/emulator/vms/none/die", "", "none"),
        ("POST", "/emulator/vms/none/die", '{"recovery": "magic"}', "magic"),
        ("POST", "/emulator/deployments/none/scale-out", "", "none"),
        ("POST", "/emulator/systemstates/none", '{"state": "x"}', "confd"),
        ("GET", "/emulator/deliveries?limit=many", "", "many"),
    ],
)
async def test_the_control_api_names_what_is_wrong(method: str, path: str, body: str, names: str) -> None:
    """400 or 404, never a trace."""
    async with orchestrating() as client:
        answer = await client.ask(method, path, body)
        assert (answer.status in {400, 404}, names in answer.text) == (True, True), answer.text


async def test_faults_by_chance_are_switched_off_again() -> None:
    """Chances stay until they are taken back."""
    async with orchestrating(faults=Faults.of("drop=1")) as client:
        await client.ask("POST", "/v0/images/one", IMAGE)
        assert await client.done() == []
        await client.ask("DELETE", "/emulator/faults")
        await client.ask("POST", "/v0/images/two", IMAGE)
        assert len(await client.done()) == 1


def test_faults_that_cannot_be_read_are_named() -> None:
    """All of them at once."""
    with pytest.raises(SettingsError, match="flood=1, drop=2"):
        Faults.of("flood=1, drop=2, double=0.5")


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    """For HTTP and for HTTPS."""
    async with orchestrating() as client:
        port = int(client.emulator.url.rpartition(":")[2])
        for options in (Options(port=port), Options(port=0, https_port=port)):
            with pytest.raises(SetupError, match=f"{port} is taken"):
                async with emulating(options):
                    pass


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("answer-wrong", 200, "SERVICE_ERROR_STATE"),
        ("answer-empty", 200, "<deployments "),
        ("answer-garbled", 200, "<html>"),
        ("answer-401", 401, ""),
        ("answer-503", 503, ""),
    ],
)
async def test_an_answer_goes_wrong(fault: str, status: int, says: str) -> None:
    """Once; the next one is true again."""
    async with orchestrating() as client:
        await deployed(client)
        await client.ask("POST", "/emulator/faults", f'{{"next": {{"{fault}": 1}}}}')
        spoilt = await client.ask("GET", "/v0/deployments")
        assert (spoilt.status, says in spoilt.text) == (status, True)
        assert "dep-1" not in spoilt.text or fault == "answer-wrong"
        assert "SERVICE_ACTIVE_STATE" in (await client.ask("GET", "/v0/deployments")).text


async def test_an_answer_ends_early_leads_elsewhere_or_never_ends() -> None:
    """Who asks has to notice."""
    async with orchestrating() as client:
        await deployed(client)
        await client.ask("POST", "/emulator/faults", '{"next": {"answer-cut": 1}}')
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.ask("GET", "/v0/deployments/dep-1")
        url = f"{client.emulator.url}/ESCManager/v0/deployments"
        await client.ask("POST", "/emulator/faults", '{"next": {"answer-elsewhere": 1}}')
        async with client.session.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"].partition("/ESC")[0]) == (302, "http://192.0.2.1")
        await client.ask("POST", "/emulator/faults", '{"next": {"answer-huge": 1}}')
        async with client.session.get(url) as answer:
            assert len(await answer.content.readexactly(1_000_000)) == 1_000_000


async def test_a_late_answer_comes_after_all() -> None:
    """Nothing else waits for it."""
    async with orchestrating(faults=Faults(delay_s=0.05)) as client:
        await deployed(client)
        await client.ask("POST", "/emulator/faults", '{"next": {"answer-late": 1}}')
        assert "dep-1" in (await client.ask("GET", "/v0/deployments")).text


async def test_a_failover_may_keep_what_was_done_to_itself() -> None:
    """ESC had stopped the deployment, and nobody was told."""
    async with orchestrating() as client:
        await deployed(client, web={"vms": 2})
        client.emulator.engine.time_scale = 3600.0
        body = "<service_operation><operation>stop</operation></service_operation>"
        await client.ask("POST", "/v0/acme/deployments/service/dep-1", body)
        assert (await client.ask("POST", "/emulator/failover", '{"work": "perhaps"}')).status == 400
        assert (await client.ask("POST", "/emulator/failover", '{"work": "done"}')).status == 200
        assert await client.done() == []
        assert await ends(client) == [("deploy", "SUCCEEDED"), ("stop", "SUCCEEDED")]
        found = await client.look("/v0/deployments/dep-1")
        assert found["service_state_machine_state"] == "SERVICE_STOPPED_STATE"
        assert {vm["vm_state_machine_state"] for vm in found["deployment_details"]} == {"VM_SHUTOFF_STATE"}
