-- What is only ever written and read whole is kept as it is written: to make jsonb of it, and text again, cost more than
-- all else that PostgreSQL does with such a row.
ALTER TABLE operations ALTER COLUMN memory TYPE json;
ALTER TABLE deployments
    ALTER COLUMN last_operation TYPE json, ALTER COLUMN vms TYPE json, ALTER COLUMN extra TYPE json, ALTER COLUMN memory TYPE json;
ALTER TABLE vms
    ALTER COLUMN interfaces TYPE json, ALTER COLUMN last_operation TYPE json, ALTER COLUMN extra TYPE json, ALTER COLUMN memory TYPE json;
ALTER TABLE resources ALTER COLUMN attributes TYPE json, ALTER COLUMN memory TYPE json;
ALTER TABLE callbacks ALTER COLUMN headers TYPE json;

-- A row of 2 kB would be compressed, which costs more than its bytes: these are changed or gone soon.
ALTER TABLE outbox SET (toast_tuple_target = 8160);
ALTER TABLE deployments SET (toast_tuple_target = 8160);
ALTER TABLE vms SET (toast_tuple_target = 8160);
