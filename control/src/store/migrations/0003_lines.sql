CREATE TABLE key_checks (
    name TEXT PRIMARY KEY NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    google_sub TEXT UNIQUE,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE assistants (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    prompt TEXT NOT NULL,
    greeting TEXT NOT NULL,
    llm_model TEXT NOT NULL,
    stt_model TEXT NOT NULL,
    tts_provider TEXT NOT NULL,
    tts_voice TEXT NOT NULL,
    tools TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX assistants_by_owner ON assistants (owner);

CREATE TABLE lines (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    assistant TEXT NOT NULL REFERENCES assistants (id),
    name TEXT NOT NULL,
    number TEXT NOT NULL UNIQUE,
    calendar TEXT NOT NULL,
    balance_s INTEGER NOT NULL CHECK (balance_s >= 0),
    active INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX lines_by_owner ON lines (owner, id);

CREATE INDEX lines_by_assistant ON lines (assistant);

CREATE TABLE contacts (
    id TEXT PRIMARY KEY NOT NULL,
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    number TEXT NOT NULL,
    name TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (line, number)
) STRICT;

CREATE INDEX contacts_by_line ON contacts (line, id);

CREATE TABLE line_calls (
    call TEXT PRIMARY KEY NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    contact TEXT REFERENCES contacts (id) ON DELETE SET NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX line_calls_by_line ON line_calls (line, call);

CREATE INDEX line_calls_by_contact ON line_calls (contact);

CREATE TABLE ledger_entries (
    place INTEGER PRIMARY KEY,
    line TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    source TEXT NOT NULL UNIQUE,
    seconds INTEGER NOT NULL,
    unpaid_s INTEGER NOT NULL DEFAULT 0,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX ledger_entries_by_line ON ledger_entries (line, place);

CREATE TABLE events_seen (
    sender TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (sender, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE oauth_states (
    digest TEXT PRIMARY KEY NOT NULL,
    purpose TEXT NOT NULL,
    line TEXT REFERENCES lines (id) ON DELETE CASCADE,
    redirect_uri TEXT NOT NULL,
    sealed BLOB NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_states_by_end ON oauth_states (expires_ms);

CREATE INDEX oauth_states_by_line ON oauth_states (line);

CREATE TABLE calendar_connections (
    line TEXT PRIMARY KEY NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT, WITHOUT ROWID;
