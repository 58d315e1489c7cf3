"""The emulated ESC itself: its world, its options and the chance from which everything is drawn.

Handlers (`handlers`) work on it. It must not know HTTP, clocks or files: time is what the work it hands back takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Literal

from esc_lab.emulator.injected_faults import Faults
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.world import Placed, Thing, World
from esc_lab.simulator.fleet import Tenant, Vim, hex_of, uuid_of

ID_MAX = 72
_ID = re.compile(r"[A-Za-z0-9._-]+")
HOSTS_PER_VIM = 8
Recovery = Literal["policy", "reboot", "redeploy", "never", "by-itself"]
"""How a VM that died comes back: as its data model says, or as is asked for."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the ESC document leaves open, or what one ESC does in another way than the next."""

    header_style: str = "printed"
    vim: Literal["auto", "openstack", "vmware"] = "auto"
    """auto: as the VIM connector of the deployment says; without one VMware for the admin tenant, else OpenStack."""
    updated_stage: Literal["VM_ALIVE", "VM_UPDATED"] = "VM_ALIVE"
    """What a changed VM is told as: the printed example has VM_ALIVE, its text VM_UPDATED
    (docs/esc-callbacks.md#trap-1)."""
    recovery: Recovery = "policy"
    events_to: Literal["events", "callback"] = "events"
    """Which of the two URLs an `esc_event` goes to."""
    suspected: bool = True
    """Whether messages that no source prints are sent (○ in docs/esc-callbacks.md#marks)."""


@dataclass(slots=True)
class Esc:
    """One ESC. Everything it draws comes from `rng`, which each request has for itself: see `turn_to`."""

    seed: str
    habits: Habits = field(default_factory=Habits)
    faults: Faults = field(default_factory=Faults)
    world: World = field(default_factory=World)
    source: str = "default"
    """What the receiver calls this ESC: used by auditors only."""
    password: tuple[str, str] | None = None
    system_states: dict[str, str] = field(default_factory=dict)
    rng: Random = field(init=False)
    _turns: Counter[str] = field(default_factory=Counter)
    _claimed: str = ""

    def __post_init__(self) -> None:
        self.turn_to("start")

    @property
    def mode(self) -> str:
        """OPERATION or MAINTENANCE."""
        return self.world.own.get("mode", "OPERATION")

    def set_system_state(self, name: str, state: str) -> None:
        """Of one of its parts."""
        self.system_states[name] = state
        self.world.say(f"state/{name}", state)

    def turn_to(self, what: str) -> None:
        """Begins to draw for something else: the n-th time it is the same, whatever was asked for in between."""
        self._claimed = ""
        self._turns[what] += 1
        self.rng = Random(f"{self.seed}/{what}/{self._turns[what]}")  # noqa: S311 -- must be repeatable, guards nothing

    def new_id(self, given: str, what: str = "id") -> str:
        """An id for something new; refused when it is malformed or taken by anything (docs/esc-callbacks.md#3.3)."""
        checked = self.checked_id(given, what)
        if kind := self.world.bearer(checked):
            raise conflict(f"{what} {checked!r} is taken by a {kind}; ids are unique over all kinds of resources")
        return checked

    @staticmethod
    def checked_id(given: str, what: str = "id") -> str:
        """Refuses what is no id: 1 to 72 of letters, digits, `-`, `.` and `_` (S Internal IDs)."""
        if not 1 <= len(given) <= ID_MAX:
            raise invalid(f"{what} has {len(given)} characters, and should have 1 to {ID_MAX}")
        if not _ID.fullmatch(given):
            raise invalid(f"{what} {given!r} should be made of letters, digits, '-', '.' and '_' only")
        return given

    def thing(self, kind: str, thing_id: str, parent: str = "") -> Thing:
        """It, or a refusal that names it."""
        found = self.world.thing(kind, thing_id, parent)
        if found is None or (parent and found.parent != parent):
            raise missing(f"there is no {kind.replace('_', ' ')} {thing_id!r}" + (f" in {parent!r}" if parent else ""))
        return found

    def tenant(self, id_or_name: str) -> Tenant:
        """It, or a refusal that names it."""
        found = self.world.tenant(id_or_name)
        if found is None:
            raise missing(f"there is no tenant {id_or_name!r}")
        return found

    def deployment(self, deployment_id: str) -> Placed:
        """It, or a refusal that names it."""
        found = self.world.deployments.get(deployment_id)
        if found is None:
            raise missing(f"there is no deployment {deployment_id!r}")
        return found

    def begin(self, line: str, *, interrupts: bool = False) -> None:
        """Claims a line for new work; refused in maintenance, and while other work goes on in it."""
        if self.mode == "MAINTENANCE":
            raise conflict("ESC is in MAINTENANCE mode and takes no new work; POST /v0/operationmode/OPERATION ends it")
        if line in self.world.busy and not interrupts:
            raise conflict(f"work on {line} is still going on")
        if line not in self.world.busy:
            self.world.busy.add(line)
            self._claimed = line

    def give_up(self) -> None:
        """The request was refused after all: the line it has claimed is free again."""
        self.world.busy.discard(self._claimed)

    def transaction(self) -> str:
        """A new transaction id."""
        return uuid_of(self.rng)

    def vim_of(self, tenant: Tenant, vim_id: str) -> Vim:
        """What kind of VIM a deployment comes to."""
        if self.habits.vim != "auto":
            return self.habits.vim
        connector = self.world.thing("vim_connector", vim_id or self.default_vim)
        if connector is not None:
            return "vmware" if str(connector.values.get("type", "")).startswith("VMWARE") else "openstack"
        return "vmware" if tenant.internal_id == tenant.external_id else "openstack"

    @property
    def default_vim(self) -> str:
        """The default VIM connector's id; empty when none was chosen."""
        return next((thing.id for thing in self.world.of_kind("default_vim_connector")), "")


@cache
def hosts_of(vim: Vim) -> Mapping[str, str]:
    """The hosts of a VIM: name to uuid, as the printed callbacks have them."""
    numbers = range(1, HOSTS_PER_VIM + 1)
    if vim == "vmware":
        return {f"10.85.103.{12 + n}": f"host-{14881 + n}" for n in numbers}
    return {f"my-ucs-{n}": hex_of(Random(f"host/{n}"), 56) for n in numbers}  # noqa: S311 -- repeatable, not secret
