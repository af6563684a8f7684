//! What a user's calls come to: sums over the days' counts, and lists over an index.

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::domain::figures::{Count, Keyword, ListedCall, RunningCall, ServerFigures, Summary};
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::domain::users::User;

/// A day, in ms.
const DAY_MS: i64 = 86_400_000;

/// How long somebody counts as active after signing in or a call: 30 days.
const ACTIVE_DAYS: i64 = 30;

/// How many keywords are told: the most frequent.
const KEYWORDS: i64 = 100;

impl Store {
    /// All ended calls of a user's.
    pub async fn call_summary(&self, owner: &str) -> Result<Summary, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT coalesce(sum(calls), 0), coalesce(sum(answered), 0), coalesce(sum(duration_s), 0)
                     FROM account_days WHERE owner = ?1",
                )?
                .query_row([owner], |row| {
                    Ok(Summary {
                        calls: count(row, 0)?,
                        answered: count(row, 1)?,
                        duration_s: count(row, 2)?,
                    })
                })
        })
        .await
    }

    /// How many ended calls each agent had; the most first.
    pub async fn calls_by_agent(&self, owner: &str) -> Result<Vec<Count>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT agent, sum(calls) AS calls FROM account_days WHERE owner = ?1
                     GROUP BY agent ORDER BY calls DESC, agent",
                )?
                .query_map([owner], count_from_row)?
                .collect()
        })
        .await
    }

    /// How many calls ended in which way, of those that began at `from` or later and before `to`; the most first.
    pub async fn calls_by_end(
        &self,
        owner: &str,
        from: Option<UnixMs>,
        to: Option<UnixMs>,
    ) -> Result<Vec<Count>, StoreError> {
        let owner = owner.to_owned();
        let from = from.map_or(0, |at| at.0.max(0));
        let to = to.map_or(i64::MAX - DAY_MS, |at| at.0.clamp(0, i64::MAX - DAY_MS));
        self.read(move |connection| by_end(connection, &owner, from, to)).await
    }

    /// The ended calls of a user's; the latest first.
    pub async fn ended_calls(&self, owner: &str, page: Page) -> Result<Vec<ListedCall>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT * FROM account_calls WHERE owner = ?1 AND ended_ms IS NOT NULL
                     ORDER BY started_ms DESC, ended_ms DESC, rowid DESC LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], listed_from_row)?
                .collect()
        })
        .await
    }

    /// An ended call of a user's, by its name in answers or its id.
    pub async fn listed_call(&self, owner: &str, name: &str) -> Result<Option<ListedCall>, StoreError> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM account_calls
                     WHERE owner = ?1 AND (id = ?2 OR reported_id = ?2) AND ended_ms IS NOT NULL LIMIT 1",
                )?
                .query_map([owner, name], listed_from_row)?
                .next()
                .transpose()
        })
        .await
    }

    /// The calls of a user's that run; the latest first.
    pub async fn running_calls(&self, owner: &str, page: Page) -> Result<Vec<RunningCall>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT coalesce(reported_id, id), customer_phone, answered, started_ms FROM account_calls
                     WHERE owner = ?1 AND ended_ms IS NULL ORDER BY started_ms DESC, rowid DESC LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], |row| {
                    Ok(RunningCall {
                        name: row.get(0)?,
                        customer_phone: row.get(1)?,
                        answered: row.get(2)?,
                        started: UnixMs(row.get(3)?),
                    })
                })?
                .collect()
        })
        .await
    }

    /// What a user's calls were about; the most frequent first.
    pub async fn calls_by_intent(&self, owner: &str) -> Result<Vec<Count>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT intent, calls FROM account_intents WHERE owner = ?1 ORDER BY calls DESC, intent",
                )?
                .query_map([owner], count_from_row)?
                .collect()
        })
        .await
    }

    /// The keywords of a user's calls; the most frequent first.
    pub async fn keywords(&self, owner: &str) -> Result<Vec<Keyword>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM account_keywords WHERE owner = ?1 ORDER BY calls DESC, keyword LIMIT ?2",
                )?
                .query_map(params![owner, KEYWORDS], |row| {
                    let calls = row.get::<_, i64>("calls")?.max(1);
                    let sum: f64 = row.get("sentiment_sum")?;
                    Ok(Keyword {
                        keyword: row.get("keyword")?,
                        calls: calls as u64,
                        positive: row.get::<_, i64>("positive")? as u64,
                        negative: row.get::<_, i64>("negative")? as u64,
                        sentiment: (sum / calls as f64).clamp(-1.0, 1.0),
                        last: UnixMs(row.get("last_ms")?),
                    })
                })?
                .collect()
        })
        .await
    }

    /// What all users and their calls come to.
    pub async fn server_figures(&self, now: UnixMs) -> Result<ServerFigures, StoreError> {
        self.read(move |connection| {
            let since = now.0 - ACTIVE_DAYS * DAY_MS;
            connection
                .prepare_cached(
                    "SELECT (SELECT count(*) FROM users),
                            (SELECT coalesce(sum(calls), 0) FROM account_days),
                            (SELECT count(*) FROM users
                             WHERE EXISTS (SELECT 1 FROM passwords WHERE user = users.id AND signed_in_ms >= ?1)
                                OR EXISTS (SELECT 1 FROM account_calls WHERE owner = users.id AND started_ms >= ?1))",
                )?
                .query_row([since], |row| {
                    Ok(ServerFigures {
                        users: count(row, 0)?,
                        calls: count(row, 1)?,
                        active_users: count(row, 2)?,
                    })
                })
        })
        .await
    }

    /// All users, in the order in which they came. The address is the one that a user signs in with.
    pub async fn all_users(&self, page: Page) -> Result<Vec<User>, StoreError> {
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT users.id, coalesce(passwords.email, users.email), users.name, users.created_ms
                     FROM users LEFT JOIN passwords ON passwords.user = users.id
                     ORDER BY users.id LIMIT ?1 OFFSET ?2",
                )?
                .query_map(params![limit, offset], |row| {
                    Ok(User {
                        id: row.get(0)?,
                        email: row.get(1)?,
                        name: row.get(2)?,
                        created: UnixMs(row.get(3)?),
                    })
                })?
                .collect()
        })
        .await
    }
}

/// Whole days by their counts, and what is left at both ends call by call.
fn by_end(connection: &Connection, owner: &str, from: i64, to: i64) -> rusqlite::Result<Vec<Count>> {
    let first_day = (from + DAY_MS - 1).div_euclid(DAY_MS);
    let end_day = to.div_euclid(DAY_MS);
    // Within one day there is no whole one.
    let (head, tail) = if first_day > end_day {
        ((from, to), (to, to))
    } else {
        ((from, first_day * DAY_MS), (end_day * DAY_MS, to))
    };
    connection
        .prepare_cached(
            "SELECT ended_reason, sum(calls) AS calls FROM (
                 SELECT ended_reason, calls FROM account_days WHERE owner = ?1 AND day >= ?2 AND day < ?3
                 UNION ALL
                 SELECT ended_reason, 1 FROM account_calls
                 WHERE owner = ?1 AND started_ms >= ?4 AND started_ms < ?5 AND ended_ms IS NOT NULL
                 UNION ALL
                 SELECT ended_reason, 1 FROM account_calls
                 WHERE owner = ?1 AND started_ms >= ?6 AND started_ms < ?7 AND ended_ms IS NOT NULL
             )
             GROUP BY ended_reason ORDER BY calls DESC, ended_reason",
        )?
        .query_map(params![owner, first_day, end_day, head.0, head.1, tail.0, tail.1], count_from_row)?
        .collect()
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}

fn count_from_row(row: &Row<'_>) -> rusqlite::Result<Count> {
    Ok(Count { name: row.get(0)?, calls: count(row, 1)? })
}

fn listed_from_row(row: &Row<'_>) -> rusqlite::Result<ListedCall> {
    let id: String = row.get("id")?;
    Ok(ListedCall {
        name: row.get::<_, Option<String>>("reported_id")?.unwrap_or_else(|| id.clone()),
        is_ours: row.get::<_, Option<String>>("call")?.is_some(),
        customer_phone: row.get("customer_phone")?,
        customer_name: row.get("customer_name")?,
        duration_s: row.get("duration_s")?,
        summary: row.get("summary")?,
        ended_reason: row.get("ended_reason")?,
        recording: row.get("recording")?,
        started: UnixMs(row.get("started_ms")?),
        id,
    })
}

#[cfg(test)]
mod tests;
