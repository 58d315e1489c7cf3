"""Board 1: how many VMs and deployments are in which state, what changes, and what is in trouble."""

from __future__ import annotations

from tools.dashboards.lifecycle import TO_VM
from tools.dashboards.parts import HALF, SMALL, THIRD, Board, event, lines, number, question, rows, series_variable

OF_SOURCE = '{source=~"$source"}'
RECOVERIES = event("Recoveries", "yellow", "sum(increase(esc_receiver_recoveries_started_total[$__rate_interval])) > 0")
UNDEPLOYS = event(
    "Undeploys", "blue",
    'sum(increase(esc_receiver_operations_ended_total{kind="undeploy"}[$__rate_interval])) > 0',
)  # fmt: skip


def _now(metric: str, more: str = "") -> str:
    """All receivers of a database tell the same number, so the largest is the number."""
    return f'sum(max by (source, state) ({metric}{{source=~"$source"{more}}}))'


def _by_state(metric: str) -> str:
    return f"sum by (state) (max by (source, state) ({metric}{OF_SOURCE}))"


BOARD = Board(
    uid="esc-fleet",
    title="ESC · Fleet",
    variables=[series_variable("source", "source", "esc_receiver_vms")],
    events=[RECOVERIES, UNDEPLOYS],
    panels=[
        question(
            "**How many VMs and deployments are in which state, what changes, and what is in trouble?** "
            "States are counted by one receiver for all every `counts_interval_s`. A click on a VM opens its lifecycle."
        ),
        number("VMs", "VMs that are not gone.", _now("esc_receiver_vms")),
        number("Deployments", "Deployments that are not gone.", _now("esc_receiver_deployments")),
        number(
            "VMs in trouble", "In ERROR, or being recovered.", _now("esc_receiver_vms", ',state=~"ERROR|RECOVERING"'),
            warn=1, alarm=10,
        ),
        number("Waiting for a person", "VMs whose recovery policy is manual, or was made so: `recovery-vm` in ESC.",
               f"sum(max by (source) (esc_receiver_manual_recovery_vms{OF_SOURCE}))", warn=1, alarm=5),
        number("Deployments in ERROR", "They must be undeployed and deployed again.",
               _now("esc_receiver_deployments", ',state="ERROR"'), warn=1, alarm=5),
        number("Overdue operations", "Open, and silent for too long.", "max(esc_receiver_operations_overdue)",
               warn=1, alarm=10),
        lines("VMs by state", "Those that are not gone.", {"{{state}}": _by_state("esc_receiver_vms")}, stacked=True),
        lines("Deployments by state", "Those that are not gone.",
              {"{{state}}": _by_state("esc_receiver_deployments")}, stacked=True),
        lines(
            "Changes of VMs", "Ledger entries a second, by the state they led to.",
            {"{{to_state}}": "sum by (to_state) "
             '(rate(esc_receiver_transitions_total{entity="vm"}[$__rate_interval])) > 0'},
            unit="ops", width=THIRD,
        ),
        lines(
            "Changes of deployments", "Ledger entries a second, by the state they led to.",
            {"{{to_state}}": "sum by (to_state) "
             '(rate(esc_receiver_transitions_total{entity="deployment"}[$__rate_interval])) > 0'},
            unit="ops", width=THIRD,
        ),
        lines(
            "Operations by tenant", "Operations that ended, a second; tenants beyond the cap are one.",
            {"{{tenant}}": "sum by (tenant) (rate(esc_receiver_tenant_operations_total[$__rate_interval])) > 0",
             "folded": "sum(rate(esc_receiver_tenants_folded_total[$__rate_interval]))",
             "cut": "sum(rate(esc_receiver_labels_cut_total[$__rate_interval]))"},
            unit="ops", width=THIRD,
        ),
        rows(
            "VMs in trouble now", "Longest in trouble first.",
            "SELECT vm, state, source, tenant, deployment, changed_at,\n"
            "       extract(epoch FROM now() - changed_at)::float8 AS seconds, needs_manual_recovery, host_name\n"
            "FROM grafana_vms\nWHERE state IN ('ERROR', 'RECOVERING')\nORDER BY changed_at\nLIMIT 100",
            {"vm": TO_VM}, width=HALF,
        ),
        rows(
            "Deployments that are not up", "In ERROR, or on their way.",
            "SELECT deployment, state, source, tenant, incarnation, changed_at, last_operation, last_outcome\n"
            "FROM grafana_deployments\n"
            "WHERE state IN ('ERROR', 'DEPLOYING', 'INERT', 'UNDEPLOYING', 'STOPPING', 'STARTING', 'REBOOTING')\n"
            "ORDER BY changed_at\nLIMIT 100",
            {"deployment": TO_VM.partition("&var-vm")[0]}, width=HALF,
        ),
        rows(
            "What changed last", "The VMs that changed last, in the time that is shown.",
            "SELECT changed_at AS time, vm, state, source, tenant, deployment, host_name\n"
            "FROM grafana_vms\nWHERE changed_at BETWEEN $__timeFrom() AND $__timeTo()\n"
            "ORDER BY changed_at DESC\nLIMIT 50",
            {"vm": TO_VM},
        ),
        number("Flapping VMs", "Recovered again and again within the window.",
               f"sum(esc_receiver_flapping_vms{OF_SOURCE})", warn=1, alarm=5),
        number("Counted", "Seconds since states were counted.", "time() - max(esc_receiver_counted_timestamp_seconds)",
               unit="s", warn=120, alarm=600, width=SMALL),
    ],
)  # fmt: skip
