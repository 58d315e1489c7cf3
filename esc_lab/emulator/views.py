"""What a GET shows of a deployment: the shape of the callbacks, with all its VMs.

The document prints no answer to it, so that the shape is a guess. This file must not know requests.
"""

from __future__ import annotations

from typing import Any

from esc_lab.emulator.world import Placed
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES
from esc_lab.simulator.fleet import Nic, Vm


def deployment_view(placed: Placed) -> dict[str, Any]:
    """The fields of the `deployment` element (docs/esc-callbacks.md#3.1)."""
    deployment = placed.deployment
    return {
        "datacenter": {"default": False},
        "deployment_details": [_details(placed, vm) for vm in deployment.live_vms() if vm.name in placed.vm_states],
        "deployment_name": deployment.name,
        "external_deployment_id": deployment.external_id,
        "external_tenant_id": deployment.tenant.external_id,
        "internal_deployment_id": deployment.internal_id,
        "internal_tenant_id": deployment.tenant.internal_id,
        "service_state_machine_state": placed.reported,
    }


def _details(placed: Placed, vm: Vm) -> dict[str, Any]:
    return {
        "host_uuid": vm.instance.host_uuid,
        "host_name": vm.instance.host_name,
        "vm_uuid": vm.instance.vm_uuid,
        "interfaces": {"interface": [_nic(nic) for nic in vm.instance.nics]},
        "vm_group_name": vm.group,
        "vm_name": vm.name,
        "vm_state_machine_state": placed.vm_states.get(vm.name, REPORTED_VM_STATES.get(vm.state, "")),
    }


def _nic(nic: Nic) -> dict[str, Any]:
    fields = {
        "network_uuid": nic.network_uuid,
        "gateway": nic.gateway,
        "ip_address": nic.ip_address,
        "mac_address": nic.mac_address,
        "netmask": nic.netmask,
        "nic_id": nic.nic_id,
        "port_uuid": nic.port_uuid,
        "subnet_uuid": nic.subnet_uuid,
        "type": "virtual",
    }
    return {name: value for name, value in fields.items() if value != ""}
