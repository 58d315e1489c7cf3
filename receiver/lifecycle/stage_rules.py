"""The lifecycle as data: what each stage or event does to a VM and a deployment (`operation_tables`: to an operation).

One row a trigger and outcome. A row names the state it leads to and its rank: among the messages that
one operation sends about one entity, a message never undoes one of higher rank, so that any order and
any repetition ends in the same state (docs/lifecycle.md#rulings). Which state an entity comes from matters
only where a row says so. This file must not know how rows are applied (`vm`, `deployment`, `operation`,
`resource` beside it). Source: docs/esc-callbacks.md#6, with docs/lifecycle.md#rulings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from receiver.model.entities import DeploymentState as D
from receiver.model.entities import SourceState as S
from receiver.model.entities import VmState as V

OK: Final = False
FAILED: Final = True


@dataclass(frozen=True, slots=True)
class VmRow:
    """What a message does to the VM it is about."""

    rule: str
    rank: int
    to: str | None
    """The state it leads to; None: the VM keeps its state."""
    reason: str
    refine: frozenset[str] = frozenset()
    """Reported states that take the place of `to`."""
    shows: bool = False
    """On a VM never seen before, the reported state is taken (else `shows_else`)."""
    shows_else: str | None = None
    note: str | None = None
    """The ledger's note when the message is new but the state stays."""
    monitored: bool | None = None
    about: str = "source"
    """The side of the message that shows the VM; `every`: it is about all VMs of the service, and counts none."""
    exempt: bool = False
    """Never late for another operation: recovery and scaling interleave with requests (docs/esc-callbacks.md#U53); what
    is gone is gone."""
    recovery: str | None = None
    """`opens`, `step`, `closes`: its place in a recovery."""
    chain: str = "up"
    """Among messages without a transaction id, only those of one chain can be late for each other."""


Rows = dict[tuple[str, bool], VmRow]


def _ok(
    triggers: str, rule: str, rank: int, to: str | None, reason: str, *, also_failed: bool = False, **more: Any
) -> Rows:
    """The same row for several triggers that tell of success, or whatever the status code says."""
    outcomes = (OK, FAILED) if also_failed else (OK,)
    return {
        (trigger, outcome): VmRow(rule, rank, to, reason, **more)
        for trigger in triggers.split()
        for outcome in outcomes
    }


def _failed(triggers: str, rule: str, rank: int, to: str | None, reason: str, **more: Any) -> Rows:
    return {(trigger, FAILED): VmRow(rule, rank, to, reason, **more) for trigger in triggers.split()}


def _in_vain(triggers: str, what: str, **more: Any) -> Rows:
    """A failed operation leaves the VM as it was (docs/esc-callbacks.md#A52)."""
    reason = f"{what} failed; it keeps its state"
    return _failed(triggers, "vm-operation-failed", 1, None, reason, note="operation_failed", **more)


def _recovery(
    trigger: str, rule: str, rank: int, to: str | None, reason: str, *, place: str = "step", **more: Any
) -> Rows:
    return _ok(trigger, rule, rank, to, reason, exempt=True, recovery=place, chain="recovery", **more)


def _recovery_failed(trigger: str, rule: str, rank: int, to: str | None, reason: str, *, place: str = "step") -> Rows:
    return _failed(trigger, rule, rank, to, reason, exempt=True, recovery=place, chain="recovery")


_SHOWING = {
    # Lowest, because any stage that names a state knows better.
    **_ok("VM_MONITOR_UNSET", "vm-monitor-unset", 2, None, "monitoring was switched off",
          shows=True, monitored=False, note="unmonitored"),
    **_ok("VM_MONITOR_SET", "vm-monitor-set", 3, None, "monitoring was switched on",
          shows=True, monitored=True, note="monitored"),
    **_ok("VM_SOFTWARE_VERSION_UPDATED", "vm-software-updated", 4, None, "its software version was changed",
          shows=True, shows_else=V.ALIVE, note="updated"),
    **_ok("VM_UPDATED", "vm-updated", 5, None, "it was changed by an update and keeps its state",
          shows=True, shows_else=V.ALIVE, note="updated"),
    # Above coming up: it follows the stage that closes an update. Retried, it cannot be told which came last: that it
    # failed is assumed, because then somebody looks. Never late: it tells of the agent that monitors from now on.
    **_ok("VM_SET_MONITOR_STATUS", "vm-monitor-taken-over", 40, None, "the new monitoring agent monitors it",
          shows=True, monitored=True, note="monitored", exempt=True),
    **_failed("VM_SET_MONITOR_STATUS", "vm-monitor-lost", 41, None,
              "the new monitoring agent did not take it: nobody recovers it until it is monitored again",
              shows=True, monitored=False, note="unmonitored", exempt=True),
}  # fmt: skip
_IN_VAIN = {
    **_in_vain("VM_MONITOR_UNSET", "switching monitoring off", shows=True),
    **_in_vain("VM_MONITOR_SET", "switching monitoring on", shows=True),
    **_in_vain("VM_SOFTWARE_VERSION_UPDATED", "changing its software", shows=True),
    **_in_vain("VM_UPDATED", "the update of it", shows=True),
    **_in_vain("VM_ALIVE", "bringing it up", shows=True),
    **_in_vain("VM_STARTED VM_START_COMPLETE", "the start", shows=True),
    **_in_vain("VM_REBOOTED VM_REBOOT_COMPLETE", "the reboot", shows=True),
    **_in_vain("VM_STOPPED VM_STOP_COMPLETE", "the stop", shows=True),
    **_in_vain("VM_SCALE_IN_INIT", "beginning to scale in", exempt=True, chain="remove"),
    **_in_vain("VM_SCALE_IN_COMPLETE", "scaling in", exempt=True, chain="remove"),
}
_IF_ALIVE = frozenset({V.ALIVE})
_COMING_UP = {
    **_ok("VM_DEPLOYED", "vm-deployed", 10, V.INERT, "it was created in the VIM; nobody has seen it alive yet"),
    **_failed("VM_DEPLOYED", "vm-deploy-failed", 11, V.ERROR, "it could not be created"),
    **_ok("VM_SCALE_OUT_DEPLOYED", "vm-scale-out-deployed", 10, V.INERT, "scaling out created it",
          about="target", exempt=True),
    **_failed("VM_SCALE_OUT_DEPLOYED", "vm-scale-out-failed", 11, V.ERROR, "scaling out could not create it",
              about="target", exempt=True),
    **_ok("VM_STARTED VM_START_COMPLETE", "vm-started", 20, V.INERT,
          "it was started; nobody has seen it alive yet", refine=_IF_ALIVE),
    **_ok("VM_REBOOTED VM_REBOOT_COMPLETE", "vm-rebooted", 20, V.INERT,
          "it was rebooted; nobody has seen it alive yet", refine=_IF_ALIVE),
    **_ok("VM_ALIVE", "vm-alive", 30, V.ALIVE, "its monitor has reached it", monitored=True),
    **_ok("VM_SCALE_OUT_COMPLETE", "vm-scaled-out", 30, V.ALIVE, "scaling out has finished with it",
          about="target", exempt=True),
    **_failed("VM_SCALE_OUT_COMPLETE", "vm-scale-out-failed", 35, V.ERROR, "scaling out failed with it",
              about="target", exempt=True),
}  # fmt: skip
_STOPPING = {
    # Above coming up: within one operation VM_ALIVE after a stop is late (docs/esc-callbacks.md#6.1).
    **_ok("VM_STOPPED VM_STOP_COMPLETE", "vm-stopped", 50, V.STOPPED, "it was stopped", chain="stop"),
}
_RECOVERY = {
    # Above the deploy stages of an operation whose id it shares. A failed step leads on to the next.
    **_recovery("VM_RECOVERY_INIT", "vm-recovery-started", 60, V.RECOVERING, "ESC began to recover it",
                place="opens", also_failed=True),
    # INIT then MANUAL_NEEDED, and the other way round, look the same within one id: waiting for a person
    # is assumed, because a step of a running recovery outranks it soon.
    **_recovery("VM_MANUAL_RECOVERY_NEEDED", "vm-manual-recovery-needed", 61, V.ERROR,
                "its recovery policy is manual: it waits for recovery-vm", place="manual", also_failed=True),
    **_recovery("VM_RECOVERY_REBOOT", "vm-recovery-rebooted", 62, V.RECOVERING, "recovery rebooted it"),
    **_recovery_failed("VM_RECOVERY_REBOOT", "vm-recovery-reboot-failed", 62, V.RECOVERING,
                       "recovery could not reboot it; a redeploy may follow"),
    **_recovery("VM_RECOVERY_UNDEPLOYED", "vm-recovery-undeployed", 63, V.RECOVERING,
                "recovery removed the old instance"),
    **_recovery_failed("VM_RECOVERY_UNDEPLOYED", "vm-recovery-undeploy-failed", 63, V.RECOVERING,
                       "recovery could not remove the old instance"),
    **_recovery("VM_RECOVERY_DEPLOYED", "vm-recovery-deployed", 64, V.RECOVERING,
                "recovery created a new instance", note="redeployed"),
    **_recovery_failed("VM_RECOVERY_DEPLOYED", "vm-recovery-deploy-failed", 64, V.RECOVERING,
                       "recovery could not create a new instance; it may try again"),
    **_recovery("VM_RECOVERY_CANCELLED", "vm-recovery-cancelled", 70, V.ALIVE, "it came back before recovery acted",
                place="closes", also_failed=True),
    **_recovery("VM_RECOVERY_COMPLETE", "vm-recovered", 71, V.ALIVE, "recovery brought it back", place="closes"),
    **_recovery_failed("VM_RECOVERY_COMPLETE", "vm-recovery-failed", 72, V.ERROR,
                       "every attempt to recover it failed", place="closes"),
}  # fmt: skip
_GOING = {
    # Gone outranks all.
    **_ok("VM_SCALE_IN_INIT", "vm-scale-in-started", 6, None, "scaling in chose it to go", exempt=True, chain="remove"),
    **_failed("VM_UNDEPLOYED", "vm-undeploy-failed", 80, V.ERROR, "it could not be removed", chain="remove"),
    **_ok("VM_UNDEPLOYED", "vm-undeployed", 90, V.UNDEPLOYED, "it was removed", exempt=True, chain="remove"),
    **_ok("VM_SCALE_IN_COMPLETE", "vm-scaled-in", 90, V.UNDEPLOYED, "scaling in removed it",
          exempt=True, chain="remove"),
}  # fmt: skip

VM: Final[Mapping[tuple[str, bool], VmRow]] = _SHOWING | _IN_VAIN | _COMING_UP | _STOPPING | _RECOVERY | _GOING
"""By trigger and whether it failed (docs/esc-callbacks.md#6.1)."""

EVERY_VM: Final[Mapping[tuple[str, bool], VmRow]] = _ok(
    "SERVICE_MONITOR_UNSET", "vm-unmonitored-with-service", 1, None, "monitoring of its whole service was switched off",
    monitored=False, note="unmonitored", about="every",
)  # fmt: skip
"""What a service's stage says of every VM of the service, also of those that its operation names later. Lowest, because
a VM's own message knows better. SERVICE_MONITOR_SET is not among them: not every VM can be monitored."""

RECOVERY_RANK_MAX: Final = 72
"""What ranks above has ended any recovery of the VM too."""
FAILURE_SHOWS: Final = 100
"""Added to a failure's rank where the last operation's outcome is shown: no success hides a failure."""

RECOVERY_TARGETS: Final = frozenset({"VM_RECOVERY_DEPLOYED", "VM_RECOVERY_COMPLETE"})
"""Recovery steps whose `vm_target` is the instance that lives on."""


class Workflow(NamedTuple):
    """Work that ESC does on a VM in several steps, and the place of one of its messages in it."""

    name: str
    ends: bool
    shown_by: str
    """The side of the message that names the VM: `source`, `target` or `either`."""
    is_open: str
    """In words, a VM of which it was told and whose end is missing."""


def _workflow(name: str, steps: str, ends: str, shown_by: str, is_open: str) -> dict[str, Workflow]:
    return {
        trigger: Workflow(name, trigger in ends.split(), shown_by, is_open) for trigger in f"{steps} {ends}".split()
    }


WORKFLOWS: Final[Mapping[str, Workflow]] = {
    **_workflow("recovery",
                "VM_RECOVERY_INIT VM_MANUAL_RECOVERY_NEEDED VM_RECOVERY_REBOOT VM_RECOVERY_UNDEPLOYED "
                "VM_RECOVERY_DEPLOYED",
                "VM_RECOVERY_COMPLETE VM_RECOVERY_CANCELLED", "either", "that is recovering"),
    **_workflow("scale_out", "VM_SCALE_OUT_DEPLOYED", "VM_SCALE_OUT_COMPLETE", "target", "that scaling out created"),
    **_workflow("scale_in", "VM_SCALE_IN_INIT", "VM_SCALE_IN_COMPLETE", "source", "that scaling in chose"),
}  # fmt: skip
"""Messages that may leave out which VM they are about: the transaction tells it (`attribution`)."""

AS_REPORTED: Final = "as reported, else the same"
FAILS_FIRST_DEPLOY: Final = "ERROR before it was ever ACTIVE, else as reported, else the same"


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """What a service-level stage (or a failed recovery) does to the deployment."""

    rule: str
    rank: int
    to: str
    reason: str
    note: str | None = None
    exempt: bool = False
    leak: bool = False
    chain: str = "up"


Stages = dict[tuple[str, bool], DeploymentRow]


def _stage(trigger: str, rule: str, rank: int, to: str, reason: str, **more: Any) -> Stages:
    return {(trigger, OK): DeploymentRow(rule, rank, to, reason, **more)}


def _stage_failed(
    trigger: str, rule: str, rank: int, to: str, reason: str, note: str = "operation_failed", **more: Any
) -> Stages:
    return {(trigger, FAILED): DeploymentRow(rule, rank, to, reason, note=note, **more)}


DEPLOYMENT: Final[Mapping[tuple[str, bool], DeploymentRow]] = {
    **_stage("SERVICE_ALIVE", "service-alive", 110, D.ACTIVE, "the service is up"),
    **_stage_failed("SERVICE_ALIVE", "service-alive-failed", 115, FAILS_FIRST_DEPLOY, "the operation failed"),
    **_stage("SERVICE_STARTED", "service-started", 120, D.ACTIVE, "the service was started"),
    **_stage_failed("SERVICE_STARTED", "service-start-failed", 121, AS_REPORTED, "the start failed"),
    **_stage("SERVICE_REBOOTED", "service-rebooted", 122, D.ACTIVE, "the service was rebooted"),
    **_stage_failed("SERVICE_REBOOTED", "service-reboot-failed", 123, AS_REPORTED, "the reboot failed"),
    **_stage("SERVICE_MONITOR_UNSET", "service-monitor-unset", 124, AS_REPORTED,
             "monitoring of its VMs was switched off", note="unmonitored"),
    **_stage_failed("SERVICE_MONITOR_UNSET", "service-monitor-unset-failed", 125, AS_REPORTED,
                    "switching monitoring off failed"),
    **_stage("SERVICE_MONITOR_SET", "service-monitor-set", 126, AS_REPORTED,
             "monitoring of its VMs was switched on", note="monitored"),
    **_stage_failed("SERVICE_MONITOR_SET", "service-monitor-set-failed", 127, AS_REPORTED,
                    "switching monitoring on failed"),
    **_stage("SERVICE_UPDATED", "service-updated", 130, D.ACTIVE, "the update is done", note="updated"),
    **_stage_failed("SERVICE_UPDATED", "service-update-failed", 135, AS_REPORTED,
                    "the update failed; the deployment still works"),
    **_stage("SERVICE_STOPPED", "service-stopped", 140, D.STOPPED, "the service was stopped", chain="stop"),
    **_stage_failed("SERVICE_STOPPED", "service-stop-failed", 145, AS_REPORTED,
                    "the stop failed; the deployment still works", chain="stop"),
    **_stage_failed("VM_RECOVERY_COMPLETE", "recovery-failed", 150, D.ERROR,
                    "a VM could not be recovered: undeploy and deploy again",
                    exempt=True, chain="recovery"),
    **_stage("SERVICE_UNDEPLOYED", "service-undeployed", 200, D.UNDEPLOYED, "the deployment is gone",
             exempt=True, chain="remove"),
    **_stage_failed("SERVICE_UNDEPLOYED", "service-undeploy-failed", 200, D.UNDEPLOYED,
                    "ESC has forgotten the deployment, but something may be left in the VIM",
                    note="vim_leak_suspected", exempt=True, leak=True, chain="remove"),
}  # fmt: skip
"""By trigger and whether it failed (docs/esc-callbacks.md#6.2)."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What an ESC says of itself."""

    rule: str
    rank: int
    to: str
    reason: str


SOURCE: Final[Mapping[tuple[str, bool], SourceRow]] = {
    **dict.fromkeys(
        (("ESC_OUT_OF_SERVICE", OK), ("ESC_OUT_OF_SERVICE", FAILED)),
        SourceRow("source-out-of-service", 1, S.OUT_OF_SERVICE, "ESC says that it is out of service"),
    ),
    ("ESC_IN_SERVICE", OK): SourceRow("source-in-service", 2, S.IN_SERVICE, "ESC says that it is in service"),
    ("ESC_IN_SERVICE", FAILED): SourceRow(
        "source-not-in-service", 3, S.OUT_OF_SERVICE, "ESC says that it could not return to service"
    ),
}
"""By trigger and whether it failed (docs/esc-callbacks.md#10). Arrival decides. Under one transaction id, within the
reorder window, the order is not known: that the outage came before its end is assumed."""

REPORTED_BY_VM_STAGE: Final[Mapping[str, int]] = {
    D.DEPLOYING: 11,
    D.STARTING: 12,
    D.REBOOTING: 13,
    D.STOPPING: 14,
    D.INERT: 20,
    D.UNDEPLOYING: 21,
    D.ACTIVE: 25,
    D.ERROR: 26,
}
"""Service states that a VM's stage may bring, with their ranks. STOPPED and UNDEPLOYED are not among them:
a VM's stage reports them ahead of time (docs/esc-callbacks.md#trap-3); they wait for the service's own stage."""

DEPLOY_STAGES: Final = frozenset({"VM_DEPLOYED", "VM_ALIVE"})
"""VM stages that make an unseen deployment DEPLOYING when they report no service state."""
DEPLOYING_UNREPORTED_RANK: Final = 10

NEVER_FROM_A_REPORT: Final = frozenset({None, "UNSEEN", "UNDEPLOYED"})
"""Reported states that are never taken from a report: only ESC's own stage removes an entity."""

NOT_YET_CREATED: Final = frozenset({D.UNSEEN, D.DEPLOYING})
NEVER_ACTIVE: Final = frozenset({D.UNSEEN, D.DEPLOYING, D.INERT})

DEPLOYED_MARKS: Final = frozenset({"VM_DEPLOYED", "VM_SCALE_OUT_DEPLOYED", "VM_RECOVERY_DEPLOYED"})
ALIVE_MARKS: Final = frozenset({"VM_ALIVE", "VM_SCALE_OUT_COMPLETE", "VM_RECOVERY_COMPLETE"})


def progress(trigger: str, row: VmRow, *, failed: bool) -> str:
    """What an operation counts by a message about a VM: codes of `operation.COUNTS`, besides that it was seen."""
    if failed:
        # A recovery whose step failed goes on with the next one: only a VM that was given up has failed.
        return "" if row.recovery and row.to != V.ERROR else "f"
    return "d" * (trigger in DEPLOYED_MARKS) + "a" * (trigger in ALIVE_MARKS)
