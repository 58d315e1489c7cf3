"""Runs a script: VMs by role in; messages, and what they prove, out.

An Operation carries its own claims: what must hold afterwards and which messages prove it. The fleet changes at once,
because ESC has done the work whether or not a message arrives. This file must not know how a receiver judges messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from esc_lab.simulator.esc_messages import (
    REPORTED_VM_STATES,
    Message,
    VmRef,
    deployment_fields,
    details_fields,
    event_fields,
    headers_of,
    render,
)
from esc_lab.simulator.fleet import Deployment, Instance, Vm, hosts_of, redeployed, uuid_of
from esc_lab.simulator.resource_scripts import Action, Resource, resource_message
from esc_lab.simulator.script_model import (
    FAILED,
    FIRST_REST_S,
    PACE_OTHERS_S,
    PACE_S,
    RESOURCE_PACE_S,
    REST_S,
    SUCCEEDED,
    UNKNOWN,
    End,
    Script,
    Step,
)

EntityKind = Literal["deployment", "vm", "operation", "resource"]
Key = tuple[str | int, ...]
"""Deployment: source, internal id, incarnation. VM: the same and its name. Operation: source, transaction id.
Resource: source, kind, internal id."""

Roles = Mapping[str, Sequence[Vm]]
"""The VMs in each role of a script."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What must hold of an entity once any message of `by` (positions in the operation) has been received.

    `values` holds every value the sources allow; none means that nothing is certain from here on. A claim with
    `if_known` holds only of an entity whose state was certain before.
    """

    entity: EntityKind
    key: Key
    field: Literal["state", "vm_uuid"]
    values: frozenset[str]
    by: frozenset[int]
    if_known: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """All that shares one transaction id, in the order in which ESC sends it."""

    kind: str
    outcome: str
    source: str
    transaction: str
    messages: tuple[Message, ...]
    claims: tuple[Claim, ...] = ()
    closed_by: frozenset[int] = frozenset()
    """Positions of the message that ends it; none where the sources do not tell."""
    deployment: Key | None = None
    has_resource_steps: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with the VMs it names. `pause_s`: how long before it; None: drawn from the pace of its event."""

    step: Step
    source: VmRef | None
    target: VmRef | None = None
    pause_s: float | None = None


Merge = Callable[[Sequence[Sequence[PlannedStep]], Random], list[PlannedStep]]
"""Merges the lines of several VMs into one order; each line keeps its own."""

Redeploy = Callable[[Vm, Random], Instance]
"""What the VIM runs for a VM after a redeploy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation that has not happened yet, and the instance each VM would end with, by its name."""

    operation: Operation
    finals: Mapping[str, Instance]


def run_script(
    script: Script, deployment: Deployment, roles: Roles, network: Sequence[Resource], *, style: str, rng: Random
) -> Operation:
    """One operation on a deployment, whose state and VMs are left as the script ends.

    `network` is what the deployment brings with it (network before subnet); it is used where the script says so.
    """
    created, deleted = (network if script.networks == action else () for action in ("CREATE", "DELETE"))
    plan = plan_script(script, deployment, roles, created, deleted, style=style, rng=rng)
    first, *others = plan.operation.messages
    # A first deploy has no earlier operation to wait for.
    rest_s = REST_S if deployment.state or deployment.incarnation > 1 else FIRST_REST_S
    first = replace(first, pause_s=first.pause_s + rng.uniform(*rest_s))
    apply_ends(script, deployment, roles, plan.finals)
    return replace(plan.operation, messages=(first, *others))


def plan_script(
    script: Script,
    deployment: Deployment,
    roles: Roles,
    created: Sequence[Resource] = (),
    deleted: Sequence[Resource] = (),
    *,
    style: str,
    rng: Random,
    merge: Merge | None = None,
    redeploy: Redeploy | None = None,
) -> Plan:
    """The operation as it will be; the fleet is left as it is until `apply_ends`.

    Networks (each before its subnets) are created before, and deleted in reverse after, what happens to the VMs.
    """
    transaction = uuid_of(rng)
    fresh = {vm.name for vms in roles.values() for vm in vms if not vm.state}
    finals, steps = _planned_steps(
        script, deployment, roles, rng, merge or interleave, redeploy or _to_any_host(deployment)
    )
    messages = [_message(one, deployment, transaction, style, rng) for one in steps]
    messages[:0] = [resource_message(one, "CREATE", transaction, style, ok=True) for one in created]
    end = len(messages) - (script.closing is not None)
    messages[end:end] = [resource_message(one, "DELETE", transaction, style, ok=True) for one in deleted[::-1]]
    claims = [
        *_vm_claims(script, deployment, roles, finals, messages, fresh),
        *_deployment_claims(script, deployment, messages),
        *_network_claims("CREATE", created, deployment, messages),
        *_network_claims("DELETE", deleted, deployment, messages),
    ]
    operation = Operation(
        script.kind,
        script.outcome,
        deployment.source,
        transaction,
        tuple(messages),
        tuple(claims),
        _positions(messages, (script.closed_by,)),
        key_of(deployment),
        has_resource_steps=bool(created or deleted),
    )
    return Plan(operation, finals)


def apply_ends(script: Script, deployment: Deployment, roles: Roles, finals: Mapping[str, Instance]) -> None:
    """Brings deployment and VMs into the states in which the script ends."""
    for role, vms in roles.items():
        for vm in vms:
            vm.instance = finals.get(vm.name, vm.instance)
            end = script.ends.get(role)
            if end is not None and end.state != UNKNOWN:
                vm.state = end.state
            vm.monitored = script.monitors.get(role, vm.monitored)
    if script.deployment is not None:
        deployment.state = script.deployment.state
        deployment.was_active = deployment.was_active or deployment.state == "ACTIVE"


def resource_operation(
    resource: Resource, action: Action, source: str, before: frozenset[str], *, style: str, ok: bool, rng: Random
) -> Operation:
    """An operation on one resource, with the callback that ends it; `before`: the states it may have been in."""
    transaction = uuid_of(rng)
    message = resource_message(resource, action, transaction, style, ok=ok)
    message = replace(message, pause_s=rng.uniform(*RESOURCE_PACE_S))
    after = {"CREATE": "CREATED", "UPDATE": "UPDATED", "DELETE": "DELETED"}[action]
    # What a failed update or delete leaves behind no source says: an error, or what was there.
    values = frozenset({after}) if ok else before | {"ERROR"}
    first = frozenset({0})
    claim = Claim("resource", resource.key(source), "state", values, first, if_known=not ok and bool(before))
    kind, outcome = f"{action.lower()}-{resource.kind}", SUCCEEDED if ok else FAILED
    return Operation(kind, outcome, source, transaction, (message,), (claim,), first)


def key_of(deployment: Deployment) -> Key:
    """The key of a deployment in the expected state."""
    return deployment.source, deployment.internal_id, deployment.incarnation


def interleave(lines: Sequence[Sequence[PlannedStep]], rng: Random) -> list[PlannedStep]:
    """The lines merged at random, each kept in its own order."""
    tickets = [number for number, line in enumerate(lines) for _ in line]
    rng.shuffle(tickets)
    iterators = [iter(line) for line in lines]
    return [next(iterators[number]) for number in tickets]


def _to_any_host(deployment: Deployment) -> Redeploy:
    hosts = list(hosts_of(deployment.vim).items())
    return lambda vm, rng: redeployed(vm.instance, deployment.vim, rng.choice(hosts), rng)


def _planned_steps(
    script: Script, deployment: Deployment, roles: Roles, rng: Random, merge: Merge, redeploy: Redeploy
) -> tuple[dict[str, Instance], list[PlannedStep]]:
    """The instance each VM ends with, by its name, and every step with the VMs it names."""
    finals: dict[str, Instance] = {}
    lines: list[list[PlannedStep]] = []
    born = next(iter(roles.get("born", ())), None)
    for role, steps in script.lines.items():
        for vm in roles.get(role, ()):
            instances = {"old": vm.instance}
            for target in ("new", "newer"):
                if any(step.target == target for step in steps):
                    instances[target] = redeploy(vm, rng)
            finals[vm.name] = list(instances.values())[-1]
            lines.append([_planned(step, vm, born, instances) for step in steps])
    merged = merge(lines, rng)
    if script.closing is not None:
        merged.append(_closing(script.closing, merged, deployment))
    return finals, merged


def _planned(step: Step, vm: Vm, born: Vm | None, instances: Mapping[str, Instance]) -> PlannedStep:
    source = VmRef(vm, instances[step.source]) if step.names_vm else None
    if step.target == "born" and born is not None:
        return PlannedStep(step, source, VmRef(born, born.instance))
    instance = instances.get("old" if step.target == "same" else step.target)
    reported = replace(step, vm_state=REPORTED_VM_STATES.get(vm.state, "")) if step.vm_state == "=" else step
    return PlannedStep(reported, source, VmRef(vm, instance) if instance else None)


def _closing(step: Step, before: Sequence[PlannedStep], deployment: Deployment) -> PlannedStep:
    """A service stage; one that reports a VM state carries the block of the VM named last."""
    if not step.names_vm or not step.vm_state:
        return PlannedStep(step, None)
    named = [one.source for one in before if one.source is not None]
    fallback = deployment.live_vms()[0]
    return PlannedStep(step, named[-1] if named else VmRef(fallback, fallback.instance))


def _message(planned: PlannedStep, deployment: Deployment, transaction: str, style: str, rng: Random) -> Message:
    step, source, target = planned.step, planned.source, planned.target
    if step.service_state:
        root, details = "deployment", [details_fields(source, step.vm_state)] if source else []
        fields = deployment_fields(deployment, step.service_state, details, step.event)
    else:
        root = "esc_event"
        fields = event_fields(deployment, step.event, source, target, has_target=step.target != "none")
    text = step.text.format(vm=source.vm.name if source else "")
    return Message(
        channel="callback" if step.service_state else "events",
        root=root,
        event=step.event,
        ok=step.ok,
        headers=headers_of(style, transaction, text, ok=step.ok),
        body=render(root, fields),
        vms=tuple(ref.ids() for ref in (source, target) if ref is not None),
        pause_s=rng.uniform(*PACE_S.get(step.event, PACE_OTHERS_S)) if planned.pause_s is None else planned.pause_s,
        vm_state=step.vm_state,
        service_state=step.service_state,
    )


def _positions(messages: Sequence[Message], events: Iterable[str], vm_name: str = "") -> frozenset[int]:
    """Positions of messages with one of these events; for a VM, only those that name it or speak for the service."""
    wanted = frozenset(events)
    return frozenset(
        position
        for position, message in enumerate(messages)
        if message.event in wanted
        and (not vm_name or message.event.startswith("SERVICE_") or any(vm_name == name for name, _ in message.vms))
    )


def _vm_claims(
    script: Script,
    deployment: Deployment,
    roles: Roles,
    finals: Mapping[str, Instance],
    messages: Sequence[Message],
    fresh: set[str],
) -> Iterable[Claim]:
    for role, vms in roles.items():
        for vm in vms:
            key = (*key_of(deployment), vm.name)
            if role in script.ends:
                yield _claim("vm", key, script.ends[role], messages, vm.name)
            final = finals.get(vm.name, vm.instance)
            if by := _uuid_proofs(vm, final, messages, fresh=vm.name in fresh):
                yield Claim("vm", key, "vm_uuid", frozenset({final.vm_uuid}), by)


def _uuid_proofs(vm: Vm, final: Instance, messages: Sequence[Message], *, fresh: bool) -> frozenset[int]:
    """Positions of the messages that prove `final` is the VM's instance now; empty when nothing changed.

    Of several replacements any message but the last may be overtaken, so that only the last one is proof.
    """
    naming = [
        (position, uuid) for position, message in enumerate(messages) for name, uuid in message.vms if name == vm.name
    ]
    proofs = [position for position, uuid in naming if uuid == final.vm_uuid]
    replaced = len({uuid for _, uuid in naming}) - 1
    if not proofs or not (fresh or replaced):
        return frozenset()
    return frozenset(proofs[-1:] if replaced > 1 else proofs)


def _deployment_claims(script: Script, deployment: Deployment, messages: Sequence[Message]) -> Iterable[Claim]:
    if script.deployment is not None:
        yield _claim("deployment", key_of(deployment), script.deployment, messages)


def _claim(entity: EntityKind, key: Key, end: End, messages: Sequence[Message], vm_name: str = "") -> Claim:
    values = frozenset() if end.state == UNKNOWN else frozenset({end.state})
    return Claim(entity, key, "state", values, _positions(messages, end.by, vm_name), end.if_known)


def _network_claims(
    action: Action, resources: Sequence[Resource], deployment: Deployment, messages: Sequence[Message]
) -> Iterable[Claim]:
    state = {"CREATE": "CREATED", "UPDATE": "UPDATED", "DELETE": "DELETED"}[action]
    for resource in resources:
        event, about = f"{action}_{resource.kind.upper()}", (resource.kind, resource.id)
        by = frozenset(n for n, message in enumerate(messages) if (message.event, message.resource) == (event, about))
        yield Claim("resource", resource.key(deployment.source), "state", frozenset({state}), by)
