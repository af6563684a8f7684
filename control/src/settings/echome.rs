//! What Echo Me needs beside the models and voices.

use super::SettingsError;
use super::agent::BaseUrl;
use super::layers::Layers;
use crate::integrations::video::VideoTools;

/// Where Telegram is.
const TELEGRAM: &str = "https://api.telegram.org";

/// Where its videos are.
const VIDEOS: &str = "https://www.youtube.com/watch?v={id}";

/// All that Echo Me needs.
#[derive(Clone, Debug)]
pub struct EchoMeSettings {
    /// Where Telegram is, or a server of one's own that speaks its protocol.
    pub telegram: BaseUrl,
    /// What fetches the sound of videos, and what reads it.
    pub tools: VideoTools,
}

impl Default for EchoMeSettings {
    fn default() -> Self {
        Self {
            telegram: TELEGRAM.parse().expect("the vendor's own address can be read"),
            tools: VideoTools { yt_dlp: "yt-dlp".into(), ffmpeg: "ffmpeg".into(), url: VIDEOS.into() },
        }
    }
}

pub(super) fn read(layers: &Layers<'_>) -> Result<EchoMeSettings, SettingsError> {
    let default = EchoMeSettings::default();
    let text = |name: &str| layers.text(name, None).map(|given| given.text);
    Ok(EchoMeSettings {
        telegram: layers.read("telegram_base_url", None)?.unwrap_or(default.telegram),
        tools: VideoTools {
            yt_dlp: text("yt_dlp").map_or(default.tools.yt_dlp, Into::into),
            ffmpeg: text("ffmpeg").map_or(default.tools.ffmpeg, Into::into),
            url: text("video_url").unwrap_or(default.tools.url),
        },
    })
}
