"""Metrics of the lifecycle: operations that ended, recoveries and their steps, time in a state, flapping VMs.

They are computed from committed decisions and nothing else. Must not know SQL, nor who commits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from itertools import zip_longest
from typing import Final
from uuid import UUID

from receiver.config.settings import Settings
from receiver.model.entities import (
    Decision,
    DeploymentState,
    EntityKind,
    Operation,
    OperationState,
    Transition,
    VmState,
)
from receiver.observability.catalogue import STATES, Catalogue, operation_kind
from receiver.observability.definition import exemplar
from receiver.observability.labels import OTHER, RecoveryEnd, RecoveryStep, Step

ENDS: Final[Mapping[str, RecoveryEnd]] = {
    "vm-recovered": RecoveryEnd.RECOVERED,
    "vm-recovery-failed": RecoveryEnd.FAILED,
    "vm-recovery-cancelled": RecoveryEnd.CANCELLED,
    "vm-manual-recovery-needed": RecoveryEnd.MANUAL,
}
"""How a recovery ended, by the rule of the lifecycle's tables."""
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
    """Finds VMs that ESC recovers again and again, by the times of the last recoveries of at most `vms_max` VMs."""

    def __init__(self, recoveries: int, window_s: float, vms_max: int) -> None:
        self._recoveries, self._window_s, self._vms_max = recoveries, window_s, vms_max
        self._times: OrderedDict[tuple[str, UUID], deque[float]] = OrderedDict()

    def recovered(self, source: str, vm: UUID, at_s: float) -> bool:
        """Note a recovery; whether the VM is flapping now. The VM that was recovered longest ago is forgotten first."""
        times = self._times.setdefault((source, vm), deque(maxlen=self._recoveries))
        self._times.move_to_end((source, vm))
        if len(self._times) > self._vms_max:
            self._times.popitem(last=False)
        times.append(at_s)
        return self._is_flapping(times, at_s)

    def now(self, at_s: float) -> Counter[str]:
        """How many VMs of each source are flapping now; forgets those without a recovery within the window."""
        while self._times and next(iter(self._times.values()))[-1] < at_s - self._window_s:
            self._times.popitem(last=False)
        return Counter(source for (source, _), times in self._times.items() if self._is_flapping(times, at_s))

    def _is_flapping(self, times: deque[float], at_s: float) -> bool:
        return len(times) == self._recoveries and times[0] >= at_s - self._window_s


class Tenants:
    """Keeps the first `tenants_max` names as label values; all later ones share `(other)`."""

    def __init__(self, tenants_max: int) -> None:
        self._tenants_max = tenants_max
        self._seen: set[str] = set()

    def name(self, tenant: str) -> str:
        """The value of the label `tenant`."""
        if tenant not in self._seen:
            if len(self._seen) >= self._tenants_max:
                return OTHER
            self._seen.add(tenant)
        return tenant


class LifecycleMetrics:
    """Counts decisions. `count` is called once for each that was committed."""

    def __init__(self, metrics: Catalogue, settings: Settings) -> None:
        self.flapping = Flapping(settings.flapping_recoveries, settings.flapping_window_s, settings.flapping_vms_max)
        self._tenants = Tenants(settings.tenants_max)
        self._metrics = metrics
        # `labels` takes longer than the counting itself, so each child is looked up once.
        self._transitions = cache(metrics.transitions.labels)
        self._operations_ended = cache(metrics.operations_ended.labels)
        self._operation_seconds = cache(metrics.operation_seconds.labels)
        self._vm_state_seconds = cache(metrics.vm_state_seconds.labels)
        self._step_seconds = cache(metrics.step_seconds.labels)
        for entity, states in STATES.items():
            for state in states:
                metrics.transitions.labels(entity, state)

    def count(self, decision: Decision) -> None:
        """Count what a decision changed."""
        if attempt := ATTEMPTS.get(decision.rule):
            self._metrics.recovery_attempts.labels(*attempt).inc()
        for (transition, entity), since in zip_longest(decision.transitions, decision.since):
            self._transitions(transition.entity, transition.to_state).inc()
            if transition.from_state == transition.to_state:
                continue
            if isinstance(entity, Operation):
                self._count_operation(transition, entity)
            else:
                self._count_change(transition, since)

    def _count_operation(self, transition: Transition, operation: Operation) -> None:
        if transition.to_state == OperationState.OVERDUE:
            self._metrics.operations_became_overdue.labels(operation.source).inc()
        if operation.ended_at is None or transition.from_state not in RUNNING:
            return
        kind, outcome = operation_kind(operation.kind), transition.to_state.lower()
        self._operations_ended(operation.source, kind, outcome).inc()
        if outcome == "succeeded":
            seconds = (operation.ended_at - operation.first_seen_at).total_seconds()
            self._operation_seconds(kind).observe(seconds, exemplar(operation.transaction_id))
        if operation.tenant:
            tenant = self._tenants.name(self._metrics.fit(operation.tenant))
            self._metrics.tenant_operations.labels(tenant, outcome).inc()
            if tenant == OTHER:
                self._metrics.tenants_folded.inc()

    def _count_change(self, transition: Transition, since: datetime | None) -> None:
        if transition.rule == STARTED:
            self._metrics.recoveries_started.labels(transition.source).inc()
            if self.flapping.recovered(transition.source, transition.entity_id, transition.at.timestamp()):
                self._metrics.flapping.inc()
        elif end := ENDS.get(transition.rule):
            self._metrics.recoveries_ended.labels(end).inc()
        if since is not None:
            self._observe_duration(transition, (transition.at - since).total_seconds())

    def _observe_duration(self, transition: Transition, seconds: float) -> None:
        if seconds < 0:  # it arrived before the callback that changed the entity last: the duration is not known
            return
        if transition.entity == EntityKind.VM:
            self._vm_state_seconds(transition.from_state).observe(seconds, exemplar(transition.operation))
        if step := STEPS.get((transition.entity, transition.from_state, transition.to_state)):
            self._step_seconds(step).observe(seconds, exemplar(transition.operation))
