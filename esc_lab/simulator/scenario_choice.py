"""Chooses the next script for a deployment, and the VMs for its roles, by the state it is in.

Only what ESC would allow can be chosen: nothing but an undeploy after a failed recovery, no start of what runs. This
file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from esc_lab.simulator.fleet import Deployment, Vm, make_vm
from esc_lab.simulator.script_runner import Roles

VmTest = Callable[[Vm], bool]
RoleChoice = Callable[[Deployment, Random], "Roles | None"]
"""Chooses VMs for the roles of a script; None when no VM qualifies."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script that may come next, its weight, and the choice of its VMs."""

    script: str
    weight: float
    roles: RoleChoice


@dataclass(frozen=True, slots=True)
class Choice:
    """Chooses VMs that pass a test for one role: all of them, one, or any number."""

    role: str
    test: VmTest
    how: Literal["all", "one", "any"] = "all"
    least: int = 1
    """How many must pass."""
    least_live: int = 1
    """How many VMs the deployment must have."""
    by_monitor: bool = False
    """Those chosen are divided into the roles "monitored" and "unmonitored"."""

    def __call__(self, deployment: Deployment, rng: Random) -> Roles | None:
        """The role with its VMs; None when there are too few."""
        live = deployment.live_vms()
        vms = [vm for vm in live if self.test(vm) and (self.how != "any" or rng.random() < 0.5)]
        if self.how != "any" and (len(vms) < self.least or len(live) < self.least_live):
            return None
        chosen = [rng.choice(vms)] if self.how == "one" else vms
        return _by_monitor(chosen) if self.by_monitor else {self.role: chosen}


def scenarios_for(deployment: Deployment, *, ending: bool, suspected: bool) -> list[Scenario]:
    """The scripts that may come next; `ending`: only an undeploy; `suspected`: also what no source prints."""
    if ending and deployment.state:
        return list(_ENDING)
    if deployment.state == "ACTIVE" and any(vm.state == "ERROR" for vm in deployment.vms):
        return list(_MANUAL)
    return [one for one in _SCENARIOS[deployment.state] if suspected or one.script not in _SUSPECTED]


def choose(scenarios: Sequence[Scenario], deployment: Deployment, rng: Random) -> tuple[str, Roles]:
    """A script for which there are VMs; there always is one, for an undeploy needs none."""
    left = list(scenarios)
    while True:
        (scenario,) = rng.choices(left, [one.weight for one in left])
        roles = scenario.roles(deployment, rng)
        if roles is not None:
            return scenario.script, roles
        left.remove(scenario)


def _is_up(vm: Vm) -> bool:
    return vm.state in {"ALIVE", "INERT"}


def _is_stopped(vm: Vm) -> bool:
    return vm.state == "STOPPED"


def _is_broken(vm: Vm) -> bool:
    return vm.state == "ERROR"


def _is_watched(vm: Vm) -> bool:
    return vm.state == "ALIVE" and vm.monitored


def _is_unwatched(vm: Vm) -> bool:
    return _is_up(vm) and vm.monitorable and not vm.monitored


def _by_monitor(vms: Sequence[Vm]) -> dict[str, list[Vm]]:
    return {"monitored": [vm for vm in vms if vm.monitored], "unmonitored": [vm for vm in vms if not vm.monitored]}


def _new_vms(deployment: Deployment, rng: Random) -> Roles:
    monitored, unmonitored = rng.choice((0, 1, 1, 2, 2, 3, 4)), rng.choice((0, 0, 0, 1, 2))
    if not monitored and not unmonitored:
        monitored = 1
    kinds = [True] * monitored + [False] * unmonitored
    return _by_monitor([make_vm(deployment, rng, monitorable=monitorable) for monitorable in kinds])


def _new_vms_and(role: str, *, monitorable: bool = True) -> RoleChoice:
    """New VMs, and one more in a role of its own."""

    def rule(deployment: Deployment, rng: Random) -> Roles:
        return {**_new_vms(deployment, rng), role: [make_vm(deployment, rng, monitorable=monitorable)]}

    return rule


def _mixed_update(deployment: Deployment, rng: Random) -> Roles | None:
    """VMs added, removed and changed in one update, one of them at least."""
    live = [vm for vm in deployment.live_vms() if _is_up(vm)]
    rng.shuffle(live)
    removed = live[: rng.randrange(2)] if len(live) > 1 else []
    rest = live[len(removed) :]
    changed = rest[: rng.randrange(3)]
    by_text = [vm for vm in changed if rng.random() < 0.5]
    roles = {
        "removed": removed,
        "changed": [vm for vm in changed if vm not in by_text],
        "changed_by_text": by_text,
    }
    if not any(roles.values()) or rng.random() < 0.5:
        return {**roles, **_new_vms(deployment, rng)}
    return roles


def _failing_update(deployment: Deployment, rng: Random) -> Roles | None:
    if rng.random() < 0.5:
        return {}
    return {"failed": [make_vm(deployment, rng, monitorable=True)]}


def _failing_reboot(deployment: Deployment, rng: Random) -> Roles | None:
    """Some VMs come back, one does not; of the others no message comes."""
    watched = [vm for vm in deployment.live_vms() if _is_watched(vm)]
    if not watched or not all(_is_up(vm) for vm in deployment.live_vms()):
        return None
    failed = rng.choice(watched)
    return {"failed": [failed], "monitored": [vm for vm in watched if vm is not failed and rng.random() < 0.7]}


def _reboot(deployment: Deployment, rng: Random) -> Roles | None:
    live = deployment.live_vms()
    return _by_monitor(live) if live and deployment.was_active and all(map(_is_up, live)) else None


def _scale_out(deployment: Deployment, rng: Random) -> Roles | None:
    roles = Choice("busy", _is_watched, "one")(deployment, rng)
    return roles and {**roles, "born": [make_vm(deployment, rng, monitorable=True)]}


def _leaky_undeploy(deployment: Deployment, rng: Random) -> Roles | None:
    live = deployment.live_vms()
    leaked = [vm for vm in live if rng.random() < 0.5]
    return {"gone": [vm for vm in live if vm not in leaked], "leaked": leaked}


_SUSPECTED = frozenset({"recovery-manual"})

_ENDING = (
    Scenario("undeploy", 5, Choice("gone", lambda _: True, least=0, least_live=0)),
    Scenario("undeploy-fails", 1, _leaky_undeploy),
)

_MANUAL = (
    Scenario("recovery-reboot", 3, Choice("sick", _is_broken, "one")),
    Scenario("recovery-redeploy", 3, Choice("sick", _is_broken, "one")),
    Scenario("recovery-fails", 1, Choice("sick", _is_broken, "one")),
)
"""A VM that waits for a manual recovery gets one before anything else happens."""

_IN_ERROR = (Scenario("reboot", 4, _reboot), *_ENDING)
"""A failed reboot may be tried again; otherwise a deployment in error can only be undeployed
(docs/esc-callbacks.md#A52)."""

_SCENARIOS: Mapping[str, Sequence[Scenario]] = {
    "": (
        Scenario("deploy", 16, _new_vms),
        Scenario("deploy-fails", 1, _new_vms_and("failed")),
        Scenario("deploy-never-alive", 1, _new_vms_and("silent")),
    ),
    "ACTIVE": (
        Scenario("update", 6, _mixed_update),
        Scenario("update-fails", 1, _failing_update),
        Scenario("stop", 4, Choice("up", _is_up)),
        Scenario("stop-fails", 1, Choice("up", _is_up, "any")),
        Scenario("reboot", 3, _reboot),
        Scenario("reboot-fails", 0.7, _failing_reboot),
        Scenario("monitor-on", 4, Choice("watched", _is_unwatched)),
        Scenario("monitor-on-fails", 1.5, Choice("nobody", _is_unwatched)),
        Scenario("monitor-off", 2, Choice("unwatched", _is_watched)),
        Scenario("vm-stop", 2, Choice("subject", _is_up, "one")),
        Scenario("vm-stop-fails", 0.5, Choice("subject", _is_up, "one")),
        Scenario("vm-start", 6, Choice("subject", _is_stopped, "one", by_monitor=True)),
        Scenario("vm-start-fails", 1, Choice("subject", _is_stopped, "one")),
        Scenario("vm-reboot", 2, Choice("subject", _is_up, "one", by_monitor=True)),
        Scenario("vm-reboot-fails", 0.5, Choice("subject", _is_up, "one")),
        Scenario("vm-monitor-on", 2, Choice("subject", _is_unwatched, "one")),
        Scenario("vm-monitor-off", 1, Choice("subject", _is_watched, "one")),
        Scenario("recovery-reboot", 4, Choice("sick", _is_watched, "one")),
        Scenario("recovery-redeploy", 3, Choice("sick", _is_watched, "one")),
        Scenario("recovery-redeploy-twice", 1, Choice("sick", _is_watched, "one")),
        Scenario("recovery-fails", 0.7, Choice("sick", _is_watched, "one")),
        Scenario("recovery-fails-redeployed", 0.7, Choice("sick", _is_watched, "one")),
        Scenario("recovery-cancelled", 2, Choice("sick", _is_watched, "one")),
        Scenario("recovery-manual", 1, Choice("sick", _is_watched, "one")),
        Scenario("scale-out", 4, _scale_out),
        Scenario("scale-out-fails", 1, Choice("busy", _is_watched, "one")),
        Scenario("scale-in", 3, Choice("idle", _is_watched, "one", least_live=2)),
        Scenario("scale-in-fails", 0.5, Choice("idle", _is_watched, "one", least_live=2)),
        *(replace(one, weight=one.weight / 4) for one in _ENDING),
    ),
    "STOPPED": (
        Scenario("start", 12, Choice("up", _is_stopped, by_monitor=True)),
        Scenario("start-fails", 1.5, lambda *_: {}),
        *(replace(one, weight=one.weight / 4) for one in _ENDING),
    ),
    "ERROR": _IN_ERROR,
}
