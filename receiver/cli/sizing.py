"""How much of everything a rate of callbacks needs, and what would break first: arithmetic on what was measured.

`measured.json` is written by `python -m benchmarks.costs --write`. Costs grow with the rate in a straight line here;
that groups grow with the load, and so get cheaper, is left out on the safe side. Must not know how it is printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

DAY_S = 86_400
GB = 1e9
MB = 1e6


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for, and of which machines a cell may be made."""

    callbacks_per_s: float
    retention_days: float = 30
    ledger_days: float = 400
    stream_days: float = 30
    replicas: int = 3
    """Copies of the stream."""
    standbys: int = 1
    """Of PostgreSQL."""
    cores: int = 16
    """Of PostgreSQL's machine, and of each receiver's."""
    disk_tb: float = 8
    wal_mb_per_s: float = 200
    """What PostgreSQL's disk takes of its log, forced to it."""
    busy: float = 0.6
    """Part of a processor, or of the relay, that may be busy: the rest is for bursts, and for whoever takes over."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is needed in all cells together."""

    callbacks_per_s: float
    cells: int
    breaks_first: str
    """The limit that one more callback a second would reach first in one cell; a key of `limits_per_s`."""
    limits_per_s: Mapping[str, float]
    """Callbacks a second that one cell could take, if there were only this limit."""
    receiver_cores: float
    workers: int
    receivers: int
    """Machines, one of them to spare in each cell."""
    postgres_cores: float
    nats_cores: float
    postgres_disk_gb: Mapping[str, float]
    """Of the leader; each standby has as much."""
    stream_disk_gb: float
    """With all copies."""
    wal_mb_per_s: float
    network_mbit_per_s: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measured() -> Mapping[str, Any]:
    """What was measured."""
    found: Mapping[str, Any] = json.loads(files("receiver.cli").joinpath("measured.json").read_text("utf-8"))
    return found


def size(demand: Demand, costs: Mapping[str, Any]) -> Size:
    """What this demand needs, at these costs."""
    each, rate = costs["bytes"], demand.callbacks_per_s
    limits = _limits(demand, each, costs["relay_messages_per_s"])
    breaks_first = min(limits, key=limits.__getitem__)
    cells = max(1, math.ceil(rate / limits[breaks_first]))
    receiver_cores = _cores(rate, each["receiver_cpu_us"], demand.busy)
    workers = cells * math.ceil(receiver_cores / cells)
    return Size(
        callbacks_per_s=rate,
        cells=cells,
        breaks_first=breaks_first,
        limits_per_s={name: _rounded(limit) for name, limit in limits.items()},
        receiver_cores=_rounded(receiver_cores),
        workers=workers,
        receivers=cells * (1 + math.ceil(workers / cells / demand.cores)),
        postgres_cores=_rounded(_cores(rate, each["postgres_cpu_us"], demand.busy)),
        nats_cores=_rounded(_cores(rate, each["nats_cpu_us"], demand.busy)),
        postgres_disk_gb={
            name: _rounded(rate * value / GB) for name, value in _disk_bytes_of_a_rate(demand, each).items()
        },
        stream_disk_gb=_rounded(rate * each["stream_bytes"] * DAY_S * demand.stream_days * demand.replicas / GB),
        wal_mb_per_s=_rounded(rate * each["wal_bytes"] / MB),
        network_mbit_per_s={
            name: _rounded(8 * rate * value / MB) for name, value in _network_bytes(demand, each).items()
        },
    )


def _limits(demand: Demand, each: Mapping[str, float], relay_messages_per_s: float) -> dict[str, float]:
    disk = sum(_disk_bytes_of_a_rate(demand, each).values())
    return {
        "the relay": demand.busy * relay_messages_per_s / each["messages"],
        "PostgreSQL's processors": demand.busy * demand.cores * 1e6 / each["postgres_cpu_us"],
        "PostgreSQL's log": demand.busy * demand.wal_mb_per_s * MB / each["wal_bytes"],
        "PostgreSQL's disk": demand.disk_tb * 1000 * GB / disk,
    }


def _disk_bytes_of_a_rate(demand: Demand, each: Mapping[str, float]) -> dict[str, float]:
    """For one callback a second. States of what is gone stay: reckoned for as long as the ledger."""
    return {
        "callbacks": each["callbacks_disk_bytes"] * DAY_S * demand.retention_days,
        "ledger": each["ledger_disk_bytes"] * DAY_S * demand.ledger_days,
        "states": each["states_disk_bytes"] * DAY_S * demand.ledger_days,
    }


def _network_bytes(demand: Demand, each: Mapping[str, float]) -> dict[str, float]:
    return {
        "from ESC": each["http_in_bytes"],
        "to PostgreSQL": each["postgres_in_bytes"] + each["postgres_out_bytes"],
        "to its standbys": demand.standbys * each["wal_bytes"],
        "to NATS": each["nats_in_bytes"] + each["nats_out_bytes"],
        "between NATS's nodes": (demand.replicas - 1) * each["nats_in_bytes"],
    }


def _cores(rate: float, each_us: float, busy: float) -> float:
    return rate * each_us / 1e6 / busy


def _rounded(value: float) -> float:
    """To three digits: more was not measured."""
    if not value:
        return 0.0
    digits = 2 - math.floor(math.log10(abs(value)))
    return round(value, digits) if digits > 0 else float(round(value, digits))
