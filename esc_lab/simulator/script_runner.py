"""Performs a script: who plays which role in, messages and what they prove out.

An Operation carries its own claims: what must hold afterwards and which messages tell it. The world moves on at once,
for ESC has done the work whether or not anybody hears of it. This file must not know how a receiver judges messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from esc_lab.simulator.esc_messages import (
    REPORTED_VM_STATES,
    Message,
    Side,
    deployment_body,
    event_body,
    headers_of,
)
from esc_lab.simulator.fleet import Deployment, Instance, Vm, make_instance, uuid_of
from esc_lab.simulator.resource_scripts import Resource, resource_message
from esc_lab.simulator.script_model import FIRST_REST_S, PACE_OTHERS_S, PACE_S, REST_S, UNKNOWN, End, Script, Step

EntityKind = Literal["deployment", "vm", "operation", "resource"]
Key = tuple[str | int, ...]
"""Deployment: source, internal id, incarnation. VM: the same and its name. Operation: source, transaction id.
Resource: source, kind, internal id."""

Cast = Mapping[str, Sequence[Vm]]
"""The VMs that play each role of a script."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What must hold of an entity once any message of `by` (positions in the operation) has been received.

    `values` holds every value the sources allow; none at all means that nothing is certain from here on.
    `if_known` claims hold only of an entity whose state was certain before.
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
    claims: tuple[Claim, ...]
    closed_by: frozenset[int]
    """Positions of the message that ends it; none where the sources do not tell."""
    deployment: Key | None = None
    has_resource_steps: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """A step with the VMs it names. `pause_s`: how long before it; None: as the pace has it."""

    step: Step
    source: Side | None
    target: Side | None = None
    pause_s: float | None = None


Merge = Callable[[Sequence[Sequence[Act]], Random], list[Act]]
"""Puts the lines of several VMs into one order, each line kept in its own."""

Renew = Callable[[Vm, Random], Instance]
"""What the VIM runs for a VM after a redeploy."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """An operation that has not happened yet, and the instance each VM would end with, by its name."""

    operation: Operation
    finals: Mapping[str, Instance]


def perform(
    script: Script, deployment: Deployment, cast: Cast, network: Sequence[Resource], *, style: str, rng: Random
) -> Operation:
    """One operation on a deployment, whose state and VMs are left as the script ends.

    `network` is what the deployment brings with it (network before subnet); it is used where the script says so.
    """
    rehearsal = rehearse(script, deployment, cast, network, style=style, rng=rng)
    first, *others = rehearsal.operation.messages
    first = replace(first, pause_s=first.pause_s + rng.uniform(*_rest_s(deployment)))
    settle(script, deployment, cast, rehearsal.finals)
    return replace(rehearsal.operation, messages=(first, *others))


def rehearse(
    script: Script,
    deployment: Deployment,
    cast: Cast,
    network: Sequence[Resource],
    *,
    style: str,
    rng: Random,
    transaction: str = "",
    merge: Merge | None = None,
    renew: Renew | None = None,
) -> Rehearsal:
    """What the operation will be; the world is left as it is, until `settle`."""
    transaction = transaction or uuid_of(rng)
    fresh = frozenset(vm.name for vms in cast.values() for vm in vms if not vm.state)
    finals, acts = _acts(script, deployment, cast, rng, merge or interleave, renew or _made_anew(deployment))
    messages = [_message(act, deployment, transaction, style, rng) for act in acts]
    steps = _network_messages(script, network, transaction, style)
    if script.networks == "CREATE":
        messages = [*steps, *messages]
    else:
        messages = [*messages[:-1], *steps, *messages[-1:]] if script.closing else messages
    claims = [
        *_vm_claims(script, deployment, cast, finals, messages, fresh=fresh),
        *_deployment_claims(script, deployment, messages),
        *_network_claims(script, network, deployment, messages),
    ]
    closed_by = _saying(messages, (script.closed_by,))
    operation = Operation(
        script.kind,
        script.outcome,
        deployment.source,
        transaction,
        tuple(messages),
        tuple(claims),
        closed_by,
        key_of(deployment),
        has_resource_steps=bool(steps),
    )
    return Rehearsal(operation, finals)


def _rest_s(deployment: Deployment) -> tuple[float, float]:
    """Nothing comes before a first deploy that it would have to wait for."""
    return REST_S if deployment.state or deployment.incarnation > 1 else FIRST_REST_S


def key_of(deployment: Deployment) -> Key:
    """How truth calls a deployment."""
    return deployment.source, deployment.internal_id, deployment.incarnation


def interleave(lines: Sequence[Sequence[Act]], rng: Random) -> list[Act]:
    """The lines merged at random, each kept in its own order."""
    tickets = [number for number, line in enumerate(lines) for _ in line]
    rng.shuffle(tickets)
    iterators = [iter(line) for line in lines]
    return [next(iterators[number]) for number in tickets]


def _made_anew(deployment: Deployment) -> Renew:
    return lambda vm, rng: make_instance(deployment.vim, len(vm.instance.nics), rng)


def _acts(
    script: Script, deployment: Deployment, cast: Cast, rng: Random, merge: Merge, renew: Renew
) -> tuple[dict[str, Instance], list[Act]]:
    """Every step with the VMs it names, and the instance each VM ends with, by its name."""
    finals: dict[str, Instance] = {}
    lines: list[list[Act]] = []
    for role, steps in script.lines.items():
        born = next(iter(cast.get("born", ())), None)
        for vm in cast.get(role, ()):
            instances = _instances(steps, vm, renew, rng)
            finals[vm.name] = list(instances.values())[-1]
            lines.append([_act(step, vm, born, instances) for step in steps])
    acts = merge(lines, rng)
    if script.closing is not None:
        acts.append(_closing(script.closing, acts, deployment))
    return finals, acts


def _instances(steps: Iterable[Step], vm: Vm, renew: Renew, rng: Random) -> dict[str, Instance]:
    instances = {"old": vm.instance}
    for word in ("new", "newer"):
        if any(step.target == word for step in steps):
            instances[word] = renew(vm, rng)
    return instances


def _act(step: Step, vm: Vm, born: Vm | None, instances: Mapping[str, Instance]) -> Act:
    source = Side(vm, instances[step.source]) if step.named else None
    if step.target == "born" and born is not None:
        return Act(step, source, Side(born, born.instance))
    instance = instances.get("old" if step.target == "same" else step.target)
    reported = replace(step, vm_state=REPORTED_VM_STATES.get(vm.state, "")) if step.vm_state == "=" else step
    return Act(reported, source, Side(vm, instance) if instance else None)


def _closing(step: Step, acts: Sequence[Act], deployment: Deployment) -> Act:
    """A service stage; one that reports a VM state carries the block of the VM spoken of last."""
    if not step.named or not step.vm_state:
        return Act(step, None)
    spoken_of = [act.source for act in acts if act.source is not None]
    fallback = deployment.live_vms()[0]
    return Act(step, spoken_of[-1] if spoken_of else Side(fallback, fallback.instance))


def _message(act: Act, deployment: Deployment, transaction: str, style: str, rng: Random) -> Message:
    step = act.step
    if step.service_state:
        root = "deployment"
        body = deployment_body(deployment, step.says, step.service_state, act.source, step.vm_state)
    else:
        root = "esc_event"
        has_target = step.target != "none"
        body = event_body(deployment, step.says, act.source, act.target, has_target=has_target)
    text = step.text.format(vm=act.source.vm.name if act.source else "")
    return Message(
        channel="callback" if step.service_state else "events",
        root=root,
        says=step.says,
        ok=step.ok,
        headers=headers_of(style, transaction, text, ok=step.ok),
        body=body,
        vms=tuple(side.named() for side in (act.source, act.target) if side is not None),
        pause_s=rng.uniform(*PACE_S.get(step.says, PACE_OTHERS_S)) if act.pause_s is None else act.pause_s,
        vm_state=step.vm_state,
        service_state=step.service_state,
    )


def _network_messages(script: Script, network: Sequence[Resource], transaction: str, style: str) -> list[Message]:
    if not script.networks:
        return []
    ordered = network if script.networks == "CREATE" else network[::-1]
    return [resource_message(one, script.networks, transaction, style, ok=True) for one in ordered]


def _saying(messages: Sequence[Message], says: Iterable[str], vm_name: str = "") -> frozenset[int]:
    """Positions of what says one of these; asked for a VM, only what names it or speaks for the whole service."""
    wanted = frozenset(says)
    return frozenset(
        position
        for position, message in enumerate(messages)
        if message.says in wanted
        and (not vm_name or message.says.startswith("SERVICE_") or any(vm_name == name for name, _ in message.vms))
    )


def _vm_claims(
    script: Script,
    deployment: Deployment,
    cast: Cast,
    finals: Mapping[str, Instance],
    messages: Sequence[Message],
    *,
    fresh: frozenset[str],
) -> Iterable[Claim]:
    for role, vms in cast.items():
        for vm in vms:
            if role in script.ends:
                yield _claim("vm", (*key_of(deployment), vm.name), script.ends[role], messages, vm.name)
            final = finals.get(vm.name, vm.instance)
            by = _told_by(vm, final, messages, fresh=vm.name in fresh)
            if by:
                yield Claim("vm", (*key_of(deployment), vm.name), "vm_uuid", frozenset({final.vm_uuid}), by)


def _told_by(vm: Vm, final: Instance, messages: Sequence[Message], *, fresh: bool) -> frozenset[int]:
    """Which messages tell that `final` is what the VM is now; empty when nothing changed.

    Of several replacements any message but the last could be overtaken, so that only the last one tells.
    """
    naming = [
        (position, uuid) for position, message in enumerate(messages) for name, uuid in message.vms if name == vm.name
    ]
    telling = [position for position, uuid in naming if uuid == final.vm_uuid]
    replaced = len({uuid for _, uuid in naming}) - 1
    if not telling or not (fresh or replaced):
        return frozenset()
    return frozenset(telling[-1:] if replaced > 1 else telling)


def _deployment_claims(script: Script, deployment: Deployment, messages: Sequence[Message]) -> Iterable[Claim]:
    if script.deployment is not None:
        yield _claim("deployment", key_of(deployment), script.deployment, messages)


def _claim(entity: EntityKind, key: Key, end: End, messages: Sequence[Message], vm_name: str = "") -> Claim:
    values = frozenset() if end.state == UNKNOWN else frozenset({end.state})
    return Claim(entity, key, "state", values, _saying(messages, end.by, vm_name), end.if_known)


def _network_claims(
    script: Script, network: Sequence[Resource], deployment: Deployment, messages: Sequence[Message]
) -> Iterable[Claim]:
    state = {"CREATE": "CREATED", "DELETE": "DELETED"}.get(script.networks)
    for resource in network if state else ():
        by = _saying(messages, (f"{script.networks}_{resource.kind.upper()}",))
        yield Claim("resource", resource.key(deployment.source), "state", frozenset({str(state)}), by)


def settle(script: Script, deployment: Deployment, cast: Cast, finals: Mapping[str, Instance]) -> None:
    """Brings the world to where the script ends."""
    for role, vms in cast.items():
        for vm in vms:
            vm.instance = finals.get(vm.name, vm.instance)
            end = script.ends.get(role)
            if end is not None and end.state != UNKNOWN:
                vm.state = end.state
            vm.monitored = script.monitors.get(role, vm.monitored)
    if script.deployment is not None:
        deployment.state = script.deployment.state
        deployment.worked = deployment.worked or deployment.state == "ACTIVE"
