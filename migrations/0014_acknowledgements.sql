-- What 0013 keeps, in a table of its own: receivers of the previous release, which may still run, write callbacks as rows of
-- that table's type, and could not while it had more columns. An acknowledgement outlives its callback; there is one for each
-- that a person, or a program in a person's name, has looked at.
CREATE TABLE acknowledgements (
    receipt           uuid        PRIMARY KEY,
    acknowledged_at   timestamptz NOT NULL,
    acknowledged_by   text        NOT NULL,
    acknowledged_note text        NOT NULL
);
INSERT INTO acknowledgements
SELECT receipt, acknowledged_at, coalesce(acknowledged_by, ''), coalesce(acknowledged_note, '')
FROM callbacks
WHERE acknowledged_at IS NOT NULL;
ALTER TABLE callbacks
    DROP COLUMN acknowledged_at,
    DROP COLUMN acknowledged_by,
    DROP COLUMN acknowledged_note;
CREATE VIEW looked_at_callbacks AS
SELECT c.*, a.acknowledged_at, a.acknowledged_by, a.acknowledged_note
FROM callbacks AS c LEFT JOIN acknowledgements AS a ON a.receipt = c.receipt;
