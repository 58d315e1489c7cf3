"""Board 5: whether everything that happened is published, and how far behind that and its readers are."""

from __future__ import annotations

from tools.dashboards.parts import HALF, SMALL, THIRD, Board, event, lines, number, question

LEADER = event("New relay", "purple", "sum(changes(esc_receiver_relay_leader[$__rate_interval])) > 0")

BOARD = Board(
    uid="esc-feed",
    title="ESC · Feed",
    events=[LEADER],
    needs_postgres=False,
    panels=[
        question(
            "**Is everything published, how far behind is it, and who reads it?** The outbox is filled in the same "
            "transaction as the ledger; one receiver, the relay, publishes it in order and forgets what JetStream has."
        ),
        number("Waiting", "Messages in the outbox.", "max(esc_receiver_outbox_messages)", warn=1_000, alarm=100_000),
        number("Oldest", "Age of the oldest message in the outbox.", "max(esc_receiver_outbox_oldest_seconds)",
               unit="s", warn=5, alarm=60),
        number("Relays", "One, and no more.", "sum(esc_receiver_relay_leader)"),
        number("Without NATS", "Receivers that are not connected.", "sum(1 - esc_receiver_nats_up)", warn=1, alarm=1),
        number("In the stream", "Messages.", "max(esc_receiver_stream_messages)"),
        number("Furthest behind", "Messages that the slowest reader has yet to be given.",
               "max(esc_receiver_consumer_pending_messages) or vector(0)", warn=10_000, alarm=1_000_000),
        lines("Published", "Messages a second, acknowledged.",
              {"{{stream}}": "sum by (stream) (rate(esc_receiver_published_total[$__rate_interval]))"}, unit="ops"),
        lines(
            "Lag", "One message, from its ledger entry to its acknowledgement.",
            {f"p{100 * q:g}": f"histogram_quantile({q}, "
             "sum by (le) (rate(esc_receiver_publish_lag_seconds_bucket[$__rate_interval])))" for q in (0.5, 0.99)},
            unit="s",
        ),
        lines("Outbox", "Messages waiting.", {"messages": "max(esc_receiver_outbox_messages)"}, width=THIRD),
        lines("Age of the outbox", "Of its oldest message.", {"oldest": "max(esc_receiver_outbox_oldest_seconds)"},
              unit="s", width=THIRD),
        lines("Relay", "Who it is.", {"{{instance}}": "esc_receiver_relay_leader"}, stacked=True, width=THIRD),
        lines(
            "One batch", "From the first publish to the last acknowledgement.",
            {f"p{100 * q:g}": f"histogram_quantile({q}, "
             "sum by (le) (rate(esc_receiver_publish_seconds_bucket[$__rate_interval])))" for q in (0.5, 0.99)},
            unit="s", width=THIRD,
        ),
        lines("Not acknowledged", "By reason.",
              {"{{reason}}": "sum by (reason) (rate(esc_receiver_publish_failures_total[$__rate_interval]))"},
              unit="ops", width=THIRD),
        lines("NATS", "1 while connected.", {"{{instance}}": "esc_receiver_nats_up"}, width=THIRD),
        lines("Stream", "Messages in it.", {"messages": "max(esc_receiver_stream_messages)"}, width=THIRD),
        lines("Size of the stream", "On NATS's disk.", {"bytes": "max(esc_receiver_stream_bytes)"}, unit="bytes",
              width=THIRD),
        lines("Readers", "Consumers of the stream.", {"consumers": "max(esc_receiver_stream_consumers)"}, width=THIRD),
        lines("Behind", "Messages that a reader has yet to be given.",
              {"{{consumer}}": "max by (consumer) (esc_receiver_consumer_pending_messages)"}, width=HALF),
        lines("Given and not acknowledged", "By reader.",
              {"{{consumer}}": "max by (consumer) (esc_receiver_consumer_unacknowledged_messages)"}, width=HALF),
        lines("Given again", "Messages open for a reader that it was given more than once.",
              {"{{consumer}}": "max by (consumer) (esc_receiver_consumer_redelivered_messages)"}, width=HALF),
        lines("Last acknowledgement", "How long ago, by reader.",
              {"{{consumer}}": "time() - max by (consumer) (esc_receiver_consumer_acknowledged_timestamp_seconds > 0)"},
              unit="s", width=HALF),
        lines(
            "Live feed and waits", "Those who follow `/api/v1/feed`, and requests that wait for an operation to end.",
            {"readers": "sum(esc_receiver_feed_readers)", "waits": "sum(esc_receiver_waits)"}, width=HALF,
        ),
        lines("Readers dropped", "Too slow; they may resume.",
              {"dropped": "sum(rate(esc_receiver_feed_dropped_total[$__rate_interval]))"}, unit="ops", width=HALF),
        lines("Published again", "Messages that the stream had lost, by how it was seen.",
              {"{{loss}}": "sum by (loss) (increase(esc_receiver_feed_mended_total[$__rate_interval]))"}, width=HALF),
        lines("Other publishers", "Messages a second that somebody else published to the feed's stream.",
              {"messages": "sum(rate(esc_receiver_feed_foreign_total[$__rate_interval]))"}, unit="ops", width=HALF),
        lines("Webhooks: deliveries", "A second, by what came of them.",
              {"{{webhook}} {{outcome}}":
               "sum by (webhook, outcome) (rate(esc_receiver_webhook_attempts_total[$__rate_interval])) > 0"},
              unit="ops", width=THIRD),
        lines("Webhooks: pending", "Events that a webhook has yet to take.",
              {"{{webhook}}": "max by (webhook) (esc_receiver_webhook_pending_messages)"}, width=THIRD),
        lines("Webhooks: failing", "Since how long a webhook does not take an event.",
              {"{{webhook}}": "time() - (max by (webhook) (esc_receiver_webhook_failing_timestamp_seconds) > 0)"},
              unit="s", width=THIRD),
        lines("Webhooks: one delivery", "Until its answer or its failure, 99 of 100.",
              {"{{webhook}}": "histogram_quantile(0.99, sum by (webhook, le) "
               "(rate(esc_receiver_webhook_seconds_bucket[$__rate_interval])))"}, unit="s", width=THIRD),
        lines("Webhooks: lag", "From a ledger entry until the webhook took it, 99 of 100.",
              {"{{webhook}}": "histogram_quantile(0.99, sum by (webhook, le) "
               "(rate(esc_receiver_webhook_lag_seconds_bucket[$__rate_interval])))"}, unit="s", width=THIRD),
        lines("Webhooks: disabled", "1 while nothing is sent to it; and messages passed over that are no events.",
              {"{{webhook}}": "max by (webhook) (esc_receiver_webhook_disabled)",
               "{{webhook}} passed over":
               "sum by (webhook) (rate(esc_receiver_webhook_foreign_total[$__rate_interval]))"},
              width=THIRD),
        number("Not fsynced", "Receivers whose NATS acknowledges before it has written to disk (`NATS_MONITOR_URLS`).",
               'sum(esc_receiver_feed_fsynced{state="no"})', warn=1, alarm=1_000, width=SMALL),
        number("Missing", "Messages that the last comparison of stream and ledger did not find.",
               "max(esc_receiver_feed_missing)", warn=1, alarm=1_000, width=SMALL),
        number("Compared", "Time since stream and ledger were compared.",
               "time() - max(esc_receiver_feed_checked_timestamp_seconds > 0)", unit="s", width=SMALL),
        number("Failures, 1 h", "Publishes not acknowledged.", "sum(increase(esc_receiver_publish_failures_total[1h]))",
               warn=1, alarm=100, width=SMALL),
    ],
)  # fmt: skip
