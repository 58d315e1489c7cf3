"""The vocabulary in which ESC operations are written down: steps, ends, scripts.

Data only. This file must not know how a step becomes XML, which VM plays which role, nor how a receiver decides: an
`End` is what ESC's documents say holds when the operation is over, never a rule of the receiver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Target = Literal["none", "empty", "same", "new", "newer", "born"]
"""What `vm_target` holds: no such element, nothing, the VM as it is, its first or second replacement, a new VM."""

SUCCEEDED, FAILED, CANCELLED, UNKNOWN_OUTCOME = "SUCCEEDED", "FAILED", "CANCELLED", ""
"""How an operation ends; UNKNOWN_OUTCOME where the sources do not tell which message closes it."""

UNKNOWN = "?"
"""The state of an End that no source settles: nothing may be claimed until something else settles it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message of a script.

    A step with a `service_state` is a `deployment` callback, one without an `esc_event`
    (docs/esc-callbacks.md#3.1, #3.2).
    """

    event: str
    """`deployment_stage` or `event_type`."""
    text: str
    """`ESC-Status-Message`; `{vm}` is the name of the VM."""
    ok: bool = True
    vm_state: str = ""
    """The reported VM state; "=" is the state the VM is in."""
    service_state: str = ""
    names_vm: bool = True
    """False: the message does not say which VM it is about (failures, service stages)."""
    source: Literal["old", "new"] = "old"
    """What `vm_source` holds: the VM as the operation found it, or its first replacement."""
    target: Target = "none"


@dataclass(frozen=True, slots=True)
class End:
    """The state of an entity when the operation is over, and the messages that prove it.

    `by`: any one of these, once received, is proof, whatever else was lost. `if_known`: the state also depends on the
    state before, so it may be claimed only of an entity whose state was certain.
    """

    state: str
    by: tuple[str, ...]
    if_known: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """A whole operation: its messages, and the states it leads to.

    `lines` holds the steps of each VM by role; the lines of different VMs interleave. A role without an entry in
    `ends` keeps its state.
    """

    kind: str
    outcome: str
    closed_by: str
    lines: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    ends: Mapping[str, End] = field(default_factory=dict)
    closing: Step | None = None
    deployment: End | None = None
    monitors: Mapping[str, bool] = field(default_factory=dict)
    """Roles whose monitoring this operation switches on or off."""
    networks: Literal["", "CREATE", "DELETE"] = ""
    """Whether the deployment's own network is created before, or deleted after, the VMs (docs/esc-callbacks.md#5)."""


PACE_S: Mapping[str, tuple[float, float]] = {
    "VM_DEPLOYED": (5, 25),
    "VM_ALIVE": (20, 90),
    "VM_STOPPED": (3, 12),
    "VM_STARTED": (3, 12),
    "VM_REBOOTED": (5, 20),
    "VM_RECOVERY_REBOOT": (15, 60),
    "VM_RECOVERY_DEPLOYED": (10, 40),
    "VM_RECOVERY_COMPLETE": (20, 90),
    "VM_SCALE_OUT_DEPLOYED": (5, 25),
    "VM_SCALE_OUT_COMPLETE": (20, 90),
    "SERVICE_ALIVE": (1, 3),
}
"""Seconds ESC takes before a message, from and to; invented, but of the right order of magnitude."""

PACE_OTHERS_S = 1.0, 8.0
RESOURCE_PACE_S = 2.0, 12.0
REST_S = 20.0, 180.0
"""Seconds between two operations on a deployment, from and to."""
FIRST_REST_S = 0.0, 30.0
"""The same before a first deploy, so that the deployments of a run do not all begin at once."""
