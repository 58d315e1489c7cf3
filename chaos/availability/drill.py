"""A run: traffic without a pause, one strike after the other, then the auditor.

Only the order of things is here. The sender never tries again, as ESC is not known to.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from nats.errors import Error as NatsError

from chaos.audit import audited
from chaos.availability.site import PROBE_DATABASE, Site
from chaos.availability.strikes import STRIKES
from chaos.availability.watch import Pause, TimedSummary, Watch, beyond, longest, stored_times
from chaos.process import ReceiverFailedError
from chaos.run import calm, published
from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.player import Player, Target
from esc_lab.simulator.traffic import Traffic

WHOLE_TIMEOUT_S = 150.0
QUIET_S = 4.0
"""Of undisturbed traffic between two strikes."""
LOOK_S = 0.5
ANSWER_TIMEOUT_S = 20.0
DEPLOYMENTS = 40
OPERATIONS = 24
CONCURRENCY = 64
FAILED = (ReceiverFailedError, asyncpg.PostgresError, asyncpg.InterfaceError, NatsError, OSError, TimeoutError,
          aiohttp.ClientError)  # fmt: skip


class Felt(NamedTuple):
    """What a strike cost."""

    names: tuple[str, ...]
    struck: str
    window: Pause
    """From the strike until all was whole again, the time for which it was held included."""
    answers: Counter[int]
    """By status; 0: none came."""
    without_2xx_s: float
    slowest_s: float
    postgres_s: float
    """For how long nobody could commit past the receivers, at the longest; likewise of the stream."""
    nats_s: float
    feed_s: float
    """The longest time in which the stream took no message; known when all is over."""
    beyond_s: float
    """What of it lies outside the engines' outages."""


@dataclass(slots=True)
class Outcome:
    """Of a drill."""

    felt: list[Felt] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    sent: int = 0
    receipts: int = 0


def drawn(seed: int, pairs: int) -> list[tuple[str, ...]]:
    """Each alone, and then so many pairs of strikes at different programs."""
    rng = Random(f"availability/{seed}")
    singles: list[tuple[str, ...]] = [(name,) for name in STRIKES]
    both = [(one, other) for one in STRIKES for other in STRIKES if STRIKES[one].on < STRIKES[other].on]
    return singles + rng.sample(both, pairs)


async def drill(site: Site, order: Sequence[tuple[str, ...]], told: Callable[[Felt], None], outcome: Outcome) -> None:
    """All of it, at a site that runs."""
    stop = asyncio.Event()
    traffic = Traffic(site.plan.seed, deployments=DEPLOYMENTS, operations=OPERATIONS, faults=site.plan.faults)
    summary = TimedSummary(site.plan.seed, site.proxy.url, AuditLog())
    await calm(site.receivers, site.session)
    await _until_whole(site)
    dsn = urlsplit(site.postgres.dsn(PROBE_DATABASE))
    account = dsn.netloc.rpartition("@")[0]
    alone = [(node, f"postgresql://{account}@{node.address}/{PROBE_DATABASE}") for node in site.postgres.nodes]
    async with Watch().kept(alone, site.nats.nodes) as watch:
        playing = asyncio.create_task(_play(site, traffic, summary, stop))
        rng = Random(f"availability/{site.plan.seed}/draws")
        for names in order:
            await asyncio.sleep(QUIET_S)
            felt = await _struck(site, names, rng, watch, summary, outcome)
            outcome.felt.append(felt)
            told(felt)
        stop.set()
        await playing
    try:
        await calm(site.receivers, site.session)
        await published(site)
        watch.feed = await stored_times(site.nats.url)
        outcome.felt = [_felt(felt.names, felt.struck, felt.window, watch, summary) for felt in outcome.felt]
        for receiver in site.receivers:
            await receiver.stop()
        outcome.findings += await audited(site, summary, traffic)
    except FAILED as error:
        outcome.findings.append(f"run: {type(error).__name__}: {error}")
    assert summary.audit_log is not None
    outcome.sent, outcome.receipts = len(summary.answered), len(summary.audit_log.receipts)


async def _struck(
    site: Site, names: tuple[str, ...], rng: Random, watch: Watch, summary: TimedSummary, outcome: Outcome
) -> Felt:
    """Do it, undo it, wait until all is whole, and look back."""
    begin_s, struck = monotonic(), ""
    try:
        done = await asyncio.gather(*(STRIKES[name].do(site, rng.randrange(10**6)) for name in names))
        struck = "; ".join(done)
        await _until_whole(site)
    except FAILED as error:
        outcome.findings.append(f"{' + '.join(names)}: {type(error).__name__}: {error}")
    whole_s = monotonic()
    await asyncio.sleep(LOOK_S)
    return _felt(names, struck, Pause(begin_s, whole_s), watch, summary)


async def _until_whole(site: Site) -> None:
    faults = ["not looked yet"]
    try:
        async with asyncio.timeout(WHOLE_TIMEOUT_S):
            while faults := await site.faults():  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"not whole in {WHOLE_TIMEOUT_S:.0f} s: {'; '.join(faults)}") from None


def _felt(names: tuple[str, ...], struck: str, window: Pause, watch: Watch, summary: TimedSummary) -> Felt:
    answers = [one for one in summary.answered if window.begin_s <= one.at_s <= window.end_s]
    kept = [one.at_s for one in summary.answered if 200 <= one.status < 300]
    postgres, nats = watch.outages(window)
    feed = longest(watch.feed, window)
    return Felt(
        names,
        struck,
        window,
        Counter(one.status for one in answers),
        longest(kept, window).length_s,
        max((one.took_s for one in answers if one.status), default=0.0),
        max((one.length_s for one in postgres), default=0.0),
        max((one.length_s for one in nats), default=0.0),
        feed.length_s,
        beyond(feed, [*postgres, *nats]),
    )


async def _play(site: Site, traffic: Traffic, summary: TimedSummary, stop: asyncio.Event) -> None:
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        player = Player(
            session, Target(site.proxy.url, {}), summary, stop=stop, rate=site.plan.rate, concurrency=CONCURRENCY
        )
        await player.play(traffic.lives(endless=True), traffic.size)
