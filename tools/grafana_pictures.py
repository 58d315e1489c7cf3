"""Draws docs/images/grafana-*.png: `python -m tools.grafana_pictures [FOLDER]`.

There is no Grafana here. The panels' own questions and expressions are asked of a live service and a real Prometheus,
as Grafana would, and the answers drawn with matplotlib, in the boards' colours: what is shown is right, how it looks is
not Grafana's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.dates import DateFormatter
from matplotlib.patches import Patch

from tests.support.boards import boards, promql, questions, sql
from tests.support.live_service import Stage, staged
from tools.dashboards.parts import COLORS

FOLDER = Path(__file__).parents[1] / "docs" / "images"
PLAYED = {"deployments": 14, "seed": 11, "rate": 10, "time_scale": 0.02, "duration": 40}
SAID = "drawn with matplotlib from the board's own queries; there was no Grafana to draw it"
HEX = {
    "green": "#73bf69", "light-green": "#c8f2c2", "blue": "#5794f2", "light-blue": "#8ab8ff", "purple": "#b877d9",
    "light-orange": "#ffb357", "orange": "#ff9830", "yellow": "#fade2a", "red": "#f2495c",
    "semi-dark-purple": "#a352cc", "dark-blue": "#1f60c4",
}  # fmt: skip
PAPER, INK, FAINT = "#111217", "#ccccdc", "#2c3235"
LINES = ("#73bf69", "#5794f2", "#fade2a", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c8f2c2")


def color(state: str, place: int = 0) -> str:
    """As on the boards."""
    return HEX[COLORS[state]] if state in COLORS else LINES[place % len(LINES)]


def panel(uid: str, title: str) -> Any:
    """One of a board."""
    return next(panel for panel in boards()[uid]["panels"] if panel["title"] == title)


async def timeline(stage: Stage, since: datetime, until: datetime, path: Path) -> None:
    """The VM lifecycle board's two timelines and part of its ledger, for a deployment that had a hard time."""
    richest = await stage.connection.fetch(
        "SELECT source, deployment FROM grafana_vm_timeline GROUP BY 1, 2"
        " ORDER BY count(*) FILTER (WHERE state IN ('RECOVERING', 'ERROR')) DESC, count(*) DESC LIMIT 1"
    )
    chosen = dict(richest[0])
    vms = await stage.connection.fetch(
        "SELECT DISTINCT vm FROM grafana_vms WHERE source = $1 AND deployment = $2 ORDER BY vm", *chosen.values()
    )
    span = since.isoformat(), until.isoformat()
    asked = {one.panel: one.text for one in questions() if one.board == "esc-vm-lifecycle"}
    rows = []
    for title, by in (("Deployment", "incarnation"), ("VMs", "vm")):
        for vm in vms if title == "VMs" else vms[:1]:
            found = await stage.connection.fetch(sql(asked[title], chosen | {"vm": vm["vm"]}, *span))
            rows += [(str(row[by]), row["time"], row["state"]) for row in found]
    _draw_timeline(rows, until, f"ESC · VM lifecycle: {chosen['deployment']}", path)


def _draw_timeline(rows: Sequence[tuple[str, datetime, str]], until: datetime, title: str, path: Path) -> None:
    names = list(dict.fromkeys(name for name, _, _ in rows))
    until = min(until, max(at for _, at, _ in rows) + timedelta(seconds=4))
    figure, axes = plt.subplots(figsize=(14, 1.9 + 0.55 * len(names)), facecolor=PAPER)
    for place, name in enumerate(names):
        own = [(at, state) for other, at, state in rows if other == name]
        for (at, state), (end, _) in zip(own, [*own[1:], (until, "")], strict=True):
            axes.barh(place, _days(end) - _days(at), left=_days(at), height=0.75, color=color(state))
    axes.set_yticks(range(len(names)), ["…" + name[-24:] if len(name) > 24 else name for name in names])
    axes.invert_yaxis()
    axes.xaxis_date()
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))  # type: ignore[no-untyped-call]  # theirs has no types
    shown = [state for state in COLORS if any(state == told for _, _, told in rows)]
    axes.legend(
        handles=[Patch(color=color(state), label=state) for state in shown], ncols=len(shown), loc="upper center",
        bbox_to_anchor=(0.5, -0.5 / max(2, len(names))), frameon=False, labelcolor=INK,
    )  # fmt: skip
    _dress(axes, title)
    _save(figure, path)


def _days(at: datetime) -> float:
    """As matplotlib counts time."""
    return at.timestamp() / 86_400


async def fleet(stage: Stage, since: datetime, until: datetime, path: Path) -> None:
    """The Fleet board's figures and curves."""
    numbers = [one for one in boards()["esc-fleet"]["panels"] if one["type"] == "stat"][:6]
    titles = ("VMs by state", "Deployments by state", "Changes of VMs", "Changes of deployments")
    curves = [panel("esc-fleet", title) for title in titles]
    figure = plt.figure(figsize=(16, 9), facecolor=PAPER)
    grid = figure.add_gridspec(3, 12, height_ratios=(0.5, 1, 1), hspace=0.5, wspace=1.2)
    for place, one in enumerate(numbers):
        axes = figure.add_subplot(grid[0, 2 * place : 2 * place + 2], facecolor=PAPER)
        (series,) = await stage.series(promql(one["targets"][0]["expr"]))
        value = float(series["value"][1])
        steps = one["fieldConfig"]["defaults"]["thresholds"]["steps"]
        hue = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
        axes.text(0.5, 0.5, f"{value:g}", ha="center", va="center", size=34, color=HEX[hue])
        axes.set_title(one["title"], color=INK, size=11)
        axes.axis("off")
    for place, one in enumerate(curves):
        axes = figure.add_subplot(grid[1 + place // 2, 6 * (place % 2) : 6 * (place % 2) + 6])
        await _curves(stage, one, since, until, axes)
    figure.suptitle("ESC · Fleet", color=INK, size=15, x=0.06, ha="left")
    _save(figure, path)


async def _curves(stage: Stage, one: Any, since: datetime, until: datetime, axes: Any) -> None:
    asked = {"start": str(since.timestamp()), "end": str(until.timestamp()), "step": "1"}
    for target in one["targets"]:
        found = (await stage.ask("query_range", query=promql(target["expr"], "10s"), **asked))["result"]
        stacked = one["fieldConfig"]["defaults"]["custom"].get("stacking", {}).get("mode") == "normal"
        times = sorted({at for series in found for at, _ in series["values"]})
        named = {next(iter(series["metric"].values())): dict(map(tuple, series["values"])) for series in found}
        told = {name: [float(values.get(at, 0)) for at in times] for name, values in named.items()}
        told = {name: values for name, values in told.items() if any(values)}
        moments = [datetime.fromtimestamp(at, UTC) for at in times]
        colors = [color(name, place) for place, name in enumerate(told)]
        if stacked:
            axes.stackplot(moments, told.values(), labels=list(told), colors=colors, alpha=0.75)
        else:
            for (name, values), hue in zip(told.items(), colors, strict=True):
                axes.plot(moments, values, label=name, color=hue, linewidth=1.3)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))  # type: ignore[no-untyped-call]  # theirs has no types
    axes.legend(ncols=6, fontsize=8, frameon=False, labelcolor=INK, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    _dress(axes, one["title"])


def _dress(axes: Any, title: str) -> None:
    axes.set_facecolor(PAPER)
    axes.set_title(title, color=INK, size=11, loc="left")
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(FAINT)


def _save(figure: Any, path: Path) -> None:
    figure.text(0.99, -0.06, SAID, color="#8e8e9a", size=8, ha="right")
    figure.savefig(path, dpi=90, bbox_inches="tight", facecolor=PAPER, metadata={"Software": None})
    plt.close(figure)


async def draw(folder: Path) -> None:
    """Play, ask, draw."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        since = datetime.now(UTC)
        async with staged(Path(name), **PLAYED) as stage:
            until = datetime.now(UTC) - timedelta(seconds=2)
            await timeline(stage, since + timedelta(seconds=5), until, folder / "grafana-vm-lifecycle.png")
            await fleet(stage, since + timedelta(seconds=5), until, folder / "grafana-fleet.png")


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
