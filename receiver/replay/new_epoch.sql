-- name: alone
-- Until the commit nobody writes a batch: those that have begun are waited for, the others wait, or go to the spool.
LOCK TABLE relay IN ACCESS EXCLUSIVE MODE;

-- name: published
-- These are in the stream, whatever the backup remembered.
DELETE FROM outbox WHERE id = ANY($1::uuid[]);

-- name: pending
-- Entries of the ledger that were never published, in order.
SELECT o.id FROM outbox AS o JOIN transitions AS t ON t.id = o.id ORDER BY o.position;

-- name: renumber
-- They are given numbers that nobody has seen.
UPDATE transitions SET sequence = sequence + $2 WHERE id = ANY($1::uuid[]) RETURNING entity, entity_id;

-- name: drop_pending
-- Their messages are made anew.
DELETE FROM outbox WHERE id = ANY($1::uuid[]);

-- name: declare
-- From now on no entry has a number up to the floor, and what the stream has is acknowledged.
WITH noted AS (
    INSERT INTO epochs (sequence_floor, lost_messages, first_sequence, last_sequence)
    SELECT greatest(sequence_floor, $1), $2, $3, $4 FROM relay
    RETURNING number, sequence_floor
)
UPDATE relay
SET sequence_floor = noted.sequence_floor, stream = $5, stream_sequence = $6, message_sequence = $6, message_id = $7,
    marked_at = now()
FROM noted, set_config('synchronous_commit', 'on', true)
RETURNING noted.number;

-- name: floor
-- What it is now.
SELECT sequence_floor FROM relay;
