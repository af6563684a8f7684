CREATE TABLE passwords (
    user TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    vouched INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    signed_in_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX passwords_by_sign_in ON passwords (signed_in_ms);

CREATE TABLE revoked_tokens (
    id TEXT PRIMARY KEY NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_ms);

CREATE TABLE workspaces (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE workspace_members (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    joined_ms INTEGER NOT NULL,
    selected INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX workspace_members_by_user ON workspace_members (user, workspace);

CREATE UNIQUE INDEX workspace_members_selected ON workspace_members (user) WHERE selected = 1;

CREATE TABLE user_settings (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_addons (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    addon TEXT NOT NULL,
    enabled_ms INTEGER NOT NULL,
    PRIMARY KEY (user, addon)
) STRICT, WITHOUT ROWID;

CREATE TABLE assistant_names (
    assistant TEXT PRIMARY KEY NOT NULL REFERENCES assistants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    voice_provider TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inbound_webhooks (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX inbound_webhooks_by_owner ON inbound_webhooks (owner, id);

CREATE TABLE account_calls (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    workspace TEXT REFERENCES workspaces (id) ON DELETE SET NULL,
    call TEXT UNIQUE REFERENCES calls (id) ON DELETE CASCADE,
    webhook TEXT REFERENCES inbound_webhooks (id) ON DELETE SET NULL,
    reported_id TEXT,
    agent TEXT NOT NULL,
    customer_phone TEXT NOT NULL,
    customer_name TEXT,
    started_ms INTEGER NOT NULL CHECK (started_ms >= 0),
    answered INTEGER NOT NULL,
    ended_ms INTEGER CHECK (ended_ms >= started_ms),
    duration_s INTEGER NOT NULL,
    ended_reason TEXT NOT NULL,
    summary TEXT,
    recording TEXT,
    is_reported INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, reported_id)
) STRICT;

CREATE INDEX account_calls_by_time ON account_calls (owner, started_ms, ended_ms);

CREATE INDEX account_calls_running ON account_calls (owner, started_ms) WHERE ended_ms IS NULL;

CREATE INDEX account_calls_unreported ON account_calls (started_ms) WHERE call IS NULL AND is_reported = 0;

CREATE INDEX account_calls_by_workspace ON account_calls (workspace) WHERE workspace IS NOT NULL;

CREATE INDEX account_calls_by_webhook ON account_calls (webhook) WHERE webhook IS NOT NULL;

CREATE TABLE call_reports (
    call TEXT PRIMARY KEY NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    details TEXT NOT NULL,
    structured_outputs TEXT NOT NULL,
    transcript TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account_days (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    agent TEXT NOT NULL,
    ended_reason TEXT NOT NULL,
    calls INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    duration_s INTEGER NOT NULL,
    PRIMARY KEY (owner, day, agent, ended_reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_hours (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hour INTEGER NOT NULL,
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

CREATE TABLE call_analyses (
    call TEXT PRIMARY KEY NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    intent TEXT NOT NULL,
    sentiment REAL NOT NULL,
    source TEXT NOT NULL,
    analysed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE call_keywords (
    call TEXT NOT NULL REFERENCES account_calls (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,
    owner TEXT NOT NULL,
    sentiment REAL NOT NULL,
    source TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (call, keyword)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_keywords_by_keyword ON call_keywords (owner, keyword, at_ms);

CREATE TABLE account_intents (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    intent TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (owner, intent)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_keywords (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,
    calls INTEGER NOT NULL,
    positive INTEGER NOT NULL,
    negative INTEGER NOT NULL,
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

CREATE TABLE booked_appointments (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    call TEXT NOT NULL,
    phone TEXT NOT NULL,
    starts_ms INTEGER NOT NULL,
    zone TEXT NOT NULL,
    kind TEXT NOT NULL,
    quality INTEGER NOT NULL,
    source TEXT NOT NULL,
    booked_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX booked_appointments_by_owner ON booked_appointments (owner, booked_ms);

CREATE INDEX booked_appointments_by_call ON booked_appointments (call);

INSERT INTO account_calls (id, owner, call, agent, customer_phone, customer_name, started_ms, answered, ended_ms, duration_s,
                           ended_reason, recording)
SELECT calls.id, lines.owner, calls.id, lines.name, calls.from_number, contacts.name, calls.announced_ms,
       calls.answered_ms IS NOT NULL, max(calls.ended_ms, calls.announced_ms), coalesce(calls.duration_ms, 0) / 1000,
       CASE
           WHEN calls.ended_ms IS NULL THEN ''
           WHEN calls.end_reason = 'caller-hangup' THEN 'customer-ended-call'
           WHEN calls.end_reason = 'agent-hangup' THEN 'assistant-ended-call'
           WHEN calls.end_reason = 'operator' THEN 'manually-canceled'
           WHEN calls.status = 'busy' AND calls.end_reason = 'no-media' THEN 'customer-busy'
           WHEN calls.status = 'no-answer' THEN 'customer-did-not-answer'
           WHEN calls.end_reason = 'no-media' THEN 'twilio-failed-to-connect-call'
           WHEN calls.end_reason LIKE 'refused: %' THEN 'call.start.error-refused'
           ELSE 'call.in-progress.error-' || calls.end_reason
       END,
       calls.recording
FROM line_calls
JOIN calls ON calls.id = line_calls.call
JOIN lines ON lines.id = line_calls.line
LEFT JOIN contacts ON contacts.id = line_calls.contact
WHERE calls.announced_ms >= 0;

INSERT INTO booked_appointments (id, owner, call, phone, starts_ms, zone, kind, quality, source, booked_ms)
SELECT appointments.id, account_calls.owner, appointments.call, appointments.phone, appointments.starts_ms, 'UTC',
       appointments.reason, 3 + (appointments.phone <> '') + (appointments.reason <> ''), 'agent', appointments.booked_ms
FROM appointments
JOIN account_calls ON account_calls.call = appointments.call;
