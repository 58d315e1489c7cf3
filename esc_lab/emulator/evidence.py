"""How much is known of each message that ESC may send: by what it says, by the marks of docs/esc-callbacks.md#marks.

What is in no set is only suspected (○). Data only.
"""

from __future__ import annotations

from esc_lab.emulator.endpoint_model import Evidence

PRINTED = frozenset(
    {
        "VM_DEPLOYED",
        "VM_ALIVE",
        "VM_STOPPED",
        "VM_UPDATED",
        "SERVICE_ALIVE",
        "SERVICE_UPDATED",
        "SERVICE_STOPPED",
        "VM_STOP_COMPLETE",
        "CREATE_TENANT",
        "CREATE_IMAGE",
        "CREATE_FLAVOR",
    }
)
"""● in docs/esc-callbacks.md#4.1, #4.2."""

INFERRED = frozenset(
    {
        "VM_STARTED",
        "VM_REBOOTED",
        "VM_UNDEPLOYED",
        "VM_MONITOR_SET",
        "VM_MONITOR_UNSET",
        "SERVICE_UNDEPLOYED",
        "VM_RECOVERY_INIT",
        "VM_RECOVERY_REBOOT",
        "VM_RECOVERY_UNDEPLOYED",
        "VM_RECOVERY_DEPLOYED",
        "VM_RECOVERY_COMPLETE",
        "VM_RECOVERY_CANCELLED",
        "VM_SCALE_OUT_INIT",
        "VM_SCALE_OUT_DEPLOYED",
        "VM_SCALE_OUT_COMPLETE",
        "VM_SCALE_IN_INIT",
        "VM_SCALE_IN_COMPLETE",
        "CREATE_NETWORK",
        "CREATE_SUBNET",
        "CREATE_ROUTER",
        "DELETE_NETWORK",
        "DELETE_SUBNET",
        "DELETE_IMAGE",
        "DELETE_FLAVOR",
    }
)
"""◐ there."""

NAMELESS = frozenset(
    {
        "VM_MIGRATE_COMPLETE",
        "VM_CONFIRM_RESIZE_COMPLETE",
        "VM_REVERT_RESIZE_COMPLETE",
        "VM_SNAPSHOT_COMPLETE",
        "VM_SNAPSHOT_DELETE_COMPLETE",
        "VM_SNAPSHOT_REVERT_COMPLETE",
        "HOST_DISABLE",
        "HOST_ENABLE",
    }
)
"""Operations whose messages nobody has published (docs/esc-callbacks.md#5): the names are ours."""


def of_message(says: str) -> Evidence:
    """How much is known of a message."""
    if says in PRINTED:
        return Evidence.VERIFIED
    return Evidence.RECONSTRUCTED if says in INFERRED else Evidence.GUESSED
