"""The emulated ESC itself: its world, its options and the chance from which everything is drawn.

Handlers (`handlers`) work on it. It must not know HTTP, clocks or files: time is what the work they return takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from esc_lab.emulator.injected_faults import Faults
from esc_lab.emulator.options import Habits
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.world import DeploymentRecord, World, work_key
from esc_lab.simulator.fleet import Tenant, Vim, Vm
from esc_lab.simulator.resource_scripts import Resource

ID_MAX = 72
_ID = re.compile(r"[A-Za-z0-9._-]+")
SYSTEM_STATES = ("escmanager", "vimmanager", "confd", "mona")
RUNNING = "RUNNING"


def _keep_truststore() -> None:
    """Without HTTPS targets there is none to reload."""


@dataclass(slots=True)
class Esc:
    """One ESC. Everything it draws comes from `rng`, which is seeded anew for each request: see `reseed`."""

    seed: str
    habits: Habits = field(default_factory=Habits)
    faults: Faults = field(default_factory=Faults)
    world: World = field(default_factory=World)
    source: str = "default"
    """The receiver's name of this ESC: used by auditors only."""
    password: tuple[str, str] | None = None
    reload_truststore: Callable[[], None] = _keep_truststore
    """Raises OSError (also ssl.SSLError) when it cannot be read."""
    rng: Random = field(init=False)
    _draws: Counter[str] = field(default_factory=Counter)
    _claimed: str = ""

    def __post_init__(self) -> None:
        self.reseed("start")

    @property
    def mode(self) -> str:
        """OPERATION or MAINTENANCE."""
        return self.world.settings.get("mode", "OPERATION")

    @property
    def system_states(self) -> dict[str, str]:
        """The states of its parts, by name."""
        return {name: self.world.settings.get(f"state/{name}", RUNNING) for name in SYSTEM_STATES}

    @property
    def default_vim(self) -> str:
        """The default VIM connector's id; empty when none was chosen."""
        return next((one.id for one in self.world.of_kind("default_vim_connector")), "")

    def reseed(self, name: str) -> None:
        """The n-th request of a name draws the same, whatever was requested in between."""
        self._claimed = ""
        self._draws[name] += 1
        self.rng = Random(f"{self.seed}/{name}/{self._draws[name]}")  # noqa: S311 -- must be repeatable, guards nothing

    def fault(self, name: str) -> bool:
        """Whether this fault is to happen now."""
        return self.faults.happens(name, self.rng)

    def new_id(self, given: str, what: str = "id") -> str:
        """An id for something new; refused when it is malformed or taken (docs/esc-callbacks.md#3.3)."""
        checked = self.checked_id(given, what)
        if kind := self.world.kind_of(checked):
            raise conflict(f"{what} {checked!r} is taken by a {kind}; ids are unique over all kinds of resources")
        return checked

    @staticmethod
    def checked_id(given: str, what: str = "id") -> str:
        """Refused unless it is 1 to 72 of letters, digits, `-`, `.` and `_` (docs/esc-callbacks.md#S, Internal IDs)."""
        if not 1 <= len(given) <= ID_MAX:
            raise invalid(f"{what} has {len(given)} characters, and should have 1 to {ID_MAX}")
        if not _ID.fullmatch(given):
            raise invalid(f"{what} {given!r} should be made of letters, digits, '-', '.' and '_' only")
        return given

    def resource(self, kind: str, resource_id: str, parent: str = "") -> Resource:
        """Refused when it does not exist; `deployment`, `tenant` and `vm` likewise."""
        found = self.world.resource(kind, resource_id, parent)
        if found is None or (parent and found.parent != parent):
            where = f" in {parent!r}" if parent else ""
            raise missing(f"there is no {kind.replace('_', ' ')} {resource_id!r}{where}")
        return found

    def ready(self, resource: Resource) -> Resource:
        """Something to build on; refused until its creation has succeeded, and while it is being worked on."""
        what = resource.kind.replace("_", " ")
        if resource.state == "ERROR":
            raise conflict(f"{what} {resource.id!r} could not be created; nothing can be made in it")
        if resource.state != "CREATED" or work_key(resource) in self.world.in_progress:
            raise conflict(f"work on {what} {resource.id!r} is still going on")
        return resource

    def tenant(self, tenant_id: str) -> Resource:
        """By internal id, as paths name it (docs/esc-callbacks.md#S, chapters 01 and 02)."""
        return self.resource("tenant", tenant_id)

    def tenant_named(self, name: str) -> Resource:
        """By name, as a data model names it."""
        found = self.world.tenant_named(name)
        if found is None:
            raise missing(f"there is no tenant of the name {name!r}")
        return found

    def deployment(self, deployment_id: str, tenant_id: str = "") -> DeploymentRecord:
        """By id, of any tenant or of this one."""
        found = self.world.deployments.get(deployment_id)
        if found is None:
            raise missing(f"there is no deployment {deployment_id!r}")
        if tenant_id not in {"", found.deployment.tenant.internal_id}:
            raise missing(f"tenant {tenant_id!r} has no deployment {deployment_id!r}")
        return found

    def vm(self, name: str, tenant_id: str = "") -> tuple[DeploymentRecord, Vm]:
        """A live VM and its deployment, of any tenant or of this one."""
        found = self.world.find_vm(name)
        if tenant_id and (found is None or found[0].deployment.tenant.internal_id != tenant_id):
            raise missing(f"tenant {tenant_id!r} has no VM {name!r}")
        if found is None:
            raise missing(f"there is no VM {name!r}")
        return found

    def claim(self, key: str, *, interrupts: bool = False) -> None:
        """Claims a key for new work; refused in maintenance, and while other work with the key is in progress."""
        if self.mode == "MAINTENANCE":
            raise conflict("ESC is in MAINTENANCE mode and takes no new work; POST /v0/operationmode/OPERATION ends it")
        if key in self.world.in_progress and not interrupts:
            raise conflict(f"work on {key} is still going on")
        if key not in self.world.in_progress:
            self.world.in_progress.add(key)
            self._claimed = key

    def release_claim(self) -> None:
        """The request was refused after all: the key it has claimed is free again."""
        self.world.in_progress.discard(self._claimed)

    def vim_of(self, tenant: Tenant, vim_id: str) -> Vim:
        """The kind of VIM that runs a deployment."""
        if self.habits.vim != "auto":
            return self.habits.vim
        connector = self.world.resource("vim_connector", vim_id or self.default_vim)
        if connector is not None:
            return "vmware" if str(connector.values.get("type", "")).startswith("VMWARE") else "openstack"
        return "vmware" if tenant.internal_id == tenant.external_id else "openstack"
