"""The kinds of panels, variables and annotations that the boards are made of. Must not know a metric or a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.text import TextMode

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")
POSTGRES = DataSourceRef(type_val="grafana-postgresql-datasource", uid="${postgres}")
TAG = "esc-receiver"
HEIGHT = 8
WIDE, HALF, THIRD, QUARTER, SMALL = 24, 12, 8, 6, 4

COLORS: Mapping[str, str] = {
    "ALIVE": "green", "ACTIVE": "green", "INERT": "light-green", "DEPLOYING": "blue", "STARTING": "light-blue",
    "REBOOTING": "purple", "STOPPING": "light-orange", "STOPPED": "orange", "RECOVERING": "yellow", "ERROR": "red",
    "UNDEPLOYING": "semi-dark-purple", "UNDEPLOYED": "dark-blue", "SUCCEEDED": "green", "FAILED": "red",
    "CANCELLED": "yellow", "OPEN": "blue", "OVERDUE": "orange",
}  # fmt: skip
"""One colour for a state, wherever it is shown."""

AnyPanel = Builder[Any]


@dataclass
class Sql(Dataquery, Builder[Dataquery]):
    """A question to PostgreSQL (the SDK has no builder for it)."""

    sql: str
    ref_id: str = "A"
    datasource: DataSourceRef = field(default_factory=lambda: POSTGRES)

    def build(self) -> Dataquery:
        """It is its own query."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana's editor writes it."""
        return {
            "datasource": self.datasource, "editorMode": "code", "format": "table", "rawQuery": True,
            "rawSql": self.sql, "refId": self.ref_id,
        }  # fmt: skip


@dataclass
class SqlAnnotation(Builder[AnnotationQuery]):
    """Events that PostgreSQL tells: columns time, text, tags."""

    name: str
    color: str
    sql: str

    def build(self) -> AnnotationQuery:
        """The SDK's annotations know nothing of SQL, so the query takes the place of its `target`."""
        target: Any = Sql(self.sql, "Anno")
        return AnnotationQuery(name=self.name, datasource=POSTGRES, icon_color=self.color, target=target)


def event(name: str, color: str, expr: str) -> dashboard.AnnotationQuery:
    """Marks the times at which an expression gives anything."""
    return dashboard.AnnotationQuery().name(name).datasource(PROMETHEUS).enable(True).icon_color(color).expr(expr)


def question(words: str, height: int = 3) -> AnyPanel:
    """Says what question the board answers."""
    return (
        text.Panel().title("What this board answers").mode(TextMode.MARKDOWN).content(words).span(WIDE).height(height)
    )


def number(
    title: str, about: str, expr: str, *, unit: str = "short", warn: float | None = None, alarm: float | None = None,
    width: int = SMALL,
) -> AnyPanel:  # fmt: skip
    """One figure, now; coloured from `warn` and `alarm` on."""
    steps = [Threshold(color="green"), *(
        Threshold(value=value, color=color) for value, color in ((warn, "orange"), (alarm, "red")) if value is not None
    )]  # fmt: skip
    return (
        stat.Panel().title(title).description(about).datasource(PROMETHEUS).unit(unit).span(width).height(4)
        .graph_mode(BigValueGraphMode.AREA)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_query("A", expr, title))
    )  # fmt: skip


def lines(
    title: str, about: str, exprs: Mapping[str, str], *, unit: str = "short", stacked: bool = False,
    width: int = HALF, exemplars: bool = False,
) -> AnyPanel:  # fmt: skip
    """Curves, one for each series of each expression; keys are legends (`{{label}}`)."""
    panel = (
        timeseries.Panel().title(title).description(about).datasource(PROMETHEUS).unit(unit).span(width).height(HEIGHT)
        .min(0).fill_opacity(60 if stacked else 8).line_width(1).show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )  # fmt: skip
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for place, (legend, expr) in enumerate(exprs.items()):
        panel = panel.with_target(_query(chr(ord("A") + place), expr, legend, exemplars=exemplars))
    for state, color in COLORS.items():
        if any("{{state}}" in legend or "{{to_state}}" in legend for legend in exprs):
            fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
            panel = panel.override_by_name(state, [fixed])
    return panel


def _query(ref_id: str, expr: str, legend: str, *, exemplars: bool = False) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(ref_id).expr(expr).legend_format(legend).range().exemplar(exemplars)


def rows(title: str, about: str, sql: str, links: Mapping[str, str] | None = None, width: int = WIDE) -> AnyPanel:
    """A table; `links` leads from a column to another board."""
    panel = (
        table.Panel().title(title).description(about).datasource(POSTGRES).span(width).height(HEIGHT)
        .with_target(Sql(sql))
    )  # fmt: skip
    for column, url in (links or {}).items():
        link = DynamicConfigValue(id_val="links", value=[{"title": "Its lifecycle", "url": url}])
        panel = panel.override_by_name(column, [link])
    for column in ("state", "from_state", "to_state", "outcome"):
        panel = panel.override_by_name(column, [DynamicConfigValue(id_val="mappings", value=[_state_colors()])])
    in_seconds = [DynamicConfigValue(id_val="unit", value="s")]
    return panel.override_by_regexp("^(.*_)?seconds$", in_seconds)


def timeline(title: str, about: str, sql: str, by: str, height: int = 12) -> AnyPanel:
    """A bar for each value of the column `by`, coloured by the column `state`."""
    apart = DataTransformerConfig(
        id_val="partitionByValues", options={"fields": [by], "keepFields": False, "naming": {"asLabels": True}}
    )
    return (
        statetimeline.Panel().title(title).description(about).datasource(POSTGRES).span(WIDE).height(height)
        .with_target(Sql(sql)).with_transformation(apart).mappings([_state_colors()])
        .merge_values(True).show_value(VisibilityMode.AUTO).row_height(0.8).line_width(0).fill_opacity(80)
        .display_name("${__field.labels." + by + "}")
    )  # fmt: skip


def _state_colors() -> ValueMap:
    return ValueMap({state: ValueMappingResult(text=state, color=color) for state, color in COLORS.items()})


@dataclass(frozen=True)
class Board:
    """A board: its panels in order, and what they depend on."""

    uid: str
    title: str
    panels: Sequence[AnyPanel]
    variables: Sequence[Builder[Any]] = ()
    events: Sequence[Builder[AnnotationQuery]] = ()
    needs_postgres: bool = True
    span: str = "now-6h"

    def build(self) -> Any:
        """As Grafana reads it."""
        board = (
            dashboard.Dashboard(self.title).uid(self.uid).tags([TAG]).time(self.span, "now").refresh("30s")
            .timezone("browser").readonly()
            .link(
                dashboard.DashboardLink("esc-receiver").type(DashboardLinkType.DASHBOARDS).tags([TAG])
                .as_dropdown(True).keep_time(True).include_vars(True)
            )
            .with_variable(dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"))
        )  # fmt: skip
        if self.needs_postgres:
            kind = "grafana-postgresql-datasource"
            board = board.with_variable(dashboard.DatasourceVariable("postgres").label("PostgreSQL").type(kind))
        for variable in self.variables:
            board = board.with_variable(variable)
        for annotation in self.events:
            board = board.annotation(annotation)
        for panel in self.panels:
            board = board.with_panel(panel)
        built = board.build()
        for place, placed in enumerate(built.panels or [], 1):
            placed.id_val = place
        return built


def series_variable(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """The values of a label, any of them or all."""
    return (
        dashboard.QueryVariable(name).label(label.capitalize()).datasource(PROMETHEUS)
        .query({"query": f"label_values({metric},{label})", "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True).include_all(True).all_value(".*").sort(VariableSort.ALPHABETICAL_ASC)
    )  # fmt: skip


def sql_variable(name: str, label: str, sql: str, *, many: bool = False) -> dashboard.QueryVariable:
    """What PostgreSQL lists."""
    variable = (
        dashboard.QueryVariable(name).label(label).datasource(POSTGRES).query(sql)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )  # fmt: skip
    return variable.multi(True).include_all(True) if many else variable
