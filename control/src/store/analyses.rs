//! What calls were about.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, booked};
use crate::domain::booked::Source;
use crate::domain::call_analysis::NewAnalysis;

impl Store {
    /// Writes down what a call was about, instead of what was written before. Nothing, if the call is gone.
    pub async fn write_analysis(&self, new: NewAnalysis) -> Result<(), StoreError> {
        self.change(move |connection| {
            let NewAnalysis { call, found, source, appointment, at } = &new;
            let known = connection
                .prepare_cached(
                    "SELECT owner, ended_ms FROM account_calls WHERE id = ?1 AND ended_ms IS NOT NULL",
                )?
                .query_row([call], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            let Some((owner, ended_ms)) = known else { return Ok(()) };
            // Not by REPLACE: the triggers that keep count would not see what goes.
            for table in ["call_keywords", "call_analyses"] {
                connection
                    .prepare_cached(&format!("DELETE FROM {table} WHERE call = ?1"))?
                    .execute([call])?;
            }
            connection
                .prepare_cached(
                    "INSERT INTO call_analyses (call, owner, intent, sentiment, source, analysed_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    call,
                    owner,
                    found.analysis.intent,
                    found.analysis.sentiment,
                    source.as_str(),
                    at.0
                ])?;
            let mut insert = connection.prepare_cached(
                "INSERT INTO call_keywords (call, keyword, owner, sentiment, source, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (call, keyword) DO NOTHING",
            )?;
            for mention in &found.analysis.keywords {
                insert.execute(params![
                    call,
                    mention.keyword,
                    owner,
                    mention.sentiment,
                    source.as_str(),
                    ended_ms
                ])?;
            }
            if let Some(summary) = &found.summary {
                connection
                    .prepare_cached("UPDATE account_calls SET summary = coalesce(summary, ?2) WHERE id = ?1")?
                    .execute(params![call, summary])?;
            }
            appointment.as_ref().map_or(Ok(()), |booked| booked::insert(connection, booked))
        })
        .await
    }

    /// Writes down who called, where nobody knew.
    pub async fn name_customer(&self, call: &str, name: String) -> Result<(), StoreError> {
        let call = call.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE account_calls SET customer_name = ?2 WHERE id = ?1 AND customer_name IS NULL",
                )?
                .execute([&call, &name])
                .map(drop)
        })
        .await
    }

    /// Who says what a call was about; none if nobody did.
    pub async fn analysis_source(&self, call: &str) -> Result<Option<Source>, StoreError> {
        let call = call.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT source FROM call_analyses WHERE call = ?1")?
                .query_row([call], |row| Ok(Source::from_text(row.get_ref(0)?.as_str()?)))
                .optional()
                .map(Option::flatten)
        })
        .await
    }
}
