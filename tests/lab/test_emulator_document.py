"""Every request that the ESC document prints is taken as printed, and what it prints as callbacks is what comes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from lxml import etree

from tests.support.emulator import Heard, Orchestrator, local, orchestrating, printed_request
from tests.support.samples import SAMPLES, Sample

DRAWN = frozenset(
    {
        "host_uuid", "host_name", "vm_uuid", "vm_name", "port_uuid", "subnet_uuid", "ip_address", "mac_address",
        "gateway", "external_deployment_id", "external_tenant_id", "external_image_id", "external_flavor_id",
    }
)  # fmt: skip
"""Ids and addresses: they may differ, but not be there in one and empty in the other."""
UUID = re.compile(r"[0-9a-f]{8,9}-[0-9a-f-]{27}")
VM_NAME = re.compile(r"\[[^]]+\]")
CIRROS = """
<esc_datamodel xmlns="http://www.cisco.com/esc/esc"><tenants><tenant><name>test-tenant1</name><deployments><deployment>
<name>test-dep1-cirros</name><vm_group><name>overidegrp2</name><image>cirros</image>
<interfaces><interface><nicid>0</nicid><network>esc-net</network></interface></interfaces>
</vm_group></deployment></deployments></tenant></tenants></esc_datamodel>
"""


def told(headers: dict[str, str], body: bytes) -> object:
    """A callback but for ids, addresses and times."""
    names = {name: VM_NAME.sub("[vm]", value) for name, value in headers.items() if name.upper().startswith("ESC")}
    names["ESC_TRANSACTION_ID"] = "transaction"
    return names, headers["Content-Type"], _told(etree.fromstring(body))


def _told(element: etree._Element) -> object:
    name = local(element.tag)
    if len(element):
        return element.tag, [_told(child) for child in element]
    text = element.text or ""
    if text and (name in DRAWN or (name == "network_uuid" and UUID.fullmatch(text))):
        text = "SystemAdminTenantId" if text == "SystemAdminTenantId" else "drawn"
    return element.tag, text


def assert_as_printed(heard: Sequence[Heard], names: Sequence[str], answer_transaction: str) -> None:
    """The same callbacks in the same order, all of one transaction."""
    samples: list[Sample] = [SAMPLES[name] for name in names]
    assert [one.says for one in heard] == [sample.event for sample in samples]
    for one, sample in zip(heard, samples, strict=True):
        assert told(dict(one.headers), one.body) == told(dict(sample.headers), sample.body), sample.name
    assert {one.transaction for one in heard} == {answer_transaction}


@pytest.mark.parametrize(
    ("request_name", "samples"),
    [
        ("01-create-tenant", ["seed-01-tenant-create"]),
        ("04-create-image", ["seed-02-image-create"]),
        ("04-create-image-with-properties", ["seed-02-image-create"]),
        ("04-create-image-with-hardware", ["seed-02-image-create"]),
        ("05-create-flavor", ["seed-03-flavor-create"]),
        (
            "06-deploy",
            ["seed-04-deploy-vm-deployed", "seed-05-deploy-vm-alive", "seed-06-deploy-service-alive"],
        ),
    ],
)
async def test_a_printed_request_brings_the_printed_callbacks(request_name: str, samples: list[str]) -> None:
    """Of tenants, images, flavors and a deploy."""
    async with orchestrating() as client:
        answer = await client.printed(request_name)
        assert answer.status == 200, answer.text
        assert_as_printed(await client.done(), samples, answer.transaction)


async def test_the_printed_updates_bring_the_printed_callbacks() -> None:
    """A VM group is added; then a VM of it gets one more interface."""
    async with orchestrating() as client:
        await client.printed("06-deploy")
        await client.done()
        answer = await client.printed("06-update")
        assert answer.status == 200, answer.text
        added = ["seed-07-update-vm-deployed", "seed-08-update-vm-alive", "seed-09-update-service-updated"]
        assert_as_printed(await client.done(), added, answer.transaction)
        _, path, _, body = printed_request("06-update")
        interface = "<interface><nicid>2</nicid><network>MgtNetwork2</network></interface></interfaces>"
        head, csr = body.split("<name>CSR-1</name>")
        answer = await client.ask("PUT", path, head + "<name>CSR-1</name>" + csr.replace("</interfaces>", interface, 1))
        assert answer.status == 200, answer.text
        changed = ["seed-10-update-vm-updated", "seed-11-update-service-updated-2"]
        assert_as_printed(await client.done(), changed, answer.transaction)


async def cirros(client: Orchestrator) -> str:
    """The deployment of chapters 07 and 08; the name of its VM."""
    await client.ask("POST", "/v0/tenants/test-tenant1", "<tenant><name>test-tenant1</name></tenant>")
    await client.ask("POST", "/v0/deployments/test-tenant1test-dep1-cirros", CIRROS)
    await client.done()
    found = await client.look("/v0/deployments/test-tenant1test-dep1-cirros")
    return str(found["deployment_details"][0]["vm_name"])


async def test_the_printed_stop_of_a_deployment() -> None:
    """Two callbacks, both with a VM block, the service already stopped in the first; only Callback is given."""
    async with orchestrating() as client:
        await cirros(client)
        answer = await client.printed("07-stop-deployment")
        assert answer.status == 200, answer.text
        stopped = ["seed-12-service-stop-vm-stopped", "seed-13-service-stop-service-stopped"]
        assert_as_printed(await client.done(), stopped, answer.transaction)


async def test_the_printed_stop_of_a_vm() -> None:
    """One event, its interfaces without a wrapper."""
    async with orchestrating() as client:
        name = await cirros(client)
        method, path, _, body = printed_request("08-stop-vm")
        assert name.startswith(path.rpartition("/")[2][:24])  # test-dep1-cirros_overid_0, before its uuid
        answer = await client.ask(method, f"{path.rpartition('/')[0]}/{name}", body)
        assert answer.status == 200, answer.text
        assert_as_printed(await client.done(), ["seed-14-vm-stop-complete"], answer.transaction)


async def test_the_printed_change_of_a_parameter() -> None:
    """The answer has no namespace, and the value says that it is a text; the second base path does the same."""
    async with orchestrating() as client:
        answer = await client.printed("09-set-log-level")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/xml")
        root = etree.fromstring(answer.text.encode())
        assert [(one.tag, one.text) for one in root] == [
            ("category", "LOG"), ("key", "LEVEL"), ("type", "STRING"), ("value", "debug"),
        ]  # fmt: skip
        async with client.session.get(f"{client.emulator.url}/ESCManger/v0/config/LOG/LEVEL") as other:
            assert "debug" in await other.text()
