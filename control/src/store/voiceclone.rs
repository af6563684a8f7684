//! Cloned voices and webhooks that were seen: each query beside the function that runs it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::domain::time::UnixMs;
use crate::domain::voiceclone::{CloneFigures, ClonedVoice, Seen, Webhook};

impl Store {
    /// Writes a webhook down unless it is a repetition; however many come at once, one of them is new.
    pub async fn see_webhook(&self, webhook: Webhook) -> Result<Seen, StoreError> {
        self.change(move |connection| see(connection, &webhook)).await
    }

    /// The answer that a webhook was given before.
    pub async fn seen_webhook(
        &self,
        source: &'static str,
        event: &str,
    ) -> Result<Option<String>, StoreError> {
        let event = event.to_owned();
        self.read(move |connection| answer_to(connection, source, &event)).await
    }

    /// Caches a caller's voice, in place of the one before, which is returned.
    pub async fn voice_cloned(&self, voice: ClonedVoice) -> Result<Option<ClonedVoice>, StoreError> {
        self.change(move |connection| cache(connection, &voice)).await
    }

    /// Drops a caller's voice from the cache, and returns it, expired or not.
    pub async fn drop_voice(&self, caller: &str, at: UnixMs) -> Result<Option<ClonedVoice>, StoreError> {
        let caller = caller.to_owned();
        self.change(move |connection| drop_cached(connection, &caller, at)).await
    }

    /// Drops voices that have expired from the cache, so many at most, and returns them.
    pub async fn drop_expired_voices(&self, at: UnixMs, most: usize) -> Result<Vec<ClonedVoice>, StoreError> {
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE cloned_voices SET dropped_ms = ?1
                     WHERE number IN (
                         SELECT number FROM cloned_voices WHERE dropped_ms IS NULL AND expires_ms <= ?1 LIMIT ?2
                     )
                     RETURNING *",
                )?
                .query_map(params![at.0, most as i64], voice_from_row)?
                .collect()
        })
        .await
    }

    /// The voice that is cached for a caller and has not expired.
    pub async fn voice_of(&self, caller: &str, now: UnixMs) -> Result<Option<ClonedVoice>, StoreError> {
        let caller = caller.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM cloned_voices WHERE caller = ?1 AND dropped_ms IS NULL AND expires_ms > ?2",
                )?
                .query_row(params![caller, now.0], voice_from_row)
                .optional()
        })
        .await
    }

    /// What was counted of cloned voices and the calls that they are for.
    pub async fn clone_figures(&self) -> Result<CloneFigures, StoreError> {
        self.read(|connection| {
            let (clones, creation_ms_average) = connection
                .prepare_cached("SELECT count(*), avg(creation_ms) FROM cloned_voices")?
                .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            let [calls, hits, misses] = connection
                .prepare_cached(
                    "SELECT count(*), count(*) FILTER (WHERE cache = 'hit'), count(*) FILTER (WHERE cache = 'miss')
                     FROM webhooks_seen WHERE source = 'threecx' AND cache IS NOT NULL",
                )?
                .query_row([], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]))?;
            let [clones, calls, hits, misses] = [clones, calls, hits, misses].map(i64::unsigned_abs);
            Ok(CloneFigures { clones, hits, misses, creation_ms_average, calls })
        })
        .await
    }

    /// Asks the database for nothing, and waits until it has answered.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())))
            .await
    }
}

fn see(connection: &Connection, webhook: &Webhook) -> rusqlite::Result<Seen> {
    let Webhook { source, event, at, call, lookup, body, answer } = webhook;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO webhooks_seen (source, event, received_ms, call, cache, body, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![source, event, at.0, call, lookup.map(|lookup| lookup.as_str()), body, answer])?;
    let is_new = inserted > 0;
    let first = if is_new { None } else { answer_to(connection, source, event)? };
    Ok(Seen { answer: first.unwrap_or_else(|| answer.clone()), is_new })
}

fn answer_to(connection: &Connection, source: &str, event: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT answer FROM webhooks_seen WHERE source = ?1 AND event = ?2")?
        .query_row([source, event], |row| row.get(0))
        .optional()
}

fn cache(connection: &Connection, voice: &ClonedVoice) -> rusqlite::Result<Option<ClonedVoice>> {
    let replaced = drop_cached(connection, &voice.caller, voice.created)?;
    connection
        .prepare_cached(
            "INSERT INTO cloned_voices (caller, voice_id, maker, call, created_ms, creation_ms, expires_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            voice.caller,
            voice.voice_id,
            voice.maker,
            voice.call,
            voice.created.0,
            voice.creation_ms as i64,
            voice.expires.0,
        ])?;
    Ok(replaced)
}

fn drop_cached(connection: &Connection, caller: &str, at: UnixMs) -> rusqlite::Result<Option<ClonedVoice>> {
    connection
        .prepare_cached(
            "UPDATE cloned_voices SET dropped_ms = ?2 WHERE caller = ?1 AND dropped_ms IS NULL RETURNING *",
        )?
        .query_row(params![caller, at.0], voice_from_row)
        .optional()
}

fn voice_from_row(row: &Row<'_>) -> rusqlite::Result<ClonedVoice> {
    Ok(ClonedVoice {
        caller: row.get("caller")?,
        voice_id: row.get("voice_id")?,
        maker: row.get("maker")?,
        call: row.get("call")?,
        created: UnixMs(row.get("created_ms")?),
        creation_ms: row.get::<_, i64>("creation_ms")?.unsigned_abs(),
        expires: UnixMs(row.get("expires_ms")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::voiceclone::Lookup;

    fn webhook(event: &str, lookup: Option<Lookup>, answer: &str) -> Webhook {
        Webhook {
            source: "threecx",
            event: event.into(),
            at: UnixMs(1),
            call: None,
            lookup,
            body: "{}".into(),
            answer: answer.into(),
        }
    }

    fn voice(caller: &str, voice_id: &str, created: i64, creation_ms: u64) -> ClonedVoice {
        ClonedVoice {
            caller: caller.into(),
            voice_id: voice_id.into(),
            maker: "elevenlabs".into(),
            call: None,
            created: UnixMs(created),
            creation_ms,
            expires: UnixMs(created + 1_000),
        }
    }

    fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Store::open(dir.path(), UnixMs(0)).unwrap(), dir)
    }

    #[tokio::test]
    async fn of_ten_deliveries_at_once_one_is_new_and_all_are_answered_alike() {
        let (store, _dir) = store();
        let all =
            (0..10).map(|n| store.see_webhook(webhook("call-1 IncomingCall", None, &format!("answer {n}"))));
        let seen: Vec<_> =
            futures_util::future::join_all(all).await.into_iter().collect::<Result<_, _>>().unwrap();
        let new: Vec<_> = seen.iter().filter(|seen| seen.is_new).collect();
        assert_eq!(new.len(), 1);
        assert!(seen.iter().all(|one| one.answer == new[0].answer));
        let other = store.see_webhook(webhook("call-1 CallEnded", None, "other")).await.unwrap();
        assert!(other.is_new);
        assert_eq!(store.seen_webhook("elevenlabs", "call-1 CallEnded").await.unwrap(), None);
        assert_eq!(store.seen_webhook("threecx", "call-1 CallEnded").await.unwrap(), Some("other".into()));
    }

    #[tokio::test]
    async fn a_voice_is_used_until_it_expires_is_replaced_or_is_dropped() {
        let (store, _dir) = store();
        let cached = async |now: i64| {
            store.voice_of("+31612345678", UnixMs(now)).await.unwrap().map(|voice| voice.voice_id)
        };
        assert_eq!(cached(0).await, None);
        store.voice_cloned(voice("+31612345678", "v1", 100, 12_000)).await.unwrap();
        assert_eq!((cached(1_099).await.as_deref(), cached(1_100).await), (Some("v1"), None));
        let replaced = store.voice_cloned(voice("+31612345678", "v2", 500, 13_000)).await.unwrap();
        assert_eq!(replaced.map(|voice| voice.voice_id).as_deref(), Some("v1"));
        assert_eq!(cached(600).await.as_deref(), Some("v2"));
        assert!(store.drop_voice("+31612345678", UnixMs(700)).await.unwrap().is_some());
        assert_eq!(
            store.drop_voice("+31612345678", UnixMs(701)).await.unwrap(),
            None,
            "there is none any more"
        );
        assert_eq!(cached(702).await, None);
        store.voice_cloned(voice("+31612345678", "v3", 800, 14_000)).await.unwrap();
        assert_eq!(store.drop_expired_voices(UnixMs(1_799), 9).await.unwrap(), []);
        assert_eq!(store.drop_expired_voices(UnixMs(1_800), 9).await.unwrap().len(), 1);
        assert_eq!(store.drop_expired_voices(UnixMs(1_801), 9).await.unwrap(), [], "once");
        let figures = store.clone_figures().await.unwrap();
        assert_eq!(
            (figures.clones, figures.creation_ms_average),
            (3, Some(13_000.0)),
            "what was made was made"
        );
    }

    #[tokio::test]
    async fn figures_are_counted_from_what_was_taken() {
        let (store, _dir) = store();
        assert_eq!(store.clone_figures().await.unwrap(), CloneFigures::default());
        assert_eq!(CloneFigures::default().hit_rate(), 0.0);
        for (event, lookup) in [
            ("1", Some(Lookup::Hit)),
            ("2", Some(Lookup::Miss)),
            ("3", Some(Lookup::Hit)),
            ("4", None),
            ("1", None),
        ] {
            store.see_webhook(webhook(event, lookup, "")).await.unwrap();
        }
        let figures = store.clone_figures().await.unwrap();
        assert_eq!(
            (figures.calls, figures.hits, figures.misses),
            (3, 2, 1),
            "what was ignored does not count"
        );
        assert!((figures.hit_rate() - 2.0 / 3.0).abs() < 1e-9);
    }
}
