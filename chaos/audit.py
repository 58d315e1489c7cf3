"""What is left after a run, held against the sender's book and against the promises (docs/promises.md).

Every check is made, whatever the others find; what they find is told as text. The checks themselves are the tests'
(`tests.support.auditor`). Must not know which faults there were.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol

from chaos.plan import STRANGERS, Plan
from chaos.process import KEPT, Life, Receiver, adds_up
from chaos.stage import Connection
from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.expected_state import Discrepancy
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Traffic
from tests.support import auditor, feed

LIVES_PLAYED_MAX = 400
SPOOLED = 202
MENDED = {
    "the stream was cut short: what it has lost is published again",
    "the stream is empty, but had acknowledged messages: the ledger is published again",
    "what the stream is missing is published again",
}
"""Lines with the number of messages."""
EVIDENCE = {
    "callbacks": """
        SELECT position, received_at, receipt, transaction_id, trigger, deployment, vm_name, outcome, rule, reason
        FROM callbacks ORDER BY xid, position
    """,
    "transitions": """
        SELECT position, at, entity, deployment, incarnation, name, sequence, from_state, to_state, trigger, rule,
               reason, receipt, operation
        FROM transitions ORDER BY xid, position
    """,
}
LATE = "duplicate + late"
"""What the truth calls the number of messages that were not new."""
OVERTAKEN = "SELECT source, coalesce(vm_name, deployment), deployment FROM callbacks WHERE outcome = 'late'"
SECTIONS = ("deployments", "vms", "operations", "resources")


class Scene(Protocol):
    """What a run happened on, as far as it is looked at (`chaos.stage`, `chaos.availability.site`)."""

    plan: Plan
    folder: Path
    receivers: list[Receiver]
    taken: list[str]
    """Ids of messages that a strike took out of the stream."""
    out_of_order: set[str]
    """Of those, what comes late because nobody could know at once that it was gone."""

    @property
    def nats_url(self) -> str:
        """Of its streams."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """To its database."""


async def audited(stage: Scene, summary: Summary, traffic: Traffic) -> list[str]:
    """Everything that is not as promised; empty means all is well."""
    findings: list[str] = []

    async def look(name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await check()
        except AssertionError as error:
            findings.append(f"{name}: {_where(error)}")
        except Exception as error:  # noqa: BLE001 - a check that fails is a finding too
            findings.append(f"{name}: {type(error).__name__}: {error} ({_where(error)})")

    assert summary.audit_log is not None  # it was asked to keep one
    audit_log = summary.audit_log
    async with stage.connection() as connection:
        messages = await auditor.published(connection, stage.nats_url, STRANGERS)
        items = await feed.items(stage.nats_url)

        async def kept() -> None:
            unsure = sum(number for (_, fate), number in audit_log.expected.sent.items() if fate == "unsure")
            most = (unsure + audit_log.expected.perhaps_repeated) * (stage.plan.retries + 1)
            strangers = await auditor.assert_kept_at_least(connection, audit_log.receipts)
            assert len(strangers) <= most, f"{len(strangers)} callbacks that nobody has a receipt for, at most {most}"
            unknown = {digest.hex() for digest in strangers} - (bodies_of(traffic) if strangers else set())
            assert not unknown, f"bodies that nobody sent: {unknown}"

        async def state() -> None:
            differences = audit_log.expected.check(await auditor.in_postgres(connection))
            wrong = await certain(stage, connection, audit_log, differences)
            assert not wrong, "; ".join(map(str, wrong))

        async def state_in_feed() -> None:
            found = auditor.in_feed(messages)
            differences = audit_log.expected.check({section: found[section] for section in SECTIONS})
            wrong = await certain(stage, connection, audit_log, differences)
            assert not wrong, "; ".join(map(str, wrong))

        await look("kept", kept)
        await look("ledger", lambda: auditor.assert_ledger_is_whole(connection))
        await look("feed", lambda: auditor.assert_feed_equals_ledger(connection, messages, stage.out_of_order))
        await look("state", state)
        await look("state in the feed", state_in_feed)
        await look("bucket", lambda: auditor.assert_bucket_follows(connection, messages, items))
        stored = await connection.fetchval("SELECT count(*) FROM callbacks")
    findings += [*counted(stage.receivers, stored), *logged(stage.receivers), *mended(stage)]
    if findings:
        await _written_down(stage)
    return findings


async def _written_down(stage: Scene) -> None:
    """For whoever looks for the cause: the database does not outlive the run."""
    async with stage.connection() as connection:
        for name, query in EVIDENCE.items():
            await connection.copy_from_query(query, output=stage.folder / f"{name}.csv", format="csv", header=True)


async def certain(
    stage: Scene, connection: Connection, audit_log: AuditLog, wrong: Iterable[Discrepancy]
) -> list[Discrepancy]:
    """All but what two receivers cannot know while callbacks wait in the spool of one: what the other keeps overtakes
    them (docs/reliability.md).

    Nothing is claimed of how many are late, of a deployment that was made anew under its id, of those of whom some
    message came late, of whether a VM is there that only a late message may have made, and of instances that had been
    replaced when they were heard of. A single receiver keeps its order, and all is claimed; unless it was started anew
    while its clock was wrong, for then the times of its lives tell nothing.
    """
    if stage.plan.has("clock-back") and any(len(receiver.lives) > 1 for receiver in stage.receivers):
        return []
    alone = len(stage.receivers) == stage.plan.workers == 1
    if alone or not any(receipt.status == SPOOLED for receipt in audit_log.receipts):
        return list(wrong)
    overtaken = await connection.fetch(OVERTAKEN)
    late = {(source, name) for source, name, _ in overtaken}
    of_deployments = {(source, deployment) for source, _, deployment in overtaken}
    reused = {(key[0], key[1]) for key in audit_log.expected.entities["deployment"] if int(key[2]) > 1}

    def excused(one: Discrepancy) -> bool:
        if one.field == "aliases":
            return set(one.actual) <= audit_log.expected.entities["vm"][one.key].uuids_possible
        names = {(one.key[0], one.key[1]), (one.key[0], one.key[-1])}
        # A message that makes a VM in the place of another is about that other one.
        by_name = names & (late | reused) or (one.field == "existence" and names & of_deployments)
        return one.key == LATE or bool(by_name)

    return [one for one in wrong if not excused(one)]


def answered(stage: Scene, summary: Summary) -> Iterable[str]:
    """A sender hears nothing but the right answer, and in time, unless the receiver itself or its spool was struck."""
    if summary.surprises and not stage.plan.may_refuse:
        yield f"answers: {dict(summary.surprises)}"
    if summary.answers["no answer in time"] and not stage.plan.may_hang:
        yield f"answers: {summary.answers['no answer in time']} came too late"


def mended(stage: Scene) -> Iterable[str]:
    """Whatever a strike took out of the stream, somebody says that it was published again; a kill may cut that off."""
    told = sum(messages_mended(receiver) for receiver in stage.receivers)
    if told < len(stage.taken) and all(life.sums for receiver in stage.receivers for life in receiver.lives):
        yield f"mended: {len(stage.taken)} messages were taken from the stream, {told} told as published again"


def messages_mended(receiver: Receiver) -> int:
    """As its log tells."""
    return sum(int(line["messages"]) for line in receiver.log_lines() if line.get("event") in MENDED)


def counted(receivers: Sequence[Receiver], stored: int) -> Iterable[str]:
    """The counts of every life that could tell them; all together when none was killed."""
    lives = [(receiver.name, life) for receiver in receivers for life in receiver.lives]
    for name, life in lives:
        if life.sums and not adds_up(life.sums):
            yield f"counts: {name} ended with {life.sums}"
        if life.sums and life.sums["in_flight"]:
            yield f"counts: {name} ended with {life.sums['in_flight']} in flight"
        if life.status not in {0, -9}:
            yield f"counts: {name} ended by itself with status {life.status}"
    uncounted = any(receiver.lost_a_worker for receiver in receivers) or any(
        life.sums.get("unaccounted")
        for _, life in lives  # killed while the receiver stopped: nobody says so
    )
    if all(life.sums for _, life in lives) and not uncounted:
        told = sum(life.sums["stored"] for _, life in lives)
        doubtful = sum(life.sums["refused"] for _, life in lives)  # also what may have been committed after all
        if not told <= stored <= told + doubtful:
            yield f"counts: {told} stored by the receivers' count, {stored} in PostgreSQL"
    for receiver in (one for one in receivers if not uncounted):
        yield from _handed_on(receiver.name, receiver.lives)


def _handed_on(name: str, lives: Sequence[Life]) -> Iterable[str]:
    """What one life leaves in the spool, the next one finds there."""
    for before, after in pairwise(lives):
        if before.sums and after.sums and before.sums["spooled"] != after.sums["recovered"]:
            yield f"counts: {name} left {before.sums['spooled']} in the spool and found {after.sums['recovered']}"
    if lives[-1].sums.get("spooled"):
        yield f"spool: {name} still holds {lives[-1].sums['spooled']}"


def logged(receivers: Sequence[Receiver]) -> Iterable[str]:
    """A traceback is a bug, whatever was done to the receiver."""
    for receiver in receivers:
        bugs: Mapping[str, object] = {
            str(line["event"]): line["exception"] for line in receiver.log_lines() if "exception" in line
        }
        for event, trace in bugs.items():
            yield f"log: {receiver.name}: {event}: {str(trace)[-600:]}"


def bodies_of(traffic: Traffic) -> set[str]:
    """Digests of everything that the traffic may have sent."""
    lives = islice(traffic.lives(endless=True), LIVES_PLAYED_MAX)
    sendings = (sending for life in lives for performance in life for sending in performance.sendings)
    return {sha256(sending.message.body).hexdigest() for sending in sendings}


def _where(error: BaseException) -> str:
    """Its words, or the line that it failed at: outside pytest an assertion has none."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{error} [{last.name}:{last.lineno}: {last.line}]"[:2_000]


__all__ = ["KEPT", "answered", "audited"]
