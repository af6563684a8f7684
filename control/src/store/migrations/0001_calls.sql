CREATE TABLE calls (
    id TEXT PRIMARY KEY NOT NULL,
    carrier TEXT NOT NULL,
    carrier_call_id TEXT NOT NULL,
    stream_id TEXT,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    direction TEXT NOT NULL,
    scenario TEXT NOT NULL,
    status TEXT NOT NULL,
    carrier_status TEXT,
    carrier_sequence INTEGER,
    carrier_duration_s INTEGER,
    announced_ms INTEGER NOT NULL,
    answered_ms INTEGER,
    ended_ms INTEGER,
    end_reason TEXT,
    duration_ms INTEGER,
    recording TEXT,
    journal TEXT,
    lost_entries INTEGER NOT NULL DEFAULT 0,
    loss_notes TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX calls_by_carrier_call ON calls (carrier_call_id, id);

CREATE INDEX calls_running ON calls (id) WHERE ended_ms IS NULL;

CREATE TABLE turns (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    turn INTEGER NOT NULL,
    speaker TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER NOT NULL,
    text TEXT NOT NULL,
    unheard TEXT NOT NULL,
    spoken_by TEXT NOT NULL,
    response_ms INTEGER,
    PRIMARY KEY (call, turn)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_call ON events (call, place);

CREATE TABLE answers (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (call, name)
) STRICT, WITHOUT ROWID;
