"""What ESC posts: XML in the shape of the samples, headers in the chosen spelling (docs/esc-callbacks.md#1, #3).

This file must not know what a message does to any entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

from esc_lab.simulator.fleet import Deployment, Instance, Nic, Vm

Channel = Literal["callback", "events"]
"""Which of the two URLs a message goes to; also the last word of the receiver's path (docs/ingress.md#paths)."""

Fields = Mapping[str, Any]
"""Elements by name: a scalar, None for an empty element, nested fields, or a list that repeats the element."""

NAMESPACE = "urn:ietf:params:xml:ns:netconf:base:1.0"
_XML_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

HEADER_STYLES: Mapping[str, tuple[str, str, str]] = {
    "printed": ("ESC_TRANSACTION_ID", "ESC-Status-Code", "ESC-Status-Message"),
    "hyphen": ("ESC-Transaction-Id", "ESC-Status-Code", "ESC-Status-Message"),
    "lower": ("esc-transaction-id", "esc-status-code", "esc-status-message"),
    "underscore": ("ESC_TRANSACTION_ID", "ESC_STATUS_CODE", "ESC_STATUS_MESSAGE"),
}
"""The spellings seen, and the two a proxy makes of them (docs/esc-callbacks.md#1)."""

REPORTED_VM_STATES: Mapping[str, str] = {
    "ALIVE": "VM_ALIVE_STATE",
    "INERT": "VM_INERT_STATE",
    "STOPPED": "VM_SHUTOFF_STATE",
    "ERROR": "VM_ERROR_STATE",
}
"""ESC's names of the states a VM can rest in (docs/esc-callbacks.md#4.4)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One POST of ESC, ready to send."""

    channel: Channel
    root: str
    event: str
    """Stage or event type."""
    ok: bool
    headers: Mapping[str, str]
    body: bytes
    vms: tuple[tuple[str, str], ...] = ()
    """The VMs it names: name and `vm_uuid`, source before target."""
    pause_s: float = 0.0
    """How long ESC takes before it, at time scale 1."""
    vm_state: str = ""
    """As ESC reports it; empty where it reports none. `service_state` likewise."""
    service_state: str = ""
    resource: tuple[str, str] = ("", "")
    """Kind and id of the resource it is about; empty where it is about none."""


@dataclass(frozen=True, slots=True)
class VmRef:
    """`vm_source` or `vm_target`: a VM as one instance in the VIM."""

    vm: Vm
    instance: Instance

    def ids(self) -> tuple[str, str]:
        """Name and `vm_uuid`."""
        return self.vm.name, self.instance.vm_uuid


def headers_of(style: str, transaction: str, text: str, *, ok: bool) -> dict[str, str]:
    """The headers of a message; `style` is a key of HEADER_STYLES."""
    transaction_name, code_name, message_name = HEADER_STYLES[style]
    return {
        "Content-Type": "application/xml; charset=UTF-8",
        transaction_name: transaction,
        code_name: "200" if ok else "500",
        message_name: text,
    }


def deployment_fields(
    deployment: Deployment, service_state: str, details: Sequence[Fields] = (), stage: str | None = None
) -> dict[str, Any]:
    """The `deployment` element (docs/esc-callbacks.md#3.1) with blocks of VMs; without a stage in answers to a GET."""
    return {
        "datacenter": {"default": False},
        "deployment_details": list(details),
        "deployment_name": deployment.name,
        **({"deployment_stage": stage} if stage else {}),
        **deployment_ids(deployment),
        "service_state_machine_state": service_state,
    }


def details_fields(vm: VmRef, vm_state: str) -> dict[str, Any]:
    """A VM's block in a `deployment` element."""
    return {
        **_host(vm.instance),
        "interfaces": {"interface": [_nic(nic) for nic in vm.instance.nics]},
        **_names(vm.vm),
        "vm_state_machine_state": vm_state,
    }


def event_fields(
    deployment: Deployment, event: str, source: VmRef | None, target: VmRef | None = None, *, has_target: bool = False
) -> dict[str, Any]:
    """An `esc_event` (docs/esc-callbacks.md#3.2); without a VM, source and target are empty elements."""
    return {
        "deployment_name": deployment.name,
        "event_details": "",
        "event_type": event,
        **deployment_ids(deployment),
        "vm_source": _event_vm(source),
        **({"vm_target": _event_vm(target)} if has_target else {}),
    }


def render(root: str, fields: Fields) -> bytes:
    """The document, indented as ESC indents. What XML cannot hold (names, control characters) is left out."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>',
        f'<{root} xmlns="{NAMESPACE}">',
        *_render(fields, "  "),
        f"</{root}>",
        "",
    ]
    return "\n".join(lines).encode()


def _render(fields: Fields, indent: str) -> Iterable[str]:
    for name, values in fields.items():
        if not _XML_NAME.fullmatch(name):
            continue
        for value in values if isinstance(values, list) else (values,):
            if isinstance(value, Mapping):
                yield f"{indent}<{name}>"
                yield from _render(value, indent + "  ")
                yield f"{indent}</{name}>"
            else:
                yield f"{indent}<{name}>{_text(value)}</{name}>"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return escape(_NOT_XML.sub("", str(value)))


def deployment_ids(deployment: Deployment) -> dict[str, Any]:
    """The ids of a deployment and of its tenant, in the order of ESC's messages."""
    return {
        "external_deployment_id": deployment.external_id,
        "external_tenant_id": deployment.tenant.external_id,
        "internal_deployment_id": deployment.internal_id,
        "internal_tenant_id": deployment.tenant.internal_id,
    }


def _event_vm(ref: VmRef | None) -> Fields | str:
    if ref is None:
        return ""
    return {"interfaces": [_nic(nic) for nic in ref.instance.nics], **_host(ref.instance), **_names(ref.vm)}


def _host(instance: Instance) -> dict[str, Any]:
    return {"host_uuid": instance.host_uuid, "host_name": instance.host_name, "vm_uuid": instance.vm_uuid}


def _names(vm: Vm) -> dict[str, Any]:
    return {"vm_group_name": vm.group, "vm_name": vm.name}


def _nic(nic: Nic) -> dict[str, Any]:
    fields = {
        "network_uuid": nic.network_uuid,
        "gateway": nic.gateway,
        "ip_address": nic.ip_address,
        "mac_address": nic.mac_address,
        "netmask": nic.netmask,
        "nic_id": nic.nic_id,
        "port_forwarding": "",
        "port_uuid": nic.port_uuid,
        "security_groups": "",
        "subnet_uuid": nic.subnet_uuid,
        "type": "virtual",
    }
    return {name: value for name, value in fields.items() if value != "" or name not in {"gateway", "netmask"}}
