//! Chat completions, whole: a question with one answer, for what nobody waits for word by word.
//!
//! An answer can be asked for as JSON of a schema (`response_format`), which models mostly keep to: so it is for who asks to look
//! whether it fits. <https://platform.openai.com/docs/api-reference/chat/create>, by the official SDK 3.54.0 and API description,
//! read 2026-11.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use offhook_engine::call::Failure;
use serde_json::{Value, json};

use super::account::Account;
use crate::integrations::http::{Answer, HttpClient, Limits};
use crate::integrations::refusal::of_http;
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, Secret};

/// What one answer may cost.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), body_bytes: 1024 * 1024 };

/// A question.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The model that is asked.
    pub model: &'a str,
    /// What it is to do.
    pub task: &'a str,
    /// What with: never taken for a part of the task.
    pub text: &'a str,
    /// The name and the schema of the JSON that it is to answer with; none: with a text.
    pub schema: Option<(&'a str, &'a Value)>,
    /// How many tokens the answer may have.
    pub max_tokens: u32,
    /// How the server calls that.
    pub max_tokens_field: &'a str,
}

/// A conversation that wants its next turn.
#[derive(Clone, Debug)]
pub struct Dialogue<'a> {
    /// The model that is asked.
    pub model: &'a str,
    /// What was said, and by whom, in order: `role` and `content`.
    pub messages: &'a [Value],
    /// How many tokens the turn may have.
    pub max_tokens: u32,
    /// How the server calls that.
    pub max_tokens_field: &'a str,
    /// How freely the model chooses its words; none: as the server has it.
    pub temperature: Option<f64>,
}

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The text, never empty. What a model thinks aloud before it answers is not in it.
    pub text: String,
    /// Whether it has more to say, and may not.
    pub is_cut: bool,
    /// Tokens of what it was told, as the server counts them; 0 if it does not say.
    pub prompt_tokens: u32,
    /// Tokens of what it said, likewise.
    pub completion_tokens: u32,
}

/// Asks, and gives the answer's text.
pub async fn complete(
    http: &HttpClient,
    base: &BaseUrl,
    key: Option<&Secret>,
    question: &Question<'_>,
) -> Result<String, VendorError> {
    let completion = ask(http, base, key, &body(question)).await?;
    if completion.is_cut {
        return Err(VendorError::new(Failure::Malformed, "an answer that was cut off"));
    }
    Ok(completion.text)
}

/// Asks for the next turn of a conversation.
pub async fn converse(
    http: &HttpClient,
    base: &BaseUrl,
    key: Option<&Secret>,
    dialogue: &Dialogue<'_>,
) -> Result<Completion, VendorError> {
    let mut body = json!({ "model": dialogue.model, "messages": dialogue.messages });
    body[dialogue.max_tokens_field] = dialogue.max_tokens.into();
    if let Some(temperature) = dialogue.temperature {
        body["temperature"] = temperature.into();
    }
    ask(http, base, key, &body).await
}

async fn ask(
    http: &HttpClient,
    base: &BaseUrl,
    key: Option<&Secret>,
    body: &Value,
) -> Result<Completion, VendorError> {
    let malformed = |detail: &str| VendorError::new(Failure::Malformed, detail);
    let account = Account::new(http.clone(), base.clone(), key.cloned());
    let account = account.map_err(|error| VendorError::new(Failure::Unauthorised, error))?;
    let builder = account.post("/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    let request = account.request(builder, Bytes::from(body.to_string()));
    let Answer { status, headers, body } =
        account.http.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
    if !status.is_success() {
        return Err(account.refused(status, &headers, &body));
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|_| malformed("an answer that is no JSON"))?;
    let choice = &answer["choices"][0];
    if choice["message"]["refusal"].is_string() {
        return Err(VendorError::new(Failure::Refused, "the model does not want to answer"));
    }
    let text = choice["message"]["content"].as_str().map(without_thoughts).unwrap_or_default();
    let is_cut = choice["finish_reason"] == "length";
    if text.is_empty() {
        return Err(malformed(if is_cut {
            "an answer that was cut off"
        } else {
            "an answer without a text"
        }));
    }
    let tokens = |name: &str| answer["usage"][name].as_u64().unwrap_or(0).min(u32::MAX.into()) as u32;
    Ok(Completion {
        text: text.to_owned(),
        is_cut,
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    })
}

/// A text without what some models think aloud before it: `<think>…</think>`.
fn without_thoughts(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("<think>") {
        Some(thoughts) => thoughts.split_once("</think>").map_or("", |(_, text)| text.trim()),
        None => text,
    }
}

fn body(question: &Question<'_>) -> Value {
    let mut body = json!({
        "model": question.model,
        "messages": [
            { "role": "system", "content": question.task },
            { "role": "user", "content": question.text },
        ],
        "temperature": 0,
    });
    body[question.max_tokens_field] = question.max_tokens.into();
    if let Some((name, schema)) = question.schema {
        body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": name, "schema": schema, "strict": true } });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_form_its_answer_has() {
        let schema = json!({ "type": "object" });
        let question = Question {
            model: "m",
            task: "t",
            text: "x",
            schema: Some(("analysis", &schema)),
            max_tokens: 7,
            max_tokens_field: "max_tokens",
        };
        let asked = body(&question);
        assert_eq!(asked["response_format"]["json_schema"]["schema"], schema);
        assert_eq!((asked["max_tokens"].as_u64(), &asked["messages"][1]["content"]), (Some(7), &json!("x")));
        assert!(body(&Question { schema: None, ..question }).get("response_format").is_none());
    }

    #[tokio::test]
    async fn a_turn_of_a_conversation_comes_with_what_it_cost() {
        use crate::integrations::openai::fake::{Fake, Step};
        let said = |text: &str, finish: &str, usage: Value| {
            let body = json!({ "choices": [{ "message": { "content": text }, "finish_reason": finish }], "usage": usage });
            vec![Step::Answer(200, "content-type: application/json\r\n", body.to_string())]
        };
        let usage = json!({ "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 });
        let mut fake = Fake::new([
            said("<think>hm</think> Yes.", "stop", usage),
            said("One. Two", "length", Value::Null),
            said("<think>and then", "length", Value::Null),
        ])
        .await;
        let (http, base) = (HttpClient::new().unwrap(), fake.url.parse().unwrap());
        let messages = [json!({ "role": "user", "content": "Well?" })];
        let dialogue = Dialogue {
            model: "m",
            messages: &messages,
            max_tokens: 9,
            max_tokens_field: "max_tokens",
            temperature: None,
        };
        let first = converse(&http, &base, None, &dialogue).await.unwrap();
        let told = Completion { text: "Yes.".into(), is_cut: false, prompt_tokens: 12, completion_tokens: 3 };
        assert_eq!(first, told);
        let asked = fake.next_asked().await.body;
        assert_eq!((&asked["messages"], &asked["max_tokens"]), (&json!(messages), &json!(9)));
        let cut = converse(&http, &base, None, &dialogue).await.unwrap();
        assert_eq!((cut.is_cut, cut.prompt_tokens), (true, 0), "what is not told is not made up");
        let none = converse(&http, &base, None, &dialogue).await.unwrap_err();
        assert_eq!(none.why, Failure::Malformed);
    }
}
