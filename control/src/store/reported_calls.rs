//! Webhooks that calls are reported to, and what is reported: in any order, as often as it comes, of one call one row.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, StoreError, account_calls};
use crate::domain::account_calls::{
    CallReport, Outcome, RUNNING_MS_MAX, Stage, believable_times, was_answered,
};
use crate::domain::inbound_webhooks::InboundWebhook;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;

/// How long after the word that a call is over its report is waited for.
const REPORT_WAIT_MS: i64 = 5 * 60_000;

/// Why a call ended of which nobody told.
const UNKNOWN_END: &str = "unknown";

/// How many calls one sweep closes.
const SWEPT_AT_ONCE: i64 = 500;

impl Store {
    /// Writes a webhook down.
    pub async fn add_inbound_webhook(&self, webhook: InboundWebhook) -> Result<(), StoreError> {
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO inbound_webhooks (id, owner, name, token, sealed, created_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    webhook.id,
                    webhook.owner,
                    webhook.name,
                    webhook.token,
                    webhook.sealed,
                    webhook.created.0
                ])
                .map(drop)
        })
        .await
    }

    /// A user's webhooks, in the order in which they were made.
    pub async fn inbound_webhooks(&self, owner: &str, page: Page) -> Result<Vec<InboundWebhook>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT * FROM inbound_webhooks WHERE owner = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], webhook_from_row)?
                .collect()
        })
        .await
    }

    /// The webhook of a token, whoever owns it.
    pub async fn inbound_webhook(&self, token: &str) -> Result<Option<InboundWebhook>, StoreError> {
        let token = token.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM inbound_webhooks WHERE token = ?1")?
                .query_row([token], webhook_from_row)
                .optional()
        })
        .await
    }

    /// Writes down what was reported of a call. Nothing, if it says nothing new.
    pub async fn report_call(
        &self,
        owner: &str,
        webhook: &str,
        report: CallReport,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let (owner, webhook) = (owner.to_owned(), webhook.to_owned());
        let fresh = Uuid::now_v7().to_string();
        self.change(move |connection| take(connection, &owner, &webhook, &fresh, &report, at)).await
    }

    /// Closes reported calls of whose end nobody told within a day, and goes on with those whose report does not come. How many
    /// there were.
    pub async fn sweep_reported_calls(&self, now: UnixMs) -> Result<usize, StoreError> {
        let due = self.read(move |connection| overdue(connection, now)).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let count = due.len();
        self.change(move |connection| due.iter().try_for_each(|id| give_up(connection, id, now))).await?;
        Ok(count)
    }
}

/// What is known of a call so far.
struct Known {
    id: String,
    has_ended: bool,
    has_report: bool,
    started_ms: i64,
}

fn take(
    connection: &Connection,
    owner: &str,
    webhook: &str,
    fresh: &str,
    report: &CallReport,
    at: UnixMs,
) -> rusqlite::Result<()> {
    let known = connection
        .prepare_cached(
            "SELECT id, ended_ms IS NOT NULL, is_reported, started_ms FROM account_calls
             WHERE owner = ?1 AND reported_id = ?2",
        )?
        .query_row([owner, &report.id], |row| {
            Ok(Known {
                id: row.get(0)?,
                has_ended: row.get(1)?,
                has_report: row.get(2)?,
                started_ms: row.get(3)?,
            })
        })
        .optional()?;
    let known = match known {
        Some(known) => known,
        None => begin(connection, owner, webhook, fresh, report, at)?,
    };
    // What overtook the end says nothing of a call that is over.
    if known.has_ended && report.stage != Stage::Ended {
        return Ok(());
    }
    if report.stage == Stage::InProgress {
        connection
            .prepare_cached("UPDATE account_calls SET answered = 1 WHERE id = ?1")?
            .execute([&known.id])?;
    }
    if report.stage != Stage::Ended || (known.has_ended && report.outcome.is_none()) {
        return add_names(connection, &known.id, owner, report);
    }
    end(connection, &known, report, at)?;
    add_names(connection, &known.id, owner, report)?;
    if let Some(outcome) = &report.outcome {
        write_outcome(connection, &known.id, outcome)?;
        if !known.has_report {
            return account_calls::call_has_ended(connection, &known.id, at);
        }
    }
    Ok(())
}

/// The first word of a call.
fn begin(
    connection: &Connection,
    owner: &str,
    webhook: &str,
    id: &str,
    report: &CallReport,
    at: UnixMs,
) -> rusqlite::Result<Known> {
    let (started, ..) = believable_times(report, at);
    connection
        .prepare_cached(
            "INSERT INTO account_calls (id, owner, workspace, webhook, reported_id, agent, customer_phone, started_ms, answered,
                                        duration_s, ended_reason)
             VALUES (?1, ?2, (SELECT workspace FROM workspace_members WHERE user = ?2 AND selected = 1), ?3, ?4, '', '', ?5, 0,
                     0, '')",
        )?
        .execute(params![id, owner, webhook, report.id, started.0])?;
    Ok(Known { id: id.to_owned(), has_ended: false, has_report: false, started_ms: started.0 })
}

/// Who talks with whom, as far as it is told; what is told later counts.
fn add_names(connection: &Connection, id: &str, owner: &str, report: &CallReport) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE account_calls
             SET agent = coalesce(?2, (SELECT assistant_names.name
                                       FROM assistant_names JOIN assistants ON assistants.id = assistant_names.assistant
                                       WHERE assistants.id = ?3 AND assistants.owner = ?4),
                                  nullif(agent, ''), ?3, 'Unknown'),
                 customer_phone = coalesce(?5, customer_phone),
                 customer_name = coalesce(?6, customer_name),
                 summary = coalesce(?7, summary),
                 recording = coalesce(?8, recording)
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            report.agent,
            report.assistant,
            owner,
            report.customer_phone,
            report.customer_name,
            report.summary,
            report.recording,
        ])
        .map(drop)
}

fn end(connection: &Connection, known: &Known, report: &CallReport, at: UnixMs) -> rusqlite::Result<()> {
    let mut report = report.clone();
    // A report without times of its own is about the call that is known to have begun.
    report.started = report.started.or(Some(UnixMs(known.started_ms)));
    if report.ended.is_none() && report.duration_s.is_none() {
        report.ended = Some(at);
    }
    let (started, ended, seconds) = believable_times(&report, at);
    let reason = report.ended_reason.as_deref();
    connection
        .prepare_cached(
            "UPDATE account_calls
             SET started_ms = ?2, ended_ms = ?3, duration_s = iif(?6 IS NULL OR ?6, ?4, 0),
                 ended_reason = coalesce(?5, nullif(ended_reason, ''), ?7), answered = coalesce(?6, answered)
             WHERE id = ?1",
        )?
        .execute(params![
            known.id,
            started.0,
            ended.map(|at| at.0),
            seconds,
            reason,
            reason.map(was_answered),
            UNKNOWN_END,
        ])
        .map(drop)
}

fn write_outcome(connection: &Connection, id: &str, outcome: &Outcome) -> rusqlite::Result<()> {
    let json = |value: &Value| value.to_string();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO call_reports (call, details, structured_outputs, transcript) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            id,
            json(&outcome.details.clone().into()),
            json(&outcome.structured_outputs.clone().into()),
            json(&outcome.transcript.clone().into()),
        ])?;
    connection
        .prepare_cached("UPDATE account_calls SET is_reported = 1 WHERE id = ?1")?
        .execute([id])
        .map(drop)
}

/// Calls that nobody told the end of, and ended ones that nobody reported.
fn overdue(connection: &Connection, now: UnixMs) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT id FROM account_calls INDEXED BY account_calls_unreported
             WHERE call IS NULL AND is_reported = 0 AND coalesce(ended_ms + ?2, started_ms + ?3) <= ?1
             LIMIT ?4",
        )?
        .query_map(params![now.0, REPORT_WAIT_MS, RUNNING_MS_MAX, SWEPT_AT_ONCE], |row| row.get(0))?
        .collect()
}

fn give_up(connection: &Connection, id: &str, now: UnixMs) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE account_calls SET ended_ms = started_ms, ended_reason = ?2 WHERE id = ?1 AND ended_ms IS NULL",
        )?
        .execute([id, UNKNOWN_END])?;
    write_outcome(connection, id, &Outcome::default())?;
    account_calls::call_has_ended(connection, id, now)
}

fn webhook_from_row(row: &Row<'_>) -> rusqlite::Result<InboundWebhook> {
    Ok(InboundWebhook {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        token: row.get("token")?,
        sealed: row.get("sealed")?,
        created: UnixMs(row.get("created_ms")?),
    })
}

#[cfg(test)]
pub(super) mod tests;
