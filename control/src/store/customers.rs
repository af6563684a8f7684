//! People whom personas talk with.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Store, StoreError, persona_conversations};
use crate::domain::customers::{Customer, CustomerChanges, Part, merge};
use crate::domain::error::Error;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;

impl Store {
    /// A part of an owner's customers, in the order in which they were made. `search`: those in whose name, address, number or
    /// notes this stands.
    pub async fn customers(
        &self,
        owner: &str,
        search: Option<&str>,
        page: Page,
    ) -> Result<Part<Customer>, StoreError> {
        let owner = owner.to_owned();
        let like = search.map(|text| format!("%{}%", escaped(text)));
        self.read(move |connection| {
            const MATCH: &str = "owner = :owner AND (:like IS NULL OR name LIKE :like ESCAPE '\\' OR email LIKE :like ESCAPE '\\'
                 OR phone LIKE :like ESCAPE '\\' OR telegram_id LIKE :like ESCAPE '\\' OR notes LIKE :like ESCAPE '\\')";
            let total: i64 = connection
                .prepare_cached(&format!("SELECT count(*) FROM customers WHERE {MATCH}"))?
                .query_row(named_params! { ":owner": owner, ":like": like }, |row| row.get(0))?;
            let items = connection
                .prepare_cached(&format!(
                    "SELECT * FROM customers WHERE {MATCH} ORDER BY id LIMIT :limit OFFSET :offset"
                ))?
                .query_map(
                    named_params! {
                        ":owner": owner,
                        ":like": like,
                        ":limit": page.limit.map_or(-1, i64::from),
                        ":offset": page.offset,
                    },
                    customer_from_row,
                )?
                .collect::<Result<_, _>>()?;
            Ok(Part { items, total: total.unsigned_abs() })
        })
        .await
    }

    /// A customer of an owner's.
    pub async fn customer(&self, owner: &str, id: &str) -> Result<Customer, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.read(move |connection| found(connection, &owner, &id)).await?
    }

    /// Makes a customer. Whoever is somebody at Telegram is one customer of an owner's at most.
    pub async fn add_customer(
        &self,
        owner: &str,
        new: CustomerChanges,
        at: UnixMs,
    ) -> Result<Customer, Error> {
        let (owner, id) = (owner.to_owned(), Uuid::now_v7().to_string());
        self.change(move |connection| {
            let fresh = Customer {
                id: id.clone(),
                name: String::new(),
                email: None,
                telegram_id: None,
                phone: None,
                notes: None,
                metadata: Map::new(),
                last_contact: None,
                conversations: 0,
                created: at,
                updated: at,
            };
            write(connection, &owner, fresh, &new, at)
        })
        .await?
    }

    /// The customer who is this somebody at Telegram, who wrote at `at`; made if there is none. Returns the id.
    pub async fn customer_at_telegram(
        &self,
        owner: &str,
        telegram_id: i64,
        name: &str,
        at: UnixMs,
    ) -> Result<String, StoreError> {
        let (owner, telegram, name) = (owner.to_owned(), telegram_id.to_string(), name.to_owned());
        self.change(move |connection| {
            // Whoever writes has not blocked the bot.
            let known: Option<String> = connection
                .prepare_cached(
                    "UPDATE customers SET metadata = json_remove(metadata, '$.telegram_blocked_at')
                     WHERE owner = ?1 AND telegram_id = ?2 RETURNING id",
                )?
                .query_row([&owner, &telegram], |row| row.get(0))
                .optional()?;
            let id = match known {
                Some(id) => id,
                None => connection
                    .prepare_cached(
                        "INSERT INTO customers (id, owner, name, telegram_id, metadata, created_ms, updated_ms)
                         VALUES (?1, ?2, ?3, ?4, '{}', ?5, ?5) RETURNING id",
                    )?
                    .query_row(
                        params![Uuid::now_v7().to_string(), owner, name, telegram, at.0],
                        |row| row.get(0),
                    )?,
            };
            persona_conversations::met(connection, &id, at)?;
            Ok(id)
        })
        .await
    }

    /// Notes on a customer that they want nothing from the owner's bot.
    pub async fn note_blocked_bot(&self, customer: &str, at: UnixMs) -> Result<(), StoreError> {
        let customer = customer.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE customers SET metadata = json_set(metadata, '$.telegram_blocked_at', ?2) WHERE id = ?1",
                )?
                .execute([&customer, &at.to_seconds_text()])
                .map(drop)
        })
        .await
    }

    /// Changes a customer of an owner's.
    pub async fn change_customer(
        &self,
        owner: &str,
        id: &str,
        changes: CustomerChanges,
        at: UnixMs,
    ) -> Result<Customer, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| match found(connection, &owner, &id)? {
            Ok(known) => write(connection, &owner, known, &changes, at),
            Err(error) => Ok(Err(error)),
        })
        .await?
    }
}

/// A text in which `%` and `_` mean themselves.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn write(
    connection: &Connection,
    owner: &str,
    mut customer: Customer,
    changes: &CustomerChanges,
    at: UnixMs,
) -> rusqlite::Result<Result<Customer, Error>> {
    let CustomerChanges { name, email, telegram_id, phone, notes, metadata } = changes.clone();
    let phone = phone.map(|phone| phone.map(|number| number.as_str().to_owned()));
    customer.name = name.unwrap_or(customer.name);
    customer.email = email.unwrap_or(customer.email);
    customer.telegram_id = telegram_id.unwrap_or(customer.telegram_id);
    customer.phone = phone.unwrap_or(customer.phone);
    customer.notes = notes.unwrap_or(customer.notes);
    merge(&mut customer.metadata, &metadata);
    customer.updated = at;
    if let Some(telegram) = &customer.telegram_id {
        let taken: bool = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM customers WHERE owner = ?1 AND telegram_id = ?2 AND id <> ?3)",
            )?
            .query_row(params![owner, telegram, customer.id], |row| row.get(0))?;
        if taken {
            return Ok(Err(Error::invalid("telegram_id", "is another client's")));
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO customers (id, owner, name, email, telegram_id, phone, notes, metadata, created_ms, updated_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE
             SET name = excluded.name, email = excluded.email, telegram_id = excluded.telegram_id, phone = excluded.phone,
                 notes = excluded.notes, metadata = excluded.metadata, updated_ms = excluded.updated_ms",
        )?
        .execute(params![
            customer.id,
            owner,
            customer.name,
            customer.email,
            customer.telegram_id,
            customer.phone,
            customer.notes,
            Value::Object(customer.metadata.clone()).to_string(),
            customer.created.0,
            customer.updated.0,
        ])?;
    Ok(Ok(customer))
}

fn found(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Result<Customer, Error>> {
    let found = connection
        .prepare_cached("SELECT * FROM customers WHERE id = ?1 AND owner = ?2")?
        .query_row([id, owner], customer_from_row)
        .optional()?;
    Ok(found.ok_or(Error::NotFound("Client")))
}

fn customer_from_row(row: &Row<'_>) -> rusqlite::Result<Customer> {
    let metadata: String = row.get("metadata")?;
    Ok(Customer {
        id: row.get("id")?,
        name: row.get("name")?,
        email: row.get("email")?,
        telegram_id: row.get("telegram_id")?,
        phone: row.get("phone")?,
        notes: row.get("notes")?,
        metadata: serde_json::from_str(&metadata).unwrap_or_default(),
        last_contact: row.get::<_, Option<i64>>("last_contact_ms")?.map(UnixMs),
        conversations: row.get::<_, i64>("conversations")?.unsigned_abs(),
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::users::GoogleIdentity;

    async fn store() -> (Store, tempfile::TempDir, [String; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let mut users = Vec::new();
        for sub in ["1", "2"] {
            let email = format!("{sub}@example.com");
            let identity = GoogleIdentity { sub: sub.into(), email, name: None, picture: None };
            users.push(store.sign_in(identity, UnixMs(1)).await.unwrap().id);
        }
        (store, dir, users.try_into().unwrap())
    }

    fn named(name: &str, telegram: Option<&str>) -> CustomerChanges {
        let telegram_id = Some(telegram.map(str::to_owned));
        CustomerChanges { name: Some(name.into()), telegram_id, ..CustomerChanges::default() }
    }

    #[tokio::test]
    async fn a_customer_is_found_by_its_owner_alone_and_by_what_stands_in_it() {
        let (store, _dir, [pat, bea]) = store().await;
        let alice = store.add_customer(&pat, named("Alice 100%", Some("123")), UnixMs(5)).await.unwrap();
        let _ = store.add_customer(&pat, named("Bob_", None), UnixMs(6)).await.unwrap();
        let names = async |owner: &str, search: Option<&str>, page| {
            let part = store.customers(owner, search, page).await.unwrap();
            (part.items.into_iter().map(|one| one.name).collect::<Vec<_>>(), part.total)
        };
        let all = Page::default();
        assert_eq!(names(&pat, None, all).await, (vec!["Alice 100%".into(), "Bob_".into()], 2));
        assert_eq!(names(&pat, Some("0%"), all).await, (vec!["Alice 100%".into()], 1));
        assert_eq!(names(&pat, Some("_"), all).await, (vec!["Bob_".into()], 1), "a sign means itself");
        assert_eq!(names(&pat, None, Page { limit: Some(1), offset: 1 }).await, (vec!["Bob_".into()], 2));
        assert_eq!(names(&bea, None, all).await, (vec![], 0));
        assert!(matches!(store.customer(&bea, &alice.id).await, Err(Error::NotFound(_))));
        let stolen = store.change_customer(&bea, &alice.id, named("x", None), UnixMs(7)).await;
        assert!(matches!(stolen, Err(Error::NotFound(_))));
        assert_eq!(store.customer(&pat, &alice.id).await.unwrap(), alice);
    }

    #[tokio::test]
    async fn what_is_not_sent_stays_and_what_is_null_goes() {
        let (store, _dir, [pat, bea]) = store().await;
        let metadata = json!({ "vip": true, "size": "L" });
        let new = CustomerChanges {
            notes: Some(Some("loyal".into())),
            metadata: metadata.as_object().unwrap().clone(),
            ..named("Alice", Some("123"))
        };
        let made = store.add_customer(&pat, new, UnixMs(5)).await.unwrap();
        let changes = CustomerChanges {
            notes: Some(None),
            metadata: json!({ "vip": null, "age": 7 }).as_object().unwrap().clone(),
            ..CustomerChanges::default()
        };
        let changed = store.change_customer(&pat, &made.id, changes, UnixMs(9)).await.unwrap();
        assert_eq!((changed.notes, changed.name.as_str()), (None, "Alice"));
        assert_eq!(Value::Object(changed.metadata), json!({ "size": "L", "age": 7 }));
        assert_eq!((changed.created, changed.updated), (UnixMs(5), UnixMs(9)));
        let again = store.add_customer(&pat, named("Eve", Some("123")), UnixMs(9)).await;
        assert!(matches!(again, Err(Error::Invalid { field: "telegram_id", .. })));
        store.add_customer(&bea, named("Eve", Some("123")), UnixMs(9)).await.unwrap();
    }

    #[tokio::test]
    async fn who_writes_by_telegram_is_one_customer_of_an_owners_and_its_block_is_noted() {
        let (store, _dir, [pat, bea]) = store().await;
        let id = store.customer_at_telegram(&pat, 123, "Alice", UnixMs(5)).await.unwrap();
        assert_eq!(store.customer_at_telegram(&pat, 123, "Eve", UnixMs(9)).await.unwrap(), id);
        assert_ne!(store.customer_at_telegram(&bea, 123, "Alice", UnixMs(9)).await.unwrap(), id);
        let alice = store.customer(&pat, &id).await.unwrap();
        assert_eq!((alice.name.as_str(), alice.last_contact), ("Alice", Some(UnixMs(9))));
        store.note_blocked_bot(&id, UnixMs(0)).await.unwrap();
        let blocked = store.customer(&pat, &id).await.unwrap();
        assert_eq!(blocked.metadata["telegram_blocked_at"], "1970-01-01T00:00:00Z");
        store.customer_at_telegram(&pat, 123, "Alice", UnixMs(20)).await.unwrap();
        assert!(store.customer(&pat, &id).await.unwrap().metadata.is_empty());
    }
}
