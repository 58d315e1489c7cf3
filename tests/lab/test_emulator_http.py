"""The API as HTTP: paths, languages, methods, and the words of a refusal."""

from __future__ import annotations

import re

import pytest

from esc_lab.emulator.endpoint_model import BASES
from esc_lab.emulator.endpoint_tables import ROWS
from tests.support.emulator import TENANT, deployed, orchestrating

VM_STOP = "<vm_operation><operation>stop</operation></vm_operation>"
SNAPSHOT = "<snapshot_vm_operation><operation>snapshot</operation><name>before</name></snapshot_vm_operation>"

NO_VM = "Missing callback or, VM operation is not applicable"
NO_SERVICE = "Missing callback or, Deployment operation is not applicable"


async def test_a_slash_at_the_end_makes_no_difference() -> None:
    """On every path, as in the document's own example of an authorised request (docs/esc-callbacks.md#S)."""
    async with orchestrating() as client:
        for base in BASES:
            for row in ROWS:
                path = f"{client.emulator.url}{base}{re.sub('{[^}]*}', 'x', row.path)}/"
                async with client.session.request("PATCH", path) as answer:
                    assert (answer.status, row.method in answer.headers["Allow"]) == (405, True), path
        async with client.session.get(f"{client.emulator.url}/ESCManger/v0/tenants/") as answer:
            assert answer.status == 200
        assert (await client.ask("POST", "/v0/tenants/acme/", TENANT)).status == 200
        assert [one.field("internal_tenant_id") for one in await client.done()] == ["acme"]
        assert (await client.look("/v0/tenants/acme/"))["internal_tenant_id"] == "acme"


async def test_parameters_count_where_the_document_puts_them() -> None:
    """Chapter 03's filter is a header, chapter 18's are in the query; elsewhere they are ignored."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        for net in ("one", "two"):
            await client.ask("POST", f"/v0/acme/networks/{net}", "<network/>")
            await client.done()
            body = f"<subnet><internal_network_id>{net}</internal_network_id></subnet>"
            await client.ask("POST", f"/v0/acme/subnets/of-{net}", body)
        await client.ask("POST", f"/v0/acme/deployments/snapshot-vm/{name}", SNAPSHOT)
        await client.done()
        assert len(await client.look("/v0/acme/subnets?internalNetworkId=one")) == 2
        of_one = await client.ask("GET", "/v0/acme/subnets", internalNetworkId="one")
        assert (of_one.text.count("<internal_subnet_id>"), "of-one" in of_one.text) == (1, True)
        assert await client.look("/v0/snapshots?internalTenantId=none") == []
        assert "before" in (await client.ask("GET", "/v0/snapshots", internalTenantId="none")).text


async def test_a_snapshot_of_a_vm_that_is_gone_is_deleted_with_a_callback() -> None:
    """Accepted work has an id, and ends with a callback under it (docs/esc-callbacks.md#S); it may fail too."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        await client.ask("POST", f"/v0/acme/deployments/snapshot-vm/{name}", SNAPSHOT)
        await client.ask("DELETE", "/v0/deployments/dep-1")
        await client.done()
        (found,) = await client.look("/v0/snapshots")
        path = f"/v0/snapshots/{found['id']}"
        for fails in (1, 0):
            await client.ask("POST", "/emulator/faults", f'{{"next": {{"work-fails": {fails}}}}}')
            answer = await client.ask("DELETE", path)
            (heard,) = await client.done()
            assert (answer.status, heard.transaction) == (200, answer.transaction)
            assert (heard.says, heard.ok, heard.path) == ("VM_SNAPSHOT_DELETE_COMPLETE", not fails, "/events")
            assert (heard.field("internal_deployment_id"), heard.field("vm_name")) == ("dep-1", "")
            assert len(await client.look("/v0/snapshots")) == fails
        assert (await client.ask("DELETE", path)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "reason"),
    [
        ("POST", "/v0/acme/deployments/vm/x", VM_STOP, {"Callback": ""}, NO_VM),
        ("POST", "/v0/acme/deployments/vm/x", "<vm_operation/>", {}, NO_VM),
        ("POST", "/v0/acme/deployments/recovery-vm/x", "<x/>", {}, "Recovery VM operation is not applicable"),
        ("POST", "/v0/acme/deployments/service/x", "", {}, NO_SERVICE),
        ("POST", "/v0/acme/networks/a~b", "<network/>", {}, "Invalid request"),
        ("POST", "/v0/acme/volumes/v", "", {}, "Invalid request"),
        ("POST", "/v0/acme/routers/a~b", "<router/>", {}, "Invalid request"),
        ("POST", "/v0/acme/subnets/a~b", "<subnet/>", {}, "Invalid Request"),
        ("PUT", "/v0/config/default/vm_recovery_retry_max/many", "", {}, "Invalid request."),
    ],
)  # fmt: skip
async def test_the_reason_of_a_refusal_is_the_documents(
    method: str, path: str, body: str, headers: dict[str, str], reason: str
) -> None:
    """In its own words and its own case."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        refused = await client.ask(method, path, body, **headers)
        assert (refused.status, f"<reason>{reason}</reason>" in refused.text) == (400, True), refused.text
