-- Every message that was received and kept, as it came, with what became of it.
-- Partitioned by arrival; no DEFAULT partition: the service makes partitions ahead and on demand.
CREATE TABLE callbacks (
    receipt         uuid        NOT NULL,
    received_at     timestamptz NOT NULL,
    source          text        NOT NULL,
    channel         text        NOT NULL CONSTRAINT callbacks_channel_known CHECK (channel IN ('callback', 'events')),
    remote          text,
    ref             text,
    headers         jsonb       NOT NULL,
    body            bytea       NOT NULL,
    redacted        boolean     NOT NULL,
    transaction_id  text,
    status_code     integer,
    status_message  text,
    family          text        NOT NULL CONSTRAINT callbacks_family_known CHECK (family IN ('deployment', 'esc_event', 'resource', 'unknown')),
    trigger         text,
    deployment      text,
    vm_name         text,
    outcome         text        NOT NULL CONSTRAINT callbacks_outcome_known CHECK (outcome IN ('applied', 'duplicate', 'late', 'unclassified', 'malformed')),
    rule            text        NOT NULL,
    reason          text        NOT NULL,
    notes           text[]      NOT NULL,
    PRIMARY KEY (receipt, received_at)
) PARTITION BY RANGE (received_at);

CREATE INDEX callbacks_by_transaction ON callbacks (source, transaction_id, received_at) WHERE transaction_id IS NOT NULL;
CREATE INDEX callbacks_in_quarantine ON callbacks (received_at) WHERE outcome IN ('malformed', 'unclassified');
