"""The lifecycle as data: what each stage or event does to a VM, a deployment, an operation, a resource.

One row a trigger and outcome. A row names the state it leads to and its rank: among the messages that
one operation sends about one entity, a message never undoes one of higher rank, so that any order and
any repetition ends in the same state (design section 6). Which state an entity comes from matters
only where a row says so. This file must not know how rows are applied (`vm`, `deployment`, `operation`,
`resource` beside it). Source: reference section 6, with the rulings of design section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from receiver.entities import DeploymentState as D
from receiver.entities import OperationState as O
from receiver.entities import VmState as V

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
    exempt: bool = False
    """Never late for another operation: recovery and scaling interleave with requests (U53), and what is gone is gone."""
    recovery: str | None = None
    """`opens`, `step`, `closes`: its place in a recovery."""
    chain: str = "up"
    """Among messages without a transaction id, only those of one chain can be late for each other."""


VM: Final[Mapping[tuple[str, bool], VmRow]] = MappingProxyType(
    {
        # Showing a state: lowest, because any stage that names one knows better.
        ("VM_MONITOR_UNSET", OK): VmRow("vm-monitor-unset", 2, None, "monitoring was switched off", shows=True, monitored=False, note="unmonitored"),
        ("VM_MONITOR_SET", OK): VmRow("vm-monitor-set", 3, None, "monitoring was switched on", shows=True, monitored=True, note="monitored"),
        ("VM_SOFTWARE_VERSION_UPDATED", OK): VmRow("vm-software-updated", 4, None, "its software version was changed", shows=True, shows_else=V.ALIVE, note="updated"),
        ("VM_UPDATED", OK): VmRow("vm-updated", 5, None, "it was changed by an update and keeps its state", shows=True, shows_else=V.ALIVE, note="updated"),
        # Failures of VM operations leave the VM as it was (A52).
        ("VM_MONITOR_UNSET", FAILED): VmRow("vm-operation-failed", 1, None, "switching monitoring off failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_MONITOR_SET", FAILED): VmRow("vm-operation-failed", 1, None, "switching monitoring on failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_SOFTWARE_VERSION_UPDATED", FAILED): VmRow("vm-operation-failed", 1, None, "changing its software failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_UPDATED", FAILED): VmRow("vm-operation-failed", 1, None, "the update of it failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_ALIVE", FAILED): VmRow("vm-operation-failed", 1, None, "ESC reports that it did not come alive; it keeps its state", shows=True, note="operation_failed"),
        ("VM_STARTED", FAILED): VmRow("vm-operation-failed", 1, None, "the start failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_REBOOTED", FAILED): VmRow("vm-operation-failed", 1, None, "the reboot failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_STOPPED", FAILED): VmRow("vm-operation-failed", 1, None, "the stop failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_START_COMPLETE", FAILED): VmRow("vm-operation-failed", 1, None, "the start failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_REBOOT_COMPLETE", FAILED): VmRow("vm-operation-failed", 1, None, "the reboot failed; it keeps its state", shows=True, note="operation_failed"),
        ("VM_STOP_COMPLETE", FAILED): VmRow("vm-operation-failed", 1, None, "the stop failed; it keeps its state", shows=True, note="operation_failed"),
        # Coming up.
        ("VM_DEPLOYED", OK): VmRow("vm-deployed", 10, V.INERT, "it was created in the VIM; nobody has seen it alive yet"),
        ("VM_DEPLOYED", FAILED): VmRow("vm-deploy-failed", 11, V.ERROR, "it could not be created"),
        ("VM_SCALE_OUT_DEPLOYED", OK): VmRow("vm-scale-out-deployed", 10, V.INERT, "scaling out created it", about="target", exempt=True),
        ("VM_SCALE_OUT_DEPLOYED", FAILED): VmRow("vm-scale-out-failed", 11, V.ERROR, "scaling out could not create it", about="target", exempt=True),
        ("VM_STARTED", OK): VmRow("vm-started", 20, V.INERT, "it was started; nobody has seen it alive yet", refine=frozenset({V.ALIVE})),
        ("VM_REBOOTED", OK): VmRow("vm-rebooted", 20, V.INERT, "it was rebooted; nobody has seen it alive yet", refine=frozenset({V.ALIVE})),
        ("VM_START_COMPLETE", OK): VmRow("vm-started", 20, V.INERT, "it was started; nobody has seen it alive yet", refine=frozenset({V.ALIVE})),
        ("VM_REBOOT_COMPLETE", OK): VmRow("vm-rebooted", 20, V.INERT, "it was rebooted; nobody has seen it alive yet", refine=frozenset({V.ALIVE})),
        ("VM_ALIVE", OK): VmRow("vm-alive", 30, V.ALIVE, "its monitor has reached it"),
        ("VM_SCALE_OUT_COMPLETE", OK): VmRow("vm-scaled-out", 30, V.ALIVE, "scaling out has finished with it", about="target", exempt=True),
        ("VM_SCALE_OUT_COMPLETE", FAILED): VmRow("vm-scale-out-failed", 35, V.ERROR, "scaling out failed with it", about="target", exempt=True),
        # Stopping outranks coming up within one operation: the reference takes VM_ALIVE of the same operation as late.
        ("VM_STOPPED", OK): VmRow("vm-stopped", 50, V.STOPPED, "it was stopped", chain="stop"),
        ("VM_STOP_COMPLETE", OK): VmRow("vm-stopped", 50, V.STOPPED, "it was stopped", chain="stop"),
        # Recovery outranks the deploy stages of an operation whose id it shares. A failed step leads on to the next.
        ("VM_RECOVERY_INIT", OK): VmRow("vm-recovery-started", 60, V.RECOVERING, "ESC began to recover it", exempt=True, recovery="opens", chain="recovery"),
        ("VM_RECOVERY_INIT", FAILED): VmRow("vm-recovery-started", 60, V.RECOVERING, "ESC began to recover it", exempt=True, recovery="opens", chain="recovery"),
        # INIT then MANUAL_NEEDED, and MANUAL_NEEDED then INIT, cannot be told apart within one id: waiting for a person is assumed, because a step of a running recovery outranks it soon.
        ("VM_MANUAL_RECOVERY_NEEDED", OK): VmRow("vm-manual-recovery-needed", 61, V.ERROR, "its recovery policy is manual: it waits for recovery-vm", exempt=True, recovery="manual", chain="recovery"),
        ("VM_MANUAL_RECOVERY_NEEDED", FAILED): VmRow("vm-manual-recovery-needed", 61, V.ERROR, "its recovery policy is manual: it waits for recovery-vm", exempt=True, recovery="manual", chain="recovery"),
        ("VM_RECOVERY_REBOOT", OK): VmRow("vm-recovery-rebooted", 62, V.RECOVERING, "recovery rebooted it", exempt=True, recovery="step", chain="recovery"),
        ("VM_RECOVERY_REBOOT", FAILED): VmRow("vm-recovery-reboot-failed", 62, V.RECOVERING, "recovery could not reboot it; a redeploy may follow", exempt=True, recovery="step", chain="recovery"),
        ("VM_RECOVERY_UNDEPLOYED", OK): VmRow("vm-recovery-undeployed", 63, V.RECOVERING, "recovery removed the old instance", exempt=True, recovery="step", chain="recovery"),
        ("VM_RECOVERY_UNDEPLOYED", FAILED): VmRow("vm-recovery-undeployed", 63, V.RECOVERING, "recovery could not remove the old instance", exempt=True, recovery="step", chain="recovery"),
        ("VM_RECOVERY_DEPLOYED", OK): VmRow("vm-recovery-deployed", 64, V.RECOVERING, "recovery created a new instance", exempt=True, recovery="step", note="redeployed", chain="recovery"),
        ("VM_RECOVERY_DEPLOYED", FAILED): VmRow("vm-recovery-deploy-failed", 64, V.RECOVERING, "recovery could not create a new instance; it may try again", exempt=True, recovery="step", chain="recovery"),
        ("VM_RECOVERY_CANCELLED", OK): VmRow("vm-recovery-cancelled", 70, V.ALIVE, "it came back before recovery acted", exempt=True, recovery="closes", chain="recovery"),
        ("VM_RECOVERY_CANCELLED", FAILED): VmRow("vm-recovery-cancelled", 70, V.ALIVE, "it came back before recovery acted", exempt=True, recovery="closes", chain="recovery"),
        ("VM_RECOVERY_COMPLETE", OK): VmRow("vm-recovered", 71, V.ALIVE, "recovery brought it back", exempt=True, recovery="closes", chain="recovery"),
        ("VM_RECOVERY_COMPLETE", FAILED): VmRow("vm-recovery-failed", 72, V.ERROR, "every attempt to recover it failed", exempt=True, recovery="closes", chain="recovery"),
        # Going. Gone outranks all.
        ("VM_SCALE_IN_INIT", OK): VmRow("vm-scale-in-started", 6, None, "scaling in chose it to go", exempt=True, chain="remove"),
        ("VM_SCALE_IN_INIT", FAILED): VmRow("vm-operation-failed", 1, None, "scaling in could not begin; it keeps its state", exempt=True, note="operation_failed", chain="remove"),
        ("VM_SCALE_IN_COMPLETE", FAILED): VmRow("vm-operation-failed", 1, None, "scaling in failed; it keeps its state", exempt=True, note="operation_failed", chain="remove"),
        ("VM_UNDEPLOYED", FAILED): VmRow("vm-undeploy-failed", 80, V.ERROR, "it could not be removed", chain="remove"),
        ("VM_UNDEPLOYED", OK): VmRow("vm-undeployed", 90, V.UNDEPLOYED, "it was removed", exempt=True, chain="remove"),
        ("VM_SCALE_IN_COMPLETE", OK): VmRow("vm-scaled-in", 90, V.UNDEPLOYED, "scaling in removed it", exempt=True, chain="remove"),
    }
)  # fmt: skip

RECOVERY_RANK_MAX: Final = 72
"""What ranks above has ended any recovery of the VM too."""
FAILURE_SHOWS: Final = 100
"""Added to a failure's rank where only the last operation's outcome is told: a failure is never hidden by a success."""

RECOVERY_TARGETS: Final = frozenset({"VM_RECOVERY_DEPLOYED", "VM_RECOVERY_COMPLETE"})
"""Recovery steps whose `vm_target` is the instance that lives on."""

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


DEPLOYMENT: Final[Mapping[tuple[str, bool], DeploymentRow]] = MappingProxyType(
    {
        ("SERVICE_ALIVE", OK): DeploymentRow("service-alive", 110, D.ACTIVE, "the service is up"),
        ("SERVICE_ALIVE", FAILED): DeploymentRow("service-alive-failed", 115, FAILS_FIRST_DEPLOY, "the operation failed", note="operation_failed"),
        ("SERVICE_STARTED", OK): DeploymentRow("service-started", 120, D.ACTIVE, "the service was started"),
        ("SERVICE_STARTED", FAILED): DeploymentRow("service-start-failed", 121, AS_REPORTED, "the start failed", note="operation_failed"),
        ("SERVICE_REBOOTED", OK): DeploymentRow("service-rebooted", 122, D.ACTIVE, "the service was rebooted"),
        ("SERVICE_REBOOTED", FAILED): DeploymentRow("service-reboot-failed", 123, AS_REPORTED, "the reboot failed", note="operation_failed"),
        ("SERVICE_UPDATED", OK): DeploymentRow("service-updated", 130, D.ACTIVE, "the update is done", note="updated"),
        ("SERVICE_UPDATED", FAILED): DeploymentRow("service-update-failed", 135, AS_REPORTED, "the update failed; the deployment still works (A52)", note="operation_failed"),
        ("SERVICE_STOPPED", OK): DeploymentRow("service-stopped", 140, D.STOPPED, "the service was stopped", chain="stop"),
        ("SERVICE_STOPPED", FAILED): DeploymentRow("service-stop-failed", 145, AS_REPORTED, "the stop failed; the deployment still works (A52)", note="operation_failed", chain="stop"),
        ("VM_RECOVERY_COMPLETE", FAILED): DeploymentRow("recovery-failed", 150, D.ERROR, "a VM could not be recovered: undeploy and deploy again (A52)", exempt=True, chain="recovery"),
        ("SERVICE_UNDEPLOYED", OK): DeploymentRow("service-undeployed", 200, D.UNDEPLOYED, "the deployment is gone", exempt=True, chain="remove"),
        ("SERVICE_UNDEPLOYED", FAILED): DeploymentRow("service-undeploy-failed", 200, D.UNDEPLOYED, "ESC has forgotten the deployment, but something may be left in the VIM", note="vim_leak_suspected", exempt=True, leak=True, chain="remove"),
    }
)  # fmt: skip

REPORTED_BY_VM_STAGE: Final[Mapping[str, int]] = MappingProxyType(
    {
        D.DEPLOYING: 11,
        D.STARTING: 12,
        D.REBOOTING: 13,
        D.STOPPING: 14,
        D.INERT: 20,
        D.UNDEPLOYING: 21,
        D.ACTIVE: 25,
        D.ERROR: 26,
    }
)
"""Service states that a VM's stage may bring, with their ranks. STOPPED and UNDEPLOYED are not among them:
a VM's stage reports them ahead of time (reference trap 3); they wait for the service's own stage."""

DEPLOY_STAGES: Final = frozenset({"VM_DEPLOYED", "VM_ALIVE"})
"""VM stages that make an unseen deployment DEPLOYING when they report no service state."""
DEPLOYING_UNREPORTED_RANK: Final = 10

NEVER_FROM_A_REPORT: Final = frozenset({None, "UNSEEN", "UNDEPLOYED"})
"""Reported states that are never taken from a report: only ESC's own stage removes a thing."""

NEVER_ACTIVE: Final = frozenset({D.UNSEEN, D.DEPLOYING, D.INERT})

CLOSERS: Final[Mapping[tuple[str, bool], tuple[int, str]]] = MappingProxyType(
    {
        **{
            (stage, failed): (23 if failed else 22, O.FAILED if failed else O.SUCCEEDED)
            for stage in (
                "SERVICE_ALIVE", "SERVICE_STARTED", "SERVICE_REBOOTED", "SERVICE_UPDATED", "SERVICE_STOPPED",
                "SERVICE_UNDEPLOYED", "SERVICE_REGISTRATION", "SERVICE_UNREGISTRATION",
            )
            for failed in (OK, FAILED)
        },
        **{
            (event, failed): (13 if failed else 12, O.FAILED if failed else O.SUCCEEDED)
            for event in (
                "VM_STOP_COMPLETE", "VM_START_COMPLETE", "VM_REBOOT_COMPLETE",
                "VM_RECOVERY_COMPLETE", "VM_SCALE_OUT_COMPLETE", "VM_SCALE_IN_COMPLETE",
            )
            for failed in (OK, FAILED)
        },
        ("VM_RECOVERY_CANCELLED", OK): (11, O.CANCELLED),
        ("VM_RECOVERY_CANCELLED", FAILED): (11, O.CANCELLED),
    }
)  # fmt: skip
"""Which message ends an operation, how, and its precedence: service stage over closing event over resource,
then FAILED over SUCCEEDED over CANCELLED (design section 6)."""

CLOSERS_AS_EVENT: Final = frozenset({"VM_MONITOR_SET", "VM_MONITOR_UNSET"})
"""Close an operation when they come as `esc_event` (a VM's operation), not as the stage of a service's."""
EVENT_RANKS: Final = (12, 13)

RESOURCE_RANKS: Final = (2, 3)
"""Precedence of a resource's event, ok and failed."""

OWN_WORKFLOW: Final = frozenset({"VM_RECOVERY_COMPLETE", "VM_RECOVERY_CANCELLED", "VM_SCALE_OUT_COMPLETE", "VM_SCALE_IN_COMPLETE"})
"""Work that ESC starts by itself and that may borrow a deploy's id: then it must not end the deploy."""

KINDS: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "VM_SCALE_OUT_INIT": (10, "scale_out"), "VM_SCALE_OUT_DEPLOYED": (10, "scale_out"), "VM_SCALE_OUT_COMPLETE": (10, "scale_out"),
        "VM_SCALE_IN_INIT": (11, "scale_in"), "VM_SCALE_IN_COMPLETE": (11, "scale_in"),
        "VM_RECOVERY_INIT": (12, "recovery"), "VM_RECOVERY_REBOOT": (12, "recovery"), "VM_RECOVERY_UNDEPLOYED": (12, "recovery"),
        "VM_RECOVERY_DEPLOYED": (12, "recovery"), "VM_RECOVERY_COMPLETE": (12, "recovery"), "VM_RECOVERY_CANCELLED": (12, "recovery"),
        "VM_MANUAL_RECOVERY_NEEDED": (12, "recovery"),
        "VM_STOP_COMPLETE": (20, "stop_vm"), "VM_START_COMPLETE": (21, "start_vm"), "VM_REBOOT_COMPLETE": (22, "reboot_vm"),
        "VM_ALIVE": (30, "deploy"), "VM_DEPLOYED": (31, "deploy"), "SERVICE_ALIVE": (32, "deploy"),
        "VM_MONITOR_SET": (40, "enable_monitoring"), "VM_MONITOR_UNSET": (41, "disable_monitoring"),
        "VM_UNDEPLOYED": (42, "undeploy"),
        "VM_STARTED": (50, "start"), "SERVICE_STARTED": (50, "start"),
        "VM_REBOOTED": (51, "reboot"), "SERVICE_REBOOTED": (51, "reboot"),
        "VM_STOPPED": (52, "stop"), "SERVICE_STOPPED": (52, "stop"),
        "VM_SOFTWARE_VERSION_UPDATED": (60, "update"), "VM_UPDATED": (60, "update"), "SERVICE_UPDATED": (61, "update"),
        "SERVICE_UNDEPLOYED": (62, "undeploy"),
        "SERVICE_REGISTRATION": (63, "registration"), "SERVICE_UNREGISTRATION": (64, "unregistration"),
    }
)  # fmt: skip
"""What kind of operation a trigger tells of; the highest number seen wins. VM_ALIVE and VM_DEPLOYED are the
weakest of the requests, because starts and updates send them too. A resource's kind ranks below all."""

KINDS_WHEN_UP: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {"VM_ALIVE": (30, "enable_monitoring"), "SERVICE_ALIVE": (30, "enable_monitoring"), "VM_DEPLOYED": (31, "update")}
)
"""The same where the deployment had been up before the operation began."""

DEPLOYED_MARKS: Final = frozenset({"VM_DEPLOYED", "VM_SCALE_OUT_DEPLOYED", "VM_RECOVERY_DEPLOYED"})
ALIVE_MARKS: Final = frozenset({"VM_ALIVE", "VM_SCALE_OUT_COMPLETE", "VM_RECOVERY_COMPLETE"})
