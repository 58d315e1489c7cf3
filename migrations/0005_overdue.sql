-- Open operations that may have been silent for too long. Those found so (OVERDUE) are left out: an end that was lost
-- never comes, so they stay for ever, and each look for more would pass over all of them.
DROP INDEX operations_open;
CREATE INDEX operations_open ON operations (first_seen_at) WHERE state = 'OPEN';
-- Not by last_seen_at, which every message changes: an index on it, even one that never holds the row, makes each update
-- of an operation a new entry in all its indexes.
CREATE INDEX operations_overdue ON operations (first_seen_at) WHERE state = 'OVERDUE';
