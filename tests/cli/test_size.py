"""`esc-receiver size`: arithmetic on what was measured, and a simulation that agrees with measured points."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks.simulation import Costs, Simulation, Site, foretold
from receiver.cli.main import main
from receiver.cli.sizing import DAY_S, Demand, measured, size

AGREES = 0.25
COSTS = {
    "bytes": {
        "messages": 2.0, "entries": 2.0, "receiver_cpu_us": 1000.0, "postgres_cpu_us": 500.0, "nats_cpu_us": 100.0,
        "wal_bytes": 10_000.0, "callbacks_disk_bytes": 2_000.0, "ledger_disk_bytes": 1_000.0,
        "states_disk_bytes": 500.0,
        "stream_bytes": 4_000.0, "http_in_bytes": 1_250.0, "postgres_in_bytes": 5_000.0, "postgres_out_bytes": 5_000.0,
        "nats_in_bytes": 4_000.0, "nats_out_bytes": 0.0,
    },
    "relay_messages_per_s": 5_000,
}  # fmt: skip
BARE = Demand(1_000, retention_days=1, ledger_days=1, stream_days=1, replicas=1, standbys=0, busy=0.5)


def test_the_arithmetic() -> None:
    """Spelled out: a thousand callbacks a second of 1 ms are one processor, two where half may be busy."""
    found = size(BARE, COSTS)
    assert (found.receiver_cores, found.postgres_cores, found.nats_cores) == (2.0, 1.0, 0.2)
    assert found.wal_mb_per_s == 10.0
    assert found.postgres_disk_gb == {"callbacks": 173.0, "ledger": 86.4, "states": 43.2}
    assert found.stream_disk_gb == round(1_000 * 4_000 * DAY_S / 1e9)
    assert found.network_mbit_per_s["from ESC"] == 10.0
    assert found.network_mbit_per_s["to its standbys"] == 0.0
    assert (found.cells, found.workers, found.receivers) == (1, 2, 2)


@pytest.mark.parametrize(
    ("demand", "first", "at"),
    [
        (BARE, "the relay", 1250.0),
        (replace(BARE, cores=1), "PostgreSQL's processors", 1000.0),
        (replace(BARE, wal_mb_per_s=10), "PostgreSQL's log", 500.0),
        (replace(BARE, retention_days=100), "PostgreSQL's disk", 460.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_first_says_how_many_cells(demand: Demand, first: str, at: float) -> None:
    """The least of the limits, and as many cells as it takes to stay below."""
    found = size(demand, COSTS)
    assert (found.breaks_first, found.limits_per_s[first]) == (first, at)
    for rate, cells in ((at * 0.9, 1), (at * 1.1, 2), (at * 9.5, 10)):
        assert size(replace(demand, callbacks_per_s=rate), COSTS).cells == cells


def test_the_command_says_the_same_for_people_and_programs() -> None:
    """And refuses what is no rate."""
    given = ["size", "--callbacks-per-s", "250", "--retention-days", "7"]
    said = CliRunner().invoke(main, [*given, "-o", "json"])
    assert said.exit_code == 0
    found = json.loads(said.output)
    assert found == json.loads(json.dumps(size(Demand(250, retention_days=7), measured()).as_dict()))
    table = CliRunner().invoke(main, given).output
    assert f"{found['breaks_first']}, at {found['limits_per_s'][found['breaks_first']]:g}" in table
    assert CliRunner().invoke(main, ["size", "--callbacks-per-s", "0"]).exit_code == 2


def test_the_simulation_agrees_with_three_measured_points() -> None:
    """Of which it knows the costs of two only."""
    found = measured()
    costs = Costs.of(found)
    assert len(found["points"]) == 3
    for point in found["points"]:
        said = foretold(point, costs, found["machine"]["processors"])
        assert said.rate == pytest.approx(point["rate"], rel=AGREES)
        assert said.group == pytest.approx(point["group"], rel=2 * AGREES)


def test_what_is_simulated_ends_where_it_must() -> None:
    """One worker has one thread; many have no more than there are processors; a slow disk is shared by a group."""
    costs = Costs.of(measured())
    one, two = (Simulation(Site(workers, 32, 64 * workers), costs).run().rate for workers in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.1)
    assert one < 1 / costs.receiver
    few, many = (Simulation(Site(workers, 4, 64 * workers), costs).run().rate for workers in (8, 24))
    assert many == pytest.approx(few, rel=0.15)
    assert many < 4 / (costs.receiver + costs.postgres)
    slow = Simulation(Site(1, 32, 64), replace(costs, sync=1.0)).run()
    assert slow.rate < 64
