-- Dead letters that somebody has looked at: when, who said so, and what they noted. They stay in the quarantine, and can
-- be replayed; they only do not wait for a person any more.
ALTER TABLE callbacks
    ADD COLUMN acknowledged_at   timestamptz,
    ADD COLUMN acknowledged_by   text,
    ADD COLUMN acknowledged_note text;
