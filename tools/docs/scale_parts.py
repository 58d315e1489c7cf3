"""The parts of docs/scale.md that follow from what was measured: what rates need, how well a simulation foretells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks.simulation import Costs, foretold
from receiver.cli.sizing import Demand, Size, measured, size

RATES = (100, 1_000, 10_000, 100_000)
SHORT = {"retention_days": 3, "ledger_days": 30, "stream_days": 3}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _sizes(**kept: float) -> str:
    found = [size(Demand(rate, **kept), measured()) for rate in RATES]  # type: ignore[arg-type]  # days
    return _table(["callbacks a second", *(f"{rate:,}" for rate in RATES)], _rows(found))


def _rows(found: Sequence[Size]) -> Iterable[list[str]]:
    yield ["cells", *(f"{one.cells:,}" for one in found)]
    yield [
        "breaks first in a cell",
        *(f"{one.breaks_first}, at {one.limits_per_s[one.breaks_first]:,g}" for one in found),
    ]
    yield ["processors: receivers", *(f"{one.receiver_cores:,g}" for one in found)]
    yield ["PostgreSQL", *(f"{one.postgres_cores:,g}" for one in found)]
    yield ["NATS", *(f"{one.nats_cores:,g}" for one in found)]
    for name in found[0].postgres_disk_gb:
        yield [f"PostgreSQL's disk: {name}", *(_bytes(one.postgres_disk_gb[name]) for one in found)]
    yield ["stream, three copies", *(_bytes(one.stream_disk_gb) for one in found)]
    yield ["PostgreSQL's log, MB/s", *(f"{one.wal_mb_per_s:,g}" for one in found)]
    for name in found[0].network_mbit_per_s:
        yield [f"network {name}, Mbit/s", *(f"{one.network_mbit_per_s[name]:,g}" for one in found)]


def _limits() -> str:
    found = [size(Demand(1, **kept), measured()).limits_per_s for kept in ({}, SHORT)]
    rows = [[name, *(f"{one[name]:,g}" for one in found)] for name in found[0]]
    return _table(["in one cell ends with", "as kept by default", "with 3, 30 and 3 days"], rows)


def _bytes(gigabytes: float) -> str:
    return f"{gigabytes:g} GB" if gigabytes < 1_000 else f"{gigabytes / 1_000:,g} TB"


def _costs() -> str:
    each = measured()["bytes"]
    rows = [
        ("ledger entries", f"{each['entries']:.2f}"),
        ("messages on the feed", f"{each['messages']:.2f}"),
        ("processor time: receiver, PostgreSQL, NATS", " + ".join(
            f"{each[f'{name}_cpu_us']:.0f}" for name in ("receiver", "postgres", "nats")) + " µs"),
        ("request and answer", f"{each['http_in_bytes']:,.0f} + {each['http_out_bytes']:,.0f} bytes"),
        ("to and from PostgreSQL", f"{each['postgres_in_bytes']:,.0f} + {each['postgres_out_bytes']:,.0f} bytes"),
        ("to NATS", f"{each['nats_in_bytes']:,.0f} bytes"),
        ("PostgreSQL's log", f"{each['wal_bytes']:,.0f} bytes, and pages that are logged whole after a checkpoint"),
        ("on PostgreSQL's disk, with indexes: callback, ledger, states", " + ".join(
            f"{each[f'{name}_disk_bytes']:,.0f}" for name in ("callbacks", "ledger", "states")) + " bytes"),
        ("in the stream", f"{each['stream_bytes']:,.0f} bytes"),
    ]  # fmt: skip
    return _table(("of one callback", ""), rows)


def _check() -> str:
    found = measured()
    costs = Costs.of(found)
    rows = []
    for point in found["points"]:
        said = foretold(point, costs, found["machine"]["processors"])
        rows.append(
            [
                f"{point['workers']}", f"{point['others']:.0%}", f"{point['rate']:.0f}", f"{said.rate:.0f}",
                f"{point['group']:.1f}", f"{said.group:.1f}",
            ]
        )  # fmt: skip
    head = ("workers", "others' part", "callbacks a second", "simulated", "in one group", "simulated")
    return _table(head, rows)


SCALE_PARTS: dict[str, Callable[[], str]] = {
    "scale-costs": _costs,
    "scale-sizes": _sizes,
    "scale-sizes-short": lambda: _sizes(**SHORT),
    "scale-limits": _limits,
    "scale-check": _check,
}
