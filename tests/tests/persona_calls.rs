//! A persona on a telephone line, over real sockets: doubles of the video programs and of the vendors, and a caller by Twilio's
//! protocol.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook_codecs::g711;
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::desk::{self, google_client};
use offhook_tests::echome::{Owner, Programs, upload, variables};
use offhook_tests::{Answer, RawCall, Server, audio, said};
use serde_json::{Value, json};
use tokio::time::sleep;

const CALLER: &str = "+15005550009";
const GREETING: &str = "Hey there, John speaking!";
const QUESTION: &str = "How much is the waterproof pen?";
const PRICE: &str = "The waterproof pen is three dollars fifty.";
const PRODUCTS: &str = "name,description,price,currency,sku,in_stock\n\
                        Notebook A5,\"Recycled paper, 120 pages\",12.99,USD,NB-A5,true\n\
                        Waterproof Pen,Writes in the rain,3.50,USD,PEN-W,true\n";

/// A server whose services are the doubles.
async fn server(fakes: &FakeVendors, programs: &Programs) -> Server {
    let paths = [programs.path("yt-dlp"), programs.path("ffmpeg")];
    let [elevenlabs, openai, deepgram] =
        [Vendor::ElevenLabs, Vendor::OpenAi, Vendor::Deepgram].map(|vendor| fakes.base_url(vendor));
    let mut settings = google_client().to_vec();
    settings.extend(variables(&paths, &elevenlabs));
    settings.extend([
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_VOICES", "elevenlabs"),
        ("OFFHOOK_ELEVENLABS_VOICE", "v1"),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OPENAI_API_KEY", "sk-test"),
        ("DEEPGRAM_API_KEY", "k"),
    ]);
    Server::start_with(&[], &settings).await
}

/// Waits for a job's end.
async fn done(owner: &Owner<'_>, job: &str) {
    for _ in 0..600 {
        let seen = owner.ask(Method::GET, &format!("/api/jobs/{job}"), &Value::Null).await;
        if seen.status == 200 && seen.json()["status"] == "completed" {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{job} does not end well");
}

/// A persona with its voice, analysed, and its owner's products.
async fn persona(fakes: &FakeVendors, owner: &Owner<'_>) -> String {
    fakes.deepgram([GREETING]);
    let list = json!([]);
    let profile = json!({
        "role": "Founder",
        "speech_patterns": { "catchphrases": list, "filler_words": list, "expressions": list },
        "vocabulary": { "level": "", "style": "", "technical_terms": list, "slang": list },
        "tone": { "formality": "casual", "energy": "lively", "humor": "", "empathy": "" },
        "selling_style": { "approach": "", "primary_methods": list, "objection_handling": "" },
        "greeting_closing": { "typical_greetings": [GREETING], "typical_closings": list },
    });
    fakes.answer(&json!({ "to": GREETING, "content": profile.to_string() })).unwrap();
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    done(owner, &job.replace("job_voice_", "job_persona_")).await;
    let started = upload(owner, "catalog.csv", "text/csv", PRODUCTS.as_bytes()).await;
    assert_eq!(started.status, 202, "{}", started.text());
    done(owner, started.json()["job_id"].as_str().unwrap()).await;
    persona
}

/// Asks for who answers on a client's line.
async fn line_persona(
    server: &Server,
    method: Method,
    token: &str,
    client: &Value,
    persona: Option<&str>,
) -> Answer {
    let number = client["phone_number"].as_str().unwrap().replace('+', "%2B");
    let headers = [("authorization", token), ("content-type", "application/json")];
    let body = persona.map_or_else(String::new, |persona| json!({ "persona_id": persona }).to_string());
    server.ask(method, &format!("/v1/lines/{number}/persona"), &headers, &body).await
}

/// Whether what was heard after so many messages is the cloned voice; none if nobody spoke.
fn in_the_clone(call: &RawCall, from: usize) -> Option<bool> {
    let ulaw = call.audio(from);
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(&ulaw, &mut samples);
    let audible = samples.iter().any(|sample| sample.unsigned_abs() >= 1_000);
    audible.then(|| is_cloned(&samples, 8_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_greeted_and_told_of_products_in_the_voice_of_the_persona() {
    let (fakes, programs) = (FakeVendors::start().await, Programs::in_place());
    programs.go();
    let server = server(&fakes, &programs).await;
    let owner = Owner::of(&server).await;
    let persona = persona(&fakes, &owner).await;
    let desk = desk::Owner::sign_in(&server).await;
    let client = desk.client(600, json!({ "initial_greeting": "Acme." })).await;
    let put = line_persona(&server, Method::PUT, &owner.bearer, &client, Some(&persona)).await;
    assert_eq!((put.status, &put.json()["persona_id"]), (200, &json!(persona)), "{}", put.text());

    fakes.deepgram([QUESTION]);
    let search = json!({ "name": "search_products", "arguments": { "query": "waterproof pen" } });
    fakes.answer(&json!({ "to": QUESTION, "tool_calls": [search] })).unwrap();
    fakes.answer(&json!({ "to": "Writes in the rain", "content": PRICE })).unwrap();
    let mut call = desk::call(&server, CALLER, &client).await;
    call.listen_to_turn().await;
    assert_eq!(in_the_clone(&call, 0), Some(true), "the greeting");
    let greeted = call.heard.len();
    call.say(&audio::spoken(QUESTION)).await;
    call.listen_to_turn().await;
    assert_eq!(in_the_clone(&call, greeted), Some(true), "the answer");

    let path = format!("/api/voice/{persona}");
    let busy = owner.ask(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((busy.status, &busy.json()["error"]), (409, &json!("conflict")), "{}", busy.text());
    call.hang_up().await;
    let record = server.record(&call.call_sid).await;
    assert_eq!(said(&record), [("agent", GREETING), ("caller", QUESTION), ("agent", PRICE)]);
    // What the model was told: whose manner it has, and what the catalogue says.
    let asked = fakes.requests();
    let asked: Vec<_> = asked.iter().filter(|asked| asked.body["stream"] == true).collect();
    let prompt = asked[0].body["messages"][0]["content"].as_str().unwrap();
    assert!(prompt.contains("You are John Sales Expert, Founder") && prompt.contains("lively"), "{prompt}");
    assert!(asked.last().unwrap().body["messages"].to_string().contains("3.5"), "{:#?}", asked.last());

    let mut deleted = owner.ask(Method::DELETE, &path, &Value::Null).await;
    for _ in 0..100 {
        if deleted.status != 409 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        deleted = owner.ask(Method::DELETE, &path, &Value::Null).await;
    }
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let mut call = desk::call(&server, CALLER, &client).await;
    call.listen_to_turn().await;
    assert_eq!(in_the_clone(&call, 0), Some(false), "the line's assistant answers again");
    call.hang_up().await;
    let record = server.record(&call.call_sid).await;
    assert_eq!(said(&record)[0], ("agent", "Acme."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persona_is_put_on_lines_and_taken_off_by_whom_both_belong_to() {
    let (fakes, programs) = (FakeVendors::start().await, Programs::in_place());
    programs.go();
    let server = server(&fakes, &programs).await;
    let owner = Owner::of(&server).await;
    let persona = persona(&fakes, &owner).await;
    let desk = desk::Owner::sign_in(&server).await;
    let client = desk.client(600, json!({ "initial_greeting": "Acme." })).await;
    let of_desk = format!("Bearer {}", desk.token);
    let put = async |token: &str, persona: &str| {
        line_persona(&server, Method::PUT, token, &client, Some(persona)).await.status
    };
    assert_eq!(put("", &persona).await, 401);
    assert_eq!(put("Bearer nonsense", &persona).await, 401);
    for unknown in ["persona_01a21773-6777-72b0-b6bb-6a2c0c6b0eb4", "client_1", "x"] {
        assert_eq!(put(&owner.bearer, unknown).await, 404, "{unknown}");
    }
    let nobodys = json!({ "phone_number": "+15550000000" });
    let missing = line_persona(&server, Method::PUT, &of_desk, &nobodys, Some(&persona)).await;
    assert_eq!(missing.status, 404, "{}", missing.text());
    let no_number =
        line_persona(&server, Method::PUT, &of_desk, &json!({ "phone_number": "x" }), Some("p")).await;
    assert_eq!(no_number.status, 400, "{}", no_number.text());
    assert_eq!(put(&of_desk, &persona).await, 200, "a session of any system is good");
    for _ in 0..2 {
        let taken = line_persona(&server, Method::DELETE, &of_desk, &client, None).await;
        assert_eq!((taken.status, &taken.json()["persona_id"]), (200, &Value::Null), "{}", taken.text());
    }
    let mut call = desk::call(&server, CALLER, &client).await;
    call.listen_to_turn().await;
    call.hang_up().await;
    let record = server.record(&call.call_sid).await;
    assert_eq!(said(&record)[0], ("agent", "Acme."));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_vendors_a_persona_greets_in_the_voice_of_its_stand_in_before_the_scenario() {
    let programs = Programs::in_place();
    programs.go();
    let paths = [programs.path("yt-dlp"), programs.path("ffmpeg")];
    let settings = [&google_client()[..], &variables(&paths, "http://127.0.0.1:9")[..2]].concat();
    let server = Server::start_with(&["--speech", "keypad"], &settings).await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    assert_eq!(owner.status(&job, &["completed", "failed"]).await["status"], "completed");
    let desk = desk::Owner::sign_in(&server).await;
    let greeting = "Hello, this is John Sales Expert.";
    // The line's assistant says the same, in the server's own voice.
    let client = desk.client(600, json!({ "initial_greeting": greeting })).await;
    let plain = audio::spoken(greeting);
    let part = &plain[plain.len() / 2..plain.len() / 2 + 800];
    for answers in [None, Some(persona.as_str())] {
        let method = if answers.is_some() { Method::PUT } else { Method::DELETE };
        let put = line_persona(&server, method, &owner.bearer, &client, answers).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let mut call = desk::call(&server, CALLER, &client).await;
        call.listen_to_turn().await;
        call.hang_up().await;
        let record = server.record(&call.call_sid).await;
        let first = said(&record)[0].1.to_owned();
        assert!(first.starts_with(greeting), "{first}");
        let heard = call.audio(0);
        assert!(audio::peak(&heard) > 1_000, "somebody speaks");
        let in_the_servers = heard.windows(part.len()).any(|other| other == part);
        assert_eq!(in_the_servers, answers.is_none(), "a persona has a voice of its own");
    }
}
