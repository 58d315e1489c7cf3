"""Board 3: how long operations take and how they end, what is under way, what is overdue, and what it costs the SLO."""

from __future__ import annotations

from tools.dashboards.fleet import RECOVERIES, UNDEPLOYS
from tools.dashboards.parts import HALF, QUARTER, THIRD, Board, event, lines, number, question, rows

ENDED = "esc_receiver_operations_ended_total"
SECONDS = "esc_receiver_operation_seconds_bucket"
OVERDUE = event(
    "Overdue", "orange",
    'sum(increase(esc_receiver_transitions_total{entity="operation",to_state="OVERDUE"}[$__rate_interval])) > 0',
)  # fmt: skip
COLUMNS = "operation, kind, state, source, tenant, deployment, first_seen_at, last_seen_at, seconds, silent_seconds"
TO_DEPLOYMENT = "/d/esc-vm-lifecycle?var-source=${__data.fields.source}&var-deployment=${__data.fields.deployment}"


BOARD = Board(
    uid="esc-operations",
    title="ESC · Operations",
    events=[RECOVERIES, UNDEPLOYS, OVERDUE],
    panels=[
        question(
            "**How long do operations take, how do they end, which are overdue, and is the promise kept?** "
            "An operation is all that shares one ESC transaction id; its time runs from its first message to its end. "
            "The objective: 99 of 100 operations succeed, over 30 days. A burn of 1 spends exactly that."
        ),
        number("Under way", "Open operations.", 'sum(max by (kind, state) (esc_receiver_operations{state="OPEN"}))'),
        number("Overdue", "Silent for too long.", "max(esc_receiver_operations_overdue)", warn=1, alarm=10),
        number(
            "Oldest open", "Since when the oldest open operation goes on.",
            "max(time() - esc_receiver_operation_oldest_timestamp_seconds) * "
            "(max(esc_receiver_operation_oldest_timestamp_seconds) > bool 0)",
            unit="s", warn=1800, alarm=7200,
        ),
        number("Succeeded", "Of those that ended in the last hour, at the ESC that fails most.",
               "min(esc:operations_success:ratio1h)", unit="percentunit"),
        number("Burn, 1 h", "How fast the error budget goes, at the ESC that fails most.",
               "max(esc:operations_burn:rate1h)", warn=1, alarm=14.4),
        number("Burn, 6 h", "How fast the error budget goes, at the ESC that fails most.",
               "max(esc:operations_burn:rate6h)", warn=1, alarm=6),
        lines("SLO burn", "How many times faster than allowed the error budget is spent.",
              {"{{source}}, 5 m": "esc:operations_burn:rate5m", "{{source}}, 1 h": "esc:operations_burn:rate1h",
               "{{source}}, 6 h": "esc:operations_burn:rate6h"}, width=HALF),
        lines("How operations end", "A second, by outcome.",
              {"{{outcome}}": f"sum by (outcome) (rate({ENDED}[$__rate_interval]))"}, unit="ops", width=HALF),
        lines(
            "Half of them end within", "Of those that succeeded, by kind.",
            {"{{kind}}": f"histogram_quantile(0.5, sum by (le, kind) (rate({SECONDS}[$__rate_interval]))) > 0"},
            unit="s", exemplars=True,
        ),
        lines(
            "95 of 100 end within", "Of those that succeeded, by kind.",
            {"{{kind}}": f"histogram_quantile(0.95, sum by (le, kind) (rate({SECONDS}[$__rate_interval]))) > 0"},
            unit="s", exemplars=True,
        ),
        lines("Failures by kind", "Operations that failed, a second.",
              {"{{kind}}": f'sum by (kind) (rate({ENDED}{{outcome="failed"}}[$__rate_interval]))'},
              unit="ops", width=THIRD),
        lines("Under way by kind", "Open and overdue operations.",
              {"{{kind}} {{state}}": "max by (kind, state) (esc_receiver_operations) > 0"}, stacked=True, width=THIRD),
        lines(
            "Recoveries", "Begun, and how they ended, a minute.",
            {"begun": "60 * sum(rate(esc_receiver_recoveries_started_total[$__rate_interval]))",
             "{{outcome}}": "60 * sum by (outcome) (rate(esc_receiver_recoveries_ended_total[$__rate_interval]))",
             "flapping": "60 * sum(rate(esc_receiver_flapping_total[$__rate_interval]))"}, width=THIRD,
        ),
        lines("ESC out of service", "For how long each ESC has said so.",
              {"{{source}}": "max by (source) ((time() - esc_receiver_source_state_timestamp_seconds) * "
               "esc_receiver_source_out_of_service) > 0"}, unit="s", width=QUARTER),
        lines("Became overdue", "Operations that fell silent, a minute, by ESC.",
              {"{{source}}":
               "60 * sum by (source) (rate(esc_receiver_operations_became_overdue_total[$__rate_interval]))"},
              width=QUARTER),
        lines("Nothing heard of an ESC", "Since its last callback that was kept.",
              {"{{source}}": "time() - max by (source) (esc_receiver_source_last_message_timestamp_seconds > 0)"},
              unit="s", width=QUARTER),
        lines("Refused, by source", "Callbacks of an ESC that were refused, of all time.",
              {"{{source}}": "max by (source) (esc_receiver_source_refused_callbacks) > 0"}, width=QUARTER),
        lines("Silence of an ESC, of what is usual",
              "1: as long as is usual at this hour of the week; 0: out of service.",
              {"{{source}}": "max by (source) (esc_receiver_source_silence_ratio)"}, width=QUARTER),
        lines("Usual silence of an ESC", "At this hour of the week: learned, or `silence_usual_s`.",
              {"{{source}}": "max by (source) (esc_receiver_source_usual_silence_seconds)"}, unit="s", width=QUARTER),
        lines("Usual and longest duration", "Of operations that succeeded lately, by ESC and kind; none before it is "
              "learned.", {"{{source}} {{kind}}": "max by (source, kind) (esc_receiver_operation_usual_seconds)",
              "{{source}} {{kind}}, longest": "max by (source, kind) (esc_receiver_operation_longest_seconds)"},
              unit="s", width=QUARTER),
        lines("Overdue after", "Silence after which an operation is overdue, where it was learned.",
              {"{{source}} {{kind}}": "max by (source, kind) (esc_receiver_operation_limit_seconds)"},
              unit="s", width=QUARTER),
        lines(
            "ESCs that are asked", "Sweeps an hour, by what came of them.",
            {"{{source}} {{outcome}}":
             "3600 * sum by (source, outcome) (rate(esc_receiver_reconcile_sweeps_total[$__rate_interval]))"},
            width=THIRD,
        ),
        lines(
            "Mended by asking", "Ledger entries a minute that an ESC's answer brought about.",
            {"{{source}} {{entity}}":
             "60 * sum by (source, entity) (rate(esc_receiver_reconcile_changes_total[$__rate_interval]))"},
            width=THIRD,
        ),
        lines(
            "Missing at an ESC, 1 h", "Deployments that it did not show, and that were not believed gone.",
            {"{{source}}": "sum by (source) (increase(esc_receiver_reconcile_missing_total[1h]))"},
            width=THIRD,
        ),
        lines(
            "What recoveries try", "Attempts a minute, and how they went.",
            {"{{step}} {{outcome}}":
             "60 * sum by (step, outcome) (rate(esc_receiver_recovery_attempts_total[$__rate_interval]))"},
            width=THIRD,
        ),
        lines(
            "Late and repeated messages", "Callbacks a second that changed nothing, or came too late to.",
            {"{{outcome}}": "sum by (outcome) "
             '(rate(esc_receiver_stored_total{outcome=~"late|duplicate|unclassified|malformed"}[$__rate_interval]))'},
            unit="ops", width=THIRD,
        ),
        lines(
            "Dead letters that wait", "Malformed and unclassified callbacks that nobody has acknowledged.",
            {"{{source}}": "max by (source) (esc_receiver_quarantine_unacknowledged_callbacks) > 0"},
            width=THIRD,
        ),
        rows(
            "Slowest operations", "Of those that began in the time that is shown.",
            f"SELECT {COLUMNS}\nFROM grafana_operations\n"
            "WHERE first_seen_at BETWEEN $__timeFrom() AND $__timeTo() AND ended_at IS NOT NULL\n"
            "ORDER BY seconds DESC\nLIMIT 25",
            {"deployment": TO_DEPLOYMENT},
        ),
        rows(
            "Operations under way", "Longest under way first.",
            f"SELECT {COLUMNS}\nFROM grafana_operations\nWHERE state = 'OPEN'\nORDER BY first_seen_at\nLIMIT 100",
            {"deployment": TO_DEPLOYMENT}, width=HALF,
        ),
        rows(
            "Overdue operations", "Silent for too long: their end may be lost.",
            f"SELECT {COLUMNS}\nFROM grafana_operations\nWHERE state = 'OVERDUE'\nORDER BY first_seen_at\nLIMIT 100",
            {"deployment": TO_DEPLOYMENT}, width=HALF,
        ),
        rows(
            "Failed operations", "Of those that began in the time that is shown, latest first.",
            f"SELECT {COLUMNS}, status_code, status_message\nFROM grafana_operations\n"
            "WHERE first_seen_at BETWEEN $__timeFrom() AND $__timeTo() AND state = 'FAILED'\n"
            "ORDER BY first_seen_at DESC\nLIMIT 50",
            {"deployment": TO_DEPLOYMENT},
        ),
    ],
)  # fmt: skip
