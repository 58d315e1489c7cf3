"""Whole operations on deployments and VMs, written down as data (docs/esc-callbacks.md#5).

The texts and reported states are those of the samples. Where that section leaves a gap the choice is noted beside the
script. This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from esc_lab.simulator.script_model import FAILED, SUCCEEDED, End, Script, Step

_DEPLOYED = Step("VM_DEPLOYED", "VM Deployed", vm_state="VM_INERT_STATE", service_state="SERVICE_DEPLOYING_STATE")
_DEPLOY_FAILED = Step(
    "VM_DEPLOYED",
    "VIM Driver: Failed to create VM: No valid host was found.",
    ok=False,
    service_state="SERVICE_DEPLOYING_STATE",
    named=False,
)
_ALIVE = Step(
    "VM_ALIVE",
    "VM_Alive event received, VM ID: [{vm}]",
    vm_state="VM_ALIVE_STATE",
    service_state="SERVICE_INERT_STATE",
)
_ALIVE_STARTED = replace(_ALIVE, text="VM_Alive event received after started, VM ID: [{vm}]")
_ALIVE_REBOOTED = replace(_ALIVE, text="VM_Alive event received after rebooted, VM ID: [{vm}]")
_UPDATED = Step(
    "VM_UPDATED",
    "VM has been updated successfully. vm: VM ID: [{vm}]",
    vm_state="=",
    service_state="SERVICE_INERT_STATE",
)
_UNDEPLOYED = Step(
    "VM_UNDEPLOYED",
    "VIM Driver: VM successfully deleted",
    vm_state="VM_UNDEPLOYED_STATE",
    service_state="SERVICE_UNDEPLOYING_STATE",
)
_STOPPED = Step(
    "VM_STOPPED", "VM successfully stopped", vm_state="VM_SHUTOFF_STATE", service_state="SERVICE_STOPPED_STATE"
)
_STARTED = Step(
    "VM_STARTED", "VM successfully started", vm_state="VM_STARTING_STATE", service_state="SERVICE_STARTING_STATE"
)
_REBOOTED = Step(
    "VM_REBOOTED", "VM successfully rebooted", vm_state="VM_REBOOTING_STATE", service_state="SERVICE_REBOOTING_STATE"
)
_REBOOT_FAILED = Step(
    "VM_REBOOTED", "VM failed to be rebooted.", ok=False, service_state="SERVICE_REBOOTING_STATE", named=False
)


def _service(says: str, text: str, service_state: str, *, ok: bool = True) -> Step:
    return Step(says, text, ok=ok, service_state=service_state, named=False)


_BY_ALIVE = End("ALIVE", ("VM_ALIVE",))
_GONE = End("UNDEPLOYED", ("VM_UNDEPLOYED", "SERVICE_UNDEPLOYED"))

_DEPLOYING: Mapping[str, tuple[Step, ...]] = {"monitored": (_DEPLOYED, _ALIVE), "unmonitored": (_DEPLOYED,)}
_DEPLOYED_ENDS = {"monitored": _BY_ALIVE, "unmonitored": End("INERT", ("VM_DEPLOYED",))}
_DEPLOY_CLOSED_BADLY = _service("SERVICE_ALIVE", "Service group deployment failed", "SERVICE_ERROR_STATE", ok=False)

_DEPLOY = {
    "deploy": Script(
        "deploy",
        SUCCEEDED,
        "SERVICE_ALIVE",
        lines=_DEPLOYING,
        ends=_DEPLOYED_ENDS,
        closing=_service("SERVICE_ALIVE", "Service group deployment completed successfully!", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",)),
        networks="CREATE",
    ),
    # One VM could not be made, the others still report (docs/esc-callbacks.md#N23, p. 51). The failure names no VM.
    "deploy-fails": Script(
        "deploy",
        FAILED,
        "SERVICE_ALIVE",
        lines={**_DEPLOYING, "failed": (_DEPLOY_FAILED,)},
        ends=_DEPLOYED_ENDS,
        closing=_DEPLOY_CLOSED_BADLY,
        deployment=End("ERROR", ("SERVICE_ALIVE",)),
        networks="CREATE",
    ),
    # Every VM was made, one of them never answered its monitor.
    "deploy-never-alive": Script(
        "deploy",
        FAILED,
        "SERVICE_ALIVE",
        lines={**_DEPLOYING, "silent": (_DEPLOYED,)},
        ends={**_DEPLOYED_ENDS, "silent": End("INERT", ("VM_DEPLOYED",))},
        closing=_DEPLOY_CLOSED_BADLY,
        deployment=End("ERROR", ("SERVICE_ALIVE",)),
    ),
}

_UPDATE = {
    "update": Script(
        "update",
        SUCCEEDED,
        "SERVICE_UPDATED",
        lines={
            **_DEPLOYING,
            "removed": (replace(_UNDEPLOYED, service_state="SERVICE_INERT_STATE"),),
            "changed": (_UPDATED,),
            # Only the text tells that this is an update (docs/esc-callbacks.md#trap-1).
            "changed_by_text": (replace(_UPDATED, says="VM_ALIVE"),),
        },
        ends={**_DEPLOYED_ENDS, "removed": End("UNDEPLOYED", ("VM_UNDEPLOYED",))},
        closing=_service("SERVICE_UPDATED", "Service group update completed successfully", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_UPDATED",)),
    ),
    "update-fails": Script(
        "update",
        FAILED,
        "SERVICE_UPDATED",
        lines={"changed": (_UPDATED,), "failed": (_DEPLOY_FAILED,)},
        closing=_service("SERVICE_UPDATED", "Service group update failed", "SERVICE_ACTIVE_STATE", ok=False),
        deployment=End("ACTIVE", ("SERVICE_UPDATED",)),
    ),
}

_SERVICE = {
    "stop": Script(
        "stop",
        SUCCEEDED,
        "SERVICE_STOPPED",
        lines={"up": (_STOPPED,)},
        ends={"up": End("STOPPED", ("VM_STOPPED",))},
        # This service stage does carry the block of a VM (docs/esc-callbacks.md#trap-2).
        closing=Step(
            "SERVICE_STOPPED",
            "Service group suspension completed successfully",
            vm_state="VM_SHUTOFF_STATE",
            service_state="SERVICE_STOPPED_STATE",
        ),
        deployment=End("STOPPED", ("SERVICE_STOPPED",)),
    ),
    "stop-fails": Script(
        "stop",
        FAILED,
        "SERVICE_STOPPED",
        lines={"up": (_STOPPED,)},
        ends={"up": End("STOPPED", ("VM_STOPPED",))},
        closing=_service("SERVICE_STOPPED", "Service group suspension failed", "SERVICE_ACTIVE_STATE", ok=False),
        deployment=End("ACTIVE", ("SERVICE_STOPPED",)),
    ),
    "start": Script(
        "start",
        SUCCEEDED,
        "SERVICE_ALIVE",
        lines={
            "monitored": (_STARTED, _ALIVE_STARTED),
            "unmonitored": (replace(_STARTED, vm_state="VM_INERT_STATE"),),
        },
        ends={"monitored": _BY_ALIVE, "unmonitored": End("INERT", ("VM_STARTED",))},
        closing=_service("SERVICE_ALIVE", "Service group start completed successfully", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",)),
    ),
    "start-fails": Script(
        "start",
        FAILED,
        "SERVICE_ALIVE",
        closing=_service("SERVICE_ALIVE", "Service group start failed", "SERVICE_STOPPED_STATE", ok=False),
        # A failing SERVICE_ALIVE is a failed deploy to whoever never saw this deployment work.
        deployment=End("STOPPED", ("SERVICE_ALIVE",), if_known=True),
    ),
    "reboot": Script(
        "reboot",
        SUCCEEDED,
        "SERVICE_ALIVE",
        lines={
            "monitored": (_REBOOTED, _ALIVE_REBOOTED),
            "unmonitored": (replace(_REBOOTED, vm_state="VM_INERT_STATE"),),
        },
        ends={"monitored": _BY_ALIVE, "unmonitored": End("INERT", ("VM_REBOOTED",))},
        closing=_service("SERVICE_ALIVE", "Service group reboot completed successfully", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",)),
    ),
    "reboot-fails": Script(
        "reboot",
        FAILED,
        "SERVICE_ALIVE",
        lines={"monitored": (_REBOOTED, _ALIVE_REBOOTED), "failed": (_REBOOT_FAILED,)},
        ends={"monitored": _BY_ALIVE},
        closing=_service("SERVICE_ALIVE", "Service group reboot failed", "SERVICE_ERROR_STATE", ok=False),
        deployment=End("ERROR", ("SERVICE_ALIVE",)),
    ),
    "monitor-on": Script(
        "monitor-on",
        SUCCEEDED,
        "SERVICE_ALIVE",
        lines={"watched": (replace(_ALIVE, service_state="SERVICE_ACTIVE_STATE"),)},
        ends={"watched": _BY_ALIVE},
        closing=_service("SERVICE_ALIVE", "Service group set monitor successfully", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",)),
        monitors={"watched": True},
    ),
    "monitor-on-fails": Script(
        "monitor-on",
        FAILED,
        "SERVICE_ALIVE",
        closing=_service("SERVICE_ALIVE", "Service group set monitor failed", "SERVICE_ACTIVE_STATE", ok=False),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",), if_known=True),
    ),
    # The closing stage is cut off in the source; SERVICE_ALIVE as for monitor-on, with the text the source does print.
    "monitor-off": Script(
        "monitor-off",
        SUCCEEDED,
        "SERVICE_ALIVE",
        lines={
            "unwatched": (
                Step(
                    "VM_MONITOR_UNSET",
                    "Unset Monitoring VM successfully.",
                    vm_state="VM_INERT_STATE",
                    service_state="SERVICE_ACTIVE_STATE",
                ),
            )
        },
        closing=_service("SERVICE_ALIVE", "Service group suspension completed successfully", "SERVICE_ACTIVE_STATE"),
        deployment=End("ACTIVE", ("SERVICE_ALIVE",)),
        monitors={"unwatched": False},
    ),
    "undeploy": Script(
        "undeploy",
        SUCCEEDED,
        "SERVICE_UNDEPLOYED",
        lines={"gone": (_UNDEPLOYED,)},
        ends={"gone": _GONE},
        closing=_service(
            "SERVICE_UNDEPLOYED", "Service group undeployment completed successfully", "SERVICE_UNDEPLOYED_STATE"
        ),
        deployment=End("UNDEPLOYED", ("SERVICE_UNDEPLOYED",)),
        networks="DELETE",
    ),
    # ESC has dropped the deployment all the same (docs/esc-callbacks.md#N11, p. 53).
    "undeploy-fails": Script(
        "undeploy",
        FAILED,
        "SERVICE_UNDEPLOYED",
        lines={"gone": (_UNDEPLOYED,)},
        ends={"gone": _GONE, "leaked": End("UNDEPLOYED", ("SERVICE_UNDEPLOYED",))},
        closing=_service("SERVICE_UNDEPLOYED", "Service group undeployment failed", "SERVICE_ERROR_STATE", ok=False),
        deployment=End("UNDEPLOYED", ("SERVICE_UNDEPLOYED",)),
    ),
}

SUSPECTED_CLOSINGS: Mapping[str, str] = {"start": "SERVICE_STARTED", "reboot": "SERVICE_REBOOTED"}
"""Closing stages that no source prints (marked ○ in docs/esc-callbacks.md#4.1), by script."""


def with_suspected_closing(name: str, script: Script) -> Script:
    """The script with its closing stage as some suspect it is called, where there is such a suspicion."""
    says = SUSPECTED_CLOSINGS.get(name)
    if says is None or script.closing is None or script.deployment is None:
        return script
    return replace(
        script,
        closed_by=says,
        closing=replace(script.closing, says=says),
        deployment=replace(script.deployment, by=(says,)),
    )


SERVICE_SCRIPTS: Mapping[str, Script] = {**_DEPLOY, **_UPDATE, **_SERVICE}
