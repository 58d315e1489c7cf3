"""Draws docs/images/scale-curve.png: `python -m tools.scale_curve [FILE]`.

What the simulation foretells of larger machines, beside the points that were measured. Must not know how it does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.simulation import Costs, Simulation, Site, foretold
from receiver.cli.sizing import measured

FILE = Path(__file__).parents[1] / "docs" / "images" / "scale-curve.png"
PROCESSORS = (4, 8, 16, 32)
WORKERS = (1, 2, 4, 6, 8, 12, 16, 20, 24, 28)
CONNECTIONS_EACH = 64


def main() -> None:
    """Draw it."""
    found = measured()
    mpl.rcParams["svg.hashsalt"] = "scale"
    figure, (large, small) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(2, 1), layout="constrained")
    _curve(large, found, Costs.of(found))
    _check(small, found, Costs.of(found))
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else FILE, dpi=110, metadata={"Software": None})


def _curve(axes: Axes, found: Mapping[str, Any], costs: Costs) -> None:
    for processors in PROCESSORS:
        sites = [Site(workers, processors, CONNECTIONS_EACH * workers) for workers in WORKERS]
        rates = [Simulation(site, costs).run().rate for site in sites]
        axes.plot(WORKERS, rates, marker="o", markersize=3, label=f"{processors} processors for workers and PostgreSQL")
    relay = found["relay_messages_per_s"]
    axes.axhline(relay, linestyle="--", color="black", linewidth=0.8, label="the relay, one message a callback")
    axes.axhline(
        relay / found["bytes"]["messages"],
        linestyle=":",
        color="black",
        linewidth=0.8,
        label="the relay, ESC's traffic",
    )
    axes.set(xlabel="workers", ylabel="callbacks a second, simulated", ylim=(0, None))
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def _check(axes: Axes, found: Mapping[str, Any], costs: Costs) -> None:
    points = found["points"]
    said = [foretold(point, costs, found["machine"]["processors"]).rate for point in points]
    places = range(len(points))
    axes.bar([place - 0.2 for place in places], [point["rate"] for point in points], width=0.4, label="measured")
    axes.bar([place + 0.2 for place in places], said, width=0.4, label="simulated")
    names = [f"{point['workers']} workers\nothers {point['others']:.0%}" for point in points]
    axes.set_xticks(list(places), names, fontsize=8)
    axes.set(title="two processors that others use too", ylabel="callbacks a second")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=7)


if __name__ == "__main__":
    main()
