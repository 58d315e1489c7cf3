"""What follows for an open operation from the state that ESC says its deployment has, as data; and the words for it.

A row stands only where the state leaves no doubt. That a service is ACTIVE, for example, says nothing of an update:
it is so before and after, and when the update failed. This file must not know how the rows are applied (`answer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from receiver.model.entities import DeploymentState as D
from receiver.model.entities import OperationState as O

GONE: Final = "GONE"
"""ESC does not have the deployment."""
BUSY: Final = frozenset({None, D.DEPLOYING, D.STARTING, D.REBOOTING, D.STOPPING, D.UNDEPLOYING})
"""ESC is still at work, or says nothing: every operation stays as it is."""

VERDICTS: Final[Mapping[tuple[str, str], str]] = {
    ("deploy", D.ACTIVE): O.SUCCEEDED,
    ("deploy", D.ERROR): O.FAILED,
    ("undeploy", GONE): O.SUCCEEDED,
    ("stop", D.STOPPED): O.SUCCEEDED,
    ("start", D.ACTIVE): O.SUCCEEDED,
    ("start", D.ERROR): O.FAILED,
    ("reboot", D.ERROR): O.FAILED,
}
"""By kind of operation and what ESC says of its deployment."""
_WHOEVER_FOLLOWED: Final = frozenset({("deploy", D.ACTIVE), ("undeploy", GONE)})
"""Sure also when another operation has followed."""
_CLOSING: Final[Mapping[str, str]] = {
    D.ACTIVE: "SERVICE_ALIVE",
    D.STOPPED: "SERVICE_STOPPED",
    D.ERROR: "message of failure",
}


def verdict(kind: str, state: str | None, *, is_last: bool) -> str | None:
    """How an operation of this kind ended; None: that leaves a doubt."""
    case = kind, state or ""
    outcome = VERDICTS.get(case) if is_last or case in _WHOEVER_FOLLOWED else None
    return outcome and str(outcome)


def said_of(state: str | None) -> str:
    """What ESC says, in words."""
    return "ESC does not have the deployment" if state == GONE else f"ESC says {state or 'nothing of its state'}"


def reason_of(state: str | None, before: str) -> str:
    """Why a deployment is in the state that ESC says."""
    if closing := _CLOSING.get(state or ""):
        return f"{said_of(state)}; its {closing} never came"
    return f"{said_of(state)}; what led there from {before} was never told"
