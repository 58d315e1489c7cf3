-- name: row
SELECT {row} FROM webhooks WHERE name = $1;

-- name: rows
SELECT {row} FROM webhooks ORDER BY name;

-- name: begin
-- A webhook that nothing is known of begins behind $2, where this message stands.
INSERT INTO webhooks (name, place_sequence, place_subject, place_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET
    place_sequence = excluded.place_sequence, place_subject = excluded.place_subject, place_id = excluded.place_id
WHERE webhooks.place_sequence IS NULL;

-- name: placed
-- Its place was made to be this one: what somebody asked for is done, and there is no trouble.
UPDATE webhooks SET place_sequence = $2, place_subject = $3, place_id = $4, resend_from = NULL, trouble = NULL
WHERE name = $1 AND revision = $5;

-- name: note
-- How it goes, unless a command came in between.
UPDATE webhooks SET
    place_sequence = $3, place_subject = $4, place_id = $5, failing_sequence = $6, failing_since = $7,
    delivered_at = $8, delivered_sequence = $9, delivered_id = $10, error_at = $11, error = $12
WHERE name = $1 AND revision = $2;

-- name: trouble
UPDATE webhooks SET trouble = $3 WHERE name = $1 AND revision = $2 AND trouble IS DISTINCT FROM $3;

-- name: disable
UPDATE webhooks SET disabled_at = clock_timestamp(), disabled_because = $3
WHERE name = $1 AND revision = $2 AND disabled_at IS NULL;

-- name: enable
-- It begins where it stood, or behind what somebody asks for ($2), and nothing of before counts against it.
INSERT INTO webhooks (name, revision, resend_from) VALUES ($1, 1, $2)
ON CONFLICT (name) DO UPDATE SET
    revision = webhooks.revision + 1, disabled_at = NULL, disabled_because = NULL, trouble = NULL,
    failing_sequence = NULL, failing_since = NULL, resend_from = coalesce(excluded.resend_from, webhooks.resend_from)
RETURNING revision;
