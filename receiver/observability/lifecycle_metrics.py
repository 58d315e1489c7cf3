"""What ledger entries mean in figures: operations ended, recoveries and what they tried, time in state, flapping.

Told each decision that was committed, and nothing else. Must not know SQL, nor who commits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import datetime
from itertools import zip_longest
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry

from receiver.model.entities import (
    Decision,
    DeploymentState,
    EntityKind,
    Operation,
    OperationState,
    Transition,
    VmState,
)
from receiver.observability import catalogue
from receiver.observability.cells import AtStart, Spreads, Tally
from receiver.observability.labels import OTHER, RecoveryEnd, RecoveryStep, Step

ENDS: Final[Mapping[str, RecoveryEnd]] = {
    "vm-recovered": RecoveryEnd.RECOVERED,
    "vm-recovery-failed": RecoveryEnd.FAILED,
    "vm-recovery-cancelled": RecoveryEnd.CANCELLED,
    "vm-manual-recovery-needed": RecoveryEnd.MANUAL,
}
"""By rule of the lifecycle's tables."""
ATTEMPTS: Final[Mapping[str, tuple[RecoveryStep, str]]] = {
    "vm-recovery-rebooted": (RecoveryStep.REBOOT, "succeeded"),
    "vm-recovery-reboot-failed": (RecoveryStep.REBOOT, "failed"),
    "vm-recovery-undeployed": (RecoveryStep.UNDEPLOY, "succeeded"),
    "vm-recovery-undeploy-failed": (RecoveryStep.UNDEPLOY, "failed"),
    "vm-recovery-deployed": (RecoveryStep.DEPLOY, "succeeded"),
    "vm-recovery-deploy-failed": (RecoveryStep.DEPLOY, "failed"),
}
STARTED: Final = "vm-recovery-started"
_V, _D = VmState, DeploymentState
STEPS: Final[Mapping[tuple[str, str, str], Step]] = {
    (EntityKind.VM, _V.INERT, _V.ALIVE): Step.VM_INERT_ALIVE,
    (EntityKind.VM, _V.RECOVERING, _V.ALIVE): Step.VM_RECOVERING_ALIVE,
    (EntityKind.VM, _V.RECOVERING, _V.ERROR): Step.VM_RECOVERING_ERROR,
    (EntityKind.VM, _V.ERROR, _V.ALIVE): Step.VM_ERROR_ALIVE,
    (EntityKind.VM, _V.STOPPED, _V.ALIVE): Step.VM_STOPPED_ALIVE,
    (EntityKind.DEPLOYMENT, _D.DEPLOYING, _D.INERT): Step.DEPLOYMENT_DEPLOYING_INERT,
    (EntityKind.DEPLOYMENT, _D.DEPLOYING, _D.ACTIVE): Step.DEPLOYMENT_DEPLOYING_ACTIVE,
    (EntityKind.DEPLOYMENT, _D.INERT, _D.ACTIVE): Step.DEPLOYMENT_INERT_ACTIVE,
}
RUNNING: Final = frozenset({OperationState.OPEN, OperationState.OVERDUE, OperationState.UNSEEN})


class Flapping:
    """VMs that ESC recovers again and again: the times of their last recoveries, of so many VMs."""

    def __init__(self, recoveries: int, window_s: float, vms_max: int) -> None:
        self._recoveries, self._window_s, self._vms_max = recoveries, window_s, vms_max
        self._times: OrderedDict[UUID, deque[float]] = OrderedDict()

    def recovered(self, vm: UUID, at_s: float) -> bool:
        """Whether this is one recovery too many. The VM silent for longest is forgotten first."""
        times = self._times.setdefault(vm, deque(maxlen=self._recoveries))
        self._times.move_to_end(vm)
        if len(self._times) > self._vms_max:
            self._times.popitem(last=False)
        times.append(at_s)
        return self._is_flapping(times, at_s)

    def now(self, at_s: float) -> int:
        """How many VMs flap at this time; forgets those of which nothing was heard within the window."""
        while self._times and next(iter(self._times.values()))[-1] < at_s - self._window_s:
            self._times.popitem(last=False)
        return sum(self._is_flapping(times, at_s) for times in self._times.values())

    def _is_flapping(self, times: deque[float], at_s: float) -> bool:
        return len(times) == self._recoveries and times[0] >= at_s - self._window_s


class Tenants:
    """The first that were seen, and one name for all others."""

    def __init__(self, tenants_max: int) -> None:
        self._tenants_max = tenants_max
        self._seen: set[str] = set()

    def name(self, tenant: str) -> str:
        """The tenant's own name, or the one of all others."""
        if tenant not in self._seen:
            if len(self._seen) >= self._tenants_max:
                return OTHER
            self._seen.add(tenant)
        return tenant


class Lifecycle:
    """The collectors of this room. `told` is called once for each decision that was committed."""

    def __init__(self, registry: CollectorRegistry, flapping: Flapping, tenants: Tenants) -> None:
        at_start: AtStart = {}
        self.flapping, self.tenants = flapping, tenants
        self.transitions = Tally(catalogue.TRANSITIONS, registry, at_start)
        self.operations_ended = Tally(catalogue.OPERATIONS_ENDED, registry)
        self.operation_seconds = Spreads(catalogue.OPERATION_SECONDS, registry)
        self.vm_state_seconds = Spreads(catalogue.VM_STATE_SECONDS, registry)
        self.step_seconds = Spreads(catalogue.STEP_SECONDS, registry)
        self.recoveries_started = Tally(catalogue.RECOVERIES_STARTED, registry)
        self.recoveries_ended = Tally(catalogue.RECOVERIES_ENDED, registry)
        self.recovery_attempts = Tally(catalogue.RECOVERY_ATTEMPTS, registry)
        self.flapped = Tally(catalogue.FLAPPING, registry)
        self.tenant_operations = Tally(catalogue.TENANT_OPERATIONS, registry)
        self.tenants_folded = Tally(catalogue.TENANTS_FOLDED, registry)
        for entity, states in catalogue.STATES.items():
            for state in states:
                self.transitions.labels(entity, state)

    def told(self, decision: Decision) -> None:
        """Count what it changed."""
        if attempt := ATTEMPTS.get(decision.rule):
            self.recovery_attempts.cells[attempt].value += 1
        for (transition, entity), since in zip_longest(decision.transitions, decision.since):
            self.transitions.cells[transition.entity, transition.to_state].value += 1
            if transition.from_state == transition.to_state:
                continue
            if isinstance(entity, Operation):
                self._operation(transition, entity)
            else:
                self._moved(transition, since)

    def _operation(self, transition: Transition, operation: Operation) -> None:
        if operation.ended_at is None or transition.from_state not in RUNNING:
            return
        kind = catalogue.operation_kind(operation.kind)
        outcome = transition.to_state.lower()
        self.operations_ended.cells[kind, outcome].value += 1
        if outcome == "succeeded":
            seconds = (operation.ended_at - operation.first_seen_at).total_seconds()
            self.operation_seconds.cells[(kind,)].observe(seconds, operation.transaction_id)
        if operation.tenant:
            self._tenant(operation.tenant, outcome)

    def _tenant(self, tenant: str, outcome: str) -> None:
        name = self.tenants.name(tenant)
        self.tenant_operations.cells[name, outcome].value += 1
        if name == OTHER:
            self.tenants_folded.inc()

    def _moved(self, transition: Transition, since: datetime | None) -> None:
        if transition.rule == STARTED:
            self.recoveries_started.inc()
            if self.flapping.recovered(transition.entity_id, transition.at.timestamp()):
                self.flapped.inc()
        elif end := ENDS.get(transition.rule):
            self.recoveries_ended.cells[(end,)].value += 1
        if since is not None:
            self._timed(transition, (transition.at - since).total_seconds())

    def _timed(self, transition: Transition, seconds: float) -> None:
        if seconds < 0:  # it arrived before the one that moved the entity last: no time can be told
            return
        if transition.entity == EntityKind.VM:
            self.vm_state_seconds.cells[(transition.from_state,)].observe(seconds, transition.operation)
        if step := STEPS.get((transition.entity, transition.from_state, transition.to_state)):
            self.step_seconds.cells[(step,)].observe(seconds, transition.operation)
