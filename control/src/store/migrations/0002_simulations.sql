CREATE TABLE simulations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    status TEXT NOT NULL,
    scenario TEXT NOT NULL,
    request TEXT NOT NULL,
    result TEXT
) STRICT;
