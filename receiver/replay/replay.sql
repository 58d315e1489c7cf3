-- name: make_selection
-- Which callbacks a run is about, in order; gone with the connection.
CREATE TEMPORARY TABLE selection (number bigint PRIMARY KEY, receipt uuid NOT NULL, received_at timestamptz NOT NULL);

-- name: select
-- Those received from $1 until before $2, of source $3; null: no such limit. $4: only of those that were never applied;
-- of this outcome, rule and reason ($5, $6, $7), with these receipts ($8); $9: only what came to an unknown source.
INSERT INTO selection
SELECT row_number() OVER (ORDER BY received_at, receipt), receipt, received_at
FROM callbacks
WHERE channel <> 'reconcile' AND received_at >= coalesce($1::timestamptz, '-infinity') AND received_at < coalesce($2::timestamptz, 'infinity')
    AND source = coalesce($3::text, source)
    AND (NOT $4::boolean OR outcome IN ('malformed', 'unclassified'))
    AND outcome = coalesce($5::text, outcome) AND rule = coalesce($6::text, rule) AND ($7::text IS NULL OR $7 IN (reason, reason_without_place(reason)))
    AND ($8::uuid[] IS NULL OR receipt = ANY($8::uuid[]))
    AND (NOT $9::boolean OR 'unknown-source' = ANY(notes));

-- name: portion
-- The next $2 of the selection after number $1.
SELECT receipt, received_at FROM selection WHERE number > $1 AND number <= $1 + $2 ORDER BY number;

-- name: callbacks
-- Kept callbacks by receipt.
SELECT receipt, received_at, source, channel, remote, ref, headers, body, redacted, transaction_id, status_code, status_message,
       family, trigger, deployment, vm_name, outcome, rule, reason, notes
FROM callbacks
WHERE receipt = ANY($1::uuid[]) AND received_at BETWEEN $2 AND $3;

-- name: lock_callbacks
-- The same, locked: of two runs at a time, the second sees what the first made of them. Locked before any entity.
SELECT receipt, received_at, source, channel, remote, ref, headers, body, redacted, transaction_id, status_code, status_message,
       family, trigger, deployment, vm_name, outcome, rule, reason, notes
FROM callbacks
WHERE receipt = ANY($1::uuid[]) AND received_at BETWEEN $2 AND $3
ORDER BY receipt
FOR UPDATE;

-- name: done
-- What these callbacks have written in the ledger of these entities.
SELECT receipt, entity_id, change, rule
FROM transitions
WHERE entity_id = ANY($1::uuid[]) AND receipt = ANY($2::uuid[]);

-- name: rejudge
-- What is known of callbacks beside what arrived. This table is no ledger: it tells how each is read and judged today.
UPDATE callbacks AS c
SET (source, transaction_id, status_code, status_message, family, trigger, deployment, vm_name, outcome, rule, reason, notes)
  = (n.source, n.transaction_id, n.status_code, n.status_message, n.family, n.trigger, n.deployment, n.vm_name, n.outcome, n.rule, n.reason, n.notes)
FROM unnest($1::callback_row[]) AS n
WHERE c.receipt = n.receipt AND c.received_at = n.received_at;

-- name: acknowledge
-- Dead letters that nobody has acknowledged: now ($4) this person ($5) has, with a note ($6).
INSERT INTO acknowledgements (receipt, acknowledged_at, acknowledged_by, acknowledged_note)
SELECT receipt, $4, $5, $6
FROM callbacks
WHERE receipt = ANY($1::uuid[]) AND received_at BETWEEN $2 AND $3 AND outcome IN ('malformed', 'unclassified')
ON CONFLICT (receipt) DO NOTHING;
