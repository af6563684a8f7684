//! CRMs of users: connections, people that were created there, and what became of each call.

use rusqlite::{Connection as Database, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::domain::crm::{CrmConnection, Sync, SyncState, Synced, kind_from_text, sync};
use crate::domain::lines::Page;
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::integrations::crm::{Crm, Person};

impl Store {
    /// A user's connection with a CRM.
    pub async fn crm_connection(&self, owner: &str, crm: Crm) -> Result<Option<CrmConnection>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |database| find(database, &owner, crm)).await
    }

    /// Connects a CRM, instead of what was connected of its kind.
    pub async fn connect_crm(&self, new: CrmConnection) -> Result<(), StoreError> {
        self.change(move |database| {
            remove(database, &new.owner, new.crm)?;
            database
                .prepare_cached(
                    "INSERT INTO crm_connections (owner, crm, id, account, instance_url, sealed, broken, created_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    new.owner,
                    new.crm.as_str(),
                    new.id,
                    new.account,
                    new.instance_url,
                    new.sealed,
                    new.broken,
                    new.created.0,
                ])
                .map(drop)
        })
        .await
    }

    /// Takes a user's connection away.
    pub async fn disconnect_crm(&self, owner: &str, crm: Crm) -> Result<Option<CrmConnection>, StoreError> {
        let owner = owner.to_owned();
        self.change(move |database| {
            let there = find(database, &owner, crm)?;
            remove(database, &owner, crm)?;
            Ok(there)
        })
        .await
    }

    /// Keeps new tokens of a connection. Nothing, if it is another one by now.
    pub async fn renew_crm(&self, renewed: CrmConnection) -> Result<(), StoreError> {
        self.change(move |database| {
            database
                .prepare_cached("UPDATE crm_connections SET sealed = ?2, instance_url = ?3 WHERE id = ?1")?
                .execute(params![renewed.id, renewed.sealed, renewed.instance_url])
                .map(drop)
        })
        .await
    }

    /// A connection has to be made anew.
    pub async fn break_crm(&self, connection: &str, why: &str) -> Result<(), StoreError> {
        let (connection, why) = (connection.to_owned(), why.to_owned());
        self.change(move |database| {
            database
                .prepare_cached("UPDATE crm_connections SET broken = ?2 WHERE id = ?1")?
                .execute([&connection, &why])
                .map(drop)
        })
        .await
    }

    /// Remembers a person who was created. Nothing, if the connection is another one by now.
    pub async fn remember_person(
        &self,
        connection: &str,
        number: &E164,
        person: &Person,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let (connection, number, person) = (connection.to_owned(), number.clone(), person.clone());
        self.change(move |database| {
            database
                .prepare_cached(
                    "INSERT OR REPLACE INTO crm_people (connection, number, kind, person, created_ms)
                     SELECT id, ?2, ?3, ?4, ?5 FROM crm_connections WHERE id = ?1",
                )?
                .execute(params![connection, number.as_str(), person.kind.as_str(), person.id, at.0])
                .map(drop)
        })
        .await
    }

    /// Whom a number was created for, since this time.
    pub async fn remembered_person(
        &self,
        connection: &str,
        number: &E164,
        since_ms: i64,
    ) -> Result<Option<Person>, StoreError> {
        let (connection, number) = (connection.to_owned(), number.clone());
        self.read(move |database| {
            database
                .prepare_cached(
                    "SELECT kind, person FROM crm_people WHERE connection = ?1 AND number = ?2 AND created_ms >= ?3",
                )?
                .query_row(params![connection, number.as_str(), since_ms], |row| {
                    let kind: String = row.get(0)?;
                    Ok(Person { id: row.get(1)?, kind: kind_from_text(&kind) })
                })
                .optional()
        })
        .await
    }

    /// Forgets them.
    pub async fn forget_person(&self, connection: &str, number: &E164) -> Result<(), StoreError> {
        let (connection, number) = (connection.to_owned(), number.clone());
        self.change(move |database| {
            database
                .prepare_cached("DELETE FROM crm_people WHERE connection = ?1 AND number = ?2")?
                .execute([connection.as_str(), number.as_str()])
                .map(drop)
        })
        .await
    }

    /// A call is logged.
    pub async fn synced(&self, sync: &str, tries: u32, synced: Synced, at: UnixMs) -> Result<(), StoreError> {
        let sync = sync.to_owned();
        self.change(move |database| {
            let person = synced.person.as_ref();
            database
                .prepare_cached(
                    "UPDATE crm_syncs SET state = 'success', tries = ?2, reason = NULL, person = ?3, person_kind = ?4,
                                          person_created = ?5, activity = ?6, ended_ms = ?7
                     WHERE id = ?1",
                )?
                .execute(params![
                    sync,
                    tries,
                    person.map(|person| &person.id),
                    person.map(|person| person.kind.as_str()),
                    synced.person_created,
                    synced.activity,
                    at.0,
                ])
                .map(drop)
        })
        .await
    }

    /// A try to log a call failed; with `ended`, it was the last one.
    pub async fn sync_failed(
        &self,
        sync: &str,
        tries: u32,
        reason: &str,
        ended: Option<UnixMs>,
    ) -> Result<(), StoreError> {
        let (sync, reason) = (sync.to_owned(), reason.to_owned());
        self.change(move |database| {
            database
                .prepare_cached(
                    "UPDATE crm_syncs
                     SET state = CASE WHEN ?4 IS NULL THEN 'pending' ELSE 'error' END, tries = ?2, reason = ?3, ended_ms = ?4
                     WHERE id = ?1 AND state <> 'success'",
                )?
                .execute(params![sync, tries, reason, ended.map(|at| at.0)])
                .map(drop)
        })
        .await
    }

    /// What became of a user's calls with a CRM, the latest end first; with `pending`, also what is not done yet, before those.
    pub async fn syncs(
        &self,
        owner: &str,
        crm: Crm,
        pending: bool,
        page: Page,
    ) -> Result<Vec<Sync>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |database| {
            // What is done is read along its index, however much there is.
            let (which, order) = match pending {
                true => ("", "crm_syncs.ended_ms DESC NULLS FIRST"),
                false => ("AND crm_syncs.ended_ms IS NOT NULL", "crm_syncs.ended_ms DESC"),
            };
            let page = params![owner, crm.as_str(), page.limit.map_or(-1, i64::from), page.offset];
            database
                .prepare_cached(&format!(
                    "SELECT crm_syncs.*, coalesce(account_calls.reported_id, crm_syncs.call) AS call_name
                     FROM crm_syncs LEFT JOIN account_calls ON account_calls.id = crm_syncs.call
                     WHERE crm_syncs.owner = ?1 AND crm = ?2 {which}
                     ORDER BY {order}, crm_syncs.id DESC LIMIT ?3 OFFSET ?4"
                ))?
                .query_map(page, sync_from_row)?
                .collect()
        })
        .await
    }

    /// Takes up again the sync of a user's that was given up. False if there is no such sync.
    pub async fn retry_sync(&self, owner: &str, id: &str, now: UnixMs) -> Result<bool, StoreError> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |database| {
            let taken = database
                .prepare_cached(
                    "UPDATE crm_syncs SET state = 'pending', ended_ms = NULL
                     WHERE id = ?1 AND owner = ?2 AND state = 'error'",
                )?
                .execute([&id, &owner])?;
            Ok(taken == 1 && super::jobs::revive(database, sync::KIND, &id, now)?)
        })
        .await
    }
}

fn find(database: &Database, owner: &str, crm: Crm) -> rusqlite::Result<Option<CrmConnection>> {
    database
        .prepare_cached("SELECT * FROM crm_connections WHERE owner = ?1 AND crm = ?2")?
        .query_row([owner, crm.as_str()], |row| {
            Ok(CrmConnection {
                id: row.get("id")?,
                owner: row.get("owner")?,
                crm,
                account: row.get("account")?,
                instance_url: row.get("instance_url")?,
                sealed: row.get("sealed")?,
                broken: row.get("broken")?,
                created: UnixMs(row.get("created_ms")?),
            })
        })
        .optional()
}

fn remove(database: &Database, owner: &str, crm: Crm) -> rusqlite::Result<()> {
    database
        .prepare_cached("DELETE FROM crm_connections WHERE owner = ?1 AND crm = ?2")?
        .execute([owner, crm.as_str()])
        .map(drop)
}

fn sync_from_row(row: &Row<'_>) -> rusqlite::Result<Sync> {
    let (crm, state): (String, String) = (row.get("crm")?, row.get("state")?);
    let (person, kind): (Option<String>, Option<String>) = (row.get("person")?, row.get("person_kind")?);
    Ok(Sync {
        id: row.get("id")?,
        crm: Crm::from_text(&crm).unwrap_or(Crm::Salesforce),
        call: row.get("call")?,
        call_name: row.get("call_name")?,
        number: row.get("number")?,
        state: SyncState::from_text(&state).unwrap_or(SyncState::Pending),
        tries: row.get("tries")?,
        reason: row.get("reason")?,
        synced: Synced {
            person: person.map(|id| Person { id, kind: kind_from_text(kind.as_deref().unwrap_or_default()) }),
            person_created: row.get("person_created")?,
            activity: row.get("activity")?,
        },
        created: UnixMs(row.get("created_ms")?),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
    })
}
