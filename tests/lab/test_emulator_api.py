"""The northbound API, chapter by chapter: what is kept, what is shown, what is refused, and with which words."""

from __future__ import annotations

import io

import orjson
import pytest
from lxml import etree

from tests.support.emulator import TENANT, Orchestrator, deployed, model, orchestrating

VIM = (
    "<vim_connector><id>os1</id><type>OPENSTACK</type><properties><property><name>os_password</name>"
    "<value>s3cret</value></property><property><name>os_region</name><value>one</value></property></properties>"
    "</vim_connector>"
)
SERVICE_STOP = "<service_operation><operation>stop</operation></service_operation>"
VM_STOP = "<vm_operation><operation>stop</operation></vm_operation>"
SERVICE, VM = "/v0/acme/deployments/service/none", "/v0/acme/deployments/vm/none"
SUBNET = "<subnet><internal_network_id>net</internal_network_id></subnet>"
IN_NET = "<subnet>{}<internal_network_id>net</internal_network_id></subnet>"
SERVER = "<file_server><base_url>http://{}</base_url></file_server>"
JSON = {"Content_Type": "application/json"}
USER = (
    "<vim_user><id>admin</id><credentials><properties><property><name>os_password</name><value>s3cret</value>"
    "</property><property><name>os_phrase</name><value>s3cret</value></property><property><name>os_name</name>"
    "<value>os1-admin</value></property></properties></credentials></vim_user>"
)


async def tenant(client: Orchestrator) -> None:
    """The tenant that the others live in."""
    assert (await client.ask("POST", "/v0/tenants/acme", TENANT)).status == 200
    await client.done()


@pytest.mark.parametrize(
    ("path", "created", "changed"),
    [
        ("/v0/tenants/{}", "<tenant><name>one</name></tenant>", "<tenant><name>two</name></tenant>"),
        ("/v0/acme/networks/{}", "<network><name>n</name></network>", "<network><name>m</name></network>"),
        ("/v0/acme/subnets/{}", IN_NET.format("<cidr>10.0.0.0/8</cidr>"), IN_NET.format("<cidr>11.0.0.0/8</cidr>")),
        ("/v0/images/{}", "<image><name>i</name></image>", ""),
        ("/v0/flavors/{}", "<flavor><name>f</name><vcpus>4</vcpus></flavor>", ""),
        ("/v0/acme/volumes/{}", "<volume><vol_id>1</vol_id></volume>", ""),
        ("/v0/acme/routers/{}", "<router><name>r</name></router>", "<router><name>s</name></router>"),
        ("/v0/fileserver/{}", SERVER.format("one"), SERVER.format("two")),
    ],
)  # fmt: skip
async def test_a_resource_comes_changes_and_goes(path: str, created: str, changed: str) -> None:
    """Each step is answered at once and ends with one callback; an id that is taken is a conflict."""
    where = path.format("thing-1")
    reads = not path.startswith("/v0/acme/routers")  # the document has no GET of routers
    async with orchestrating() as client:
        await tenant(client)
        await client.ask("POST", "/v0/acme/networks/net", "<network/>")
        await client.done()
        answer = await client.ask("POST", where, created)
        (heard,) = await client.done()
        assert (answer.status, heard.ok, heard.transaction) == (200, True, answer.transaction)
        assert heard.says.startswith("CREATE_")
        assert (await client.ask("POST", where, created)).status == 409
        if changed:
            assert (await client.ask("PUT", where, changed)).status == 200
            assert [one.says for one in await client.done()] == [heard.says.replace("CREATE", "UPDATE")]
            again = await client.ask("PUT", where, changed)
            assert again.status == (200 if "tenants" in path else 204)
        if reads:
            found = await client.look(where)
            wanted = etree.fromstring((changed or created).encode())[0]
            assert str(found[wanted.tag]) == wanted.text
            assert found in await client.look(where.rpartition("/")[0])
        assert (await client.ask("DELETE", where)).status == 200
        assert (await client.done())[-1].says == heard.says.replace("CREATE", "DELETE")
        if reads:
            gone = await client.ask("GET", where)
            assert (gone.status, "thing-1" in gone.text) == (404, True)


async def test_a_resource_that_failed_must_be_deleted_first() -> None:
    """docs/esc-callbacks.md#A52: the same callback with a failure; creating it again is a conflict until it is
    deleted."""
    async with orchestrating() as client:
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        image = "<image><name>i</name></image>"
        assert (await client.ask("POST", "/v0/images/img", image)).status == 200
        (heard,) = await client.done()
        assert (heard.says, heard.ok) == ("CREATE_IMAGE", False)
        assert (await client.ask("POST", "/v0/images/img", image)).status == 409
        assert (await client.ask("DELETE", "/v0/images/img")).status == 200
        await client.done()
        assert (await client.ask("POST", "/v0/images/img", image)).status == 200


async def test_without_the_header_no_callback_is_sent() -> None:
    """Where the document lists no fault for it; the work is done all the same."""
    async with orchestrating() as client:
        answer = await client.ask("POST", "/v0/images/img", "<image><name>i</name></image>", Callback="")
        assert answer.status == 200
        assert await client.done() == []
        assert (await client.look("/v0/images/img"))["name"] == "i"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "names"),
    [
        ("POST", "/v0/tenants/a", "<tenant><name>x</tenant>", {}, 400, "end tag does not match"),
        ("POST", "/v0/tenants/a", "", {}, 400, "the body is empty"),
        ("POST", "/v0/tenants/a", "<network/>", {}, 400, "should be &lt;tenant&gt;"),
        ("POST", "/v0/tenants/a", '{"name": 1}', JSON, 400, "name is '1'"),
        ("POST", "/v0/tenants/a", '{"name": ', JSON, 400, "not JSON"),
        ("POST", "/v0/tenants/a", "<tenant/>", {"Content_Type": "text/plain"}, 415, "text/plain"),
        ("POST", "/v0/tenants/a", f"<tenant><name>{'x' * 65}</name></tenant>", {}, 400, "65 characters"),
        ("POST", "/v0/tenants/a", "<tenant><enabled>maybe</enabled></tenant>", {}, 400, "enabled is 'maybe'"),
        ("POST", f"/v0/tenants/{'x' * 73}", "<tenant/>", {}, 400, "73 characters"),
        ("POST", "/v0/tenants/a~b", "<tenant/>", {}, 400, "a~b"),
        ("POST", "/v0/tenants/a", "<tenant/>", {"Callback": "nowhere"}, 400, "nowhere"),
        ("POST", "/v0/tenants/a", "<tenant/>", {"Callback": "ftp://host/"}, 400, "ftp://host/"),
        ("POST", "/v0/none/networks/n", "<network/>", {}, 404, "none"),
        ("POST", "/v0/acme/subnets/s", SUBNET, {}, 404, "'net'"),
        ("POST", "/v0/images/i", "<image><name>i</name><disk_bus>usb</disk_bus></image>", {}, 400, "disk_bus"),
        ("POST", "/v0/images/i", "<image><src>i</src></image>", {}, 400, "lacks name"),
        ("POST", "/v0/images/acme", "<image><name>i</name></image>", {}, 409, "taken by a tenant"),
        ("DELETE", "/v0/images/none", "", {}, 400, "none"),
        ("DELETE", "/v0/flavors/none", "", {}, 404, "none"),
        ("DELETE", "/v0/tenants/SystemAdminTenantId", "", {}, 400, "ESC's own"),
        ("GET", "/v0/acme/networks/none", "", {}, 404, "none"),
        ("GET", "/v0/nothing/of/the/kind", "", {}, 404, "no operation GET"),
        ("DELETE", "/v0/deployments/none", "", {}, 404, "none"),
        ("POST", SERVICE, SERVICE_STOP, {}, 404, "none"),
        ("POST", SERVICE, SERVICE_STOP.replace("stop", "jump"), {}, 400, "jump"),
        ("POST", VM, VM_STOP, {}, 404, "none"),
        ("POST", VM, VM_STOP, {"Callback": ""}, 400, "Missing callback"),
        ("POST", VM, VM_STOP, {"Callback_ESC_Events": ""}, 400, "Missing callback"),
        ("PUT", "/v0/config/log/level/loud", "", {}, 406, "INFO, TRACE, DEBUG"),
        ("PUT", "/v0/config/default/vm_recovery_retry_max/many", "", {}, 400, "whole number"),
        ("PUT", "/v0/config/log/none/x", "", {}, 404, "LOG/NONE"),
        ("GET", "/v0/config/none", "", {}, 404, "NONE"),
        ("POST", "/v0/operationmode/PARTY", "", {}, 400, "PARTY"),
        ("POST", "/v0/hosts/none/disable", "", {}, 404, "none"),
        ("POST", "/v0/vims", "<vim_connector><id>x</id><type>CLOUD</type></vim_connector>", {}, 400, "CLOUD"),
        ("PUT", "/v0/vims/none/check_status", "", {}, 404, "none"),
        ("GET", "/v0/vims/none/vim_users", "", {}, 404, "none"),
        ("GET", "/v0/systemstate/none", "", {}, 404, "none"),
        ("POST", "/v0/dynamic_mapping/actions", "<actions/>", {}, 400, "No action definition found."),
        ("DELETE", "/v0/dynamic_mapping/actions/log", "", {}, 400, "Action [log] is a CORE action, cannot delete."),
        ("DELETE", "/v0/dynamic_mapping/metrics/none", "", {}, 404, "Metric [none] not found."),
        ("DELETE", "/v0/snapshots/none", "", {}, 404, "none"),
        ("POST", "/v0/snapshots/none/volumes", "{}", JSON, 404, "none"),
        ("GET", "/v0/authentication/setpassword?userName=admin&password=x", "", {}, 400, "switched off"),
    ],
)  # fmt: skip
async def test_bad_input_is_named(
    method: str, path: str, body: str, headers: dict[str, str], status: int, names: str
) -> None:
    """The document's status code, and a body that says what is wrong, in the language asked for."""
    async with orchestrating() as client:
        await tenant(client)
        answer = await client.ask(method, path, body, **headers)
        assert (answer.status, names in answer.text) == (status, True), (answer.status, answer.text)
        told = etree.fromstring(answer.text.encode())
        assert told.findtext("{*}status_code") == str(status)
        in_json = await client.ask(method, path, body, Accept="application/json", **headers)
        assert in_json.headers["Content-Type"] == "application/json"
        assert await client.done() == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("<name>acme</name>", ""), "tenant lacks name"),
        (("<name>dep-1</name>", ""), "deployment lacks name"),
        (("<image>img</image>", ""), "vm_group web lacks image"),
        (("<min_active>1", "<min_active>10"), "min_active is 10"),
        (("<min_active>1", "<min_active>some"), "min_active is 'some'"),
        (("<nicid>0</nicid>", ""), "lacks nicid"),
        (("<network>net</network>", ""), "lacks network"),
        (("<network>net</network>", "<network>net</network><ip_address>1.2.3</ip_address>"), "'1.2.3' is no IP"),
        (("<event_name>VM_ALIVE</event_name><action>", "<event_name>LOAD</event_name><action>"), "rule is about LOAD"),
        (("<tenants>", "<tenants><tenant><name>b</name></tenant>"), "one tenants/tenant"),
        (("<vm_group>", "<vm_group><name>web</name><image>i</image></vm_group><vm_group>"), "web is there twice"),
    ],
)  # fmt: skip
async def test_a_faulty_data_model_is_named(change: tuple[str, str], names: str) -> None:
    """400 with the reason; nothing is made."""
    async with orchestrating() as client:
        await tenant(client)
        right = model("dep-1")
        wrong = right.replace(*change, 1)
        assert wrong != right
        answer = await client.ask("POST", "/v0/deployments/dep-1", wrong)
        assert (answer.status, names in answer.text) == (400, True), answer.text
        assert await client.look("/v0/deployments") == []


async def test_a_deployment_is_refused_for_its_tenant_and_its_name() -> None:
    """404 for a tenant that is not there, 409 for a name that is taken; the given model is shown as it came."""
    async with orchestrating() as client:
        assert (await client.ask("POST", "/v0/deployments/dep-1", model("dep-1"))).status == 404
        await deployed(client)
        answer = await client.ask("POST", "/v0/deployments/dep-2", model("dep-1"))
        assert (answer.status, "dep-1" in answer.text) == (409, True)
        given = await client.ask("GET", "/v0/deployments/config/dep-1")
        assert (given.status, given.text) == (200, model("dep-1"))
        assert (await client.ask("DELETE", "/v0/tenants/acme")).status == 400


async def test_a_deployment_in_json() -> None:
    """The same model, and shown as it came."""
    interface = {"nicid": 0, "network": "net", "ip_address": "10.0.0.7"}
    group = {"name": "web", "image": "img", "bootup_time": 30, "interfaces": {"interface": [interface]}}
    deployment = {"name": "dep", "vm_group": [group]}
    given = orjson.dumps({"tenants": {"tenant": [{"name": "admin", "deployments": {"deployment": [deployment]}}]}})
    async with orchestrating() as client:
        assert (await client.ask("POST", "/v0/deployments/dep-1", given.decode(), **JSON)).status == 200
        assert [one.says for one in await client.done()] == ["VM_DEPLOYED", "SERVICE_ALIVE"]
        (vm,) = (await client.look("/v0/deployments/dep-1"))["deployment_details"]
        assert vm["interfaces"]["interface"][0]["ip_address"] == "10.0.0.7"
        assert (await client.ask("GET", "/v0/deployments/config/dep-1")).text == given.decode()


async def test_a_large_data_model_is_read_or_refused() -> None:
    """Neither a long day-0 configuration nor many VM groups are any harm; what is larger still is not even read."""
    async with orchestrating() as client:
        await tenant(client)
        day0 = f"<configuration><dst>day0</dst><data>{'x' * 50_000}</data></configuration>"
        large = model("dep-1", {"web": {"config_data": day0}})
        assert (await client.ask("POST", "/v0/deployments/dep-1", large)).status == 200
        assert (await client.ask("GET", "/v0/deployments/config/dep-1")).text == large
        many = model("dep-2", {f"group-{number}": {} for number in range(300)})
        assert (await client.ask("POST", "/v0/deployments/dep-2", many)).status == 200
        assert len(await client.done()) == 2 * 1 + 1 + 2 * 300 + 1
        url, huge = f"{client.emulator.url}/ESCManager/v0/deployments/dep-2", io.BytesIO(b"x" * 5_000_000)
        async with client.session.post(url, data=huge, headers={"Content-Type": "application/xml"}) as answer:
            assert (answer.status, "larger than" in await answer.text()) == (413, True)


async def test_an_update_is_of_a_deployment_that_is_up() -> None:
    """Its name and tenant stay; a stopped one is not updated."""
    async with orchestrating() as client:
        await deployed(client)
        path = "/v0/deployments/dep-1"
        for wrong, status in ((model("other"), 400), (model("dep-1", tenant="admin"), 400)):
            assert (await client.ask("PUT", path, wrong)).status == status
        await client.ask("POST", SERVICE.replace("none", "dep-1"), SERVICE_STOP)
        await client.done()
        assert (await client.ask("PUT", path, model("dep-1"))).status == 409


async def test_a_network_comes_and_goes_with_its_deployment() -> None:
    """Its subnet goes before it, both before the service (docs/esc-callbacks.md#N11, p. 53)."""
    networks = "<networks><network><name>eph</name><subnet><name>sub</name></subnet></network></networks><vm_group>"
    async with orchestrating() as client:
        await tenant(client)
        await client.ask("POST", "/v0/deployments/dep-1", model("dep-1").replace("<vm_group>", networks))
        heard = [one.says for one in await client.done()]
        assert heard[:2] == ["CREATE_NETWORK", "CREATE_SUBNET"]
        assert [one["name"] for one in await client.look("/v0/acme/networks")] == ["eph"]
        assert (await client.ask("DELETE", "/v0/acme/networks/dep-1-eph")).status == 400
        await client.ask("DELETE", "/v0/deployments/dep-1")
        heard = [one.says for one in await client.done()]
        assert heard[-3:] == ["DELETE_SUBNET", "DELETE_NETWORK", "SERVICE_UNDEPLOYED"]
        assert await client.look("/v0/acme/networks") == []


async def test_what_holds_something_is_not_deleted() -> None:
    """A tenant with a network, a network with a subnet."""
    async with orchestrating() as client:
        await tenant(client)
        await client.ask("POST", "/v0/acme/networks/net", "<network/>")
        await client.ask("POST", "/v0/acme/subnets/sub", SUBNET)
        await client.done()
        for path in ("/v0/tenants/acme", "/v0/acme/networks/net"):
            assert (await client.ask("DELETE", path)).status == 400
        of_net = await client.ask("GET", "/v0/acme/subnets", internalNetworkId="net")
        assert (of_net.status, "<internal_subnet_id>sub<" in of_net.text) == (200, True)
        assert (await client.ask("GET", "/v0/acme/subnets", internalNetworkId="none")).status == 404
        assert (await client.ask("DELETE", "/v0/acme/subnets/sub")).status == 200


async def test_secrets_never_come_back() -> None:
    """Neither in an answer nor in a callback; a connector is told from its users and from the default one."""
    async with orchestrating() as client:
        assert (await client.ask("POST", "/v0/vims", VIM)).status == 200
        assert (await client.ask("POST", "/v0/vims", VIM)).status == 400  # its table has no 409
        await client.done()
        assert (await client.ask("POST", "/v0/vims/os1/vim_users", USER)).status == 200
        default = "<default_vim_connector><defaultVimConnectorId>os1</defaultVimConnectorId></default_vim_connector>"
        assert (await client.ask("POST", "/v0/vims/default_vim_connector", default)).status == 200
        heard = await client.done()
        assert sorted(one.says for one in heard) == ["CREATE_DEFAULT_VIM_CONNECTOR", "CREATE_VIM_USER"]
        assert await client.look("/v0/vims/default_vim_connector") == {"defaultVimConnectorId": "os1"}
        texts = [one.body.decode() for one in heard]
        shown = ("/v0/vims", "/v0/vims/os1", "/v0/vims/os1/vim_users", "/v0/vims/os1/vim_users/admin")
        texts += [(await client.ask("GET", path)).text for path in shown]
        assert not any("s3cret" in text for text in texts)
        assert all("os1" in text for text in texts)
        assert (await client.ask("PUT", "/v0/vims/os1/check_status")).status == 200
        assert (await client.ask("DELETE", "/v0/vims/os1")).status == 400  # it has a user
        assert (await client.ask("DELETE", "/v0/vims/os1/vim_users/admin")).status == 200


async def test_in_maintenance_new_work_is_refused() -> None:
    """What reads still does."""
    async with orchestrating() as client:
        assert (await client.ask("POST", "/v0/operationmode/MAINTENANCE")).status == 200
        assert (await client.look("/v0/operationmode"))["mode"] == "MAINTENANCE"
        answer = await client.ask("POST", "/v0/images/img", "<image><name>i</name></image>")
        assert (answer.status, "MAINTENANCE" in answer.text) == (409, True)
        assert await client.look("/v0/images") == []
        await client.ask("POST", "/v0/operationmode/OPERATION")
        assert (await client.ask("POST", "/v0/images/img", "<image><name>i</name></image>")).status == 200


async def test_no_vm_comes_to_a_disabled_host() -> None:
    """Its event goes to Callback-ESC-Events; with every host disabled the VIM takes nothing."""
    async with orchestrating() as client:
        await tenant(client)
        for number in range(2, 9):
            assert (await client.ask("POST", f"/v0/hosts/my-ucs-{number}/disable")).status == 200
        heard = await client.done()
        assert {(one.says, one.path) for one in heard} == {("HOST_DISABLE", "/events")}
        assert (await client.look("/v0/hosts/my-ucs-2/status"))["status"] == "disabled"
        await deployed(client, web={"vms": 4})
        found = await client.look("/v0/deployments/dep-1")
        assert {vm["host_name"] for vm in found["deployment_details"]} == {"my-ucs-1"}
        placed = model("dep-2", {"web": {"placement": "<type>zone_host</type><host>{}</host>"}})
        assert (await client.ask("POST", "/v0/deployments/dep-2", placed.format("my-ucs-2"))).status == 503
        assert (await client.ask("POST", "/v0/deployments/dep-2", placed.format("nowhere"))).status == 404
        await client.ask("POST", "/v0/hosts/my-ucs-1/disable")
        await client.done()
        assert (await client.ask("POST", "/v0/deployments/dep-2", model("dep-2"))).status == 503
        more = model("dep-1", {"web": {"vms": 5}})
        assert (await client.ask("PUT", "/v0/deployments/dep-1", more)).status == 500
        assert (await client.ask("POST", "/emulator/deployments/dep-1/scale-out")).status == 409
        assert (await client.ask("POST", "/v0/hosts/my-ucs-1/enable")).status == 200
        assert (await client.done())[-1].says == "HOST_ENABLE"
        assert (await client.ask("PUT", "/v0/deployments/dep-1", more)).status == 200


async def test_parameters_are_changed_and_made() -> None:
    """Names in any case; a new key takes a bare value."""
    async with orchestrating() as client:
        assert len(await client.look("/v0/config")) == 5
        assert (await client.look("/v0/config/anti-affinity"))[0]["value"] == "DifferentHostFilter"
        assert (await client.ask("PUT", "/v0/config/openstack/endpoint/publicURL")).status == 200
        answer = await client.ask("POST", "/v0/config/default/max_logs", '"10"', Content_Type="application/json")
        assert answer.status == 200
        found = await client.look("/v0/config/DEFAULT/MAX_LOGS")
        assert found == {"category": "DEFAULT", "key": "MAX_LOGS", "type": "INT", "value": "10"}
        assert (await client.ask("POST", "/v0/config/default/max_logs", "11")).status == 409


async def test_mappings_in_use_stay() -> None:
    """The words of rules and collectors; all others that are not CORE can go, at once too."""
    actions = "<actions><action><name>mine</name></action><action><name>other</name></action></actions>"
    async with orchestrating() as client:
        assert (await client.ask("POST", "/v0/dynamic_mapping/actions", actions)).status == 200
        again = await client.ask("POST", "/v0/dynamic_mapping/actions", actions)
        assert (again.status, "Action [mine] already exists." in again.text) == (409, True)
        await tenant(client)
        used = model("dep-1").replace("esc_vm_alive_notification", "mine")
        await client.ask("POST", "/v0/deployments/dep-1", used)
        refused = await client.ask("DELETE", "/v0/dynamic_mapping/actions/mine")
        assert (refused.status, "referenced in a deployment" in refused.text) == (400, True)
        assert (await client.ask("DELETE", "/v0/dynamic_mapping/actions")).status == 200
        names = {one["name"] for one in await client.look("/v0/dynamic_mapping/actions")}
        assert {"mine", "log"} <= names
        assert "other" not in names


async def test_snapshots_are_listed_used_and_deleted() -> None:
    """By id, or by a name that is unique; also under /internal."""
    body = "<snapshot_vm_operation><operation>snapshot</operation><name>before</name></snapshot_vm_operation>"
    async with orchestrating() as client:
        (name,) = await deployed(client)
        for base in ("/v0", "/internal"):
            assert (await client.ask("POST", f"{base}/acme/deployments/snapshot-vm/{name}", body)).status == 201
            assert [one.says for one in await client.done()] == ["VM_SNAPSHOT_COMPLETE"]
        found = await client.look(f"/v0/snapshots?generatedVMName={name}")
        assert [one["name"] for one in found] == ["before", "before"]
        assert await client.look("/internal/snapshots?internalTenantId=none") == []
        not_unique = await client.ask("DELETE", "/v0/snapshots/before")
        assert (not_unique.status, found[0]["id"] in not_unique.text) == (409, True)
        assert (await client.ask("DELETE", f"/internal/snapshots/{found[0]['id']}")).status == 200
        assert [one.says for one in await client.done()] == ["VM_SNAPSHOT_DELETE_COMPLETE"]
        assert (await client.ask("POST", "/v0/snapshots/before")).status == 202
        assert [one.says for one in await client.done()] == ["VM_SNAPSHOT_REVERT_COMPLETE"]
        volume = f"/v0/snapshots/{found[1]['id']}/volumes"
        answer = await client.ask("POST", volume, '{"name": "boot"}', Content_Type="application/json")
        assert answer.status == 202
        (heard,) = await client.done()
        assert (heard.says, heard.transaction) == ("CREATE_VOLUME", answer.transaction)


async def test_a_vm_moves_to_the_host_it_is_sent_to() -> None:
    """Named or chosen; one that is not there is 404."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        path = f"/v0/acme/deployments/migrate-vm/{name}"
        body = "<migrate_vm_operation><operation>migrate</operation><host>{}</host></migrate_vm_operation>"
        assert (await client.ask("POST", path, body.format("nowhere"))).status == 404
        assert (await client.ask("POST", path, body.format("my-ucs-5"))).status == 200
        assert [one.says for one in await client.done()] == ["VM_MIGRATE_COMPLETE"]
        assert (await client.look("/v0/deployments/dep-1"))["deployment_details"][0]["host_name"] == "my-ucs-5"


async def test_a_system_state_is_set_and_reset() -> None:
    """Set from outside, reset through the API."""
    async with orchestrating() as client:
        await client.ask("POST", "/emulator/systemstates/confd", '{"state": "DOWN"}')
        assert (await client.look("/v0/systemstate/confd"))["state"] == "DOWN"
        assert (await client.ask("POST", "/v0/systemstate/confd/reset")).status == 200
        assert (await client.look("/v0/systemstate/confd"))["state"] == "RUNNING"


async def test_json_goes_in_and_comes_out() -> None:
    """The same resource in both languages."""
    async with orchestrating() as client:
        answer = await client.ask("POST", "/v0/flavors/f", '{"name": "f", "vcpus": 2}', Content_Type="application/json")
        assert answer.status == 200
        (heard,) = await client.done()
        assert heard.field("vcpus") == "2"  # callbacks are XML, whatever was asked for
        assert (await client.look("/v0/flavors/f"))["vcpus"] == 2
        in_xml = etree.fromstring((await client.ask("GET", "/v0/flavors")).text.encode())
        assert in_xml.findtext("{*}flavor/{*}vcpus") == "2"
