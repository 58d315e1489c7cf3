-- A database that was restored from an older backup has forgotten entries that consumers of the feed have seen. An epoch
-- cures it: no entry made from then on has the floor as its number, or a lower one, whatever its entity had before.
ALTER TABLE relay ADD COLUMN sequence_floor bigint NOT NULL DEFAULT 0;

-- One row for each time that it happened: what the stream had and the ledger had not, and where it stands in the stream.
CREATE TABLE epochs (
    number           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL DEFAULT now(),
    sequence_floor   bigint      NOT NULL,
    lost_messages    bigint      NOT NULL,
    first_sequence   bigint      NOT NULL,
    last_sequence    bigint      NOT NULL
);
