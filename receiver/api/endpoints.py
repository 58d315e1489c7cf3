"""Every endpoint of the query API as data: its path, parameters, answer and example.

Routes are mounted from it and the OpenAPI document is written from it, so the two cannot part. This file must not
know how an answer is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from receiver.api import examples
from receiver.api.answer_schemas import STATES, Schema, list_of, reference
from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, RESOURCES, VMS, Listing
from receiver.api.parameters import Parameter, choice, position, text, time, uuid, whole, yes_or_no
from receiver.config.read_tokens import Scope
from receiver.config.settings import Settings
from receiver.model.entities import EntityKind
from receiver.model.notification import Family, Outcome

PREFIX = "/api/v1"
LIMIT_DEFAULT = 100


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API. `name` is its operationId, and that of the method that answers it."""

    name: str
    path: str
    summary: str
    description: str
    answer: Schema
    example: Any
    parameters: Sequence[Parameter] = ()
    method: str = "GET"
    scope: Scope | None = Scope.READ
    """None: nobody is asked for a token."""
    media_type: str = "application/json"
    problems: Sequence[int] = ()
    """Statuses of problems beyond those that any endpoint may answer with."""
    single: bool = False
    """One thing, with an ETag."""
    body: Schema | None = None
    headers: Sequence[Parameter] = ()
    status: int = 200


def catalogue(settings: Settings) -> list[Endpoint]:
    """All endpoints, in the order in which they are shown."""
    common = _Common(settings)
    return [*_entities(common), *_singles(common), *_ledgers(common), *_others(common), *_session()]


SOURCE = text("source", "The ESC instance.", "lab1")
TENANT = text("tenant", "Internal id of the tenant.", "SystemAdminTenantId")
DEPLOYMENT = text("deployment", "Internal id of the deployment.", "dep-1")
VM_NAME = text("vm_name", "The name that ESC gave the VM.", "vm-1")
TRANSACTION = text("transaction_id", "ESC's transaction id.", "d53f0047-2315-466c-b7e3-aa78e0a567e8")
RECEIPT = uuid("receipt", "The receipt that the sender was given.", examples.RECEIPT)
KIND = text("kind", "What kind it is, e.g. `network`.", "network")
OPERATION_KIND = text("kind", "What was asked for, e.g. `deploy`.", "deploy")
ENTITY = choice("entity", "What the entry is about.", EntityKind, "vm")
CHANGE = text("change", "The new state or the note, in lower case.", "alive")
AFTER = position("after", "Only what became visible behind this position, oldest first.", examples.POSITION)


class _Common:
    """Parameters whose limits are settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        most = settings.query_items_max
        self.limit = whole("limit", "Most items on the page.", 1, most, min(50, most), min(LIMIT_DEFAULT, most))
        self.wait = whole("wait", "Seconds to wait for the end.", 0, settings.wait_s_max, 30, 0)

    def page(self, cursor: Parameter) -> tuple[Parameter, Parameter]:
        """How a list is paged."""
        return self.limit, cursor


def _span(of_what: str) -> tuple[Parameter, Parameter]:
    since = time("since", f"{of_what} at this time or later (RFC 3339).", "2026-01-31T12:00:00Z")
    return since, time("until", f"{of_what} before this time.", "2026-01-31T13:00:00Z")


def _key_cursor(listing: Listing, example: str) -> Parameter:
    pattern = listing.cursor_pattern
    matches = re.compile(pattern)

    def read(given: str) -> str:
        if not matches.fullmatch(given):
            raise ValueError("not a cursor of this list")
        return given

    description = "`next` of the page before; the other parameters stay the same."
    return Parameter("cursor", description, {"type": "string", "pattern": pattern}, read, example)


def _state(name: str, example: str) -> Parameter:
    return choice("state", "In this state.", STATES[name], example)


def _order(words: Sequence[str], default: str, description: str) -> Parameter:
    return choice("order", description, words, words[-1], default)


def _entities(common: _Common) -> list[Endpoint]:
    cursor = "lab1~dep-1~1"
    return [
        Endpoint(
            "deployments", "/deployments", "Deployments as they are now",
            "By source, id and incarnation. A deployment that was made anew under the same id is another incarnation.",
            list_of("Deployment"), examples.page(examples.DEPLOYMENT, cursor),
            (
                SOURCE, TENANT, DEPLOYMENT, _state("deployment", "ACTIVE"), *_span("Changed"),
                yes_or_no("current", "Whether it is the latest incarnation of its id.", example=True),
                *common.page(_key_cursor(DEPLOYMENTS, cursor)),
            ),
        ),
        Endpoint(
            "vms", "/vms", "VMs as they are now", "By source and name. `tenant` is that of their deployment.",
            list_of("Vm"), examples.page(examples.VM, examples.VM_CURSOR),
            (
                SOURCE, TENANT, DEPLOYMENT, VM_NAME, _state("vm", "ERROR"), *_span("Changed"),
                *common.page(_key_cursor(VMS, examples.VM_CURSOR)),
            ),
        ),
        Endpoint(
            "resources", "/resources", "Tenants, networks, subnets, images …", "By source, kind and id.",
            list_of("Resource"), examples.page(examples.RESOURCE, "lab1~network~net-1"),
            (
                SOURCE, TENANT, DEPLOYMENT, KIND, _state("resource", "CREATED"), *_span("Changed"),
                *common.page(_key_cursor(RESOURCES, "lab1~network~net-1")),
            ),
        ),
        Endpoint(
            "operations", "/operations", "Operations: all that shares one ESC transaction id",
            "By source and transaction id, or with `order=newest` by when they were first seen.",
            list_of("Operation"), examples.page(examples.OPERATION, "lab1~d53f0047-2315-466c-b7e3-aa78e0a567e8"),
            (
                SOURCE, TENANT, DEPLOYMENT, OPERATION_KIND, _state("operation", "OPEN"), *_span("First seen"),
                _order(("key", "newest"), "key", "By key, or the newest first."),
                *common.page(_key_cursor(OPERATIONS, "lab1~d53f0047-2315-466c-b7e3-aa78e0a567e8")),
            ),
        ),
    ]  # fmt: skip


def _singles(common: _Common) -> list[Endpoint]:
    incarnation = whole("incarnation", "This one instead of the latest.", 1, 999_999_999, 1)
    return [
        Endpoint(
            "deployment", "/deployments/{source}/{deployment}", "One deployment with its VMs",
            "The current incarnation, unless another is asked for.",
            reference("DeploymentWithVms"), examples.DEPLOYMENT_WITH_VMS,
            (SOURCE.in_path, DEPLOYMENT.in_path, incarnation), problems=(404,), single=True,
        ),
        Endpoint(
            "vm", "/vms/{source}/{vm_name}", "One VM with its incarnations and instance ids",
            "Where several bear the name: the one that lives, else the one that changed last.",
            reference("VmWithIncarnations"), examples.VM_WITH_INCARNATIONS,
            (SOURCE.in_path, VM_NAME.in_path, DEPLOYMENT), problems=(404,), single=True,
        ),
        Endpoint(
            "operation", "/operations/{source}/{transaction_id}", "One operation, now or as soon as it has ended",
            "With `wait`, the answer comes the moment the operation ends, whichever receiver took the last callback, "
            "or when the wait is over. Waiting for a transaction that nobody has heard of yet works, too.",
            reference("OperationWithProgress"), examples.OPERATION_WITH_PROGRESS,
            (SOURCE.in_path, TRANSACTION.in_path, common.wait), problems=(404,), single=True,
        ),
    ]  # fmt: skip


def _ledgers(common: _Common) -> list[Endpoint]:
    cursor = position("cursor", "`next` of the page before; the other parameters stay the same.", examples.POSITION)
    order = _order(("oldest", "newest"), "oldest", "In the order of visibility, or the other way round.")
    outcome = choice("outcome", "What became of it; several may be given.", Outcome, "malformed").repeatable
    following = (
        "In the order in which they became visible: following `next` (or `after=` with the last `position`) misses "
        "nothing and repeats nothing. A page may hold few items or none and still have a `next`."
    )
    return [
        Endpoint(
            "callbacks", "/callbacks", "Messages as they were received", following,
            list_of("Callback"), examples.page(examples.CALLBACK, examples.POSITION),
            (
                SOURCE, TENANT, DEPLOYMENT, VM_NAME, TRANSACTION,
                choice("family", "What it is about.", Family, "deployment"), outcome, *_span("Received"), AFTER, order,
                common.limit, cursor,
            ),
            problems=(409,),
        ),
        Endpoint(
            "callback", "/callbacks/{receipt}", "One message, without its bytes",
            "With its headers; secrets are masked.",
            reference("CallbackWithHeaders"), examples.CALLBACK_WITH_HEADERS, (RECEIPT.in_path,),
            problems=(404,), single=True,
        ),
        Endpoint(
            "callback_raw", "/callbacks/{receipt}/raw", "The bytes of one message",
            "As received, with the values of secret fields overwritten. Made so that no browser renders it.",
            {"type": "string", "format": "binary"}, "<deployment>…</deployment>", (RECEIPT.in_path,),
            scope=Scope.RAW, media_type="application/octet-stream", problems=(404,),
        ),
        Endpoint(
            "transitions", "/transitions", "The ledger: every change of state, and notes", following,
            list_of("Transition"), examples.page(examples.TRANSITION, examples.POSITION),
            (
                ENTITY, SOURCE, TENANT, DEPLOYMENT, text("name", "Of the thing that changed.", "vm-1"),
                uuid("entity_id", "`id` of one deployment, VM, resource or operation.", examples.VM["id"]),
                text("operation", "ESC's transaction id.", "d53f0047-2315-466c-b7e3-aa78e0a567e8"),
                text("state", "The state it came to.", "ALIVE"), CHANGE, *_span("Entered"), AFTER, order,
                common.limit, cursor,
            ),
            problems=(409,),
        ),
    ]  # fmt: skip


def _others(common: _Common) -> list[Endpoint]:
    last = position("Last-Event-ID", "Where the reader left off; `after` does the same.", examples.POSITION)
    return [
        Endpoint(
            "explain", "/explain/{source}/{vm_name}", "Why a VM is in its state",
            "The callback, the rule, the state before, what is expected next and by when, and whether it is published.",
            reference("Explanation"), examples.EXPLANATION, (SOURCE.in_path, VM_NAME.in_path, DEPLOYMENT),
            problems=(404,),
        ),
        Endpoint(
            "stats", "/stats", "How many of what are in which state", "A few seconds old at most, as `at` tells.",
            reference("Stats"), examples.STATS,
        ),
        Endpoint(
            "feed", "/feed", "Ledger entries as they happen",
            "Server-sent events: `data` is a ledger entry, `id` its position. Each filter may be given several times. "
            "A reader that comes back with `Last-Event-ID`, to any receiver, gets what it missed and nothing twice. "
            "One that reads too slowly is cut off, and resumes likewise.",
            {"type": "string"}, examples.FEED,
            (
                ENTITY.repeatable, CHANGE.repeatable, SOURCE.repeatable, DEPLOYMENT.repeatable,
                position("after", "Begin behind this position instead of now.", examples.POSITION),
            ),
            media_type="text/event-stream", problems=(409,), headers=(last,),
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
            problems=(401, 413, 415),
        ),
        Endpoint(
            "log_out", "/session", "End the session", "Removes the cookie.", {}, None,
            method="DELETE", scope=None, status=204,
        ),
    ]  # fmt: skip
