-- Schema 1. A passage's rowid is its document's id times 2^20 plus its place in the document, so
-- a document's passages are a range. No semicolon in comments: the statements are split there.

CREATE TABLE documents (
    id         INTEGER PRIMARY KEY,
    collection TEXT NOT NULL,
    path       TEXT NOT NULL,
    title      TEXT NOT NULL,
    size       INTEGER NOT NULL,
    mtime      INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    problem    TEXT NOT NULL,
    seen       INTEGER NOT NULL,
    UNIQUE (collection, path)
);

CREATE VIRTUAL TABLE passages USING fts5(
    title, heading, body, tokenize = "porter unicode61 remove_diacritics 2"
);

INSERT INTO passages(passages, rank) VALUES ('rank', 'bm25(8.0, 4.0, 1.0)')
