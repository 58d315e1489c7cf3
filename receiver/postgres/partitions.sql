-- name: partitions
-- The partitions of a table by name, with the time each one ends.
SELECT c.relname AS name, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
WHERE inhparent = $1::text::regclass
ORDER BY name;
