//! Questions to personas over real sockets: answered from a catalogue, by a double of OpenAI, in a voice that a double of
//! ElevenLabs made.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::echome::{Owner, Programs, server, sound, upload, variables};
use offhook_tests::{Answer, Server};
use serde_json::{Value, json};
use tokio::time::sleep;

const CSV: &str = "name,description,price,currency,sku,in_stock\n\
                   Notebook A5,\"Recycled paper, 120 pages\",12.99,USD,NB-A5,true\n\
                   Waterproof Pen,Writes in the rain and below water,3.50,USD,PEN-W,true\n";

/// A server with doubles of all that it needs.
struct House {
    fakes: FakeVendors,
    server: Server,
    _programs: Programs,
}

impl House {
    async fn new(more: &[(&str, &str)]) -> Self {
        let fakes = FakeVendors::start().await;
        let programs = Programs::in_place();
        programs.go();
        let paths = [programs.path("yt-dlp"), programs.path("ffmpeg")];
        let [elevenlabs, openai] = [Vendor::ElevenLabs, Vendor::OpenAi].map(|vendor| fakes.base_url(vendor));
        let models = [("OFFHOOK_OPENAI_BASE_URL", openai.as_str()), ("OPENAI_API_KEY", "k")];
        let server = server(&[&variables(&paths, &elevenlabs)[..], &models, more].concat()).await;
        Self { fakes, server, _programs: programs }
    }

    /// Somebody with a persona that has a voice; the persona's id.
    async fn persona(&self) -> (Owner<'_>, String) {
        let owner = Owner::of(&self.server).await;
        let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
        let status = owner.status(&job, &["completed", "failed"]).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        (owner, persona)
    }

    fn fail(&self, path: &str, status: u16) {
        self.fakes.fail(path, 1, Fault { status: Some(status), ..Fault::default() });
    }

    /// What the model was asked last.
    fn asked(&self) -> Value {
        let asked = self.fakes.requests();
        asked.iter().rfind(|asked| asked.path.ends_with("/chat/completions")).unwrap().body.clone()
    }
}

async fn catalogue(owner: &Owner<'_>) {
    let started = upload(owner, "spring.csv", "text/csv", CSV.as_bytes()).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let job = started.json()["job_id"].as_str().unwrap().to_owned();
    for _ in 0..600 {
        let seen = owner.get(&format!("/api/jobs/{job}")).await;
        if seen["status"] == "completed" {
            return;
        }
        assert_ne!(seen["status"], "failed", "{seen:#}");
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the catalogue is not imported in half a minute");
}

async fn client(owner: &Owner<'_>) -> String {
    let made = owner.ask(Method::POST, "/api/clients", &json!({ "name": "Alice" })).await;
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn ask(owner: &Owner<'_>, body: &Value) -> Answer {
    owner.ask(Method::POST, "/api/chat/query", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_from_the_catalogue_in_the_cloned_voice_and_the_next_one_goes_on() {
    let house = House::new(&[]).await;
    let (owner, persona) = house.persona().await;
    catalogue(&owner).await;
    let client = client(&owner).await;
    let said = "Yes, the Waterproof Pen writes in the rain. It costs 3.50 dollars.";
    house.fakes.answer(&json!({ "content": said, "to": "waterproof" })).unwrap();
    let question = "Do you have a waterproof pen for the rain?";
    let body =
        json!({ "persona_id": persona, "client_id": client, "query": question, "include_audio": true });
    let answer = ask(&owner, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let mut keys: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["created_at", "processing_time_ms", "query_id", "response"]);
    let response = &told["response"];
    assert_eq!(response["text"], said);
    let heard = sound(&house.server, response["audio_url"].as_str().unwrap()).await;
    assert!(is_cloned(&heard, 8_000), "in the voice that was made");
    let seconds = response["audio_duration_seconds"].as_u64().unwrap() as f64;
    assert!((heard.len() as f64 / 8_000.0 - seconds).abs() <= 1.0, "{seconds} s of {} samples", heard.len());

    let cited = response["rag_context"].as_array().unwrap();
    let product = owner.get("/api/products?search=rain").await["products"][0]["id"].clone();
    assert_eq!(cited[0]["product_id"], product, "{response:#}");
    assert!(cited[0]["chunk"].as_str().unwrap().contains("below water"));
    for cited in cited {
        let score = cited["similarity_score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
    assert!(cited[0]["similarity_score"].as_f64().unwrap() > 0.2, "{response:#}");
    let asked = house.asked();
    let prompt = asked["messages"].to_string().len().div_ceil(4);
    let completion = said.len().div_ceil(4);
    let tokens = json!({ "prompt": prompt, "completion": completion, "total": prompt + completion });
    assert_eq!(response["tokens_used"], tokens, "as the vendor counts them");
    let system = asked["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("You are John Sales Expert."), "{system}");
    assert!(asked["messages"][1]["content"].as_str().unwrap().contains("below water"));

    let conversation = answer.header("x-conversation-id").to_owned();
    house.fakes.answer(&json!({ "content": "Black.", "to": "colour" })).unwrap();
    let next = json!({
        "persona_id": persona, "client_id": client, "query": "Of which colour?", "conversation_id": conversation,
    });
    let next = ask(&owner, &next).await;
    assert_eq!((next.status, next.header("x-conversation-id")), (200, conversation.as_str()));
    let response = next.json()["response"].clone();
    assert_eq!((&response["audio_url"], &response["audio_duration_seconds"]), (&Value::Null, &Value::Null));
    let messages = house.asked()["messages"].clone();
    let before: Vec<_> =
        messages.as_array().unwrap()[2..].iter().map(|message| &message["content"]).collect();
    assert_eq!(before, [question, said, "Of which colour?"]);

    let listed = owner.get("/api/clients").await["clients"][0].clone();
    assert_eq!(listed["total_conversations"], 1);
    assert!(listed["last_contact"].is_string(), "{listed}");
    let deleted = owner.ask(Method::DELETE, &format!("/api/voice/{persona}"), &Value::Null).await;
    assert_eq!((deleted.status, &deleted.json()["error"]), (409, &json!("conflict")), "{}", deleted.text());
    assert_eq!(house.fakes.made_voices().len(), 1, "its voice stays too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_spoken_in_pieces_that_are_one_sound() {
    let house = House::new(&[]).await;
    let (owner, persona) = house.persona().await;
    let sentence = "We have very many pens. ";
    let requests = || {
        let asked = house.fakes.requests();
        asked.iter().filter(|asked| asked.path.starts_with("/elevenlabs/v1/text-to-speech")).count()
    };
    let mut lengths = Vec::new();
    for (sentences, most) in [(10, 1), (40, 2)] {
        let before = requests();
        house.fakes.answer(&json!({ "content": sentence.repeat(sentences) })).unwrap();
        let body = json!({ "persona_id": persona, "query": "Which pens?", "include_audio": true });
        let answer = ask(&owner, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(requests() - before, most);
        let response = answer.json()["response"].clone();
        let heard = sound(&house.server, response["audio_url"].as_str().unwrap()).await;
        assert!(is_cloned(&heard, 8_000));
        lengths.push(heard.len() as f64);
    }
    assert!((lengths[1] / lengths[0] - 4.0).abs() < 0.3, "all of it is heard: {lengths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_in_one_conversation_are_kept_in_the_order_in_which_they_came() {
    let house = House::new(&[]).await;
    let (owner, persona) = house.persona().await;
    let first = ask(&owner, &json!({ "persona_id": persona, "query": "zero" })).await;
    let conversation = first.header("x-conversation-id").to_owned();
    // The first one takes longest.
    house.fakes.fail("/openai/v1/chat", 1, Fault::parse("latency=1s").unwrap());
    let (owner, persona, conversation) = (&owner, &persona, &conversation);
    let later = |number: u64| async move {
        sleep(Duration::from_millis(150 * number)).await;
        let query = format!("question {number}");
        let body = json!({ "persona_id": persona, "query": query, "conversation_id": conversation });
        let answer = ask(owner, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    tokio::join!(later(0), later(1), later(2));
    let messages = house.asked()["messages"].clone();
    let asked: Vec<_> =
        messages.as_array().unwrap().iter().filter(|message| message["role"] == "user").collect();
    let texts: Vec<_> = asked.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["zero", "question 0", "question 1", "question 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_refused_as_documented_and_leaves_nothing() {
    let house = House::new(&[]).await;
    let owner = Owner::of(&house.server).await;
    let client = client(&owner).await;
    let (_, unvoiced) = owner.clone("private0000").await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    owner.status(&job, &["completed"]).await;
    let unknown = "01a21773-6777-72b0-b6bb-6a2c0c6b0eb4";
    let asked = |more: Value| {
        let mut body = json!({ "persona_id": persona, "client_id": client, "query": "Any pens?" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (more, status, error) in [
        (json!({ "query": null }), 400, "invalid_input"),
        (json!({ "query": " \n" }), 400, "invalid_input"),
        (json!({ "query": "x".repeat(4_097) }), 400, "invalid_input"),
        (json!({ "query": 7 }), 400, "invalid_input"),
        (json!({ "persona_id": null }), 400, "invalid_input"),
        (json!({ "include_audio": "yes" }), 400, "invalid_input"),
        (json!({ "persona_id": format!("persona_{unknown}") }), 404, "resource_not_found"),
        (json!({ "persona_id": client }), 404, "resource_not_found"),
        (json!({ "client_id": format!("client_{unknown}") }), 404, "resource_not_found"),
        (json!({ "conversation_id": format!("conv_{unknown}") }), 404, "resource_not_found"),
        (json!({ "conversation_id": "../x" }), 404, "resource_not_found"),
        (json!({ "persona_id": unvoiced }), 422, "unprocessable_entity"),
    ] {
        let refused = ask(&owner, &asked(more.clone())).await;
        assert_eq!((refused.status, &refused.json()["error"]), (status, &json!(error)), "{more}");
        assert_eq!(refused.json().as_object().unwrap().len(), 5, "{}", refused.text());
    }
    for (path, vendor_status, status, error) in [
        ("/openai/v1/chat", 402, 402, "quota_exceeded"),
        ("/openai/v1/chat", 401, 500, "external_api_error"),
        ("/openai/v1/chat", 500, 500, "external_api_error"),
        ("/elevenlabs/v1/text-to-speech", 402, 402, "quota_exceeded"),
        ("/elevenlabs/v1/text-to-speech", 500, 500, "external_api_error"),
    ] {
        house.fail(path, vendor_status);
        let refused = ask(&owner, &asked(json!({ "include_audio": true }))).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (status, &json!(error)),
            "{path} {vendor_status}: {}",
            refused.text()
        );
        house.fakes.forget_faults();
    }
    assert_eq!(owner.get("/api/clients").await["clients"][0]["total_conversations"], 0);
    let unsigned = house.server.ask(Method::POST, "/echome/api/chat/query", &[], "{}").await;
    assert_eq!(unsigned.status, 401);
    let foreign = ask(&owner, &asked(json!({}))).await.header("x-conversation-id").to_owned();
    let (other_job, other) = owner.clone("abcdefghijk").await;
    owner.status(&other_job, &["completed"]).await;
    let refused = ask(&owner, &asked(json!({ "persona_id": other, "conversation_id": foreign }))).await;
    assert_eq!(refused.status, 404, "it is another persona's");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_there_is_no_answer_and_a_persona_goes_once_its_conversation_is_over() {
    let none = [("OPENAI_API_KEY", ""), ("OFFHOOK_OPENAI_BASE_URL", "https://api.openai.com")];
    let house = House::new(&none).await;
    let (owner, persona) = house.persona().await;
    let refused = ask(&owner, &json!({ "persona_id": persona, "query": "Any pens?" })).await;
    let told = refused.json();
    assert_eq!((refused.status, &told["error"]), (503, &json!("external_api_error")), "{told}");
    assert!(told["message"].as_str().unwrap().contains("API key"), "{told}");

    let house = House::new(&[("OFFHOOK_ECHOME_CONVERSATION_IDLE_SECONDS", "2")]).await;
    let (owner, persona) = house.persona().await;
    let answer = ask(&owner, &json!({ "persona_id": persona, "query": "Any pens?" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = format!("/api/voice/{persona}");
    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(owner.ask(Method::DELETE, &path, &Value::Null).await.status);
        if statuses.last() == Some(&200) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((statuses.first(), statuses.last()), (Some(&409), Some(&200)));
    assert!(house.fakes.made_voices().is_empty());
}
