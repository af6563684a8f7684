//! Against the fake of OpenAI, over real sockets, and against answers that it never gives.

use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, FakeVendors, Vendor};

use super::*;
use crate::integrations::openai::fake::{Fake, Step};

const KEY: &str = "sk-0123456789abcdef";

fn options(base: &str) -> Options {
    Options {
        base: base.parse().unwrap(),
        key: Some(Secret::new(KEY)),
        model: MODEL.into(),
        dimensions: Some(DIMENSIONS),
    }
}

async fn embed(options: Options, texts: &[&str]) -> Result<Embedded, EmbedError> {
    let client = Embeddings::new(options).unwrap();
    client.embed(texts.iter().map(|text| (*text).to_owned()).collect()).await
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[tokio::test]
async fn texts_that_share_words_are_near() {
    let fakes = FakeVendors::start().await;
    let texts = ["Waterproof notebooks", "a notebook, waterproof", "Opening hours on Sundays"];
    let Embedded { vectors, tokens } = embed(options(&fakes.base_url(Vendor::OpenAi)), &texts).await.unwrap();
    assert!(vectors.iter().all(|vector| vector.len() == 512 && (cosine(vector, vector) - 1.0).abs() < 1e-4));
    assert!(cosine(&vectors[0], &vectors[1]) > 0.6 && cosine(&vectors[0], &vectors[2]) < 0.3);
    assert!(tokens > 0);
    let asked = &fakes.requests()[0];
    assert_eq!(asked.path, "/openai/v1/embeddings");
    assert_eq!(asked.body["input"], serde_json::json!(texts));
    assert_eq!((&asked.body["dimensions"], &asked.body["encoding_format"]), (&512.into(), &"base64".into()));
}

#[tokio::test]
async fn refusals_pass_or_do_not_and_tell_no_key() {
    for (fault, is_passing) in
        [("status=429", true), ("status=500", true), ("status=400", false), ("malformed", false)]
    {
        let fakes = FakeVendors::start().await;
        fakes.fail("/openai/v1/embeddings", 1, Fault::parse(fault).unwrap());
        let error = embed(options(&fakes.base_url(Vendor::OpenAi)), &["x"]).await.unwrap_err();
        assert_eq!(error.is_passing, is_passing, "{fault}: {error}");
        assert!(!error.reason.contains(KEY), "{error}");
    }
    let fakes = FakeVendors::start().await;
    let bad = Options { key: Some(Secret::new(BAD_KEY)), ..options(&fakes.base_url(Vendor::OpenAi)) };
    let error = embed(bad, &["x"]).await.unwrap_err();
    assert!(!error.is_passing && error.reason.contains("401"), "{error}");
    drop(fakes);
    assert!(embed(options("http://127.0.0.1:9"), &["x"]).await.unwrap_err().is_passing);
}

#[tokio::test]
async fn a_text_that_the_vendor_does_not_take_is_an_error() {
    let fakes = FakeVendors::start().await;
    let error = embed(options(&fakes.base_url(Vendor::OpenAi)), &["x", ""]).await.unwrap_err();
    assert!(!error.is_passing && error.reason.contains("400"), "{error}");
}

#[tokio::test]
async fn answers_are_matched_by_their_index_and_brought_to_length_one() {
    let answer = |data: &str| vec![Step::Answer(200, "", format!("{{\"data\":[{data}]}}"))];
    let fake =
        Fake::new([answer("{\"index\":1,\"embedding\":[0,2]},{\"index\":0,\"embedding\":[3.0,4.0]}")]).await;
    let embedded = embed(options(&fake.url), &["a", "b"]).await.unwrap();
    assert_eq!(embedded, Embedded { vectors: vec![vec![0.6, 0.8], vec![0.0, 1.0]], tokens: 0 });
    for data in [
        "{\"index\":0,\"embedding\":[1]}",
        "{\"index\":0,\"embedding\":[1]},{\"index\":0,\"embedding\":[1]}",
        "{\"index\":0,\"embedding\":[1]},{\"index\":7,\"embedding\":[1]}",
        "{\"index\":0,\"embedding\":[1]},{\"index\":1,\"embedding\":[1,1]}",
        "{\"index\":0,\"embedding\":[0]},{\"index\":1,\"embedding\":[1]}",
        "{\"index\":0,\"embedding\":[]},{\"index\":1,\"embedding\":[]}",
        "{\"index\":0,\"embedding\":\"AAA\"},{\"index\":1,\"embedding\":\"!\"}",
        "{\"index\":0,\"embedding\":[1e39]},{\"index\":1,\"embedding\":[1]}",
        "{\"index\":0}",
    ] {
        let fake = Fake::new([answer(data)]).await;
        let error = embed(options(&fake.url), &["a", "b"]).await.unwrap_err();
        assert!(!error.is_passing, "{data}: {error}");
    }
}

#[test]
fn they_are_made_where_there_is_a_key_or_a_server_of_ones_own() {
    let with = |environment: &[(&str, &str)]| {
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        let settings = Settings::load(&crate::settings::Flags::default(), &lookup).unwrap();
        Embeddings::from_settings(&settings).map(|made| made.map(|made| made.name))
    };
    assert_eq!(with(&[]), Ok(None));
    assert_eq!(with(&[("OPENAI_API_KEY", "k")]), Ok(Some("text-embedding-3-small@512".into())));
    let own = ("OFFHOOK_OPENAI_BASE_URL", "http://127.0.0.1:11434/v1");
    let model = ("OFFHOOK_OPENAI_EMBEDDING_MODEL", "nomic-embed-text");
    assert_eq!(with(&[own, model]), Ok(Some("nomic-embed-text".into())));
    let size = |size| ("OFFHOOK_OPENAI_EMBEDDING_DIMENSIONS", size);
    assert_eq!(with(&[own, model, size("256")]), Ok(Some("nomic-embed-text@256".into())));
    assert_eq!(with(&[("OPENAI_API_KEY", "k"), ("OFFHOOK_OPENAI_EMBEDDING_MODEL", "off")]), Ok(None));
    assert!(with(&[own, size("many")]).unwrap_err().contains("EMBEDDING_DIMENSIONS"));
}
