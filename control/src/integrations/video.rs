//! The sound of videos: yt-dlp fetches it, ffmpeg makes it a WAV file. Both are programs of this machine, run as children in
//! process groups of their own, so that what they start ends with them.
//!
//! What they say is bounded, and so is their time. yt-dlp may end well without a file: a video that its filters refuse is no
//! error to it. Its reasons are the site's own words, which change; they are looked for, not relied on.
//! <https://github.com/yt-dlp/yt-dlp>, 2026.10.26, read and run 2026-11.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

/// How long fetching may take.
const FETCHED_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long making a WAV file of it may take.
const EXTRACTED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long a program may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of what a program says that are kept; the rest is read and dropped.
const SAID_MAX: usize = 64 * 1024;
/// No video is longer, in s.
pub const VIDEO_S_MAX: u32 = 3_600;
/// Nothing larger is fetched.
const FILE_MAX: &str = "300M";
/// Samples a second of the WAV file.
pub const RATE_HZ: u32 = 16_000;
/// Letters of a video's id.
const ID_LETTERS: usize = 11;

/// A video of YouTube's, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    id: String,
}

impl Video {
    /// The video of a URL in any of the forms that there are. None if it is none of YouTube's.
    pub fn of_url(text: &str) -> Option<Self> {
        let rest = text.trim();
        let rest = rest.strip_prefix("https://").or_else(|| rest.strip_prefix("http://"))?;
        let (host, path) = rest.split_once('/')?;
        let host = host.to_ascii_lowercase();
        let host = ["www.", "m.", "music."]
            .into_iter()
            .find_map(|prefix| host.strip_prefix(prefix))
            .unwrap_or(&host);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query.split('#').next().unwrap_or_default();
        let path = path.split('#').next().unwrap_or_default();
        let id = match host {
            "youtu.be" => path.split('/').next().map(str::to_owned),
            "youtube.com" | "youtube-nocookie.com" => match path.split_once('/') {
                Some(("shorts" | "live" | "embed" | "v", id)) => id.split('/').next().map(str::to_owned),
                None if path == "watch" => form_urlencoded::parse(query.as_bytes())
                    .find(|(name, _)| name == "v")
                    .map(|(_, value)| value.into_owned()),
                _ => None,
            },
            _ => None,
        }?;
        let is_id =
            id.len() == ID_LETTERS && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        is_id.then_some(Self { id })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Why there is no sound of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFault {
    /// It is gone, private, for members, or not there yet.
    Unavailable,
    /// It is too long, too large, or live.
    Refused,
    /// The site wants no more of us for now, or broke off: it may work later.
    Later,
    /// A program is not on this machine.
    Tool,
    /// Something else.
    Failed,
}

/// The same, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct VideoError {
    /// In a word.
    pub fault: VideoFault,
    /// For people.
    pub message: String,
}

impl VideoError {
    fn new(fault: VideoFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

/// The programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTools {
    /// yt-dlp: a path, or a name on `PATH`.
    pub yt_dlp: PathBuf,
    /// ffmpeg, likewise.
    pub ffmpeg: PathBuf,
    /// Where a video is, with `{id}` in it.
    pub url: String,
}

impl VideoTools {
    /// What yt-dlp says of its version.
    pub async fn version(&self) -> Result<String, VideoError> {
        let said = run(&self.yt_dlp, ["--version"], VERSION_WITHIN).await?;
        Ok(said.out.trim().chars().take(40).collect())
    }

    /// What ffmpeg says of its version.
    pub async fn ffmpeg_version(&self) -> Result<String, VideoError> {
        let said = run(&self.ffmpeg, ["-version"], VERSION_WITHIN).await?;
        let first = said.out.lines().next().unwrap_or_default();
        let version = first.strip_prefix("ffmpeg version ").unwrap_or(first);
        Ok(version.split(' ').next().unwrap_or_default().chars().take(40).collect())
    }

    /// Fetches the sound of a video into a folder of its own below `folder`, which must be there. Returns the file.
    pub async fn fetch(&self, video: &Video, folder: &Path) -> Result<PathBuf, VideoError> {
        // Programs outlive a server that was killed, and go on with what they find: each writes where no other does.
        let folder = &folder.join(format!("fetch-{}", Uuid::now_v7().simple()));
        tokio::fs::create_dir_all(folder).await.map_err(|error| {
            VideoError::new(VideoFault::Later, format!("{} cannot be made: {error}", folder.display()))
        })?;
        let url = self.url.replace("{id}", &video.id);
        let filter = format!("!is_live & duration<=?{VIDEO_S_MAX}");
        let arguments: Vec<&OsStr> = vec![
            "--ignore-config".as_ref(),
            "--no-playlist".as_ref(),
            "--no-cache-dir".as_ref(),
            "--socket-timeout".as_ref(),
            "15".as_ref(),
            "--retries".as_ref(),
            "3".as_ref(),
            "--match-filters".as_ref(),
            filter.as_ref(),
            "--max-filesize".as_ref(),
            FILE_MAX.as_ref(),
            "--format".as_ref(),
            "bestaudio/best".as_ref(),
            "--paths".as_ref(),
            folder.as_ref(),
            "--output".as_ref(),
            "video.%(ext)s".as_ref(),
            "--print".as_ref(),
            "after_move:filepath".as_ref(),
            "--".as_ref(),
            url.as_ref(),
        ];
        let said = run(&self.yt_dlp, arguments, FETCHED_WITHIN).await?;
        if !said.is_good {
            return Err(meaning(&said.err));
        }
        let path = said.out.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(PathBuf::from);
        // To end well is not to have fetched anything.
        let path = path.filter(|path| path.starts_with(folder) && path.is_file());
        path.ok_or_else(|| {
            let text = format!("The video is live, longer than {VIDEO_S_MAX} s, or larger than {FILE_MAX}B");
            VideoError::new(VideoFault::Refused, text)
        })
    }

    /// Makes a WAV file of one channel at [`RATE_HZ`] of any sound: whole, or not at all.
    pub async fn extract(&self, sound: &Path, wav: &Path) -> Result<(), VideoError> {
        // As in `fetch`.
        let part = &wav.with_extension(format!("part-{}", Uuid::now_v7().simple()));
        let (rate, longest) = (RATE_HZ.to_string(), VIDEO_S_MAX.to_string());
        let arguments: Vec<&OsStr> = vec![
            "-nostdin".as_ref(),
            "-v".as_ref(),
            "error".as_ref(),
            "-y".as_ref(),
            "-i".as_ref(),
            sound.as_ref(),
            "-vn".as_ref(),
            "-ac".as_ref(),
            "1".as_ref(),
            "-ar".as_ref(),
            rate.as_ref(),
            "-t".as_ref(),
            longest.as_ref(),
            "-f".as_ref(),
            "wav".as_ref(),
            part.as_ref(),
        ];
        let said = run(&self.ffmpeg, arguments, EXTRACTED_WITHIN).await?;
        let failed =
            |why: &str| VideoError::new(VideoFault::Failed, format!("The sound cannot be read: {why}"));
        if !said.is_good {
            return Err(failed(last(&said.err).as_str()));
        }
        tokio::fs::rename(part, wav).await.map_err(|error| failed(&error.to_string()))
    }
}

/// What a program said.
struct Said {
    is_good: bool,
    out: String,
    err: String,
}

/// Ends a program with all that it started, unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program to its end. To drop this ends it.
async fn run<'a>(
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr> + 'a>,
    within: Duration,
) -> Result<Said, VideoError> {
    let name = program.display().to_string();
    let failed = |what: String| VideoError::new(VideoFault::Failed, format!("{name} {what}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => VideoError::new(
                VideoFault::Tool,
                format!("{name} is not on this machine: install it, or name its path"),
            ),
            _ => failed(format!("cannot be started: {error}")),
        })?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(within, async { tokio::join!(hear(out), hear(err), child.wait()) }).await;
    let (out, err, status) = ended.map_err(|_| failed(format!("took longer than {} s", within.as_secs())))?;
    group.0 = None;
    let status = status.map_err(|error| failed(format!("is lost: {error}")))?;
    Ok(Said { is_good: status.success(), out, err })
}

/// All that comes, as far as it is kept.
async fn hear(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut kept, mut part) = (Vec::new(), [0; 4_096]);
    while let Ok(count @ 1..) = pipe.read(&mut part).await {
        // The end says why.
        kept.extend_from_slice(&part[..count]);
        if kept.len() > 2 * SAID_MAX {
            kept.drain(..kept.len() - SAID_MAX);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What yt-dlp's errors mean, by the words that sites use.
fn meaning(err: &str) -> VideoError {
    let lower = err.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let fault = if has(&[
        "private video",
        "video unavailable",
        "this video is not available",
        "has been removed",
        "terminated",
        "members-only",
        "join this channel",
        "live event will begin",
        "premieres in",
        "not made this video available in your country",
        "confirm your age",
        "http error 404",
        "http error 410",
        "incomplete youtube id",
    ]) {
        VideoFault::Unavailable
    } else if has(&[
        "not a bot",
        "captcha",
        "http error 429",
        "http error 5",
        "try again later",
        "timed out",
        "unable to download",
        "requested format is not available",
        "connection",
    ]) {
        VideoFault::Later
    } else {
        VideoFault::Failed
    };
    VideoError::new(fault, last(err))
}

/// The last error, as it may be told: without where it was on this machine.
fn last(err: &str) -> String {
    let mut lines = err.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line =
        lines.clone().find(|line| line.starts_with("ERROR:")).or_else(|| lines.next()).unwrap_or("no reason");
    let line = line.trim_start_matches("ERROR:").trim();
    let line = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest.split_once(": ").map_or(rest, |(_, reason)| reason),
        None => line,
    };
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
