"""An example of every answer, for the OpenAPI document. A test holds each against its schema."""

from __future__ import annotations

from typing import Any

AT = "2026-01-31T12:00:00.123456Z"
RECEIPT = "019c13f2-9c7b-7d43-8d11-3f1d8f6c2b10"
POSITION = "8123-45017"
TRANSACTION_ID = "d53f0047-2315-466c-b7e3-aa78e0a567e8"
_DEPLOYMENT_ID = "0b6ff5b2-6a3e-8b1f-9a70-4a5d6c7e8f90"
_VM_ID = "5c1d2e3f-4a5b-8c6d-8e7f-9a0b1c2d3e4f"
_LAST_OPERATION = {"name": "VM_ALIVE", "transaction_id": TRANSACTION_ID, "outcome": "succeeded"}

DEPLOYMENT: dict[str, Any] = {
    "id": _DEPLOYMENT_ID, "source": "lab1", "deployment": "dep-1", "internal_deployment_id": "dep-1",
    "incarnation": 1, "current": True,
    "state": "ACTIVE", "first_seen_at": AT, "changed_at": AT, "ended_at": None, "external_deployment_id": "ext-1",
    "deployment_name": "MyDemoDepName", "tenant": "SystemAdminTenantId", "external_tenant_id": "SystemAdminTenantId",
    "reported_state": "SERVICE_ACTIVE_STATE", "degraded": False, "vim_leak_suspected": False,
    "conflicting_external_id": None, "last_operation": _LAST_OPERATION, "extra": {}, "sequence": 2,
}  # fmt: skip
VM: dict[str, Any] = {
    "id": _VM_ID, "source": "lab1", "deployment_id": _DEPLOYMENT_ID, "deployment": "dep-1",
    "tenant": "SystemAdminTenantId", "vm_name": "vm-1", "state": "ALIVE", "first_seen_at": AT, "changed_at": AT,
    "ended_at": None, "vm_group": "ASA-1", "vm_uuid": "50217d2d-8afb-41c2-cffd-d76b1239f51d",
    "host_uuid": "host-14882", "host_name": "10.85.103.13",
    "interfaces": [{"nic_id": "1", "ip_address": "18.0.0.16", "mac_address": "00:50:56:a1:6a:12"}],
    "reported_state": "VM_ALIVE_STATE", "monitored": True, "recovery_open": False, "needs_manual_recovery": False,
    "last_operation": _LAST_OPERATION, "extra": {}, "sequence": 2,
}  # fmt: skip
RESOURCE: dict[str, Any] = {
    "id": "7d8e9f00-1a2b-8c3d-9e4f-5a6b7c8d9e0f", "source": "lab1", "kind": "network", "resource_id": "net-1",
    "state": "CREATED", "first_seen_at": AT, "changed_at": AT, "ended_at": None, "external_id": "ext-net-1",
    "name": "net", "tenant": "SystemAdminTenantId", "deployment": None, "attributes": {}, "sequence": 1,
}  # fmt: skip
OPERATION: dict[str, Any] = {
    "id": "9a8b7c6d-5e4f-8a3b-8c2d-1e0f9a8b7c6d", "source": "lab1", "transaction_id": TRANSACTION_ID, "kind": "deploy",
    "state": "SUCCEEDED", "first_seen_at": AT, "last_seen_at": AT, "ended_at": AT, "revised": False, "inferred": False,
    "tenant": "SystemAdminTenantId", "deployment": "dep-1", "ref": None, "vms_seen": 1, "vms_deployed": 1,
    "vms_alive": 1, "vms_failed": 0, "status_code": 200, "status_message": "Service group deployment completed",
    "sequence": 2,
}  # fmt: skip
SOURCE: dict[str, Any] = {
    "source": "lab1", "configured": True, "state": "IN_SERVICE", "since": AT, "reason": None, "sequence": 2,
    "last_message_at": AT, "refused": 3, "refused_at": AT, "refused_because": "credentials", "quarantined": 0,
    "usual_silence_s": 37.25, "silence_ratio": 0.3, "open_operations": 2, "overdue_operations": 0,
    "reachable": True, "asked_at": AT, "trouble": None, "health": None, "swept_at": AT, "mended": 0, "missing": 0,
}  # fmt: skip
ELSEWHERE: dict[str, Any] = {"source": "lab3", "cell": "cell-b", "url": "https://cell-b.example"}
TRANSITION: dict[str, Any] = {
    "id": "2f6d3c1a-8b7e-5d4c-9a3b-1c2d3e4f5a6b", "at": AT, "entity": "vm", "entity_id": _VM_ID, "source": "lab1",
    "tenant": "SystemAdminTenantId", "deployment": "dep-1", "incarnation": None, "name": "vm-1", "sequence": 2,
    "from_state": "INERT", "to_state": "ALIVE", "change": "alive", "trigger": "VM_ALIVE", "rule": "vm-alive",
    "reason": "its monitor has reached it", "receipt": RECEIPT, "operation": TRANSACTION_ID, "ref": None,
    "position": POSITION,
}  # fmt: skip
CALLBACK: dict[str, Any] = {
    "receipt": RECEIPT, "received_at": AT, "source": "lab1", "channel": "callback", "remote": "10.1.2.3", "ref": None,
    "redacted": False, "transaction_id": TRANSACTION_ID, "status_code": 200, "status_message": "VM Alive",
    "family": "deployment", "trigger": "VM_ALIVE", "deployment": "dep-1", "vm_name": "vm-1", "outcome": "applied",
    "rule": "vm-alive", "reason": "its monitor has reached it", "notes": [], "acknowledged_at": None,
    "acknowledged_by": None, "acknowledged_note": None, "body_bytes": 1204, "position": "8123-771",
}  # fmt: skip

DEPLOYMENT_WITH_VMS = {**DEPLOYMENT, "vms": [VM], "vms_truncated": False}
_INSTANCE = {"vm_uuid": VM["vm_uuid"], "valid_from": AT, "valid_to": None}
_INCARNATION = {
    "incarnation": 1, "id": _VM_ID, "state": "ALIVE", "first_seen_at": AT, "ended_at": None, "instances": [_INSTANCE],
}  # fmt: skip
VM_WITH_INCARNATIONS = {**VM, "incarnation": 1, "incarnations": [_INCARNATION]}
OPERATION_WITH_TIMES = {**OPERATION, "usual_s": 41.5, "longest_s": 187.0, "due_at": None}
OPERATION_WITH_PROGRESS = {**OPERATION_WITH_TIMES, "progress": {"expected": 1, "deployed": 1, "alive": 1, "failed": 0}}
CALLBACK_WITH_HEADERS = {
    **CALLBACK, "headers": [["Content-Type", "application/xml"], ["ESC-Status-Code", "200"]],
    "received_bytes": 1204,
}  # fmt: skip
EXPLANATION: dict[str, Any] = {
    "words": [
        "vm-1 of dep-1 is ALIVE since 2026-01-31 12:00:00 UTC.",
        "VM_ALIVE moved it there from INERT: its monitor has reached it (vm-alive).",
        f"It belongs to the deploy {TRANSACTION_ID}, which is SUCCEEDED.",
        "Expected next: nothing, it is up.",
        "It was published as message 4711 of stream ESC.",
    ],
    "vm": VM, "state": "ALIVE", "since": AT, "cause": TRANSITION, "callback": CALLBACK, "event": None,
    "previous": {
        "state": "INERT", "since": AT, "rule": "vm-deployed",
        "reason": "it was created in the VIM; nobody has seen it alive yet",
    },
    "operation": OPERATION_WITH_TIMES,
    "expected": {"messages": [], "of_the_operation": [], "by": None, "rests": "nothing, it is up"},
    "published": {"stream": "ESC", "id": TRANSITION["id"], "published": True, "sequence": 4711, "at": AT},
    "source": SOURCE, "history": [TRANSITION],
}  # fmt: skip
STATS = {
    "at": AT, "counted_max": 100_000, "deployments": {"ACTIVE": 12}, "vms": {"ALIVE": 40, "ERROR": 1},
    "operations": {"OPEN": 2, "SUCCEEDED": 31}, "resources": {"network": {"CREATED": 3}},
    "quarantine": {"callbacks_last_day": 1, "latest_at": AT, "unacknowledged": 1},
    "outbox": {"messages": 0, "oldest_at": None}, "ledger": {"latest_at": AT},
}  # fmt: skip
GROUP = {
    "source": "lab1", "outcome": "unclassified", "rule": "unclassified", "reason": "the stage VM_PAINTED is not known",
    "callbacks": 3, "unacknowledged": 3, "first_at": AT, "latest_at": AT, "latest_receipt": RECEIPT,
}  # fmt: skip
GROUPS = {"items": [GROUP], "callbacks": 3, "unacknowledged": 3, "counted_max": 10_000}
ACKNOWLEDGEMENT = {
    "source": "lab1", "rule": "unclassified", "reason": GROUP["reason"], "until": AT, "note": "known: see ticket 4711",
    "by": "anna",
}  # fmt: skip
REPLAY_ORDER = {"source": "lab1", "rule": "unclassified", "dry_run": True}
REPLAYED = {
    "dry_run": True, "callbacks": 1, "applied": 1, "changed": 0, "unchanged": 0, "quarantined": 0, "repeat": 0,
    "gone": 0, "failed": 0, "entries": 1,
    "transitions": [
        {
            "receipt": RECEIPT, "entity": "vm", "source": "lab1", "tenant": None, "deployment": "dep-1", "name": "vm-1",
            "from_state": "INERT", "to_state": "ALIVE", "change": "alive", "rule": "vm-alive",
            "reason": "its monitor has reached it",
        }
    ],
    "results": [
        {
            "receipt": RECEIPT, "fate": "applied", "outcome": "applied", "rule": "vm-alive",
            "reason": "its monitor has reached it",
        }
    ],
    "truncated": False,
}  # fmt: skip
FOUND = {
    "kind": "operation", "source": "lab1", "name": TRANSACTION_ID, "label": "deploy", "deployment": "dep-1",
    "state": "SUCCEEDED", "at": AT, "matched": "transaction_id", "value": TRANSACTION_ID,
}  # fmt: skip
SESSION = {"open": False, "scopes": ["read"]}
FEED = f'id: {POSITION}\ndata: {{"entity":"vm","name":"vm-1","to_state":"ALIVE","change":"alive", …}}\n\n'

RECONCILED = (
    '{"event":"change","source":"lab1","entity":"deployment","tenant":"acme","deployment":"dep-1","name":"dep-1",'
    '"from_state":"INERT","to_state":"ACTIVE","change":"active","rule":"reconcile-state",'
    '"reason":"ESC says ACTIVE; its SERVICE_ALIVE never came"}\n'
    '{"event":"progress","source":"lab1","done":1,"total":1}\n'
    '{"event":"result","source":"lab1","deployments":1,"changes":1,"missing":0,"dry_run":false}\n'
    '{"event":"done","status":1}\n'
)


def page(item: dict[str, Any], cursor: str) -> dict[str, Any]:
    """A page of one item, behind which there is more."""
    return {"items": [item], "next": cursor}


CONSUMER = {
    "name": "billing", "durable": True, "subjects": ["esc.v1.vm.>"], "reading": True, "pending": 0,
    "unacknowledged": 2, "redelivered": 0, "last_delivered_at": "2026-01-31T12:00:01.123456Z",
    "last_acknowledged_at": "2026-01-31T12:00:01.234567Z",
}  # fmt: skip

WEBHOOK: dict[str, Any] = {
    "name": "orders", "url": "https://orders.example.com/esc-events", "subjects": ["esc.v1.operation.>"],
    "state": "failing", "since": AT, "reason": "503 Service Unavailable: maintenance", "pending": 3,
    "cursor_sequence": 4710, "failing_sequence": 4711, "last_delivered_at": AT, "last_delivered_sequence": 4712,
    "last_delivered_id": "3c993ced-7439-5ce5-b7c0-4a9e3e20a6a9", "last_error_at": AT,
    "last_error": "503 Service Unavailable: maintenance",
}  # fmt: skip
WEBHOOK_TRIED = {
    "webhook_id": "0c9f3a52-6f0e-4f5d-9d0b-6a3f0e1d2c3b", "delivered": True, "status": 200, "said": "200 OK",
    "took_s": 0.031,
}  # fmt: skip
