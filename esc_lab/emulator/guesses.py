"""Scripts of operations whose messages nobody has published (docs/esc-callbacks.md#5, last line): shapes and names are
guesses.

Data only. This file must not know how a script becomes messages.
"""

from __future__ import annotations

from collections.abc import Mapping

from esc_lab.simulator.script_model import FAILED, SUCCEEDED, Script, Step


def _guess(kind: str, says: str, text: str) -> dict[str, Script]:
    """An event that ends the operation, well or badly; nothing is claimed of it."""
    fails = Step(says, f"{text} failed", ok=False, named=False)
    return {
        kind: Script(kind, SUCCEEDED, "", lines={"subject": (Step(says, f"{text} completed successfully [{{vm}}]"),)}),
        f"{kind}-fails": Script(kind, FAILED, "", lines={"subject": (fails,)}),
    }


GUESSES: Mapping[str, Script] = {
    **_guess("vm-migrate", "VM_MIGRATE_COMPLETE", "VM migration"),
    **_guess("vm-confirm-resize", "VM_CONFIRM_RESIZE_COMPLETE", "VM resize confirmation"),
    **_guess("vm-revert-resize", "VM_REVERT_RESIZE_COMPLETE", "VM resize reversion"),
    **_guess("vm-snapshot", "VM_SNAPSHOT_COMPLETE", "VM snapshot"),
    **_guess("snapshot-delete", "VM_SNAPSHOT_DELETE_COMPLETE", "VM snapshot deletion"),
    **_guess("snapshot-revert", "VM_SNAPSHOT_REVERT_COMPLETE", "VM snapshot reversion"),
}
