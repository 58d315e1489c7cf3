-- name: empty
-- Whatever waits is in the ledger too, or among the callbacks.
DELETE FROM outbox;

-- name: since
-- When the oldest was written that is to be published again: $1 seconds ago (0: ever), or when one did that waits.
SELECT least(CASE WHEN $1::float = 0 THEN '-infinity' ELSE now() - make_interval(secs => $1) END, min(at)) FROM outbox;

-- name: how_many
-- Ledger entries, and callbacks that were not understood, since $1, as this transaction sees them.
SELECT (SELECT count(*) FROM transitions WHERE at >= $1) AS entries,
       (SELECT count(*) FROM callbacks WHERE outcome IN ('malformed', 'unclassified') AND received_at >= $1) AS callbacks;

-- name: entries
-- The ledger since $1, in the order in which it became visible.
SELECT {transition}
FROM transitions
WHERE at >= $1
ORDER BY xid, position;

-- name: these_entries
-- Some of it.
SELECT id, at, entity, entity_id, source, tenant, deployment, incarnation, name, sequence, from_state, to_state, change,
       trigger, rule, reason, receipt, operation, ref
FROM transitions
WHERE id = ANY($1::uuid[]);

-- name: not_understood
-- Callbacks that fit no rule or could not be read, in the same order.
SELECT receipt, received_at, source, channel, remote, ref, headers, body, redacted, notes, outcome, reason, rule
FROM callbacks
WHERE outcome IN ('malformed', 'unclassified') AND received_at >= $1
ORDER BY xid, position;

-- name: these_not_understood
-- Some of them.
SELECT receipt, received_at, source, channel, remote, ref, headers, body, redacted, notes, outcome, reason, rule
FROM callbacks
WHERE outcome IN ('malformed', 'unclassified') AND receipt = ANY($1::uuid[]);

-- name: hold
-- Nobody else fills the outbox meanwhile.
SELECT FROM relay FOR UPDATE;

-- name: before_all
-- The position before all that wait.
SELECT least(min(position), 0) - 1 FROM outbox;

-- name: post
-- Before everything that is there: what comes meanwhile, comes after.
INSERT INTO outbox (position, id, at, subject, headers, payload, kv_key, kv_ended)
OVERRIDING SYSTEM VALUE
SELECT $1 + number, id, at, subject, headers::json, payload::json, kv_key, kv_ended
FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[])
    WITH ORDINALITY AS posted (id, at, subject, headers, payload, kv_key, kv_ended, number);

-- name: begin_again
-- From now on this stream is the one published to, and nothing in it is ours yet.
UPDATE relay
SET stream = $1, stream_sequence = $2, message_sequence = NULL, message_id = NULL, marked_at = now();

-- name: how_many_left
-- Of what was posted, that which is not published yet; what came since has later positions.
SELECT count(*) FROM outbox WHERE position < 0;
