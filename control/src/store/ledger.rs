//! The ledger of lines. An entry and the balance change in one transaction, so that their sum is always the balance.

use offhook_engine::CallId;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ledger::{Credit, Credited, Left, Meter};
use crate::domain::time::UnixMs;

impl Store {
    /// Adds what was paid for, once.
    pub async fn credit(&self, credit: Credit, at: UnixMs) -> Result<Credited, StoreError> {
        self.change(move |connection| {
            let Credit { sender, event, object, line, seconds } = &credit;
            if balance(connection, line)?.is_none() {
                return Ok(Credited::UnknownLine);
            }
            if !see(connection, sender, event, at)? {
                return Ok(Credited::Repeated);
            }
            let source = format!("{sender}:{object}");
            let is_new = enter(connection, line, "credit", &source, i64::from(*seconds), at)?;
            Ok(if is_new { Credited::Done } else { Credited::Repeated })
        })
        .await
    }

    /// Takes note of a webhook that changes nothing. False if it came before.
    pub async fn note_event(&self, sender: &'static str, id: String, at: UnixMs) -> Result<bool, StoreError> {
        self.change(move |connection| see(connection, sender, &id, at)).await
    }

    /// Charges calls for as long as they have lasted, and says what their lines have left.
    pub async fn charge(&self, meters: Vec<Meter>, at: UnixMs) -> Result<Vec<Left>, StoreError> {
        self.change(move |connection| {
            let left = meters.iter().map(|Meter { call, seconds }| {
                Ok(Left { call: call.clone(), seconds: charge(connection, call, *seconds, at)? })
            });
            left.collect()
        })
        .await
    }
}

/// Charges a call for `total_s` seconds in all, and says what its line has left; none if it is on none. To charge for the
/// same seconds again changes nothing.
pub(super) fn charge(
    connection: &Connection,
    call: &CallId,
    total_s: u32,
    at: UnixMs,
) -> rusqlite::Result<Option<u64>> {
    let line: Option<String> = connection
        .prepare_cached("SELECT line FROM line_calls WHERE call = ?1")?
        .query_row([call.as_str()], |row| row.get(0))
        .optional()?;
    let Some(line) = line else { return Ok(None) };
    let Some(balance) = balance(connection, &line)? else { return Ok(None) };
    let source = format!("call:{call}");
    let charged: i64 = connection
        .prepare_cached("SELECT unpaid_s - seconds FROM ledger_entries WHERE source = ?1")?
        .query_row([&source], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let more = i64::from(total_s) - charged;
    if more <= 0 {
        return Ok(Some(balance as u64));
    }
    let paid = more.min(balance);
    connection
        .prepare_cached(
            "INSERT INTO ledger_entries (line, kind, source, seconds, unpaid_s, at_ms)
             VALUES (?1, 'charge', ?2, -?3, ?4, ?5)
             ON CONFLICT (source) DO UPDATE SET seconds = seconds + excluded.seconds,
                                                unpaid_s = unpaid_s + excluded.unpaid_s",
        )?
        .execute(params![line, source, paid, more - paid, at.0])?;
    change_balance(connection, &line, -paid)?;
    Ok(Some((balance - paid) as u64))
}

/// Adds to a line's balance by hand, or takes from it.
pub(super) fn grant(connection: &Connection, line: &str, seconds: i64, at: UnixMs) -> rusqlite::Result<()> {
    enter(connection, line, "grant", &format!("grant:{}", Uuid::now_v7()), seconds, at).map(drop)
}

/// False if this source was entered before.
fn enter(
    connection: &Connection,
    line: &str,
    kind: &str,
    source: &str,
    seconds: i64,
    at: UnixMs,
) -> rusqlite::Result<bool> {
    let entered = connection
        .prepare_cached(
            "INSERT INTO ledger_entries (line, kind, source, seconds, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (source) DO NOTHING",
        )?
        .execute(params![line, kind, source, seconds, at.0])?;
    if entered == 1 {
        change_balance(connection, line, seconds)?;
    }
    Ok(entered == 1)
}

fn change_balance(connection: &Connection, line: &str, seconds: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE lines SET balance_s = balance_s + ?2 WHERE id = ?1")?
        .execute(params![line, seconds])
        .map(drop)
}

fn balance(connection: &Connection, line: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT balance_s FROM lines WHERE id = ?1")?
        .query_row([line], |row| row.get(0))
        .optional()
}

/// False if this message was seen before.
fn see(connection: &Connection, sender: &str, id: &str, at: UnixMs) -> rusqlite::Result<bool> {
    let seen = connection
        .prepare_cached(
            "INSERT INTO events_seen (sender, id, at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (sender, id) DO NOTHING",
        )?
        .execute(params![sender, id, at.0])?;
    Ok(seen == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::{Announcement, CallStatus, OnLine};
    use crate::domain::lines::{Assistant, LineChange, NewLine, VoiceProvider};
    use crate::domain::phone::E164;
    use crate::domain::users::GoogleIdentity;
    use crate::store::Write;

    async fn with_line(dir: &std::path::Path, balance_s: u32) -> (Store, String, String) {
        let store = Store::open(dir, UnixMs(0)).unwrap();
        let identity =
            GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
        let owner = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
        let new = NewLine {
            owner: owner.clone(),
            name: "Acme".into(),
            number: E164::parse("+15551234567").unwrap(),
            calendar: "primary".into(),
            assistant: Assistant {
                prompt: String::new(),
                greeting: String::new(),
                llm_model: "openai/gpt-4o-mini".into(),
                stt_model: "nova-2-phonecall".into(),
                tts_provider: VoiceProvider::Cartesia,
                tts_voice: String::new(),
                tools: Vec::new(),
            },
            balance_s,
            active: true,
        };
        let line = store.add_line(new, UnixMs(2)).await.unwrap().id;
        (store, owner, line)
    }

    async fn call_on(store: &Store, line: &str, name: &str) -> CallId {
        let call = CallId::new(name).unwrap();
        let announcement = Announcement {
            call: call.clone(),
            carrier: "twilio",
            carrier_call_id: format!("CA{name}"),
            from: "+15005550009".into(),
            to: "+15551234567".into(),
            direction: "inbound".into(),
            scenario: "s".into(),
            on_line: Some(Box::new(OnLine { line: line.into(), caller: E164::parse("+15005550009") })),
            owner_email: None,
            at: UnixMs(3),
        };
        store.announce(announcement).await.unwrap();
        call
    }

    async fn charged(store: &Store, call: &CallId, seconds: u32) -> Option<u64> {
        let meter = Meter { call: call.clone(), seconds };
        store.charge(vec![meter], UnixMs(4)).await.unwrap()[0].seconds
    }

    /// The balance, which must be the sum of all entries, and the seconds that nobody paid.
    async fn books(store: &Store, owner: &str, line: &str) -> (u64, i64) {
        let id = line.to_owned();
        let (sum, unpaid): (i64, i64) = store
            .read(move |connection| {
                connection.query_row(
                    "SELECT coalesce(sum(seconds), 0), coalesce(sum(unpaid_s), 0) FROM ledger_entries WHERE line = ?1",
                    [id],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
            })
            .await
            .unwrap();
        let balance = store.line(owner, line).await.unwrap().balance_s;
        assert_eq!(balance as i64, sum, "the balance is the sum of the ledger");
        (balance, unpaid)
    }

    fn finished(call: &CallId, duration_ms: u64) -> Write {
        Write::Finished {
            call: call.clone(),
            status: CallStatus::Completed,
            reason: "caller-hangup".into(),
            duration_ms: Some(duration_ms),
            at: UnixMs(5),
            recording: None,
            journal: None,
        }
    }

    #[tokio::test]
    async fn a_second_is_charged_once_however_often_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (store, owner, line) = with_line(dir.path(), 100).await;
        let (one, other) = (call_on(&store, &line, "01").await, call_on(&store, &line, "02").await);
        assert_eq!(charged(&store, &one, 10).await, Some(90));
        assert_eq!(charged(&store, &one, 10).await, Some(90));
        assert_eq!(charged(&store, &one, 7).await, Some(90), "an older count takes nothing back");
        assert_eq!(charged(&store, &other, 5).await, Some(85), "calls at once have one balance");
        store.pass(finished(&one, 12_001)).unwrap();
        store.pass(finished(&one, 12_001)).unwrap();
        assert_eq!(charged(&store, &one, 13).await, Some(82), "each second that began");
        assert_eq!(books(&store, &owner, &line).await, (82, 0));
    }

    #[tokio::test]
    async fn a_balance_is_used_up_and_not_overdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let (store, owner, line) = with_line(dir.path(), 8).await;
        let call = call_on(&store, &line, "01").await;
        assert_eq!(charged(&store, &call, 8).await, Some(0));
        assert_eq!(charged(&store, &call, 11).await, Some(0));
        assert_eq!(books(&store, &owner, &line).await, (0, 3));
        let change = LineChange { balance_s: Some(5), ..LineChange::default() };
        store.change_line(&owner, &line, change, UnixMs(6)).await.unwrap();
        assert_eq!(charged(&store, &call, 13).await, Some(3), "what comes later is paid from what came in");
        assert_eq!(books(&store, &owner, &line).await, (3, 3));
    }

    #[tokio::test]
    async fn a_dead_process_leaves_no_second_uncharged_or_charged_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (store, owner, line) = with_line(dir.path(), 100).await;
        let call = call_on(&store, &line, "01").await;
        store.pass(Write::Answered { call: call.clone(), stream_id: "MZ".into(), at: UnixMs(10) }).unwrap();
        let event =
            Write::Event { call: call.clone(), at_us: 20_500_000, kind: "key".into(), data: "{}".into() };
        store.pass(event).unwrap();
        assert_eq!(charged(&store, &call, 18).await, Some(82));
        store.close();
        drop(store);
        for _ in 0..2 {
            let store = Store::open(dir.path(), UnixMs(99_000)).unwrap();
            assert_eq!(
                books(&store, &owner, &line).await,
                (79, 0),
                "21 seconds began before the last sign of life"
            );
            store.close();
        }
    }

    #[tokio::test]
    async fn what_is_paid_is_credited_once_in_whatever_order_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (store, owner, line) = with_line(dir.path(), 0).await;
        let credit = |event: &str, object: &str, line: &str| Credit {
            sender: "stripe",
            event: event.into(),
            object: object.into(),
            line: line.into(),
            seconds: 60,
        };
        assert_eq!(store.credit(credit("evt_2", "cs_1", &line), UnixMs(7)).await.unwrap(), Credited::Done);
        for event in ["evt_2", "evt_1"] {
            let credited = store.credit(credit(event, "cs_1", &line), UnixMs(8)).await.unwrap();
            assert_eq!(credited, Credited::Repeated, "{event}");
        }
        assert_eq!(
            store.credit(credit("evt_3", "cs_2", "nobody"), UnixMs(9)).await.unwrap(),
            Credited::UnknownLine
        );
        assert_eq!(books(&store, &owner, &line).await, (60, 0));
        let at_once = (0..10).map(|_| store.credit(credit("evt_4", "cs_3", &line), UnixMs(9)));
        let outcomes = futures_util::future::join_all(at_once).await;
        assert_eq!(outcomes.into_iter().filter(|o| matches!(o, Ok(Credited::Done))).count(), 1);
        assert_eq!(books(&store, &owner, &line).await, (120, 0));
    }
}
