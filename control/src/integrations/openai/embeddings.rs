//! Embeddings of OpenAI's, and of servers that speak its protocol.
//!
//! Vectors are asked for in base64, which is a third of their size in digits; servers that do not know that send numbers. They
//! are brought to length 1, which OpenAI's are and others' may not be.
//!
//! <https://platform.openai.com/docs/api-reference/embeddings/create>, by the official SDK 3.54.0, read 2026-11.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::CONTENT_TYPE;
use offhook_engine::call::Failure;
use serde::Deserialize;
use serde_json::json;

use super::account::Account;
use crate::domain::catalogue::{EmbedError, Embedded, Embedder};
use crate::integrations::http::{HttpClient, Limits};
use crate::integrations::refusal::of_http;
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, OPENAI_API, Secret, Settings};

/// The model, unless another one is set.
const MODEL: &str = "text-embedding-3-small";
/// How many numbers OpenAI's models are asked for, unless it is set: a third of what they give, at nearly the same quality.
const DIMENSIONS: u32 = 512;
/// The most numbers of a vector.
const DIMENSIONS_MAX: u32 = 4_096;
/// Texts of one request. OpenAI takes 2,048, others fewer.
const TEXTS_MAX: usize = 64;
/// What one request may cost: 64 vectors of 4,096 numbers in digits are less than 6 MB.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), body_bytes: 16 * 1024 * 1024 };

/// Whose embeddings.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub base: BaseUrl,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The model, such as `text-embedding-3-small`.
    pub model: String,
    /// How many numbers a vector is to have; none: as many as the model gives.
    pub dimensions: Option<u32>,
}

/// The client.
#[derive(Debug)]
pub struct Embeddings {
    account: Account,
    options: Options,
    /// Model and size.
    name: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Base64(String),
    Digits(Vec<f32>),
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    total_tokens: u64,
}

impl Embeddings {
    /// A client with connections of its own. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let account = Account::new(http, options.base.clone(), options.key.clone())?;
        let name = match options.dimensions {
            Some(dimensions) => format!("{}@{dimensions}", options.model),
            None => options.model.clone(),
        };
        Ok(Self { account, options, name })
    }

    /// The client that the settings are for; none if there is neither a key nor another server than OpenAI's, or `off` is set
    /// for the model. An error says what to do.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, String> {
        let openai = &settings.vendors.openai;
        let model = openai.option("embedding_model").unwrap_or(MODEL);
        let is_there = openai.key.is_some() || openai.base.to_string() != OPENAI_API;
        if !is_there || model == "off" {
            return Ok(None);
        }
        let dimensions = match openai.option("embedding_dimensions") {
            // Other models than these have one size, and refuse to be asked for another.
            None => model.starts_with("text-embedding-3").then_some(DIMENSIONS),
            Some(text) => {
                let number = text.parse().ok().filter(|number| (1..=DIMENSIONS_MAX).contains(number));
                let wrong = || format!("OFFHOOK_OPENAI_EMBEDDING_DIMENSIONS: write 1 to {DIMENSIONS_MAX}");
                Some(number.ok_or_else(wrong)?)
            }
        };
        let (base, key) = (openai.base.clone(), openai.key.clone());
        Self::new(Options { base, key, model: model.to_owned(), dimensions }).map(Some)
    }

    async fn ask(&self, texts: &[String]) -> Result<Embedded, VendorError> {
        let mut body = json!({"model": self.options.model, "input": texts, "encoding_format": "base64"});
        if let Some(dimensions) = self.options.dimensions {
            body["dimensions"] = dimensions.into();
        }
        let builder = self.account.post("/v1/embeddings").header(CONTENT_TYPE, "application/json");
        let request = self.account.request(builder, body.to_string().into());
        let answer = self.account.http.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
        if !answer.status.is_success() {
            return Err(self.account.refused(answer.status, &answer.headers, &answer.body));
        }
        let answer = serde_json::from_slice(&answer.body).map_err(|_| malformed("an answer that is none"))?;
        in_order(answer, texts.len())
    }
}

impl Embedder for Embeddings {
    fn model(&self) -> &str {
        &self.name
    }

    fn texts_max(&self) -> usize {
        TEXTS_MAX
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        async move {
            self.ask(&texts).await.map_err(|error| EmbedError {
                is_passing: matches!(
                    error.why,
                    Failure::Slow
                        | Failure::Unreachable
                        | Failure::Busy
                        | Failure::Faulty
                        | Failure::BrokenOff
                        | Failure::Flooded
                ),
                reason: format!("no embeddings: {error}"),
            })
        }
        .boxed()
    }
}

/// One vector for each text, each of length 1, all of one size.
fn in_order(answer: Answer, count: usize) -> Result<Embedded, VendorError> {
    let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); count];
    for (at, item) in answer.data.into_iter().enumerate() {
        let vector =
            vectors.get_mut(item.index.unwrap_or(at)).ok_or_else(|| malformed("a vector of no text"))?;
        if !vector.is_empty() {
            return Err(malformed("two vectors of one text"));
        }
        *vector = of_length_1(item.embedding)?;
    }
    let size = vectors.first().map_or(0, Vec::len);
    if size > DIMENSIONS_MAX as usize
        || vectors.iter().any(|vector| vector.is_empty() || vector.len() != size)
    {
        return Err(malformed("not one vector of one size for each text"));
    }
    Ok(Embedded { vectors, tokens: answer.usage.map_or(0, |usage| usage.total_tokens) })
}

fn of_length_1(numbers: Numbers) -> Result<Vec<f32>, VendorError> {
    let mut vector = match numbers {
        Numbers::Digits(vector) => vector,
        Numbers::Base64(text) => {
            let bytes = STANDARD.decode(text).map_err(|_| malformed("a vector that is no base64"))?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(malformed("a vector that ends within a number"));
            }
            numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
    };
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if !length.is_normal() {
        return Err(malformed("a vector without a direction"));
    }
    vector.iter_mut().for_each(|number| *number /= length);
    Ok(vector)
}

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
mod tests;
