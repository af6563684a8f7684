//! People who call lines.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Store, lines};
use crate::domain::error::Error;
use crate::domain::lines::{Contact, Page};
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;

impl Store {
    /// The contacts of an owner's line, in the order in which they were made.
    pub async fn contacts(&self, owner: &str, line: &str, page: Page) -> Result<Vec<Contact>, Error> {
        let (owner, line) = (owner.to_owned(), line.to_owned());
        self.read(move |connection| {
            if let Err(error) = lines::found(connection, &owner, &line)? {
                return Ok(Err(error));
            }
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached("SELECT * FROM contacts WHERE line = ?1 ORDER BY id LIMIT ?2 OFFSET ?3")?
                .query_map(params![line, limit, offset], contact_from_row)?
                .collect::<Result<_, _>>()
                .map(Ok)
        })
        .await?
    }

    /// Makes a contact of an owner's line. A number is one contact at most.
    pub async fn add_contact(
        &self,
        owner: &str,
        line: &str,
        number: E164,
        name: Option<String>,
        at: UnixMs,
    ) -> Result<Contact, Error> {
        let (owner, line, id) = (owner.to_owned(), line.to_owned(), Uuid::now_v7().to_string());
        self.change(move |connection| {
            if let Err(error) = lines::found(connection, &owner, &line)? {
                return Ok(Err(error));
            }
            if let Some(taken) = number_taken(connection, &line, number.as_str(), &id)? {
                return Ok(Err(taken));
            }
            insert(connection, &id, &line, number.as_str(), name.as_deref(), at)?;
            found(connection, &owner, &id)
        })
        .await?
    }

    /// Changes a contact of an owner's line. `name`: none leaves it, `Some(None)` takes it away.
    pub async fn change_contact(
        &self,
        owner: &str,
        id: &str,
        number: Option<E164>,
        name: Option<Option<String>>,
        at: UnixMs,
    ) -> Result<Contact, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            let known = match found(connection, &owner, &id)? {
                Ok(contact) => contact,
                Err(error) => return Ok(Err(error)),
            };
            let number = number.as_ref().map_or(known.number.as_str(), |number| number.as_str());
            if let Some(taken) = number_taken(connection, &known.line, number, &id)? {
                return Ok(Err(taken));
            }
            let name = name.as_ref().unwrap_or(&known.name);
            connection
                .prepare_cached("UPDATE contacts SET number = ?2, name = ?3, updated_ms = ?4 WHERE id = ?1")?
                .execute(params![id, number, name, at.0])?;
            found(connection, &owner, &id)
        })
        .await?
    }

    /// Takes a contact of an owner's line out. Its conversations stay.
    pub async fn remove_contact(&self, owner: &str, id: &str) -> Result<(), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            if let Err(error) = found(connection, &owner, &id)? {
                return Ok(Err(error));
            }
            connection.execute("DELETE FROM contacts WHERE id = ?1", [&id])?;
            Ok(Ok(()))
        })
        .await?
    }
}

/// The contact that this number is on a line: the known one, or a new one.
pub(super) fn of_caller(
    connection: &Connection,
    line: &str,
    number: &str,
    at: UnixMs,
) -> rusqlite::Result<String> {
    let known = connection
        .prepare_cached("SELECT id FROM contacts WHERE line = ?1 AND number = ?2")?
        .query_row([line, number], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let id = Uuid::now_v7().to_string();
    insert(connection, &id, line, number, None, at)?;
    Ok(id)
}

fn insert(
    connection: &Connection,
    id: &str,
    line: &str,
    number: &str,
    name: Option<&str>,
    at: UnixMs,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO contacts (id, line, number, name, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![id, line, number, name, at.0])
        .map(drop)
}

fn found(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Result<Contact, Error>> {
    let contact = connection
        .prepare_cached(
            "SELECT contacts.* FROM contacts JOIN lines ON lines.id = contacts.line
             WHERE contacts.id = ?1 AND lines.owner = ?2",
        )?
        .query_row([id, owner], contact_from_row)
        .optional()?;
    Ok(contact.ok_or(Error::NotFound("Contact")))
}

fn number_taken(
    connection: &Connection,
    line: &str,
    number: &str,
    except: &str,
) -> rusqlite::Result<Option<Error>> {
    let taken = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM contacts WHERE line = ?1 AND number = ?2 AND id <> ?3)",
        )?
        .query_row([line, number, except], |row| row.get::<_, bool>(0))?;
    Ok(taken
        .then(|| Error::Conflict(format!("The phone number {number} is a contact of this client already"))))
}

fn contact_from_row(row: &Row<'_>) -> rusqlite::Result<Contact> {
    Ok(Contact {
        id: row.get("id")?,
        line: row.get("line")?,
        number: row.get("number")?,
        name: row.get("name")?,
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
    })
}
