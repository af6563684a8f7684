//! How many of a user's calls ran at once.
//!
//! Each hour's peak is counted once and kept, until a call of that hour begins, ends or goes; what is not counted yet is counted
//! when it is asked for. A call counts for a day at most: so the calls of a time are those that began in it or in the day before.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::domain::account_calls::RUNNING_MS_MAX;
use crate::domain::concurrency::{Concurrency, Granularity, HOUR_MS, Interval, Point, peaks};
use crate::domain::time::UnixMs;

/// Hours that are counted at once.
const HOURS_AT_ONCE: i64 = 500;

/// Hours so far apart are counted apart: the calls between them need not be looked at.
const GAP_HOURS: i64 = 24;

impl Store {
    /// How many calls of a user's run, and how many ran at once at most.
    pub async fn concurrency(&self, owner: &str, now: UnixMs) -> Result<Concurrency, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            let current = running(&transaction, &owner)?;
            let Some((first, last)) = hours(&transaction, &owner, now)? else {
                return Ok(Concurrency::default());
            };
            let all = bucket_peaks(&transaction, &owner, (first, last), last - first + 1, now)?;
            let peak = all.into_iter().max().unwrap_or(0);
            Ok(Concurrency { current, peak: peak.max(current) })
        })
        .await
    }

    /// How many calls of a user's ran at once, bucket by bucket, from the first call to the last; the newest `limit` buckets.
    pub async fn concurrency_series(
        &self,
        owner: &str,
        granularity: Granularity,
        limit: u32,
        now: UnixMs,
    ) -> Result<Vec<Point>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            let Some((first, last)) = hours(&transaction, &owner, now)? else { return Ok(Vec::new()) };
            series(&transaction, &owner, (first, last), granularity, limit.into(), now)
        })
        .await
    }

    /// Counts hours that are over and not counted yet, some of them. False if there are no more.
    pub async fn count_hours(&self, now: UnixMs) -> Result<bool, StoreError> {
        let counted = self.read(move |connection| count_hours(connection, now)).await?;
        let is_more = counted.len() as i64 == HOURS_AT_ONCE;
        if !counted.is_empty() {
            self.change(move |connection| {
                let mut update = connection.prepare_cached(
                    "UPDATE account_hours SET peak = ?3, counted = ?4 WHERE owner = ?1 AND hour = ?2",
                )?;
                for hour in &counted {
                    update.execute(params![hour.owner, hour.hour, hour.peak, hour.changes])?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(is_more)
    }
}

/// An hour that was counted as of so many changes.
struct Counted {
    owner: String,
    hour: i64,
    changes: i64,
    peak: u32,
}

fn count_hours(connection: &Connection, now: UnixMs) -> rusqlite::Result<Vec<Counted>> {
    // One view of both tables: what changes meanwhile is counted again.
    let transaction = connection.unchecked_transaction()?;
    let mut hours: Vec<Counted> = transaction
        .prepare_cached(
            "SELECT owner, hour, changes FROM account_hours INDEXED BY account_hours_uncounted
             WHERE counted < changes AND hour < ?1 ORDER BY owner, hour LIMIT ?2",
        )?
        .query_map(params![now.0.div_euclid(HOUR_MS), HOURS_AT_ONCE], |row| {
            Ok(Counted { owner: row.get(0)?, hour: row.get(1)?, changes: row.get(2)?, peak: 0 })
        })?
        .collect::<Result<_, _>>()?;
    let mut by_owner: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for hour in &hours {
        by_owner.entry(hour.owner.clone()).or_default().push(hour.hour);
    }
    for (owner, wanted) in &by_owner {
        let counted = counted_anew(&transaction, owner, wanted, now)?;
        for hour in hours.iter_mut().filter(|hour| hour.owner == *owner) {
            hour.peak = counted[&hour.hour];
        }
    }
    Ok(hours)
}

fn running(connection: &Connection, owner: &str) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM account_calls INDEXED BY account_calls_running
             WHERE owner = ?1 AND ended_ms IS NULL",
        )?
        .query_row([owner], |row| row.get(0))
}

/// The first and the last hour in which calls of a user's may have run: this one, while some do.
fn hours(connection: &Connection, owner: &str, now: UnixMs) -> rusqlite::Result<Option<(i64, i64)>> {
    let end = |order: &str| {
        connection
            .prepare_cached(&format!(
                "SELECT max(hour) FROM (SELECT hour FROM account_hours
                                        WHERE owner = ?1 AND (peak > 0 OR counted < changes)
                                        ORDER BY hour {order} LIMIT 1)"
            ))?
            .query_row([owner], |row| row.get::<_, Option<i64>>(0))
    };
    let runs = oldest_running(connection, owner)?.map(|_| now.0.div_euclid(HOUR_MS));
    Ok(end("ASC")?.zip(end("DESC")?.max(runs)))
}

/// The peaks of buckets of `hours_each` hours, from the hour `first` to the hour `last`.
fn bucket_peaks(
    connection: &Connection,
    owner: &str,
    (first, last): (i64, i64),
    hours_each: i64,
    now: UnixMs,
) -> rusqlite::Result<Vec<u32>> {
    let bucket = |hour: i64| usize::try_from((hour - first) / hours_each).unwrap_or(0);
    let mut peaks = vec![0; bucket(last) + 1];
    let mut rows = connection.prepare_cached(
        "SELECT (hour - ?2) / ?4, max(peak) FROM account_hours
         WHERE owner = ?1 AND hour BETWEEN ?2 AND ?3 AND counted = changes GROUP BY 1",
    )?;
    let mut rows = rows.query(params![owner, first, last, hours_each])?;
    while let Some(row) = rows.next()? {
        peaks[row.get::<_, i64>(0)? as usize] = row.get(1)?;
    }
    let mut uncounted: Vec<i64> = connection
        .prepare_cached(
            "SELECT hour FROM account_hours INDEXED BY account_hours_uncounted
             WHERE counted < changes AND owner = ?1 AND hour BETWEEN ?2 AND ?3",
        )?
        .query_map(params![owner, first, last], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // A call that runs has told of its first hour alone.
    if let Some(oldest) = oldest_running(connection, owner)? {
        let since = oldest.div_euclid(HOUR_MS).max(now.0.div_euclid(HOUR_MS) - RUNNING_MS_MAX / HOUR_MS);
        uncounted.extend(since.max(first)..=last);
    }
    uncounted.sort_unstable();
    uncounted.dedup();
    for (hour, peak) in counted_anew(connection, owner, &uncounted, now)? {
        let known = &mut peaks[bucket(hour)];
        *known = peak.max(*known);
    }
    Ok(peaks)
}

fn oldest_running(connection: &Connection, owner: &str) -> rusqlite::Result<Option<i64>> {
    // By the index of all calls, all of them would be looked at for one that runs.
    connection
        .prepare_cached(
            "SELECT min(started_ms) FROM account_calls INDEXED BY account_calls_running
             WHERE owner = ?1 AND ended_ms IS NULL",
        )?
        .query_row([owner], |row| row.get(0))
}

/// The peaks of these hours, which are in order.
fn counted_anew(
    connection: &Connection,
    owner: &str,
    hours: &[i64],
    now: UnixMs,
) -> rusqlite::Result<BTreeMap<i64, u32>> {
    let mut counted = BTreeMap::new();
    for near in hours.chunk_by(|one, next| next - one <= GAP_HOURS) {
        let (first, last) = (near[0], near[near.len() - 1]);
        let calls = calls_within(connection, owner, first * HOUR_MS, (last + 1) * HOUR_MS, now)?;
        let peaks = peaks(&calls, first * HOUR_MS, HOUR_MS, (last - first + 1) as usize);
        counted.extend(near.iter().map(|hour| (*hour, peaks[(hour - first) as usize])));
    }
    Ok(counted)
}

/// The times of all calls that ran between two moments.
fn calls_within(
    connection: &Connection,
    owner: &str,
    from: i64,
    to: i64,
    now: UnixMs,
) -> rusqlite::Result<Vec<Interval>> {
    connection
        .prepare_cached(
            "SELECT started_ms, ended_ms FROM account_calls
             WHERE owner = ?1 AND started_ms > ?2 AND started_ms < ?3",
        )?
        .query_map(params![owner, from - RUNNING_MS_MAX, to], |row| {
            let started: i64 = row.get(0)?;
            let ended = row.get::<_, Option<i64>>(1)?.unwrap_or(now.0 + 1);
            Ok(Interval { from: started, to: ended.min(started + RUNNING_MS_MAX) })
        })?
        .filter(|call| !call.as_ref().is_ok_and(|call| call.to <= from))
        .collect()
}

fn series(
    connection: &Connection,
    owner: &str,
    (first, last): (i64, i64),
    granularity: Granularity,
    limit: i64,
    now: UnixMs,
) -> rusqlite::Result<Vec<Point>> {
    let bucket = granularity.ms();
    let points = |begins: i64, counts: Vec<u32>| -> Vec<Point> {
        let at = |n: usize| (begins + n as i64 * bucket) / 1_000;
        counts.into_iter().enumerate().map(|(n, count)| Point { at_s: at(n), count }).collect()
    };
    if granularity == Granularity::Minute {
        let last_moment = |from: i64| -> rusqlite::Result<Option<i64>> {
            let calls = calls_within(connection, owner, from, i64::MAX, now)?;
            Ok(calls.iter().filter(|call| call.to > call.from).map(|call| call.to - 1).max())
        };
        // Mostly in the last hours; unless nothing but calls without any length was there.
        let lately = last_moment((last - 24) * HOUR_MS)?;
        let end = if lately.is_some() { lately } else { last_moment(first * HOUR_MS)? };
        let Some(end) = end else { return Ok(Vec::new()) };
        let start: i64 = connection
            .prepare_cached("SELECT min(started_ms) FROM account_calls WHERE owner = ?1")?
            .query_row([owner], |row| row.get(0))?;
        let last = end.div_euclid(bucket);
        let first = start.div_euclid(bucket).max(last + 1 - limit);
        let calls = calls_within(connection, owner, first * bucket, (last + 1) * bucket, now)?;
        return Ok(points(
            first * bucket,
            peaks(&calls, first * bucket, bucket, (last - first + 1) as usize),
        ));
    }
    let hours_each = bucket / HOUR_MS;
    let newest = last.div_euclid(hours_each);
    let oldest = first.div_euclid(hours_each).max(newest + 1 - limit);
    let begins = oldest * hours_each;
    let counts = bucket_peaks(connection, owner, (begins, last), hours_each, now)?;
    Ok(points(begins * HOUR_MS, counts))
}
