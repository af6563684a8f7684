//! What Echo Me needs beside the models and voices.

use std::time::Duration;

use serde::Deserialize;

use super::SettingsError;
use super::agent::BaseUrl;
use super::layers::Layers;
use super::values::{Switch, Within};
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
    /// A conversation is over when nothing was said in it for so long. Default 30 minutes.
    pub conversation_idle: Duration,
    /// Whether who asks for the session without one is answered `{}`, as NextAuth does it. Default false: that is 401.
    pub nextauth_compat: bool,
}

/// `[echome]` in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EchoMeTable {
    conversation_idle_seconds: Option<i64>,
    nextauth_compat: Option<bool>,
}

impl EchoMeTable {
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match key {
            "conversation_idle_seconds" => self.conversation_idle_seconds.map(|number| number.to_string()),
            "nextauth_compat" => self.nextauth_compat.map(|switch| switch.to_string()),
            _ => None,
        }
    }
}

/// How long a conversation goes on after its last message, where nothing else is set.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Seconds after which a conversation may be over: up to thirty days.
type Idle = Within<1, 2_592_000>;

impl Default for EchoMeSettings {
    fn default() -> Self {
        Self {
            telegram: TELEGRAM.parse().expect("the vendor's own address can be read"),
            tools: VideoTools { yt_dlp: "yt-dlp".into(), ffmpeg: "ffmpeg".into(), url: VIDEOS.into() },
            conversation_idle: IDLE,
            nextauth_compat: false,
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
        conversation_idle: layers
            .read::<Idle>("echome_conversation_idle_seconds", None)?
            .map_or(IDLE, |seconds| Duration::from_secs(seconds.0)),
        nextauth_compat: layers
            .read::<Switch>("echome_nextauth_compat", None)?
            .map_or(default.nextauth_compat, |switch| switch.0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    #[test]
    fn when_a_conversation_is_over_can_be_set() {
        let read = |text: &str| Settings::from_text(text).map(|settings| settings.echome.conversation_idle);
        assert_eq!(read("").unwrap().as_secs(), 1_800);
        assert_eq!(read("[echome]\nconversation_idle_seconds = 60").unwrap().as_secs(), 60);
        assert!(read("[echome]\nconversation_idle_seconds = 0").is_err());
    }

    #[test]
    fn nextauths_answer_is_given_only_where_it_is_set() {
        let read = |text: &str| Settings::from_text(text).map(|settings| settings.echome.nextauth_compat);
        assert!(!read("").unwrap());
        assert!(read("[echome]\nnextauth_compat = true").unwrap());
        assert!(read("[echome]\nnextauth_compat = 'yes'").is_err());
    }
}
