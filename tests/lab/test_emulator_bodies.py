"""Bodies: one validation for both languages, what was given is shown, misprints of the document, mappings in rules."""

from __future__ import annotations

import re

import orjson
import pytest

from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.handlers.resources import HIDDEN
from tests.support.emulator import TENANT, Orchestrator, deployed, model, orchestrating, printed_request

JSON = {"Content_Type": "application/json"}
ACTION = "<actions><action><name>{}</name></action></actions>"
KPI = "<event_name>VM_ALIVE</event_name></kpi>"


async def tenant(client: Orchestrator) -> None:
    """The tenant that the others live in."""
    await client.ask("POST", "/v0/tenants/acme", TENANT)
    await client.done()


async def test_a_volume_shows_its_id_and_what_was_given() -> None:
    """In the list, alone and in its callback; also one that was made from a snapshot."""
    async with orchestrating() as client:
        (vm,) = await deployed(client)
        given = "<volume><name>boot</name><size>10</size><vol_id>3</vol_id></volume>"
        await client.ask("POST", "/v0/acme/volumes/v1", given)
        await client.ask("POST", "/v0/acme/volumes/v2", "<volume/>")
        heard = await client.done()
        assert {one.field("internal_volume_id") for one in heard} == {"v1", "v2"}
        wanted = {"volume_id": "v1", "vol_id": 3, "name": "boot", "size": "10"}
        assert await client.look("/v0/acme/volumes/v1") == wanted
        assert await client.look("/v0/acme/volumes") == [wanted, {"volume_id": "v2"}]
        snapshot = "<x><operation>snapshot</operation><name>s</name><id>snap</id></x>"
        await client.ask("POST", f"/v0/acme/deployments/snapshot-vm/{vm}", snapshot)
        await client.done()
        await client.ask("POST", "/v0/snapshots/snap/volumes", '{"name": "copy"}', **JSON)
        (told,) = await client.done()
        copy = {"volume_id": told.field("internal_volume_id"), "volume_snapshot_id": "snap", "name": "copy"}
        assert copy in await client.look("/v0/acme/volumes")


@pytest.mark.parametrize(
    ("kind", "path"),
    [("network", "/v0/acme/networks/n"), ("router", "/v0/acme/routers/n"), ("image", "/v0/images/n")],
)
async def test_a_field_beside_the_model_is_shown_too(kind: str, path: str) -> None:
    """Releases differ: what was given comes back, but never what ESC keeps for itself."""
    async with orchestrating() as client:
        await tenant(client)
        await client.ask("POST", path, f"<{kind}><name>n</name><release_7>yes</release_7></{kind}>")
        await client.done()
        resource = client.emulator.esc.world.resource(kind, "n")
        assert resource is not None
        assert resource.values["release_7"] == "yes"
        if kind != "router":
            assert (await client.look(path))["release_7"] == "yes"


@pytest.mark.parametrize(
    ("path", "root", "fields", "names"),
    [
        ("/v0/tenants/x", "tenant", {"name": ""}, "name has 0 characters"),
        ("/v0/tenants/x", "tenant", {"name": "   "}, "name has 0 characters"),
        ("/v0/tenants/x", "tenant", {"name": "x" * 65}, "name has 65 characters"),
        ("/v0/tenants/x", "tenant", {"enabled": ""}, "enabled is ''"),
        ("/v0/acme/networks/x", "network", {"name": ""}, "name has 0 characters"),
        ("/v0/acme/networks/x", "network", {"vlan_id": -1}, "vlan_id is '-1'"),
        ("/v0/acme/routers/x", "router", {"name": ""}, "name has 0 characters"),
        ("/v0/images/x", "image", {"name": ""}, "name has 0 characters"),
        ("/v0/images/x", "image", {}, "image lacks name"),
        ("/v0/images/x", "image", {"name": "i", "disk_bus": ""}, "disk_bus is ''"),
        ("/v0/flavors/x", "flavor", {"name": "f", "vcpus": -2}, "vcpus is '-2'"),
        ("/v0/flavors/x", "flavor", {"name": "f", "memory_mb": ""}, "memory_mb is ''"),
        ("/v0/fileserver/x", "file_server", {"base_url": ""}, "file_server lacks base_url"),
        ("/v0/vims", "vim_connector", {"id": "", "type": "OPENSTACK"}, "vim_connector lacks id"),
    ],
)  # fmt: skip
async def test_both_languages_are_judged_alike(path: str, root: str, fields: dict[str, object], names: str) -> None:
    """The same fault in the same words (docs/esc-callbacks.md#3.3)."""
    in_xml = f"<{root}>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</{root}>"
    async with orchestrating() as client:
        await tenant(client)
        for answer in (
            await client.ask("POST", path, in_xml),
            await client.ask("POST", path, orjson.dumps(fields).decode(), **JSON),
        ):
            assert (answer.status, names in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("name", ["", "  "])
async def test_a_data_model_without_names_is_refused_in_both_languages(name: str) -> None:
    """Of the tenant, the deployment, a group."""
    async with orchestrating() as client:
        await tenant(client)
        for given in ("acme", "dep-1", "web"):
            wrong = model("dep-1").replace(f"<name>{given}</name>", f"<name>{name}</name>")
            assert (await client.ask("POST", "/v0/deployments/dep-1", wrong)).status == 400
        group = {"name": "web", "image": "img"}
        for faulty in ({**group, "name": name}, {**group, "image": name}):
            deployment = {"deployments": {"deployment": [{"name": "dep", "vm_group": [faulty]}]}}
            body = orjson.dumps({"tenants": {"tenant": [{"name": "acme", **deployment}]}}).decode()
            assert (await client.ask("POST", "/v0/deployments/dep-1", body, **JSON)).status == 400


async def test_an_empty_element_is_as_if_it_were_not_there() -> None:
    """Where a text may be missing; the value that ESC gives is not overwritten by nothing."""
    async with orchestrating() as client:
        await tenant(client)
        body = "<network><vimNetName/><status></status><name>n</name></network>"
        await client.ask("POST", "/v0/acme/networks/n", body)
        await client.done()
        found = await client.look("/v0/acme/networks/n")
        assert (found["status"], "vimNetName" in found) == ("ACTIVE", False)


@pytest.mark.parametrize("misprint", ["nicaid", "nictid"])
async def test_the_misprints_of_the_document_are_taken(misprint: str) -> None:
    """In interfaces, trunks and collectors (docs/esc-callbacks.md#8): as printed it is a valid request."""
    _, path, _, body = printed_request("06-deploy")
    as_printed = body.replace("nicid", misprint)
    assert as_printed.count(misprint) > 2
    async with orchestrating() as client:
        assert (await client.ask("POST", path, as_printed)).status == 200
        heard = await client.done()
        assert heard[0].field("nic_id") == "1"


async def test_a_collector_watches_an_interface_that_is_there() -> None:
    """Also where its number is misprinted as the document does."""
    async with orchestrating() as client:
        await tenant(client)
        for spelling, number, status in (("nivid", 0, 200), ("nivid", 7, 400), ("nicid", 7, 400)):
            watched = f"<metric_collector><{spelling}>{number}</{spelling}></metric_collector>"
            given = model("dep-1").replace(KPI, KPI.replace("</kpi>", f"{watched}</kpi>"))
            assert (await client.ask("POST", "/v0/deployments/dep-1", given)).status == status
            await client.ask("DELETE", "/v0/deployments/dep-1")
            await client.done()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_rule_or_kpi_of_what_is_not_defined_is_refused(method: str) -> None:
    """Named, until chapter 17 defines it; the first word says when, those after the action are its own."""
    async with orchestrating() as client:
        await (deployed(client) if method == "PUT" else tenant(client))
        for action in ("TRUE my_script.sh", '"ALWAYS my_script.sh now"', "my_script.sh"):
            given = model("dep-1").replace('"TRUE esc_vm_alive_notification"', action)
            refused = await client.ask(method, "/v0/deployments/dep-1", given)
            assert (refused.status, "my_script.sh" in refused.text) == (400, True), refused.text
        metric = model("dep-1").replace(
            KPI, KPI.replace("</kpi>", "<metric_collector><type>LOAD</type></metric_collector></kpi>")
        )
        refused = await client.ask(method, "/v0/deployments/dep-1", metric)
        assert (refused.status, "LOAD" in refused.text) == (400, True)
        await client.ask("POST", "/v0/dynamic_mapping/actions", ACTION.format("my_script.sh"))
        await client.ask("POST", "/v0/dynamic_mapping/metrics", ACTION.format("LOAD").replace("action", "metric"))
        assert (await client.ask(method, "/v0/deployments/dep-1", given)).status == 200
        await client.done()
        assert (await client.ask("PUT", "/v0/deployments/dep-1", metric)).status == 200
        await client.done()
        assert (await client.ask("DELETE", "/v0/dynamic_mapping/metrics/LOAD")).status == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "actions", ACTION.format("mine"), "Action [mine] already exists."),
        ("POST", "actions", "<actions/>", "No action definition found."),
        ("POST", "metrics", "<metrics/>", "No metric definition found."),
        ("GET", "actions/none", "", "Action [none] not found."),
        ("DELETE", "metrics/none", "", "Metric [none] not found."),
        ("DELETE", "actions/log", "", "Action [log] is a CORE action, cannot delete."),
        ("DELETE", "actions/" + "x" * 256, "", "Invalid action name provided"),
        ("GET", "metrics/" + "x" * 256, "", f"Invalid metric name provided [{'x' * 80}]."),
    ],
)  # fmt: skip
async def test_a_reason_of_chapter_17_names_what_it_is_about(method: str, path: str, body: str, reason: str) -> None:
    """The document's text with the name in it, and of several texts the one that fits."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/dynamic_mapping/actions", ACTION.format("mine"))
        refused = await client.ask(method, f"/v0/dynamic_mapping/{path}", body, Accept="application/json")
        assert orjson.loads(refused.text)["reason"] == reason


async def test_a_parameter_is_shown_as_printed_and_takes_a_number() -> None:
    """The value names the namespaces of a type, and no type (docs/esc-callbacks.md#S, chapter 09)."""
    async with orchestrating() as client:
        for body, language, kind in (("10", "json", "INT"), ('"ten"', "json", "STRING"), ("true", "json", "STRING")):
            path = f"/v0/config/default/of_{kind}_{len(body)}"
            answer = await client.ask("POST", path, body, Content_Type=f"application/{language}")
            assert answer.status == 200, answer.text
            found = await client.look(path)
            assert (found["value"], found["type"]) == (body.strip('"'), kind)
        for wrong in ("[1]", "{}", "null"):
            assert (await client.ask("POST", "/v0/config/default/other", wrong, **JSON)).status == 400
        text = (await client.ask("PUT", "/v0/config/log/level/debug")).text
        assert "xsi:type" not in text
        assert 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"' in text


async def test_a_network_tells_one_vlan() -> None:
    """In both of its fields, when it is made and when it is changed."""
    async with orchestrating() as client:
        await tenant(client)
        given = "<network><provider_segmentation_id>{}</provider_segmentation_id></network>"
        await client.ask("POST", "/v0/acme/networks/n", given.format(77))
        (heard,) = await client.done()
        assert (heard.field("vlan_id"), heard.field("provider_segmentation_id")) == ("77", "77")
        await client.ask("PUT", "/v0/acme/networks/n", given.format(78))
        await client.done()
        assert (await client.look("/v0/acme/networks/n"))["vlan_id"] == 78
        await client.ask("PUT", "/v0/acme/networks/n", "<network><vlan_id>79</vlan_id></network>")
        await client.done()
        assert (await client.look("/v0/acme/networks/n"))["provider_segmentation_id"] == "79"


async def test_nothing_that_only_the_client_knows_is_invented() -> None:
    """The source of an image, the description and the outer network of a router."""
    async with orchestrating() as client:
        await tenant(client)
        await client.ask("POST", "/v0/images/i", "<image><name>i</name></image>")
        await client.ask("POST", "/v0/acme/routers/r", "<router/>")
        heard = await client.done()
        assert not any(one.field(name) for one in heard for name in ("src", "description", "external_network"))
        assert "src" not in await client.look("/v0/images/i")


async def test_a_single_property_is_a_list_in_json() -> None:
    """Wherever the document's models have one, however it was given; so is a single subnet, pool or container."""
    properties = "<properties><property><name>a</name><value>b</value></property></properties>"
    extension = f"<extensions><extension><name>e</name>{properties}</extension></extensions>"
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", f"<tenant><name>acme</name>{extension}</tenant>")
        await client.ask("POST", "/v0/images/i", f"<image><name>i</name>{properties}</image>")
        await client.ask("POST", "/v0/vims", f"<v><id>os1</id><type>OPENSTACK</type>{properties}</v>")
        await client.ask(
            "POST",
            "/v0/dynamic_mapping/actions",
            f"<x><action><name>m</name><metaData>{properties}</metaData></action></x>",
        )
        await client.done()
        for path in ("/v0/images/i", "/v0/vims/os1"):
            (found,) = (await client.look(path))["properties"]["property"]
            assert found["name"] == "a"
        (found,) = (await client.look("/v0/tenants/acme"))["extensions"]["extension"]
        assert found["properties"]["property"] == [{"name": "a", "value": "b"}]
        mapping = await client.look("/v0/dynamic_mapping/actions/m")
        assert mapping["metaData"]["properties"]["property"] == [{"name": "a", "value": "b"}]
        one = {"name": "i", "properties": {"property": {"name": "a", "value": "b"}}}
        assert (await client.ask("POST", "/v0/images/j", orjson.dumps(one).decode(), **JSON)).status == 400


def hidden_ids() -> set[str]:
    """Words for which a path of a tenant is another operation's."""
    words = {row.path.split("/")[2] for row in ROWS if "{" not in row.path.split("/")[2]}
    of_tenants = [row for row in ROWS if re.match(r"/v0/{internal_?[tT]enant_?[iI]d}/", row.path)]
    found = set()
    for word in words:
        for row in of_tenants:
            path = re.sub("{[^}]*}", "x", re.sub("{[^}]*}", word, row.path, count=1))
            others = [one for one in ROWS if one not in of_tenants and one.method == row.method]
            if any(re.fullmatch(re.sub("{[^}]*}", "[^/]+", one.path), path) for one in others):
                found.add(word)
    return found


async def test_what_could_not_be_reached_is_not_made() -> None:
    """A connector or a tenant whose path is another operation's; any other word is free."""
    assert HIDDEN["tenant"] == hidden_ids()
    async with orchestrating() as client:
        for word in ("default_vim_connector", "os1"):
            body = f"<vim_connector><id>{word}</id><type>OPENSTACK</type></vim_connector>"
            assert (await client.ask("POST", "/v0/vims", body)).status == (200 if word == "os1" else 400)
        for word in hidden_ids():
            assert (await client.ask("POST", f"/v0/tenants/{word}", TENANT)).status == 400
        assert (await client.ask("POST", "/v0/tenants/networks", TENANT)).status == 200
