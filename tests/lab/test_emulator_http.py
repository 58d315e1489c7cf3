"""The API as HTTP: paths, languages, methods, and the words of a refusal."""

from __future__ import annotations

import re

import orjson
import pytest
from lxml import etree

from esc_lab.emulator.endpoint_model import BASES
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.models import MODELS, Evidence
from tests.support.emulator import TENANT, deployed, model, network, orchestrating, with_networks

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


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "xml"),
        ("*/*", "xml"),
        ("application/json", "json"),
        ("application/xml;q=0.4, application/json;q=0.5", "json"),
        ("application/json;q=0.4, application/xml;q=0.5", "xml"),
        ("application/json;q=0, */*", "xml"),
        ("application/xml;q=0, */*", "json"),
        ("application/*;q=0.2, application/json;q=0.1", "xml"),
        ("text/html, application/yang+json;q=0.9, */*;q=0.1", "json"),
        ("application/json;q=much, application/xml;q=0.1", "xml"),
        ("text/plain", "xml"),
        ("nonsense, ;;, json", "xml"),
    ],
)
async def test_the_language_of_an_answer_is_the_preferred_one(accept: str, language: str) -> None:
    """By the qualities in `Accept`, the most specific range first; an error is told in it too."""
    async with orchestrating() as client:
        for path in ("/v0/config/log/level", "/v0/images", "/v0/images/none"):
            answer = await client.ask("GET", path, Accept=accept)
            assert answer.headers["Content-Type"] == f"application/{language}", path


@pytest.mark.parametrize("given", ["xml", "json"])
async def test_a_data_model_is_shown_in_the_language_that_is_asked_for(given: str) -> None:
    """As it came where that will do; else translated, what repeats in XML a list in JSON, no text cut."""
    day0 = "x" * 50_000
    in_xml = with_networks(
        model("dep-1", {"web": {"config_data": f"<configuration><dst>d</dst><data>{day0}</data></configuration>"}}),
        network("one", {"sub": "<address>10.9.0.0</address>"}),
    )
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        path = "/v0/deployments/config/dep-1"
        await client.ask("POST", "/v0/deployments/dep-1", in_xml)
        await client.done()
        assert (await client.ask("GET", path, Accept="application/xml")).text == in_xml
        translated = await client.ask("GET", path, Accept="application/json")
        assert translated.headers["Content-Type"].startswith("application/json")
        (tenant,) = orjson.loads(translated.text)["tenants"]["tenant"]
        (deployment,) = tenant["deployments"]["deployment"]
        (group,), (net,) = deployment["vm_group"], deployment["networks"]["network"]
        assert group["config_data"]["configuration"] == [{"dst": "d", "data": day0}]
        assert group["interfaces"]["interface"] == [{"nicid": "0", "network": "net"}]
        assert group["rules"]["admin_rules"]["rule"][0]["action"] == ['"TRUE esc_vm_alive_notification"']
        assert net["subnet"] == [{"name": "sub", "address": "10.9.0.0"}]
        if given == "json":
            await client.ask("DELETE", "/v0/deployments/dep-1")
            await client.done()
            in_json = translated.text
            answer = await client.ask("POST", "/v0/deployments/dep-1", in_json, Content_Type="application/json")
            assert answer.status == 200, answer.text
            await client.done()
            assert (await client.ask("GET", path)).text == in_json
            back = etree.fromstring((await client.ask("GET", path, Accept="application/xml")).text.encode())
            assert back.tag == "{http://www.cisco.com/esc/esc}esc_datamodel"
            assert (back.findtext(".//{*}data"), back.findtext(".//{*}subnet/{*}address")) == (day0, "10.9.0.0")


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "utf-16-be", "utf-8"])
async def test_a_data_model_in_another_encoding_keeps_its_letters(encoding: str) -> None:
    """In both languages of the answer, which are UTF-8."""
    given = model("dep-1").replace("<image>img</image>", "<image>größe</image>")
    body = f'\n<?xml version="1.0" encoding="{encoding.removesuffix("-be")}"?>\n{given}\n'.lstrip().encode(encoding)
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        url = f"{client.emulator.url}/ESCManager/v0/deployments/dep-1"
        async with client.session.post(url, data=body, headers={"Content-Type": "application/xml"}) as answer:
            assert answer.status == 200, await answer.text()
        for accept in ("application/xml", "application/json"):
            assert "größe" in (await client.ask("GET", "/v0/deployments/config/dep-1", Accept=accept)).text


PRINTED_ROOTS = {
    "tenant",
    "image",
    "flavor",
    "esc_datamodel",
    "service_operation",
    "vm_operation",
    "escconfigparameter",
}
"""Of requests and answers, in the document's examples."""


@pytest.mark.parametrize("name", sorted({row.body for row in ROWS} - {"", "text"}))
async def test_only_a_root_that_the_document_prints_is_asked_for(name: str) -> None:
    """Any other is a guess: it is not enforced, and the row says so."""
    found = MODELS[name]
    assert found.root_printed == (found.root in PRINTED_ROOTS)
    row = next(row for row in ROWS if row.body == name)
    assert (row.evidence is Evidence.GUESSED) or found.root_printed
    async with orchestrating() as client:
        path = re.sub("{[^}]*}", "x", row.path)
        refused = await client.ask(row.method, path, "<some_root><unknown>1</unknown></some_root>")
        assert ("root element" in refused.text) == found.root_printed


def test_no_row_is_better_proven_than_its_parts() -> None:
    """Verified are: an example of the request in XML, no answer but an example's, only messages that are printed."""
    verified = {row.name for row in ROWS if row.evidence is Evidence.VERIFIED}
    assert verified == {
        "create_tenant", "create_image", "create_flavor", "set_config", "check_vim_status", "reload_truststore",
        "delete_action", "delete_actions", "delete_metric", "delete_metrics",
    }  # fmt: skip
    assert all(row.evidence is Evidence.GUESSED for row in ROWS if row.many or row.path.endswith("setpassword"))


async def test_head_and_options_tell_what_get_and_405_would() -> None:
    """HEAD as GET without its body, and nothing is done by it; OPTIONS which methods there are."""
    async with orchestrating() as client:
        for path, status in (("/v0/tenants", 200), ("/v0/tenants/none", 404), ("/v0/config/LOG/", 200)):
            head, get = await client.ask("HEAD", path), await client.ask("GET", path)
            assert (head.status, head.text, head.headers["Content-Type"]) == (status, "", get.headers["Content-Type"])
        asked = await client.ask("HEAD", "/v0/authentication/setpassword?userName=admin&password=x")
        assert asked.status == 405
        for row in ROWS:
            options = await client.ask("OPTIONS", re.sub("{[^}]*}", "x", row.path))
            allowed = set(options.headers["Allow"].split(", "))
            assert (options.status, {row.method, "OPTIONS"} <= allowed) == (200, True)
            assert ("HEAD" in allowed) == ("GET" in allowed and row.path != "/v0/authentication/setpassword")
