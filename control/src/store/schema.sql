-- Offhook's database, as it is after all migrations. A document: the store runs migrations/, and a test keeps this
-- page equal to what they make. Times are milliseconds since 1970 UTC (`…_ms` where they are moments of a record) or
-- counted from the answer of the call (`…_at_us`, `…_at_ms`).

-- One telephone call. Written when a webhook announces it; completed when it ends.
CREATE TABLE calls (
    id TEXT PRIMARY KEY NOT NULL,            -- UUIDv7, so that the order of ids is the order of announcement
    carrier TEXT NOT NULL,                   -- who carries it: twilio, threecx
    carrier_call_id TEXT NOT NULL,           -- the carrier's name for it; a carrier may announce the same call again later
    stream_id TEXT,                          -- the carrier's name for its media stream
    from_number TEXT NOT NULL,               -- as the carrier wrote it; empty if withheld
    to_number TEXT NOT NULL,
    direction TEXT NOT NULL,                 -- the carrier's word: inbound
    scenario TEXT NOT NULL,                  -- what the agent goes through
    status TEXT NOT NULL,                    -- announced, in-progress, completed, busy, failed, no-answer, canceled
    carrier_status TEXT,                     -- the last word of a status callback that counted
    carrier_sequence INTEGER,                -- the number of that callback
    carrier_duration_s INTEGER,              -- seconds, by the carrier's count
    announced_ms INTEGER NOT NULL,
    answered_ms INTEGER,                     -- media came
    ended_ms INTEGER,                        -- NULL while it runs
    end_reason TEXT,                         -- caller-hangup, agent-hangup, …, no-media, engine-restarted
    duration_ms INTEGER,                     -- from the answer to the end
    recording TEXT,                          -- file under the data folder
    journal TEXT,                            -- file under the data folder
    lost_entries INTEGER NOT NULL DEFAULT 0, -- timeline entries that could not be kept
    loss_notes TEXT NOT NULL DEFAULT ''      -- what else was lost, one sentence per line
) STRICT;

CREATE INDEX calls_by_carrier_call ON calls (carrier_call_id, id);

-- The calls that run: few, and looked for at every start.
CREATE INDEX calls_running ON calls (id) WHERE ended_ms IS NULL;

-- One thing said, by the caller or the agent. Written when it is over.
CREATE TABLE turns (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    turn INTEGER NOT NULL,        -- the call's own count
    speaker TEXT NOT NULL,        -- caller, agent
    started_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER NOT NULL,
    text TEXT NOT NULL,           -- of the agent, what was heard of it
    unheard TEXT NOT NULL,        -- what the agent was kept from saying
    spoken_by TEXT NOT NULL,      -- voice, keypad
    response_ms INTEGER,          -- from the caller's last speech to the agent's first audio
    PRIMARY KEY (call, turn)
) STRICT, WITHOUT ROWID;

-- One entry of a call's timeline. `place` gives the order, and where a reader goes on.
CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL            -- JSON object
) STRICT;

CREATE INDEX events_by_call ON events (call, place);

-- What the agent wrote down, such as an answer to its question. The last value counts.
CREATE TABLE answers (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    place INTEGER NOT NULL,       -- order of first writing within the call, from 0
    PRIMARY KEY (call, name)
) STRICT, WITHOUT ROWID;

-- One simulation: calls that this server placed to itself. Written when it starts; completed when it ends.
CREATE TABLE simulations (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of their starts; never given twice
    id TEXT NOT NULL UNIQUE,                  -- sim_ and 12 hex digits
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,                         -- NULL while it runs
    status TEXT NOT NULL,                     -- running, completed, stopped, failed
    scenario TEXT NOT NULL,                   -- what its callers say
    request TEXT NOT NULL,                    -- JSON object: what was asked for
    result TEXT                               -- JSON object: what was measured; NULL while it runs
) STRICT;

-- A caller's voice that was cloned. The row of a caller that is not dropped is the one that is used until it expires; the
-- others tell what was made.
CREATE TABLE cloned_voices (
    number INTEGER PRIMARY KEY,   -- in the order of their making
    caller TEXT NOT NULL,         -- whose, +31612345678
    voice_id TEXT NOT NULL,       -- the maker's name for it
    maker TEXT NOT NULL,          -- elevenlabs, or local for a stand-in
    call TEXT,                    -- the call that it was made of
    created_ms INTEGER NOT NULL,
    creation_ms INTEGER NOT NULL, -- how long the making took
    expires_ms INTEGER NOT NULL,
    dropped_ms INTEGER            -- NULL while it is cached: neither invalidated nor replaced
) STRICT;

CREATE UNIQUE INDEX cloned_voices_cached ON cloned_voices (caller) WHERE dropped_ms IS NULL;

-- A webhook that was acted on, so that a repetition gets the same answer and nothing is done twice.
CREATE TABLE webhooks_seen (
    source TEXT NOT NULL,         -- threecx, elevenlabs
    event TEXT NOT NULL,          -- what repetitions have in common: the sender's name for the call, and the kind of event
    received_ms INTEGER NOT NULL,
    call TEXT,                    -- our call, if it is one of ours
    cache TEXT,                   -- whether the caller's voice was cached: hit, miss; NULL if it was not looked for
    body TEXT NOT NULL,           -- JSON as it came, without audio
    answer TEXT NOT NULL,         -- JSON as it was answered
    PRIMARY KEY (source, event)
) STRICT, WITHOUT ROWID;
