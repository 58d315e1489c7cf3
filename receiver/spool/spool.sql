-- name: create_callbacks
-- A position is given once and never again; the order of positions is the order of arrival.
CREATE TABLE callbacks (
    position INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    head TEXT NOT NULL,
    body BLOB NOT NULL
);

-- name: create_readable
-- For whoever looks with the sqlite3 program.
CREATE VIEW readable AS
SELECT position,
       json_extract(head, '$.received_at') AS received_at,
       json_extract(head, '$.receipt') AS receipt,
       json_extract(head, '$.source') AS source,
       json_extract(head, '$.transaction_id') AS transaction_id,
       length(body) AS body_bytes,
       CAST(body AS TEXT) AS body
FROM callbacks
ORDER BY position;

-- name: count_rows
-- How many there are, and the newest.
SELECT count(*), max(position) FROM callbacks;

-- name: first
-- The oldest behind a position.
SELECT position, checksum, head, body FROM callbacks WHERE position > ? ORDER BY position LIMIT ?;

-- name: every_row
-- To copy them elsewhere.
SELECT position, checksum, head, body FROM callbacks ORDER BY position;

-- name: delete
-- These are kept elsewhere now.
DELETE FROM callbacks WHERE position IN (SELECT value FROM json_each(?));

-- name: delete_after
-- What a commit wrote that was then reported as failed.
DELETE FROM callbacks WHERE position > ?;

-- name: measure
-- Pages in use, pages in all, and the oldest callback.
SELECT pages.page_count - free.freelist_count, pages.page_count, oldest.position, oldest.head
FROM pragma_page_count AS pages, pragma_freelist_count AS free
LEFT JOIN (SELECT position, head FROM callbacks ORDER BY position LIMIT 1) AS oldest ON TRUE;

-- name: gaps
-- Positions are given one after the other while a program runs; a much wider gap is a pause between two runs.
SELECT coalesce(sum(gap), 0)
FROM (SELECT position - lag(position) OVER (ORDER BY position) - 1 AS gap FROM callbacks)
WHERE gap < 1000000;
