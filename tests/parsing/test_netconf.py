"""Notifications of ESC's NETCONF stream, as sites relay them: without ESC's headers, named as NETCONF names things."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.lifecycle import operation_tables, stage_rules
from receiver.model.notification import Channel, Family, Notification, Outcome, Status
from receiver.parsing.parser import channel_of, parse
from receiver.parsing.vocabulary import LIFECYCLE_TRIGGERS, RESOURCE_EVENTS, SAYS_ALL_BY_ITS_NAME
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.field import Post, dep, living, stored, world
from tests.support.samples import envelope

OF = "<depname>dep</depname><tenant>ten</tenant><tenant_id>t-1</tenant_id><depid>e1</depid>"
FAILURE = "<status>FAILURE</status><status_code>500</status_code><status_message>Error</status_message>"
SUCCESS = "<status>SUCCESS</status><status_code>200</status_code>"
VM = "<vm_group>g-a</vm_group><vm_source><vmid>u-a</vmid><hostid>h1</hostid><hostname>host-1</hostname></vm_source>"
NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"


def esc_event(kind: str, status: str = SUCCESS, inner: str = VM, of: str = OF) -> str:
    """The event alone."""
    return (
        f'<escEvent xmlns="http://www.cisco.com/esc/esc">{status}{of}{inner}'
        f"<event><type>{kind}</type></event></escEvent>"
    )


def notified(kind: str, status: str = SUCCESS, inner: str = VM, of: str = OF) -> str:
    """The event in its envelope."""
    time = "<eventTime>2026-01-01T12:00:00.5+00:00</eventTime>"
    return f'<notification xmlns="{NOTIFICATION}">{time}{esc_event(kind, status, inner, of)}</notification>'


def relayed(body: str, **headers: str) -> Post:
    """As a site posts it, without any header of ESC."""
    return Post("/esc/default/events", body, {name.replace("_", "-"): value for name, value in headers.items()})


def read(body: str, **headers: str) -> Notification:
    """What it says."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return parse(envelope(body.encode(), raw), 64)


async def test_a_relayed_failure_of_a_recovery_step(postgres_dsn: str, connection: Connection) -> None:
    """The deployment is known by its external id, the VM by its instance; the failure stands in the body alone."""
    posts = [*living(), relayed(notified("VM_RECOVERY_REBOOT", FAILURE))]
    decided = await stored(postgres_dsn, posts)
    assert (decided[-1].outcome, decided[-1].rule) == (Outcome.APPLIED, "vm-recovery-reboot-failed")
    vms = await connection.fetch("SELECT vm_name, state, host_name FROM vms")
    assert [tuple(row) for row in vms] == [("a", "RECOVERING", "host-1")]
    deployments = await connection.fetch("SELECT internal_deployment_id, state, degraded FROM deployments")
    assert [tuple(row) for row in deployments] == [("d1", "ACTIVE", True)]
    kept = await connection.fetchrow("SELECT * FROM callbacks ORDER BY received_at DESC LIMIT 1")
    assert kept is not None
    assert (kept["status_code"], kept["status_message"], kept["deployment"]) == (500, "Error", "d1")
    assert (kept["family"], kept["trigger"]) == ("esc_event", "VM_RECOVERY_REBOOT")
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("together", [1, 100])
async def test_a_deployment_that_only_the_stream_names(
    postgres_dsn: str, connection: Connection, together: int
) -> None:
    """It is called as ESC calls what was made over NETCONF, tenant and name run together; a new `depid` is its next
    incarnation. One that is known goes by its own name, by `depid` or by tenant and name."""
    again = OF.replace("e1", "e2")
    posts = [
        relayed(notified("SERVICE_ALIVE", inner="")),
        relayed(notified("SERVICE_UNDEPLOYED", inner="")),
        relayed(notified("SERVICE_ALIVE", inner="", of=again)),
    ]
    await stored(postgres_dsn, posts, together)
    rows = await connection.fetch("SELECT internal_deployment_id, incarnation, state FROM deployments ORDER BY 2")
    assert [tuple(row) for row in rows] == [("tendep", 1, "UNDEPLOYED"), ("tendep", 2, "ACTIVE")]


@pytest.mark.parametrize("together", [1, 100])
async def test_a_new_incarnation_is_found_by_tenant_and_name(
    postgres_dsn: str, connection: Connection, together: int
) -> None:
    """Its external id is not known yet."""
    gone = dep("u", "SERVICE_UNDEPLOYED", "")
    await stored(
        postgres_dsn, [*living(), gone, relayed(notified("SERVICE_ALIVE", of=OF.replace("e1", "e2")))], together
    )
    rows = await connection.fetch("SELECT internal_deployment_id, incarnation, state FROM deployments ORDER BY 2")
    assert [tuple(row) for row in rows] == [("d1", 1, "UNDEPLOYED"), ("d1", 2, "ACTIVE")]


def test_names_and_namespaces() -> None:
    """NETCONF's names are ours; a prefix, or none, makes no difference; the event's time is shown."""
    n = read(notified("VM_RECOVERY_INIT"))
    assert (n.root, n.family, n.trigger, n.status, n.status_code) == (
        "notification", Family.VM_EVENT, "VM_RECOVERY_INIT", Status.OK, 200,
    )  # fmt: skip
    assert n.deployment
    assert (n.deployment.external_id, n.deployment.name, n.deployment.internal_tenant_id) == ("e1", "dep", "ten")
    assert (n.deployment.external_tenant_id, n.deployment.is_looked_up) == ("t-1", True)
    assert n.vm
    assert (n.vm.uuid, n.vm.host_uuid, n.vm.host_name) == ("u-a", "h1", "host-1")
    assert dict(n.event) == {"time": "2026-01-01T12:00:00.5+00:00"}
    prefixed = (
        f'<nc:notification xmlns:nc="{NOTIFICATION}" xmlns:e="x"><e:escEvent><e:status>FAILURE</e:status>'
        "<e:depid>e1</e:depid><e:event><e:type>VM_DEPLOYED</e:type></e:event></e:escEvent></nc:notification>"
    )
    assert (read(prefixed).trigger, read(prefixed).status) == ("VM_DEPLOYED", Status.FAILED)
    bare = read(esc_event("SERVICE_ALIVE", FAILURE))
    assert (bare.root, bare.family, bare.status) == ("escEvent", Family.DEPLOYMENT, Status.FAILED)
    assert [channel_of(root) for root in ("notification", "escEvent")] == [Channel.EVENTS, Channel.EVENTS]


STATUSES = [
    ("SUCCESS 200 -", Status.OK, False), ("SUCCESS - -", Status.OK, False), ("success - -", Status.OK, False),
    ("- 204 -", Status.OK, False), ("- - 200", Status.OK, False), ("SUCCESS - 200", Status.OK, False),
    ("FAILURE 500 -", Status.FAILED, False), ("FAILURE - -", Status.FAILED, False),
    ("PARTIAL - -", Status.FAILED, False), ("FAILURE 200 -", Status.FAILED, True),
    ("SUCCESS 500 -", Status.FAILED, True), ("FAILURE - 200", Status.FAILED, True),
    ("SUCCESS 200 500", Status.FAILED, True), ("- x -", Status.UNKNOWN, False), ("- - -", Status.UNKNOWN, False),
]  # fmt: skip
"""Word and code in the body, and a header's code if somebody adds one; what follows, and whether they disagree."""


@pytest.mark.parametrize(("told", "status", "disagree"), STATUSES, ids=[told for told, *_ in STATUSES])
def test_success_only_if_nothing_says_otherwise(told: str, status: Status, disagree: bool) -> None:
    """A failure in any place is a failure."""
    word, code, header = (text if text != "-" else "" for text in told.split())
    said = f"<status>{word}</status><status_code>{code}</status_code>"
    n = read(notified("VM_RECOVERY_INIT", said), **({"ESC_Status_Code": header} if header else {}))
    assert (n.status, "conflicting-status-codes" in n.notes) == (status, disagree)


@pytest.mark.parametrize("trigger", sorted(LIFECYCLE_TRIGGERS))
def test_without_any_status_nothing_is_taken_for_success(trigger: str) -> None:
    """Unless its name says all: such an event means the same either way, by every table."""
    n = read(notified(trigger, ""))
    assert n.raw_trigger == trigger
    alike = all(
        getattr(table.get((trigger, False)), "rule", None) == getattr(table.get((trigger, True)), "rule", None)
        for table in (stage_rules.VM, stage_rules.DEPLOYMENT, stage_rules.SOURCE)
    ) and operation_tables.CLOSERS.get((trigger, False)) == operation_tables.CLOSERS.get((trigger, True))
    told = {*stage_rules.VM, *stage_rules.DEPLOYMENT, *stage_rules.SOURCE, ("VM_SCALE_OUT_INIT", False)}
    says_all = trigger in SAYS_ALL_BY_ITS_NAME
    assert says_all == (alike and (trigger, False) in told)
    assert (n.trigger is not None) == says_all
    assert says_all or "neither header nor body says whether it succeeded" in (n.unclassified_because or "")


@pytest.mark.parametrize("status", [SUCCESS, FAILURE])
@pytest.mark.parametrize("trigger", sorted(LIFECYCLE_TRIGGERS))
def test_every_event_of_the_stream_is_understood(trigger: str, status: str) -> None:
    """It reads, and it is decided."""
    known = world(*living(), relayed(notified(trigger, status)))
    assert known.outcomes[-1] != Outcome.UNCLASSIFIED


@pytest.mark.parametrize(("kind", "trigger"), [(k, t) for k, events in RESOURCE_EVENTS.items() for t in sorted(events)])
def test_resources_of_the_stream(kind: str, trigger: str) -> None:
    """By the name in the field of their kind; without one it is not said which."""
    named = "" if kind == "tenant" else f"<{kind}>net-1</{kind}>"
    n = read(notified(trigger, FAILURE, named))
    assert n.resource
    assert (n.family, n.resource.kind, n.status) == (Family.RESOURCE, kind, Status.FAILED)
    assert n.resource.id == ("ten" if kind == "tenant" else "net-1")
    nameless = read(notified(trigger, SUCCESS, "", "<depid>e1</depid>"))
    assert (nameless.trigger, nameless.unclassified_because) == (
        None,
        f"{trigger} without {kind}: which one is not said",
    )


def test_other_notifications_are_unclassified_by_name() -> None:
    """Of the same stream, or none at all."""
    change = read(
        "<notification><eventTime>now</eventTime><netconf-config-change><x>1</x></netconf-config-change></notification>"
    )
    assert (change.trigger, change.raw_trigger) == (None, "netconf-config-change")
    assert change.unclassified_because == "a notification netconf-config-change is not known"
    assert read("<notification/>").unclassified_because == "a notification without an event"
    unknown = read(notified("VM_BLUE"))
    assert (unknown.trigger, unknown.raw_trigger, unknown.unclassified_because) == (
        None, "VM_BLUE", "event_type VM_BLUE is not known",
    )  # fmt: skip
    assert read("<escEvent><event>x</event></escEvent>").trigger is None


async def test_a_transaction_that_a_relay_adds_counts(postgres_dsn: str, connection: Connection) -> None:
    """And a recovery told by instance alone goes through it."""
    said: dict[str, Any] = {"ESC_Transaction_Id": "r"}
    complete = notified("VM_RECOVERY_COMPLETE", inner=VM + "<vm_target><vmid>u-2</vmid></vm_target>")
    await stored(postgres_dsn, [*living(), relayed(notified("VM_RECOVERY_INIT"), **said), relayed(complete, **said)])
    vms = await connection.fetch("SELECT vm_name, state, vm_uuid FROM vms")
    assert [tuple(row) for row in vms] == [("a", "ALIVE", "u-2")]
    assert await connection.fetchval("SELECT state FROM operations WHERE transaction_id = 'r'") == "SUCCEEDED"


# States and fields of ESC's own model of 2014 (docs/esc-callbacks.md#10).


@pytest.mark.parametrize(
    ("reported", "state", "monitored"),
    [
        ("VM_UNDEF_STATE", "UNSEEN", None), ("VM_MONITOR_UNSET_STATE", "INERT", False),
        ("VM_MONITOR_DISABLED_STATE", "INERT", False), ("VM_SHUTOFF_STATE", "STOPPED", None),
        ("VM_UNDEPLOYING_STATE", "UNDEPLOYING", None), ("vm_monitor_unset_state", "INERT", False),
    ],
)  # fmt: skip
def test_states_of_a_vm(reported: str, state: str, monitored: bool | None) -> None:
    """Each is known; UNDEF says nothing, and some say that nobody monitors it."""
    body = "<deployment><deployment_stage>VM_MONITOR_SET</deployment_stage><deployment_details><vm_name>a</vm_name>"
    n = read(body + f"<vm_state_machine_state>{reported}</vm_state_machine_state></deployment_details></deployment>")
    assert n.vm
    assert (n.vm.state, n.vm.monitored) == (state, monitored)


def test_a_vm_that_is_reported_unmonitored() -> None:
    """The flag follows, and UNDEF moves nothing."""
    known = world(*living(), dep("s", "VM_STARTED", "SERVICE_UNDEF_STATE", "a", "u-a", "VM_MONITOR_UNSET_STATE"))
    assert (known.vm("a").state, known.vm("a").monitored, known.deployment().state) == ("INERT", False, "ACTIVE")
    known = world(dep("s", "VM_MONITOR_SET", "SERVICE_UNDEF_STATE", "a", "u-a", "VM_UNDEF_STATE"))
    assert (known.vm("a").state, known.deployment().state) == ("UNSEEN", "UNSEEN")


@pytest.mark.parametrize("place", ["event", "event_details"])
def test_what_caused_a_scaling(place: str) -> None:
    """The user's KPI, in either place; what else stands there is kept."""
    kpi = "<name>cpu</name><threshold>80</threshold><value>95</value><details>over</details><colour>red</colour>"
    n = read(
        f"<esc_event><event_type>VM_SCALE_OUT_INIT</event_type><internal_deployment_id>d</internal_deployment_id><{place}>{kpi}</{place}></esc_event>"
    )
    assert dict(n.event) == {"name": "cpu", "threshold": "80", "value": "95", "details": "over"}
    assert n.deployment
    assert dict(n.deployment.extra) == {place: {"colour": "red"}}
    n = read("<esc_event><event_type>VM_SCALE_OUT_INIT</event_type><event_details>in words</event_details></esc_event>")
    assert dict(n.event) == {"details": "in words"}


def test_ids_of_forty_hex_digits_and_interfaces_that_pass_through() -> None:
    """Ids are opaque text, and so is the type of an interface."""
    depid, nic = (
        "a1b2c3d4e5" * 4,
        "<interfaces><interface><nicid>0</nicid><type>passthru</type></interface></interfaces>",
    )
    n = read(notified("VM_DEPLOYED", inner=f"<vm_source><vmid>u</vmid>{nic}</vm_source>", of=f"<depid>{depid}</depid>"))
    assert n.deployment
    assert n.vm
    assert (n.deployment.internal_id, n.deployment.external_id) == (depid, depid)
    assert [dict(one) for one in n.vm.interfaces] == [{"nic_id": "0", "type": "passthru"}]
