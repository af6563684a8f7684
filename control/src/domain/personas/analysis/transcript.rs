//! The words of videos: fetched, cut into the pieces that are spoken, and written down by a recogniser, some at once.
//!
//! Each piece's words are kept in the job's folder as soon as they are known, so that neither a crash nor a recogniser that fails
//! in the middle has them asked for again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::super::sound::{Sounds, samples};
use super::super::work::Stopped;
use super::pieces::pieces;
use crate::domain::speech::{Transcribers, is_final};
use crate::domain::user_jobs::UnderWay;
use crate::integrations::vendor::Recording;
use crate::integrations::video::Video;

/// How many recordings are written down at once, on all of this machine. The speech of each takes up to 38 MB of memory.
const WRITTEN_AT_ONCE: usize = 4;
/// How many pieces of a recording are written down at once.
const AT_ONCE: usize = 4;
/// Between these percents of the job videos are fetched, and their words written down.
const FETCHING: (u8, u8) = (5, 40);
const WRITING: (u8, u8) = (45, 85);

/// What to configure, for who has a server without ears.
const NO_RECOGNISER: &str = "This server has no recogniser for recordings: its operator can set OFFHOOK_EARS (deepgram, google, \
                             openai) with a key, or install pocketsphinx and set OFFHOOK_EARS=local";

/// Makes transcripts.
pub(super) struct Transcripts {
    sounds: Sounds,
    transcribers: Transcribers,
    writing: Semaphore,
}

impl Transcripts {
    pub(super) fn new(sounds: Sounds, transcribers: Transcribers) -> Self {
        Self { sounds, transcribers, writing: Semaphore::new(WRITTEN_AT_ONCE) }
    }

    /// What is said in videos, with an empty line between two.
    pub(super) async fn of(
        &self,
        doing: &UnderWay,
        videos: &[Video],
        language: &str,
        folder: &Path,
    ) -> Result<String, Stopped> {
        if self.transcribers.is_empty() {
            return Err(Stopped::failed("job_failed", NO_RECOGNISER));
        }
        tokio::fs::create_dir_all(folder).await?;
        for (at, video) in videos.iter().enumerate() {
            if !Sounds::file(folder, video).is_file() {
                doing.stage("downloading_videos", between(FETCHING, at, videos.len())).await?;
                let _room = self.sounds.room(doing).await?;
                let fetched = self.sounds.fetched(doing, video, folder).await;
                let fetched = fetched.map_err(|stopped| stopped.of(video))?;
                let wav = self.sounds.wav(doing, video, &fetched, folder).await;
                wav.map_err(|stopped| stopped.of(video))?;
            }
        }
        let mut all = Vec::new();
        for (at, video) in videos.iter().enumerate() {
            let words = match Written::read(words_file(folder, video)).await.whole() {
                Some(words) => words,
                None => {
                    let written = self.write_down(doing, video, language, folder, (at, videos.len()));
                    written.await.map_err(|stopped| stopped.of(video))?
                }
            };
            all.push(words);
        }
        let all = all.join("\n\n").trim().to_owned();
        if all.is_empty() {
            return Err(Stopped::failed("invalid_input", "No words were recognised in what is said"));
        }
        Ok(all)
    }

    /// The words of one video, which is number `at` of `count`.
    async fn write_down(
        &self,
        doing: &UnderWay,
        video: &Video,
        language: &str,
        folder: &Path,
        (at, count): (usize, usize),
    ) -> Result<String, Stopped> {
        // After a crash it is chosen again, which takes no time beside what was under way.
        if at == 0 && !words_file(folder, video).is_file() {
            doing.stage("choosing_speech", FETCHING.1).await?;
        }
        let _turn = doing.unless_cancelled(self.writing.acquire()).await.and_then(Result::ok);
        let speech = {
            let _room = self.sounds.room(doing).await?;
            let wav = Sounds::file(folder, video);
            let chosen = spawn_blocking(move || choose(&wav));
            Arc::new(doing.unless_cancelled(chosen).await.ok_or(Stopped::Cancelled)???)
        };
        let total = speech.len();
        if total == 0 {
            return Err(Stopped::failed("invalid_input", "Nobody speaks in it"));
        }
        let mut written = Written::read(words_file(folder, video)).await;
        written.count = total;
        let percent = |done: usize| between(WRITING, at * total + done, count * total);
        doing.stage("transcribing_speech", percent(written.texts.len())).await?;
        let missing: Vec<usize> = (0..total).filter(|piece| !written.texts.contains_key(piece)).collect();
        let mut words = futures_util::stream::iter(missing)
            .map(|piece| {
                let speech = speech.clone();
                async move {
                    let recording = Recording { samples: &speech[piece], language };
                    (piece, self.transcribers.words_of(recording).await)
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((piece, words)) =
            doing.unless_cancelled(words.next()).await.ok_or(Stopped::Cancelled)?
        {
            let text = words.map_err(|error| match is_final(error.why) {
                true => Stopped::failed("external_api_error", format!("The recogniser: {error}")),
                false => Stopped::Later(format!("the recogniser: {error}")),
            })?;
            written.add(piece, text).await?;
            doing.stage("transcribing_speech", percent(written.texts.len())).await?;
        }
        Ok(written.whole().unwrap_or_default())
    }
}

/// The pieces of a recording that are written down.
fn choose(wav: &Path) -> Result<Vec<Vec<i16>>, Stopped> {
    let samples = samples(wav)?;
    Ok(pieces(&samples).iter().map(|piece| piece.of(&samples)).collect())
}

fn words_file(folder: &Path, video: &Video) -> PathBuf {
    folder.join(format!("{}.words", video.id()))
}

/// From the first percent to the second, as far as `done` of `count`.
fn between((from, to): (u8, u8), done: usize, count: usize) -> u8 {
    let span = usize::from(to.saturating_sub(from));
    from.saturating_add(u8::try_from(span * done / count.max(1)).unwrap_or(0))
}

/// The words of a recording as far as they are written down: a JSON file with how many pieces there are, and the words of those
/// that are done.
#[derive(Debug, Default)]
struct Written {
    file: PathBuf,
    count: usize,
    texts: BTreeMap<usize, String>,
}

impl Written {
    /// What is there; nothing, if the file is not there or is none of ours.
    async fn read(file: PathBuf) -> Self {
        let text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
        let (count, texts) = serde_json::from_str(&text).unwrap_or_default();
        Self { file, count, texts }
    }

    /// Keeps the words of a piece, whole or not at all.
    async fn add(&mut self, piece: usize, text: String) -> std::io::Result<()> {
        self.texts.insert(piece, text);
        let part = self.file.with_extension("part");
        tokio::fs::write(&part, serde_json::to_string(&(self.count, &self.texts))?).await?;
        tokio::fs::rename(&part, &self.file).await
    }

    /// All words, if they are there.
    fn whole(&self) -> Option<String> {
        let is_whole = self.count > 0 && self.texts.len() == self.count;
        let words = self.texts.values().map(String::as_str).filter(|text| !text.is_empty());
        is_whole.then(|| words.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_are_kept_piece_by_piece_and_whole_once_all_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("v.words");
        let mut written = Written::read(file.clone()).await;
        assert_eq!(written.whole(), None);
        written.count = 3;
        for (piece, text) in [(2, "there."), (0, "Hello")] {
            written.add(piece, text.into()).await.unwrap();
        }
        let mut again = Written::read(file.clone()).await;
        assert_eq!((again.count, again.texts.len(), again.whole()), (3, 2, None));
        again.add(1, String::new()).await.unwrap();
        assert_eq!(Written::read(file.clone()).await.whole().as_deref(), Some("Hello\nthere."));
        std::fs::write(&file, "[3, {\"0\"").unwrap();
        assert_eq!(Written::read(file).await.whole(), None, "what was cut off is made anew");
    }

    #[test]
    fn progress_goes_from_one_percent_to_the_other() {
        assert_eq!([0, 1, 2].map(|done| between((5, 40), done, 2)), [5, 22, 40]);
        assert_eq!(between((45, 85), 0, 0), 45, "no pieces are no division by zero");
    }
}
