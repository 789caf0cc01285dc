-- Schema 1. `events` is the truth. `conversations` and `runs` are kept beside it so that the list
-- and the recovery need not read it, and change in the same transaction. No semicolon in comments:
-- the statements are split there.

CREATE TABLE conversations (
    id          TEXT PRIMARY KEY,
    title       TEXT NOT NULL,
    folder      TEXT NOT NULL,
    created     REAL NOT NULL,
    updated     REAL NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,
    last_seq    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE events (
    conversation TEXT NOT NULL REFERENCES conversations (id),
    seq          INTEGER NOT NULL,
    at           REAL NOT NULL,
    run          TEXT NOT NULL,
    span         TEXT NOT NULL,
    body         TEXT NOT NULL,
    PRIMARY KEY (conversation, seq)
) WITHOUT ROWID;

-- The text of a part that is still being written, replaced about twice a second.
CREATE TABLE open_parts (
    conversation TEXT NOT NULL,
    part         TEXT NOT NULL,
    at           REAL NOT NULL,
    run          TEXT NOT NULL,
    span         TEXT NOT NULL,
    body         TEXT NOT NULL,
    PRIMARY KEY (conversation, part)
) WITHOUT ROWID;

-- Who is working on a conversation. A row whose process is gone marks a run that was cut off.
CREATE TABLE runs (
    conversation TEXT PRIMARY KEY,
    turn         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    process_began REAL NOT NULL
) WITHOUT ROWID;
