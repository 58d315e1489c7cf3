"""What a data model brings about, and what a changed one changes: networks, subnets, monitors, VMs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from esc_lab.emulator import Habits
from tests.support.emulator import TENANT, Heard, Orchestrator, deployed, model, network, orchestrating, with_networks

DEPLOYMENT = "/v0/deployments/dep-1"
NIC = "<interface><nicid>1</nicid><network>more</network></interface></interfaces>"
DAY0 = "<configuration><dst>day0</dst><data>{}</data></configuration>"


def says(heard: Sequence[Heard]) -> list[str]:
    """Stages and events; of networks and subnets with their name."""
    return [f"{one.says} {one.field('name')}".rstrip() for one in heard]


async def names(client: Orchestrator, kind: str) -> list[str]:
    """Of the networks or subnets of the tenant."""
    return [one["name"] for one in await client.look(f"/v0/acme/{kind}")]


async def test_all_networks_of_a_data_model_are_made() -> None:
    """With the addresses it gives, networks before subnets; all go again in reverse, before the service."""
    sub = "<address>10.9.0.0</address><netmask>255.255.255.0</netmask><gateway>10.9.0.254</gateway>"
    given = with_networks(
        model("dep-1"), network("one", {"a": sub, "b": "<address>10.10.0.0</address>"}), network("two", {"a": ""})
    )
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        assert (await client.ask("POST", DEPLOYMENT, given)).status == 200
        heard = await client.done()
        assert says(heard) == [
            "CREATE_NETWORK one", "CREATE_NETWORK two", "CREATE_SUBNET a", "CREATE_SUBNET b", "CREATE_SUBNET a",
            "VM_DEPLOYED", "VM_ALIVE", "SERVICE_ALIVE",
        ]  # fmt: skip
        assert (heard[2].field("cidr"), heard[2].field("gateway_ip")) == ("10.9.0.0/24", "10.9.0.254")
        for one in heard[2:5]:
            assert ipaddress.ip_address(one.field("gateway_ip")) in ipaddress.ip_network(one.field("cidr"))
        assert await names(client, "networks") == ["one", "two"]
        assert sorted(await names(client, "subnets")) == ["a", "a", "b"]
        of_one = {one.field("external_network_id") for one in (heard[0], heard[2], heard[3])}
        assert len(of_one) == 1
        await client.ask("DELETE", DEPLOYMENT)
        assert says(await client.done()) == [
            "VM_UNDEPLOYED", "DELETE_SUBNET a", "DELETE_SUBNET b", "DELETE_SUBNET a", "DELETE_NETWORK two",
            "DELETE_NETWORK one", "SERVICE_UNDEPLOYED",
        ]  # fmt: skip
        assert await names(client, "networks") == await names(client, "subnets") == []


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ((network("one"), network("one")), "network one is there twice"),
        ((network("one", {"a": "<address>10.9.0.0</address><gateway>10.8.0.1</gateway>"}),), "10.8.0.1"),
        ((network("one", {"a": "<address>10.9.0.0</address><netmask>wide</netmask>"}),), "wide"),
        ((network("one", own="<vlan_id>some</vlan_id>"),), "vlan_id"),
        (("<network><name>one</name><subnet><address>10.9.0.0</address></subnet></network>",), "lacks name"),
    ],
)
async def test_a_faulty_network_is_named(networks: tuple[str, ...], told: str) -> None:
    """400 with the reason; nothing is made."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        answer = await client.ask("POST", DEPLOYMENT, with_networks(model("dep-1"), *networks))
        assert (answer.status, told in answer.text) == (400, True), answer.text
        assert await client.look("/v0/acme/networks") == []


async def test_a_network_of_a_deployment_is_known_when_it_was_told() -> None:
    """Until its callback nothing of the VIM's is shown; what never was is not deleted either."""
    given = with_networks(model("dep-1"), network("one", {"a": "<address>10.9.0.0</address>"}))
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        client.emulator.engine.time_scale = 3600.0
        assert (await client.ask("POST", DEPLOYMENT, given)).status == 200
        (found,) = await client.look("/v0/acme/networks")
        assert "external_network_id" not in found
        (subnet,) = await client.look("/v0/acme/subnets")
        assert ("external_subnet_id" in subnet, subnet["cidr"]) == (False, "10.9.0.0/24")
        client.emulator.engine.time_scale = 0.0
        await client.ask("DELETE", DEPLOYMENT)
        assert says(await client.done()) == ["SERVICE_UNDEPLOYED"]
        assert await client.look("/v0/acme/networks") == []


async def test_a_silent_vm_is_no_reason_to_keep_quiet_about_networks() -> None:
    """They are created before it."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        await client.ask("POST", "/emulator/faults", '{"next": {"vm-silent": 1}}')
        await client.ask("POST", DEPLOYMENT, with_networks(model("dep-1"), network("one")))
        assert says(await client.done()) == ["CREATE_NETWORK one", "VM_DEPLOYED", "SERVICE_ALIVE"]
        assert "external_network_id" in (await client.look("/v0/acme/networks"))[0]


async def test_an_update_makes_and_removes_networks_and_subnets() -> None:
    """Created before, deleted after what happens to the VMs; a subnet that has changed is another one."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        one = network("one", {"a": "<address>10.9.0.0</address>", "b": ""})
        await client.ask("POST", DEPLOYMENT, with_networks(model("dep-1"), one, network("gone", {"c": ""})))
        await client.done()
        changed = network("one", {"a": "<address>10.8.0.0</address>", "d": ""}, "<shared>true</shared>")
        given = with_networks(model("dep-1", {"web": {"vms": 2}}), changed, network("two", {"e": ""}))
        assert (await client.ask("PUT", DEPLOYMENT, given)).status == 200
        assert says(await client.done()) == [
            "CREATE_NETWORK two", "CREATE_SUBNET e", "CREATE_SUBNET a", "CREATE_SUBNET d", "VM_DEPLOYED", "VM_ALIVE",
            "DELETE_SUBNET b", "DELETE_SUBNET a", "DELETE_SUBNET c", "DELETE_NETWORK gone", "SERVICE_UPDATED",
        ]  # fmt: skip
        assert sorted(await names(client, "networks")) == ["one", "two"]
        subnets = {sub["name"]: sub["cidr"] for sub in await client.look("/v0/acme/subnets")}
        assert (set(subnets), subnets["a"]) == ({"a", "d", "e"}, "10.8.0.0/24")
        assert [net["shared"] for net in await client.look("/v0/acme/networks") if net["name"] == "one"] == [True]
        assert (await client.ask("PUT", DEPLOYMENT, given)).status == 200
        assert says(await client.done()) == ["SERVICE_UPDATED"]
        await client.ask("DELETE", DEPLOYMENT)
        await client.done()
        assert await names(client, "networks") == await names(client, "subnets") == []


async def test_an_update_that_fails_makes_no_network() -> None:
    """Nor removes one: the deployment stays as it was."""
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        await client.ask("POST", DEPLOYMENT, with_networks(model("dep-1"), network("one")))
        await client.done()
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        await client.ask("PUT", DEPLOYMENT, with_networks(model("dep-1"), network("two")))
        assert says(await client.done()) == ["SERVICE_UPDATED"]
        assert await names(client, "networks") == ["one"]


@pytest.mark.parametrize("habits", [Habits(), Habits(updated_stage="VM_UPDATED")], ids=["as-printed", "updated"])
async def test_kpis_and_rules_decide_who_is_watched(habits: Habits) -> None:
    """Added: the monitor reaches the VM. Removed: nobody notices any more when it dies."""
    async with orchestrating(habits=habits) as client:
        (name,) = await deployed(client, web={"watched": False})
        die = f"/emulator/vms/{name}/die"
        assert (await client.ask("POST", die)).status == 409
        assert (await client.ask("PUT", DEPLOYMENT, model("dep-1"))).status == 200
        assert says(await client.done()) == ["VM_ALIVE", "SERVICE_UPDATED"]
        assert (await client.look(DEPLOYMENT))["deployment_details"][0]["vm_state_machine_state"] == "VM_ALIVE_STATE"
        assert (await client.ask("POST", die, '{"recovery": "reboot"}')).status == 200
        assert says(await client.done())[-1] == "VM_RECOVERY_COMPLETE"
        await client.ask("PUT", DEPLOYMENT, model("dep-1", {"web": {"watched": False}}))
        assert says(await client.done()) == ["SERVICE_UPDATED"]
        assert (await client.ask("POST", die)).status == 409
        both = model("dep-1").replace("</interfaces>", NIC, 1)
        await client.ask("PUT", DEPLOYMENT, both)
        assert says(await client.done()) == [
            "VM_UPDATED" if habits.updated_stage == "VM_UPDATED" else "VM_ALIVE", "VM_ALIVE", "SERVICE_UPDATED",
        ]  # fmt: skip
        assert (await client.ask("POST", die, '{"recovery": "reboot"}')).status == 200


async def test_interfaces_are_in_the_networks_of_the_data_model() -> None:
    """With the ids that the networks' callbacks told, and each with an address of its own in the subnet."""
    sub = "<address>10.9.0.0</address><netmask>255.255.255.0</netmask><gateway>10.9.0.2</gateway>"
    given = model("dep-1", {"web": {"vms": 2, "networks": ("one", "one", "outside")}, "db": {"networks": ("bare",)}})
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        networks = network("one", {"a": sub}), network("bare")
        assert (await client.ask("POST", DEPLOYMENT, with_networks(given, *networks))).status == 200
        heard = await client.done()
        ids = {one.field("name"): one.field("external_network_id") for one in heard if one.says == "CREATE_NETWORK"}
        (subnet,) = (one.field("external_subnet_id") for one in heard if one.says == "CREATE_SUBNET")
        await client.ask("POST", f"{'/emulator'}{DEPLOYMENT.removeprefix('/v0')}/scale-out", '{"group": "web"}')
        await client.done()
        details = (await client.look(DEPLOYMENT))["deployment_details"]
        nics = [nic for vm in details for nic in vm["interfaces"]["interface"]]
        inside = [nic for nic in nics if nic["network_uuid"] == ids["one"]]
        assert len(inside) == len({nic["ip_address"] for nic in inside}) == 6
        for nic in inside:
            assert ipaddress.ip_address(nic["ip_address"]) in ipaddress.ip_network("10.9.0.0/24")
            assert (nic["subnet_uuid"], nic["gateway"], nic["netmask"]) == (subnet, "10.9.0.2", "255.255.255.0")
            assert nic["ip_address"] != nic["gateway"]
        assert [nic["network_uuid"] for nic in nics].count(ids["bare"]) == 1


async def test_an_update_that_was_lost_on_the_way_can_be_repeated() -> None:
    """What it had announced and nobody has made is made then; nothing is deleted that never was."""
    given = with_networks(model("dep-1", {"web": {"vms": 2}}), network("one", {"a": ""}))
    async with orchestrating() as client:
        await deployed(client)
        client.emulator.engine.time_scale = 3600.0
        assert (await client.ask("PUT", DEPLOYMENT, given)).status == 200
        await client.ask("POST", "/emulator/failover")
        client.emulator.engine.time_scale = 0.0
        for made, told in (
            (given, ["CREATE_NETWORK one", "CREATE_SUBNET a", "VM_DEPLOYED", "VM_ALIVE", "SERVICE_UPDATED"]),
            (given, ["SERVICE_UPDATED"]),
        ):
            assert (await client.ask("PUT", DEPLOYMENT, made)).status == 200
            assert says(await client.done()) == told
        assert len((await client.look(DEPLOYMENT))["deployment_details"]) == 2
        client.emulator.engine.time_scale = 3600.0
        await client.ask("PUT", DEPLOYMENT, with_networks(given.replace(network("one", {"a": ""}), ""), network("two")))
        await client.ask("POST", "/emulator/failover")
        client.emulator.engine.time_scale = 0.0
        await client.ask("PUT", DEPLOYMENT, model("dep-1"))
        assert says(await client.done()) == ["DELETE_SUBNET a", "DELETE_NETWORK one", "SERVICE_UPDATED"]
        assert await client.look("/v0/acme/networks") == []


async def test_an_update_is_seen_when_it_has_succeeded() -> None:
    """Neither before, nor when it failed: interfaces, the data model, mappings in use."""
    mine = model("dep-1", {"web": {}, "db": {}}).replace("</interfaces>", NIC, 1)
    mine = mine.replace("esc_vm_alive_notification", "mine")
    async with orchestrating() as client:
        await deployed(client)
        await client.ask("POST", "/v0/dynamic_mapping/actions", "<x><action><name>mine</name></action></x>")
        before = await client.look(DEPLOYMENT)
        client.emulator.engine.time_scale = 3600.0
        assert (await client.ask("PUT", DEPLOYMENT, mine)).status == 200
        assert (await client.look(DEPLOYMENT))["deployment_details"] == before["deployment_details"]
        await client.ask("POST", "/emulator/failover")
        client.emulator.engine.time_scale = 0.0
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        assert (await client.ask("PUT", DEPLOYMENT, mine)).status == 200
        assert not (await client.done())[-1].ok
        assert (await client.look(DEPLOYMENT))["deployment_details"] == before["deployment_details"]
        assert (await client.ask("GET", "/v0/deployments/config/dep-1")).text == model("dep-1")
        assert (await client.ask("DELETE", "/v0/dynamic_mapping/actions/mine")).status == 200
        await client.ask("POST", "/v0/dynamic_mapping/actions", "<x><action><name>mine</name></action></x>")
        assert (await client.ask("PUT", DEPLOYMENT, mine)).status == 200
        await client.done()
        details = (await client.look(DEPLOYMENT))["deployment_details"]
        assert [len(vm["interfaces"]["interface"]) for vm in details] == [2, 1]
        assert (await client.ask("DELETE", "/v0/dynamic_mapping/actions/mine")).status == 400


async def test_a_data_model_names_a_vim_that_is_there() -> None:
    """An associated resource: 404 without it, refused while it is being made or has failed."""
    given = model("dep-1").replace("<vm_group>", "<locator><vim_id>os1</vim_id></locator><vm_group>", 1)
    vim = "<vim_connector><id>os1</id><type>OPENSTACK</type></vim_connector>"
    default = "<default><defaultVimConnectorId>os1</defaultVimConnectorId></default>"
    async with orchestrating() as client:
        await client.ask("POST", "/v0/tenants/acme", TENANT)
        await client.done()
        assert (await client.ask("POST", DEPLOYMENT, given)).status == 404
        await client.ask("POST", "/emulator/faults", '{"next": {"work-fails": 1}}')
        await client.ask("POST", "/v0/vims", vim)
        await client.done()
        assert (await client.ask("POST", DEPLOYMENT, given)).status == 409
        assert (await client.ask("POST", "/v0/vims/default_vim_connector", default)).status == 400
        await client.ask("DELETE", "/v0/vims/os1")
        await client.done()
        await client.ask("POST", "/v0/vims", vim)
        await client.done()
        assert (await client.ask("POST", DEPLOYMENT, given)).status == 200


async def test_a_monitor_that_was_switched_off_stays_off() -> None:
    """An update that changes neither KPIs nor rules does not switch it on."""
    async with orchestrating() as client:
        (name,) = await deployed(client)
        off = "<vm_operation><operation>disable_monitoring</operation></vm_operation>"
        await client.ask("POST", f"/v0/acme/deployments/vm/{name}", off)
        await client.done()
        await client.ask("PUT", DEPLOYMENT, model("dep-1", {"web": {"vms": 2}}))
        await client.done()
        assert (await client.ask("POST", f"/emulator/vms/{name}/die")).status == 409


async def test_day_0_is_what_the_last_update_said() -> None:
    """A running VM is not told; the deployment's data model is the new one."""
    async with orchestrating() as client:
        await deployed(client, web={"config_data": DAY0.format("old")})
        given = model("dep-1", {"web": {"config_data": DAY0.format("new")}})
        await client.ask("PUT", DEPLOYMENT, given)
        assert says(await client.done()) == ["SERVICE_UPDATED"]
        assert (await client.ask("GET", "/v0/deployments/config/dep-1")).text == given
        group = client.emulator.esc.world.deployments["dep-1"].model.groups[0]
        assert [one.data for one in group.config_data] == ["new"]
