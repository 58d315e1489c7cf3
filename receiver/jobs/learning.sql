-- name: claim
-- Whoever finds that nobody has learned for $1 does it.
UPDATE learning SET learned_at = clock_timestamp() WHERE learned_at < clock_timestamp() - $1::interval RETURNING true;

-- name: read_all
-- Every row of a table is looked at, which the settings of a writing session would not have.
SET LOCAL enable_seqscan = on;

-- name: forget
DELETE FROM learned_durations;

-- name: learn
-- How long operations took that succeeded within $1 days, by source and kind, and by their number of VMs in classes that
-- double; of $2 at least. What was revised after its end, or whose end was never told, took who knows how long.
INSERT INTO learned_durations (source, kind, vms_max, samples, usual_s, p99_s, longest_s)
SELECT source, kind, coalesce(vms_max, 0), count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s), percentile_cont(0.99) WITHIN GROUP (ORDER BY took_s), max(took_s)
FROM (
    SELECT source, kind, power(2, ceil(round(log(2, greatest(vms_seen, 1)), 9)))::bigint AS vms_max,
           extract(epoch FROM ended_at - first_seen_at)::float AS took_s
    FROM operations
    WHERE state = 'SUCCEEDED' AND NOT revised AND memory -> 'inferred' IS NULL
        AND ended_at > clock_timestamp() - make_interval(days => $1)
) AS succeeded
GROUP BY GROUPING SETS ((source, kind), (source, kind, vms_max))
HAVING count(*) >= $2;

-- name: learned
SELECT source, kind, vms_max, samples, usual_s, p99_s, longest_s FROM learned_durations;

-- name: forget_silences
DELETE FROM learned_silences;

-- name: drop_looks
DELETE FROM source_silences WHERE hour < clock_timestamp() - make_interval(days => $1);

-- name: learn_silences
-- How old the last message of a source was at this hour of the week: what half of the looks of $1 days found at most, and 99 of
-- 100. Of $2 looks at least, and of two weeks: what an hour was like once is not usual.
WITH looks AS (
    SELECT source, ((extract(isodow FROM hour AT TIME ZONE 'UTC') - 1) * 24 + extract(hour FROM hour AT TIME ZONE 'UTC'))::smallint AS hour_of_week,
           class, looks, hour
    FROM source_silences
    WHERE hour >= clock_timestamp() - make_interval(days => $1)
), ranked AS (
    SELECT source, hour_of_week, class, hour,
           sum(looks) OVER (PARTITION BY source, hour_of_week ORDER BY class) AS up_to,
           sum(looks) OVER (PARTITION BY source, hour_of_week) AS samples
    FROM looks
)
INSERT INTO learned_silences (source, hour_of_week, samples, usual_s, p99_s)
SELECT source, hour_of_week, max(samples), power(1.25, min(class) FILTER (WHERE up_to >= 0.5 * samples)),
       power(1.25, min(class) FILTER (WHERE up_to >= 0.99 * samples))
FROM ranked
GROUP BY source, hour_of_week
HAVING max(samples) >= $2 AND count(DISTINCT hour) > 1;

-- name: count_days
-- How many were in which state at the end of each day (UTC) that had moves, is over for two days and was not counted yet: as
-- many as now, without those that came to the state since, and with those that left it. What a spool brings later than that
-- is in the counts of the days that are counted after it came.
INSERT INTO counts_by_day (day, entity, state, rows)
WITH bounds AS (
    SELECT coalesce((max(day) + 1)::timestamp AT TIME ZONE 'UTC', '-infinity') AS counted_until,
           date_trunc('day', now(), 'UTC') - interval '2 days' AS over_until
    FROM counts_by_day
), moves AS MATERIALIZED (
    SELECT (at AT TIME ZONE 'UTC')::date AS day, entity, from_state, to_state, count(*) AS rows
    FROM transitions
    WHERE at >= (SELECT counted_until FROM bounds) AND (SELECT counted_until < over_until FROM bounds)
        AND from_state <> to_state AND entity IN ('deployment', 'vm', 'operation')
    GROUP BY 1, 2, 3, 4
), days AS (
    SELECT DISTINCT day FROM moves, bounds WHERE day < (over_until AT TIME ZONE 'UTC')::date
), since AS (
    SELECT day, entity, from_state AS state, rows FROM moves
    UNION ALL
    SELECT day, entity, to_state, -rows FROM moves
), counted AS (
    SELECT 'deployment' AS entity, state, count(*) AS rows FROM deployments GROUP BY state
    UNION ALL
    SELECT 'vm', state, count(*) FROM vms GROUP BY state
    UNION ALL
    SELECT 'operation', state, count(*) FROM operations GROUP BY state
)
SELECT day, entity, state, sum(rows)
FROM (
    SELECT day, entity, state, rows FROM days CROSS JOIN counted
    UNION ALL
    SELECT days.day, entity, state, rows FROM days JOIN since ON since.day > days.day
) AS summed
WHERE state <> 'UNSEEN'
GROUP BY day, entity, state
HAVING sum(rows) <> 0;
