"""ESC's words and ours: the closed tables that `parse` reads a callback with.

Data only. Left stands what arrives (upper case where ESC prints enumerations), right stands our word.
Whatever is in none of these tables is unknown: stored, published as unclassified, never guessed at.
Source: docs/esc-callbacks.md#3, #4, #7, #8, named at each table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from receiver.model.entities import DeploymentState, VmState
from receiver.model.notification import Family

LIFECYCLE_TRIGGERS: Final = frozenset(
    """
    VM_DEPLOYED VM_ALIVE VM_UPDATED VM_STOPPED VM_STARTED VM_REBOOTED VM_UNDEPLOYED
    VM_MONITOR_SET VM_MONITOR_UNSET VM_SET_MONITOR_STATUS VM_SOFTWARE_VERSION_UPDATED
    VM_STOP_COMPLETE VM_START_COMPLETE VM_REBOOT_COMPLETE
    VM_RECOVERY_INIT VM_RECOVERY_REBOOT VM_RECOVERY_UNDEPLOYED VM_RECOVERY_DEPLOYED
    VM_RECOVERY_COMPLETE VM_RECOVERY_CANCELLED VM_MANUAL_RECOVERY_NEEDED
    VM_SCALE_OUT_INIT VM_SCALE_OUT_DEPLOYED VM_SCALE_OUT_COMPLETE VM_SCALE_IN_INIT VM_SCALE_IN_COMPLETE
    SERVICE_ALIVE SERVICE_UPDATED SERVICE_STOPPED SERVICE_STARTED SERVICE_REBOOTED SERVICE_UNDEPLOYED
    SERVICE_MONITOR_SET SERVICE_MONITOR_UNSET SERVICE_REGISTRATION SERVICE_UNREGISTRATION
    ESC_OUT_OF_SERVICE ESC_IN_SERVICE
    """.split()  # noqa: SIM905  # a table of words reads better without forty pairs of quotes
)
"""Stages and events of deployments and VMs (docs/esc-callbacks.md#4.1, #4.2, #10). The
registrations are known and move nothing; the last two are about ESC itself."""

RESOURCE_ID_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tenant": ("internal_tenant_id", "id"),
    "network": ("internal_network_id", "id"),
    "subnet": ("internal_subnet_id", "id"),
    "image": ("internal_image_id", "id"),
    "flavor": ("internal_flavor_id", "id"),
    "router": ("internal_router_id", "id"),
    "volume": ("internal_volume_id", "volume_id", "id", "vol_id"),
    "vim_connector": ("internal_vim_connector_id", "id"),
    "default_vim_connector": ("internal_default_vim_connector_id", "defaultVimConnectorId", "id"),
    "vim_user": ("internal_vim_user_id", "id"),
    "file_server": ("internal_file_server_id", "id"),
}
"""Every kind of resource, which is its root element too, and where its own id may stand, best first
(docs/esc-callbacks.md#3.3)."""

RESOURCE_EVENTS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(f"{verb}_{kind.upper()}" for verb in ("CREATE", "UPDATE", "DELETE"))
    | ({"ATTACH_INTERFACE"} if kind == "router" else frozenset())
    for kind in RESOURCE_ID_FIELDS
}
"""The events of each kind. ATTACH_INTERFACE changes a router (docs/esc-callbacks.md#4.2)."""

TRIGGERS: Final = LIFECYCLE_TRIGGERS.union(*RESOURCE_EVENTS.values())
"""Every value but None that a Notification's `trigger` can have."""

FAMILIES: Final[Mapping[str, Family]] = {
    "deployment": Family.DEPLOYMENT,
    "esc_event": Family.VM_EVENT,
    **dict.fromkeys(RESOURCE_ID_FIELDS, Family.RESOURCE),
}
"""The family of each known root element."""

NETCONF_EVENT: Final = "escEvent"
NETCONF_ROOTS: Final = frozenset({"notification", NETCONF_EVENT})
"""Of a notification of ESC's NETCONF stream that a site relays, with its envelope (RFC 5277) or without."""
EVENT_ROOTS: Final = NETCONF_ROOTS | {"esc_event"}
"""What comes to the URL for events (docs/esc-callbacks.md#2)."""
SAYS_ALL_BY_ITS_NAME: Final = frozenset(
    {"VM_RECOVERY_INIT", "VM_RECOVERY_CANCELLED", "VM_MANUAL_RECOVERY_NEEDED", "VM_SCALE_OUT_INIT"}
    | {"ESC_OUT_OF_SERVICE"}
)
"""Events that mean the same whether they report success or failure."""

TRIGGER_FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "deployment": ("deployment_stage", "event_type"),
    "esc_event": ("event_type", "deployment_stage"),
}
"""Where the stage or event stands, by root; the other root's place is taken when the own one is empty."""

STAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "deployment": {word: word for word in LIFECYCLE_TRIGGERS},
    # One stop, two names, two roots (docs/esc-callbacks.md#trap-5): an event may carry the NETCONF name.
    "esc_event": {word: word for word in LIFECYCLE_TRIGGERS}
    | {
        "VM_STOPPED": "VM_STOP_COMPLETE",
        "VM_STARTED": "VM_START_COMPLETE",
        "VM_REBOOTED": "VM_REBOOT_COMPLETE",
    },
}
"""What a stage or event means under which root."""

UPDATED_MESSAGE: Final = "vm has been updated"
"""How the message of an update begins, lower case, when its stage says VM_ALIVE (docs/esc-callbacks.md#trap-1)."""


def _as_reported(states: Mapping[str, str]) -> Mapping[str, str]:
    """Each state under every name ESC may report it by: with or without prefix and suffix."""
    return {
        f"{prefix}{name}{suffix}": state
        for name, state in states.items()
        for prefix in ("", "VM_", "SERVICE_")
        for suffix in ("", "_STATE")
    }


VM_STATES: Final = _as_reported(
    # Never reported: UNSEEN is before any report, RECOVERING follows from recovery events alone.
    {str(state): str(state) for state in VmState if state not in {VmState.UNSEEN, VmState.RECOVERING}}
    | {"INSERT": "INERT", "SHUTOFF": "STOPPED", "SHUTTING_DOWN": "STOPPING", "UNDEF": "UNSEEN"}
    | dict.fromkeys(("MONITOR_UNSET", "MONITOR_DISABLED"), "INERT")
)
"""VM states (docs/esc-callbacks.md#4.4, #6, #8, #10). UNDEF is before ESC has begun: it says nothing."""

UNMONITORED_STATES: Final = frozenset(_as_reported(dict.fromkeys(("MONITOR_UNSET", "MONITOR_DISABLED"), "")))
"""VM states that say that nobody monitors it; where it rests then is INERT (docs/esc-callbacks.md#trap-9)."""

DEPLOYMENT_STATES: Final = _as_reported(
    {str(state): str(state) for state in DeploymentState if state is not DeploymentState.UNSEEN}
    | {"INSERT": "INERT", "ALIVE": "ACTIVE", "SHUTOFF": "STOPPED", "SHUTTING_DOWN": "STOPPING", "UNDEF": "UNSEEN"}
)
"""Service states (docs/esc-callbacks.md#4.3, #6, #8, #10)."""

EVENT_FACTS: Final = ("name", "threshold", "value", "details")
"""What a scaling event says of the KPI that caused it (docs/esc-callbacks.md#10)."""

ALIASES: Final[Mapping[str, str]] = {
    "depname": "deployment_name",
    "depid": "external_deployment_id",
    "tenant_id": "external_tenant_id",
    "vmid": "vm_uuid",
    "hostid": "host_uuid",
    "hostname": "host_name",
    "vmname": "vm_name",
    "vm_group": "vm_group_name",
}
NETCONF_ALIASES: Final[Mapping[str, str]] = {**ALIASES, "tenant": "internal_tenant_id"}
NIC_ALIASES: Final[Mapping[str, str]] = {
    "nicid": "nic_id",
    "port_id": "port_uuid",
    "network": "network_uuid",
    "subnet": "subnet_uuid",
}
"""NETCONF's names for the fields of REST (docs/esc-callbacks.md#3.2): of a message and its VMs, of a message of the
NETCONF stream itself, and of an interface."""

NIC_FIELDS: Final = frozenset(
    """
    nic_id type network_uuid subnet_uuid port_uuid ip_address mac_address netmask gateway port_forwarding
    """.split()  # noqa: SIM905  # as above
)
"""The fields of an interface that are kept as they are (docs/esc-callbacks.md#3.1); `security_groups` becomes a
list."""
