CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    lane TEXT NOT NULL,
    ordered INTEGER NOT NULL,
    payload TEXT NOT NULL,
    progress TEXT NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_try_ms INTEGER NOT NULL,
    reason TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    UNIQUE (kind, key)
) STRICT;

CREATE INDEX jobs_in_order ON jobs (lane, id) WHERE ended_ms IS NULL;

CREATE INDEX jobs_by_turn ON jobs (lane, next_try_ms, id) WHERE ended_ms IS NULL;

CREATE INDEX jobs_running ON jobs (lane) WHERE state = 'running';

CREATE INDEX jobs_ended ON jobs (ended_ms) WHERE ended_ms IS NOT NULL;

ALTER TABLE oauth_states ADD COLUMN owner TEXT REFERENCES users (id) ON DELETE CASCADE;

CREATE INDEX oauth_states_by_owner ON oauth_states (owner);

CREATE TABLE crm_connections (
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    crm TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    instance_url TEXT NOT NULL,
    sealed BLOB NOT NULL,
    broken TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, crm)
) STRICT, WITHOUT ROWID;

CREATE TABLE crm_people (
    connection TEXT NOT NULL REFERENCES crm_connections (id) ON DELETE CASCADE,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    person TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (connection, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE crm_syncs (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    crm TEXT NOT NULL,
    call TEXT NOT NULL,
    number TEXT NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    reason TEXT,
    person TEXT,
    person_kind TEXT,
    person_created INTEGER NOT NULL,
    activity TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    UNIQUE (owner, crm, call)
) STRICT;

CREATE INDEX crm_syncs_by_end ON crm_syncs (owner, crm, ended_ms, id);

CREATE TABLE outbound_webhooks (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    active INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX outbound_webhooks_by_owner ON outbound_webhooks (owner, id);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY NOT NULL,
    webhook TEXT NOT NULL REFERENCES outbound_webhooks (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    call TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    UNIQUE (webhook, event, call)
) STRICT;

CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);

CREATE TABLE delivery_tries (
    delivery TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    try INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,
    answer TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (delivery, try)
) STRICT, WITHOUT ROWID;
