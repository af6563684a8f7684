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
    updated_ms INTEGER NOT NULL,
    picture TEXT                  -- where Google has their picture, if it says
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

-- How one person signs in by password. Written at registration.
CREATE TABLE passwords (
    user TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email TEXT NOT NULL UNIQUE,  -- in lower case, as it was typed in: nobody proved that it is theirs
    hash TEXT NOT NULL,          -- argon2id, a PHC string
    vouched INTEGER NOT NULL,    -- 1: who registered it showed a token of the operator's
    created_ms INTEGER NOT NULL,
    signed_in_ms INTEGER NOT NULL -- last
) STRICT, WITHOUT ROWID;

CREATE INDEX passwords_by_sign_in ON passwords (signed_in_ms);

-- One token that was given back before its end. Written at logout; taken out once the token would have ended anyway.
CREATE TABLE revoked_tokens (
    id TEXT PRIMARY KEY NOT NULL, -- the token's jti
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_ms);

-- A place that people share. Written by who makes it.
CREATE TABLE workspaces (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- Who is in a workspace.
CREATE TABLE workspace_members (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,          -- admin, member
    joined_ms INTEGER NOT NULL,
    selected INTEGER NOT NULL DEFAULT 0,   -- 1: calls of the user's are put here from now on
    PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX workspace_members_by_user ON workspace_members (user, workspace);

CREATE UNIQUE INDEX workspace_members_selected ON workspace_members (user) WHERE selected = 1;

-- One setting of a user's. No row: it is not set.
CREATE TABLE user_settings (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,          -- openaiApiKey, …
    sealed BLOB NOT NULL,        -- the text
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;

-- An add-on that a user switched on. No row: it is off.
CREATE TABLE user_addons (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    addon TEXT NOT NULL,         -- openai_analysis, twilio_enhanced_caller_id, appointments_by_ai
    enabled_ms INTEGER NOT NULL,
    PRIMARY KEY (user, addon)
) STRICT, WITHOUT ROWID;

-- What an owner calls an assistant that was made for no line, and the voice's provider in the owner's words.
CREATE TABLE assistant_names (
    assistant TEXT PRIMARY KEY NOT NULL REFERENCES assistants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    voice_provider TEXT NOT NULL  -- 11labs
) STRICT, WITHOUT ROWID;

-- One address that a user's calls are reported to from outside. Written by its owner.
CREATE TABLE inbound_webhooks (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,   -- wh_ and 48 hex digits, in the URL
    sealed BLOB NOT NULL,         -- what its messages are signed with
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX inbound_webhooks_by_owner ON inbound_webhooks (owner, id);

-- One call of a user's, whether this server had it or it was reported: what their figures are counted from. Of a call of this
-- server, written in the transactions that write its announcement, its answer and its end.
CREATE TABLE account_calls (
    id TEXT PRIMARY KEY NOT NULL,   -- UUIDv7; of a call of this server, the call's
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    workspace TEXT REFERENCES workspaces (id) ON DELETE SET NULL, -- the owner's of that time
    call TEXT UNIQUE REFERENCES calls (id) ON DELETE CASCADE,     -- NULL: it was reported
    webhook TEXT REFERENCES inbound_webhooks (id) ON DELETE SET NULL, -- where it was reported
    reported_id TEXT,               -- the reporter's name for it
    agent TEXT NOT NULL,            -- the name of what answered
    customer_phone TEXT NOT NULL,   -- E.164 where it is one; empty if withheld
    customer_name TEXT,
    started_ms INTEGER NOT NULL CHECK (started_ms >= 0),
    answered INTEGER NOT NULL,      -- 1: the two talked
    ended_ms INTEGER CHECK (ended_ms >= started_ms), -- NULL while it runs
    duration_s INTEGER NOT NULL,    -- from the answer to the end
    ended_reason TEXT NOT NULL,     -- customer-ended-call, …; empty while it runs
    summary TEXT,
    recording TEXT,                 -- of a reported call a URL, of another a file under the data folder
    is_reported INTEGER NOT NULL DEFAULT 0,               -- 1: the report of its end came, or is not waited for any more
    UNIQUE (owner, reported_id)
) STRICT;

CREATE INDEX account_calls_by_time ON account_calls (owner, started_ms, ended_ms);

CREATE INDEX account_calls_running ON account_calls (owner, started_ms) WHERE ended_ms IS NULL;

CREATE INDEX account_calls_unreported ON account_calls (started_ms) WHERE call IS NULL AND is_reported = 0;

CREATE INDEX account_calls_by_workspace ON account_calls (workspace) WHERE workspace IS NOT NULL;

CREATE INDEX account_calls_by_webhook ON account_calls (webhook) WHERE webhook IS NOT NULL;

-- What was reported of a call beyond that.
CREATE TABLE call_reports (
    call TEXT PRIMARY KEY NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    details TEXT NOT NULL,            -- JSON object
    structured_outputs TEXT NOT NULL, -- JSON object
    transcript TEXT NOT NULL          -- JSON array
) STRICT, WITHOUT ROWID;

-- The ended calls of a day, of one agent, that ended in one way. Kept by the triggers below.
CREATE TABLE account_days (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,          -- since 1970, UTC, by the calls' beginning
    agent TEXT NOT NULL,
    ended_reason TEXT NOT NULL,
    calls INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    duration_s INTEGER NOT NULL,
    PRIMARY KEY (owner, day, agent, ended_reason)
) STRICT, WITHOUT ROWID;

-- How many calls of a user's ran at once within an hour, at most. `changes` grows with each call of that hour that begins, ends
-- or goes; `peak` was counted at change `counted`, and is to be counted again if there were more.
CREATE TABLE account_hours (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hour INTEGER NOT NULL,         -- since 1970
    changes INTEGER NOT NULL,
    counted INTEGER NOT NULL DEFAULT 0,
    peak INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (owner, hour)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_hours_by_peak ON account_hours (owner, peak);

CREATE INDEX account_hours_uncounted ON account_hours (owner, hour) WHERE counted < changes;

CREATE TRIGGER account_calls_added AFTER INSERT ON account_calls
BEGIN
    INSERT INTO account_days (owner, day, agent, ended_reason, calls, answered, duration_s)
    SELECT NEW.owner, NEW.started_ms / 86400000, NEW.agent, NEW.ended_reason, 1, NEW.answered, NEW.duration_s
    WHERE NEW.ended_ms IS NOT NULL
    ON CONFLICT (owner, day, agent, ended_reason) DO UPDATE
    SET calls = calls + 1, answered = answered + excluded.answered, duration_s = duration_s + excluded.duration_s;
    INSERT INTO account_hours (owner, hour, changes)
    SELECT NEW.owner, NEW.started_ms / 3600000 + column1, 1
    FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18),
                 (19), (20), (21), (22), (23), (24))
    WHERE column1 <= coalesce(NEW.ended_ms, NEW.started_ms) / 3600000 - NEW.started_ms / 3600000
    ON CONFLICT (owner, hour) DO UPDATE SET changes = changes + 1;
END;

CREATE TRIGGER account_calls_removed AFTER DELETE ON account_calls
BEGIN
    UPDATE account_days
    SET calls = calls - 1, answered = answered - OLD.answered, duration_s = duration_s - OLD.duration_s
    WHERE OLD.ended_ms IS NOT NULL AND owner = OLD.owner AND day = OLD.started_ms / 86400000 AND agent = OLD.agent
          AND ended_reason = OLD.ended_reason;
    DELETE FROM account_days
    WHERE calls = 0 AND owner = OLD.owner AND day = OLD.started_ms / 86400000 AND agent = OLD.agent
          AND ended_reason = OLD.ended_reason;
    UPDATE account_hours SET changes = changes + 1
    WHERE owner = OLD.owner AND hour >= OLD.started_ms / 3600000
          AND hour <= min(coalesce(OLD.ended_ms, OLD.started_ms) / 3600000, OLD.started_ms / 3600000 + 24);
END;

CREATE TRIGGER account_calls_changed
AFTER UPDATE OF owner, agent, started_ms, answered, ended_ms, duration_s, ended_reason ON account_calls
BEGIN
    UPDATE account_days
    SET calls = calls - 1, answered = answered - OLD.answered, duration_s = duration_s - OLD.duration_s
    WHERE OLD.ended_ms IS NOT NULL AND owner = OLD.owner AND day = OLD.started_ms / 86400000 AND agent = OLD.agent
          AND ended_reason = OLD.ended_reason;
    INSERT INTO account_days (owner, day, agent, ended_reason, calls, answered, duration_s)
    SELECT NEW.owner, NEW.started_ms / 86400000, NEW.agent, NEW.ended_reason, 1, NEW.answered, NEW.duration_s
    WHERE NEW.ended_ms IS NOT NULL
    ON CONFLICT (owner, day, agent, ended_reason) DO UPDATE
    SET calls = calls + 1, answered = answered + excluded.answered, duration_s = duration_s + excluded.duration_s;
    DELETE FROM account_days
    WHERE calls = 0 AND owner = OLD.owner AND day = OLD.started_ms / 86400000 AND agent = OLD.agent
          AND ended_reason = OLD.ended_reason;
    UPDATE account_hours SET changes = changes + 1
    WHERE owner = OLD.owner AND hour >= OLD.started_ms / 3600000
          AND hour <= min(coalesce(OLD.ended_ms, OLD.started_ms) / 3600000, OLD.started_ms / 3600000 + 24);
    INSERT INTO account_hours (owner, hour, changes)
    SELECT NEW.owner, NEW.started_ms / 3600000 + column1, 1
    FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18),
                 (19), (20), (21), (22), (23), (24))
    WHERE column1 <= coalesce(NEW.ended_ms, NEW.started_ms) / 3600000 - NEW.started_ms / 3600000
    ON CONFLICT (owner, hour) DO UPDATE SET changes = changes + 1;
END;

-- What a call was about, as far as its words tell.
CREATE TABLE call_analyses (
    call TEXT PRIMARY KEY NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,         -- as in account_calls
    intent TEXT NOT NULL,
    sentiment REAL NOT NULL,     -- from -1 to 1
    source TEXT NOT NULL,        -- who says so: model, local
    analysed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One keyword of a call.
CREATE TABLE call_keywords (
    call TEXT NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,       -- in lower case
    owner TEXT NOT NULL,         -- as in account_calls
    sentiment REAL NOT NULL,     -- of where it was mentioned, from -1 to 1
    source TEXT NOT NULL,        -- who says so: model, local
    at_ms INTEGER NOT NULL,      -- the call's end
    PRIMARY KEY (call, keyword)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_keywords_by_keyword ON call_keywords (owner, keyword, at_ms);

-- How many calls of a user's were about something. Kept by the triggers below.
CREATE TABLE account_intents (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    intent TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (owner, intent)
) STRICT, WITHOUT ROWID;

-- How often a keyword was found in a user's calls, and how it was meant. Kept by the triggers below.
CREATE TABLE account_keywords (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,
    calls INTEGER NOT NULL,
    positive INTEGER NOT NULL,   -- sentiment of at least 0.05
    negative INTEGER NOT NULL,   -- of -0.05 at most
    sentiment_sum REAL NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, keyword)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_keywords_by_calls ON account_keywords (owner, calls);

CREATE TRIGGER call_analyses_added AFTER INSERT ON call_analyses
BEGIN
    INSERT INTO account_intents (owner, intent, calls) VALUES (NEW.owner, NEW.intent, 1)
    ON CONFLICT (owner, intent) DO UPDATE SET calls = calls + 1;
END;

CREATE TRIGGER call_analyses_removed AFTER DELETE ON call_analyses
BEGIN
    UPDATE account_intents SET calls = calls - 1 WHERE owner = OLD.owner AND intent = OLD.intent;
    DELETE FROM account_intents WHERE calls = 0 AND owner = OLD.owner AND intent = OLD.intent;
END;

CREATE TRIGGER call_analyses_moved AFTER UPDATE OF owner ON call_analyses
BEGIN
    UPDATE account_intents SET calls = calls - 1 WHERE owner = OLD.owner AND intent = OLD.intent;
    DELETE FROM account_intents WHERE calls = 0 AND owner = OLD.owner AND intent = OLD.intent;
    INSERT INTO account_intents (owner, intent, calls) VALUES (NEW.owner, NEW.intent, 1)
    ON CONFLICT (owner, intent) DO UPDATE SET calls = calls + 1;
END;

CREATE TRIGGER call_keywords_added AFTER INSERT ON call_keywords
BEGIN
    INSERT INTO account_keywords (owner, keyword, calls, positive, negative, sentiment_sum, last_ms)
    VALUES (NEW.owner, NEW.keyword, 1, NEW.sentiment >= 0.05, NEW.sentiment <= -0.05, NEW.sentiment, NEW.at_ms)
    ON CONFLICT (owner, keyword) DO UPDATE
    SET calls = calls + 1, positive = positive + excluded.positive, negative = negative + excluded.negative,
        sentiment_sum = sentiment_sum + excluded.sentiment_sum, last_ms = max(last_ms, excluded.last_ms);
END;

CREATE TRIGGER call_keywords_removed AFTER DELETE ON call_keywords
BEGIN
    UPDATE account_keywords
    SET calls = calls - 1, positive = positive - (OLD.sentiment >= 0.05), negative = negative - (OLD.sentiment <= -0.05),
        sentiment_sum = sentiment_sum - OLD.sentiment,
        last_ms = coalesce((SELECT max(at_ms) FROM call_keywords WHERE owner = OLD.owner AND keyword = OLD.keyword), 0)
    WHERE owner = OLD.owner AND keyword = OLD.keyword;
    DELETE FROM account_keywords WHERE calls = 0 AND owner = OLD.owner AND keyword = OLD.keyword;
END;

CREATE TRIGGER call_keywords_moved AFTER UPDATE OF owner ON call_keywords
BEGIN
    UPDATE account_keywords
    SET calls = calls - 1, positive = positive - (OLD.sentiment >= 0.05), negative = negative - (OLD.sentiment <= -0.05),
        sentiment_sum = sentiment_sum - OLD.sentiment,
        last_ms = coalesce((SELECT max(at_ms) FROM call_keywords WHERE owner = OLD.owner AND keyword = OLD.keyword), 0)
    WHERE owner = OLD.owner AND keyword = OLD.keyword;
    DELETE FROM account_keywords WHERE calls = 0 AND owner = OLD.owner AND keyword = OLD.keyword;
    INSERT INTO account_keywords (owner, keyword, calls, positive, negative, sentiment_sum, last_ms)
    VALUES (NEW.owner, NEW.keyword, 1, NEW.sentiment >= 0.05, NEW.sentiment <= -0.05, NEW.sentiment, NEW.at_ms)
    ON CONFLICT (owner, keyword) DO UPDATE
    SET calls = calls + 1, positive = positive + excluded.positive, negative = negative + excluded.negative,
        sentiment_sum = sentiment_sum + excluded.sentiment_sum, last_ms = max(last_ms, excluded.last_ms);
END;

-- One appointment that an agent made on a user's call, whatever calendar it is in.
CREATE TABLE booked_appointments (
    id TEXT PRIMARY KEY NOT NULL, -- of call and slot
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    call TEXT NOT NULL,           -- the id of the call, whose record may be gone
    phone TEXT NOT NULL,          -- where who comes can be reached; may be empty
    starts_ms INTEGER NOT NULL,
    zone TEXT NOT NULL,           -- by whose clock it is told: Europe/Amsterdam
    kind TEXT NOT NULL,           -- what it is for; may be empty
    quality INTEGER NOT NULL,     -- how much of it is known, from 1 to 5
    source TEXT NOT NULL,         -- who made it: agent, or model if it was found in what was said
    booked_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX booked_appointments_by_owner ON booked_appointments (owner, booked_ms);

CREATE INDEX booked_appointments_by_call ON booked_appointments (call);

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
    event TEXT NOT NULL,          -- call.ended, voice.cloned, …
    subject TEXT NOT NULL,        -- what it is of: call.ended: a call, whose record may be gone; others: what was made or begun
    state TEXT NOT NULL,          -- pending, delivered, failed
    reason TEXT,                  -- why it failed for good
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,             -- NULL while it is pending
    body TEXT,                    -- JSON, as it is told; NULL for call.ended: made of the call's record when it is told
    UNIQUE (webhook, event, subject)
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

-- Somebody whom a persona talks with. Written by the owner, or by the first message of an unknown sender. Echo Me calls it a
-- client.
CREATE TABLE customers (
    id TEXT PRIMARY KEY NOT NULL,              -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    email TEXT,
    telegram_id TEXT,                          -- digits
    phone TEXT,                                -- E.164
    notes TEXT,
    metadata TEXT NOT NULL,                    -- JSON object
    last_contact_ms INTEGER,                   -- NULL: none yet
    conversations INTEGER NOT NULL DEFAULT 0,  -- that were begun with them
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (owner, telegram_id)
) STRICT;

CREATE INDEX customers_by_owner ON customers (owner, id);

-- A bot at Telegram that answers for its owner, whose token is among the owner's settings. Written with the token.
CREATE TABLE telegram_bots (
    owner TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    bot INTEGER NOT NULL UNIQUE,        -- Telegram's number for it
    username TEXT NOT NULL,
    secret_digest TEXT NOT NULL UNIQUE, -- SHA-256 of what Telegram shows with each message, hexadecimal
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Work that a user waits for and can look at and call off. Done by the queue: its job there has this one's id as its key.
CREATE TABLE user_jobs (
    id TEXT PRIMARY KEY NOT NULL,   -- job_voice_ and 32 hexadecimal digits
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,             -- voice_clone
    status TEXT NOT NULL,           -- pending, processing, completed, failed, cancelled
    progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    stages TEXT NOT NULL,           -- JSON list, in order: name, status, started_ms, duration_ms
    metadata TEXT NOT NULL,         -- JSON object: what it is about
    result TEXT,                    -- JSON object; NULL until it is completed
    error TEXT,                     -- JSON object: code, message; NULL unless it failed
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms INTEGER                -- NULL while it is pending or processing
) STRICT, WITHOUT ROWID;

CREATE INDEX user_jobs_by_owner ON user_jobs (owner, created_ms);

-- Somebody whose voice and manner an agent takes on. Written when its voice is asked for; completed by the jobs.
CREATE TABLE personas (
    id TEXT PRIMARY KEY NOT NULL,          -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT,
    video TEXT NOT NULL,                   -- the URL that it was made of, as it was given
    language TEXT NOT NULL,                -- en
    voice_id TEXT,                         -- the maker's name for the voice; NULL until it is there
    voice_maker TEXT,                      -- elevenlabs, or local for a stand-in
    sample TEXT,                           -- file under the data folder: the voice says a sentence
    transcript TEXT NOT NULL DEFAULT '',   -- what was said in the videos, as far as it was recognised; an empty line between two
    profile TEXT NOT NULL DEFAULT '{}',    -- JSON object: what was made out of the transcript
    overrides TEXT NOT NULL DEFAULT '{}',  -- JSON object: what the owner says instead
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    transcript_videos TEXT NOT NULL DEFAULT '[]', -- JSON list: the ids of the videos whose words the transcript has, in its order
    profile_source TEXT                    -- who made the profile: model, or counted on this machine; NULL until it is made
) STRICT;

CREATE INDEX personas_by_owner ON personas (owner, id);

-- Who answers on a line in place of its assistant. Written by the owner of both; gone with either.
CREATE TABLE line_personas (
    line TEXT PRIMARY KEY NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    persona TEXT NOT NULL REFERENCES personas (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX line_personas_by_persona ON line_personas (persona);

-- One file of products that somebody uploaded, and how far its import is. Written when the file is accepted; after that by the
-- import, in the transaction of what it writes.
CREATE TABLE catalogues (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,         -- catalog_ and a UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,              -- as its owner calls it
    job TEXT NOT NULL UNIQUE,        -- what its import is called: job_products_ and a UUIDv7
    file_name TEXT NOT NULL,         -- as its owner called it, without folders; never a path of ours
    kind TEXT NOT NULL,              -- csv, pdf, text
    file_bytes INTEGER NOT NULL,
    state TEXT NOT NULL,             -- pending, processing, completed, failed, cancelled
    stage TEXT NOT NULL,             -- parsing, chunking, embedding: what is done next
    progress INTEGER NOT NULL,       -- 0 to 100
    reason TEXT,                     -- why it failed, for its owner
    searchable INTEGER NOT NULL,     -- 1: its products are shown and found
    products INTEGER NOT NULL,       -- how many there are
    chunks INTEGER NOT NULL,         -- how many there are
    chunked_row INTEGER NOT NULL,    -- products up to this row are in chunks
    embedded_chunk INTEGER NOT NULL, -- chunks up to this one have vectors
    embeddings TEXT NOT NULL,        -- off, pending, completed, failed
    embedding_model TEXT,            -- whose vectors it has; NULL if it has none
    embedding_dimensions INTEGER,    -- of each of them
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms INTEGER                 -- NULL while it is pending or processing
) STRICT;

CREATE INDEX catalogues_by_owner ON catalogues (owner, number);

-- One product: a row of a table, or a whole document. Written by the import.
CREATE TABLE products (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,     -- prod_ and a UUIDv7
    catalogue INTEGER NOT NULL REFERENCES catalogues (number) ON DELETE CASCADE,
    row INTEGER NOT NULL,        -- from 1, in the order of the file
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    price REAL,                  -- NULL for a document
    currency TEXT NOT NULL,      -- ISO 4217
    sku TEXT,
    category TEXT,
    in_stock INTEGER NOT NULL,   -- 1: it can be had
    metadata TEXT NOT NULL,      -- JSON object: what else the file says
    chunks INTEGER NOT NULL,     -- how many there are
    removed INTEGER NOT NULL,    -- 1: its owner deleted it, and its chunks are being removed
    created_ms INTEGER NOT NULL,
    UNIQUE (catalogue, row)
) STRICT;

CREATE INDEX products_removed ON products (number) WHERE removed = 1;

-- A piece of what is said of a product, as it is searched and cited. Written by the import.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: vectors in memory are named by it
    product INTEGER NOT NULL REFERENCES products (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,   -- in the product, from 0
    catalogue INTEGER NOT NULL REFERENCES catalogues (number) ON DELETE CASCADE,
    scope TEXT NOT NULL,         -- two words for the index: one of the owner, one of the catalogue
    content TEXT NOT NULL,
    UNIQUE (product, position)
) STRICT;

CREATE INDEX chunks_by_catalogue ON chunks (catalogue, id);

-- The words of chunks. Kept by the triggers below; the texts themselves are in chunks.
CREATE VIRTUAL TABLE chunk_words USING fts5 (
    scope, content,
    content = 'chunks', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER chunk_words_added AFTER INSERT ON chunks BEGIN
    INSERT INTO chunk_words (rowid, scope, content) VALUES (new.id, new.scope, new.content);
END;

CREATE TRIGGER chunk_words_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO chunk_words (chunk_words, rowid, scope, content) VALUES ('delete', old.id, old.scope, old.content);
END;

CREATE TRIGGER chunk_words_changed AFTER UPDATE OF id, scope, content ON chunks BEGIN
    INSERT INTO chunk_words (chunk_words, rowid, scope, content) VALUES ('delete', old.id, old.scope, old.content);
    INSERT INTO chunk_words (rowid, scope, content) VALUES (new.id, new.scope, new.content);
END;

-- The embedding of a chunk. Written by the import.
CREATE TABLE chunk_vectors (
    chunk INTEGER PRIMARY KEY NOT NULL REFERENCES chunks (id) ON DELETE CASCADE,
    vector BLOB NOT NULL         -- little-endian 32-bit floats, of length 1 together
) STRICT;

-- What a persona and a customer have to say to each other, by one channel.
CREATE TABLE persona_conversations (
    id TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    persona TEXT NOT NULL REFERENCES personas (id) ON DELETE CASCADE,
    customer TEXT REFERENCES customers (id) ON DELETE SET NULL, -- NULL: nobody said who it is
    channel TEXT NOT NULL,        -- chat, telegram, phone
    place TEXT,                   -- where in the channel one at a time is: bot:chat, or a call's id; NULL of chat
    messages INTEGER NOT NULL,    -- how many there are
    started_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,     -- when the last one was said
    ended_ms INTEGER,             -- NULL while it goes on
    end_reason TEXT               -- idle, reset, over
) STRICT;

CREATE INDEX persona_conversations_by_owner ON persona_conversations (owner, id);

CREATE INDEX persona_conversations_by_persona ON persona_conversations (persona, last_ms);

CREATE INDEX persona_conversations_by_customer ON persona_conversations (customer, id);

CREATE UNIQUE INDEX persona_conversations_at_place ON persona_conversations (channel, place)
WHERE ended_ms IS NULL AND place IS NOT NULL;

CREATE INDEX persona_conversations_open ON persona_conversations (last_ms) WHERE ended_ms IS NULL;

-- One thing said in a conversation. A question and its answer are written together.
CREATE TABLE persona_messages (
    conversation TEXT NOT NULL REFERENCES persona_conversations (id) ON DELETE CASCADE,
    message INTEGER NOT NULL,           -- from 1
    speaker TEXT NOT NULL,              -- customer, persona
    text TEXT NOT NULL,
    answer TEXT UNIQUE,                 -- the answer's id; NULL of a question
    source TEXT UNIQUE,                 -- what it answers, once: telegram:<bot>:<update>; NULL: whatever came
    citations TEXT NOT NULL,            -- JSON list of what an answer was made from: product, chunk, score
    prompt_tokens INTEGER NOT NULL,     -- what the model counted for an answer
    completion_tokens INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, message)
) STRICT, WITHOUT ROWID;
