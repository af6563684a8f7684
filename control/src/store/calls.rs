//! Calls, their turns, timelines and answers: each query beside the function that runs it.

use offhook_engine::CallId;
use offhook_engine::call::{By, EndReason, Speaker};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError, account_calls, contacts, ledger};
use crate::domain::call::{
    Announcement, CallRecord, CallStatus, Figures, NO_MEDIA, OnLine, ReportOutcome, StatusReport,
    TimelineEntry, TurnRecord, WholeCall, report_counts, terminal_carrier_status,
};
use crate::domain::ledger::seconds_of;
use crate::domain::time::UnixMs;

impl Store {
    /// A call with its turns and answers, by our name or the carrier's; of several with one carrier's name, the latest.
    pub async fn call(&self, name: &str) -> Result<Option<WholeCall>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| {
            let Some(record) = find(connection, &name)? else { return Ok(None) };
            let turns = turns(connection, &record.call)?;
            let answers = answers(connection, &record.call)?;
            Ok(Some(WholeCall { record, turns, answers }))
        })
        .await
    }

    /// A call's record, found as by [`Store::call`].
    pub async fn record(&self, name: &str) -> Result<Option<CallRecord>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| find(connection, &name)).await
    }

    /// Up to `limit` calls, the latest first; with `before`, only such as were announced before that call.
    pub async fn calls(&self, limit: usize, before: Option<CallId>) -> Result<Vec<CallRecord>, StoreError> {
        self.read(move |connection| {
            // Every id is less than "g": ids are hexadecimal.
            let before = before.as_ref().map_or("\u{10ffff}", CallId::as_str);
            connection
                .prepare_cached("SELECT * FROM calls WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
                .query_map(params![before, limit as i64], call_from_row)?
                .collect()
        })
        .await
    }

    /// What became of the calls that were announced at `since` or later.
    pub async fn figures(&self, since: UnixMs) -> Result<Figures, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT count(*),
                            count(ended_ms),
                            count(*) FILTER (WHERE ended_ms IS NOT NULL AND status = ?2),
                            avg(duration_ms) FILTER (WHERE ended_ms IS NOT NULL AND answered_ms IS NOT NULL)
                     FROM calls WHERE id >= ?3 AND announced_ms >= ?1",
                )?
                .query_row(params![since.0, CallStatus::Completed.as_str(), first_id(since)], |row| {
                    Ok(Figures {
                        announced: row.get::<_, i64>(0)? as u64,
                        finished: row.get::<_, i64>(1)? as u64,
                        completed: row.get::<_, i64>(2)? as u64,
                        duration_ms_average: row.get(3)?,
                    })
                })
        })
        .await
    }

    /// Up to `limit` entries of a call's timeline, in order; only those after place `after`.
    pub async fn timeline(
        &self,
        call: &CallId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<TimelineEntry>, StoreError> {
        let call = call.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT place, at_us, kind, data FROM events
                     WHERE call = ?1 AND place > ?2 ORDER BY place LIMIT ?3",
                )?
                .query_map(params![call.as_str(), after, limit as i64], |row| {
                    let data: String = row.get(3)?;
                    Ok(TimelineEntry {
                        place: row.get(0)?,
                        at_us: row.get::<_, i64>(1)? as u64,
                        kind: row.get(2)?,
                        data: serde_json::from_str(&data).unwrap_or(serde_json::Value::Null),
                    })
                })?
                .collect()
        })
        .await
    }
}

/// Less than the name of every call that was announced at `since` or later, so that older calls need not be looked at.
///
/// A UUIDv7 begins with its milliseconds in twelve hexadecimal digits (RFC 9562, section 5.7). A call is named a moment
/// before its announcement is timed: ten minutes of room, and the exact limit is that of the announcement.
fn first_id(since: UnixMs) -> String {
    let ms = since.0.saturating_sub(600_000).clamp(0, (1 << 48) - 1);
    format!("{:08x}-{:04x}", ms >> 16, ms & 0xffff)
}

pub(super) fn insert(connection: &Connection, new: &Announcement) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO calls (id, carrier, carrier_call_id, from_number, to_number, direction, scenario, status,
                                announced_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            new.call.as_str(),
            new.carrier,
            new.carrier_call_id,
            new.from,
            new.to,
            new.direction,
            new.scenario,
            CallStatus::Announced.as_str(),
            new.at.0,
        ])?;
    if let Some(on) = new.on_line.as_deref() {
        insert_line_call(connection, &new.call, on, new.at)?;
    }
    account_calls::announced(connection, new)
}

/// Writes down which line a call is on, and who calls. Nothing, if the line is gone by now.
fn insert_line_call(connection: &Connection, call: &CallId, on: &OnLine, at: UnixMs) -> rusqlite::Result<()> {
    let there: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM lines WHERE id = ?1)")?
        .query_row([&on.line], |row| row.get(0))?;
    if !there {
        return Ok(());
    }
    let caller = on.caller.as_ref();
    let contact = caller.map(|number| contacts::of_caller(connection, &on.line, number.as_str(), at));
    connection
        .prepare_cached(
            "INSERT INTO line_calls (call, line, contact) VALUES (?1, ?2, ?3) ON CONFLICT (call) DO NOTHING",
        )?
        .execute(params![call.as_str(), on.line, contact.transpose()?])
        .map(drop)
}

pub(super) fn answer(
    connection: &Connection,
    call: &CallId,
    stream_id: &str,
    at: UnixMs,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE calls SET status = ?2, stream_id = ?3, answered_ms = ?4 WHERE id = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![call.as_str(), CallStatus::InProgress.as_str(), stream_id, at.0])?;
    account_calls::answered(connection, call)
}

/// Nothing is added to a call that is gone.
///
/// Most writes are such, so this is one row of plain values: for a selection SQLite would first copy each page that it changes,
/// to be able to take back what it had inserted of it.
pub(super) fn add_event(
    connection: &Connection,
    call: &CallId,
    at_us: u64,
    kind: &str,
    data: &str,
) -> rusqlite::Result<()> {
    let added = connection
        .prepare_cached("INSERT INTO events (call, at_us, kind, data) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![call.as_str(), at_us as i64, kind, data]);
    match added {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY =>
        {
            Ok(())
        }
        added => added.map(drop),
    }
}

pub(super) fn add_turn(connection: &Connection, call: &CallId, turn: &TurnRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO turns (call, turn, speaker, started_at_ms, ended_at_ms, text, unheard, spoken_by,
                                           response_ms)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE EXISTS (SELECT 1 FROM calls WHERE id = ?1)",
        )?
        .execute(params![
            call.as_str(),
            turn.turn,
            speaker_word(turn.speaker),
            turn.started_ms as i64,
            turn.ended_ms as i64,
            turn.text,
            turn.unheard,
            by_word(turn.by),
            turn.response_ms,
        ])
        .map(drop)
}

pub(super) fn set_answer(
    connection: &Connection,
    call: &CallId,
    name: &str,
    value: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO answers (call, name, value, place)
             SELECT ?1, ?2, ?3, (SELECT count(*) FROM answers WHERE call = ?1)
             WHERE EXISTS (SELECT 1 FROM calls WHERE id = ?1)
             ON CONFLICT (call, name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![call.as_str(), name, value])
        .map(drop)
}

/// How a call ended.
pub(super) struct End<'a> {
    pub(super) status: CallStatus,
    pub(super) reason: &'a str,
    pub(super) duration_ms: Option<u64>,
    pub(super) at: UnixMs,
    pub(super) recording: Option<&'a str>,
    pub(super) journal: Option<&'a str>,
}

/// Completes a call's record, and settles what it cost. A record that is complete stays as it is.
pub(super) fn finish(connection: &Connection, call: &CallId, end: &End<'_>) -> rusqlite::Result<()> {
    if let Some(duration_ms) = end.duration_ms {
        ledger::charge(connection, call, seconds_of(duration_ms), end.at)?;
    }
    connection
        .prepare_cached(
            "UPDATE calls SET status = ?2, end_reason = ?3, duration_ms = ?4, ended_ms = ?5, recording = ?6,
                              journal = ?7
             WHERE id = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![
            call.as_str(),
            end.status.as_str(),
            end.reason,
            end.duration_ms.map(|ms| ms as i64),
            end.at.0,
            end.recording,
            end.journal,
        ])?;
    account_calls::ended(connection, call, end)
}

pub(super) fn add_loss(
    connection: &Connection,
    call: &CallId,
    note: &str,
    entries: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE calls SET lost_entries = lost_entries + ?3,
                              loss_notes = loss_notes || CASE WHEN ?2 = '' THEN '' ELSE ?2 || char(10) END
             WHERE id = ?1",
        )?
        .execute(params![call.as_str(), note, entries as i64])
        .map(drop)
}

/// Writes down what a carrier reports, unless it says nothing new. A terminal word ends a call that has no media.
pub(super) fn report(connection: &Connection, report: &StatusReport) -> rusqlite::Result<ReportOutcome> {
    let known = connection
        .prepare_cached(
            "SELECT id, carrier_status, carrier_sequence, answered_ms, ended_ms FROM calls
             WHERE carrier_call_id = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([&report.carrier_call_id], |row| {
            Ok((
                call_id(row, 0)?,
                row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                row.get::<_, Option<u32>>(2)?,
                row.get::<_, Option<i64>>(3)?.is_some(),
                row.get::<_, Option<i64>>(4)?.is_some(),
            ))
        })
        .optional()?;
    let Some((call, last_status, last_sequence, answered, ended)) = known else {
        return Ok(ReportOutcome::UnknownCall);
    };
    if !report_counts(&last_status, last_sequence, report) {
        return Ok(ReportOutcome::Ignored(call));
    }
    connection
        .prepare_cached(
            "UPDATE calls SET carrier_status = ?2, carrier_sequence = coalesce(?3, carrier_sequence),
                              carrier_duration_s = coalesce(?4, carrier_duration_s)
             WHERE id = ?1",
        )?
        .execute(params![call.as_str(), report.status, report.sequence, report.duration_s])?;
    match terminal_carrier_status(&report.status) {
        Some(status) if !answered && !ended => {
            let end = End {
                status,
                reason: NO_MEDIA,
                duration_ms: None,
                at: report.at,
                recording: None,
                journal: None,
            };
            finish(connection, &call, &end)?;
            Ok(ReportOutcome::Ended(call))
        }
        _ => Ok(ReportOutcome::Recorded(call)),
    }
}

/// The recording and the journal that a call left behind, under the data folder.
type Files = (Option<String>, Option<String>);

/// Closes calls that run, though no process runs them. `files` says which recording and journal a call left behind.
///
/// Such a call lasted at least to its last timeline entry, and for the seconds that it was charged for. Returns how many there
/// were.
pub(super) fn close_running(
    connection: &Connection,
    now: UnixMs,
    files: &dyn Fn(&str) -> Files,
) -> rusqlite::Result<usize> {
    let running: Vec<(CallId, Option<i64>, i64, i64)> = connection
        .prepare(
            "SELECT id, answered_ms, coalesce((SELECT max(at_us) FROM events WHERE call = calls.id), 0),
                    coalesce((SELECT unpaid_s - seconds FROM ledger_entries WHERE source = 'call:' || calls.id), 0)
             FROM calls WHERE ended_ms IS NULL",
        )?
        .query_map([], |row| Ok((call_id(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    for (call, answered, last_us, charged_s) in &running {
        let (recording, journal) = files(call.as_str());
        let duration_ms = answered.map(|_| (last_us / 1_000).max(charged_s * 1_000));
        let end = End {
            status: CallStatus::Failed,
            reason: EndReason::EngineRestarted.as_str(),
            duration_ms: duration_ms.map(|ms| ms as u64),
            at: answered.zip(duration_ms).map_or(now, |(answered, ms)| UnixMs(answered + ms)),
            recording: recording.as_deref(),
            journal: journal.as_deref(),
        };
        finish(connection, call, &end)?;
    }
    Ok(running.len())
}

fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<CallRecord>> {
    connection
        .prepare_cached(
            "SELECT * FROM calls WHERE id = ?1 OR carrier_call_id = ?1 ORDER BY id = ?1 DESC, id DESC LIMIT 1",
        )?
        .query_row([name], call_from_row)
        .optional()
}

pub(super) fn turns(connection: &Connection, call: &CallId) -> rusqlite::Result<Vec<TurnRecord>> {
    connection
        .prepare_cached("SELECT * FROM turns WHERE call = ?1 ORDER BY turn")?
        .query_map([call.as_str()], |row| {
            Ok(TurnRecord {
                turn: row.get("turn")?,
                speaker: speaker(row.get_ref("speaker")?.as_str()?),
                started_ms: row.get::<_, i64>("started_at_ms")? as u64,
                ended_ms: row.get::<_, i64>("ended_at_ms")? as u64,
                text: row.get("text")?,
                unheard: row.get("unheard")?,
                by: by(row.get_ref("spoken_by")?.as_str()?),
                response_ms: row.get("response_ms")?,
            })
        })?
        .collect()
}

pub(super) fn answers(connection: &Connection, call: &CallId) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT name, value FROM answers WHERE call = ?1 AND value <> '' ORDER BY place")?
        .query_map([call.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn call_from_row(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    let status: String = row.get("status")?;
    Ok(CallRecord {
        call: call_id(row, 0)?,
        carrier: row.get("carrier")?,
        carrier_call_id: row.get("carrier_call_id")?,
        stream_id: row.get("stream_id")?,
        from: row.get("from_number")?,
        to: row.get("to_number")?,
        direction: row.get("direction")?,
        scenario: row.get("scenario")?,
        status: CallStatus::from_text(&status).unwrap_or(CallStatus::Failed),
        carrier_status: row.get("carrier_status")?,
        carrier_duration_s: row.get("carrier_duration_s")?,
        announced: UnixMs(row.get("announced_ms")?),
        answered: row.get::<_, Option<i64>>("answered_ms")?.map(UnixMs),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
        end_reason: row.get("end_reason")?,
        duration_ms: row.get::<_, Option<i64>>("duration_ms")?.map(|ms| ms as u64),
        recording: row.get("recording")?,
        journal: row.get("journal")?,
        lost_entries: row.get::<_, i64>("lost_entries")? as u64,
        loss_notes: row.get("loss_notes")?,
    })
}

pub(super) fn call_id(row: &Row<'_>, column: usize) -> rusqlite::Result<CallId> {
    let text: String = row.get(column)?;
    CallId::new(&text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            "not a call's name".into(),
        )
    })
}

fn speaker_word(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Caller => "caller",
        Speaker::Agent => "agent",
    }
}

fn speaker(word: &str) -> Speaker {
    if word == "caller" { Speaker::Caller } else { Speaker::Agent }
}

fn by_word(by: By) -> &'static str {
    match by {
        By::Voice => "voice",
        By::Keypad => "keypad",
    }
}

fn by(word: &str) -> By {
    if word == "keypad" { By::Keypad } else { By::Voice }
}

#[cfg(test)]
mod tests {
    use super::super::Write;
    use super::*;
    use std::path::Path;

    fn id(name: &str) -> CallId {
        CallId::new(name).unwrap()
    }

    fn announcement(name: &str, sid: &str) -> Announcement {
        Announcement {
            call: id(name),
            carrier: "twilio",
            carrier_call_id: sid.into(),
            from: "+15005550009".into(),
            to: "+15005550006".into(),
            direction: "inbound".into(),
            scenario: "lead_qualification".into(),
            on_line: None,
            owner_email: None,
            at: UnixMs(1_000),
        }
    }

    fn reported(sid: &str, status: &str, sequence: Option<u32>) -> StatusReport {
        StatusReport {
            carrier_call_id: sid.into(),
            status: status.into(),
            sequence,
            duration_s: None,
            at: UnixMs(5_000),
        }
    }

    fn open(dir: &Path) -> Store {
        Store::open(dir, UnixMs(9_000)).unwrap()
    }

    fn turn(number: u32, text: &str) -> TurnRecord {
        TurnRecord {
            turn: number,
            speaker: Speaker::Caller,
            started_ms: 10,
            ended_ms: 20,
            text: text.into(),
            unheard: String::new(),
            by: By::Keypad,
            response_ms: None,
        }
    }

    #[tokio::test]
    async fn a_call_is_found_by_our_name_and_the_carriers_with_all_that_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.announce(announcement("01a", "CA1")).await.unwrap();
        let call = id("01a");
        let answered = Write::Answered { call: call.clone(), stream_id: "MZ1".into(), at: UnixMs(2_000) };
        store.pass(answered).unwrap();
        store.pass(Write::Turn { call: call.clone(), turn: turn(2, "yes") }).unwrap();
        store.pass(Write::Turn { call: call.clone(), turn: turn(1, "five") }).unwrap();
        for (name, value) in [("size", "5"), ("budget", "1"), ("size", "6")] {
            store.pass(Write::Answer { call: call.clone(), name: name.into(), value: value.into() }).unwrap();
        }
        store
            .pass(Write::Event {
                call: call.clone(),
                at_us: 7,
                kind: "key".into(),
                data: r#"{"digit":"5"}"#.into(),
            })
            .unwrap();
        store
            .pass(Write::Finished {
                call: call.clone(),
                status: CallStatus::Completed,
                reason: "caller-hangup".into(),
                duration_ms: Some(800),
                at: UnixMs(2_800),
                recording: Some("recordings/01a.wav".into()),
                journal: None,
            })
            .unwrap();
        store.pass(Write::Loss { call: call.clone(), note: "disk full".into(), entries: 2 }).unwrap();
        // Answered after all that was queued before it.
        store.announce(announcement("01b", "CA2")).await.unwrap();

        let whole = store.call("CA1").await.unwrap().unwrap();
        assert_eq!(store.call("01a").await.unwrap().unwrap(), whole);
        assert_eq!(whole.record.status, CallStatus::Completed);
        assert_eq!(whole.record.stream_id.as_deref(), Some("MZ1"));
        assert_eq!(whole.record.duration_ms, Some(800));
        assert_eq!((whole.record.lost_entries, whole.record.loss_notes.as_str()), (2, "disk full\n"));
        assert_eq!(whole.turns, [turn(1, "five"), turn(2, "yes")]);
        assert_eq!(whole.answers, [("size".into(), "6".into()), ("budget".into(), "1".into())]);
        let timeline = store.timeline(&call, 0, 10).await.unwrap();
        assert_eq!(timeline.len(), 1);
        assert_eq!(timeline[0].data["digit"], "5");
        assert!(store.timeline(&call, timeline[0].place, 10).await.unwrap().is_empty());
        assert!(store.call("CA3").await.unwrap().is_none());
        store.close();
    }

    #[tokio::test]
    async fn calls_are_listed_latest_first_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for name in ["01", "02", "03", "04", "05"] {
            store.announce(announcement(name, &format!("CA{name}"))).await.unwrap();
        }
        let names = |calls: Vec<CallRecord>| calls.iter().map(|c| c.call.to_string()).collect::<Vec<_>>();
        assert_eq!(names(store.calls(2, None).await.unwrap()), ["05", "04"]);
        assert_eq!(names(store.calls(2, Some(id("04"))).await.unwrap()), ["03", "02"]);
        assert_eq!(names(store.calls(2, Some(id("02"))).await.unwrap()), ["01"]);
        assert!(store.calls(2, Some(id("01"))).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn figures_count_the_calls_of_a_time_and_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        assert_eq!(store.figures(UnixMs(0)).await.unwrap(), Figures::default());
        let day = 1_764_028_800_000;
        let calls = [
            (day - 1, Some((CallStatus::Completed, Some(90_000)))),
            (day, Some((CallStatus::Completed, Some(10_000)))),
            (day + 1, Some((CallStatus::Failed, Some(5_000)))),
            (day + 2, Some((CallStatus::NoAnswer, None))),
            (day + 3, None),
        ];
        for (at, end) in calls {
            let call = id(&uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(
                at as u64 / 1_000,
                (at % 1_000) as u32 * 1_000_000,
                0,
                0,
            ))
            .to_string());
            let new =
                Announcement { call: call.clone(), at: UnixMs(at), ..announcement("0", &format!("CA{at}")) };
            store.announce(new).await.unwrap();
            let Some((status, duration_ms)) = end else { continue };
            if duration_ms.is_some() {
                let write = Write::Answered { call: call.clone(), stream_id: "MZ".into(), at: UnixMs(at) };
                store.pass(write).unwrap();
            }
            let reason = "over".into();
            let at = UnixMs(at + 100);
            store
                .pass(Write::Finished {
                    call,
                    status,
                    reason,
                    duration_ms,
                    at,
                    recording: None,
                    journal: None,
                })
                .unwrap();
        }
        store.announce(announcement("0", "CA0")).await.unwrap();
        let figures = store.figures(UnixMs(day)).await.unwrap();
        assert_eq!(
            figures,
            Figures { announced: 4, finished: 3, completed: 1, duration_ms_average: Some(7_500.0) }
        );
        store.close();
    }

    #[tokio::test]
    async fn of_two_calls_with_one_carriers_name_the_latest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.announce(announcement("01", "CA1")).await.unwrap();
        store.announce(announcement("02", "CA1")).await.unwrap();
        assert_eq!(store.record("CA1").await.unwrap().unwrap().call, id("02"));
        let outcome = store.report(reported("CA1", "busy", None)).await.unwrap();
        assert_eq!(outcome, ReportOutcome::Ended(id("02")));
        assert_eq!(store.record("01").await.unwrap().unwrap().status, CallStatus::Announced);
    }

    #[tokio::test]
    async fn a_terminal_report_ends_a_call_whose_media_never_came() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.announce(announcement("01", "CA1")).await.unwrap();
        assert_eq!(
            store.report(reported("CA1", "ringing", Some(0))).await.unwrap(),
            ReportOutcome::Recorded(id("01"))
        );
        assert_eq!(
            store.report(reported("CA1", "no-answer", Some(1))).await.unwrap(),
            ReportOutcome::Ended(id("01"))
        );
        assert_eq!(
            store.report(reported("CA1", "no-answer", Some(1))).await.unwrap(),
            ReportOutcome::Ignored(id("01"))
        );
        assert_eq!(
            store.report(reported("CA1", "in-progress", Some(0))).await.unwrap(),
            ReportOutcome::Ignored(id("01"))
        );
        let record = store.record("01").await.unwrap().unwrap();
        assert_eq!(record.status, CallStatus::NoAnswer);
        assert_eq!(record.end_reason.as_deref(), Some(NO_MEDIA));
        assert_eq!(record.carrier_status.as_deref(), Some("no-answer"));
        assert_eq!(store.report(reported("CA9", "ringing", None)).await.unwrap(), ReportOutcome::UnknownCall);
    }

    #[tokio::test]
    async fn a_terminal_report_on_a_call_with_media_is_only_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.announce(announcement("01", "CA1")).await.unwrap();
        store.pass(Write::Answered { call: id("01"), stream_id: "MZ".into(), at: UnixMs(2_000) }).unwrap();
        let report = StatusReport { duration_s: Some(49), ..reported("CA1", "completed", Some(3)) };
        assert_eq!(store.report(report).await.unwrap(), ReportOutcome::Recorded(id("01")));
        let record = store.record("01").await.unwrap().unwrap();
        assert_eq!(record.status, CallStatus::InProgress, "the media's end ends it");
        assert_eq!(record.carrier_duration_s, Some(49));
    }

    #[tokio::test]
    async fn a_start_closes_the_calls_that_a_dead_process_left_running() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.announce(announcement("01", "CA1")).await.unwrap();
        store.pass(Write::Answered { call: id("01"), stream_id: "MZ".into(), at: UnixMs(2_000) }).unwrap();
        store
            .pass(Write::Event { call: id("01"), at_us: 1_500_000, kind: "key".into(), data: "{}".into() })
            .unwrap();
        store.announce(announcement("02", "CA2")).await.unwrap();
        std::fs::create_dir(dir.path().join("journals")).unwrap();
        std::fs::write(dir.path().join("journals/01.journal"), "x").unwrap();
        store.close();
        drop(store);

        let store = open(dir.path());
        assert_eq!(store.restarted(), 2);
        let answered = store.record("01").await.unwrap().unwrap();
        assert_eq!(answered.end_reason.as_deref(), Some("engine-restarted"));
        assert_eq!((answered.duration_ms, answered.ended), (Some(1_500), Some(UnixMs(3_500))));
        assert_eq!(answered.journal.as_deref(), Some("journals/01.journal"));
        let announced = store.record("02").await.unwrap().unwrap();
        assert_eq!((announced.duration_ms, announced.ended), (None, Some(UnixMs(9_000))));
    }

    #[test]
    fn one_folder_takes_one_server() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let text = Store::open(dir.path(), UnixMs(0)).unwrap_err().to_string();
        assert!(text.contains("another offhook"), "{text}");
        store.close();
    }

    #[test]
    fn a_folder_or_database_that_cannot_be_used_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "no database, and long enough to be looked at as one by the header check")
            .unwrap();
        let text = Store::open(&file, UnixMs(0)).unwrap_err().to_string();
        assert!(text.contains("file") && text.contains("--data-dir"), "{text}");
        std::fs::rename(&file, dir.path().join("offhook.db")).unwrap();
        let text = Store::open(dir.path(), UnixMs(0)).unwrap_err().to_string();
        assert!(text.contains("offhook.db") && text.contains("put it aside"), "{text}");
    }
}
