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

/// Asks, and gives the answer's text.
pub async fn complete(
    http: &HttpClient,
    base: &BaseUrl,
    key: Option<&Secret>,
    question: &Question<'_>,
) -> Result<String, VendorError> {
    let malformed = |detail: &str| VendorError::new(Failure::Malformed, detail);
    let account = Account::new(http.clone(), base.clone(), key.cloned());
    let account = account.map_err(|error| VendorError::new(Failure::Unauthorised, error))?;
    let builder = account.post("/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    let request = account.request(builder, Bytes::from(body(question).to_string()));
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
    if choice["finish_reason"] == "length" {
        return Err(malformed("an answer that was cut off"));
    }
    let text = choice["message"]["content"].as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| malformed("an answer without a text"))
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
}
