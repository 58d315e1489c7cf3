"""What an ESC knows: its resources, deployments and settings. Values only, each of which can be stored in a file.

VMs and their instances are the simulator's (`esc_lab.simulator.fleet`). This file must not know requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from esc_lab.emulator.body_schemas import Language
from esc_lab.emulator.datamodel import Datamodel
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES, Message
from esc_lab.simulator.fleet import Deployment, Tenant, Vm
from esc_lab.simulator.resource_scripts import Resource

ADMIN = "SystemAdminTenantId"
"""The built-in tenant: the id ESC gives the tenant that a request calls `admin` (docs/esc-callbacks.md#3.1)."""
ADMIN_NAME = "admin"
_APART = frozenset({"vim_user", "default_vim_connector", "action", "metric", "config_parameter", "disabled_host"})
"""Kinds whose ids are no ids of domain resources (docs/esc-callbacks.md#S, Internal IDs)."""
_STATES = {reported: state for state, reported in REPORTED_VM_STATES.items()} | {"VM_UNDEPLOYED_STATE": "UNDEPLOYED"}

_RECOVERING = {
    "VM_RECOVERY_INIT": "VM_REBOOTING_STATE",
    "VM_RECOVERY_REBOOT": "VM_REBOOTING_STATE",
    "VM_RECOVERY_UNDEPLOYED": "VM_UNDEPLOYING_STATE",
    "VM_RECOVERY_DEPLOYED": "VM_DEPLOYING_STATE",
}
"""What is shown of a VM during its recovery, which no source tells; its events report no state."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the callbacks of a request go; None: it named no such URL."""

    callback: str | None = None
    events: str | None = None


@dataclass(slots=True)
class DeploymentRecord:
    """A deployment, with the request it came from and what callbacks have reported of it."""

    deployment: Deployment
    model: Datamodel
    text: str
    """The data model, byte for byte."""
    language: Language
    urls: Urls
    """Those given with the deploy: the only ones that ESC's own workflows can use."""
    reported: str = "SERVICE_UNDEF_STATE"
    """The service state last reported."""
    vm_states: dict[str, str] = field(default_factory=dict)
    """The VM states last reported, by name."""
    networks: list[tuple[str, str]] = field(default_factory=list)
    """Kind and id of the networks and subnets created with it, in that order."""

    @property
    def id(self) -> str:
        """The client's."""
        return self.deployment.internal_id

    @property
    def work_key(self) -> str:
        """The key of all work on it."""
        return f"deployment {self.id}"

    def vm(self, name: str) -> Vm | None:
        """One of its live VMs."""
        return next((vm for vm in self.deployment.live_vms() if vm.name == name), None)

    def apply(self, message: Message) -> None:
        """Takes over the states that a callback reports."""
        self.reported = message.service_state or self.reported
        for name, _ in message.vms if message.vm_state else ():
            for vm in self.deployment.vms:
                if vm.name == name:
                    self.vm_states[name] = message.vm_state
                    vm.state = _STATES.get(message.vm_state, vm.state)
        if message.vms and message.event in _RECOVERING:
            self.vm_states[message.vms[0][0]] = _RECOVERING[message.event]


class World:
    """Everything, in memory. Ids are unique over all kinds (docs/esc-callbacks.md#3.3), users of a VIM apart."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        """By `key_of`."""
        self.deployments: dict[str, DeploymentRecord] = {}
        self.incarnations: dict[str, int] = {}
        """How many deployments have had an id."""
        self.settings: dict[str, str] = {}
        """Of ESC itself: its mode, the states of its parts."""
        self.in_progress: set[str] = set()
        """Keys of the work that is going on."""
        self.changed: set[tuple[str, str]] = set()
        """What has changed since it was last stored: attribute of the world, and key."""

    def resource(self, kind: str, resource_id: str, parent: str = "") -> Resource | None:
        """By its id; `parent` counts where ids are unique only there."""
        return self.resources.get(_key(kind, resource_id, parent))

    def put(self, resource: Resource) -> None:
        """Adds or changes a resource."""
        self.resources[key_of(resource)] = resource
        self.changed.add(("resources", key_of(resource)))

    def drop(self, resource: Resource) -> None:
        """Removes a resource."""
        self.resources.pop(key_of(resource), None)
        self.changed.add(("resources", key_of(resource)))

    def set(self, name: str, value: str) -> None:
        """A setting of ESC itself."""
        self.settings[name] = value
        self.changed.add(("settings", name))

    def add_deployment(self, record: DeploymentRecord) -> None:
        """Adds a deployment: one more incarnation of its id."""
        self.deployments[record.id] = record
        self.incarnations[record.id] = record.deployment.incarnation
        self.changed |= {("deployments", record.id), ("incarnations", record.id)}

    def touch(self, record: DeploymentRecord) -> None:
        """A deployment has changed."""
        self.changed.add(("deployments", record.id))

    def remove_deployment(self, record: DeploymentRecord) -> None:
        """Removes a deployment and the networks created with it."""
        self.deployments.pop(record.id, None)
        self.touch(record)
        for kind, resource_id in record.networks:
            if (resource := self.resource(kind, resource_id)) is not None:
                self.drop(resource)
        record.networks.clear()

    def of_kind(self, kind: str, parent: str | None = None) -> Iterator[Resource]:
        """All of them, or those of a parent, by id."""
        found = [one for one in self.resources.values() if one.kind == kind and parent in {None, one.parent}]
        return iter(sorted(found, key=lambda one: one.id))

    def kind_of(self, some_id: str) -> str:
        """The kind of whatever has the id; empty when nothing has."""
        if some_id in self.deployments:
            return "deployment"
        found = (one.kind for one in self.resources.values() if one.id == some_id and one.kind not in _APART)
        return next(found, "")

    def tenant_named(self, name: str) -> Resource | None:
        """By its name, which data models use and which no other tenant has."""
        return next((one for one in self.of_kind("tenant") if one.values.get("name") == name), None)

    def deployment_named(self, tenant: Tenant, name: str) -> DeploymentRecord | None:
        """By its name, which is unique in a tenant (docs/esc-callbacks.md#3.1)."""
        wanted = tenant.internal_id, name
        return next(
            (r for r in self.deployments.values() if (r.deployment.tenant.internal_id, r.deployment.name) == wanted),
            None,
        )

    def find_vm(self, name: str) -> tuple[DeploymentRecord, Vm] | None:
        """The live VM of this name, and its deployment."""
        return next(((record, vm) for record in self.deployments.values() if (vm := record.vm(name))), None)


def admin_tenant() -> Resource:
    """The built-in tenant."""
    values = {"internal_tenant_id": ADMIN, "external_tenant_id": ADMIN, "name": ADMIN_NAME, "enabled": True}
    return Resource("tenant", ADMIN, values, state="CREATED")


def as_tenant(resource: Resource) -> Tenant:
    """A tenant that the VIM has made, as the simulator's scripts know it."""
    return Tenant(resource.id, str(resource.values["external_tenant_id"]))


def work_key(resource: Resource) -> str:
    """The key of all work on a resource; the id of a VIM's user is unique only there."""
    owner = f"{resource.parent}/" if resource.kind == "vim_user" else ""
    return f"{resource.kind.replace('_', ' ')} {owner}{resource.id}"


def key_of(resource: Resource) -> str:
    """The key of a resource in the world."""
    return _key(resource.kind, resource.id, resource.parent)


def _key(kind: str, resource_id: str, parent: str) -> str:
    return "/".join((kind, parent if kind == "vim_user" else "", resource_id))
