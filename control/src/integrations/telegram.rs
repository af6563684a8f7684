//! Telegram's bots: their webhook, and what they send.
//!
//! <https://core.telegram.org/bots/api>, version 9.2, read 2026-11.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::form::Form;
use super::http::{HttpClient, Limits};
use crate::settings::{BaseUrl, Secret};

/// What one request may cost.
const ASK: Limits = Limits { time: Duration::from_secs(10), body_bytes: 256 * 1024 };
/// What sending a voice may cost.
const SEND: Limits = Limits { time: Duration::from_secs(60), body_bytes: 256 * 1024 };
/// The longest message, in characters ([`length`]).
pub const TEXT_MAX: usize = 4_096;
/// What stands below a voice has so many characters at most.
pub const CAPTION_MAX: usize = 1_024;
/// The largest file.
pub const FILE_BYTES_MAX: usize = 50 * 1024 * 1024;

/// Why Telegram did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelegramError {
    /// There is no bot with this token.
    #[error("Telegram does not know the token")]
    Token,
    /// The person has blocked the bot, or the chat is gone: for good.
    #[error("Telegram: {0}")]
    Blocked(String),
    /// Too much was sent.
    #[error("Telegram wants nothing for {} s", .0.as_secs())]
    Limited(Duration),
    /// It refuses the request.
    #[error("Telegram refuses the request: {0}")]
    Refused(String),
    /// It cannot be reached, or its answer is none.
    #[error("Telegram cannot be asked: {0}")]
    Failed(String),
}

/// A bot, as it is known to Telegram.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bot {
    /// Its number.
    pub id: i64,
    /// Its name, after `@`.
    #[serde(default)]
    pub username: String,
}

/// A bot's token, and where it is used.
#[derive(Clone, Debug)]
pub struct Telegram {
    http: HttpClient,
    base: BaseUrl,
    token: Secret,
}

/// What every answer looks like.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

impl Telegram {
    /// A bot by its token. None if that cannot be one: it is a part of paths.
    pub fn new(http: HttpClient, base: BaseUrl, token: Secret) -> Option<Self> {
        let text = token.reveal();
        let is_token = (8..=128).contains(&text.len())
            && text.contains(':')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b));
        is_token.then_some(Self { http, base, token })
    }

    /// Who the bot is, which tells whether the token is good.
    pub async fn get_me(&self) -> Result<Bot, TelegramError> {
        let me = self.ask("getMe", &json!({})).await?;
        serde_json::from_value(me).map_err(|error| TelegramError::Failed(error.to_string()))
    }

    /// Has messages to the bot posted to `url`, with `secret` in a header.
    pub async fn set_webhook(&self, url: &str, secret: &str) -> Result<(), TelegramError> {
        let body = json!({ "url": url, "secret_token": secret, "allowed_updates": ["message"] });
        self.ask("setWebhook", &body).await.map(drop)
    }

    /// Has nothing posted any more.
    pub async fn delete_webhook(&self) -> Result<(), TelegramError> {
        self.ask("deleteWebhook", &json!({})).await.map(drop)
    }

    /// Sends a text of at most [`TEXT_MAX`] characters.
    pub async fn send_text(&self, chat: i64, text: &str) -> Result<(), TelegramError> {
        self.ask("sendMessage", &json!({ "chat_id": chat, "text": text })).await.map(drop)
    }

    /// Shows that something is being recorded, for some five seconds.
    pub async fn show_recording(&self, chat: i64) -> Result<(), TelegramError> {
        self.ask("sendChatAction", &json!({ "chat_id": chat, "action": "record_voice" })).await.map(drop)
    }

    /// Sends a voice message: Ogg with Opus, at most [`FILE_BYTES_MAX`]. `caption`: at most [`CAPTION_MAX`] characters, or empty.
    pub async fn send_voice(
        &self,
        chat: i64,
        ogg: &[u8],
        duration_s: u32,
        caption: &str,
    ) -> Result<(), TelegramError> {
        if ogg.len() > FILE_BYTES_MAX {
            return Err(TelegramError::Refused("the voice is larger than it takes".into()));
        }
        let mut form =
            Form::new().text("chat_id", &chat.to_string()).text("duration", &duration_s.to_string());
        if !caption.is_empty() {
            form = form.text("caption", caption);
        }
        let (content_type, body) = form.file("voice", "voice.ogg", "audio/ogg", ogg).finish();
        self.post("sendVoice", &content_type, body.into(), SEND).await.map(drop)
    }

    async fn ask(&self, method: &str, body: &Value) -> Result<Value, TelegramError> {
        self.post(method, "application/json", Bytes::from(body.to_string()), ASK).await
    }

    async fn post(
        &self,
        method: &str,
        content_type: &str,
        body: Bytes,
        limits: Limits,
    ) -> Result<Value, TelegramError> {
        let url = self.base.of(&format!("/bot{}/{method}", self.token.reveal()));
        let request = Request::post(url).header(CONTENT_TYPE, content_type).body(Full::new(body));
        let request = request.expect("a checked base and a checked token are a URL");
        // The URL holds the token: what is told of a failure does not.
        let answer = self.http.send(request, limits).await;
        let answer = answer.map_err(|error| TelegramError::Failed(error.to_string()))?;
        let status = answer.status.as_u16();
        let said: Answer = serde_json::from_slice(&answer.body)
            .map_err(|_| TelegramError::Failed(format!("status {status} and no answer")))?;
        if said.ok {
            return Ok(said.result);
        }
        let description: String = said.description.chars().take(200).collect();
        Err(match (said.error_code, said.parameters.retry_after) {
            (_, Some(seconds)) => TelegramError::Limited(Duration::from_secs(seconds)),
            (429, None) => TelegramError::Limited(Duration::from_secs(1)),
            (401 | 404, _) => TelegramError::Token,
            (403, _) => TelegramError::Blocked(description),
            (400, _) if description.contains("chat not found") => TelegramError::Blocked(description),
            (500.., _) => TelegramError::Failed(description),
            _ => TelegramError::Refused(description),
        })
    }
}

/// How long a text is as Telegram counts: in UTF-16 units.
pub fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A text in pieces of at most `most` characters as Telegram counts them, cut at a space where there is one.
pub fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut units = 0;
        let beyond = rest.char_indices().find(|(at, c)| {
            units += c.len_utf16();
            units > most && *at > 0
        });
        let end = beyond.map_or(rest.len(), |(at, _)| at);
        let cut =
            if end == rest.len() { end } else { rest[..end].rfind(' ').filter(|at| *at > 0).unwrap_or(end) };
        pieces.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::vendors::faults::Fault;
    use offhook_fixtures::vendors::{FakeVendors, Vendor};

    use super::*;

    fn bot(fakes: &FakeVendors, token: &str) -> Telegram {
        let base = fakes.base_url(Vendor::Telegram).parse().unwrap();
        Telegram::new(HttpClient::new().unwrap(), base, Secret::new(token)).unwrap()
    }

    const TOKEN: &str = "123456:abcdefghijklmnopqrstuvwxyz012345678";
    const CHAT: i64 = 4_503_599_627_370_495;

    #[tokio::test]
    async fn a_bot_speaks_and_writes_to_a_chat() {
        let fakes = FakeVendors::start().await;
        let bot = bot(&fakes, TOKEN);
        assert_eq!(bot.get_me().await.unwrap(), Bot { id: 123_456, username: "fake_bot".into() });
        bot.set_webhook("https://voice.example.com/webhook/telegram", "s3cret").await.unwrap();
        bot.show_recording(CHAT).await.unwrap();
        bot.send_voice(CHAT, b"OggS voice", 3, "hello").await.unwrap();
        bot.send_text(CHAT, "beside").await.unwrap();
        let refused = bot.send_voice(CHAT, &vec![0; FILE_BYTES_MAX + 1], 3, "").await;
        assert!(matches!(refused, Err(TelegramError::Refused(_))), "{refused:?}");
        let sent = fakes.telegram_sent();
        assert_eq!(sent[0]["method"], "setWebhook");
        assert_eq!(sent[0]["secret_token"], "s3cret");
        assert_eq!(
            (&sent[2]["method"], &sent[2]["voice_bytes"], &sent[2]["chat_id"]),
            (&json!("sendVoice"), &json!(10), &json!(CHAT.to_string()))
        );
        assert_eq!((&sent[2]["caption"], &sent[3]["text"]), (&json!("hello"), &json!("beside")));
        assert_eq!((sent.len(), fakes.telegram_voices()), (4, vec![b"OggS voice".to_vec()]));
    }

    #[tokio::test]
    async fn each_refusal_has_its_meaning() {
        let fakes = FakeVendors::start().await;
        let limited = Fault { status: Some(429), ..Fault::default() };
        for (status, expected) in [
            (429, TelegramError::Limited(Duration::from_secs(5))),
            (403, TelegramError::Blocked("Forbidden: bot was blocked by the user".into())),
            (401, TelegramError::Token),
            (500, TelegramError::Failed("Internal Server Error".into())),
            (400, TelegramError::Refused("Bad Request: message text is empty".into())),
        ] {
            fakes.fail("/telegram/", 1, Fault { status: Some(status), ..limited.clone() });
            assert_eq!(bot(&fakes, TOKEN).send_text(CHAT, "hello").await, Err(expected));
        }
        assert_eq!(bot(&fakes, "1:bad-token").get_me().await, Err(TelegramError::Token));
        for no_token in ["", "abc", "12/../:x1234567", "1:x y12345678"] {
            let base = fakes.base_url(Vendor::Telegram).parse().unwrap();
            assert!(Telegram::new(HttpClient::new().unwrap(), base, Secret::new(no_token)).is_none());
        }
    }

    #[test]
    fn a_text_is_cut_at_spaces_and_between_characters() {
        assert_eq!(pieces("one two three", 8), ["one two", "three"]);
        assert_eq!(pieces("ééééé", 2), ["éé", "éé", "é"]);
        assert_eq!(pieces("😀😀😀", 5), ["😀😀", "😀"], "as Telegram counts");
        assert!(pieces("  ", 8).is_empty());
    }
}
