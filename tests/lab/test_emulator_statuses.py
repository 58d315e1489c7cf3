"""Every status that a row of the table answers with is brought about, and no other one comes.

Whatever starts work says under which transaction, and is heard of under it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest

from esc_lab.emulator.endpoint_model import Row
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.northbound import BODY_BYTES_MAX
from tests.support.emulator import Orchestrator, deployed, model, orchestrating

SNAPSHOT = "<x><operation>snapshot</operation><name>{}</name></x>"
KNOWN = {
    "internal_tenant_id": "acme", "internalTenantId": "acme", "internalNetworkId": "net", "internalSubnetId": "sub",
    "internalImageId": "img", "internalFlavorId": "flv", "internalVolumeId": "vol", "internalServerId": "srv",
    "internalRouterId": "rtr", "internal_deployment_id": "dep-1", "vim_id": "os1", "vim_user_id": "usr",
    "category": "LOG", "key": "LEVEL", "value": "DEBUG", "escOpMode": "OPERATION", "hostName": "my-ucs-1",
    "name": "confd", "action_name": "mine", "metric_name": "mine",
}  # fmt: skip
OTHERS = ("none", "a~b", "x" * 73, "x" * 256, "log", "ICMPPing", "used", "twin")
"""What stands in a path instead: of something that is not there, malformed, ESC's own, in use, not unique."""
VIM = "<vim><id>{}</id><type>OPENSTACK</type></vim>"
BODIES = {
    "tenant": "<tenant><name>{}</name></tenant>",
    "network": "<network><name>{}</name></network>",
    "subnet": "<subnet><name>{}</name><internal_network_id>net</internal_network_id></subnet>",
    "image": "<image><name>{}</name></image>",
    "flavor": "<flavor><name>{}</name></flavor>",
    "volume": "<volume><name>{}</name></volume>",
    "router": "<router><name>{}</name></router>",
    "file_server": "<server><base_url>http://{}/</base_url></server>",
    "vim_connector": VIM,
    "default_vim_connector": "<x><defaultVimConnectorId>os1</defaultVimConnectorId></x>",
    "vim_user": "<user><id>{}</id></user>",
    "service_operation": "<service_operation><operation>reboot</operation></service_operation>",
    "vm_operation": "<vm_operation><operation>reboot</operation></vm_operation>",
    "migrate_operation": "<x><operation>migrate</operation></x>",
    "recovery_operation": "<x><operation>recovery_do</operation></x>",
    "snapshot_operation": SNAPSHOT,
    "snapshot_volume": "<volume><name>{}</name></volume>",
    "actions": "<actions><action><name>{}</name></action></actions>",
    "metrics": "<metrics><metric><name>{}</name></metric></metrics>",
    "text": "1",
}
CREATES = frozenset(
    {
        "create_tenant", "create_network", "create_subnet", "create_image", "create_flavor", "create_volume",
        "create_router", "create_file_server", "create_config", "deploy",
    }
)  # fmt: skip
ELSEWHERE = {"reload_truststore": {500}}
"""What needs another emulator: a truststore that cannot be read (test_emulator_faults.py)."""


TARGETS: Mapping[str, Mapping[str, str]] = {
    "delete_tenant": {"internal_tenant_id": "empty"},
    "delete_network": {"internalNetworkId": "lone"},
    "delete_vim_connector": {"vim_id": "os2"},
    "enable_host": {"hostName": "my-ucs-2"},
}
"""What is used by nothing else, or in the other state."""


async def furnished(client: Orchestrator) -> dict[str, str]:
    """One of each kind, unused; what stands for the parameters of paths."""
    for kind in ("action", "metric"):
        both = "".join(f"<{kind}><name>{name}</name></{kind}>" for name in ("mine", "used"))
        await client.ask("POST", f"/v0/dynamic_mapping/{kind}s", f"<x>{both}</x>")
    used = "<type>used</type>"
    await deployed(client)
    rule = model("dep-2").replace("esc_vm_alive_notification", "used")
    kpi = f"<event_name>VM_ALIVE</event_name><metric_collector>{used}</metric_collector></kpi>"
    await client.ask("POST", "/v0/deployments/dep-2", rule.replace("<event_name>VM_ALIVE</event_name></kpi>", kpi))
    await client.ask("POST", "/v0/hosts/my-ucs-2/disable")
    for path, body in (
        ("acme/networks/net", BODIES["network"]), ("acme/networks/lone", BODIES["network"]),
        ("acme/subnets/sub", BODIES["subnet"]), ("images/img", BODIES["image"]), ("flavors/flv", BODIES["flavor"]),
        ("acme/volumes/vol", BODIES["volume"]), ("acme/routers/rtr", BODIES["router"]),
        ("fileserver/srv", BODIES["file_server"]), ("tenants/empty", "<tenant><name>empty</name></tenant>"),
        ("vims", VIM.format("os1")), ("vims", VIM.format("os2")),
        ("vims/os1/vim_users", BODIES["vim_user"].format("usr")),
    ):  # fmt: skip
        answer = await client.ask("POST", f"/v0/{path}", body.format("same"))
        assert answer.status == 200, answer.text
        await client.done()
    vm = (await client.look("/v0/deployments/dep-1"))["deployment_details"][0]["vm_name"]
    for name in ("one", "twin", "twin"):
        await client.ask("POST", f"/v0/acme/deployments/snapshot-vm/{vm}", SNAPSHOT.format(name))
        await client.done()
    (snapshot,) = (one["id"] for one in await client.look("/v0/snapshots") if one["name"] == "one")
    return KNOWN | {"vm_name": vm, "snapshotId": snapshot, "snapshotIdOrName": snapshot}


def path_of(row: Row, known: Mapping[str, str]) -> str:
    """The row's path with these parameters."""
    return re.sub("{([^}]*)}", lambda found: quote(known[found[1]], safe=""), row.path)


def wrong_paths(row: Row, known: Mapping[str, str]) -> Iterator[str]:
    """With one parameter at a time that is something else."""
    for name in re.findall("{([^}]*)}", row.path):
        yield from (path_of(row, {**known, name: other}) for other in OTHERS)


def right_path(row: Row, known: Mapping[str, str]) -> str:
    """Of something new where the row creates it; else of what is there."""
    last = re.findall("{([^}]*)}", row.path)[-1:]
    return path_of(row, {**known, **(dict.fromkeys(last, "new") if row.name in CREATES else {})})


async def statuses_of(client: Orchestrator, row: Row, known: Mapping[str, str]) -> set[int]:
    """All that can be got out of it."""
    path = right_path(row, known)
    named = path.rpartition("/")[2] if row.method == "PUT" else "new"
    body = BODIES.get(row.body, model("new" if row.name == "deploy" else "dep-1") if row.body else "").format(named)
    seen: set[int] = set()

    async def ask(where: str = path, given: str = body, **headers: str) -> None:
        answer = await client.ask(row.method, where, given, **headers)
        seen.add(answer.status)
        has_work = bool(row.sends) and answer.status in {200, 201, 202}
        assert has_work == ("esc-transaction-id" in answer.headers)
        if client.emulator.engine.time_scale == 0:
            assert {one.transaction for one in await client.done()} == ({answer.transaction} if has_work else set())

    for where in wrong_paths(row, known):
        await ask(where)
    await client.ask("POST", "/v0/operationmode/OPERATION")
    await client.done()
    for wrong in ("<", "", "x" * (BODY_BYTES_MAX + 1), body.replace("acme", "none")) if row.body else ():
        await ask(given=wrong)
    await ask(Content_Type="text/plain")
    for header in ("Callback", "Callback_ESC_Events"):
        await ask(**{header: "nowhere"})
    await client.ask("POST", "/emulator/faults", '{"next": {"vim-down": 1}}')
    await ask()
    await client.ask("DELETE", "/emulator/faults")
    await client.ask("POST", "/v0/operationmode/MAINTENANCE")
    await ask()
    await client.ask("POST", "/v0/operationmode/OPERATION")
    if row.method != "DELETE":
        await ask()
        await ask()
    client.emulator.engine.time_scale = 3600.0
    await ask()
    await ask()
    return seen


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_guess], ids=lambda row: row.name)
async def test_the_statuses_of_a_row_are_those_that_come(row: Row) -> None:
    """Each is brought about by some request; what the table marks as not produced is not."""
    async with orchestrating() as client:
        known = await furnished(client)
        seen = await statuses_of(client, row, {**known, **TARGETS.get(row.name, {})})
    assert seen == row.statuses.keys() - set(row.unproduced) - ELSEWHERE.get(row.name, set())
