//! The sound of videos, for jobs: fetched and made a WAV file, few at once. What is there from an earlier try is not made again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offhook_codecs::wav::Reader;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::work::Stopped;
use crate::domain::user_jobs::UnderWay;
use crate::integrations::video::{RATE_HZ, Video, VideoTools};

/// How many videos are fetched and looked at at once, on all of this machine.
const AT_ONCE: usize = 2;

/// Fetches sounds.
#[derive(Clone)]
pub struct Sounds {
    tools: VideoTools,
    room: Arc<Semaphore>,
}

impl Sounds {
    /// With these programs. Clones share what there is room for.
    pub fn new(tools: VideoTools) -> Self {
        Self { tools, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Waits until there is room for one more.
    pub(super) async fn room(&self, doing: &UnderWay) -> Result<SemaphorePermit<'_>, Stopped> {
        // It is never closed.
        doing.unless_cancelled(self.room.acquire()).await.and_then(Result::ok).ok_or(Stopped::Cancelled)
    }

    /// The file in `folder` with a video's sound as [`Sounds::wav`] makes it.
    pub(super) fn file(folder: &Path, video: &Video) -> PathBuf {
        folder.join(format!("{}.wav", video.id()))
    }

    /// Has the sound of a video be in `folder`, as it came. Returns the file.
    pub(super) async fn fetched(
        &self,
        doing: &UnderWay,
        video: &Video,
        folder: &Path,
    ) -> Result<PathBuf, Stopped> {
        let fetched = folder.join(format!("{}.fetched", video.id()));
        if !fetched.is_file() {
            let sound = doing.unless_cancelled(self.tools.fetch(video, folder)).await;
            tokio::fs::rename(sound.ok_or(Stopped::Cancelled)??, &fetched).await?;
        }
        Ok(fetched)
    }

    /// Makes a WAV file of one channel at [`RATE_HZ`] of what was fetched, which goes.
    pub(super) async fn wav(
        &self,
        doing: &UnderWay,
        video: &Video,
        fetched: &Path,
        folder: &Path,
    ) -> Result<PathBuf, Stopped> {
        let (part, wav) = (folder.join("sound.part"), Self::file(folder, video));
        doing.unless_cancelled(self.tools.extract(fetched, &part)).await.ok_or(Stopped::Cancelled)??;
        tokio::fs::rename(&part, &wav).await?;
        tokio::fs::remove_file(fetched).await?;
        Ok(wav)
    }
}

/// The samples of such a file. Blocks.
pub(super) fn samples(wav: &Path) -> Result<Vec<i16>, Stopped> {
    let unreadable =
        |what: String| Stopped::failed("job_failed", format!("The sound cannot be read: {what}"));
    let file = std::io::BufReader::new(std::fs::File::open(wav)?);
    let mut reader = Reader::new(file).map_err(|error| unreadable(error.to_string()))?;
    let format = reader.format();
    if format.rate_hz != RATE_HZ || format.channels != 1 {
        return Err(unreadable(format!("{} Hz, {} channels", format.rate_hz, format.channels)));
    }
    reader.read_mono().map_err(|error| unreadable(error.to_string()))
}
