-- Offhook's database, as it is after all migrations. A document: the store runs migrations/, and a test keeps this
-- page equal to what they make. Times are milliseconds since 1970 UTC (`…_ms` where they are moments of a record) or
-- counted from the answer of the call (`…_at_us`, `…_at_ms`).

-- One telephone call. Written when a webhook announces it; completed when it ends.
CREATE TABLE calls (
    id TEXT PRIMARY KEY NOT NULL,            -- UUIDv7, so that the order of ids is the order of announcement
    carrier TEXT NOT NULL,                   -- who carries it: twilio
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

-- One appointment in a calendar of this server's own. No two at the same desk overlap: the triggers below refuse it.
CREATE TABLE appointments (
    id TEXT PRIMARY KEY NOT NULL,    -- of call and slot: of and 40 hex digits
    desk TEXT NOT NULL,              -- whose calendar: callbot
    starts_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL CHECK (ends_ms > starts_ms), -- the first moment after it
    name TEXT NOT NULL,              -- who comes
    phone TEXT NOT NULL,             -- where they can be reached
    reason TEXT NOT NULL,            -- what for; may be empty
    call TEXT NOT NULL,              -- the id of the call that booked it, whose record may be gone
    booked_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX appointments_by_time ON appointments (desk, starts_ms);

CREATE TRIGGER appointments_apart BEFORE INSERT ON appointments
WHEN EXISTS (
    SELECT 1 FROM appointments
    WHERE desk = NEW.desk AND starts_ms < NEW.ends_ms AND ends_ms > NEW.starts_ms AND id <> NEW.id
)
BEGIN
    SELECT RAISE(ABORT, 'another appointment is then');
END;

CREATE TRIGGER appointments_stay BEFORE UPDATE OF desk, starts_ms, ends_ms ON appointments
BEGIN
    SELECT RAISE(ABORT, 'an appointment is not moved: enter another one');
END;
