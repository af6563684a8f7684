CREATE TABLE cloned_voices (
    number INTEGER PRIMARY KEY,
    caller TEXT NOT NULL,
    voice_id TEXT NOT NULL,
    maker TEXT NOT NULL,
    call TEXT,
    created_ms INTEGER NOT NULL,
    creation_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    dropped_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX cloned_voices_cached ON cloned_voices (caller) WHERE dropped_ms IS NULL;

CREATE TABLE webhooks_seen (
    source TEXT NOT NULL,
    event TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    call TEXT,
    cache TEXT,
    body TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (source, event)
) STRICT, WITHOUT ROWID;
