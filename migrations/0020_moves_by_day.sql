-- Moves of a whole day, counted once by one receiver some days later: so how many were in which state at a moment long ago is
-- known without a look at all entries since.
CREATE TABLE moves_by_day (
    day         date    NOT NULL,
    entity      text    NOT NULL,
    from_state  text    NOT NULL,
    to_state    text    NOT NULL,
    moves       bigint  NOT NULL,
    PRIMARY KEY (day, entity, from_state, to_state)
);

-- Entries of a span of time lie together, so that a summary of each range of pages is enough; it costs those who write next
-- to nothing.
CREATE INDEX transitions_by_time ON transitions USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
