"""What happens in a run, drawn from its seed: how many receivers, how they are set, what strikes them, and when.

Nothing is done here. The same seed gives the same plan on every machine; `repr` of it is printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from esc_lab.simulator.delivery_faults import Faults

DURATION_S = 3.0
"""How long traffic is played."""

RECEIVER_FAULTS = ("kill-receiver", "kill-draining", "freeze-receiver", "term-receiver")
SPOOL_FAULTS = ("spool-full", "spool-disk-full")
POSTGRES_FAULTS = (
    "kill-postgres", "crash-postgres", "freeze-postgres", "end-sessions", "cut-postgres", "tear-postgres",
    "stall-postgres", "no-connections", "lock-table", "lock-rows", "postgres-disk-full", "no-partitions", "silent-host",
    "fail-over",
)  # fmt: skip
NATS_FAULTS = ("kill-nats", "empty-nats", "freeze-nats", "cut-nats", "tear-nats", "stall-nats", "kill-nats-leader")
STREAM_FAULTS = (
    "edit-stream", "restart-edit-restart", "trim-stream", "hole-in-stream", "restore-stream", "strangers-publish",
    "two-databases",
)  # fmt: skip
WORKER_FAULTS = ("kill-worker", "replace-workers")
"""Only with several workers."""
WHOLE_FAULTS = ("both-down", "dark-start", "one-of-two-killed", "clock-back")
ALL_FAULTS = (
    *RECEIVER_FAULTS,
    *POSTGRES_FAULTS,
    *NATS_FAULTS,
    *STREAM_FAULTS,
    *SPOOL_FAULTS,
    *WHOLE_FAULTS,
    *WORKER_FAULTS,
)
REFUSING = frozenset({*RECEIVER_FAULTS, "kill-worker", *SPOOL_FAULTS, "one-of-two-killed"})
"""Only under these may a sender see anything but the right answer."""
FREEZING = frozenset({"freeze-receiver", "kill-worker"})
SMALL_SPOOL_BYTES = 200_000
STRANGERS = "esc.v1.theirs."
"""Subjects of those who publish to the feed's stream and are none of ours."""
APART: Mapping[str, frozenset[str]] = {
    "fail-over": frozenset({*POSTGRES_FAULTS, "both-down", "dark-start"}),
    "kill-nats-leader": frozenset({*NATS_FAULTS, *STREAM_FAULTS, "both-down", "dark-start"}),
    "two-databases": frozenset({"empty-nats", "restore-stream", "dark-start"}),
    "clock-back": frozenset({"one-of-two-killed"}),
}
"""What is on a stage of its own (a pair, a cluster), and which faults have no place there."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fault: when it begins, and how long it lasts."""

    at_s: float
    fault: str
    for_s: float
    draw: int
    """For whatever else there is to choose."""

    def __str__(self) -> str:
        return f"{self.fault} at {self.at_s:.2f} s for {self.for_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    receivers: int
    retries: int
    """How often the sender tries again; ESC is not known to."""
    rate: float
    faults: Faults
    """Of the sender."""
    settings: Mapping[str, object] = field(default_factory=dict)
    events: Sequence[Event] = ()
    duration_s: float = DURATION_S
    workers: int = 1
    """Of each receiver."""

    @property
    def names(self) -> list[str]:
        """Of the faults, each once."""
        return sorted({event.fault for event in self.events})

    @property
    def may_refuse(self) -> bool:
        """Whether a sender may see anything but the right answer."""
        return not REFUSING.isdisjoint(self.names)

    @property
    def may_hang(self) -> bool:
        """Whether an answer may take as long as it likes."""
        return not FREEZING.isdisjoint(self.names)

    def has(self, fault: str) -> bool:
        """Whether it is among the faults."""
        return fault in self.names


def drawn(seed: int, only: Sequence[str] = (), workers: int = 1) -> Plan:
    """The plan of a seed. `only`: these faults and no others, all of them. With several workers one of them is killed,
    or they are replaced, besides."""
    plan = _drawn(seed, only)
    if workers == 1:
        return plan
    rng = Random(f"chaos/{seed}/workers")
    more = [] if only else [_event(fault, rng) for fault in (WORKER_FAULTS[0], rng.choice(WORKER_FAULTS))]
    events = sorted([*plan.events, *more], key=lambda event: event.at_s)
    return replace(plan, workers=workers, events=events, settings={**plan.settings, "workers": workers})


def _drawn(seed: int, only: Sequence[str]) -> Plan:
    rng = Random(f"chaos/{seed}")
    events = [_event(fault, rng) for fault in (only or _together(_faults(rng)))]
    names = {event.fault for event in events}
    settings: dict[str, object] = {
        "batch_callbacks_max": rng.choice((4, 32, 256)),
        "drain_batch_max": rng.choice((4, 32, 512)),
        "publish_batch_max": rng.choice((8, 64, 512)),
    }
    receivers = 2 if rng.random() < 0.35 or "one-of-two-killed" in names else 1
    if "clock-back" in names:
        receivers = 1  # how far the clocks of two differ is their administrator's to see to
    # Short, so that what is slow goes to the spool; long, so that it is waited for.
    settings["commit_timeout_s"] = 1 if seed % 2 else 3
    if "kill-draining" in names:
        settings["drain_batch_max"] = rng.choice((8, 32))
    if "hole-in-stream" in names:
        settings["verify_interval_s"] = 1
    if "spool-full" in names:
        settings["spool_bytes_max"] = SMALL_SPOOL_BYTES
    elif "spool-disk-full" in names:
        settings["spool_bytes_max"] = 16_000_000
    return Plan(
        seed, receivers, rng.choice((0, 0, 0, 2)), rng.choice((80, 150, 250)), _spoiling(rng), settings,
        sorted(events, key=lambda event: event.at_s),
    )  # fmt: skip


def _faults(rng: Random) -> list[str]:
    """One to four; a spool that fills up needs a reason to be used."""
    number = rng.choice((1, 1, 2, 2, 3, 4))
    faults = [rng.choice(rng.choice(_KINDS)) for _ in range(number)]
    if any(fault in SPOOL_FAULTS or fault == "kill-draining" for fault in faults):
        faults.append(rng.choice(("kill-postgres", "cut-postgres", "stall-postgres", "freeze-postgres")))
    return faults


def _together(faults: list[str]) -> list[str]:
    """Those that can be on one stage: whatever needs one of its own drives the others away."""
    for one, others in APART.items():
        if one in faults:
            faults = [fault for fault in faults if fault == one or fault not in others]
    return faults


_KINDS = (
    RECEIVER_FAULTS,
    POSTGRES_FAULTS,
    POSTGRES_FAULTS,
    NATS_FAULTS,
    STREAM_FAULTS,
    STREAM_FAULTS,
    SPOOL_FAULTS,
    WHOLE_FAULTS,
)


def _event(fault: str, rng: Random) -> Event:
    at_s = 0.0 if fault in {"dark-start", "silent-host"} else rng.uniform(0.1, DURATION_S - 0.6)
    return Event(
        round(at_s, 3), fault, round(rng.choice((0.05, 0.4, 1.2, 2.0)) * rng.uniform(0.5, 1.0), 3), rng.randrange(10**6)
    )


def _spoiling(rng: Random) -> Faults:
    """What ESC itself does wrong."""
    return Faults(
        duplicate=rng.choice((0, 0.1)), reorder=rng.choice((0, 0.2)), gap=rng.choice((0, 0.02)),
        malformed=rng.choice((0, 0.03)), unknown=rng.choice((0, 0.03)),
    )  # fmt: skip
