"""Chapter 18: VM snapshots, each operation also under `/internal`. Data only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esc_lab.emulator.endpoint_model import BAD_BODY, BAD_HEADER, CONFLICT, Need, Row
from esc_lab.emulator.handlers import resources, vms

CHAPTER = "18 VM Snapshots"


def _rows(base: str, prefix: str) -> Iterable[Row]:
    one = f"{base}/snapshots/{{snapshotIdOrName}}"
    yield Row(
        f"{prefix}create_volume_from_snapshot", CHAPTER, "POST", f"{base}/snapshots/{{snapshotId}}/volumes",
        "Create a volume from a snapshot", vms.volume_from_snapshot,
        {202: "Request Accepted", 404: "Snapshot not found"}, callback=Need.REQUIRED, body="snapshot_volume",
        sends=("CREATE_VOLUME",), extra={**BAD_HEADER, **BAD_BODY, **CONFLICT},
    )  # fmt: skip
    yield Row(
        f"{prefix}delete_snapshot", CHAPTER, "DELETE", one, "Delete a VM snapshot", vms.delete_snapshot,
        {
            200: "VM snapshot delete operation request accepted",
            404: "Snapshot image not found",
            409: "The request could not be processed because snapshot name is not unique",
        },
        callback=Need.REQUIRED, events=Need.REQUIRED, sends=("VM_SNAPSHOT_DELETE_COMPLETE",),
        extra=BAD_HEADER,
    )  # fmt: skip
    yield Row(
        f"{prefix}revert_to_snapshot", CHAPTER, "POST", one, "Revert the VM to the snapshot", vms.revert_to_snapshot,
        {202: "Request Accepted", 404: "Snapshot or VM not found"}, callback=Need.REQUIRED, events=Need.REQUIRED,
        sends=("VM_SNAPSHOT_REVERT_COMPLETE",), extra={**BAD_HEADER, **CONFLICT},
    )  # fmt: skip
    yield Row(
        f"{prefix}list_snapshots", CHAPTER, "GET", f"{base}/snapshots", "Get all VM snapshots", resources.list_resources,
        {200: "Request accepted"}, kind="snapshot", answer="snapshot", many=True, query=("internalTenantId", "generatedVMName"),
    )  # fmt: skip


SNAPSHOTS: Sequence[Row] = (*_rows("/v0", ""), *_rows("/internal", "internal_"))
