"""Operations on one VM, and those ESC starts by itself: recovery and scaling (docs/esc-callbacks.md#5), as data.

They come as `esc_event`, without any reported state. This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from esc_lab.simulator.script_model import CANCELLED, FAILED, SUCCEEDED, UNKNOWN, UNKNOWN_OUTCOME, End, Script, Step


def _script(
    kind: str,
    role: str,
    steps: tuple[Step, ...],
    ends: Mapping[str, End] | None = None,
    *,
    outcome: str = "",
    deployment: End | None = None,
    monitors: bool | None = None,
) -> Script:
    """An operation on the VM in one role, closed by its last step."""
    last = steps[-1]
    return Script(
        kind,
        outcome or (SUCCEEDED if last.ok else FAILED),
        last.event,
        lines={role: steps},
        ends=ends or {},
        deployment=deployment,
        monitors={} if monitors is None else {role: monitors},
    )


def _vm_failure(kind: str, event: str, text: str) -> Script:
    """A failed VM operation may name no VM at all (docs/esc-callbacks.md#N23, p. 70)."""
    return _script(kind, "subject", (Step(event, text, ok=False, names_vm=False),))


def _then_alive(kind: str, step: Step, past_tense: str) -> Script:
    """A monitored VM reports alive after the event that closes the operation; the service stays active throughout."""
    alive = Step(
        "VM_ALIVE",
        f"VM_Alive event received after {past_tense}, VM ID: [{{vm}}]",
        vm_state="VM_ALIVE_STATE",
        service_state="SERVICE_ACTIVE_STATE",
    )
    return Script(
        kind,
        SUCCEEDED,
        step.event,
        lines={"monitored": (step, alive), "unmonitored": (step,)},
        ends={"monitored": End("ALIVE", ("VM_ALIVE",)), "unmonitored": End("INERT", (step.event,))},
    )


_VM = {
    "vm-stop": _script(
        "vm-stop",
        "subject",
        (Step("VM_STOP_COMPLETE", "Successfully stopped VM [{vm}]"),),
        {"subject": End("STOPPED", ("VM_STOP_COMPLETE",))},
    ),
    "vm-stop-fails": _vm_failure("vm-stop", "VM_STOP_COMPLETE", "Service group suspension failed"),
    "vm-start": _then_alive("vm-start", Step("VM_START_COMPLETE", "Successfully started VM [{vm}]"), "started"),
    "vm-start-fails": _vm_failure("vm-start", "VM_START_COMPLETE", "VM failed to be started."),
    "vm-reboot": _then_alive("vm-reboot", Step("VM_REBOOT_COMPLETE", "Successfully rebooted VM [{vm}]"), "rebooted"),
    "vm-reboot-fails": _vm_failure("vm-reboot", "VM_REBOOT_COMPLETE", "VM failed to be rebooted."),
    "vm-monitor-on": _script(
        "vm-monitor-on", "subject", (Step("VM_MONITOR_SET", "Set Monitoring VM successfully."),), monitors=True
    ),
    "vm-monitor-off": _script(
        "vm-monitor-off", "subject", (Step("VM_MONITOR_UNSET", "Unset Monitoring VM successfully."),), monitors=False
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
_RECOVERED = Step("VM_RECOVERY_COMPLETE", "Recovery: Successfully recovered VM [{vm}].", target="new")
_LOST = Step("VM_RECOVERY_COMPLETE", "Recovery: Failed to recover VM [{vm}].", ok=False, target="empty")
_CANCELLED = Step("VM_RECOVERY_CANCELLED", "Recovery cancelled: VM [{vm}] is alive.", target="empty")
_MANUAL_NEEDED = Step("VM_MANUAL_RECOVERY_NEEDED", "Manual recovery needed for VM [{vm}].", target="empty")


def _recovery(*steps: Step) -> Script:
    """A recovery that works: it closes with the VM alive and leaves the deployment as it was."""
    return _script("recovery", "sick", steps, {"sick": End("ALIVE", (_RECOVERED.event,))})


def _recovery_fails(*steps: Step) -> Script:
    """All attempts used up: the deployment is unusable until it is undeployed (docs/esc-callbacks.md#A52)."""
    error = End("ERROR", (_LOST.event,))
    return _script("recovery", "sick", (*steps, _LOST), {"sick": error}, deployment=error)


_RECOVERY = {
    "recovery-reboot": _recovery(_INIT, _REBOOT, replace(_RECOVERED, target="same")),
    "recovery-redeploy": _recovery(_INIT, _REBOOT_FAILED, _REMOVED, _REPLACED, _RECOVERED),
    # The first replacement does not come up either: VM_RECOVERY_RETRY_MAX is 3 (docs/esc-callbacks.md#S, chapter 09).
    "recovery-redeploy-twice": _recovery(
        _INIT,
        _REBOOT_FAILED,
        _REMOVED,
        _REPLACED,
        replace(_REMOVED, source="new"),
        replace(_REPLACED, source="new", target="newer"),
        replace(_RECOVERED, source="new", target="newer"),
    ),
    "recovery-fails": _recovery_fails(_INIT, _REBOOT_FAILED),
    "recovery-fails-redeployed": _recovery_fails(_INIT, _REBOOT_FAILED, _REMOVED, _REPLACED),
    "recovery-cancelled": _script(
        "recovery", "sick", (_INIT, _CANCELLED), {"sick": End("ALIVE", (_CANCELLED.event,))}, outcome=CANCELLED
    ),
    # Suspected only (docs/esc-callbacks.md#4.2). The recovery that follows is an operation of its own.
    "recovery-manual": Script(
        "recovery-manual",
        UNKNOWN_OUTCOME,
        "",
        lines={"sick": (_MANUAL_NEEDED,)},
        ends={"sick": End("ERROR", (_MANUAL_NEEDED.event,))},
    ),
}

_OUT_INIT = Step("VM_SCALE_OUT_INIT", "VM scale out triggered", target="empty")
_OUT_DEPLOYED = Step("VM_SCALE_OUT_DEPLOYED", "VM successfully deployed", target="born")
_OUT_COMPLETE = Step("VM_SCALE_OUT_COMPLETE", "VM scaled out successfully", target="born")
_OUT_FAILED = Step("VM_SCALE_OUT_COMPLETE", "VM scaled out failed", ok=False, target="empty")
_IN_INIT = Step("VM_SCALE_IN_INIT", "VM scale in triggered", target="empty")
_IN_COMPLETE = Step("VM_SCALE_IN_COMPLETE", "VM scaled in successfully", target="empty")
_IN_FAILED = replace(_IN_COMPLETE, text="VM scaled in failed", ok=False)

_SCALING = {
    "scale-out": _script(
        "scale-out",
        "busy",
        (_OUT_INIT, _OUT_DEPLOYED, _OUT_COMPLETE),
        {"born": End("ALIVE", (_OUT_COMPLETE.event,))},
    ),
    "scale-out-fails": _script("scale-out", "busy", (_OUT_INIT, _OUT_FAILED)),
    "scale-in": _script(
        "scale-in", "idle", (_IN_INIT, _IN_COMPLETE), {"idle": End("UNDEPLOYED", (_IN_COMPLETE.event,))}
    ),
    # The deployment works on (docs/esc-callbacks.md#A52); which state the VM is in no source says.
    "scale-in-fails": _script("scale-in", "idle", (_IN_INIT, _IN_FAILED), {"idle": End(UNKNOWN, ())}),
}

VM_SCRIPTS: Mapping[str, Script] = {**_VM, **_RECOVERY, **_SCALING}


def _unpublished(kind: str, event: str, text: str) -> dict[str, Script]:
    """An event that ends the operation, well or badly; nothing is claimed of it."""
    done = Step(event, f"{text} completed successfully [{{vm}}]")
    failed = Step(event, f"{text} failed", ok=False, names_vm=False)
    return {
        kind: Script(kind, SUCCEEDED, "", lines={"subject": (done,)}),
        f"{kind}-fails": Script(kind, FAILED, "", lines={"subject": (failed,)}),
    }


UNPUBLISHED_SCRIPTS: Mapping[str, Script] = {
    **_unpublished("vm-migrate", "VM_MIGRATE_COMPLETE", "VM migration"),
    **_unpublished("vm-confirm-resize", "VM_CONFIRM_RESIZE_COMPLETE", "VM resize confirmation"),
    **_unpublished("vm-revert-resize", "VM_REVERT_RESIZE_COMPLETE", "VM resize reversion"),
    **_unpublished("vm-snapshot", "VM_SNAPSHOT_COMPLETE", "VM snapshot"),
    **_unpublished("snapshot-delete", "VM_SNAPSHOT_DELETE_COMPLETE", "VM snapshot deletion"),
    **_unpublished("snapshot-revert", "VM_SNAPSHOT_REVERT_COMPLETE", "VM snapshot reversion"),
}
"""Operations whose messages nobody has published (docs/esc-callbacks.md#5, last line): names and shapes are guesses.
The simulator plays none of them."""
