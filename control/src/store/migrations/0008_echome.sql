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
