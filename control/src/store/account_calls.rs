//! Calls as their owner sees them: written along with what the server knows of a call, in the same transactions.

use offhook_engine::CallId;
use offhook_engine::call::Speaker;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};

use super::{Store, StoreError, calls, jobs};
use crate::domain::account_calls::{EndedCall, Recording, ended_reason};
use crate::domain::call::Announcement;
use crate::domain::call_analysis;
use crate::domain::ended_calls;
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;

impl Store {
    /// An owned call that is over, by its id in `account_calls`; none if there is no such call, or it runs.
    pub async fn ended_call(&self, id: &str) -> Result<Option<EndedCall>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| ended_call(connection, &id)).await
    }
}

/// A call was announced: writes it down for its owner, if it has one. Again, it changes nothing.
pub(super) fn announced(connection: &Connection, new: &Announcement) -> rusqlite::Result<()> {
    let caller = E164::parse(&new.from);
    let caller = caller.as_ref().map_or("", E164::as_str);
    let started = new.at.0.max(0);
    if new.on_line.is_some() {
        return connection
            .prepare_cached(
                "INSERT INTO account_calls (id, owner, workspace, call, agent, customer_phone, customer_name, started_ms,
                                            answered, duration_s, ended_reason)
                 SELECT ?1, lines.owner, (SELECT workspace FROM workspace_members WHERE user = lines.owner AND selected = 1),
                        ?1, coalesce(assistant_names.name, lines.name), ?2, contacts.name, ?3, 0, 0, ''
                 FROM line_calls
                 JOIN lines ON lines.id = line_calls.line
                 LEFT JOIN assistant_names ON assistant_names.assistant = lines.assistant
                 LEFT JOIN contacts ON contacts.id = line_calls.contact
                 WHERE line_calls.call = ?1
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![new.call.as_str(), caller, started])
            .map(drop);
    }
    let Some(owner) = &new.owner_email else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO account_calls (id, owner, workspace, call, agent, customer_phone, started_ms, answered, duration_s,
                                        ended_reason)
             SELECT ?1, user, (SELECT workspace FROM workspace_members WHERE user = passwords.user AND selected = 1), ?1, ?2,
                    ?3, ?4, 0, 0, ''
             FROM passwords WHERE email = ?5
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![new.call.as_str(), new.scenario, caller, started, &**owner])
        .map(drop)
}

/// A call's media came.
pub(super) fn answered(connection: &Connection, call: &CallId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE account_calls SET answered = 1 WHERE call = ?1 AND ended_ms IS NULL")?
        .execute([call.as_str()])
        .map(drop)
}

/// A call is over.
pub(super) fn ended(connection: &Connection, call: &CallId, end: &calls::End<'_>) -> rusqlite::Result<()> {
    let changed = connection
        .prepare_cached(
            "UPDATE account_calls
             SET ended_ms = max(?2, started_ms), duration_s = ?3, ended_reason = ?4, recording = ?5
             WHERE call = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![
            call.as_str(),
            end.at.0,
            end.duration_ms.unwrap_or(0) as i64 / 1_000,
            ended_reason(end.reason, end.status),
            end.recording,
        ])?;
    if changed == 1 { call_has_ended(connection, call.as_str(), end.at) } else { Ok(()) }
}

/// An owned call has ended, and all is known of it that will be: what follows from that is put on its way here, once, in the
/// transaction that wrote it. `id`: in `account_calls`.
pub(super) fn call_has_ended(connection: &Connection, id: &str, at: UnixMs) -> rusqlite::Result<()> {
    let owner: Option<String> = connection
        .prepare_cached("SELECT owner FROM account_calls WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(owner) = owner else { return Ok(()) };
    jobs::enqueue(connection, &call_analysis::job(&owner, id, at))?;
    jobs::enqueue(connection, &ended_calls::job(&owner, id, at)).map(drop)
}

fn ended_call(connection: &Connection, id: &str) -> rusqlite::Result<Option<EndedCall>> {
    let found = connection
        .prepare_cached(
            "SELECT account_calls.*, details, structured_outputs, transcript
             FROM account_calls LEFT JOIN call_reports ON call_reports.call = account_calls.id
             WHERE account_calls.id = ?1 AND ended_ms IS NOT NULL",
        )?
        .query_row([id], |row| {
            let json = |name: &str| -> rusqlite::Result<Value> {
                let text: Option<String> = row.get(name)?;
                Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
            };
            let object = |value: Value| match value {
                Value::Object(fields) => fields,
                _ => Map::new(),
            };
            let list = |value: Value| match value {
                Value::Array(items) => items,
                _ => Vec::new(),
            };
            let (id, call): (String, Option<String>) = (row.get("id")?, row.get("call")?);
            let recording: Option<String> = row.get("recording")?;
            let phone: String = row.get("customer_phone")?;
            let ended_call = EndedCall {
                name: row.get::<_, Option<String>>("reported_id")?.unwrap_or_else(|| id.clone()),
                owner: row.get("owner")?,
                customer_phone: Some(phone).filter(|phone| !phone.is_empty()),
                customer_name: row.get("customer_name")?,
                assistant_name: row.get("agent")?,
                started: UnixMs(row.get("started_ms")?),
                ended: UnixMs(row.get("ended_ms")?),
                duration_s: row.get("duration_s")?,
                ended_reason: row.get("ended_reason")?,
                summary: row.get("summary")?,
                details: object(json("details")?),
                structured_outputs: object(json("structured_outputs")?),
                transcript: list(json("transcript")?),
                recording: recording.map(|recording| match &call {
                    Some(call) => Recording::of_call(call),
                    None => Recording::Url(recording),
                }),
                id,
            };
            Ok((ended_call, call))
        })
        .optional()?;
    let Some((mut ended, call)) = found else { return Ok(None) };
    if let Some(call) = call.as_deref().and_then(CallId::new) {
        add_what_was_said(connection, &call, &mut ended)?;
    }
    Ok(Some(ended))
}

/// Adds what the server's own record of a call has.
fn add_what_was_said(connection: &Connection, call: &CallId, ended: &mut EndedCall) -> rusqlite::Result<()> {
    let turns = calls::turns(connection, call)?;
    let said = turns.into_iter().filter(|turn| !turn.text.is_empty());
    ended.transcript = said
        .map(|turn| {
            let role = if turn.speaker == Speaker::Agent { "assistant" } else { "user" };
            json!({ "role": role, "message": turn.text, "time": turn.started_ms as f64 / 1_000.0 })
        })
        .collect();
    let answers = calls::answers(connection, call)?;
    ended.structured_outputs = answers.into_iter().map(|(name, value)| (name, value.into())).collect();
    ended.details = connection
        .prepare_cached("SELECT carrier, direction, to_number, scenario FROM calls WHERE id = ?1")?
        .query_row([call.as_str()], |row| {
            let text = |column: usize| row.get::<_, String>(column).map(Value::from);
            Ok(Map::from_iter([
                ("carrier".to_owned(), text(0)?),
                ("direction".to_owned(), text(1)?),
                ("called_number".to_owned(), text(2)?),
                ("scenario".to_owned(), text(3)?),
            ]))
        })
        .optional()?
        .unwrap_or_default();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::CallStatus;
    use crate::store::Write;

    fn announcement(name: &str) -> Announcement {
        Announcement {
            call: CallId::new(name).unwrap(),
            carrier: "twilio",
            carrier_call_id: format!("CA-{name}"),
            from: "+15005550009".into(),
            to: "+15005550006".into(),
            direction: "inbound".into(),
            scenario: "lead_qualification".into(),
            on_line: None,
            owner_email: Some("pat@example.com".into()),
            at: UnixMs(1_000),
        }
    }

    #[tokio::test]
    async fn a_call_is_its_owners_from_its_announcement_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        store.announce(announcement("01")).await.unwrap();
        let pat =
            store.add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1)).await.unwrap().unwrap();
        store.announce(announcement("02")).await.unwrap();
        let call = CallId::new("02").unwrap();
        assert_eq!(store.ended_call("02").await.unwrap(), None, "it runs");
        store
            .pass(Write::Answered { call: call.clone(), stream_id: "MZ".into(), at: UnixMs(2_000) })
            .unwrap();
        store.pass(Write::Answer { call: call.clone(), name: "size".into(), value: "5".into() }).unwrap();
        store
            .pass(Write::Finished {
                call,
                status: CallStatus::Completed,
                reason: "caller-hangup".into(),
                duration_ms: Some(4_900),
                at: UnixMs(6_900),
                recording: Some("recordings/02.wav".into()),
                journal: None,
            })
            .unwrap();
        store.announce(announcement("03")).await.unwrap();
        let ended = store.ended_call("02").await.unwrap().unwrap();
        assert_eq!((ended.owner, ended.assistant_name.as_str()), (pat.id, "lead_qualification"));
        assert_eq!((ended.duration_s, ended.ended_reason.as_str()), (4, "customer-ended-call"));
        assert_eq!((ended.started, ended.ended), (UnixMs(1_000), UnixMs(6_900)));
        assert_eq!(ended.customer_phone.as_deref(), Some("+15005550009"));
        assert_eq!(ended.structured_outputs["size"], "5");
        assert_eq!(ended.recording, Some(Recording::Path("/v1/calls/02/recording".into())));
        assert_eq!(store.ended_call("01").await.unwrap(), None, "nobody had the address when it came");
        store.close();
        drop(store);
        let store = Store::open(dir.path(), UnixMs(9_000)).unwrap();
        let restarted = store.ended_call("03").await.unwrap().unwrap();
        assert_eq!(restarted.ended_reason, "call.in-progress.error-engine-restarted");
        assert_eq!(restarted.ended, UnixMs(9_000));
    }
}
