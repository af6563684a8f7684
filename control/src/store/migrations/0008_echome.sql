ALTER TABLE users ADD COLUMN picture TEXT;

CREATE TABLE customers (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    email TEXT,
    telegram_id TEXT,
    phone TEXT,
    notes TEXT,
    metadata TEXT NOT NULL,
    last_contact_ms INTEGER,
    conversations INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (owner, telegram_id)
) STRICT;

CREATE INDEX customers_by_owner ON customers (owner, id);

CREATE TABLE telegram_bots (
    owner TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    bot INTEGER NOT NULL UNIQUE,
    username TEXT NOT NULL,
    secret_digest TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user_jobs (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    stages TEXT NOT NULL,
    metadata TEXT NOT NULL,
    result TEXT,
    error TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX user_jobs_by_owner ON user_jobs (owner, created_ms);

CREATE TABLE personas (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT,
    video TEXT NOT NULL,
    language TEXT NOT NULL,
    voice_id TEXT,
    voice_maker TEXT,
    sample TEXT,
    transcript TEXT NOT NULL DEFAULT '',
    profile TEXT NOT NULL DEFAULT '{}',
    overrides TEXT NOT NULL DEFAULT '{}',
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX personas_by_owner ON personas (owner, id);
