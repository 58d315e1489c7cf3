"""Parameters that several endpoints of the query API take. This file must not know the endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from receiver.api import examples
from receiver.api.list_sql import TOTAL_MAX
from receiver.api.parameters import BOOLEAN, POSITION, TEXT, TIME, UUID_TEXT, Parameter, choice, whole
from receiver.model.entities import EntityKind

SOURCE = Parameter("source", "The ESC instance.", TEXT, "lab1")
TENANT = Parameter("tenant", "Internal id of the tenant.", TEXT, "SystemAdminTenantId")
DEPLOYMENT = Parameter("deployment", "Internal id of the deployment.", TEXT, "dep-1")
VM_NAME = Parameter("vm_name", "The name that ESC gave the VM.", TEXT, "vm-1")
TRANSACTION = Parameter("transaction_id", "ESC's transaction id.", TEXT, examples.TRANSACTION_ID)
RECEIPT = Parameter("receipt", "The receipt that the sender was given.", UUID_TEXT, examples.RECEIPT).in_path
ENTITY = Parameter("entity", "What the entry is about.", choice(EntityKind), "vm")
CHANGE = Parameter("change", "The new state or the note, in lower case.", TEXT, "alive")
AFTER = Parameter("after", "Only what became visible behind this position, oldest first.", POSITION, examples.POSITION)
NEXT_PAGE = "`next` of the page before; the other parameters stay the same."
REF = Parameter("ref", "The caller's own reference, from the callback URL.", TEXT, "order-4711")
SEARCH = Parameter("q", "Words that its ids, names or reference hold, in any case and order.", TEXT, "fw-1 lab")
BEGINNING = Parameter("q", "How the name or id begins, in any case.", TEXT, "d53f0047-2315", required=True)
TOTAL = Parameter(
    "total", f"Also count all that match, on whatever page; {TOTAL_MAX + 1} stands for more.", BOOLEAN, True, False
)
SEARCH_ALL = replace(SEARCH, description="Words that its ids, names, rule or reason hold, in any case and order.")
LEDGER_TOTAL = replace(
    TOTAL,
    description=f"{TOTAL.description} null: more would have to be looked through than `query_scan_rows_max`.",
)
RESOURCE_ID = Parameter("resource_id", "The id that ESC gave it.", TEXT, "net-1")
RULE = Parameter("rule", "The rule that decided.", TEXT, "unclassified")
REASON = Parameter(
    "reason",
    "Why, in these very words; of what is malformed, also without the place of the fault.",
    TEXT,
    "the stage VM_PAINTED is not known",
)
ACKNOWLEDGED = Parameter("acknowledged", "Whether somebody has acknowledged it.", BOOLEAN, example=False)
INCARNATION = Parameter("incarnation", "This one instead of the latest.", whole(1, 999_999_999), 1)


AT = Parameter(
    "at",
    "As it was at this time (RFC 3339) instead of now, as far as the ledger tells; what is kept of the present alone "
    "is left out. 410 before the oldest entry that is kept.",
    TIME,
    "2026-01-31T12:00:00Z",
)


def span(of_what: str) -> tuple[Parameter, Parameter]:
    """`since` and `until`."""
    return (
        Parameter("since", f"{of_what} at this time or later (RFC 3339).", TIME, "2026-01-31T12:00:00Z"),
        Parameter("until", f"{of_what} before this time.", TIME, "2026-01-31T13:00:00Z"),
    )


def state(states: Iterable[str], example: str) -> Parameter:
    """One or several of these."""
    return Parameter("state", "In this state; several may be given.", choice(states), example).repeatable


def kind(description: str, example: str) -> Parameter:
    """Of a resource, or of what was asked for."""
    return Parameter("kind", f"{description}, e.g. `{example}`.", TEXT, example)


def order(words: Sequence[str], description: str) -> Parameter:
    """One of two; the first is that of a list nobody says it of."""
    return Parameter("order", description, choice(words), words[1], words[0])
