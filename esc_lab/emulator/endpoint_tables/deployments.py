"""Chapters 06 to 08: deployments, and operations on them and on their VMs.

Answers are those of the document's tables. Data only.
"""

from __future__ import annotations

from collections.abc import Sequence

from esc_lab.emulator.endpoint_model import BAD_BODY, BAD_HEADER, Need, Row
from esc_lab.emulator.handlers import deployments, vms

DEPLOYMENTS_CHAPTER = "06 Deployments"
OPERATIONS_CHAPTER = "07 Deployment Operations"
VMS_CHAPTER = "08 VM Operations"

_ACCEPTED = "Request accepted"
_ONE = "/v0/deployments/{internal_deployment_id}"
_NO_DEPLOYMENT = "Deployment Id not found"
_MODEL_ANSWERS = {
    200: _ACCEPTED,
    400: "Invalid Request",
    404: "An associated resource not found",
    406: "Not Acceptable",
    409: "Conflicting Request",
    500: "Internal server error",
}
_VM_ANSWERS = {
    200: "VM operation request accepted",
    400: "Missing callback or, VM operation is not applicable",
    404: "VM or tenant not found",
}
_SNAPSHOT_ANSWERS = {201: "VM snapshot operation request accepted", **{s: _VM_ANSWERS[s] for s in (400, 404)}}


def _vm_row(name: str, path: str, summary: str, body: str, sends: Sequence[str], answers: dict[int, str]) -> Row:
    """The handler has the name of the row."""
    return Row(
        name, VMS_CHAPTER, "POST", path, summary, getattr(vms, name.removeprefix("internal_")), answers,
        callback=Need.ENFORCED, events=Need.ENFORCED, body=body, sends=sends, extra=BAD_BODY,
    )  # fmt: skip


DEPLOYMENTS: Sequence[Row] = (
    Row(
        "list_deployments", DEPLOYMENTS_CHAPTER, "GET", "/v0/deployments", "Find all deployments", deployments.list_deployments,
        {200: _ACCEPTED}, answer="deployment", many=True,
    ),
    Row(
        "undeploy", DEPLOYMENTS_CHAPTER, "DELETE", _ONE, "Delete a deployment", deployments.undeploy,
        {200: _ACCEPTED, 400: "Invalid Request", 404: _NO_DEPLOYMENT}, callback=Need.REQUIRED,
        sends=("VM_UNDEPLOYED", "DELETE_SUBNET", "DELETE_NETWORK", "SERVICE_UNDEPLOYED"),
    ),
    Row(
        "get_deployment", DEPLOYMENTS_CHAPTER, "GET", _ONE, "Find a deployment by its internal ID", deployments.get_deployment,
        {200: _ACCEPTED, 404: _NO_DEPLOYMENT}, answer="deployment",
    ),
    Row(
        "deploy", DEPLOYMENTS_CHAPTER, "POST", _ONE, "Create a deployment", deployments.deploy,
        {**_MODEL_ANSWERS, 503: "Failed to query VIM"}, callback=Need.REQUIRED, events=Need.REQUIRED,
        body="esc_datamodel", sends=("CREATE_NETWORK", "CREATE_SUBNET", "VM_DEPLOYED", "VM_ALIVE", "SERVICE_ALIVE"),
        extra=BAD_BODY, unproduced=(406, 500),
    ),
    Row(
        "update", DEPLOYMENTS_CHAPTER, "PUT", _ONE, "Update an existing deployment", deployments.update, _MODEL_ANSWERS,
        callback=Need.REQUIRED, events=Need.REQUIRED, body="esc_datamodel",
        sends=(
            "CREATE_NETWORK", "CREATE_SUBNET", "VM_DEPLOYED", "VM_ALIVE", "VM_UPDATED", "VM_UNDEPLOYED", "DELETE_SUBNET",
            "DELETE_NETWORK", "SERVICE_UPDATED",
        ),
        extra=BAD_BODY, unproduced=(406,),
    ),
    Row(
        "get_deployment_config", DEPLOYMENTS_CHAPTER, "GET", "/v0/deployments/config/{internal_deployment_id}",
        "Find deployment configuration data by its internal ID", deployments.get_deployment_config,
        {200: _ACCEPTED, 404: _NO_DEPLOYMENT}, answer="esc_datamodel",
    ),
    Row(
        "service_operation", OPERATIONS_CHAPTER, "POST",
        "/v0/{internal_tenant_id}/deployments/service/{internal_deployment_id}",
        "Stop, start or reboot a deployment, switch its monitoring on or off", deployments.service_operation,
        {
            200: "Deployment operation request accepted",
            400: "Missing callback or, Deployment operation is not applicable",
            404: "Deployment or tenant not found",
        },
        # Printed as required too, but the printed request sends Callback alone.
        callback=Need.ENFORCED, events=Need.REQUIRED, body="service_operation",
        sends=("VM_STOPPED", "SERVICE_STOPPED", "VM_STARTED", "VM_REBOOTED", "VM_MONITOR_UNSET", "VM_ALIVE", "SERVICE_ALIVE"),
        extra=BAD_BODY,
    ),
    _vm_row(
        "migrate_vm", "/v0/{internal_tenant_id}/deployments/migrate-vm/{vm_name}", "Migrate a VM to another host",
        "migrate_operation", ("VM_MIGRATE_COMPLETE",), _VM_ANSWERS,
    ),
    Row(
        "recovery_vm", VMS_CHAPTER, "POST", "/v0/{internal_tenant_id}/deployments/recovery-vm/{vm_name}",
        "Recover a VM by hand", vms.recovery_vm,
        {
            200: "Recovery VM operation request accepted",
            400: "Recovery VM operation is not applicable",
            404: "VM or tenant not found",
        },
        callback=Need.OPTIONAL, events=Need.OPTIONAL, body="recovery_operation",
        sends=(
            "VM_RECOVERY_INIT", "VM_RECOVERY_REBOOT", "VM_RECOVERY_UNDEPLOYED", "VM_RECOVERY_DEPLOYED",
            "VM_RECOVERY_COMPLETE", "VM_RECOVERY_CANCELLED",
        ),
        extra={**BAD_HEADER, **BAD_BODY},
    ),
    _vm_row(
        "snapshot_vm", "/v0/{internal_tenant_id}/deployments/snapshot-vm/{vm_name}", "Create a snapshot of a VM",
        "snapshot_operation", ("VM_SNAPSHOT_COMPLETE",), _SNAPSHOT_ANSWERS,
    ),
    Row(
        "vm_operation", VMS_CHAPTER, "POST", "/v0/{internal_tenant_id}/deployments/vm/{vm_name}",
        "Stop, start or reboot a VM, switch its monitoring, confirm or revert a resize", vms.vm_operation, _VM_ANSWERS,
        callback=Need.ENFORCED, events=Need.ENFORCED, body="vm_operation",
        sends=(
            "VM_STOP_COMPLETE", "VM_START_COMPLETE", "VM_REBOOT_COMPLETE", "VM_ALIVE", "VM_MONITOR_SET",
            "VM_MONITOR_UNSET", "VM_CONFIRM_RESIZE_COMPLETE", "VM_REVERT_RESIZE_COMPLETE",
        ),
        extra=BAD_BODY,
    ),
    _vm_row(
        "internal_snapshot_vm", "/internal/{internal_tenant_id}/deployments/snapshot-vm/{vm_name}",
        "Create a snapshot of a VM", "snapshot_operation", ("VM_SNAPSHOT_COMPLETE",), _SNAPSHOT_ANSWERS,
    ),
)  # fmt: skip
