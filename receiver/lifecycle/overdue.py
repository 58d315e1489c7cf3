"""When an open operation has been silent for too long: its end may be lost (docs/esc-callbacks.md#6.4, missing end).

ESC loses its work in flight on a failover and then never sends the closing message. The state of deployments and VMs
is left as it is; the operation becomes OVERDUE, and its reason names the VMs it left between states. OVERDUE means
silent now: a closing message still ends the operation, and any other that arrives later takes it back to OPEN, for
ESC is at work again; silence begins anew. What arrived before the last message does not: so it is the times of
arrival that decide, and not the order in which messages are applied. While an ESC says that it is out of service,
nobody asks this of its operations (`jobs.overdue_scan`). Pure: times and limits are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from receiver.lifecycle import operation_tables
from receiver.lifecycle.learned import LearnedDurations
from receiver.model.entities import Decision, EntityKind, Operation, OperationState, Transition, Vm, VmState
from receiver.model.entity_ids import overdue_transition_id
from receiver.model.notification import Outcome

RULE: Final = "operation-overdue"
TRIGGER: Final = "timer"
OTHERWISE: Final = "default"
"""The limit of a kind that has none of its own."""
RESOURCE: Final = "resource"
"""The limit of all operations of which nothing but a resource's event arrived; their kind is that event."""
KINDS: Final = frozenset(
    kind for _, kind in (*operation_tables.KINDS.values(), *operation_tables.KINDS_WHEN_UP.values())
) | {"unknown"}
"""The kinds of operations that are no resource's."""

BETWEEN: Final = (
    VmState.DEPLOYING,
    VmState.INERT,
    VmState.STARTING,
    VmState.REBOOTING,
    VmState.RECOVERING,
    VmState.STOPPING,
    VmState.UNDEPLOYING,
)
"""States that a VM is meant to leave again. INERT only with a monitor: one that is not monitored rests there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long which kind of operation may be silent, and how many VMs a reason names."""

    after_s: Mapping[str, float]
    """By kind; also `resource` and `default`."""
    least_s: float = 0.0
    """No limit is less: within the reorder window, silence says nothing."""
    vms_named_max: int = 10
    learned: LearnedDurations = field(default_factory=LearnedDurations)
    """Shorter limits where it is known how long operations take; never longer than those of `after_s`."""

    def of(self, kind: str, source: str = "") -> float:
        """The limit of this kind of operation at this source, in seconds."""
        named = kind if kind in KINDS else RESOURCE
        limit_s = self.after_s.get(named, self.after_s[OTHERWISE])
        return max(self.least_s, min(limit_s, self.learned.limits_s.get((source, kind), limit_s)))


def decide_overdue(operation: Operation, vms: Iterable[Vm], now: datetime, limits: Limits) -> Decision | None:
    """The operation's one step to OVERDUE, or None while it is not due.

    `vms` are those it left between states (`left_between` says which).
    """
    limit_s = limits.of(operation.kind, operation.source)
    silent = now - operation.last_seen_at
    if operation.state != OperationState.OPEN or silent <= timedelta(seconds=limit_s):
        return None
    left = [vm for vm in vms if left_between(operation, vm)]
    reason = _reason(operation, silent, limits, sorted(left, key=lambda vm: vm.vm_name))
    after = operation._replace(state=OperationState.OVERDUE, sequence=operation.sequence + 1)
    transition = Transition(
        id=overdue_transition_id(after.id, after.sequence), at=now, entity=EntityKind.OPERATION, entity_id=after.id,
        source=after.source, tenant=after.tenant, deployment=after.deployment, incarnation=None,
        name=after.transaction_id, sequence=after.sequence, from_state=operation.state, to_state=after.state,
        change=after.state.lower(), trigger=TRIGGER, rule=RULE, reason=reason,
        receipt=None, operation=after.transaction_id, ref=after.ref,
    )  # fmt: skip
    return Decision(Outcome.APPLIED, RULE, reason, (after,), ((transition, after),))


def left_between(operation: Operation, vm: Vm) -> bool:
    """Whether the operation spoke of this VM, and the VM is where it is not meant to stay."""
    spoke = operation.transaction_id in vm.memory.get("tracks", {})
    rests = vm.state == VmState.INERT and vm.monitored is False
    return spoke and vm.state in BETWEEN and not rests


def _reason(operation: Operation, silent: timedelta, limits: Limits, left: list[Vm]) -> str:
    limit = for_people(limits.of(operation.kind, operation.source))
    usual = limits.learned.of(operation)
    usually = f", usually it takes {for_people(usual.usual_s)}" if usual else ""
    said = f"{operation.kind}: nothing heard for {for_people(silent.total_seconds())}"
    said += f" (limit {limit}{usually}); its closing message may be lost"
    if not left:
        return said
    names = ", ".join(f"{vm.vm_name} ({vm.state})" for vm in left[: limits.vms_named_max])
    more = " and others" if len(left) > limits.vms_named_max else ""
    return f"{said}; left between states: {names}{more}"


def for_people(seconds: float) -> str:
    """Two units at most: `1 h 5 min`, `40 s`."""
    whole = round(seconds)
    units = ((whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next((n for n, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count) or f"{seconds:g} s"
