"""Resources as a real ESC would have them: whose they are, what is known of them when, and what a PUT changes."""

from __future__ import annotations

import orjson
import pytest

from tests.support.emulator import TENANT, Orchestrator, model, orchestrating

JSON = {"Content_Type": "application/json"}
ADMIN = "SystemAdminTenantId"
NETWORK = "<network><name>net</name></network>"
SERVER = (
    "<file_server><base_url>http://files/</base_url><file_server_parameters><property><name>password</name>"
    "<value>{}</value></property></file_server_parameters></file_server>"
)


async def made(client: Orchestrator, path: str, body: str) -> None:
    """Created, and nothing heard of it any more."""
    answer = await client.ask("POST", path, body)
    assert answer.status == 200, answer.text
    await client.done()


async def two_tenants(client: Orchestrator) -> None:
    """One of them has the other's id as its name."""
    await made(client, "/v0/tenants/bb", "<tenant><name>its own</name></tenant>")
    await made(client, "/v0/tenants/aa", "<tenant><name>bb</name></tenant>")


@pytest.mark.parametrize("kind", ["networks", "volumes", "routers"])
async def test_a_path_names_a_tenant_by_its_id(kind: str) -> None:
    """Never by its name, though another tenant has that as its id (docs/esc-callbacks.md#S)."""
    async with orchestrating() as client:
        await two_tenants(client)
        name = kind.removesuffix("s")
        await made(client, f"/v0/bb/{kind}/one", f"<{name}><name>n</name></{name}>")
        resource = client.emulator.esc.world.resource(name, "one")
        assert resource is not None
        assert resource.parent == "bb"
        assert (await client.ask("POST", f"/v0/its%20own/{kind}/two", f"<{name}/>")).status == 404


async def test_a_data_model_names_a_tenant_by_its_name() -> None:
    """Deployments, and the paths of operations on them and their VMs."""
    async with orchestrating() as client:
        await two_tenants(client)
        await made(client, "/v0/deployments/dep-1", model("dep-1", tenant="bb"))
        found = await client.look("/v0/deployments/dep-1")
        assert found["internal_tenant_id"] == "aa"
        name = found["deployment_details"][0]["vm_name"]
        again = "<service_operation><operation>reboot</operation></service_operation>"
        reboot = "<vm_operation><operation>reboot</operation></vm_operation>"
        snapshot = "<snapshot_vm_operation><operation>snapshot</operation><name>s</name></snapshot_vm_operation>"
        for path, body in (
            ("deployments/service/dep-1", again),
            (f"deployments/vm/{name}", reboot),
            (f"deployments/snapshot-vm/{name}", snapshot),
        ):
            assert (await client.ask("POST", f"/v0/bb/{path}", body)).status == 404
            assert (await client.ask("POST", f"/v0/aa/{path}", body)).status in {200, 201}
            await client.done()
        assert (await client.ask("POST", "/v0/deployments/dep-2", model("dep-2", tenant="aa"))).status == 404


async def test_the_admin_tenant_is_a_tenant_like_others() -> None:
    """In the list too; in paths by its id, in data models by its name; its id and its name are taken."""
    async with orchestrating() as client:
        admin = await client.look(f"/v0/tenants/{ADMIN}")
        assert admin in await client.look("/v0/tenants")
        assert (await client.ask("GET", "/v0/admin/networks")).status == 404
        await made(client, f"/v0/{ADMIN}/networks/n", NETWORK)
        for tenant_id, name in ((ADMIN, "x"), ("x", "admin")):
            answer = await client.ask("POST", f"/v0/tenants/{tenant_id}", f"<tenant><name>{name}</name></tenant>")
            assert answer.status == 409
        assert (await client.ask("POST", f"/v0/images/{ADMIN}", "<image><name>i</name></image>")).status == 409


async def test_no_two_tenants_have_one_name() -> None:
    """Neither made so nor renamed so; its own name is no conflict; a name that was only an id so far is one too."""
    async with orchestrating() as client:
        await made(client, "/v0/tenants/one", "<tenant><name>first</name></tenant>")
        await made(client, "/v0/tenants/two", "<tenant/>")
        for method, path, name in (("POST", "three", "first"), ("PUT", "two", "first"), ("PUT", "one", "two")):
            answer = await client.ask(method, f"/v0/tenants/{path}", f"<tenant><name>{name}</name></tenant>")
            assert (answer.status, "of the name" in answer.text) == (409, True)
        assert (await client.ask("PUT", "/v0/tenants/one", "<tenant><name>first</name></tenant>")).status == 200


async def test_ids_of_what_is_no_resource_are_free() -> None:
    """A mapping, a host, a parameter: ids are unique over the domain resources (S, Internal IDs)."""
    async with orchestrating() as client:
        await made(client, "/v0/images/log", "<image><name>i</name></image>")
        await client.ask("POST", "/v0/hosts/my-ucs-1/disable")
        await client.done()
        await made(client, "/v0/images/my-ucs-1", "<image><name>j</name></image>")


@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        ("/v0/tenants/x", "<tenant><name>n</name></tenant>", {"external_tenant_id", "enabled"}),
        ("/v0/images/x", "<image><name>n</name></image>", {"external_image_id", "imageisenabled", "visibility"}),
        ("/v0/flavors/x", "<flavor><name>n</name></flavor>", {"external_flavor_id", "ephemeral_disk_mb"}),
        ("/v0/acme/networks/x", "<network><name>n</name></network>", {"external_network_id", "status", "shared"}),
        (
            "/v0/acme/subnets/x",
            "<subnet><name>n</name><internal_network_id>net</internal_network_id></subnet>",
            {"external_subnet_id", "cidr"},
        ),
    ],
)  # fmt: skip
async def test_what_the_vim_says_is_known_when_it_has_said_it(path: str, body: str, unknown: set[str]) -> None:
    """Not while the work goes on, nor when it was lost or has failed; but with the success callback."""
    async with orchestrating() as client:
        await made(client, "/v0/tenants/acme", TENANT)
        await made(client, "/v0/acme/networks/net", NETWORK)
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        assert (await client.ask("POST", path, body)).status == 200
        (failure,) = await client.done()
        failed = await client.look(path)
        told = {name: failure.field(name) for name in unknown}
        assert not any(value for name, value in told.items() if name.startswith("external_")), told
        assert {failed.get(name, False) for name in unknown} == {False}
        assert (await client.ask("DELETE", path)).status == 200
        await client.done()
        client.emulator.engine.time_scale = 3600.0
        assert (await client.ask("POST", path, body)).status == 200
        pending = await client.look(path)
        assert not unknown & pending.keys()
        assert pending["name"] == "n"
        await client.ask("POST", "/emulator/failover")
        assert await client.look(path) == pending
        client.emulator.engine.time_scale = 0.0
        await client.ask("DELETE", path)
        await client.done()
        await made(client, path, body)
        assert unknown | {"name"} <= (await client.look(path)).keys()


async def test_nothing_is_made_in_what_is_not_there() -> None:
    """A tenant that failed, is being made, or was lost on the way; a network, a VIM, a data model's tenant alike."""
    user = "<vim_user><id>u</id></vim_user>"
    subnet = "<subnet><internal_network_id>net</internal_network_id></subnet>"
    vim = "<vim_connector><id>os1</id><type>OPENSTACK</type></vim_connector>"
    tries = (
        ("/v0/tenants/acme", TENANT, [("/v0/acme/networks/n", NETWORK), ("/v0/deployments/d", model("d"))]),
        (f"/v0/{ADMIN}/networks/net", NETWORK, [(f"/v0/{ADMIN}/subnets/s", subnet)]),
        ("/v0/vims", vim, [("/v0/vims/os1/vim_users", user)]),
    )
    async with orchestrating() as client:
        for path, body, below in tries:
            where = f"{path}/os1" if path == "/v0/vims" else path
            await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
            assert (await client.ask("POST", path, body)).status == 200
            await client.done()
            for inner, given in below:
                assert (await client.ask("POST", inner, given)).status in {400, 409}
            await client.ask("DELETE", where)
            await client.done()
            client.emulator.engine.time_scale = 3600.0
            assert (await client.ask("POST", path, body)).status == 200
            for inner, given in below:
                assert (await client.ask("POST", inner, given)).status in {400, 409}
            await client.ask("POST", "/emulator/failover")
            for inner, given in below:
                assert (await client.ask("POST", inner, given)).status in {400, 409}
            client.emulator.engine.time_scale = 0.0
            assert (await client.ask("PUT", where, body)).status in {400, 409}
            await client.ask("DELETE", where)
            await client.done()
            await made(client, path, body)
            for inner, given in below:
                await made(client, inner, given)


async def test_a_new_secret_is_a_change() -> None:
    """Although it is never shown; the masked body of a GET, put back, is none."""
    async with orchestrating() as client:
        await made(client, "/v0/fileserver/files", SERVER.format("one"))
        assert (await client.ask("PUT", "/v0/fileserver/files", SERVER.format("two"))).status == 200
        (heard,) = await client.done()
        assert (heard.says, heard.ok) == ("UPDATE_FILE_SERVER", True)
        found = await client.look("/v0/fileserver/files")
        assert "two" not in str(found)
        answer = await client.ask("PUT", "/v0/fileserver/files", orjson.dumps(found).decode(), **JSON)
        assert answer.status == 204


@pytest.mark.parametrize("kind", ["networks", "subnets"])
async def test_what_a_get_shows_changes_nothing_when_put_back(kind: str) -> None:
    """In JSON: numbers and truth values are those that the VIM gave."""
    async with orchestrating() as client:
        await made(client, "/v0/tenants/acme", TENANT)
        await made(client, "/v0/acme/networks/net", NETWORK)
        body = "<subnet><internal_network_id>net</internal_network_id></subnet>" if kind == "subnets" else NETWORK
        await made(client, f"/v0/acme/{kind}/x", body)
        found = await client.look(f"/v0/acme/{kind}/x")
        answer = await client.ask("PUT", f"/v0/acme/{kind}/x", orjson.dumps(found).decode(), **JSON)
        assert answer.status == 204, answer.text


async def test_a_subnet_is_in_a_network_of_its_tenant() -> None:
    """None is invented: without one it is refused, as is one of another tenant; a PUT may name another."""
    async with orchestrating() as client:
        await made(client, "/v0/tenants/acme", TENANT)
        await made(client, "/v0/acme/networks/net", NETWORK)
        await made(client, "/v0/acme/networks/net2", NETWORK)
        await made(client, f"/v0/{ADMIN}/networks/other", NETWORK)
        refused = await client.ask("POST", "/v0/acme/subnets/s", "<subnet><name>s</name></subnet>")
        assert (refused.status, "internal_network_id" in refused.text) == (400, True)
        inside = "<subnet><internal_network_id>{}</internal_network_id></subnet>"
        assert (await client.ask("POST", "/v0/acme/subnets/s", inside.format("other"))).status == 404
        assert (await client.ask("GET", "/v0/acme/subnets", internalNetworkId="other")).status == 404
        await made(client, "/v0/acme/subnets/s", inside.format("net"))
        await client.ask("PUT", "/v0/acme/subnets/s", inside.format("net2"))
        await client.done()
        network, subnet = await client.look("/v0/acme/networks/net2"), await client.look("/v0/acme/subnets/s")
        assert subnet["external_network_id"] == network["external_network_id"]


@pytest.mark.parametrize(
    ("given", "status", "found"),
    [
        ("<cidr>10.9.0.0/24</cidr>", 200, ("10.9.0.0/24", "10.9.0.1", 4)),
        ("<cidr>10.9.0.0/24</cidr><gateway_ip>10.9.0.254</gateway_ip>", 200, ("10.9.0.0/24", "10.9.0.254", 4)),
        ("<gateway_ip>10.7.7.1</gateway_ip>", 200, ("10.7.7.0/24", "10.7.7.1", 4)),
        ("<cidr>2001:db8::/64</cidr>", 200, ("2001:db8::/64", "2001:db8::1", 6)),
        ("<cidr>10.9.0.0/24</cidr><gateway_ip>192.168.0.1</gateway_ip>", 400, "192.168.0.1"),
        ("<cidr>10.9.0.0/24</cidr><ip_version>6</ip_version>", 400, "ip_version"),
        ("<cidr>10.9</cidr>", 400, "10.9"),
        ("<gateway_ip>here</gateway_ip>", 400, "here"),
        (
            "<cidr>10.9.0.0/24</cidr><allocation_pools><start>10.8.0.2</start><end>10.9.0.9</end></allocation_pools>",
            400,
            "10.8.0.2",
        ),
    ],
)  # fmt: skip
async def test_addresses_of_a_subnet_lie_in_its_network(given: str, status: int, found: object) -> None:
    """Those given, and those that follow; what contradicts itself is refused."""
    async with orchestrating() as client:
        await made(client, "/v0/tenants/acme", TENANT)
        await made(client, "/v0/acme/networks/net", NETWORK)
        body = f"<subnet><internal_network_id>net</internal_network_id>{given}</subnet>"
        answer = await client.ask("POST", "/v0/acme/subnets/s", body)
        assert answer.status == status, answer.text
        if status == 400:
            assert str(found) in answer.text
            return
        (heard,) = await client.done()
        subnet = await client.look("/v0/acme/subnets/s")
        assert (subnet["cidr"], subnet["gateway_ip"], subnet["ip_version"]) == found
        assert heard.field("cidr") == subnet["cidr"]
        moved = "<subnet><cidr>10.1.0.0/16</cidr></subnet>"
        assert (await client.ask("PUT", "/v0/acme/subnets/s", moved)).status == 200
        (heard,) = await client.done()
        assert heard.field("gateway_ip") == (await client.look("/v0/acme/subnets/s"))["gateway_ip"] == "10.1.0.1"
