"""Traffic and expected state: repeatable from a seed, in the shape of the samples, claiming only what is certain.

The player's own tests, over HTTP, are in `test_simulator_player.py`.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lxml import etree

from esc_lab.simulator import ExpectedState, Faults, Traffic
from esc_lab.simulator.delivery_faults import PlannedDelivery, Sending, inject_faults
from esc_lab.simulator.esc_messages import HEADER_STYLES
from esc_lab.simulator.expected_state import Fate
from esc_lab.simulator.fleet import Deployment, Vm, make_deployment, make_tenant, make_vm
from esc_lab.simulator.lives import SCRIPTS
from esc_lab.simulator.script_runner import Operation, key_of, run_script
from receiver.errors import SettingsError

CALLBACKS = Path(__file__).parents[1] / "callbacks"
ALL_FAULTS = Faults.of("duplicate=0.2,reorder=0.3,gap=0.1,malformed=0.1,unknown=0.1,wrong-token=0.1")


def played(traffic: Traffic) -> list[PlannedDelivery]:
    """Every operation of the run."""
    return [delivery for life in traffic.lives() for delivery in life]


def sendings(traffic: Traffic) -> list[Sending]:
    """Every POST of the run."""
    return [sending for delivery in played(traffic) for sending in delivery.sendings]


# The traffic


def test_one_seed_makes_one_traffic() -> None:
    """Twice the same seed gives the same bytes and headers in the same order, faults included."""
    first, second = (sendings(Traffic(7, sources=("a", "b"), faults=ALL_FAULTS)) for _ in range(2))
    assert first == second
    assert first != sendings(Traffic(8, sources=("a", "b"), faults=ALL_FAULTS))


def test_a_life_can_be_lived_again() -> None:
    """Iterating a life a second time begins it anew, whichever lives were looked at before."""
    traffic = Traffic(7)
    again = traffic.life(3)
    assert list(again) == list(again) == list(list(Traffic(7).lives())[3])


def test_faults_do_not_change_what_happens() -> None:
    """With every fault switched on the operations are the same, only their delivery is not."""
    plain, spoilt = played(Traffic(7)), played(Traffic(7, faults=ALL_FAULTS))
    assert [delivery.operation for delivery in plain] == [delivery.operation for delivery in spoilt]


def test_lives_have_their_length_and_their_sources() -> None:
    """Every life has as many operations as asked for, and every source is played."""
    traffic = Traffic(5, sources=("a", "b", "c"), deployments=11, operations=6)
    lives = list(traffic.lives())
    assert len(lives) == traffic.size == 11 + 2
    assert sum(life.of_resources for life in lives) == 2
    assert all(len(list(life)) == 6 for life in lives)
    assert {life.source for life in lives} == {"a", "b", "c"}


def test_endless_lives_go_on_with_new_ones() -> None:
    """After the lives of a run come others, of the same kinds, with ids of their own."""
    traffic = Traffic(5, deployments=4)
    lives = traffic.lives(endless=True)
    first, second = ([next(lives) for _ in range(traffic.size)] for _ in range(2))
    assert [life.of_resources for life in first] == [life.of_resources for life in second]
    keys = [
        {claim.key for life in group for one in life for claim in one.operation.claims} for group in (first, second)
    ]
    assert not keys[0] & keys[1]


def test_operations_have_their_own_transaction() -> None:
    """All messages of an operation carry its transaction id, and no other operation has it."""
    deliveries = played(Traffic(11, deployments=30))
    transactions = Counter(delivery.operation.transaction for delivery in deliveries)
    assert set(transactions.values()) == {1}
    for delivery in deliveries:
        for message in delivery.operation.messages:
            assert message.headers["ESC_TRANSACTION_ID"] == delivery.operation.transaction


def test_every_script_is_played() -> None:
    """Enough traffic goes through every script there is, well and badly."""
    seen = {(one.operation.kind, one.operation.outcome) for one in played(Traffic(3, deployments=200, suspected=True))}
    assert {(script.kind, script.outcome) for script in SCRIPTS.values()} <= seen


def test_vms_interleave() -> None:
    """The lines of a deployment's VMs mix: some VM reports its last step before another its first."""
    deploys = [one.operation for one in played(Traffic(3, deployments=50)) if one.operation.kind == "deploy"]
    orders = [[message.event for message in deploy.messages] for deploy in deploys]
    assert any("VM_DEPLOYED" in order[order.index("VM_ALIVE") :] for order in orders if "VM_ALIVE" in order)


def test_ids_are_taken_again_after_an_undeploy() -> None:
    """An internal deployment id comes back as a new incarnation, with another external id."""
    keys = {one.operation.deployment for one in played(Traffic(3, deployments=50)) if one.operation.deployment}
    assert any(key[2] == 2 for key in keys)
    assert {(*key[:2], 1) for key in keys} <= keys


@pytest.mark.parametrize("style", HEADER_STYLES)
def test_headers_are_spelled_as_asked(style: str) -> None:
    """Each header style gives transaction, status code and message under its three names."""
    message = sendings(Traffic(1, header_style=style))[0].message
    assert set(message.headers) == {"Content-Type", *HEADER_STYLES[style]}


def test_events_and_callbacks_go_to_their_own_url() -> None:
    """What ESC reports of single VMs is an event, everything else a callback (docs/esc-callbacks.md#2)."""
    messages = [sending.message for sending in sendings(Traffic(3, deployments=50))]
    assert {(message.channel, message.root == "esc_event") for message in messages} == {
        ("callback", False),
        ("events", True),
    }


@pytest.mark.parametrize("wrong", [{"deployments": 0}, {"operations": 0}, {"sources": ()}, {"header_style": "loud"}])
def test_impossible_traffic_is_refused(wrong: dict[str, Any]) -> None:
    """Options that make no traffic are told at once."""
    with pytest.raises(SettingsError):
        Traffic(1, **wrong)


# The shape of the messages


def shape(body: bytes) -> frozenset[str]:
    """The element paths of a body; gateway and netmask aside, which depend on the VIM (docs/esc-callbacks.md#3.1)."""

    def walk(element: etree._Element, path: str) -> Iterator[str]:
        path = f"{path}/{etree.QName(element).localname}"
        yield path
        for child in element:
            yield from walk(child, path)

    paths = walk(etree.fromstring(body), "")
    return frozenset(path for path in paths if not path.endswith(("/gateway", "/netmask")))


def sample_shapes() -> Mapping[tuple[str, str, bool], set[frozenset[str]]]:
    """The shapes of the samples by root, stage or event, and whether it worked."""
    shapes: dict[tuple[str, str, bool], set[frozenset[str]]] = defaultdict(set)
    with (CALLBACKS / "index.tsv").open(encoding="utf-8") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            if row["file"].startswith(("seed-", "rec-")):
                body = (CALLBACKS / row["file"]).read_bytes()
                root = etree.fromstring(body)
                says = root.findtext("{*}deployment_stage") or root.findtext("{*}event_type") or ""
                shapes[etree.QName(root).localname, says, row["status_code"] == "200"].add(shape(body))
    return shapes


def test_messages_have_the_shape_of_the_samples() -> None:
    """Each message has the very elements of a sample of its kind; where there is none, of its root."""
    samples = sample_shapes()
    of_root: dict[str, set[str]] = defaultdict(set)
    for (root, _, _), shapes in samples.items():
        of_root[root] |= frozenset().union(*shapes)
    for sending in sendings(Traffic(3, deployments=150, operations=10, suspected=True)):
        message = sending.message
        shapes = samples.get((message.root, message.event, message.ok), set())
        assert shape(message.body) in shapes or (not shapes and shape(message.body) <= of_root[message.root])


def test_every_sample_is_played() -> None:
    """Whatever the samples show, the traffic shows too."""
    messages = [sending.message for sending in sendings(Traffic(3, deployments=150, operations=10, suspected=True))]
    assert set(sample_shapes()) <= {(message.root, message.event, message.ok) for message in messages}


def test_bodies_say_what_the_message_claims() -> None:
    """Stage or event and the VMs a message is said to name stand in its body."""
    for sending in sendings(Traffic(3, deployments=50)):
        root = etree.fromstring(sending.message.body)
        assert sending.message.event in (root.findtext("{*}deployment_stage"), root.findtext("{*}event_type"))
        names = [element.text for element in root.iter("{*}vm_name")]
        uuids = [element.text for element in root.iter("{*}vm_uuid")]
        assert list(zip(names, uuids, strict=True)) == list(sending.message.vms)


# Faults


def test_faults_are_read() -> None:
    """The comma list of the command line becomes chances."""
    assert Faults.of("duplicate=0.05, wrong-token=1") == Faults(duplicate=0.05, wrong_token=1.0)
    assert Faults.of("") == Faults()


def test_unreadable_faults_are_all_named() -> None:
    """Every part that is wrong is in the one message."""
    with pytest.raises(SettingsError, match=r"flood=1, gap=2, reorder=x, malformed"):
        Faults.of("duplicate=0.1,flood=1,gap=2,reorder=x,malformed")


def one_deploy() -> Operation:
    """A deploy of several messages."""
    return next(iter(Traffic(3).life(0))).operation


def spoilt(**faults: float) -> PlannedDelivery:
    """The deploy, with faults."""
    return inject_faults(one_deploy(), Faults(**faults), Random(1))


def test_repeats_follow_what_they_repeat() -> None:
    """A duplicate carries the same bytes and comes after the first."""
    delivery = spoilt(duplicate=1.0)
    assert len(delivery.sendings) == 2 * len(delivery.operation.messages)
    for position, message in enumerate(delivery.operation.messages):
        sorts = [one.sort for one in delivery.sendings if one.position == position]
        assert sorts == ["real", "duplicate"]
        assert {one.message.body for one in delivery.sendings if one.position == position} == {message.body}


def test_reordering_loses_nothing() -> None:
    """A reordered operation sends each of its messages once."""
    delivery = spoilt(reorder=1.0)
    positions = [sending.position for sending in delivery.sendings]
    assert delivery.reordered
    assert sorted(positions) == list(range(len(delivery.operation.messages)))


def test_a_gap_is_never_sent() -> None:
    """What falls into a gap is not sent, and the expected state counts it."""
    expected, delivery = ExpectedState(), spoilt(gap=1.0)
    expected.record(delivery, [])
    assert not delivery.sendings
    assert expected.gaps == len(delivery.operation.messages)


def test_malformed_bodies_are_no_xml() -> None:
    """No malformed body can be read by a parser that refuses DTDs, and the true message still goes out."""
    for sending in sendings(Traffic(3, deployments=30, faults=Faults(malformed=1.0))):
        if sending.sort == "malformed" and b"<!DOCTYPE" not in sending.message.body:
            with pytest.raises(etree.XMLSyntaxError):
                etree.fromstring(sending.message.body)


def test_unknown_messages_are_well_formed() -> None:
    """Messages of unknown root, stage or event parse, and say nothing that any script says."""
    known = {message.event for one in played(Traffic(3, deployments=100)) for message in one.operation.messages}
    unknown = [one for one in sendings(Traffic(3, faults=Faults(unknown=1.0))) if one.sort == "unknown"]
    assert {etree.QName(etree.fromstring(one.message.body)).localname for one in unknown} == {
        "deployment",
        "esc_event",
        "widget",
    }
    assert not known & {one.message.event for one in unknown}


# The expected state


class Stage:
    """A deployment on which scripts are performed one after the other, with messages lost where asked."""

    def __init__(self) -> None:
        self.rng = Random(1)
        self.expected = ExpectedState()
        tenant = make_tenant("lab", 0)
        self.deployment = make_deployment("lab", tenant, "openstack", "x", self.rng)
        self.watched = self.add_vm(monitorable=True)
        self.unwatched = self.add_vm(monitorable=False)

    def add_vm(self, *, monitorable: bool) -> Vm:
        """One VM more, not deployed yet."""
        vm = make_vm(self.deployment, self.rng, monitorable=monitorable)
        self.deployment.vms.append(vm)
        return vm

    def play(self, name: str, cast: Mapping[str, Sequence[Vm]], lost: Mapping[str, Fate] | None = None) -> Operation:
        """Performs a script; `lost` says what became of messages by what they say."""
        operation = run_script(SCRIPTS[name], self.deployment, cast, (), style="printed", rng=self.rng)
        delivery = inject_faults(operation, Faults(), self.rng)
        self.expected.record(delivery, [(lost or {}).get(message.event, "kept") for message in operation.messages])
        return operation

    def deploy(self, lost: Mapping[str, Fate] | None = None) -> Operation:
        """Both VMs come up."""
        return self.play("deploy", {"monitored": [self.watched], "unmonitored": [self.unwatched]}, lost)

    def state(self, vm: Vm | None = None) -> str:
        """What is claimed; "" for nothing, "a or b" for a choice."""
        key = key_of(self.deployment)
        entity = self.expected.entities["vm"][(*key, vm.name)] if vm else self.expected.entities["deployment"][key]
        return " or ".join(sorted(entity.fields.get("state", ())))

    def outcome(self, operation: Operation) -> str:
        """The claimed state of the operation, likewise."""
        fields = self.expected.entities["operation"][operation.source, operation.transaction].fields
        return " or ".join(sorted(fields.get("state", ())))

    def actual(self) -> dict[str, dict[Any, Any]]:
        """What a receiver would have to show so that nothing differs."""
        sections = {"deployments": "deployment", "vms": "vm", "operations": "operation"}
        return {
            section: {
                key: {name: next(iter(values)) for name, values in one.fields.items() if values}
                for key, one in self.expected.entities[kind].items()  # type: ignore[index]  # the kinds are spelled above
            }
            for section, kind in sections.items()
        }


ENDS = [
    # script, cast, then the state of deployment, watched VM, unwatched VM, operation
    ("update", {"changed": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("update", {"removed": "w"}, ("ACTIVE", "UNDEPLOYED", "INERT", "SUCCEEDED")),
    ("update-fails", {"failed": "new"}, ("ACTIVE", "ALIVE", "INERT", "FAILED")),
    ("stop", {"up": "wu"}, ("STOPPED", "STOPPED", "STOPPED", "SUCCEEDED")),
    ("stop-fails", {"up": "w"}, ("ACTIVE", "STOPPED", "INERT", "FAILED")),
    ("reboot", {"monitored": "w", "unmonitored": "u"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("reboot-fails", {"failed": "w"}, ("ERROR", "ALIVE", "INERT", "FAILED")),
    ("monitor-off", {"unwatched": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("monitor-on", {"watched": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("monitor-on-fails", {}, ("ACTIVE", "ALIVE", "INERT", "FAILED")),
    ("vm-stop", {"subject": "w"}, ("ACTIVE", "STOPPED", "INERT", "SUCCEEDED")),
    ("vm-stop-fails", {"subject": "w"}, ("ACTIVE", "ALIVE", "INERT", "FAILED")),
    ("vm-reboot", {"monitored": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("vm-reboot", {"unmonitored": "u"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("vm-monitor-off", {"subject": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("recovery-reboot", {"sick": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("recovery-redeploy", {"sick": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("recovery-redeploy-twice", {"sick": "w"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("recovery-fails", {"sick": "w"}, ("ERROR", "ERROR", "INERT", "FAILED")),
    ("recovery-fails-redeployed", {"sick": "w"}, ("ERROR", "ERROR", "INERT", "FAILED")),
    ("recovery-cancelled", {"sick": "w"}, ("ACTIVE", "ALIVE", "INERT", "CANCELLED")),
    ("recovery-manual", {"sick": "w"}, ("ACTIVE", "ERROR", "INERT", "")),
    ("scale-out", {"busy": "w", "born": "new"}, ("ACTIVE", "ALIVE", "INERT", "SUCCEEDED")),
    ("scale-out-fails", {"busy": "w"}, ("ACTIVE", "ALIVE", "INERT", "FAILED")),
    ("scale-in", {"idle": "w"}, ("ACTIVE", "UNDEPLOYED", "INERT", "SUCCEEDED")),
    ("scale-in-fails", {"idle": "w"}, ("ACTIVE", "", "INERT", "FAILED")),
    ("undeploy", {"gone": "wu"}, ("UNDEPLOYED", "UNDEPLOYED", "UNDEPLOYED", "SUCCEEDED")),
    ("undeploy-fails", {"gone": "u", "leaked": "w"}, ("UNDEPLOYED", "UNDEPLOYED", "UNDEPLOYED", "FAILED")),
]


@pytest.mark.parametrize(("script", "cast", "ends"), ENDS)
def test_an_operation_ends_as_the_reference_says(
    script: str, cast: dict[str, str], ends: tuple[str, str, str, str]
) -> None:
    """After a successful deploy each script leaves deployment, VMs and operation where section 5 puts them."""
    stage = Stage()
    stage.deploy()
    vms = {"w": [stage.watched], "u": [stage.unwatched], "wu": [stage.watched, stage.unwatched]}
    new = {"new": [make_vm(stage.deployment, stage.rng, monitorable=True)]}
    operation = stage.play(script, {role: {**vms, **new}[who] for role, who in cast.items()})
    states = stage.state(), stage.state(stage.watched), stage.state(stage.unwatched), stage.outcome(operation)
    assert states == ends


def test_a_failed_deploy_ends_in_error() -> None:
    """The VMs that came up are up, the one that could not be made never was, the deployment is in error."""
    stage = Stage()
    failed = make_vm(stage.deployment, stage.rng, monitorable=True)
    cast = {"monitored": [stage.watched], "unmonitored": [stage.unwatched], "failed": [failed]}
    operation = stage.play("deploy-fails", cast)
    assert (stage.state(), stage.state(stage.watched), stage.outcome(operation)) == ("ERROR", "ALIVE", "FAILED")
    assert not [key for key in stage.expected.entities["vm"] if failed.name in key]


def test_a_stopped_service_starts_again() -> None:
    """Stop and start lead back: a failed start leaves it stopped, a good one active, unmonitored VMs inert."""
    stage = Stage()
    stage.deploy()
    stage.play("stop", {"up": [stage.watched, stage.unwatched]})
    stage.play("start-fails", {})
    assert (stage.state(), stage.state(stage.watched)) == ("STOPPED", "STOPPED")
    stage.play("start", {"monitored": [stage.watched], "unmonitored": [stage.unwatched]})
    assert (stage.state(), stage.state(stage.watched), stage.state(stage.unwatched)) == ("ACTIVE", "ALIVE", "INERT")


def aliases(stage: Stage) -> tuple[set[str], set[str], set[str]]:
    """The uuid the watched VM has now, those it must have had, and those it may."""
    vm = stage.expected.entities["vm"][(*key_of(stage.deployment), stage.watched.name)]
    return set(vm.fields["vm_uuid"]), vm.uuids_known, vm.uuids_possible


def test_a_redeploy_gives_another_uuid() -> None:
    """After a recovery by redeploy the VM has the new uuid, and the old one as an alias."""
    stage = Stage()
    stage.deploy()
    old = stage.watched.instance.vm_uuid
    stage.play("recovery-redeploy", {"sick": [stage.watched]})
    new = stage.watched.instance.vm_uuid
    assert new != old
    assert aliases(stage) == ({new}, {old, new}, {old, new})


def test_a_lost_closing_message_leaves_the_operation_open() -> None:
    """Without SERVICE_ALIVE nothing is claimed of the deployment, the VMs are known, and the operation is open."""
    stage = Stage()
    operation = stage.deploy({"SERVICE_ALIVE": "lost"})
    assert (stage.state(), stage.state(stage.watched)) == ("", "ALIVE")
    assert stage.outcome(operation) == "OPEN or OVERDUE"


def test_an_unsure_closing_message_leaves_everything_open() -> None:
    """When the answer to the closing message never came, the operation may have ended or not."""
    stage = Stage()
    operation = stage.deploy({"SERVICE_ALIVE": "unsure"})
    assert (stage.state(), stage.outcome(operation)) == ("", "")


def test_what_was_lost_is_known_again_after_the_next_operation() -> None:
    """A VM whose VM_ALIVE was lost is unknown until a stop tells of it."""
    stage = Stage()
    stage.deploy({"VM_ALIVE": "lost"})
    assert stage.state(stage.watched) == ""
    stage.play("stop", {"up": [stage.watched, stage.unwatched]})
    assert stage.state(stage.watched) == "STOPPED"


def test_a_claim_that_needs_the_past_is_not_made_without_it() -> None:
    """A failed start means STOPPED only to whoever knew the deployment was stopped."""
    stage = Stage()
    stage.deploy()
    stage.play("stop", {"up": [stage.watched, stage.unwatched]}, {"SERVICE_STOPPED": "lost"})
    stage.play("start-fails", {})
    assert stage.state() == ""


def test_a_vm_nobody_told_of_need_not_be_there() -> None:
    """The undeploy speaks for all VMs, but one that no message has named cannot be missed."""
    stage = Stage()
    stage.deploy({"VM_DEPLOYED": "lost", "VM_ALIVE": "lost"})
    stage.play("undeploy", {"gone": [stage.watched, stage.unwatched]}, {"VM_UNDEPLOYED": "lost"})
    actual = stage.actual()
    actual["vms"] = {}
    assert stage.expected.check(actual) == []


def redeployed(lost: Mapping[str, Fate]) -> tuple[Stage, Deployment]:
    """A deployment undeployed, with losses, whose id is then taken again."""
    stage = Stage()
    stage.deploy()
    stage.play("undeploy", {"gone": [stage.watched, stage.unwatched]}, lost)
    first = stage.deployment
    stage.deployment = first.next_incarnation(stage.rng)
    stage.watched, stage.unwatched = stage.add_vm(monitorable=True), stage.add_vm(monitorable=False)
    stage.deploy()
    return stage, first


def test_a_reused_id_is_a_new_incarnation() -> None:
    """The old incarnation stays undeployed while the new one is active."""
    stage, first = redeployed({})
    assert stage.state() == "ACTIVE"
    assert stage.expected.entities["deployment"][key_of(first)].fields["state"] == {"UNDEPLOYED"}


def test_nothing_is_claimed_of_incarnations_that_cannot_be_told_apart() -> None:
    """Whoever missed the undeploy takes both incarnations for one: neither is claimed, nor found superfluous."""
    stage, first = redeployed({"SERVICE_UNDEPLOYED": "lost"})
    assert stage.state() == ""
    assert not stage.expected.entities["deployment"][key_of(first)].exists
    mixed: dict[Any, Any] = {
        **{key: {} for key in stage.expected.entities["deployment"]},
        ("lab", first.internal_id, 9): {},
    }
    assert stage.expected.check({"deployments": mixed}) == []


# The check


def test_check_finds_nothing_in_the_claimed_state() -> None:
    """A receiver that shows exactly what is claimed gets no complaint, of whatever fault the traffic had."""
    expected = ExpectedState()
    for delivery in played(Traffic(9, deployments=30, faults=ALL_FAULTS)):
        expected.record(delivery, ["lost" if one.sort == "wrong-token" else "kept" for one in delivery.sendings])
    sections = {"deployments": "deployment", "vms": "vm", "operations": "operation", "resources": "resource"}
    actual = {
        section: {
            key: {name: max(values) for name, values in one.fields.items() if values}
            for key, one in expected.entities[kind].items()  # type: ignore[index]  # the kinds are spelled above
        }
        for section, kind in sections.items()
    }
    kept = Counter(sort for (sort, fate), number in expected.sent.items() for _ in range(number) if fate == "kept")
    outcomes = {
        "applied": kept["real"],
        "duplicate": kept["duplicate"],
        "unclassified": kept["unknown"],
        "malformed": kept["malformed"],
    }
    assert expected.check({**actual, "outcomes": outcomes}) == []


def test_check_names_a_wrong_state() -> None:
    """A state other than the claimed one is told with both."""
    stage = Stage()
    stage.deploy()
    actual = stage.actual()
    actual["deployments"][key_of(stage.deployment)]["state"] = "STOPPED"
    (found,) = stage.expected.check(actual)
    assert str(found).endswith("state should be ACTIVE, but is STOPPED")


def test_check_names_what_is_missing_and_what_should_not_be() -> None:
    """Both a missing VM and one the traffic never had are told."""
    stage = Stage()
    stage.deploy()
    actual = stage.actual()
    vm = actual["vms"].pop((*key_of(stage.deployment), stage.watched.name))
    actual["vms"][*key_of(stage.deployment), "ghost"] = vm
    found = {(one.field, one.expected, one.actual) for one in stage.expected.check(actual)}
    assert found == {("existence", "there", "missing"), ("existence", "unknown to the simulator", "there")}


def test_check_wants_the_aliases_of_a_vm() -> None:
    """A VM that has forgotten its old uuid, or has one of another, is told."""
    stage = Stage()
    stage.deploy()
    stage.play("recovery-redeploy", {"sick": [stage.watched]})
    key = (*key_of(stage.deployment), stage.watched.name)
    _, known, _ = aliases(stage)
    for wrong in ({stage.watched.instance.vm_uuid}, {*known, "stranger"}):
        actual = stage.actual()
        actual["vms"][key]["aliases"] = list(wrong)
        assert [one.field for one in stage.expected.check(actual)] == ["aliases"]
    actual["vms"][key]["aliases"] = list(known)
    assert stage.expected.check(actual) == []


def test_what_has_ended_may_be_absent_when_told_so() -> None:
    """A bucket that drops what is undeployed is right, unless everything was asked for."""
    stage = Stage()
    stage.deploy()
    stage.play("undeploy", {"gone": [stage.watched, stage.unwatched]})
    empty: dict[str, dict[Any, Any]] = {"deployments": {}, "vms": {}}
    assert len(stage.expected.check(empty)) == 3
    assert stage.expected.check(empty, ended_may_be_absent=True) == []


def test_check_counts_callbacks_by_outcome() -> None:
    """One callback too few, or a repeat that nobody sent, is told."""
    stage = Stage()
    number = len(stage.deploy().messages)
    assert stage.expected.check({"outcomes": {"applied": number}}) == []
    assert [one.key for one in stage.expected.check({"outcomes": {"applied": number - 1}})] == [
        "applied + duplicate + late"
    ]
    assert [one.key for one in stage.expected.check({"outcomes": {"applied": number - 1, "late": 1}})] == [
        "duplicate + late"
    ]


def test_claims_hold_however_the_messages_are_ordered() -> None:
    """Reordering and repetition change no claim on a state."""
    plain, with_faults = ExpectedState(), ExpectedState()
    faults = Faults(reorder=1.0, duplicate=0.5)
    for expected, traffic in ((plain, Traffic(4)), (with_faults, Traffic(4, faults=faults))):
        for delivery in played(traffic):
            expected.record(delivery, ["kept"] * len(delivery.sendings))
    for kind, entities in plain.entities.items():
        others = with_faults.entities[kind]
        assert {key: one.fields for key, one in entities.items()} == {key: one.fields for key, one in others.items()}
