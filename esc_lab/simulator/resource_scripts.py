"""Tenants, networks, subnets, images, flavors and routers: messages and operations
(docs/esc-callbacks.md#3.3).

The fields of each message are those of its sample. This file must not know how a receiver judges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from esc_lab.simulator.esc_messages import Message, headers_of, render
from esc_lab.simulator.fleet import Tenant, hex_of, uuid_of

Action = Literal["CREATE", "UPDATE", "DELETE"]

KINDS = ("tenant", "network", "subnet", "image", "flavor", "router")
UPDATABLE = frozenset({"tenant", "network", "subnet", "router"})
"""Images and flavors have no PUT (docs/esc-callbacks.md#2)."""

_CREATE: Mapping[str, str] = {
    "tenant": "enabled event_type external_tenant_id internal_tenant_id name managed_resource",
    "network": "admin_state_up event_type external_network_id external_tenant_id internal_network_id "
    "internal_tenant_id name number_of_ports provider_network_type provider_physical_network "
    "provider_segmentation_id router_external shared status tenant_name vlan_id",
    "ephemeral_network": "admin_state_up event_type external_network_id external_tenant_id "
    "internal_deployment_id internal_network_id internal_tenant_id name shared",
    "subnet": "allocation_pools cidr enable_dhcp event_type external_network_id external_subnet_id "
    "external_tenant_id gateway_ip internal_network_id internal_subnet_id internal_tenant_id ip_version name",
    "image": "disk_bus e1000_net event_type external_image_id external_tenant_id imageisenabled name "
    "internal_image_id internal_tenant_id visibility src",
    "flavor": "ephemeral_disk_mb event_type external_flavor_id name internal_flavor_id memory_mb vcpus",
    "router": "admin_state description event_type external_network external_router_id external_tenant_id "
    "interface internal_router_id internal_tenant_id isdistributed name snat_enable tenant_name",
}
_CREATE_FAILS: Mapping[str, str] = {
    "tenant": "enabled event_type internal_tenant_id name",
    "image": "disk_bus event_type imageisenabled internal_image_id internal_tenant_id name src",
}
_DELETE: Mapping[str, str] = {
    "tenant": "enabled event_type external_tenant_id internal_tenant_id name",
    "network": "event_type external_network_id internal_network_id internal_tenant_id name",
    "subnet": "event_type external_subnet_id internal_network_id internal_subnet_id internal_tenant_id name",
    "image": "event_type external_image_id internal_image_id name",
    "flavor": "event_type external_flavor_id internal_flavor_id name",
    "router": "event_type external_router_id internal_router_id internal_tenant_id name",
}
_TEXTS: Mapping[str, str] = {
    "CREATE_TENANT": "Tenant successfully created",
    "CREATE_NETWORK": "Network creation completed successfully",
    "CREATE_SUBNET": "Subnet creation completed successfully, subnet ID: [{id}]",
    "CREATE_IMAGE": "Image successfully created",
    "CREATE_FLAVOR": "Flavor creation completed successfully created",
    "CREATE_ROUTER": "Router creation completed successfully",
    "DELETE_TENANT": "Tenant successfully deleted",
    "DELETE_NETWORK": "OpenStack Driver: Network successfully deleted",
    "DELETE_SUBNET": "Subnet successfully deleted",
    "DELETE_IMAGE": "Image deletion completed successfully.",
    "DELETE_FLAVOR": "Flavor deletion completed successfully.",
}
_NOUNS: Mapping[str, str] = {"CREATE": "creation", "UPDATE": "update", "DELETE": "deletion"}
CLIENTS_CHOICE = frozenset({"external_network"})
"""Fields that look like an id of the VIM, but are chosen by the client."""


@dataclass(slots=True)
class Resource:
    """One resource; `values` by the names of its fields, in whatever message they appear."""

    kind: str
    id: str
    values: dict[str, Any]
    parent: str = ""
    """Id of the tenant or VIM connector it belongs to."""
    state: str = "CREATING"
    """CREATING, CREATED or ERROR."""
    is_ephemeral: bool = False
    """Created with a deployment, and deleted with it."""

    def key(self, source: str) -> tuple[str, str, str]:
        """Its key in the expected state."""
        return source, self.kind, self.id


def make_resource(kind: str, tenant: Tenant, internal_id: str, rng: Random) -> Resource:
    """A resource that does not exist yet."""
    return Resource(kind, internal_id, _values(kind, tenant, internal_id, rng), tenant.internal_id)


def make_deployment_network(tenant: Tenant, deployment_id: str, rng: Random) -> tuple[Resource, Resource]:
    """The network and the subnet a deployment brings with it."""
    network = make_resource("network", tenant, f"{deployment_id}-eph", rng)
    subnet = make_resource("subnet", tenant, f"{network.id}-subnet", rng)
    network.is_ephemeral = subnet.is_ephemeral = True
    network.values["internal_deployment_id"] = deployment_id
    subnet.values |= {side: network.values[side] for side in ("internal_network_id", "external_network_id")}
    return network, subnet


def resource_message(resource: Resource, action: Action, transaction: str, style: str, *, ok: bool) -> Message:
    """The one callback that ends an operation on a resource; of kinds not in KINDS it is a guess."""
    event = f"{action}_{resource.kind.upper()}"
    values = {**resource.values, "event_type": event}
    names = _fields(resource, action, ok=ok) if resource.kind in KINDS else sorted(values)
    body = render(resource.kind, {name: values[name] for name in names if name in values})
    headers = headers_of(style, transaction, _text(event, resource, action, ok=ok), ok=ok)
    about = resource.kind, resource.id
    return Message("callback", resource.kind, event, ok, headers, body, pause_s=3.0, resource=about)


def actions_of(kind: str, length: int, rng: Random) -> Sequence[tuple[Action, bool]]:
    """The operations on one resource and whether they succeed: created, updated, deleted; at most `length`."""
    created = rng.random() > 0.1
    actions: list[tuple[Action, bool]] = [("CREATE", created)]
    if created and kind in UPDATABLE:
        actions += [("UPDATE", rng.random() > 0.2) for _ in range(rng.randrange(3))]
    # The client must delete before it creates again, also after a failure (docs/esc-callbacks.md#A52).
    if not created or rng.random() < 0.6:
        first_fails = rng.random() < 0.15
        actions += [("DELETE", False), ("DELETE", True)] if first_fails else [("DELETE", True)]
    return actions[:length]


def _fields(resource: Resource, action: Action, *, ok: bool) -> list[str]:
    if action == "DELETE":
        return _DELETE[resource.kind].split()
    shape = "ephemeral_network" if resource.is_ephemeral and resource.kind == "network" else resource.kind
    if action == "CREATE" and not ok and shape in _CREATE_FAILS:
        return _CREATE_FAILS[shape].split()
    names = _CREATE[shape].split()
    return [name for name in names if ok or not name.startswith("external_") or name in CLIENTS_CHOICE]


def _text(event: str, resource: Resource, action: Action, *, ok: bool) -> str:
    what = f"{resource.kind.replace('_', ' ').capitalize()} {_NOUNS[action]}"
    if not ok:
        return f"{what} failed"
    return _TEXTS.get(event, f"{what} completed successfully").format(id=resource.id)


def _values(kind: str, tenant: Tenant, internal_id: str, rng: Random) -> dict[str, Any]:
    """Every field that a message of any kind may carry."""
    vlan, octet, external_id = str(rng.randrange(100, 4000)), rng.randrange(256), uuid_of(rng)
    return {
        **_FIXED,
        "name": internal_id,
        "tenant_name": tenant.internal_id,
        "internal_tenant_id": tenant.internal_id,
        "external_tenant_id": tenant.external_id,
        "internal_network_id": f"{internal_id}-net",
        "external_network_id": uuid_of(rng),
        "provider_segmentation_id": vlan,
        "vlan_id": vlan,
        "cidr": f"192.168.{octet}.0/24",
        "gateway_ip": f"192.168.{octet}.1",
        "allocation_pools": {"end": f"192.168.{octet}.200", "start": f"192.168.{octet}.2"},
        "src": f"http://fileserver.example/share/images/{internal_id}.qcow2",
        "interface": {
            "event_type": "ATTACH_INTERFACE",
            "internal_router_id": internal_id,
            "port_id": uuid_of(rng),
            "router_id": external_id,
            "subnet": f"{internal_id}-subnet",
        },
        # Last, for they are the resource's own: a tenant is its own tenant.
        f"internal_{kind}_id": internal_id,
        f"external_{kind}_id": hex_of(rng, 32) if kind == "tenant" else external_id,
    }


_FIXED: Mapping[str, str] = {
    "enabled": "true",
    "managed_resource": "true",
    "admin_state_up": "true",
    "number_of_ports": "0",
    "provider_network_type": "vlan",
    "provider_physical_network": "physnet1",
    "router_external": "false",
    "shared": "false",
    "status": "ACTIVE",
    "enable_dhcp": "true",
    "ip_version": "4",
    "disk_bus": "virtio",
    "e1000_net": "false",
    "imageisenabled": "true",
    "visibility": "public",
    "ephemeral_disk_mb": "0",
    "memory_mb": "2048",
    "vcpus": "2",
    "admin_state": "true",
    "description": "edge",
    "external_network": "public",
    "isdistributed": "false",
    "snat_enable": "true",
}
