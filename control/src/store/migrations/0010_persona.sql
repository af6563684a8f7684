ALTER TABLE personas ADD COLUMN transcript_videos TEXT NOT NULL DEFAULT '[]';

ALTER TABLE personas ADD COLUMN profile_source TEXT;

CREATE TABLE line_personas (
    line TEXT PRIMARY KEY NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    persona TEXT NOT NULL REFERENCES personas (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX line_personas_by_persona ON line_personas (persona);
