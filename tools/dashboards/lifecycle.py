"""Board 2: what a VM and its deployment went through, state by state, from the ledger itself."""

from __future__ import annotations

from tools.dashboards.parts import (
    HALF,
    PROMETHEUS,
    Board,
    SqlAnnotation,
    lines,
    question,
    rows,
    series_variable,
    sql_variable,
    timeline,
)

UID = "esc-vm-lifecycle"
TO_VM = (
    f"/d/{UID}?var-source=${{__data.fields.source}}&var-deployment=${{__data.fields.deployment}}"
    "&var-vm=${__data.fields.vm}"
)
CHOSEN = "source = ${source:sqlstring} AND deployment = ${deployment:sqlstring}"
VMS = "vm IN (${vm:sqlstring})"
SHOWN = "began_at <= $__timeTo() AND (ended_at IS NULL OR ended_at >= $__timeFrom())"


def _quantiles(metric: str, label: str) -> dict[str, str]:
    return {
        f"{{{{{label}}}}} p{quantile * 100:g}": f"histogram_quantile({quantile}, "
        f"sum by (le, {label}) (rate({metric}_bucket[$__rate_interval])))"
        for quantile in (0.5, 0.95)
    }


BOARD = Board(
    uid=UID,
    title="ESC · VM lifecycle",
    variables=[
        series_variable("source", "source", "esc_receiver_vms").multi(False).include_all(False).datasource(PROMETHEUS),
        sql_variable(
            "deployment", "Deployment",
            "SELECT deployment FROM grafana_deployments\n"
            "WHERE source = ${source:sqlstring} AND current AND changed_at >= $__timeFrom()\n"
            "ORDER BY changed_at DESC\nLIMIT 500",
        ),
        sql_variable("vm", "VM", f"SELECT vm FROM grafana_vms\nWHERE {CHOSEN}\nORDER BY vm\nLIMIT 500", many=True),
    ],
    events=[
        SqlAnnotation(
            "Recoveries", "yellow",
            "SELECT began_at AS time, vm || ': ' || reason AS text, 'recovery' AS tags\nFROM grafana_vm_timeline\n"
            f"WHERE {CHOSEN} AND state = 'RECOVERING' AND began_at BETWEEN $__timeFrom() AND $__timeTo()",
        ),
        SqlAnnotation(
            "Undeploys", "blue",
            "SELECT began_at AS time, deployment || ': ' || reason AS text, 'undeploy' AS tags\n"
            f"FROM grafana_deployment_timeline\nWHERE {CHOSEN} AND state = 'UNDEPLOYED'\n"
            "    AND began_at BETWEEN $__timeFrom() AND $__timeTo()",
        ),
    ],
    span="now-24h",
    panels=[
        question(
            "**What did this VM go through, and why is it in its state?** Choose a source, a deployment (those that "
            "changed in the time shown, latest first) and VMs. The bars and tables are the ledger itself, read through "
            "the views `grafana_*`; every entry names its rule, its reason and the receipt of the callback behind it."
        ),
        timeline(
            "VMs", "The state of each VM of the deployment over time.",
            "SELECT greatest(began_at, $__timeFrom()) AS time, vm, state\nFROM grafana_vm_timeline\n"
            f"WHERE {CHOSEN} AND {VMS}\n    AND {SHOWN}\nORDER BY vm, sequence",
            by="vm",
        ),
        timeline(
            "Deployment", "The state of the deployment over time; one bar for each incarnation.",
            "SELECT greatest(began_at, $__timeFrom()) AS time,\n"
            "       deployment || ' #' || incarnation AS incarnation, state\n"
            f"FROM grafana_deployment_timeline\nWHERE {CHOSEN}\n    AND {SHOWN}\nORDER BY incarnation, sequence",
            by="incarnation", height=5,
        ),
        rows(
            "VMs now", "As they stand.",
            "SELECT vm, state, changed_at, host_name, vm_uuid, monitored, recovery_open, needs_manual_recovery,\n"
            "       sequence\n"
            f"FROM grafana_vms\nWHERE {CHOSEN} AND {VMS}\nORDER BY vm\nLIMIT 500",
            width=HALF,
        ),
        rows(
            "Time in each state", "Of each VM, within the time that is shown.",
            "SELECT vm, state, count(*) AS times,\n"
            "       sum(extract(epoch FROM least(coalesce(ended_at, now()), $__timeTo())\n"
            "                            - greatest(began_at, $__timeFrom())))::float8 AS seconds\n"
            f"FROM grafana_vm_timeline\nWHERE {CHOSEN} AND {VMS}\n    AND {SHOWN}\n"
            "GROUP BY vm, state\nORDER BY vm, seconds DESC",
            width=HALF,
        ),
        rows(
            "Ledger", "Every change and note of the VMs chosen and of their deployment, latest first.",
            "SELECT at AS time, entity, name, from_state, to_state, change, trigger, rule, reason, operation, receipt\n"
            f"FROM grafana_ledger\nWHERE {CHOSEN} AND (entity = 'deployment' OR name IN (${{vm:sqlstring}}))\n"
            "    AND at BETWEEN $__timeFrom() AND $__timeTo()\nORDER BY at DESC, sequence DESC\nLIMIT 500",
        ),
        rows(
            "Operations of the deployment", "What was asked of it, and how it went.",
            "SELECT first_seen_at AS time, kind, state, seconds, operation, status_code, status_message,\n"
            "       vms_seen, vms_deployed, vms_alive, vms_failed\n"
            f"FROM grafana_operations\nWHERE {CHOSEN}\nORDER BY first_seen_at DESC\nLIMIT 100",
        ),
        lines(
            "How long VMs stay in a state", "All VMs, when they leave it.",
            _quantiles("esc_receiver_vm_state_seconds", "state"), unit="s", exemplars=True,
        ),
        lines(
            "Steps that people wait for", "All VMs and deployments: from one state to the next.",
            _quantiles("esc_receiver_step_seconds", "step"), unit="s", exemplars=True,
        ),
    ],
)  # fmt: skip
