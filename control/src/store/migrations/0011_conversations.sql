CREATE TABLE persona_conversations (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    persona TEXT NOT NULL REFERENCES personas (id) ON DELETE CASCADE,
    customer TEXT REFERENCES customers (id) ON DELETE SET NULL,
    channel TEXT NOT NULL,
    place TEXT,
    messages INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    end_reason TEXT
) STRICT;

CREATE INDEX persona_conversations_by_owner ON persona_conversations (owner, id);

CREATE INDEX persona_conversations_by_persona ON persona_conversations (persona, last_ms);

CREATE INDEX persona_conversations_by_customer ON persona_conversations (customer, id);

CREATE UNIQUE INDEX persona_conversations_at_place ON persona_conversations (channel, place)
WHERE ended_ms IS NULL AND place IS NOT NULL;

CREATE INDEX persona_conversations_open ON persona_conversations (last_ms) WHERE ended_ms IS NULL;

CREATE TABLE persona_messages (
    conversation TEXT NOT NULL REFERENCES persona_conversations (id) ON DELETE CASCADE,
    message INTEGER NOT NULL,
    speaker TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT UNIQUE,
    source TEXT UNIQUE,
    citations TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, message)
) STRICT, WITHOUT ROWID;
