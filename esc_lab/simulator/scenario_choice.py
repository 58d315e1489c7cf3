"""Who plays which role in which script: the offers open to a deployment, by the state it is in.

Only what ESC would allow is offered: nothing but an undeploy after a lost recovery, no start of what runs. This file
must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from esc_lab.simulator.fleet import Deployment, Vm, make_vm
from esc_lab.simulator.script_runner import Cast

CastingRule = Callable[[Deployment, Random], "Cast | None"]
"""Who plays which role; None when nobody can."""

VmTest = Callable[[Vm], bool]


@dataclass(frozen=True, slots=True)
class Offer:
    """A script that may come next, how often, and who plays in it."""

    script: str
    weight: float
    cast: CastingRule


def offers_to(deployment: Deployment, *, ending: bool, suspected: bool) -> list[Offer]:
    """What may come next; `ending`: only an undeploy; `suspected`: also what no source prints."""
    if ending and deployment.state:
        return list(_ENDING)
    if deployment.state == "ACTIVE" and any(vm.state == "ERROR" for vm in deployment.vms):
        return list(_MANUAL)
    return [offer for offer in _OFFERS[deployment.state] if suspected or offer.script not in _SUSPECTED]


def choose(offers: Sequence[Offer], deployment: Deployment, rng: Random) -> tuple[str, Cast]:
    """One of the offers that somebody can play; there always is one, for an undeploy needs nobody."""
    left = list(offers)
    while True:
        (offer,) = rng.choices(left, [offer.weight for offer in left])
        cast = offer.cast(deployment, rng)
        if cast is not None:
            return offer.script, cast
        left.remove(offer)


def _is_up(vm: Vm) -> bool:
    return vm.state in {"ALIVE", "INERT"}


def _is_stopped(vm: Vm) -> bool:
    return vm.state == "STOPPED"


def _is_watched(vm: Vm) -> bool:
    return vm.state == "ALIVE" and vm.monitored


def _is_broken(vm: Vm) -> bool:
    return vm.state == "ERROR"


def _is_unwatched(vm: Vm) -> bool:
    return _is_up(vm) and vm.monitorable and not vm.monitored


def _all(test: VmTest, role: str, least: int = 1) -> CastingRule:
    """Every VM that passes plays the role."""

    def rule(deployment: Deployment, _: Random) -> Cast | None:
        vms = [vm for vm in deployment.live_vms() if test(vm)]
        return {role: vms} if len(vms) >= least else None

    return rule


def _one(test: VmTest, role: str, least_live: int = 1) -> CastingRule:
    """One of those that pass plays the role, if the deployment has at least so many VMs."""

    def rule(deployment: Deployment, rng: Random) -> Cast | None:
        live = deployment.live_vms()
        vms = [vm for vm in live if test(vm)]
        return {role: [rng.choice(vms)]} if vms and len(live) >= least_live else None

    return rule


def _some(test: VmTest, role: str) -> CastingRule:
    """Any number of those that pass, also none."""

    def rule(deployment: Deployment, rng: Random) -> Cast | None:
        return {role: [vm for vm in deployment.live_vms() if test(vm) and rng.random() < 0.5]}

    return rule


def _by_monitor(choice: CastingRule, role: str) -> CastingRule:
    """Those chosen for the role play "monitored" or "unmonitored", as they are."""

    def rule(deployment: Deployment, rng: Random) -> Cast | None:
        cast = choice(deployment, rng)
        if cast is None:
            return None
        vms = cast[role]
        return {"monitored": [vm for vm in vms if vm.monitored], "unmonitored": [vm for vm in vms if not vm.monitored]}

    return rule


def _nobody(_: Deployment, __: Random) -> Cast | None:
    return {}


def _new_vms(deployment: Deployment, rng: Random) -> Cast:
    monitored = [make_vm(deployment, rng, monitorable=True) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]
    unmonitored = [make_vm(deployment, rng, monitorable=False) for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    if not monitored and not unmonitored:
        monitored = [make_vm(deployment, rng, monitorable=True)]
    return {"monitored": monitored, "unmonitored": unmonitored}


def _new_vms_and(role: str, *, monitorable: bool = True) -> CastingRule:
    """New VMs, and one more that comes to grief."""

    def rule(deployment: Deployment, rng: Random) -> Cast:
        return {**_new_vms(deployment, rng), role: [make_vm(deployment, rng, monitorable=monitorable)]}

    return rule


def _mixed_update(deployment: Deployment, rng: Random) -> Cast | None:
    """VMs added, removed and changed in one update, one of them at least."""
    live = [vm for vm in deployment.live_vms() if _is_up(vm)]
    rng.shuffle(live)
    removed = live[: rng.randrange(2)] if len(live) > 1 else []
    rest = live[len(removed) :]
    changed = rest[: rng.randrange(3)]
    by_text = [vm for vm in changed if rng.random() < 0.5]
    cast = {
        "removed": removed,
        "changed": [vm for vm in changed if vm not in by_text],
        "changed_by_text": by_text,
    }
    if not any(cast.values()) or rng.random() < 0.5:
        return {**cast, **_new_vms(deployment, rng)}
    return cast


def _failing_update(deployment: Deployment, rng: Random) -> Cast | None:
    if rng.random() < 0.5:
        return {}
    return {"failed": [make_vm(deployment, rng, monitorable=True)]}


def _failing_reboot(deployment: Deployment, rng: Random) -> Cast | None:
    """Some come back, one does not, of the others nothing is heard."""
    watched = [vm for vm in deployment.live_vms() if _is_watched(vm)]
    if not watched or not all(_is_up(vm) for vm in deployment.live_vms()):
        return None
    failed = rng.choice(watched)
    return {"failed": [failed], "monitored": [vm for vm in watched if vm is not failed and rng.random() < 0.7]}


def _reboot(deployment: Deployment, rng: Random) -> Cast | None:
    if not deployment.worked or not all(_is_up(vm) for vm in deployment.live_vms()):
        return None
    return _by_monitor(_all(_is_up, "up"), "up")(deployment, rng)


def _scale_out(deployment: Deployment, rng: Random) -> Cast | None:
    cast = _one(_is_watched, "busy")(deployment, rng)
    return cast and {**cast, "born": [make_vm(deployment, rng, monitorable=True)]}


def _leaky_undeploy(deployment: Deployment, rng: Random) -> Cast | None:
    live = deployment.live_vms()
    leaked = [vm for vm in live if rng.random() < 0.5]
    return {"gone": [vm for vm in live if vm not in leaked], "leaked": leaked}


def _anybody(_: Vm) -> bool:
    return True


_SUSPECTED = frozenset({"recovery-manual"})

_ENDING = (Offer("undeploy", 5, _all(_anybody, "gone", least=0)), Offer("undeploy-fails", 1, _leaky_undeploy))

_MANUAL = (
    Offer("recovery-reboot", 3, _one(_is_broken, "sick")),
    Offer("recovery-redeploy", 3, _one(_is_broken, "sick")),
    Offer("recovery-fails", 1, _one(_is_broken, "sick")),
)
"""A VM that waits for a manual recovery gets one before anything else happens."""

_IN_ERROR = (Offer("reboot", 4, _reboot), *_ENDING)
"""After a failed reboot it may be tried again; a deployment in error is else only good for an undeploy
(docs/esc-callbacks.md#A52)."""

_OFFERS: Mapping[str, Sequence[Offer]] = {
    "": (
        Offer("deploy", 16, _new_vms),
        Offer("deploy-fails", 1, _new_vms_and("failed")),
        Offer("deploy-never-alive", 1, _new_vms_and("silent")),
    ),
    "ACTIVE": (
        Offer("update", 6, _mixed_update),
        Offer("update-fails", 1, _failing_update),
        Offer("stop", 4, _all(_is_up, "up")),
        Offer("stop-fails", 1, _some(_is_up, "up")),
        Offer("reboot", 3, _reboot),
        Offer("reboot-fails", 0.7, _failing_reboot),
        Offer("monitor-on", 4, _all(_is_unwatched, "watched")),
        Offer("monitor-on-fails", 1.5, _all(_is_unwatched, "nobody")),
        Offer("monitor-off", 2, _all(_is_watched, "unwatched")),
        Offer("vm-stop", 2, _one(_is_up, "subject")),
        Offer("vm-stop-fails", 0.5, _one(_is_up, "subject")),
        Offer("vm-start", 6, _by_monitor(_one(_is_stopped, "subject"), "subject")),
        Offer("vm-start-fails", 1, _one(_is_stopped, "subject")),
        Offer("vm-reboot", 2, _by_monitor(_one(_is_up, "subject"), "subject")),
        Offer("vm-reboot-fails", 0.5, _one(_is_up, "subject")),
        Offer("vm-monitor-on", 2, _one(_is_unwatched, "subject")),
        Offer("vm-monitor-off", 1, _one(_is_watched, "subject")),
        Offer("recovery-reboot", 4, _one(_is_watched, "sick")),
        Offer("recovery-redeploy", 3, _one(_is_watched, "sick")),
        Offer("recovery-redeploy-twice", 1, _one(_is_watched, "sick")),
        Offer("recovery-fails", 0.7, _one(_is_watched, "sick")),
        Offer("recovery-fails-redeployed", 0.7, _one(_is_watched, "sick")),
        Offer("recovery-cancelled", 2, _one(_is_watched, "sick")),
        Offer("recovery-manual", 1, _one(_is_watched, "sick")),
        Offer("scale-out", 4, _scale_out),
        Offer("scale-out-fails", 1, _one(_is_watched, "busy")),
        Offer("scale-in", 3, _one(_is_watched, "idle", least_live=2)),
        Offer("scale-in-fails", 0.5, _one(_is_watched, "idle", least_live=2)),
        *(replace(offer, weight=offer.weight / 4) for offer in _ENDING),
    ),
    "STOPPED": (
        Offer("start", 12, _by_monitor(_all(_is_stopped, "up"), "up")),
        Offer("start-fails", 1.5, _nobody),
        *(replace(offer, weight=offer.weight / 4) for offer in _ENDING),
    ),
    "ERROR": _IN_ERROR,
}
