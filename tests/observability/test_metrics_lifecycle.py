"""The lifecycle in figures: what messages did is counted and timed, and nothing is counted twice."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from receiver.config.settings import Settings
from receiver.lifecycle import stage_rules
from receiver.model.notification import Notification, ResourceReport
from receiver.observability.lifecycle_metrics import ATTEMPTS, ENDS, STARTED, Flapping
from receiver.observability.metrics import Metrics
from tests.support.figures import samples
from tests.support.lifecycle import World, notification


class Told:
    """A world whose decisions are told as figures."""

    def __init__(self, *, recoveries: int = 3, tenants: int = 5) -> None:
        settings = Settings(flapping_recoveries=recoveries, flapping_vms_max=100, tenants_max=tenants)
        self.metrics = Metrics(settings=settings)
        self.registry = self.metrics.registry
        self.world = World()

    def hear(self, *notifications: Notification) -> None:
        """As receivers do: judged, then told."""
        for one in notifications:
            self.metrics.count_decision(self.world.hear(one))

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        """The figures of a name that are not zero."""
        return {labels: value for labels, value in samples(self.registry, f"esc_receiver_{name}").items() if value}


def deployed(txn: str = "t1", *, at_s: float = 0) -> list[Notification]:
    """A deployment with one VM that comes up in 40 seconds."""
    return [
        notification("VM_DEPLOYED", vm="a", uuid="u1", txn=txn, service="DEPLOYING", at_s=at_s),
        notification("VM_ALIVE", vm="a", uuid="u1", txn=txn, at_s=at_s + 30),
        notification("SERVICE_ALIVE", txn=txn, service="ACTIVE", at_s=at_s + 40),
    ]


def recovery(
    txn: str, *, at_s: float, closing: str = "VM_RECOVERY_COMPLETE", failed: bool = False
) -> list[Notification]:
    """One that first fails to reboot the VM, then deploys it anew, within 20 seconds."""
    return [
        notification("VM_RECOVERY_INIT", vm="a", uuid="u1", txn=txn, at_s=at_s),
        notification("VM_RECOVERY_REBOOT", vm="a", uuid="u1", txn=txn, failed=True, at_s=at_s + 5),
        notification("VM_RECOVERY_UNDEPLOYED", vm="a", uuid="u1", txn=txn, at_s=at_s + 10),
        notification("VM_RECOVERY_DEPLOYED", vm="a", uuid="u1", target="u2", txn=txn, at_s=at_s + 15),
        notification(closing, vm="a", uuid="u1", target="u2", txn=txn, failed=failed, at_s=at_s + 20),
    ]


def test_an_operation_that_ended_is_counted_once_and_timed() -> None:
    """Also when its messages are repeated; the time is from its first message to its end."""
    told = Told()
    told.hear(*deployed(), *deployed())
    assert told.shown("operations_ended_total") == {("lab", "deploy", "succeeded"): 1}
    assert told.shown("operation_seconds_sum") == {("deploy",): 40}
    assert told.shown("operation_seconds_count") == {("deploy",): 1}
    assert told.shown("tenant_operations_total") == {("tenant", "succeeded"): 1}


def test_a_failed_operation_is_counted_and_not_timed_among_those_that_succeeded() -> None:
    """What fails quickly would make the others look quick."""
    told = Told()
    told.hear(*deployed()[:2], notification("SERVICE_ALIVE", failed=True, at_s=40))
    assert told.shown("operations_ended_total") == {("lab", "deploy", "failed"): 1}
    assert told.shown("operation_seconds_count") == {}


def test_operations_of_resources_are_one_kind() -> None:
    """Their kinds are ESC's events, an open set."""
    told = Told()
    told.hear(notification("CREATE_IMAGE", resource=ResourceReport("image", "i1"), deployment=None))
    assert told.shown("operations_ended_total") == {("lab", "resource", "succeeded"): 1}


def test_recoveries_are_counted_with_what_they_tried() -> None:
    """Begun, each attempt and how it went, and the end."""
    told = Told()
    told.hear(*deployed(), *recovery("r1", at_s=1000), *recovery("r2", at_s=2000, failed=True))
    assert told.shown("recoveries_started_total") == {("lab",): 2}
    assert told.shown("recovery_attempts_total") == {
        ("reboot", "failed"): 2,
        ("undeploy", "succeeded"): 2,
        ("deploy", "succeeded"): 2,
    }
    assert told.shown("recoveries_ended_total") == {("recovered",): 1, ("failed",): 1}


def test_every_rule_that_is_counted_is_one_of_the_lifecycles() -> None:
    """A rule that is renamed must be renamed here."""
    rules = {row.rule for row in stage_rules.VM.values()}
    assert {*ENDS, *ATTEMPTS, STARTED} <= rules
    assert {rule for rule in rules if "recover" in rule} == {*ENDS, *ATTEMPTS, STARTED}


def test_a_vm_that_is_recovered_again_and_again_is_flapping() -> None:
    """From the third recovery within an hour on, until an hour has passed."""
    told = Told(recoveries=3)
    told.hear(*deployed())
    for number in range(4):
        told.hear(*recovery(f"r{number}", at_s=1000 + 400 * number))
    assert told.shown("flapping_total") == {(): 2}
    last = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + 2200
    flapping = [told.metrics.lifecycle.flapping.now(last + later_s) for later_s in (0, 2801, 3700)]
    assert flapping == [{"lab": 1}, {}, {}]


def test_no_more_vms_are_remembered_than_may_be() -> None:
    """The one silent for longest is forgotten."""
    flapping = Flapping(recoveries=2, window_s=100, vms_max=2)
    one, two, three = (UUID(int=number) for number in range(3))
    assert [flapping.recovered("lab1", vm, 1.0) for vm in (one, two, three)] == [False] * 3
    assert [flapping.recovered("lab1", vm, 2.0) for vm in (three, one)] == [True, False]


def test_tenants_beyond_the_cap_are_one_and_are_counted() -> None:
    """A name from outside must not make as many series as it likes."""
    told = Told(tenants=1)
    told.hear(*deployed())
    for number in range(3):
        image = ResourceReport("image", f"i{number}", internal_tenant_id=f"other-{number}")
        told.hear(notification("CREATE_IMAGE", resource=image, deployment=None, txn=f"i{number}"))
    assert told.shown("tenant_operations_total") == {("tenant", "succeeded"): 1, ("(other)", "succeeded"): 3}
    assert told.shown("tenants_folded_total") == {(): 3}


@pytest.mark.parametrize("name", ["x" * 300, "é" * 65, "名" * 43, "\U0001f9ea" * 33, "x" * 129])
def test_a_label_from_outside_is_no_longer_than_prometheus_takes(name: str) -> None:
    """It would drop the whole scrape; names that begin alike stay apart, and each use of one is counted."""
    told = Told()
    for tenant in (name, name + "1", "y" * 128):
        image = ResourceReport("image", "i", internal_tenant_id=tenant)
        told.hear(notification("CREATE_IMAGE", resource=image, deployment=None, txn=f"txn-{len(tenant)}"))
    tenants = [tenant for tenant, _ in told.shown("tenant_operations_total")]
    assert len(set(tenants)) == 3
    assert all(len(tenant.encode()) <= 128 for tenant in tenants)
    assert "y" * 128 in tenants
    assert told.shown("labels_cut_total") == {(): 2}


@pytest.mark.parametrize("name", ["operation_seconds_bucket"])
def test_durations_show_the_last_transaction_of_each_bucket(name: str) -> None:
    """As an exemplar: from a slow bucket to the operation in one step."""
    told = Told()
    told.hear(*deployed("tx-9"))
    exemplars = [
        sample.exemplar.labels
        for family in told.registry.collect()
        for sample in family.samples
        if sample.name.endswith(name) and sample.exemplar
    ]
    assert exemplars == [{"transaction_id": "tx-9"}]


def test_time_in_a_state_is_told_when_it_is_left() -> None:
    """By the callbacks' own times; the states never left, or never entered before our eyes, tell none."""
    told = Told()
    told.hear(*deployed(), *recovery("r1", at_s=1000))
    assert told.shown("vm_state_seconds_sum") == {("INERT",): 30, ("ALIVE",): 970, ("RECOVERING",): 20}
    assert told.shown("vm_state_seconds_count") == {("INERT",): 1, ("ALIVE",): 1, ("RECOVERING",): 1}
    assert told.shown("step_seconds_sum") == {
        ("vm-inert-alive",): 30,
        ("vm-recovering-alive",): 20,
        ("deployment-deploying-active",): 40,
    }


def test_a_deployment_that_goes_ends_the_time_of_its_vms() -> None:
    """Each leaves the state that it was in."""
    told = Told()
    told.hear(*deployed(), notification("SERVICE_UNDEPLOYED", txn="t2", at_s=100))
    assert told.shown("vm_state_seconds_sum") == {("INERT",): 30, ("ALIVE",): 70}
