CREATE TABLE catalogues (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    job TEXT NOT NULL UNIQUE,
    file_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    file_bytes INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    progress INTEGER NOT NULL,
    reason TEXT,
    searchable INTEGER NOT NULL,
    products INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    chunked_row INTEGER NOT NULL,
    embedded_chunk INTEGER NOT NULL,
    embeddings TEXT NOT NULL,
    embedding_model TEXT,
    embedding_dimensions INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms INTEGER
) STRICT;

CREATE INDEX catalogues_by_owner ON catalogues (owner, number);

CREATE TABLE products (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    catalogue INTEGER NOT NULL REFERENCES catalogues (number) ON DELETE CASCADE,
    row INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    price REAL,
    currency TEXT NOT NULL,
    sku TEXT,
    category TEXT,
    in_stock INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (catalogue, row)
) STRICT;

CREATE INDEX products_removed ON products (number) WHERE removed = 1;

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product INTEGER NOT NULL REFERENCES products (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    catalogue INTEGER NOT NULL REFERENCES catalogues (number) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (product, position)
) STRICT;

CREATE INDEX chunks_by_catalogue ON chunks (catalogue, id);

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

CREATE TABLE chunk_vectors (
    chunk INTEGER PRIMARY KEY NOT NULL REFERENCES chunks (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT;
