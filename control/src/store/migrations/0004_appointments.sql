CREATE TABLE appointments (
    id TEXT PRIMARY KEY NOT NULL,
    desk TEXT NOT NULL,
    starts_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL CHECK (ends_ms > starts_ms),
    name TEXT NOT NULL,
    phone TEXT NOT NULL,
    reason TEXT NOT NULL,
    call TEXT NOT NULL,
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
