//! Sound that was made for somebody: files under the data folder, which links open for an hour.
//!
//! Ogg with Opus at 8 kHz, as the voices give it: what a telephone carries.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use offhook_codecs::{SampleRate, g711, ogg, opus};

use crate::domain::time::UnixMs;
use crate::domain::token::{Signer, TOKEN_LIFE_S};

/// The folder under the data folder.
const FOLDER: &str = "media";
/// What it is made of.
pub const MIME: &str = "audio/ogg";

/// All of it.
#[derive(Debug)]
pub struct Media {
    folder: PathBuf,
    signer: Option<Signer>,
}

/// A link, and until when it opens something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The path and the query, below the system's base.
    pub path: String,
    /// From then on it opens nothing.
    pub expires: UnixMs,
}

impl Media {
    /// Files under `data_dir`. `signer`: of links; none: there are none.
    pub fn new(data_dir: &Path, signer: Option<Signer>) -> Self {
        Self { folder: data_dir.join(FOLDER), signer }
    }

    /// Keeps speech, 8 kHz µ-law, as `<name>.ogg`. Returns the file's name. Blocks.
    pub fn keep(&self, name: &str, ulaw: &[u8]) -> std::io::Result<String> {
        let file = format!("{name}.ogg");
        debug_assert!(is_file(&file), "{file}");
        std::fs::create_dir_all(&self.folder)?;
        // Whole, or not at all.
        let part = self.folder.join(format!("{file}.part"));
        std::fs::write(&part, opus(ulaw))?;
        std::fs::rename(&part, self.folder.join(&file))?;
        Ok(file)
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> Option<String> {
        let file = format!("{name}.ogg");
        (is_file(&file) && self.folder.join(&file).is_file()).then_some(file)
    }

    /// Removes the files whose names begin so. Blocks.
    pub fn remove(&self, prefix: &str) {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            if file.file_name().to_string_lossy().starts_with(prefix)
                && let Err(error) = std::fs::remove_file(file.path())
            {
                tracing::error!(%error, file = %file.path().display(), "a file of a removed persona stays");
            }
        }
    }

    /// Removes the files whose names begin so and that were made before `before`. Blocks.
    pub fn remove_old(&self, prefix: &str, before: SystemTime) {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(prefix)) {
            let made = file.metadata().and_then(|data| data.modified());
            if made.is_ok_and(|made| made < before)
                && let Err(error) = std::fs::remove_file(file.path())
            {
                tracing::error!(%error, file = %file.path().display(), "an old file stays");
            }
        }
    }

    /// What is in a file. Blocks.
    pub fn read(&self, file: &str) -> std::io::Result<Vec<u8>> {
        if !is_file(file) {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        std::fs::read(self.folder.join(file))
    }

    /// A link to a file, good for an hour. None if this server has no secret to sign with.
    pub fn link(&self, file: &str, now: UnixMs) -> Option<Link> {
        let token = self.signer.as_ref()?.sign(file, now);
        let expires = UnixMs(now.0 + TOKEN_LIFE_S * 1_000);
        Some(Link { path: format!("/media/{file}?token={token}"), expires })
    }

    /// The file that a link opens, under the data folder. None if it opens nothing.
    pub fn opened(&self, file: &str, token: &str, now: UnixMs) -> Option<String> {
        let named = self.signer.as_ref()?.verify(token, now)?;
        let is_there = named == file && is_file(file) && self.folder.join(file).is_file();
        is_there.then(|| format!("{FOLDER}/{file}"))
    }
}

/// Whether this is the name of one of the files: a part of no path.
fn is_file(name: &str) -> bool {
    name.len() <= 128
        && name.strip_suffix(".ogg").is_some_and(|stem| {
            !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        })
}

fn opus(ulaw: &[u8]) -> Vec<u8> {
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(ulaw, &mut samples);
    let settings = opus::Settings::default();
    ogg::encode(Vec::new(), &samples, SampleRate::HZ_8000, &settings, &[])
        .expect("memory takes it, and the settings are good")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_file_for_an_hour_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let media = Media::new(dir.path(), Some(Signer::new(&[7; 32], "echome-media")));
        let file = media.keep("persona_1_sample", &[0x55; 8_000]).unwrap();
        assert_eq!(media.has("persona_1_sample").as_deref(), Some("persona_1_sample.ogg"));
        let link = media.link(&file, UnixMs(0)).unwrap();
        let token = link.path.split_once("token=").unwrap().1;
        let opened = |file: &str, token: &str, at| media.opened(file, token, UnixMs(at));
        assert_eq!(opened(&file, token, 1_000).as_deref(), Some("media/persona_1_sample.ogg"));
        assert_eq!(opened(&file, token, 3_700_000), None, "it has expired");
        assert_eq!(opened("persona_2_sample.ogg", token, 1_000), None);
        assert_eq!(opened(&file, "guess", 1_000), None);
        for outside in ["../offhook.db", "a/b.ogg", ".ogg", "a.ogg.part", "a b.ogg"] {
            assert!(!is_file(outside), "{outside}");
        }
        let bytes = std::fs::read(dir.path().join("media").join(&file)).unwrap();
        let samples = ogg::decode(&bytes[..], SampleRate::HZ_8000, 60_000).unwrap();
        assert!(samples.len().abs_diff(8_000) < 200, "{}", samples.len());
        media.remove("persona_1_");
        assert_eq!(media.has("persona_1_sample"), None);
    }

    #[test]
    fn what_is_old_goes_and_what_is_not_or_has_another_name_stays() {
        use std::time::Duration;
        let dir = tempfile::tempdir().unwrap();
        let media = Media::new(dir.path(), None);
        for name in ["query_1", "persona_1"] {
            media.keep(name, &[0x55; 800]).unwrap();
        }
        media.remove_old("query_", SystemTime::now() - Duration::from_secs(60));
        assert!(media.has("query_1").is_some());
        assert!(media.read("query_1.ogg").unwrap().starts_with(b"OggS"));
        media.remove_old("query_", SystemTime::now() + Duration::from_secs(60));
        assert_eq!((media.has("query_1"), media.has("persona_1").is_some()), (None, true));
        assert!(media.read("../media/persona_1.ogg").is_err());
    }
}
