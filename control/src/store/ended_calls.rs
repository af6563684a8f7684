//! What follows from the end of an owned call, written down in one transaction.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::to_value;
use uuid::Uuid;

use super::{Store, StoreError, events, jobs};
use crate::domain::crm::sync;
use crate::domain::ended_calls::EVENT;
use crate::domain::jobs::{Lane, NewJob};
use crate::domain::time::UnixMs;

impl Store {
    /// Puts on its way what follows from the end of an owned call, by its id in `account_calls`: its sync with each CRM of the owner's,
    /// and its delivery to each webhook that wants it. Again, it changes nothing.
    pub async fn fan_out(&self, call: &str, now: UnixMs) -> Result<(), StoreError> {
        let call = call.to_owned();
        self.change(move |connection| fan_out(connection, &call, now)).await
    }
}

fn fan_out(connection: &Connection, call: &str, now: UnixMs) -> rusqlite::Result<()> {
    let ended = connection
        .prepare_cached(
            "SELECT owner, customer_phone FROM account_calls WHERE id = ?1 AND ended_ms IS NOT NULL",
        )?
        .query_row([call], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    // Its record was deleted: nobody is told of it any more.
    let Some((owner, number)) = ended else { return Ok(()) };
    let crms: Vec<String> = connection
        .prepare_cached("SELECT crm FROM crm_connections WHERE owner = ?1")?
        .query_map([&owner], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for crm in crms {
        add_sync(connection, &owner, &crm, call, &number, now)?;
    }
    // What is told is made of the record when it is told: until then it may be completed, or deleted.
    events::put_on_its_way(connection, &owner, EVENT, call, None, now)
}

fn add_sync(
    connection: &Connection,
    owner: &str,
    crm: &str,
    call: &str,
    number: &str,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let id = Uuid::now_v7().to_string();
    let added = connection
        .prepare_cached(
            "INSERT INTO crm_syncs (id, owner, crm, call, number, state, tries, person_created, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, 'pending', 0, 0, ?6) ON CONFLICT (owner, crm, call) DO NOTHING",
        )?
        .execute(params![id, owner, crm, call, number, now.0])?;
    if added == 0 {
        return Ok(());
    }
    let payload = sync::Payload { sync: id.clone(), owner: owner.into(), crm: crm.into(), call: call.into() };
    let job = NewJob {
        kind: sync::KIND,
        key: id,
        // One at a time for each account, which has one limit of requests; and the next call of a person finds who was created.
        lane: Lane::unordered(format!("{} {crm} {owner}", sync::KIND)),
        payload: to_value(payload).expect("texts are JSON"),
        at: now,
    };
    jobs::enqueue(connection, &job).map(drop)
}
