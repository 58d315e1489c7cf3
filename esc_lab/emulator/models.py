"""The bodies of the northbound API, as the ESC document prints their models, and its restrictions on their fields.

A shape is the printed example itself: `"string"` is a text, `0` a whole number, `True` a truth value, `{}` anything,
a list repeats its element. Data only; this file must not know how a body is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Shape = Any
"""The example of a body."""

NAME_MAX = 255
TENANT_NAME_MAX = 64
"""The restrictions of texts in bodies (docs/esc-callbacks.md#3.3)."""


class Evidence(StrEnum):
    """How much of an operation or a message the sources prove (docs/esc-callbacks.md#marks)."""

    VERIFIED = "verified"
    """●: path, answers and callbacks are printed."""
    RECONSTRUCTED = "reconstructed"
    """◐: path and answers are printed, the callbacks or a body follow from something else."""
    GUESSED = "guessed"
    """○: something that is seen from outside, the message, the body or its root element, is only suspected."""


@dataclass(frozen=True, slots=True)
class Model:
    """A body: its root element in XML, its fields, and those that are required."""

    root: str
    shape: Shape
    required: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields of the root that take only certain words."""
    longest: Mapping[str, int] = field(default_factory=dict)
    """Fields of the root with a length of 1 to so many characters."""
    guessed: bool = False
    """The document prints no model of it."""
    root_printed: bool = False
    """The document prints it in XML; otherwise its root element is a guess, and of a request any is taken."""
    names_type: bool = False
    """In XML its `value` names the namespaces of a type, and its root none (docs/esc-callbacks.md#S, chapter 09)."""

    @property
    def evidence(self) -> Evidence:
        """Verified where it is printed in XML, which ESC is tested with (docs/esc-callbacks.md#1)."""
        return Evidence.VERIFIED if self.root_printed and not self.guessed else Evidence.GUESSED


def _texts(names: str) -> dict[str, Shape]:
    """Fields that hold texts, as most do."""
    return dict.fromkeys(names.split(), "string")


_PROPERTIES = {"property": [_texts("name value")]}
_SECRET_PROPERTIES = {"property": [_texts("name value encrypted_value")]}
_NETWORK: dict[str, Shape] = {
    "locator": _texts("vim_id vim_type vim_project vim_project_id vim_region vim_vdc"),
    **_texts("vimNetName internal_tenant_id internal_network_id internal_deployment_id name"),
    "shared": True,
    **_texts("external_tenant_id tenant_name external_network_id"),
    "subnet": ["string"],
    "admin_state_up": True,
    "status": "string",
    "locators": _texts("datacenter switch_name"),
    **_texts("event_type provider_physical_network provider_network_type"),
    "vlan_id": 0,
    "number_of_ports": 0,
    **_texts("provider_segmentation_id switch_name"),
    "router_external": True,
}
_NAMED = {"name": NAME_MAX}
_MAPPING = {**_texts("name type"), "metaData": {}}
_VM_OPERATIONS = "stop start reboot enable_monitoring disable_monitoring confirm_resize revert_resize"
_VIM_TYPES = "OPENSTACK VMWARE_VSPHERE VMWARE_VCD AWS_EC2 CSP LIBVIRT"

MODELS: Mapping[str, Model] = {
    "tenant": Model(
        "tenant",
        {
            **_texts("internal_tenant_id external_tenant_id name"),
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
        root_printed=True,
        longest={"name": TENANT_NAME_MAX},
    ),
    "network": Model("network", _NETWORK, longest=_NAMED),
    "subnet": Model(
        "subnet",
        {
            "dnsServerIps": "string",
            "networkFromCdg": {**_NETWORK, "parent_subnet": "string"},
            **_texts("internal_tenant_id external_tenant_id internal_network_id external_network_id"),
            **_texts("internal_subnet_id external_subnet_id name"),
            "allocation_pools": [_texts("start end")],
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
            **_texts("name src disk_bus"),
            **dict.fromkeys(("e1000_net", "virtio_net", "imageisenabled"), True),
            **_texts("visibility internal_image_id external_image_id internal_tenant_id external_tenant_id"),
            "properties": _PROPERTIES,
            "event_type": "string",
        },
        required=("name",),
        words={"disk_bus": ("ide", "scsi", "virtio")},
        root_printed=True,
        longest=_NAMED,
    ),
    "flavor": Model(
        "flavor",
        {
            "name": "string",
            **dict.fromkeys(("vcpus", "memory_mb", "root_disk_mb", "ephemeral_disk_mb", "swap_disk_mb"), 0),
            **_texts("internal_flavor_id external_flavor_id event_type"),
        },
        required=("name",),
        root_printed=True,
        longest=_NAMED,
    ),
    "router": Model(
        "router",
        {
            **_texts("internal_tenant_id internal_router_id name external_tenant_id tenant_name external_router_id"),
            "admin_state": True,
            **_texts("external_network description external_network_id"),
            "interface": [
                {
                    **_texts("internalAttachInterfaceId routerName subnetId internal_router_id router_id subnet"),
                    **_texts("port_id event_type"),
                }
            ],
            "route": [_texts("routerId internalId internal_router_id destination next_hop route_name event_type")],
            "event_type": "string",
            "snat_enable": True,
            "isdistributed": True,
        },
        longest=_NAMED,
    ),
    "volume": Model("volume", {**_texts("volume_id volume_snapshot_id"), "vol_id": 0}),
    "esc_datamodel": Model("esc_datamodel", {"tenants": {"tenant": [{}]}}, required=("tenants",), root_printed=True),
    "deployment": Model("deployment", {}, guessed=True),
    "service_operation": Model(
        "service_operation",
        {"operation": "string", "properties": {}},
        required=("operation",),
        root_printed=True,
        words={"operation": ("stop", "start", "reboot", "enable_monitoring", "disable_monitoring")},
    ),
    "vm_operation": Model(
        "vm_operation",
        _texts("operation"),
        root_printed=True,
        required=("operation",),
        words={"operation": tuple(_VM_OPERATIONS.split())},
    ),
    "migrate_operation": Model(
        "migrate_vm_operation",
        _texts("migrationType host blockMigration operation"),
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
        {**_texts("operation name id"), "metadata": {}},
        required=("operation", "name"),
        words={"operation": ("snapshot",)},
        longest=_NAMED,
    ),
    "snapshot": Model(
        "vm_snapshot",
        {
            **_texts("id name internal_tenant_id external_tenant_id deployment_name internal_deployment_id"),
            **_texts("external_deployment_id vm_name vm_uuid"),
            "metadata": {},
            "status": "string",
        },
        guessed=True,
    ),
    "snapshot_volume": Model("volume", _texts("name"), longest=_NAMED),
    "config_parameter": Model(
        "escconfigparameter", _texts("category key type value"), root_printed=True, names_type=True
    ),
    "error": Model("error", {"status_code": 0, **_texts("reason message")}, guessed=True),
    "operation_mode": Model("escoperationmode", _texts("message mode")),
    "host": Model("host_status", _texts("host_name status"), guessed=True),
    "vim_connector": Model(
        "vim_connector",
        {**_texts("id type"), "properties": _SECRET_PROPERTIES, "event_type": "string"},
        required=("id", "type"),
        words={"type": tuple(_VIM_TYPES.split())},
    ),
    "default_vim_connector": Model(
        "default_vim_connector", _texts("defaultVimConnectorId event_type"), required=("defaultVimConnectorId",)
    ),
    "vim_user": Model(
        "vim_user",
        {"credentials": {"properties": _SECRET_PROPERTIES}, **_texts("id vim_id event_type")},
        required=("id",),
    ),
    "system_state": Model("systemstate", _texts("name state"), guessed=True),
    "file_server": Model(
        "file_server",
        {
            **_texts("id base_url"),
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
"""By the name that the rows of the endpoint tables use."""
