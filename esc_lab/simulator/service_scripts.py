"""Operations on whole deployments, written down as data (docs/esc-callbacks.md#5).

Texts and reported states are those of the samples. Where that section leaves a gap, the choice is noted beside the
script. This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from esc_lab.simulator.esc_messages import REPORTED_VM_STATES
from esc_lab.simulator.script_model import FAILED, SUCCEEDED, UNKNOWN, End, Script, Step


def _step(event: str, text: str, vm: str, service: str) -> Step:
    """A stage of one VM, with the states that it reports."""
    return Step(event, text, vm_state=vm and f"VM_{vm}_STATE", service_state=f"SERVICE_{service}_STATE")


def _failed(event: str, text: str, service: str) -> Step:
    """A failed stage of a VM; it does not say which VM."""
    return replace(_step(event, text, "", service), ok=False, names_vm=False)


def _closing(event: str, text: str, service: str, *, ok: bool = True) -> Step:
    """The stage of the service that ends an operation; it names no VM."""
    return replace(_step(event, f"Service group {text}", "", service), ok=ok, names_vm=False)


def _failing(event: str, noun: str, service: str) -> Step:
    return _closing(event, f"{noun} failed", service, ok=False)


def _script(
    kind: str,
    closing: Step,
    lines: Mapping[str, tuple[Step, ...]] | None = None,
    ends: Mapping[str, End] | None = None,
    *,
    state: str = "",
    if_known: bool = False,
    **more: Any,
) -> Script:
    """A script whose closing stage tells the outcome and, unless `state` says otherwise, the deployment's state."""
    reported = closing.service_state.removeprefix("SERVICE_").removesuffix("_STATE")
    return Script(
        kind,
        SUCCEEDED if closing.ok else FAILED,
        closing.event,
        lines=lines or {},
        ends={**_reported_ends(lines or {}), **(ends or {})},
        closing=closing,
        deployment=End(state or reported, (closing.event,), if_known),
        **more,
    )


def _reported_ends(lines: Mapping[str, tuple[Step, ...]]) -> dict[str, End]:
    """The state that the last message of each line reports of its VM."""
    return {
        role: End(_STATES[steps[-1].vm_state], (steps[-1].event,))
        for role, steps in lines.items()
        # Of a VM that is not monitored any more INERT is reported, and it runs on.
        if steps[-1].vm_state in _STATES and steps[-1] is not _MONITOR_UNSET
    }


_STATES = {reported: state for state, reported in REPORTED_VM_STATES.items()} | {"VM_UNDEPLOYED_STATE": "UNDEPLOYED"}
_DEPLOYED = _step("VM_DEPLOYED", "VM Deployed", "INERT", "DEPLOYING")
_DEPLOY_FAILED = _failed("VM_DEPLOYED", "VIM Driver: Failed to create VM: No valid host was found.", "DEPLOYING")
_ALIVE = _step("VM_ALIVE", "VM_Alive event received, VM ID: [{vm}]", "ALIVE", "INERT")
_ALIVE_STARTED = replace(_ALIVE, text="VM_Alive event received after started, VM ID: [{vm}]")
_ALIVE_REBOOTED = replace(_ALIVE, text="VM_Alive event received after rebooted, VM ID: [{vm}]")
_UPDATED = replace(
    _step("VM_UPDATED", "VM has been updated successfully. vm: VM ID: [{vm}]", "", "INERT"), vm_state="="
)
_UNDEPLOYED = _step("VM_UNDEPLOYED", "VIM Driver: VM successfully deleted", "UNDEPLOYED", "UNDEPLOYING")
_STOPPED = _step("VM_STOPPED", "VM successfully stopped", "SHUTOFF", "STOPPED")
_STARTED = _step("VM_STARTED", "VM successfully started", "STARTING", "STARTING")
_REBOOTED = _step("VM_REBOOTED", "VM successfully rebooted", "REBOOTING", "REBOOTING")
_REBOOT_FAILED = _failed("VM_REBOOTED", "VM failed to be rebooted.", "REBOOTING")
_MONITOR_UNSET = _step("VM_MONITOR_UNSET", "Unset Monitoring VM successfully.", "INERT", "ACTIVE")

_GONE = End("UNDEPLOYED", ("VM_UNDEPLOYED", "SERVICE_UNDEPLOYED"))
_DEPLOY_LINES: Mapping[str, tuple[Step, ...]] = {"monitored": (_DEPLOYED, _ALIVE), "unmonitored": (_DEPLOYED,)}
_DEPLOY_CLOSED_BADLY = _failing("SERVICE_ALIVE", "deployment", "ERROR")

SERVICE_SCRIPTS: Mapping[str, Script] = {
    "deploy": _script(
        "deploy",
        _closing("SERVICE_ALIVE", "deployment completed successfully!", "ACTIVE"),
        _DEPLOY_LINES,
        networks="CREATE",
    ),
    # One VM could not be created, the others still report (docs/esc-callbacks.md#N23, p. 51). The failure names no VM.
    "deploy-fails": _script(
        "deploy", _DEPLOY_CLOSED_BADLY, {**_DEPLOY_LINES, "failed": (_DEPLOY_FAILED,)}, networks="CREATE"
    ),
    # Every VM was created, one of them never answered its monitor.
    "deploy-never-alive": _script("deploy", _DEPLOY_CLOSED_BADLY, {**_DEPLOY_LINES, "silent": (_DEPLOYED,)}),
    "update": _script(
        "update",
        _closing("SERVICE_UPDATED", "update completed successfully", "ACTIVE"),
        {
            **_DEPLOY_LINES,
            "removed": (replace(_UNDEPLOYED, service_state="SERVICE_INERT_STATE"),),
            "changed": (_UPDATED,),
            # Only the text tells that this is an update (docs/esc-callbacks.md#trap-1).
            "changed_by_text": (replace(_UPDATED, event="VM_ALIVE"),),
            # A KPI and a rule for VM_ALIVE came to a VM that runs: its monitor reaches it (docs/esc-callbacks.md#4.1).
            "watched": (_ALIVE,),
            "changed_watched": (_UPDATED, _ALIVE),
            "changed_watched_by_text": (replace(_UPDATED, event="VM_ALIVE"), _ALIVE),
        },
        # Both of its messages may have one stage, of which only the second proves anything.
        {"changed_watched_by_text": End(UNKNOWN, ("VM_ALIVE",))},
    ),
    "update-fails": _script(
        "update", _failing("SERVICE_UPDATED", "update", "ACTIVE"), {"changed": (_UPDATED,), "failed": (_DEPLOY_FAILED,)}
    ),
    "stop": _script(
        "stop",
        # This service stage does carry the block of a VM (docs/esc-callbacks.md#trap-2).
        replace(
            _closing("SERVICE_STOPPED", "suspension completed successfully", "STOPPED"),
            vm_state="VM_SHUTOFF_STATE",
            names_vm=True,
        ),
        {"up": (_STOPPED,)},
    ),
    "stop-fails": _script("stop", _failing("SERVICE_STOPPED", "suspension", "ACTIVE"), {"up": (_STOPPED,)}),
    "start": _script(
        "start",
        _closing("SERVICE_ALIVE", "start completed successfully", "ACTIVE"),
        {"monitored": (_STARTED, _ALIVE_STARTED), "unmonitored": (replace(_STARTED, vm_state="VM_INERT_STATE"),)},
    ),
    # A failing SERVICE_ALIVE is a failed deploy to a receiver that never saw this deployment active.
    "start-fails": _script("start", _failing("SERVICE_ALIVE", "start", "STOPPED"), if_known=True),
    "reboot": _script(
        "reboot",
        _closing("SERVICE_ALIVE", "reboot completed successfully", "ACTIVE"),
        {"monitored": (_REBOOTED, _ALIVE_REBOOTED), "unmonitored": (replace(_REBOOTED, vm_state="VM_INERT_STATE"),)},
    ),
    "reboot-fails": _script(
        "reboot",
        _failing("SERVICE_ALIVE", "reboot", "ERROR"),
        {"monitored": (_REBOOTED, _ALIVE_REBOOTED), "failed": (_REBOOT_FAILED,)},
    ),
    "monitor-on": _script(
        "monitor-on",
        _closing("SERVICE_ALIVE", "set monitor successfully", "ACTIVE"),
        {"watched": (replace(_ALIVE, service_state="SERVICE_ACTIVE_STATE"),)},
        monitors={"watched": True},
    ),
    "monitor-on-fails": _script("monitor-on", _failing("SERVICE_ALIVE", "set monitor", "ACTIVE"), if_known=True),
    # The closing stage is cut off in the source that prints its text; ESC's own list of events has its name
    # (docs/esc-callbacks.md#10).
    "monitor-off": _script(
        "monitor-off",
        _closing("SERVICE_MONITOR_UNSET", "suspension completed successfully", "ACTIVE"),
        {"unwatched": (_MONITOR_UNSET,)},
        monitors={"unwatched": False},
    ),
    "undeploy": _script(
        "undeploy",
        _closing("SERVICE_UNDEPLOYED", "undeployment completed successfully", "UNDEPLOYED"),
        {"gone": (_UNDEPLOYED,)},
        {"gone": _GONE},
        networks="DELETE",
    ),
    # ESC has dropped the deployment all the same (docs/esc-callbacks.md#N11, p. 53).
    "undeploy-fails": _script(
        "undeploy",
        _failing("SERVICE_UNDEPLOYED", "undeployment", "ERROR"),
        {"gone": (_UNDEPLOYED,)},
        {"gone": _GONE, "leaked": End("UNDEPLOYED", ("SERVICE_UNDEPLOYED",))},
        state="UNDEPLOYED",
    ),
}

SUSPECTED_CLOSINGS: Mapping[str, str] = {"start": "SERVICE_STARTED", "reboot": "SERVICE_REBOOTED"}
"""Closing stages that no source prints (marked ○ in docs/esc-callbacks.md#4.1), by script."""


def with_suspected_closing(name: str, script: Script) -> Script:
    """The script with its suspected closing stage, where there is one."""
    event = SUSPECTED_CLOSINGS.get(name)
    if event is None or script.closing is None or script.deployment is None:
        return script
    return replace(
        script,
        closed_by=event,
        closing=replace(script.closing, event=event),
        deployment=replace(script.deployment, by=(event,)),
    )
