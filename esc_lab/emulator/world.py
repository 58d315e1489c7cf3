"""What an ESC knows: its resources, deployments and settings. Values only, each of which can be kept in a file.

The VMs and what runs for them are the simulator's (`esc_lab.simulator.fleet`). This file must not know requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from esc_lab.emulator.datamodel import Datamodel
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES, Message
from esc_lab.simulator.fleet import Deployment, Tenant

THINGS, DEPLOYMENTS, PARAMETERS, INCARNATIONS = "things", "deployments", "parameters", "incarnations"
OWN = "own"
"""Tables of what survives a restart."""
KEY_SEPARATOR = "/"
ADMIN = "SystemAdminTenantId"
"""The built-in tenant: the id ESC gives the tenant that a request calls `admin` (docs/esc-callbacks.md#3.1)."""
ADMIN_NAME = "admin"


@dataclass(slots=True)
class Thing:
    """A resource: `values` by the names of its model, `parent` the tenant or VIM it belongs to."""

    kind: str
    id: str
    parent: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    state: str = "CREATING"
    """CREATING, CREATED, ERROR."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where callbacks of a request go; None: it named no such URL."""

    callback: str | None = None
    events: str | None = None


@dataclass(slots=True)
class Placed:
    """A deployment as ESC holds it."""

    deployment: Deployment
    model: Datamodel
    text: str
    """The data model as it came."""
    language: str
    fields: dict[str, Any]
    urls: Urls
    """Those given with the deploy: the only ones that ESC's own workflows can use."""
    reported: str = "SERVICE_UNDEF_STATE"
    """The service state last told."""
    vm_states: dict[str, str] = field(default_factory=dict)
    """The VM states last told, by name."""
    networks: list[tuple[str, str]] = field(default_factory=list)
    """Kind and id of the networks and subnets it brought, in the order in which they were made."""

    @property
    def id(self) -> str:
        """The client's."""
        return self.deployment.internal_id

    @property
    def full_name(self) -> tuple[str, str]:
        """Its tenant's internal id, and its own name."""
        return self.deployment.tenant.internal_id, self.deployment.name

    def hear(self, message: Message) -> None:
        """What a callback tells of it becomes so."""
        if message.service_state:
            self.reported = message.service_state
        if message.vm_state:
            named = {name for name, _ in message.vms}
            for vm in self.deployment.vms:
                if vm.name in named:
                    self.vm_states[vm.name] = message.vm_state
                    vm.state = _STATES.get(message.vm_state, vm.state)


_STATES = {reported: state for state, reported in REPORTED_VM_STATES.items()} | {"VM_UNDEPLOYED_STATE": "UNDEPLOYED"}


@dataclass(slots=True)
class Parameter:
    """One configuration parameter (docs/esc-callbacks.md#S, chapter 09)."""

    category: str
    key: str
    type: str
    value: str


class World:
    """Everything, in memory. Ids are unique over all kinds (docs/esc-callbacks.md#3.3), users of a VIM apart."""

    def __init__(self) -> None:
        self.things: dict[tuple[str, str, str], Thing] = {}
        """By kind, parent (of what is unique only there) and id."""
        self.deployments: dict[str, Placed] = {}
        self.names: dict[tuple[str, str], str] = {}
        """Deployment ids by internal tenant id and name, which is unique in a tenant (docs/esc-callbacks.md#3.1)."""
        self.parameters: dict[tuple[str, str], Parameter] = {}
        self.incarnations: dict[str, int] = {}
        """How many deployments have borne an id."""
        self.own: dict[str, str] = {}
        """What is said of ESC itself: its mode, the states of its parts."""
        self.busy: set[str] = set()
        """What is being worked on: `line`s of `Work`."""
        self.touched: set[tuple[str, str]] = set()
        """What has changed since it was last kept: table and key."""

    def thing(self, kind: str, thing_id: str, parent: str = "") -> Thing | None:
        """By its id."""
        return self.things.get((kind, parent if kind == "vim_user" else "", thing_id))

    def put(self, thing: Thing) -> None:
        """Adds it."""
        self.things[key_of(thing)] = thing
        self.touch(thing)

    def drop(self, thing: Thing) -> None:
        """Removes it."""
        self.things.pop(key_of(thing), None)
        self.touch(thing)

    def touch(self, what: Thing | Placed | Parameter) -> None:
        """It has changed."""
        if isinstance(what, Thing):
            self.touched.add((THINGS, KEY_SEPARATOR.join(key_of(what))))
        elif isinstance(what, Placed):
            self.touched.add((DEPLOYMENTS, what.id))
        else:
            self.touched.add((PARAMETERS, f"{what.category}/{what.key}"))

    def say(self, name: str, value: str) -> None:
        """Of ESC itself."""
        self.own[name] = value
        self.touched.add((OWN, name))

    def place(self, placed: Placed) -> None:
        """Adds a deployment: one more incarnation of its id."""
        self.deployments[placed.id] = placed
        self.names[placed.full_name] = placed.id
        self.incarnations[placed.id] = placed.deployment.incarnation
        self.touched |= {(DEPLOYMENTS, placed.id), (INCARNATIONS, placed.id)}

    def forget(self, placed: Placed) -> None:
        """Removes a deployment and the networks it brought."""
        self.deployments.pop(placed.id, None)
        self.names.pop(placed.full_name, None)
        self.touch(placed)
        for kind, thing_id in placed.networks:
            if (thing := self.thing(kind, thing_id)) is not None:
                self.drop(thing)

    def of_kind(self, kind: str, parent: str | None = None) -> Iterator[Thing]:
        """All of them, or those of a parent, by id."""
        found = [one for one in self.things.values() if one.kind == kind and parent in {None, one.parent}]
        return iter(sorted(found, key=lambda one: one.id))

    def bearer(self, some_id: str) -> str:
        """The kind of what bears the id; empty when nothing does."""
        if some_id in self.deployments:
            return "deployment"
        for kind, parent, thing_id in self.things:
            if thing_id == some_id and not parent:  # users of a VIM have names of their own
                return kind
        return ""

    def tenant(self, id_or_name: str) -> Tenant | None:
        """By internal id, or by the name that data models use."""
        if id_or_name in {ADMIN, ADMIN_NAME}:
            return Tenant(ADMIN, ADMIN)
        for thing in self.of_kind("tenant"):
            if id_or_name in {thing.id, thing.values.get("name")}:
                return Tenant(thing.id, str(thing.values["external_tenant_id"]))
        return None

    def vm_owner(self, vm_name: str) -> Placed | None:
        """The deployment that has a VM of this name."""
        for placed in self.deployments.values():
            if any(vm.name == vm_name for vm in placed.deployment.live_vms()):
                return placed
        return None


def key_of(thing: Thing) -> tuple[str, str, str]:
    """How the world finds it."""
    return thing.kind, thing.parent if thing.kind == "vim_user" else "", thing.id
