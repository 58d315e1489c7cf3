"""One seed: set the stage, play, strike, heal, wait until it is calm, audit.

Only the order of things is here; what they are is in the other files.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path

import aiohttp
from yarl import URL

from chaos.audit import Scene, answered, audited
from chaos.outages import darken
from chaos.plan import Plan
from chaos.process import Receiver, ReceiverFailedError, adds_up, sums_of
from chaos.stage import Stage, World
from chaos.strikes import strike
from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.player import Player, Target
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Traffic
from tests.support.auditor import is_complete, is_empty
from tests.support.waiting import until

CALM_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 10.0
KEPT_MIN = 51
DEPLOYMENTS = 30
OPERATIONS = 6
CONCURRENCY = 64
CALM = {
    'mode{mode="direct"}': 1,
    'mode{mode="spooling"}': 0,
    'mode{mode="draining"}': 0,
    "spool_callbacks": 0,
    "in_flight": 0,
}
"""What /metrics says of a receiver with nothing left to do."""


@dataclass(slots=True)
class Result:
    """What became of one seed."""

    plan: Plan
    findings: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    """By status, or by how no answer came."""
    kept: int = 0
    recovered: int = 0
    """Callbacks that a receiver found in its spool when it was started, as far as it lived to tell."""
    took_s: float = 0.0

    @property
    def messages(self) -> int:
        """How many were sent."""
        return sum(self.answers.values())


@dataclass(frozen=True, slots=True)
class Balanced(Target):
    """A load balancer: one message to this receiver, the next one to that."""

    turns: Iterator[Target]

    def url(self, source: str, channel: str, *, wrong_token: bool = False) -> URL:
        """Of the receiver whose turn it is."""
        return next(self.turns).url(source, channel, wrong_token=wrong_token)


async def run(world: World, plan: Plan, folder: Path) -> Result:
    """The run of a plan; `folder` keeps what the receivers leave."""
    started_s = time.monotonic()
    result = Result(plan)
    stage = Stage(world, plan, folder)
    try:
        async with stage.set(), aiohttp.ClientSession() as session:
            summary, traffic = await played(stage, session, result)
            result.findings += [*answered(stage, summary), *await audited(stage, summary, traffic)]
    except (ReceiverFailedError, ExceptionGroup, TimeoutError) as error:
        result.findings.append(f"run: {_words(error)}")
    result.told = stage.told
    result.took_s = time.monotonic() - started_s
    return result


async def played(stage: Stage, session: aiohttp.ClientSession, result: Result) -> tuple[Summary, Traffic]:
    """All of a run but the audit: the receivers are stopped, and everything has come to where it goes."""
    plan = stage.plan
    traffic = Traffic(plan.seed, deployments=DEPLOYMENTS, operations=OPERATIONS, faults=plan.faults)
    summary = Summary(plan.seed, "chaos", AuditLog())
    if plan.has("dark-start"):
        await darken(stage)
    await asyncio.gather(*(receiver.start() for receiver in stage.receivers))
    if not plan.has("dark-start"):
        await calm(stage.receivers, session)
    result.answers = summary.answers
    watching = [asyncio.create_task(_watch(receiver, result.findings)) for receiver in stage.receivers]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_play(stage, traffic, summary))
        for event in plan.events:
            tasks.create_task(strike(stage, event, session))
    await stage.heal()
    await calm(stage.receivers, session)
    await published(stage)
    await _mended(stage)
    for task in watching:
        task.cancel()
    for receiver in stage.receivers:
        await receiver.stop()
    result.recovered = sum(life.sums.get("recovered", 0) for one in stage.receivers for life in one.lives)
    assert summary.audit_log is not None
    result.kept = len(summary.audit_log.receipts)
    return summary, traffic


async def _play(stage: Stage, traffic: Traffic, summary: Summary) -> None:
    stop = asyncio.Event()
    turns = cycle([Target(receiver.url, {}) for receiver in stage.receivers])
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        player = Player(
            session, Balanced("", {}, turns), summary, stop=stop, rate=stage.plan.rate, concurrency=CONCURRENCY,
            retries=stage.plan.retries,
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_end_traffic(stage.plan, summary, stop))
            await player.play(traffic.lives(endless=True), traffic.size)


async def _end_traffic(plan: Plan, summary: Summary, stop: asyncio.Event) -> None:
    """Stop it when its time is over, but not before there is enough to audit: a busy machine restarts slowly."""
    await asyncio.sleep(plan.duration_s)
    with suppress(TimeoutError):
        await until(partial(_has_enough, summary), CALM_TIMEOUT_S)
    stop.set()


async def _has_enough(summary: Summary) -> bool:
    assert summary.audit_log is not None
    return len(summary.audit_log.receipts) >= KEPT_MIN


async def calm(receivers: Sequence[Receiver], session: aiohttp.ClientSession) -> None:
    """Until all go the direct way again and nothing waits."""
    for receiver in receivers:
        try:
            await until(partial(_is_calm, receiver, session), CALM_TIMEOUT_S)
        except TimeoutError:
            state = await _state(receiver, session)
            raise ReceiverFailedError(
                f"{receiver.name} was not calm in {CALM_TIMEOUT_S} s: {state}; {receiver.last_words()}"
            ) from None


async def _is_calm(receiver: Receiver, session: aiohttp.ClientSession) -> bool:
    return (await _state(receiver, session)) == CALM


async def _state(receiver: Receiver, session: aiohttp.ClientSession) -> dict[str, int]:
    """What makes it calm or not; nothing when it does not answer."""
    try:
        metrics = await receiver.metrics(session)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return {}
    return {name: metrics[name] for name in CALM}


async def published(stage: Scene) -> None:
    """Until the outbox is empty."""
    try:
        async with stage.connection() as connection:
            await until(partial(is_empty, connection), CALM_TIMEOUT_S)
    except TimeoutError:
        words = "; ".join(receiver.last_words() for receiver in stage.receivers)
        raise ReceiverFailedError(f"the outbox was not empty in {CALM_TIMEOUT_S} s: {words}") from None


async def _mended(stage: Stage) -> None:
    """Until nothing is missing in the stream."""
    if not stage.taken:
        return
    try:
        async with stage.connection() as connection:
            await until(partial(is_complete, connection, stage.nats_url), CALM_TIMEOUT_S)
    except TimeoutError:
        words = "; ".join(receiver.last_words() for receiver in stage.receivers)
        raise ReceiverFailedError(f"the stream was not mended in {CALM_TIMEOUT_S} s: {words}") from None


async def _watch(receiver: Receiver, findings: list[str]) -> None:
    """The counts add up whenever they can be read."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                sums = sums_of(await receiver.metrics(session, 0.5))
            except (aiohttp.ClientError, OSError, TimeoutError):
                sums = {}
            if sums and not adds_up(sums):
                findings.append(f"counts: {receiver.name} said {sums}")
                return
            await asyncio.sleep(0.1)


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"
