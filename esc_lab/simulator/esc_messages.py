"""Steps into what ESC posts: XML in the shape of the samples, headers in the spelling asked for
(docs/esc-callbacks.md#1, #3).

This file must not know what a message does to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from xml.sax.saxutils import escape

from esc_lab.simulator.fleet import Deployment, Instance, Nic, Vm

Channel = Literal["callback", "events"]
"""Which of the two URLs it goes to; also the last word of the receiver's path (docs/ingress.md#paths)."""

Node = tuple[str, "str | list[Node]"]

NAMESPACE = "urn:ietf:params:xml:ns:netconf:base:1.0"

HEADER_STYLES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "printed": ("ESC_TRANSACTION_ID", "ESC-Status-Code", "ESC-Status-Message"),
        "hyphen": ("ESC-Transaction-Id", "ESC-Status-Code", "ESC-Status-Message"),
        "lower": ("esc-transaction-id", "esc-status-code", "esc-status-message"),
        "underscore": ("ESC_TRANSACTION_ID", "ESC_STATUS_CODE", "ESC_STATUS_MESSAGE"),
    }
)
"""The spellings seen, and the two a proxy makes of them (docs/esc-callbacks.md#1)."""

REPORTED_VM_STATES: Mapping[str, str] = MappingProxyType(
    {
        "ALIVE": "VM_ALIVE_STATE",
        "INERT": "VM_INERT_STATE",
        "STOPPED": "VM_SHUTOFF_STATE",
        "ERROR": "VM_ERROR_STATE",
    }
)
"""What ESC calls the states a VM can rest in (docs/esc-callbacks.md#4.4)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One POST of ESC, ready to send."""

    channel: Channel
    root: str
    says: str
    """Stage or event type."""
    ok: bool
    headers: Mapping[str, str]
    body: bytes
    vms: tuple[tuple[str, str], ...] = ()
    """The VMs it names: name and `vm_uuid`, source before target."""
    pause_s: float = 0.0
    """How long ESC takes before it, at full scale."""
    vm_state: str = ""
    """As it reports them; empty where it reports none."""
    service_state: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """`vm_source` or `vm_target`: a VM as one instance in the VIM."""

    vm: Vm
    instance: Instance

    def named(self) -> tuple[str, str]:
        """The pair that tells the VM: name and uuid."""
        return self.vm.name, self.instance.vm_uuid


def headers_of(style: str, transaction: str, text: str, *, ok: bool) -> dict[str, str]:
    """The envelope of a message; `style` is a key of HEADER_STYLES."""
    transaction_name, code_name, message_name = HEADER_STYLES[style]
    return {
        "Content-Type": "application/xml; charset=UTF-8",
        transaction_name: transaction,
        code_name: "200" if ok else "500",
        message_name: text,
    }


def deployment_body(
    deployment: Deployment, says: str, service_state: str, side: Side | None = None, vm_state: str = ""
) -> bytes:
    """A `deployment` callback (docs/esc-callbacks.md#3.1), with or without the block of a VM."""
    details: list[Node] = []
    if side is not None:
        block: list[Node] = [
            *_host(side.instance),
            ("interfaces", [("interface", _nic(nic)) for nic in side.instance.nics]),
            *_names(side.vm),
            ("vm_state_machine_state", vm_state),
        ]
        details = [("deployment_details", block)]
    return render(
        "deployment",
        [
            ("datacenter", [("default", "false")]),
            *details,
            ("deployment_name", deployment.name),
            ("deployment_stage", says),
            *_deployment_ids(deployment),
            ("service_state_machine_state", service_state),
        ],
    )


def event_body(
    deployment: Deployment, says: str, source: Side | None, target: Side | None = None, *, has_target: bool = False
) -> bytes:
    """An `esc_event` (docs/esc-callbacks.md#3.2); a side that nobody stands in is an empty element."""
    sides: list[Node] = [("vm_source", _side(source))]
    if has_target:
        sides.append(("vm_target", _side(target)))
    return render(
        "esc_event",
        [
            ("deployment_name", deployment.name),
            ("event_details", ""),
            ("event_type", says),
            *_deployment_ids(deployment),
            *sides,
        ],
    )


def render(root: str, children: Iterable[Node]) -> bytes:
    """The document, indented as ESC indents."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>',
        f'<{root} xmlns="{NAMESPACE}">',
        *_render(children, "  "),
        f"</{root}>",
        "",
    ]
    return "\n".join(lines).encode()


def _render(nodes: Iterable[Node], indent: str) -> Iterable[str]:
    for name, value in nodes:
        if isinstance(value, str):
            yield f"{indent}<{name}>{escape(value)}</{name}>"
        else:
            yield f"{indent}<{name}>"
            yield from _render(value, indent + "  ")
            yield f"{indent}</{name}>"


def _deployment_ids(deployment: Deployment) -> list[Node]:
    return [
        ("external_deployment_id", deployment.external_id),
        ("external_tenant_id", deployment.tenant.external_id),
        ("internal_deployment_id", deployment.internal_id),
        ("internal_tenant_id", deployment.tenant.internal_id),
    ]


def _side(side: Side | None) -> str | list[Node]:
    if side is None:
        return ""
    interfaces: list[Node] = [("interfaces", _nic(nic)) for nic in side.instance.nics]
    return [*interfaces, *_host(side.instance), *_names(side.vm)]


def _host(instance: Instance) -> list[Node]:
    return [("host_uuid", instance.host_uuid), ("host_name", instance.host_name), ("vm_uuid", instance.vm_uuid)]


def _names(vm: Vm) -> list[Node]:
    return [("vm_group_name", vm.group), ("vm_name", vm.name)]


def _nic(nic: Nic) -> list[Node]:
    gateway: list[Node] = [("gateway", nic.gateway)] if nic.gateway else []
    netmask: list[Node] = [("netmask", nic.netmask)] if nic.netmask else []
    return [
        ("network_uuid", nic.network_uuid),
        *gateway,
        ("ip_address", nic.ip_address),
        ("mac_address", nic.mac_address),
        *netmask,
        ("nic_id", str(nic.nic_id)),
        ("port_forwarding", ""),
        ("port_uuid", nic.port_uuid),
        ("security_groups", ""),
        ("subnet_uuid", nic.subnet_uuid),
        ("type", "virtual"),
    ]
