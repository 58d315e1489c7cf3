-- What is only ever written and read whole is kept as it is written: to make jsonb of it, and text again, cost more than
-- all else that PostgreSQL does with such a row.
ALTER TABLE operations ALTER COLUMN memory TYPE json;
ALTER TABLE deployments ALTER COLUMN memory TYPE json;
ALTER TABLE vms ALTER COLUMN memory TYPE json;
ALTER TABLE resources ALTER COLUMN memory TYPE json;
ALTER TABLE callbacks ALTER COLUMN headers TYPE json;

-- A row of 2 kB would be compressed, which costs more than its bytes: these are changed or gone soon.
ALTER TABLE outbox SET (toast_tuple_target = 8160);
ALTER TABLE deployments SET (toast_tuple_target = 8160);
ALTER TABLE vms SET (toast_tuple_target = 8160);
