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

-- Whether the master key, which is not here, is the one that sealed what is. Written with the first start that has a key.
CREATE TABLE key_checks (
    name TEXT PRIMARY KEY NOT NULL, -- master
    sealed BLOB NOT NULL            -- a known text
) STRICT;

-- One person who signs in. Written at the first sign-in, and again at each where something changed.
CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    google_sub TEXT UNIQUE,       -- Google's name for the account, which never changes; NULL: does not sign in there
    email TEXT NOT NULL,          -- verified by whom the person signed in with; may change, and hands
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

-- How calls are answered. Written by its owner.
CREATE TABLE assistants (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    prompt TEXT NOT NULL,         -- what the model is told; empty: as the server is configured
    greeting TEXT NOT NULL,       -- what is said first; empty: likewise
    llm_model TEXT NOT NULL,      -- openai/gpt-4o-mini
    stt_model TEXT NOT NULL,      -- nova-2-phonecall
    tts_provider TEXT NOT NULL,   -- cartesia, elevenlabs
    tts_voice TEXT NOT NULL,      -- the provider's name for it; empty: its default
    tools TEXT NOT NULL,          -- what the model may do: a JSON list of names
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX assistants_by_owner ON assistants (owner);

-- One telephone number that is answered for somebody. FrontDesk calls it a client. Written by its owner; the balance by the
-- ledger alone, in the same transaction as each of its entries.
CREATE TABLE lines (
    id TEXT PRIMARY KEY NOT NULL,    -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    assistant TEXT NOT NULL REFERENCES assistants (id),
    name TEXT NOT NULL,              -- of the business
    number TEXT NOT NULL UNIQUE,     -- E.164
    calendar TEXT NOT NULL,          -- primary, or a calendar's address
    balance_s INTEGER NOT NULL CHECK (balance_s >= 0), -- seconds of call that are paid for: the sum of its ledger
    active INTEGER NOT NULL,         -- 1: calls are answered
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX lines_by_owner ON lines (owner, id);

CREATE INDEX lines_by_assistant ON lines (assistant);

-- One person who calls a line. Written by the first call of a number, or by the line's owner.
CREATE TABLE contacts (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    number TEXT NOT NULL,         -- E.164
    name TEXT,                    -- NULL: not known
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (line, number)
) STRICT;

CREATE INDEX contacts_by_line ON contacts (line, id);

-- Which line a call came in on, and who called. Written with the call's announcement.
CREATE TABLE line_calls (
    call TEXT PRIMARY KEY NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    contact TEXT REFERENCES contacts (id) ON DELETE SET NULL -- NULL: the number was withheld
) STRICT, WITHOUT ROWID;

CREATE INDEX line_calls_by_line ON line_calls (line, call);

CREATE INDEX line_calls_by_contact ON line_calls (contact);

-- What was added to a line's balance, and taken from it. A call has one entry, which grows while the call runs and is
-- settled when it ends, or at the next start: whatever is written twice changes nothing.
CREATE TABLE ledger_entries (
    place INTEGER PRIMARY KEY,
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,                  -- grant (set by hand), credit (paid for), charge (a call)
    source TEXT NOT NULL UNIQUE,         -- what it is for, once: call:<id>, stripe:<object>, grant:<UUID>
    seconds INTEGER NOT NULL,            -- as it changed the balance: a charge is negative
    unpaid_s INTEGER NOT NULL DEFAULT 0, -- of a charge: what the balance had no more seconds for
    at_ms INTEGER NOT NULL               -- of the first writing
) STRICT;

CREATE INDEX ledger_entries_by_line ON ledger_entries (line, place);

-- Webhooks that came and were acted on: a second delivery changes nothing.
CREATE TABLE events_seen (
    sender TEXT NOT NULL,    -- stripe
    id TEXT NOT NULL,        -- the sender's
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (sender, id)
) STRICT, WITHOUT ROWID;

-- One authorization that was begun and not finished. Taken out by its first use.
CREATE TABLE oauth_states (
    digest TEXT PRIMARY KEY NOT NULL, -- SHA-256 of the state, hexadecimal: who reads this cannot finish it
    purpose TEXT NOT NULL,            -- sign-in, calendar, or the CRM that is to be connected
    line TEXT REFERENCES lines (id) ON DELETE CASCADE, -- whose calendar
    redirect_uri TEXT NOT NULL,
    sealed BLOB NOT NULL,             -- JSON: verifier (PKCE), nonce, and what else has to come back
    expires_ms INTEGER NOT NULL,
    owner TEXT REFERENCES users (id) ON DELETE CASCADE -- who connects a CRM
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_states_by_end ON oauth_states (expires_ms);

CREATE INDEX oauth_states_by_line ON oauth_states (line);

CREATE INDEX oauth_states_by_owner ON oauth_states (owner);

-- How a line's calendar is reached. Written by its owner.
CREATE TABLE calendar_connections (
    line TEXT PRIMARY KEY NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,    -- oauth, service_account
    account TEXT NOT NULL, -- whose: an e-mail address; empty if it is not known
    sealed BLOB NOT NULL,  -- JSON: tokens, or the key file
    created_ms INTEGER NOT NULL,
    used_ms INTEGER        -- when a calendar was last asked with it; NULL: never
) STRICT, WITHOUT ROWID;

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

-- One piece of work that is done beside the calls, at least once. Written in the transaction of what makes it necessary;
-- after that by the worker.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of their making; never given twice
    kind TEXT NOT NULL,           -- call-ended, crm-sync, webhook, …
    key TEXT NOT NULL,            -- what it is about: two jobs of a kind about the same are one
    lane TEXT NOT NULL,           -- of the jobs of a lane, one runs at a time
    ordered INTEGER NOT NULL,     -- 1: a lane's jobs are done in the order of their making, and wait for those before them
    payload TEXT NOT NULL,        -- JSON object: what has to be known to do it
    progress TEXT NOT NULL,       -- JSON object: what of it is done, so that a restart goes on there
    state TEXT NOT NULL,          -- pending, running, done, dead
    tries INTEGER NOT NULL,       -- how often it was begun
    next_try_ms INTEGER NOT NULL, -- not before
    reason TEXT,                  -- why the last try failed
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,             -- NULL while it is pending or running
    UNIQUE (kind, key)
) STRICT;

CREATE INDEX jobs_in_order ON jobs (lane, id) WHERE ended_ms IS NULL;

CREATE INDEX jobs_by_turn ON jobs (lane, next_try_ms, id) WHERE ended_ms IS NULL;

CREATE INDEX jobs_running ON jobs (lane) WHERE state = 'running';

CREATE INDEX jobs_ended ON jobs (ended_ms) WHERE ended_ms IS NOT NULL;

-- How a user's CRM is reached. Written by its owner, and with each new token.
CREATE TABLE crm_connections (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    crm TEXT NOT NULL,          -- salesforce, hubspot, dynamics
    id TEXT NOT NULL UNIQUE,    -- UUIDv7, another one each time that it is connected
    account TEXT NOT NULL,      -- whose: an e-mail address; empty if it is not known
    instance_url TEXT NOT NULL, -- where its API is; empty where all have the same
    sealed BLOB NOT NULL,       -- JSON: tokens
    broken TEXT,                -- why it has to be connected anew; NULL while it works
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, crm)
) STRICT, WITHOUT ROWID;

-- People that were created in a CRM, whose search may not find them yet.
CREATE TABLE crm_people (
    connection TEXT NOT NULL REFERENCES crm_connections (id) ON DELETE CASCADE,
    number TEXT NOT NULL,        -- E.164
    kind TEXT NOT NULL,          -- lead, contact
    person TEXT NOT NULL,        -- the CRM's name for them
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (connection, number)
) STRICT, WITHOUT ROWID;

-- One call in one CRM. Written when the call has ended; completed when it is logged there, or cannot be.
CREATE TABLE crm_syncs (
    id TEXT PRIMARY KEY NOT NULL,    -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    crm TEXT NOT NULL,               -- salesforce, hubspot, dynamics
    call TEXT NOT NULL,              -- whose record may be gone
    number TEXT NOT NULL,            -- the customer's, E.164; empty if it was withheld
    state TEXT NOT NULL,             -- pending, success, error
    tries INTEGER NOT NULL,
    reason TEXT,                     -- why the last try failed
    person TEXT,                     -- the CRM's name for the lead or contact
    person_kind TEXT,                -- lead, contact
    person_created INTEGER NOT NULL, -- 1: there was none, and we made it
    activity TEXT,                   -- the CRM's name for the logged call
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,                -- NULL while it is pending
    UNIQUE (owner, crm, call)
) STRICT;

CREATE INDEX crm_syncs_by_end ON crm_syncs (owner, crm, ended_ms, id);

-- One address that is told of events. Written by its owner.
CREATE TABLE outbound_webhooks (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,         -- names, with commas between them: call.ended
    active INTEGER NOT NULL,      -- 1: it is told
    sealed BLOB NOT NULL,         -- what deliveries are signed with
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX outbound_webhooks_by_owner ON outbound_webhooks (owner, id);

-- One event on its way to one address. Written with the event; completed when it was taken, or will not be tried again.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    webhook TEXT NOT NULL REFERENCES outbound_webhooks (id) ON DELETE CASCADE,
    event TEXT NOT NULL,          -- call.ended
    call TEXT NOT NULL,           -- whose record may be gone
    state TEXT NOT NULL,          -- pending, delivered, failed
    reason TEXT,                  -- why it failed for good
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,             -- NULL while it is pending
    UNIQUE (webhook, event, call)
) STRICT;

CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);

-- One try of a delivery, and what came of it.
CREATE TABLE delivery_tries (
    delivery TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    try INTEGER NOT NULL,     -- from 1
    at_ms INTEGER NOT NULL,   -- when it began
    took_ms INTEGER NOT NULL,
    status INTEGER,           -- HTTP; NULL if there was no answer
    answer TEXT NOT NULL,     -- the beginning of its body
    error TEXT,               -- why it does not count as taken; NULL if it does
    PRIMARY KEY (delivery, try)
) STRICT, WITHOUT ROWID;
