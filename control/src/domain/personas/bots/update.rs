//! What Telegram posts of what is written to a bot: read leniently, since the sender adds fields and kinds as it likes.
//!
//! <https://core.telegram.org/bots/api#update>, version 9.2, read 2026-11.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest text, in characters: what Telegram lets people write.
const TEXT_MAX: usize = 4_096;
/// The longest name, in characters.
const NAME_MAX: usize = 200;

/// An update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its number: a repetition has the same.
    pub id: i64,
    /// What somebody wrote to the bot alone; none of every other kind of update, and of groups and channels.
    pub message: Option<Written>,
}

/// Something that somebody wrote to a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Where to answer.
    pub chat: i64,
    /// Telegram's number for who wrote it.
    pub from: i64,
    /// What they are called.
    pub name: String,
    /// The text; none of a picture, a voice, and all else.
    pub text: Option<String>,
}

impl Update {
    /// Reads an update. None if it is none.
    pub fn read(update: &Value) -> Option<Self> {
        let id = update.as_object()?.get("update_id")?.as_i64()?;
        let message = match update.get("message") {
            None | Some(Value::Null) => None,
            Some(message) => {
                message.as_object()?;
                Written::read(message)
            }
        };
        Some(Self { id, message })
    }
}

impl Written {
    fn read(message: &Value) -> Option<Self> {
        let (chat, from) = (message["chat"]["id"].as_i64()?, message["from"]["id"].as_i64()?);
        // With oneself alone, a chat has the number of who writes.
        let is_private = message["chat"]["type"].as_str().map_or(chat == from, |kind| kind == "private");
        if !is_private || message["from"]["is_bot"] == true {
            return None;
        }
        let text = message["text"].as_str().filter(|text| !text.trim().is_empty());
        Some(Self { chat, from, name: name(&message["from"]), text: text.map(|text| plain(text, TEXT_MAX)) })
    }
}

/// What somebody is called.
fn name(from: &Value) -> String {
    let part = |name: &str| from[name].as_str().map(|text| plain(text.trim(), NAME_MAX)).unwrap_or_default();
    let (first, last, user) = (part("first_name"), part("last_name"), part("username"));
    let full = format!("{first} {last}");
    match (full.trim(), user.as_str()) {
        ("", "") => format!("Telegram {}", from["id"]),
        ("", user) => format!("@{user}"),
        (full, _) => full.chars().take(NAME_MAX).collect(),
    }
}

/// A text without control characters but for its lines, of at most so many characters.
fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(most).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(more: Value) -> Value {
        let mut message = json!({
            "message_id": 456, "date": 1_708_257_600, "text": "Do you have pens?",
            "from": { "id": 5_000_000_000_i64, "is_bot": false, "first_name": "Alice", "username": "alice_j" },
            "chat": { "id": 5_000_000_000_i64, "type": "private" },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            message[name] = value.clone();
        }
        json!({ "update_id": 7, "message": message })
    }

    #[test]
    fn what_somebody_writes_to_a_bot_is_read() {
        let update = Update::read(&message(json!({}))).unwrap();
        let written = update.message.unwrap();
        assert_eq!((update.id, written.chat, written.from), (7, 5_000_000_000, 5_000_000_000));
        assert_eq!((written.name.as_str(), written.text.as_deref()), ("Alice", Some("Do you have pens?")));
        for silent in [json!({ "text": null, "voice": {} }), json!({ "text": " \n" }), json!({ "text": 7 })] {
            assert_eq!(Update::read(&message(silent)).unwrap().message.unwrap().text, None);
        }
        let long = Update::read(&message(json!({ "text": "x\0".repeat(9_000) }))).unwrap();
        assert_eq!(long.message.unwrap().text.unwrap(), "x".repeat(4_096));
        for (from, name) in [
            (json!({ "id": 5_000_000_000_i64 }), "Telegram 5000000000"),
            (json!({ "id": 5_000_000_000_i64, "username": "al" }), "@al"),
            (json!({ "id": 5_000_000_000_i64, "first_name": " A\n", "last_name": "B" }), "A B"),
        ] {
            let read = Update::read(&message(json!({ "from": from }))).unwrap().message.unwrap();
            assert_eq!(read.name, name);
        }
    }

    #[test]
    fn what_is_not_for_a_bot_alone_is_no_message_to_it() {
        let mut edited = message(json!({}));
        edited["edited_message"] = edited["message"].take();
        for other in [
            edited,
            json!({ "update_id": 7 }),
            json!({ "update_id": 7, "my_chat_member": { "chat": {} } }),
            json!({ "update_id": 7, "something_new": [1] }),
            json!({ "update_id": 7, "message": {} }),
            message(json!({ "chat": { "id": -100, "type": "supergroup" } })),
            message(json!({ "chat": { "id": -100 } })),
            message(json!({ "chat": { "id": "5", "type": "private" } })),
            message(json!({ "from": null })),
            message(json!({ "from": { "id": 9, "is_bot": true } })),
        ] {
            assert_eq!(Update::read(&other), Some(Update { id: 7, message: None }), "{other}");
        }
    }

    #[test]
    fn what_is_no_update_is_none() {
        for none in [
            json!([]),
            json!("update"),
            json!({}),
            json!({ "update_id": "7" }),
            json!({ "update_id": 1.5 }),
            json!({ "update_id": 1e300 }),
            json!({ "update_id": 7, "message": "hi" }),
        ] {
            assert_eq!(Update::read(&none), None, "{none}");
        }
    }
}
