"""The bodies of the northbound API, as the ESC document prints their models, and what it says of their fields.

A shape is the printed example itself: `"string"` is a text, `0` a whole number, `True` a truth value, `{}` anything,
a list repeats what stands in it. Data only; this file must not know how a body is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = Any
"""What a body looks like, by example."""

NAME_MAX = 255
TENANT_NAME_MAX = 64
"""The restrictions of internal ids (docs/esc-callbacks.md#3.3)."""


@dataclass(frozen=True, slots=True)
class Model:
    """A body: its root element in XML, its fields, and which must be there."""

    root: str
    shape: Shape
    required: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields of the root that take only certain words."""
    longest: Mapping[str, int] = field(default_factory=dict)
    """Fields of the root with a length of 1 to so many characters."""
    guessed: bool = False
    """The document prints no model of it."""
    says_type: bool = False
    """Its `value` says in XML that it is a text, and its root has no namespace
    (docs/esc-callbacks.md#S, chapter 09)."""


_PROPERTIES = {"property": [{"name": "string", "value": "string"}]}
_SECRET_PROPERTIES = {"property": [{"name": "string", "value": "string", "encrypted_value": "string"}]}
_NETWORK: dict[str, Shape] = {
    "locator": {
        "vim_id": "string",
        "vim_type": "string",
        "vim_project": "string",
        "vim_project_id": "string",
        "vim_region": "string",
        "vim_vdc": "string",
    },
    "vimNetName": "string",
    "internal_tenant_id": "string",
    "internal_network_id": "string",
    "internal_deployment_id": "string",
    "name": "string",
    "shared": True,
    "external_tenant_id": "string",
    "tenant_name": "string",
    "external_network_id": "string",
    "subnet": ["string"],
    "admin_state_up": True,
    "status": "string",
    "locators": {"datacenter": "string", "switch_name": "string"},
    "event_type": "string",
    "provider_physical_network": "string",
    "provider_network_type": "string",
    "vlan_id": 0,
    "number_of_ports": 0,
    "provider_segmentation_id": "string",
    "switch_name": "string",
    "router_external": True,
}
_NAMED = {"name": NAME_MAX}
_MAPPING = {"name": "string", "type": "string", "metaData": {}}

MODELS: Mapping[str, Model] = {
    "tenant": Model(
        "tenant",
        {
            "internal_tenant_id": "string",
            "external_tenant_id": "string",
            "name": "string",
            "enabled": True,
            "vim_mapping": True,
            "extensions": {
                "extension": [
                    {
                        "name": "string",
                        "properties": _PROPERTIES,
                        "containers": {"container": [{"name": "string", "properties": _PROPERTIES}]},
                    }
                ]
            },
            "event_type": "string",
            "managed_resource": True,
        },
        longest={"name": TENANT_NAME_MAX},
    ),
    "network": Model("network", _NETWORK, longest=_NAMED),
    "subnet": Model(
        "subnet",
        {
            "dnsServerIps": "string",
            "networkFromCdg": {**_NETWORK, "parent_subnet": "string"},
            "internal_tenant_id": "string",
            "external_tenant_id": "string",
            "internal_network_id": "string",
            "external_network_id": "string",
            "internal_subnet_id": "string",
            "external_subnet_id": "string",
            "name": "string",
            "allocation_pools": [{"start": "string", "end": "string"}],
            "gateway_ip": "string",
            "ip_version": 0,
            "cidr": "string",
            "enable_dhcp": True,
            "event_type": "string",
        },
        longest=_NAMED,
    ),
    "image": Model(
        "image",
        {
            "name": "string",
            "src": "string",
            "disk_bus": "string",
            "e1000_net": True,
            "virtio_net": True,
            "imageisenabled": True,
            "visibility": "string",
            "internal_image_id": "string",
            "external_image_id": "string",
            "internal_tenant_id": "string",
            "external_tenant_id": "string",
            "properties": _PROPERTIES,
            "event_type": "string",
        },
        required=("name",),
        words={"disk_bus": ("ide", "scsi", "virtio")},
        longest=_NAMED,
    ),
    "flavor": Model(
        "flavor",
        {
            "name": "string",
            "vcpus": 0,
            "memory_mb": 0,
            "root_disk_mb": 0,
            "ephemeral_disk_mb": 0,
            "swap_disk_mb": 0,
            "internal_flavor_id": "string",
            "external_flavor_id": "string",
            "event_type": "string",
        },
        required=("name",),
        longest=_NAMED,
    ),
    "router": Model(
        "router",
        {
            "internal_tenant_id": "string",
            "internal_router_id": "string",
            "name": "string",
            "external_tenant_id": "string",
            "tenant_name": "string",
            "external_router_id": "string",
            "admin_state": True,
            "external_network": "string",
            "description": "string",
            "external_network_id": "string",
            "interface": [
                {
                    "internalAttachInterfaceId": "string",
                    "routerName": "string",
                    "subnetId": "string",
                    "internal_router_id": "string",
                    "router_id": "string",
                    "subnet": "string",
                    "port_id": "string",
                    "event_type": "string",
                }
            ],
            "route": [
                {
                    "routerId": "string",
                    "internalId": "string",
                    "internal_router_id": "string",
                    "destination": "string",
                    "next_hop": "string",
                    "route_name": "string",
                    "event_type": "string",
                }
            ],
            "event_type": "string",
            "snat_enable": True,
            "isdistributed": True,
        },
        longest=_NAMED,
    ),
    "volume": Model("volume", {"volume_id": "string", "volume_snapshot_id": "string", "vol_id": 0}),
    "esc_datamodel": Model("esc_datamodel", {"tenants": {"tenant": [{}]}}, required=("tenants",)),
    "deployment": Model("deployment", {}, guessed=True),
    "service_operation": Model(
        "service_operation",
        {"operation": "string", "properties": {}},
        required=("operation",),
        words={"operation": ("stop", "start", "reboot", "enable_monitoring", "disable_monitoring")},
    ),
    "vm_operation": Model(
        "vm_operation",
        {"operation": "string"},
        required=("operation",),
        words={
            "operation": (
                "stop",
                "start",
                "reboot",
                "enable_monitoring",
                "disable_monitoring",
                "confirm_resize",
                "revert_resize",
            )
        },
    ),
    "migrate_operation": Model(
        "migrate_vm_operation",
        {"migrationType": "string", "host": "string", "blockMigration": "string", "operation": "string"},
        required=("operation",),
        words={
            "operation": ("migrate",),
            "migrationType": ("live", "cold"),
            "blockMigration": ("auto", "true", "false"),
        },
    ),
    "recovery_operation": Model(
        "recovery_vm_operation",
        {"operation": "string", "checkVmBeforeRecovery": True, "properties": {}},
        required=("operation",),
        words={"operation": ("recovery_do",)},
    ),
    "snapshot_operation": Model(
        "snapshot_vm_operation",
        {"operation": "string", "name": "string", "id": "string", "metadata": {}},
        required=("operation", "name"),
        words={"operation": ("snapshot",)},
        longest=_NAMED,
    ),
    "snapshot": Model(
        "vm_snapshot",
        {
            "id": "string",
            "name": "string",
            "internal_tenant_id": "string",
            "vm_name": "string",
            "vm_uuid": "string",
            "metadata": {},
            "status": "string",
        },
        guessed=True,
    ),
    "snapshot_volume": Model("volume", {"name": "string"}, longest=_NAMED),
    "config_parameter": Model(
        "escconfigparameter",
        {"category": "string", "key": "string", "type": "string", "value": "string"},
        says_type=True,
    ),
    "error": Model("error", {"status_code": 0, "reason": "string", "message": "string"}, guessed=True),
    "operation_mode": Model("escoperationmode", {"message": "string", "mode": "string"}),
    "host": Model("host_status", {"host_name": "string", "status": "string"}, guessed=True),
    "vim_connector": Model(
        "vim_connector",
        {"id": "string", "type": "string", "properties": _SECRET_PROPERTIES, "event_type": "string"},
        required=("id", "type"),
        words={"type": ("OPENSTACK", "VMWARE_VSPHERE", "VMWARE_VCD", "AWS_EC2", "CSP", "LIBVIRT")},
    ),
    "default_vim_connector": Model(
        "default_vim_connector",
        {"defaultVimConnectorId": "string", "event_type": "string"},
        required=("defaultVimConnectorId",),
    ),
    "vim_user": Model(
        "vim_user",
        {
            "credentials": {"properties": _SECRET_PROPERTIES},
            "id": "string",
            "vim_id": "string",
            "event_type": "string",
        },
        required=("id",),
    ),
    "system_state": Model("systemstate", {"name": "string", "state": "string"}, guessed=True),
    "file_server": Model(
        "file_server",
        {
            "id": "string",
            "base_url": "string",
            "file_server_parameters": _SECRET_PROPERTIES,
            "file_locations": {},
            "event_type": "string",
        },
        required=("base_url",),
        guessed=True,
    ),
    "actions": Model("actions", {"action": [_MAPPING]}, guessed=True),
    "action": Model("action", _MAPPING, guessed=True),
    "metrics": Model("metrics", {"metric": [_MAPPING]}, guessed=True),
    "metric": Model("metric", _MAPPING, guessed=True),
}
"""By the word that the table of operations uses."""
