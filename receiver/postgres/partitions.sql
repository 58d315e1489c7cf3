-- name: partitions
-- The partitions of a table in the order of time, and when each one begins and ends.
SELECT c.relname AS name,
       substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)''\)')::timestamptz AS begins_at,
       substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
WHERE inhparent = $1::text::regclass
ORDER BY begins_at;

-- name: clock
-- What PostgreSQL takes for the time, and when the callback that was stored last was received.
SELECT clock_timestamp() AS now,
       (SELECT received_at FROM callbacks ORDER BY xid DESC, position DESC LIMIT 1) AS newest_at;
