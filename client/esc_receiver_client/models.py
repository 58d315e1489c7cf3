"""What the feed and the query API tell, as classes. Written from its schemas by `make docs`.

Fields that a later receiver adds are kept (`model_extra`), and words that it adds to a set are let through.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class Acknowledgement1(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID], Field(max_length=1000)]
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement2(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement3(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement4(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement5(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement6(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    note: str
    by: str | None = None


class Acknowledgement7(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime
    note: str
    by: str | None = None


class Acknowledgement(
    RootModel[
        Acknowledgement1
        | Acknowledgement2
        | Acknowledgement3
        | Acknowledgement4
        | Acknowledgement5
        | Acknowledgement6
        | Acknowledgement7
    ]
):
    root: (
        Acknowledgement1
        | Acknowledgement2
        | Acknowledgement3
        | Acknowledgement4
        | Acknowledgement5
        | Acknowledgement6
        | Acknowledgement7
    )


class Callback(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipt: UUID
    received_at: AwareDatetime
    source: str
    channel: Literal["callback", "events", "reconcile"] | str
    remote: str | None
    ref: str | None
    redacted: bool
    transaction_id: str | None
    status_code: int | None
    status_message: str | None
    family: Literal["deployment", "esc_event", "resource", "unknown"] | str
    trigger: str | None
    deployment: str | None
    vm_name: str | None
    outcome: Literal["applied", "duplicate", "late", "unclassified", "malformed"] | str
    rule: str
    reason: str
    notes: list[str]
    acknowledged_at: AwareDatetime | None
    acknowledged_by: str | None
    acknowledged_note: str | None
    body_bytes: int
    """
    Of the body as it is kept.
    """

    position: str
    """
    Its place in the order of visibility: a cursor, and the feed's event id.
    """


class CallbackEvent(BaseModel):
    """
    Payload on subjects esc.v1.callback.unclassified.> and esc.v1.callback.malformed.>: a callback that was kept, but fits no rule, or cannot be read (then only its head is told, not its bytes). Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    The receipt; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["callback"]
    source: str
    """
    The ESC instance that reported it.
    """

    change: Literal["unclassified", "malformed"] | str
    family: Literal["deployment", "esc_event", "resource", "unknown"] | str
    """
    Told by the root element.
    """

    root: str
    """
    Local name of the root element; empty when it could not be read.
    """

    trigger: str | None
    """
    The stage or event, as far as there is one.
    """

    status: Literal["ok", "failed", "unknown"] | str
    """
    What ESC-Status-Code says: 2xx, another number, no number.
    """

    status_code: int | None
    status_message: str | None
    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID
    """
    Under which the callback is kept.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    notes: list[str]
    """
    Remarks of the parser.
    """

    at: AwareDatetime
    """
    When it was received.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class CallbackWithHeaders(Callback):
    model_config = ConfigDict(
        extra="allow",
    )
    headers: list[list[str]]
    received_bytes: int | None
    """
    Of the body as received; null for one sent in chunks.
    """


class Consumer(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    name: str
    durable: bool
    subjects: list[str]
    reading: bool
    pending: int
    unacknowledged: int
    redelivered: int
    last_delivered_at: AwareDatetime | None
    last_acknowledged_at: AwareDatetime | None


class Day(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    day: str
    """
    UTC.
    """

    entries: int
    head: str
    """
    Hash of its last entry.
    """


class DeadLetterGroup(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    source: str
    outcome: Literal["applied", "duplicate", "late", "unclassified", "malformed"] | str
    rule: str
    reason: str
    callbacks: int
    unacknowledged: int
    first_at: AwareDatetime
    latest_at: AwareDatetime
    latest_receipt: UUID


class Deployment(BaseModel):
    """
    A deployment, as in the KV bucket and on the feed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of this thing in the receiver's tables.
    """

    source: str
    """
    The ESC instance that reported it.
    """

    deployment: str | None = None
    """
    ESC's internal id of it, as everywhere else; messages of before this release lack it.
    """

    internal_deployment_id: Annotated[str, Field(deprecated=True)]
    """
    As `deployment`, its former name.
    """

    incarnation: int
    """
    Counts how often the internal id has been used anew.
    """

    current: bool
    """
    False once a newer incarnation has been seen.
    """

    state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ACTIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime
    ended_at: AwareDatetime | None
    """
    When it reached its final state.
    """

    external_deployment_id: str | None
    deployment_name: str | None
    tenant: str | None
    """
    Internal id of the tenant.
    """

    external_tenant_id: str | None
    reported_state: str | None
    """
    The state as ESC spelled it.
    """

    degraded: bool
    vim_leak_suspected: bool
    conflicting_external_id: str | None
    last_operation: dict[str, Any] | None
    """
    The operation whose service stage came last: `name` (the stage), `transaction_id`, `outcome`.
    """

    extra: dict[str, Any]
    """
    Fields of the message that the receiver does not know.
    """

    sequence: int
    """
    The number of its latest ledger entry.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class DeploymentEvent(BaseModel):
    """
    Payload on subjects esc.v1.deployment.>: one ledger entry of a deployment. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of the ledger entry; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["deployment"]
    source: str
    """
    The ESC instance that reported it.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    incarnation: int | None
    """
    Incarnation of the deployment.
    """

    name: str
    """
    internal deployment id.
    """

    sequence: int
    """
    Number of the ledger entry: 1, 2, 3 … for this entity, without a gap.
    """

    change: str
    """
    The new state or the note, lower case; as in the subject.
    """

    from_state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ACTIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    """
    State before; UNSEEN for the first entry.
    """

    to_state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ACTIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    """
    State after; equal to from_state for a note.
    """

    trigger: str
    """
    ESC's stage or event, or what else brought it about.
    """

    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID | None
    """
    The callback it came from; null when none did.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    at: AwareDatetime
    """
    When it was decided.
    """

    item: Deployment
    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class DeploymentThen(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    source: str
    deployment: str
    internal_deployment_id: str
    incarnation: int
    current: bool
    state: str
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    external_deployment_id: str | None
    deployment_name: str | None
    tenant: str | None
    external_tenant_id: str | None


class DeploymentWithVms(Deployment):
    model_config = ConfigDict(
        extra="allow",
    )
    vms: list[Vm]
    vms_truncated: bool
    """
    There are more than `query_items_max`; the list of VMs has all.
    """


class DeploymentWithVmsThen(DeploymentThen):
    model_config = ConfigDict(
        extra="allow",
    )
    vms: list[VmThen]
    vms_truncated: bool


class Expected(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    messages: list[Message]
    of_the_operation: list[str]
    """
    Messages that would end its operation.
    """

    by: AwareDatetime | None
    """
    When its operation would be overdue; null when none is open.
    """

    rests: str | None
    """
    Why nothing is expected.
    """


class Explanation(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    words: list[str]
    """
    The whole story for people.
    """

    vm: Vm
    state: str
    since: AwareDatetime
    cause: Transition | None
    """
    The ledger entry that brought the state.
    """

    callback: Callback | None
    """
    The callback behind it; null when past its retention.
    """

    event: dict[str, str] | None
    """
    What ESC said of the event: the KPI that caused it (`name`, `threshold`, `value`, `details`), its `time`.
    """

    previous: Previous | None
    operation: OperationWithTimes | None
    expected: Expected
    published: Published | None
    source: Source | None
    """
    The ESC it belongs to.
    """

    history: list[Transition]
    """
    Its last entries, latest first.
    """


class Found(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    kind: Literal["deployment", "vm", "operation", "resource", "callback"] | str
    source: str
    name: str
    label: str | None
    deployment: str | None
    state: str
    at: AwareDatetime
    matched: str
    value: str


class Incarnation(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    incarnation: int
    id: UUID
    state: str
    first_seen_at: AwareDatetime
    ended_at: AwareDatetime | None
    instances: list[Instance]


class Instance(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    vm_uuid: str
    valid_from: AwareDatetime
    valid_to: AwareDatetime | None


class Ledger(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    latest_at: AwareDatetime | None


class LedgerEvent(BaseModel):
    """
    Payload on subject esc.v1.ledger.archived: the ledger was archived up to here. Whoever keeps these messages can prove later that the archive was not made anew. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Of this message; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["ledger"]
    segment: int
    """
    Number of the archive's segment.
    """

    entries: int
    """
    Ledger entries in the whole archive.
    """

    digest: str
    """
    SHA-256 of the segment, which covers all before it, in hexadecimal.
    """

    signature: str
    """
    Ed25519 signature of the digest, in hexadecimal.
    """

    key: str
    """
    The public key, in hexadecimal.
    """

    days: list[Day]
    """
    Where the chain of each day stands of which entries were added: at most 400.
    """

    at: AwareDatetime
    """
    When it was archived.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut.
    """

    change: Literal["archived"] | str


class Message(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    trigger: str
    state: str | None
    rule: str
    reason: str


class Nothing(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )


class Operation(BaseModel):
    """
    A operation, as in the KV bucket and on the feed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of this thing in the receiver's tables.
    """

    source: str
    """
    The ESC instance that reported it.
    """

    transaction_id: str
    """
    ESC's transaction id.
    """

    kind: str
    state: Literal["UNSEEN", "OPEN", "OVERDUE", "SUCCEEDED", "FAILED", "CANCELLED"] | str
    first_seen_at: AwareDatetime
    last_seen_at: AwareDatetime
    ended_at: AwareDatetime | None
    """
    When it reached its final state.
    """

    revised: bool
    """
    It had ended, and a later message changed its outcome.
    """

    inferred: bool | None = None
    """
    No message ended it: ESC was asked, and the state of its deployment leaves no doubt (docs/reconcile.md).
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    vms_seen: int
    vms_deployed: int
    vms_alive: int
    vms_failed: int
    status_code: int | None
    status_message: str | None
    sequence: int
    """
    The number of its latest ledger entry.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class OperationEvent(BaseModel):
    """
    Payload on subjects esc.v1.operation.>: one ledger entry of a operation. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of the ledger entry; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["operation"]
    source: str
    """
    The ESC instance that reported it.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    incarnation: int | None
    """
    Incarnation of the deployment.
    """

    name: str
    """
    ESC transaction id.
    """

    sequence: int
    """
    Number of the ledger entry: 1, 2, 3 … for this entity, without a gap.
    """

    change: str
    """
    The new state or the note, lower case; as in the subject.
    """

    from_state: Literal["UNSEEN", "OPEN", "OVERDUE", "SUCCEEDED", "FAILED", "CANCELLED"] | str
    """
    State before; UNSEEN for the first entry.
    """

    to_state: Literal["UNSEEN", "OPEN", "OVERDUE", "SUCCEEDED", "FAILED", "CANCELLED"] | str
    """
    State after; equal to from_state for a note.
    """

    trigger: str
    """
    ESC's stage or event, or what else brought it about.
    """

    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID | None
    """
    The callback it came from; null when none did.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    at: AwareDatetime
    """
    When it was decided.
    """

    item: Operation
    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class OperationThen(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    source: str
    transaction_id: str
    kind: str
    state: str
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    tenant: str | None
    deployment: str | None
    ref: str | None


class OperationWithTimes(Operation):
    model_config = ConfigDict(
        extra="allow",
    )
    usual_s: float | None
    """
    What half of those like it take; null: not learned yet.
    """

    longest_s: float | None
    """
    What the longest of them took.
    """

    due_at: AwareDatetime | None
    """
    When it is overdue if nothing more is heard; null unless it is open.
    """


class OperationWithProgress(OperationWithTimes):
    model_config = ConfigDict(
        extra="allow",
    )
    progress: Progress


class Outbox(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    messages: int
    oldest_at: AwareDatetime | None


class Previous(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    state: str
    since: AwareDatetime | None
    rule: str | None
    reason: str | None


class Progress(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    expected: int
    deployed: int
    alive: int
    failed: int


class Published(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    stream: str
    id: UUID
    """
    `Nats-Msg-Id` of the message.
    """

    published: bool | None
    """
    null: the outbox is too long to tell.
    """

    sequence: int | None
    """
    Where it stands in the stream; null when the stream does not say.
    """

    at: AwareDatetime | None
    """
    When the stream took it.
    """


class Quarantine(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    callbacks_last_day: int
    latest_at: AwareDatetime | None
    unacknowledged: int
    """
    That nobody has acknowledged, of whatever age.
    """


class ReconcileOrder(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    source: str | None = None
    deployment: str | None = None
    dry_run: bool | None = False
    yes: bool | None = False


class ReplayOrder1(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID], Field(max_length=1000)]
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder2(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder3(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder4(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder5(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder6(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder7(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipts: Annotated[list[UUID] | None, Field(max_length=1000)] = None
    source: str | None = None
    outcome: Literal["malformed", "unclassified"] | str | None = None
    rule: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime
    dry_run: bool
    quarantine: bool | None = True
    to_source: str | None = None


class ReplayOrder(
    RootModel[ReplayOrder1 | ReplayOrder2 | ReplayOrder3 | ReplayOrder4 | ReplayOrder5 | ReplayOrder6 | ReplayOrder7]
):
    root: ReplayOrder1 | ReplayOrder2 | ReplayOrder3 | ReplayOrder4 | ReplayOrder5 | ReplayOrder6 | ReplayOrder7


class Replayed(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    dry_run: bool
    """
    Nothing was changed: this is what would be.
    """

    callbacks: int
    applied: int
    changed: int
    unchanged: int
    quarantined: int
    repeat: int
    gone: int
    failed: int
    entries: int
    """
    Ledger entries that were appended.
    """

    transitions: list[Transition1]
    results: list[Result]
    truncated: bool
    """
    There are more `transitions` or `results` than are shown.
    """


class Resend(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    from_sequence: int


class Resource(BaseModel):
    """
    A resource, as in the KV bucket and on the feed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of this thing in the receiver's tables.
    """

    source: str
    """
    The ESC instance that reported it.
    """

    kind: str
    resource_id: str
    state: Literal["UNSEEN", "CREATED", "UPDATED", "DELETED", "ERROR"] | str
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime
    ended_at: AwareDatetime | None
    """
    When it reached its final state.
    """

    external_id: str | None
    name: str | None
    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    attributes: dict[str, Any]
    sequence: int
    """
    The number of its latest ledger entry.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class ResourceEvent(BaseModel):
    """
    Payload on subjects esc.v1.resource.>: one ledger entry of a resource. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of the ledger entry; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["resource"]
    source: str
    """
    The ESC instance that reported it.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    incarnation: int | None
    """
    Incarnation of the deployment.
    """

    name: str
    """
    kind/id.
    """

    sequence: int
    """
    Number of the ledger entry: 1, 2, 3 … for this entity, without a gap.
    """

    change: str
    """
    The new state or the note, lower case; as in the subject.
    """

    from_state: Literal["UNSEEN", "CREATED", "UPDATED", "DELETED", "ERROR"] | str
    """
    State before; UNSEEN for the first entry.
    """

    to_state: Literal["UNSEEN", "CREATED", "UPDATED", "DELETED", "ERROR"] | str
    """
    State after; equal to from_state for a note.
    """

    trigger: str
    """
    ESC's stage or event, or what else brought it about.
    """

    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID | None
    """
    The callback it came from; null when none did.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    at: AwareDatetime
    """
    When it was decided.
    """

    item: Resource
    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class Result(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipt: UUID
    fate: Literal["applied", "changed", "unchanged", "quarantined", "repeat", "gone", "failed"] | str
    outcome: str | None
    rule: str | None
    reason: str | None


class Source(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    source: str
    configured: bool
    state: Literal["UNSEEN", "IN_SERVICE", "OUT_OF_SERVICE"] | str
    since: AwareDatetime | None
    reason: str | None
    sequence: int
    last_message_at: AwareDatetime | None
    refused: int
    refused_at: AwareDatetime | None
    refused_because: str | None
    quarantined: int
    usual_silence_s: float | None
    """
    99 of 100 looks at this hour of the week found a message no older; null: not learned yet.
    """

    silence_ratio: float | None
    """
    Its silence, of that; of `silence_usual_s` before it is learned.
    """

    open_operations: int
    overdue_operations: int
    reachable: bool | None
    asked_at: AwareDatetime | None
    trouble: str | None
    health: str | None
    swept_at: AwareDatetime | None
    mended: int
    missing: int


class SourceElsewhere(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    source: str
    cell: str
    url: str | None


class SourceEvent(BaseModel):
    """
    Payload on subjects esc.v1.resource.>: one ledger entry of an ESC instance: what it says of itself. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of the ledger entry; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["source"]
    source: str
    """
    The ESC instance that reported it.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    incarnation: int | None
    """
    Incarnation of the deployment.
    """

    name: str
    """
    The same as `source`.
    """

    sequence: int
    """
    Number of the ledger entry: 1, 2, 3 … for this entity, without a gap.
    """

    change: str
    """
    The new state or the note, lower case; as in the subject.
    """

    from_state: Literal["UNSEEN", "IN_SERVICE", "OUT_OF_SERVICE"] | str
    """
    State before; UNSEEN for the first entry.
    """

    to_state: Literal["UNSEEN", "IN_SERVICE", "OUT_OF_SERVICE"] | str
    """
    State after; equal to from_state for a note.
    """

    trigger: str
    """
    ESC's stage or event, or what else brought it about.
    """

    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID | None
    """
    The callback it came from; null when none did.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    at: AwareDatetime
    """
    When it was decided.
    """

    item: SourceItem
    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class SourceItem(BaseModel):
    """
    The source as it stands after the entry.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of this thing in the receiver's tables.
    """

    source: str
    """
    Its name in the receiver's settings.
    """

    state: Literal["UNSEEN", "IN_SERVICE", "OUT_OF_SERVICE"] | str
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime
    reason: str | None
    """
    Why, as it says.
    """

    sequence: int
    """
    The number of its latest ledger entry.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class Stats(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    at: AwareDatetime
    counted_max: int
    """
    No count goes beyond it.
    """

    deployments: dict[str, int]
    vms: dict[str, int]
    operations: dict[str, int]
    resources: dict[str, dict[str, int]]
    quarantine: Quarantine
    outbox: Outbox
    ledger: Ledger


class StatsThen(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    at: AwareDatetime
    deployments: dict[str, int]
    vms: dict[str, int]
    operations: dict[str, int]


class Transition(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    at: AwareDatetime
    entity: Literal["deployment", "vm", "resource", "operation", "source"] | str
    entity_id: UUID
    source: str
    tenant: str | None
    deployment: str | None
    incarnation: int | None
    name: str
    sequence: int
    from_state: str
    to_state: str
    change: str
    trigger: str
    rule: str
    reason: str
    receipt: UUID | None
    operation: str | None
    ref: str | None
    position: str
    """
    Its place in the order of visibility: a cursor, and the feed's event id.
    """


class Transition1(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    receipt: UUID
    entity: Literal["deployment", "vm", "resource", "operation", "source"] | str
    source: str
    tenant: str | None
    deployment: str | None
    name: str
    from_state: str
    to_state: str
    change: str
    rule: str
    reason: str


class Vm(BaseModel):
    """
    A vm, as in the KV bucket and on the feed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of this thing in the receiver's tables.
    """

    source: str
    """
    The ESC instance that reported it.
    """

    deployment_id: UUID
    """
    Id of its deployment's incarnation in the receiver's tables.
    """

    deployment: str
    """
    Internal id of the deployment.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    vm_name: str
    """
    The name ESC generated; it stays when the VM is redeployed.
    """

    state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ALIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "RECOVERING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime
    ended_at: AwareDatetime | None
    """
    When it reached its final state.
    """

    vm_group: str | None
    vm_uuid: str | None
    """
    Instance id in the VIM; it changes when the VM is redeployed.
    """

    host_uuid: str | None
    host_name: str | None
    interfaces: list[dict[str, Any]]
    """
    Its network interfaces as last reported.
    """

    reported_state: str | None
    """
    The state as ESC spelled it.
    """

    monitored: bool | None
    recovery_open: bool
    needs_manual_recovery: bool
    last_operation: dict[str, Any] | None
    """
    The operation whose message about the VM itself last moved it, a recovery too, or failed to: `name` (the stage or event), `transaction_id`, `outcome`. A VM that went with its deployment keeps the one before.
    """

    extra: dict[str, Any]
    """
    Fields of the message that the receiver does not know.
    """

    sequence: int
    """
    The number of its latest ledger entry.
    """

    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class VmEvent(BaseModel):
    """
    Payload on subjects esc.v1.vm.>: one ledger entry of a vm. Fields may be added within v1, never removed.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    """
    Id of the ledger entry; also `ce-id` and `Nats-Msg-Id`.
    """

    entity: Literal["vm"]
    source: str
    """
    The ESC instance that reported it.
    """

    tenant: str | None
    """
    Internal id of the tenant.
    """

    deployment: str | None
    """
    Internal id of the deployment.
    """

    incarnation: int | None
    """
    Incarnation of the deployment.
    """

    name: str
    """
    vm_name.
    """

    sequence: int
    """
    Number of the ledger entry: 1, 2, 3 … for this entity, without a gap.
    """

    change: str
    """
    The new state or the note, lower case; as in the subject.
    """

    from_state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ALIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "RECOVERING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    """
    State before; UNSEEN for the first entry.
    """

    to_state: (
        Literal[
            "UNSEEN",
            "DEPLOYING",
            "INERT",
            "ALIVE",
            "STOPPING",
            "STOPPED",
            "STARTING",
            "REBOOTING",
            "RECOVERING",
            "ERROR",
            "UNDEPLOYING",
            "UNDEPLOYED",
        ]
        | str
    )
    """
    State after; equal to from_state for a note.
    """

    trigger: str
    """
    ESC's stage or event, or what else brought it about.
    """

    rule: str
    """
    Stable name of the rule that decided.
    """

    reason: str
    """
    The decision in words.
    """

    receipt: UUID | None
    """
    The callback it came from; null when none did.
    """

    operation: str | None
    """
    ESC transaction id of the message.
    """

    ref: str | None
    """
    The caller's own reference, from `?ref=` of the callback URL.
    """

    at: AwareDatetime
    """
    When it was decided.
    """

    item: Vm
    truncated: list[str] | None = None
    """
    Present when the message was too large for the broker: what was cut. The whole is in the query API.
    """


class VmThen(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: UUID
    source: str
    deployment_id: UUID
    deployment: str
    incarnation: int | None
    tenant: str | None
    vm_name: str
    state: str
    first_seen_at: AwareDatetime
    changed_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    vm_group: str | None
    vm_uuid: str | None


class VmWithIncarnations(Vm):
    model_config = ConfigDict(
        extra="allow",
    )
    incarnation: int | None
    incarnations: list[Incarnation]


class Webhook(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    name: str
    url: str
    subjects: list[str]
    state: Literal["starting", "delivering", "failing", "lost", "disabled"] | str
    since: AwareDatetime | None
    reason: str | None
    pending: int | None
    cursor_sequence: int | None
    failing_sequence: int | None
    last_delivered_at: AwareDatetime | None
    last_delivered_sequence: int | None
    last_delivered_id: UUID | None
    last_error_at: AwareDatetime | None
    last_error: str | None


class WebhookTried(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    webhook_id: UUID
    delivered: bool
    status: int | None
    said: str
    """
    What it answered, or why it did not.
    """

    took_s: float
