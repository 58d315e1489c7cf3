"""Board 4: the way of a callback step by step, what holds it up, and how full everything is."""

from __future__ import annotations

from collections.abc import Mapping

from tools.dashboards.parts import HALF, QUARTER, SMALL, THIRD, Board, event, lines, number, question, series_variable

OF = '{instance=~"$instance"}'
MODES = event("Spooling", "orange", 'max(max_over_time(esc_receiver_mode{mode="spooling"}[$__rate_interval])) == 1')


def _rate(metric: str, *by: str, more: str = "") -> str:
    return f'sum by ({", ".join(by)}) (rate({metric}{{instance=~"$instance"{more}}}[$__rate_interval]))'


def _quantiles(metric: str, *quantiles: float) -> Mapping[str, str]:
    return {f"p{100 * q:g}": f"histogram_quantile({q}, {_rate(metric + '_bucket', 'le')})" for q in quantiles}


BOARD = Board(
    uid="esc-receiver",
    title="ESC · Receiver",
    variables=[series_variable("instance", "instance", "esc_receiver_build_info")],
    events=[MODES],
    needs_postgres=False,
    panels=[
        question(
            "**Is every callback kept, how quickly, and what would stop it?** From left to right and top to bottom "
            "the way of a callback: in, read, waiting, committed or spooled, drained; then what it leans on."
        ),
        number("Received", "Callbacks a second.", _rate("esc_receiver_received_total"), unit="ops"),
        number("Refused", "Callbacks a second that were not kept.", _rate("esc_receiver_refused_total"), unit="ops",
               warn=0.01, alarm=1),
        number("In the spool", "Callbacks that PostgreSQL has yet to take.",
               f"sum(esc_receiver_spool_callbacks{OF})", warn=1, alarm=100_000),
        number("Spool used", "Of `spool_bytes_max`.",
               f"max(esc_receiver_spool_bytes{OF} / esc_receiver_spool_limit_bytes{OF})", unit="percentunit",
               warn=0.5, alarm=0.8),
        number("Receivers", "That are scraped.", f"count(esc_receiver_build_info{OF})"),
        number("Without PostgreSQL", "Receivers that PostgreSQL does not answer.",
               f"sum(1 - esc_receiver_postgres_up{OF})", warn=1, alarm=1),
        lines("Received by channel", "Callbacks a second.",
              {"{{channel}}": _rate("esc_receiver_received_total", "channel")}, unit="ops", width=THIRD),
        lines("Kept", "What became of them.", {"{{outcome}}": _rate("esc_receiver_stored_total", "outcome")},
              unit="ops", stacked=True, width=THIRD),
        lines(
            "Turned away", "Why callbacks were not kept, and why requests were no callbacks.",
            {"{{reason}}": _rate("esc_receiver_refused_total", "reason") + " > 0",
             "head: {{reason}}": _rate("esc_receiver_rejected_before_routing_total", "reason") + " > 0",
             "all": _rate("esc_receiver_refused_total")}, unit="ops", width=THIRD,
        ),
        lines("Answer", "From head to answer, of callbacks that were kept.",
              _quantiles("esc_receiver_request_seconds", 0.5, 0.95, 0.99), unit="s", width=THIRD, exemplars=True),
        lines("Read", "Reading one body.", _quantiles("esc_receiver_parse_seconds", 0.5, 0.99), unit="s", width=THIRD),
        lines("Commit", "One transaction.", _quantiles("esc_receiver_commit_seconds", 0.5, 0.99), unit="s",
              width=THIRD),
        lines(
            "Waiting", "Callbacks in hand, those waiting for a transaction, and most that may.",
            {"in flight": f"sum(esc_receiver_in_flight{OF})", "waiting": f"sum(esc_receiver_queue_callbacks{OF})",
             "limit": f"sum(esc_receiver_queue_limit_callbacks{OF})"}, width=THIRD,
        ),
        lines("Batch", "Callbacks in one transaction.", _quantiles("esc_receiver_batch_callbacks", 0.5, 0.99),
              width=THIRD),
        lines("Commits that failed at first", "By reason.",
              {"{{reason}}": _rate("esc_receiver_commit_failures_total", "reason")}, unit="ops", width=THIRD),
        lines("Mode", "The way that callbacks take.", {"{{mode}}": f"sum by (mode) (esc_receiver_mode{OF})"},
              stacked=True, width=THIRD),
        lines(
            "Spool", "Callbacks in it, and those found in it at a start.",
            {"{{instance}}": f"esc_receiver_spool_callbacks{OF}",
             "found at start": f"sum(esc_receiver_recovered_total{OF})",
             "drained a second": _rate("esc_receiver_drained_total"),
             "refused by PostgreSQL": f"sum(esc_receiver_spool_refused_callbacks{OF})",
             "lost": f"sum(esc_receiver_spool_lost_total{OF})",
             "in hand of killed workers": f"sum(esc_receiver_unaccounted_total{OF})"}, width=THIRD,
        ),
        lines("Age of the spool", "Of the oldest callback in it.",
              {"{{instance}}": f"(time() - esc_receiver_spool_oldest_timestamp_seconds{OF}) * "
               f"(esc_receiver_spool_oldest_timestamp_seconds{OF} > bool 0)"}, unit="s", width=THIRD),
        lines(
            "To the spool and out of it", "One batch each, 99 of 100.",
            {"in": f"histogram_quantile(0.99, {_rate('esc_receiver_spool_seconds_bucket', 'le')})",
             "out": f"histogram_quantile(0.99, {_rate('esc_receiver_drain_seconds_bucket', 'le')})"},
            unit="s", width=THIRD,
        ),
        lines("Disk of the spool", "What is free.", {"{{instance}}": f"esc_receiver_spool_free_bytes{OF}"},
              unit="bytes", width=THIRD),
        lines("Size of bodies", "As decoded.", _quantiles("esc_receiver_body_bytes", 0.5, 0.99), unit="bytes",
              width=THIRD),
        lines("Event loop", "How late it turns: what every request waits for.",
              _quantiles("esc_receiver_loop_lag_seconds", 0.5, 0.99), unit="s", width=QUARTER),
        lines("Log", "Lines dropped a second: nobody took them, or they could not be written.",
              {"{{instance}}": f"rate(esc_receiver_log_lines_dropped_total{OF}[$__rate_interval])"}, width=QUARTER),
        lines("Processor", "Cores in use.", {"{{instance}}": f"rate(process_cpu_seconds_total{OF}[$__rate_interval])"},
              width=QUARTER),
        lines("Memory", "Resident.", {"{{instance}}": f"process_resident_memory_bytes{OF}"}, unit="bytes",
              width=QUARTER),
        lines(
            "Connections to PostgreSQL", "For writing, and most there may be.",
            {"{{state}}": f"sum by (state) (esc_receiver_postgres_connections{OF})",
             "limit": f"sum(esc_receiver_postgres_limit_connections{OF})"}, width=THIRD,
        ),
        lines(
            "PostgreSQL and NATS", "1 while they answer.",
            {"PostgreSQL {{instance}}": f"esc_receiver_postgres_up{OF}",
             "NATS {{instance}}": f"esc_receiver_nats_up{OF}"},
            width=THIRD,
        ),
        lines(
            "Database", "Its size, on PostgreSQL's disk.", {"size": "max(esc_receiver_database_bytes)"}, unit="bytes",
            width=THIRD,
        ),
        lines("Certificate", "For how long the listener's certificate is valid; nothing without TLS.",
              {"{{instance}}": "(esc_receiver_tls_certificate_expiry_timestamp_seconds > 0) - time()"}, unit="s",
              width=QUARTER),
        lines("Standbys", "Standbys of PostgreSQL, and whether commits wait for any.",
              {"standbys": "max(esc_receiver_postgres_standbys)",
               "waited for": "max(esc_receiver_postgres_synchronous_standbys_named)"}, width=QUARTER),
        lines("Partitions ahead", "For how long there are partitions.",
              {"{{table}}": "min by (table) (esc_receiver_partitions_end_timestamp_seconds) - time()"}, unit="s",
              width=QUARTER),
        lines(
            "Partitions behind", "How old the oldest partition is, and how long rows are kept.",
            {"{{table}}": "time() - min by (table) (esc_receiver_partitions_begin_timestamp_seconds)",
             "kept {{table}}": "max by (table) (esc_receiver_retention_seconds)"}, unit="s", width=QUARTER,
        ),
        lines("Partitions that stay", "Past retention by the clock, but too few days followed them.",
              {"{{table}}": "max by (table) (esc_receiver_retention_waiting_partitions)"}, width=HALF),
        lines(
            "Clocks", "The machine's before PostgreSQL's; and how far received_at is before it, after it was set back.",
            {"{{instance}} before PostgreSQL": f"esc_receiver_clock_skew_seconds{OF}",
             "{{instance}} received_at": f"esc_receiver_clock_ahead_seconds{OF}"}, unit="s", width=HALF,
        ),
        lines("Workers", "Those that serve; and those that died and were started again.",
              {"{{instance}}": f"sum by (instance) (esc_receiver_worker_up{OF})",
               "died {{instance}} {{worker}}":
                   f"increase(esc_receiver_worker_restarts_total{OF}[$__rate_interval]) > 0"},
              width=QUARTER),
        lines("Callbacks of each worker", "A second; even when the kernel divides connections evenly.",
              {"{{instance}} {{worker}}": f"rate(esc_receiver_worker_received_callbacks{OF}[$__rate_interval])"},
              unit="ops", width=QUARTER),
        lines("Processor of each worker", "Cores in use: at 1 a worker can do no more.",
              {"{{instance}} {{worker}}": f"rate(esc_receiver_worker_cpu_seconds{OF}[$__rate_interval])"},
              width=QUARTER),
        lines("Memory of each worker", "Resident.",
              {"{{instance}} {{worker}}": f"esc_receiver_worker_resident_bytes{OF}"}, unit="bytes", width=QUARTER),
        lines("Questions to the API", "By status.", {"{{status}}": _rate("esc_receiver_queries_total", "status")},
              unit="ops", width=THIRD),
        lines("Time of a question", "99 of 100, by endpoint.",
              {"{{endpoint}}": "histogram_quantile(0.99, "
               f"{_rate('esc_receiver_query_seconds_bucket', 'le', 'endpoint')}) > 0"}, unit="s", width=THIRD),
        lines("What runs", "Receivers by version.",
              {"{{version}} on Python {{python}}": f"count by (version, python) (esc_receiver_build_info{OF})"},
              width=THIRD),
        number("Up since", "Of the receiver started last.", f"time() - max(process_start_time_seconds{OF})", unit="s",
               width=SMALL),
    ],
)  # fmt: skip
