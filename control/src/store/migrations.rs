//! Brings a database of any older version to this one, step by step. `user_version` counts the steps taken.

use rusqlite::Connection;

/// Every step, in order. A step that was released is never changed.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_calls.sql"),
    include_str!("migrations/0002_simulations.sql"),
    include_str!("migrations/0003_lines.sql"),
    include_str!("migrations/0004_appointments.sql"),
    include_str!("migrations/0005_voiceclone.sql"),
    include_str!("migrations/0006_accounts.sql"),
    include_str!("migrations/0007_deliveries.sql"),
    include_str!("migrations/0008_echome.sql"),
    include_str!("migrations/0009_catalogue.sql"),
    include_str!("migrations/0010_persona.sql"),
    include_str!("migrations/0011_conversations.sql"),
    include_str!("migrations/0012_events.sql"),
];

/// Why a database could not be brought to this version.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrationError {
    #[error("it was made by a newer offhook (version {found}, this one knows {known}); start that one")]
    Newer { found: usize, known: usize },
    #[error("{}", super::advice(.0))]
    Sql(#[from] rusqlite::Error),
}

/// Takes the steps that are missing, each in its own transaction. Writes in any case, so that a full disk shows here.
pub(super) fn run(connection: &mut Connection) -> Result<(), MigrationError> {
    run_to(connection, STEPS.len())
}

fn run_to(connection: &mut Connection, wanted: usize) -> Result<(), MigrationError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > STEPS.len() {
        return Err(MigrationError::Newer { found, known: STEPS.len() });
    }
    for (at, step) in STEPS.iter().enumerate().take(wanted).skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", at as i64 + 1)?;
        transaction.commit()?;
    }
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TABLE probe (byte INTEGER) STRICT;
         DROP TABLE probe;
         COMMIT;",
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables and indexes with their SQL, without comments and layout.
    fn shape(connection: &Connection) -> Vec<(String, String)> {
        let mut query = connection
            .prepare(
                "SELECT name, sql FROM sqlite_schema
                 WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name",
            )
            .unwrap();
        let bare = |sql: String| {
            let lines: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
            let words = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
            // A column that was added stands behind the layout of the last one.
            words.replace(" ,", ",").replace(" )", ")").replace("( ", "(")
        };
        query
            .query_map([], |row| Ok((row.get(0)?, bare(row.get(1)?))))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn every_older_version_becomes_what_the_document_says() {
        let document = Connection::open_in_memory().unwrap();
        document.execute_batch(include_str!("schema.sql")).unwrap();
        for version in 0..=STEPS.len() {
            let mut migrated = Connection::open_in_memory().unwrap();
            run_to(&mut migrated, version).unwrap();
            run(&mut migrated).unwrap();
            assert_eq!(shape(&migrated), shape(&document), "from version {version}");
        }
    }

    #[test]
    fn a_database_of_a_newer_version_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", STEPS.len() as i64 + 1).unwrap();
        assert!(matches!(run(&mut connection), Err(MigrationError::Newer { .. })));
        assert!(shape(&connection).is_empty());
    }
}
