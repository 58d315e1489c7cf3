-- How many were in which state at the end of each day (UTC), counted some days later by one receiver: a moment long ago is one of
-- these counts and the moves of a part of a day. The moves by day, which were in no release, needed what is now to be counted.
CREATE TABLE counts_by_day (
    day     date    NOT NULL,
    entity  text    NOT NULL,
    state   text    NOT NULL,
    rows    bigint  NOT NULL,
    PRIMARY KEY (day, entity, state)
);
DROP TABLE moves_by_day;
