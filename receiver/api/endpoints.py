"""Every endpoint of the query API as data: its path, parameters, answer and example.

Routes are mounted from it and the OpenAPI document is written from it, so that the two agree. This file must not know
how an answer is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from receiver.api import examples
from receiver.api.answer_schemas import list_of, of, schema_of
from receiver.api.endpoint import Endpoint
from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, RESOURCES, VMS, EntityList
from receiver.api.known_parameters import (
    ACKNOWLEDGED,
    AFTER,
    AT,
    BEGINNING,
    CHANGE,
    DEPLOYMENT,
    ENTITY,
    INCARNATION,
    LEDGER_TOTAL,
    NEXT_PAGE,
    REASON,
    RECEIPT,
    REF,
    RESOURCE_ID,
    RULE,
    SEARCH,
    SEARCH_ALL,
    SOURCE,
    TENANT,
    TOTAL,
    TRANSACTION,
    VM_NAME,
    kind,
    order,
    span,
    state,
)
from receiver.api.ledger_lists import DEAD_LETTERS
from receiver.api.openapi import Schema, array_of, reference
from receiver.api.parameters import BOOLEAN, POSITION, TEXT, UUID_TEXT, Parameter, choice, matching, whole
from receiver.api.webhook_endpoints import webhook_endpoints
from receiver.config.read_tokens import Scope
from receiver.config.settings import Settings
from receiver.model.entities import DeploymentState, OperationState, ResourceState, VmState
from receiver.model.notification import Family, Outcome

LIMIT_DEFAULT = 100


def catalogue(settings: Settings) -> list[Endpoint]:
    """All endpoints, in the order in which they are shown; some limits of parameters are settings."""
    most = settings.query_items_max
    limit = Parameter("limit", "Most items on the page.", whole(1, most), min(50, most), min(LIMIT_DEFAULT, most))
    wait = Parameter("wait", "Seconds to wait for the end.", whole(0, settings.wait_s_max), 30, 0)
    return [
        *_entity_lists(limit),
        *_singles(wait),
        *_ledgers(limit),
        *_quarantine(),
        *_others(limit),
        *webhook_endpoints(),
        *_session(),
    ]


def _entity_list(
    entities: EntityList, summary: str, description: str, item: dict[str, Any], parameters: Sequence[Parameter],
    schema: str = "",
) -> Endpoint:  # fmt: skip
    """A list: its cursors are keys of its items, which have the schema of the entity if none is given."""
    example = entities.cursor(item)
    pattern = entities.cursor_pattern
    cursor = matching({"type": "string", "pattern": pattern}, pattern, "not a cursor of this list")
    name = f"{entities.name}s"
    newest = "the newest" if entities.time == "first_seen_at" else "those that changed last"
    name_of, past = entities.kind.__name__, AT in parameters
    now = list_of(schema or name_of, int)
    answer = {"anyOf": [now, list_of(f"{name_of}Then", int | None)]} if past else now
    return Endpoint(
        name, f"/{name}", summary, description, answer,
        examples.page(item, example),
        (
            SOURCE, TENANT, DEPLOYMENT, SEARCH, *parameters, order(("key", "newest"), f"By key, or {newest} first."),
            TOTAL, Parameter("cursor", NEXT_PAGE, cursor, example),
        ),
        problems=(410,) if past else (),
    )  # fmt: skip


def _entity_lists(limit: Parameter) -> list[Endpoint]:
    current = Parameter("current", "Whether it is the latest incarnation of its id.", BOOLEAN, example=True)
    of_current = replace(current, description="Whether its deployment is the latest incarnation of its id.")
    ref = replace(REF, description="What an operation with this reference of the caller's own has moved.")
    return [
        _entity_list(
            DEPLOYMENTS, "Deployments as they are now",
            "By source, id and incarnation. A deployment that was made anew under the same id is another incarnation.",
            examples.DEPLOYMENT, (state(DeploymentState, "ACTIVE"), ref, *span("Changed"), current, AT, limit),
        ),
        _entity_list(
            VMS, "VMs as they are now", "By source and name. `tenant` is that of their deployment.",
            examples.VM, (VM_NAME, state(VmState, "ERROR"), ref, *span("Changed"), of_current, AT, limit),
        ),
        _entity_list(
            RESOURCES, "Tenants, networks, subnets, images …", "By source, kind and id.", examples.RESOURCE,
            (
                kind("What kind it is", "network"), RESOURCE_ID, state(ResourceState, "CREATED"), ref,
                *span("Changed"), limit,
            ),
        ),
        _entity_list(
            OPERATIONS, "Operations: all that shares one ESC transaction id",
            "By source and transaction id, or with `order=newest` by when they were first seen. How long one like it "
            "usually takes is learned from those that succeeded.",
            examples.OPERATION_WITH_TIMES,
            (
                TRANSACTION, kind("What was asked for", "deploy"), state(OperationState, "OPEN"), REF,
                *span("First seen"), AT, limit,
            ),
            "OperationWithTimes",
        ),
    ]  # fmt: skip


def _or_then(now: str, then: str) -> Schema:
    """Without `at`, and with it."""
    return {"anyOf": [reference(now), reference(then)]}


def _singles(wait: Parameter) -> list[Endpoint]:
    return [
        Endpoint(
            "deployment", "/deployments/{source}/{deployment}", "One deployment with its VMs",
            "The current incarnation, unless another is asked for.",
            _or_then("DeploymentWithVms", "DeploymentWithVmsThen"), examples.DEPLOYMENT_WITH_VMS,
            (SOURCE.in_path, DEPLOYMENT.in_path, INCARNATION, AT), problems=(404, 410), single=True,
        ),
        Endpoint(
            "vm", "/vms/{source}/{vm_name}", "One VM with its incarnations and instance ids",
            "Where several bear the name: the one that lives, else the one that changed last.",
            _or_then("VmWithIncarnations", "VmThen"), examples.VM_WITH_INCARNATIONS,
            (SOURCE.in_path, VM_NAME.in_path, DEPLOYMENT, AT), problems=(404, 410), single=True,
        ),
        Endpoint(
            "operation", "/operations/{source}/{transaction_id}", "One operation, now or as soon as it has ended",
            "With `wait`, the answer comes the moment the operation ends, whichever receiver took the last callback, "
            "or when the wait is over. Waiting for a transaction that nobody has heard of yet works, too.",
            _or_then("OperationWithProgress", "OperationThen"), examples.OPERATION_WITH_PROGRESS,
            (SOURCE.in_path, TRANSACTION.in_path, wait, AT), problems=(404, 410), single=True,
        ),
    ]  # fmt: skip


def _ledgers(limit: Parameter) -> list[Endpoint]:
    order_of = order(("oldest", "newest"), "In the order of visibility, or the other way round.")
    page = (
        AFTER,
        SEARCH_ALL,
        order_of,
        limit,
        LEDGER_TOTAL,
        Parameter("cursor", NEXT_PAGE, POSITION, examples.POSITION),
    )
    family = Parameter("family", "What it is about.", choice(Family), "deployment")
    outcome = Parameter("outcome", "What became of it; several may be given.", choice(Outcome), "malformed")
    following = (
        "In the order in which they became visible: following `next` (or `after=` with the last `position`) misses "
        "nothing and repeats nothing. A page may hold few items or none and still have a `next`."
    )
    return [
        Endpoint(
            "callbacks", "/callbacks", "Messages as they were received", following,
            list_of("Callback", int | None), examples.page(examples.CALLBACK, examples.POSITION),
            (
                SOURCE, TENANT, DEPLOYMENT, VM_NAME, TRANSACTION, family, outcome.repeatable, RULE, REASON, REF,
                ACKNOWLEDGED, *span("Received"), *page,
            ),
            problems=(409,),
        ),
        Endpoint(
            "callback", "/callbacks/{receipt}", "One message, without its bytes",
            "With its headers; secrets are masked.",
            reference("CallbackWithHeaders"), examples.CALLBACK_WITH_HEADERS, (RECEIPT,), problems=(404,), single=True,
        ),
        Endpoint(
            "callback_raw", "/callbacks/{receipt}/raw", "The bytes of one message",
            "As received, with the values of secret fields overwritten. Made so that no browser renders it. A body "
            "that could not be read, so that it may hold secrets still, bears the header `ESC-Receiver-Warning`.",
            {"type": "string", "format": "binary"}, "<deployment>…</deployment>", (RECEIPT,),
            scope=Scope.RAW, media_type="application/octet-stream", problems=(404,),
        ),
        Endpoint(
            "transitions", "/transitions", "The ledger: every change of state, and notes", following,
            list_of("Transition", int | None), examples.page(examples.TRANSITION, examples.POSITION),
            (
                ENTITY, SOURCE, TENANT, DEPLOYMENT, Parameter("name", "Of the thing that changed.", TEXT, "vm-1"),
                Parameter(
                    "entity_id", "`id` of one deployment, VM, resource or operation.", UUID_TEXT, examples.VM["id"]
                ),
                Parameter("operation", "ESC's transaction id.", TEXT, examples.TRANSACTION_ID),
                Parameter("state", "The state it came to; several may be given.", TEXT, "ALIVE").repeatable,
                CHANGE, REF, *span("Entered"), *page,
            ),
            problems=(409,),
        ),
    ]  # fmt: skip


def _quarantine() -> list[Endpoint]:
    outcome = Parameter(
        "outcome", "Only of this; both may be given.", choice(sorted(DEAD_LETTERS)), "malformed"
    ).repeatable
    chosen = (
        "All that is given in the body must hold: `receipts`, or `source`, `outcome`, `rule`, `reason` of a group, "
        "`since` and `until` (received before it: what came since you looked stays out)."
    )
    return [
        Endpoint(
            "quarantine", "/quarantine", "Dead letters: malformed and unclassified callbacks, by source and reason",
            "Those with the most that nobody has acknowledged first. The latest `counted_max` callbacks are counted. "
            "The callbacks of a group: `callbacks` with the same source, outcome, rule and reason.",
            of(
                items=array_of(reference("DeadLetterGroup")), callbacks=int, unacknowledged=int,
                counted_max=schema_of(int, "No more callbacks than these, the latest, are looked at."),
            ),
            examples.GROUPS, (SOURCE, outcome, ACKNOWLEDGED),
        ),
        Endpoint(
            "acknowledge", "/quarantine/acknowledge", "Say that somebody has looked at dead letters",
            f"They stay, with a note, who and when, and are not counted as waiting any more. {chosen} Without tokens "
            "only from the receiver's own machine.",
            of(acknowledged=schema_of(int, "How many were not acknowledged before.")), {"acknowledged": 3},
            method="POST", scope=Scope.OPERATE, body=reference("Acknowledgement"),
            body_example=examples.ACKNOWLEDGEMENT, problems=(408, 413, 415),
        ),
        Endpoint(
            "replay", "/replay", "Apply kept callbacks again",
            "As this version reads and judges them, like `esc-receiver replay`; of dead letters alone unless "
            f"`quarantine` is false. With `dry_run` it tells what would change. {chosen} At most "
            "`replay_callbacks_max` at once. Without tokens only from the receiver's own machine.",
            reference("Replayed"), examples.REPLAYED, method="POST", scope=Scope.OPERATE,
            body=reference("ReplayOrder"), body_example=examples.REPLAY_ORDER, problems=(404, 408, 413, 415),
        ),
    ]  # fmt: skip


def _others(limit: Parameter) -> list[Endpoint]:
    return [
        Endpoint(
            "sources", "/sources", "The ESC instances",
            "In or out of service as each says of itself (UNSEEN: it never did), since when and why; when it was heard "
            "of last and what was refused, as of the last count (`counts_interval_s`); its operations under way. With "
            "several cells (`cells_file`), `elsewhere` names the sources of the others, and where they are.",
            of(items=array_of(reference("Source")), cell=str | None, elsewhere=array_of(reference("SourceElsewhere"))),
            {"items": [examples.SOURCE], "cell": "cell-a", "elsewhere": [examples.ELSEWHERE]},
        ),
        Endpoint(
            "source", "/sources/{source}", "One ESC instance", "As in the list.",
            reference("Source"), examples.SOURCE, (SOURCE.in_path,), problems=(404,), single=True,
        ),
        Endpoint(
            "reconcile", "/reconcile", "Ask ESC what its callbacks did not tell",
            "One JSON object a line, as it happens: `change` (a ledger entry that was appended, or would be with "
            "`dry_run`), `progress`, `confirming`, `missing`, `left-out`, `trouble` (an ESC could not be asked), "
            "`result` of an ESC, and at last `done` with `status` 0 (nothing to mend), 1 (mended) or 2 (one could not "
            "be asked). Without tokens only from the receiver's own machine.",
            {"type": "string"}, examples.RECONCILED, method="POST", scope=Scope.OPERATE,
            media_type="application/x-ndjson", body=reference("ReconcileOrder"),
            body_example={"source": "lab1", "dry_run": True}, problems=(404, 408, 413, 415),
        ),
        Endpoint(
            "consumers", "/consumers", "Who reads the feed at JetStream",
            "By name: what each has yet to be given, what is open, what it was given more than once, and when it "
            "acknowledged last, as JetStream says at this moment. 503 while NATS does not answer.",
            of(items=array_of(reference("Consumer"))), {"items": [examples.CONSUMER]},
        ),
        Endpoint(
            "search", "/search", "What has a name or id that begins so",
            "Deployments, VMs, operations and resources by name, instance id, transaction id, `ref`, internal and "
            "external ids, in any case, and a callback by its whole receipt; `matched` says by what, and what is just "
            "what was asked for comes first. For words in the middle of names each list has `q`.",
            of(items=array_of(reference("Found")), more=schema_of(bool, "There are more than `limit`.")),
            {"items": [examples.FOUND], "more": False},
            (BEGINNING, replace(limit, description="Most items.")),
        ),
        Endpoint(
            "explain", "/explain/{source}/{vm_name}", "Why a VM is in its state",
            "The callback, the rule, the state before, what is expected next and by when, and whether it is published.",
            reference("Explanation"), examples.EXPLANATION, (SOURCE.in_path, VM_NAME.in_path, DEPLOYMENT),
            problems=(404,),
        ),
        Endpoint(
            "stats", "/stats", "How many of what are in which state",
            "A few seconds old at most, as `at` tells; or of the moment that was asked for.",
            _or_then("Stats", "StatsThen"), examples.STATS, (AT,), problems=(410,),
        ),
        Endpoint(
            "feed", "/feed", "Ledger entries as they happen",
            "Server-sent events: `data` is a ledger entry, `id` its position. Each filter may be given several times. "
            "A reader that comes back with `Last-Event-ID`, to any receiver, gets what it missed and nothing twice. "
            "One that reads too slowly is cut off, and resumes likewise.",
            {"type": "string"}, examples.FEED,
            (
                ENTITY.repeatable, CHANGE.repeatable, SOURCE.repeatable, DEPLOYMENT.repeatable,
                Parameter("after", "Begin behind this position instead of now.", POSITION, examples.POSITION),
                Parameter(
                    "Last-Event-ID", "Where the reader left off; `after` does the same.", POSITION, examples.POSITION,
                    place="header",
                ),
            ),
            media_type="text/event-stream", problems=(409,),
        ),
    ]  # fmt: skip


def _session() -> list[Endpoint]:
    return [
        Endpoint(
            "session", "/session", "What this client may read",
            "Asked by the board, to know whether to ask for a token.",
            reference("Session"), examples.SESSION, scope=None,
        ),
        Endpoint(
            "log_in", "/session", "Begin a session in a browser",
            "Sets a cookie that scripts cannot read and other sites cannot use; every endpoint takes it for the token.",
            reference("Session"), examples.SESSION, method="POST", scope=None, body=reference("Token"),
            body_example={"token": "a-token-of-yours"},
            problems=(401, 413, 415),
        ),
        Endpoint(
            "log_out", "/session", "End the session", "Removes the cookie; its feeds and waits end.", {}, None,
            method="DELETE", scope=None, status=204,
        ),
    ]  # fmt: skip
