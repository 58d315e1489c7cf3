"""What an ESC says of itself: in or out of service (docs/esc-callbacks.md#10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import permutations
from typing import Any

import orjson
import pytest

from receiver.lifecycle import DelayedContext
from receiver.model.entities import Source, SourceState
from receiver.model.notification import Outcome
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.field import Post, ev, living, notifications, source, stored, world
from tests.support.lifecycle import World

WHY = "<event_details>the VIM does not answer</event_details>"


def of_esc(event: str, inner: str = WHY, code: int = 200, txn: str = "") -> Post:
    """An event with nothing but its details: it names no deployment."""
    return ev(txn, event, inner, code, names="")


OUT, IN = of_esc("ESC_OUT_OF_SERVICE"), of_esc("ESC_IN_SERVICE", "")


def of(known: World) -> Source:
    """The only source."""
    found: Source = next(iter(known.all(Source)))
    return found


async def test_out_of_service_and_back(postgres_dsn: str, connection: Connection) -> None:
    """A state of its own with a ledger and messages; no VM moves and no operation begins."""
    decided = await stored(postgres_dsn, [*living(), OUT, IN, OUT])
    assert [d.rule for d in decided[-3:]] == ["source-out-of-service", "source-in-service", "source-out-of-service"]
    rows = await connection.fetch("SELECT source, state, reason, sequence FROM sources")
    assert [tuple(row) for row in rows] == [("default", "OUT_OF_SERVICE", "the VIM does not answer", 3)]
    entries = await connection.fetch("SELECT * FROM transitions WHERE entity = 'source' ORDER BY sequence")
    assert [(t["from_state"], t["to_state"], t["change"], t["name"]) for t in entries] == [
        ("UNSEEN", "OUT_OF_SERVICE", "out_of_service", "default"),
        ("OUT_OF_SERVICE", "IN_SERVICE", "in_service", "default"),
        ("IN_SERVICE", "OUT_OF_SERVICE", "out_of_service", "default"),
    ]
    assert entries[0]["reason"] == "ESC says that it is out of service: the VIM does not answer"
    subjects = await connection.fetch(
        "SELECT subject, payload FROM outbox WHERE subject LIKE 'esc.v1.source.%' ORDER BY position"
    )
    changes = ("out_of_service", "in_service", "out_of_service")
    assert [row["subject"] for row in subjects] == [f"esc.v1.source.{change}.default" for change in changes]
    assert orjson.loads(subjects[0]["payload"])["item"]["reason"] == "the VIM does not answer"
    assert [tuple(row) for row in await connection.fetch("SELECT state FROM vms")] == [("ALIVE",)]
    assert await connection.fetchval("SELECT count(*) FROM operations") == 1
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("together", [1, 100])
async def test_a_batch_may_hold_several(postgres_dsn: str, connection: Connection, together: int) -> None:
    """Each sees what the one before it did."""
    await stored(postgres_dsn, [OUT, OUT, IN, IN, OUT], together)
    assert tuple(await connection.fetchrow("SELECT state, sequence FROM sources") or ()) == ("OUT_OF_SERVICE", 3)
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("event", ["ESC_OUT_OF_SERVICE", "ESC_IN_SERVICE"])
@pytest.mark.parametrize("root", ["deployment", "netconf"])
def test_by_every_root(event: str, root: str) -> None:
    """As a stage, and as a notification of the NETCONF stream."""
    bodies: Mapping[str, str] = {
        "deployment": f"<deployment><deployment_stage>{event}</deployment_stage></deployment>",
        "netconf": f"<escEvent><status>SUCCESS</status><event><type>{event}</type></event></escEvent>",
    }
    known = world(Post("/", bodies[root]))
    assert of(known).state == event.removeprefix("ESC_")


def test_it_opens_no_operation_also_with_a_transaction() -> None:
    """Nothing would ever end it."""
    known = world(of_esc("ESC_OUT_OF_SERVICE", txn="x"))
    assert [type(row) for row in known.rows.values()] == [Source]


def test_a_repeat_is_a_duplicate_and_another_reason_is_told() -> None:
    """ESC's watchdog may say it every minute."""
    known = world(OUT, OUT)
    assert (known.outcomes, of(known).sequence) == ([Outcome.APPLIED, Outcome.DUPLICATE], 1)
    known = world(OUT, of_esc("ESC_OUT_OF_SERVICE", "<event_details>still</event_details>"))
    assert (known.outcomes[-1], of(known).sequence, of(known).reason) == (Outcome.APPLIED, 1, "still")


def test_one_that_could_not_return_is_still_out() -> None:
    """The status counts before the name (docs/esc-callbacks.md#trap-4)."""
    known = world(OUT, of_esc("ESC_IN_SERVICE", "", 500))
    assert of(known).state == SourceState.OUT_OF_SERVICE


def test_under_one_transaction_the_order_does_not_matter() -> None:
    """It cannot be told: that an outage comes before its end is assumed. Without an id arrival decides."""
    said = [of_esc("ESC_OUT_OF_SERVICE", txn="x"), of_esc("ESC_IN_SERVICE", txn="x")]
    for order in permutations([*said, said[0]]):
        assert of(world(*order)).state == SourceState.IN_SERVICE
    assert of(world(IN, OUT)).state == SourceState.OUT_OF_SERVICE


def test_what_waited_does_not_undo_what_was_said_since() -> None:
    """One from the spool that arrived before."""
    known = world(IN)
    (late,) = notifications([OUT])
    waited: dict[str, Any] = {"delayed": DelayedContext()}
    earlier = late.__class__(**{name: getattr(late, name) for name in late.__dataclass_fields__} | {
        "received_at": late.received_at - timedelta(seconds=60),
    })  # fmt: skip
    assert known.hear(earlier, **waited).outcome is Outcome.LATE
    assert of(known).state == SourceState.IN_SERVICE


def test_each_source_for_itself() -> None:
    """And a VM's event of it changes nothing about it."""
    known = world(OUT, *living(), ev("r", "VM_RECOVERY_INIT", source("a")))
    assert (of(known).sequence, known.vm("a").state) == (1, "RECOVERING")
