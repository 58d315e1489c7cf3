"""Operations on one VM, and those ESC starts by itself: recovery and scaling (docs/esc-callbacks.md#5), as data.

They come as `esc_event`, without any reported state. This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from esc_lab.simulator.script_model import CANCELLED, FAILED, SUCCEEDED, UNKNOWN, UNSAID, End, Script, Step

_VM_ALIVE = End("ALIVE", ("VM_ALIVE",))


def _alive_after(what: str) -> Step:
    """The monitor's answer; it says nothing new of the service, which has been active all along."""
    return Step(
        "VM_ALIVE",
        f"VM_Alive event received after {what}, VM ID: [{{vm}}]",
        vm_state="VM_ALIVE_STATE",
        service_state="SERVICE_ACTIVE_STATE",
    )


def _alone(kind: str, role: str, step: Step, end: End | None = None, monitors: bool | None = None) -> Script:
    """An operation that is one event, which also closes it."""
    return Script(
        kind,
        SUCCEEDED if step.ok else FAILED,
        step.says,
        lines={role: (step,)},
        ends={} if end is None else {role: end},
        monitors={} if monitors is None else {role: monitors},
    )


def _nameless(says: str, text: str) -> Step:
    """A failed VM operation may name no VM at all (docs/esc-callbacks.md#N23, p. 70)."""
    return Step(says, text, ok=False, named=False)


_STARTED = Step("VM_START_COMPLETE", "Successfully started VM [{vm}]")
_REBOOTED = Step("VM_REBOOT_COMPLETE", "Successfully rebooted VM [{vm}]")

_VM = {
    "vm-stop": _alone(
        "vm-stop",
        "subject",
        Step("VM_STOP_COMPLETE", "Successfully stopped VM [{vm}]"),
        End("STOPPED", ("VM_STOP_COMPLETE",)),
    ),
    "vm-stop-fails": _alone("vm-stop", "subject", _nameless("VM_STOP_COMPLETE", "Service group suspension failed")),
    "vm-start": Script(
        "vm-start",
        SUCCEEDED,
        "VM_START_COMPLETE",
        lines={"monitored": (_STARTED, _alive_after("started")), "unmonitored": (_STARTED,)},
        ends={"monitored": _VM_ALIVE, "unmonitored": End("INERT", ("VM_START_COMPLETE",))},
    ),
    "vm-start-fails": _alone("vm-start", "subject", _nameless("VM_START_COMPLETE", "VM failed to be started.")),
    "vm-reboot": Script(
        "vm-reboot",
        SUCCEEDED,
        "VM_REBOOT_COMPLETE",
        lines={"monitored": (_REBOOTED, _alive_after("rebooted")), "unmonitored": (_REBOOTED,)},
        ends={"monitored": _VM_ALIVE, "unmonitored": End("INERT", ("VM_REBOOT_COMPLETE",))},
    ),
    "vm-reboot-fails": _alone("vm-reboot", "subject", _nameless("VM_REBOOT_COMPLETE", "VM failed to be rebooted.")),
    "vm-monitor-on": _alone(
        "vm-monitor-on", "subject", Step("VM_MONITOR_SET", "Set Monitoring VM successfully."), monitors=True
    ),
    "vm-monitor-off": _alone(
        "vm-monitor-off", "subject", Step("VM_MONITOR_UNSET", "Unset Monitoring VM successfully."), monitors=False
    ),
}

_INIT = Step(
    "VM_RECOVERY_INIT",
    "Recovery event for VM [{vm}] triggered. Processing Auto healing. Proceeding with Recovery.",
    target="empty",
)
_REBOOT = Step("VM_RECOVERY_REBOOT", "VM [{vm}] is rebooted.", target="empty")
_REBOOT_FAILED = Step(
    "VM_RECOVERY_REBOOT",
    "Error Messages: VM [{vm}] failed to be rebooted.; VIM Driver: VM powered on but in unexpected state:null; "
    "VM [{vm}] is rebooted.; VIM Driver: VM successfully rebooted.; "
    "VIM Driver: VM successfully created, VM Name: [{vm}]",
    ok=False,
    target="empty",
)
_REMOVED = Step("VM_RECOVERY_UNDEPLOYED", "VM [{vm}] has been undeployed.", target="empty")
_REPLACED = Step("VM_RECOVERY_DEPLOYED", "VIM Driver: VM successfully created, VM Name: [{vm}]", target="new")
_RECOVERED = "Recovery: Successfully recovered VM [{vm}]."
_LOST = Step("VM_RECOVERY_COMPLETE", "Recovery: Failed to recover VM [{vm}].", ok=False, target="empty")
_BY_COMPLETE = ("VM_RECOVERY_COMPLETE",)


def _recovery(*steps: Step) -> Script:
    """A recovery that works: it closes with the VM alive and leaves the deployment as it was."""
    return Script(
        "recovery", SUCCEEDED, "VM_RECOVERY_COMPLETE", lines={"sick": steps}, ends={"sick": End("ALIVE", _BY_COMPLETE)}
    )


def _recovery_fails(*steps: Step) -> Script:
    """All attempts used up: the deployment is unusable until it is undeployed (docs/esc-callbacks.md#A52)."""
    return Script(
        "recovery",
        FAILED,
        "VM_RECOVERY_COMPLETE",
        lines={"sick": (*steps, _LOST)},
        ends={"sick": End("ERROR", _BY_COMPLETE)},
        deployment=End("ERROR", _BY_COMPLETE),
    )


_RECOVERY = {
    "recovery-reboot": _recovery(_INIT, _REBOOT, Step("VM_RECOVERY_COMPLETE", _RECOVERED, target="same")),
    "recovery-redeploy": _recovery(
        _INIT, _REBOOT_FAILED, _REMOVED, _REPLACED, Step("VM_RECOVERY_COMPLETE", _RECOVERED, target="new")
    ),
    # The first replacement does not come up either: VM_RECOVERY_RETRY_MAX is 3 (docs/esc-callbacks.md#S, chapter 09).
    "recovery-redeploy-twice": _recovery(
        _INIT,
        _REBOOT_FAILED,
        _REMOVED,
        _REPLACED,
        replace(_REMOVED, source="new"),
        replace(_REPLACED, source="new", target="newer"),
        Step("VM_RECOVERY_COMPLETE", _RECOVERED, source="new", target="newer"),
    ),
    "recovery-fails": _recovery_fails(_INIT, _REBOOT_FAILED),
    "recovery-fails-redeployed": _recovery_fails(_INIT, _REBOOT_FAILED, _REMOVED, _REPLACED),
    "recovery-cancelled": Script(
        "recovery",
        CANCELLED,
        "VM_RECOVERY_CANCELLED",
        lines={
            "sick": (_INIT, Step("VM_RECOVERY_CANCELLED", "Recovery cancelled: VM [{vm}] is alive.", target="empty"))
        },
        ends={"sick": End("ALIVE", ("VM_RECOVERY_CANCELLED",))},
    ),
}

_SUSPECTED = {
    # Suspected only (docs/esc-callbacks.md#4.2). What it closes is unsaid; the recovery that follows is an operation of
    # its own.
    "recovery-manual": Script(
        "recovery-manual",
        UNSAID,
        "",
        lines={"sick": (Step("VM_MANUAL_RECOVERY_NEEDED", "Manual recovery needed for VM [{vm}].", target="empty"),)},
        ends={"sick": End("ERROR", ("VM_MANUAL_RECOVERY_NEEDED",))},
    )
}

_SCALING = {
    "scale-out": Script(
        "scale-out",
        SUCCEEDED,
        "VM_SCALE_OUT_COMPLETE",
        lines={
            "busy": (
                Step("VM_SCALE_OUT_INIT", "VM scale out triggered", target="empty"),
                Step("VM_SCALE_OUT_DEPLOYED", "VM successfully deployed", target="born"),
                Step("VM_SCALE_OUT_COMPLETE", "VM scaled out successfully", target="born"),
            )
        },
        ends={"born": End("ALIVE", ("VM_SCALE_OUT_COMPLETE",))},
    ),
    "scale-out-fails": Script(
        "scale-out",
        FAILED,
        "VM_SCALE_OUT_COMPLETE",
        lines={
            "busy": (
                Step("VM_SCALE_OUT_INIT", "VM scale out triggered", target="empty"),
                Step("VM_SCALE_OUT_COMPLETE", "VM scaled out failed", ok=False, target="empty"),
            )
        },
    ),
    "scale-in": Script(
        "scale-in",
        SUCCEEDED,
        "VM_SCALE_IN_COMPLETE",
        lines={
            "idle": (
                Step("VM_SCALE_IN_INIT", "VM scale in triggered", target="empty"),
                Step("VM_SCALE_IN_COMPLETE", "VM scaled in successfully", target="empty"),
            )
        },
        ends={"idle": End("UNDEPLOYED", ("VM_SCALE_IN_COMPLETE",))},
    ),
    "scale-in-fails": Script(
        "scale-in",
        FAILED,
        "VM_SCALE_IN_COMPLETE",
        lines={
            "idle": (
                Step("VM_SCALE_IN_INIT", "VM scale in triggered", target="empty"),
                Step("VM_SCALE_IN_COMPLETE", "VM scaled in failed", ok=False, target="empty"),
            )
        },
        # The deployment works on (docs/esc-callbacks.md#A52); what became of the VM no source says.
        ends={"idle": End(UNKNOWN, ())},
    ),
}

VM_SCRIPTS: Mapping[str, Script] = {**_VM, **_RECOVERY, **_SUSPECTED, **_SCALING}
