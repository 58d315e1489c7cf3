"""The requests of the load: no two alike, ready to be written to a socket.

Each request is about a VM of its own. Every deployment is named once before any is named again, in an order that
changes, because callbacks do not come in the order in which rows lie on PostgreSQL's pages. This file must not know
who sends them, nor whither.
"""

from __future__ import annotations

BODY = b"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<deployment xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <deployment_details>
    <host_uuid>4f926bb44423804ea8d87cac946b80e637c315f4f606bfa788b19b8c</host_uuid>
    <host_name>ucs-%(host)08d</host_name>
    <vm_uuid>%(number)012x-93a4-4987-b26b</vm_uuid>
    <interfaces>
      <interface>
        <network_uuid>943fda9e-79f8-400c-b442-3506f102721a</network_uuid>
        <ip_address>192.168.0.74</ip_address>
        <mac_address>fa:16:3e:e9:23:f6</mac_address>
        <nic_id>0</nic_id>
        <port_uuid>5f2b7c1e-8d1f-4f0b-9a8e-1f3b2c4d5e6f</port_uuid>
      </interface>
    </interfaces>
    <vm_group_name>g1</vm_group_name>
    <vm_name>%(vm)b</vm_name>
    <vm_state_machine_state>VM_INERT_STATE</vm_state_machine_state>
  </deployment_details>
  <deployment_name>bench-%(deployment)06d</deployment_name>
  <deployment_stage>VM_DEPLOYED</deployment_stage>
  <external_deployment_id>%(deployment)08x-deba-4df7-9614-03f31f1beab3</external_deployment_id>
  <internal_deployment_id>bench%(deployment)06d</internal_deployment_id>
  <internal_tenant_id>bench</internal_tenant_id>
  <service_state_machine_state>SERVICE_DEPLOYING_STATE</service_state_machine_state>
</deployment>
"""
HEAD = b"""\
POST /esc/default/callback HTTP/1.1\r
Host: 127.0.0.1\r
Connection: Keep-Alive\r
User-Agent: Apache-HttpClient/4.5.13 (Java/11.0.20)\r
Content-Type: application/xml; charset=UTF-8\r
ESC-Transaction-Id: %(operation)08x-0000-4000-8000-000000000001\r
ESC-Status-Code: 200\r
ESC-Status-Message: VM successfully created, VM Name: [%(vm)b]\r
Content-Length: %(length)d\r
\r
"""
STRIDES = (1, 7_919, 104_729, 611_953)
"""Primes that divide no number of deployments."""


class Traffic:
    """Requests by number."""

    def __init__(self, deployments: int, vms: int = 0, operations: int = 0) -> None:
        """With `vms` there are only so many, and each request about one tells of another host; with `operations` these
        take turns, else each deployment has one."""
        self._deployments = deployments
        self._vms = vms
        self._operations = operations
        length = len(BODY % self._words(0))
        self._request = HEAD.replace(b"%(length)d", b"%d" % length) + BODY

    def request(self, number: int) -> bytes:
        """Head and body."""
        return self._request % self._words(number)

    def _words(self, number: int) -> dict[bytes, bytes | int]:
        turn = number // self._deployments
        deployment = number * STRIDES[turn % len(STRIDES)] % self._deployments
        vm = number % self._vms if self._vms else number
        operation = number // max(1, self._vms) % self._operations if self._operations else deployment
        host = number if self._vms else 7
        return {
            b"number": vm, b"deployment": deployment, b"operation": operation, b"host": host, b"vm": vm_name(vm),
        }  # fmt: skip


def vm_name(number: int) -> bytes:
    """The VM that request `number` is about; always of one length, and the last token of its subject on the feed."""
    return b"bench_g1_0_%012d" % number
