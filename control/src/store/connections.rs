//! Calendars of lines, and authorizations on their way.

use rusqlite::{Connection as Database, OptionalExtension, params};

use super::{Store, lines};
use crate::domain::connections::{Begun, Connection, ConnectionKind, Purpose, Whose};
use crate::domain::error::Error;
use crate::domain::time::UnixMs;

/// How many authorizations may be on their way at once, so that nobody can fill the disk with them.
const STATES_MAX: i64 = 10_000;

/// How many of one user's; the latest stay, so that nobody can keep others from theirs.
const STATES_OF_ONE: i64 = 10;

impl Store {
    /// Writes an authorization down that begins. Those that are too old go.
    pub async fn begin(&self, begun: Begun, now: UnixMs) -> Result<(), Error> {
        self.change(move |database| {
            database.execute("DELETE FROM oauth_states WHERE expires_ms <= ?1", [now.0])?;
            if let Some(owner) = &begun.whose.owner {
                database
                    .prepare_cached(
                        "DELETE FROM oauth_states WHERE owner = ?1 AND digest NOT IN (
                             SELECT digest FROM oauth_states WHERE owner = ?1 ORDER BY expires_ms DESC LIMIT ?2
                         )",
                    )?
                    .execute(params![owner, STATES_OF_ONE - 1])?;
            }
            let there: i64 = database.query_row("SELECT count(*) FROM oauth_states", [], |row| row.get(0))?;
            if there >= STATES_MAX {
                return Ok(Err(Error::Unavailable(
                    "Too many sign-ins are on their way; try again later".into(),
                )));
            }
            database
                .prepare_cached(
                    "INSERT INTO oauth_states (digest, purpose, line, owner, redirect_uri, sealed, expires_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    begun.digest,
                    begun.purpose.as_str(),
                    begun.whose.line,
                    begun.whose.owner,
                    begun.redirect_uri,
                    begun.sealed,
                    begun.expires.0,
                ])?;
            Ok(Ok(()))
        })
        .await?
    }

    /// An authorization comes back: takes it out, so that it comes back once. None if there is none of this purpose, or it is
    /// too old.
    pub async fn come_back(
        &self,
        digest: &str,
        purpose: Purpose,
        now: UnixMs,
    ) -> Result<Option<Begun>, Error> {
        let digest = digest.to_owned();
        let begun = self
            .change(move |database| {
                database
                    .prepare_cached(
                        "DELETE FROM oauth_states WHERE digest = ?1 AND purpose = ?2
                         RETURNING line, owner, redirect_uri, sealed, expires_ms",
                    )?
                    .query_row(params![digest, purpose.as_str()], |row| {
                        Ok(Begun {
                            digest: digest.clone(),
                            purpose,
                            whose: Whose { line: row.get(0)?, owner: row.get(1)? },
                            redirect_uri: row.get(2)?,
                            sealed: row.get(3)?,
                            expires: UnixMs(row.get(4)?),
                        })
                    })
                    .optional()
            })
            .await?;
        Ok(begun.filter(|begun| begun.expires > now))
    }

    /// The calendar connection of an owner's line.
    pub async fn connection(&self, owner: &str, line: &str) -> Result<Option<Connection>, Error> {
        let (owner, line) = (owner.to_owned(), line.to_owned());
        self.read(move |database| {
            if let Err(error) = lines::found(database, &owner, &line)? {
                return Ok(Err(error));
            }
            find(database, &line).map(Ok)
        })
        .await?
    }

    /// The calendar connection of a line, whoever owns it.
    pub async fn connection_of_line(&self, line: &str) -> Result<Option<Connection>, Error> {
        let line = line.to_owned();
        Ok(self.read(move |database| find(database, &line)).await?)
    }

    /// Connects a line with a calendar, instead of the one that it had.
    pub async fn connect(&self, line: &str, connection: Connection) -> Result<(), Error> {
        let line = line.to_owned();
        self.change(move |database| {
            let there: bool = database.query_row(
                "SELECT EXISTS (SELECT 1 FROM lines WHERE id = ?1)",
                [&line],
                |row| row.get(0),
            )?;
            if !there {
                return Ok(Err(Error::NotFound("Client")));
            }
            database
                .prepare_cached(
                    "INSERT OR REPLACE INTO calendar_connections (line, kind, account, sealed, created_ms, used_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    line,
                    connection.kind.as_str(),
                    connection.account,
                    connection.sealed,
                    connection.created.0,
                    connection.used.map(|at| at.0),
                ])?;
            Ok(Ok(()))
        })
        .await?
    }

    /// Takes the calendar connection of an owner's line away.
    pub async fn disconnect(&self, owner: &str, line: &str) -> Result<Connection, Error> {
        let (owner, line) = (owner.to_owned(), line.to_owned());
        self.change(move |database| {
            if let Err(error) = lines::found(database, &owner, &line)? {
                return Ok(Err(error));
            }
            let Some(connection) = find(database, &line)? else {
                return Ok(Err(Error::NotFound("Calendar credentials")));
            };
            database.execute("DELETE FROM calendar_connections WHERE line = ?1", [&line])?;
            Ok(Ok(connection))
        })
        .await?
    }

    /// A calendar was asked with a line's connection; perhaps its tokens were made anew meanwhile. Nothing, if the connection
    /// is another one by now.
    pub async fn used_connection(
        &self,
        line: &str,
        made: UnixMs,
        sealed: Option<Vec<u8>>,
        at: UnixMs,
    ) -> Result<(), Error> {
        let line = line.to_owned();
        self.change(move |database| {
            database
                .prepare_cached(
                    "UPDATE calendar_connections SET used_ms = ?3, sealed = coalesce(?4, sealed)
                     WHERE line = ?1 AND created_ms = ?2",
                )?
                .execute(params![line, made.0, at.0, sealed])
                .map(drop)
        })
        .await?;
        Ok(())
    }
}

fn find(database: &Database, line: &str) -> rusqlite::Result<Option<Connection>> {
    database
        .prepare_cached("SELECT * FROM calendar_connections WHERE line = ?1")?
        .query_row([line], |row| {
            let kind: String = row.get("kind")?;
            Ok(Connection {
                kind: ConnectionKind::from_text(&kind).unwrap_or(ConnectionKind::OAuth),
                account: row.get("account")?,
                sealed: row.get("sealed")?,
                created: UnixMs(row.get("created_ms")?),
                used: row.get::<_, Option<i64>>("used_ms")?.map(UnixMs),
            })
        })
        .optional()
}
