-- Open operations that may have been silent for too long. Those found so (OVERDUE) are left out: an end that was lost
-- never comes, so they stay for ever, and each look for more would pass over all of them.
DROP INDEX operations_open;
CREATE INDEX operations_open ON operations (first_seen_at) WHERE state = 'OPEN';
CREATE INDEX operations_overdue ON operations (last_seen_at) WHERE state = 'OVERDUE';
