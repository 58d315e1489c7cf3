-- Why a body is malformed is told with the place ("not well-formed (line 3, column 7)"). Bodies that are malformed alike are
-- looked at, acknowledged and replayed together, wherever in each of them the fault is.
CREATE FUNCTION reason_without_place(reason text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT regexp_replace(reason, ' \(line [0-9]+, column [0-9]+\)$', '') $$;
