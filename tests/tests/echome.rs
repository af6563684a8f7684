//! Echo Me over real sockets: signing in with a double of Google, the session and its cookie, clients, keys of services.

use std::time::Duration;

use hyper::Method;
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::Server;
use offhook_tests::desk::google_client;
use offhook_tests::echome::{
    BASE, Owner, Programs, ask, left, nothing_left, server, sign_in, sound, upload, variables,
};
use serde_json::{Value, json};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_good_in_the_cookie_and_as_a_bearer_until_it_is_ended() {
    let server = server(&[("OFFHOOK_RATE_LIMITS", "on")]).await;
    let token = sign_in(&server).await;
    let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; next-auth.session-token={token}"));
    for headers in [[("authorization", bearer.as_str())], [("cookie", cookie.as_str())]] {
        let session = ask(&server, Method::GET, "/api/auth/session", &headers, &Value::Null).await;
        assert_eq!(session.status, 200, "{}", session.text());
        assert_eq!(session.json()["user"]["email"], "pat@example.com");
        assert_eq!(session.header("x-ratelimit-limit"), "100");
    }
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(ask(&server, Method::POST, "/api/auth/signout", &foreign, &Value::Null).await.status, 403);
    let own = [("cookie", cookie.as_str())];
    let ended = ask(&server, Method::POST, "/api/auth/signout", &own, &Value::Null).await;
    assert_eq!((ended.status, ended.json()), (200, json!({ "success": true })));
    let after = ask(&server, Method::GET, "/api/auth/session", &own, &Value::Null).await;
    assert_eq!((after.status, &after.json()["error"]), (401, &json!("unauthorized")));
    assert_eq!(after.json().as_object().unwrap().len(), 5, "{}", after.text());
    let frontdesk =
        server.ask(Method::GET, "/frontdesk/api/clients", &[("authorization", &bearer)], "").await;
    assert_eq!(frontdesk.status, 401, "a token of one system is none of another");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_made_found_and_changed_by_their_owner_alone() {
    let server = server(&[]).await;
    let token = sign_in(&server).await;
    let bearer = format!("Bearer {token}");
    let own = [("authorization", bearer.as_str())];
    let new = json!({
        "name": "Alice Johnson", "email": "alice@example.com", "telegram_id": "123456789", "phone": "+12025550100",
        "metadata": { "company": "Acme" },
    });
    let made = ask(&server, Method::POST, "/api/clients", &own, &new).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(made.as_object().unwrap().len(), 5, "{made}");
    let again = ask(&server, Method::POST, "/api/clients", &own, &new).await;
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_input")), "{}", again.text());
    let listed =
        ask(&server, Method::GET, "/api/clients?search=alice&limit=1", &own, &Value::Null).await.json();
    let pagination = json!({ "page": 1, "limit": 1, "total_clients": 1, "total_pages": 1 });
    assert_eq!((&listed["clients"][0]["id"], &listed["pagination"]), (&made["id"], &pagination));
    assert_eq!(listed["clients"][0]["total_conversations"], 0);
    let path = format!("/api/clients/{}", made["id"].as_str().unwrap());
    let changed = ask(&server, Method::PATCH, &path, &own, &json!({ "notes": "Loyal" })).await;
    assert_eq!((changed.status, &changed.json()["client_id"]), (200, &made["id"]));
    for unknown in ["client_0", "persona_1", "client_01a21773-6777-72b0-b6bb-6a2c0c6b0eb4"] {
        let missing = ask(&server, Method::PATCH, &format!("/api/clients/{unknown}"), &own, &json!({})).await;
        assert_eq!((missing.status, &missing.json()["error"]), (404, &json!("resource_not_found")));
    }
    assert_eq!(ask(&server, Method::GET, "/api/clients", &[], &Value::Null).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_checked_with_their_services_and_kept_sealed() {
    let fakes = FakeVendors::start().await;
    let [openai, elevenlabs, telegram] =
        [Vendor::OpenAi, Vendor::ElevenLabs, Vendor::Telegram].map(|vendor| fakes.base_url(vendor));
    let variables = [
        ("OFFHOOK_OPENAI_BASE_URL", openai.as_str()),
        ("OFFHOOK_ELEVENLABS_BASE_URL", &elevenlabs),
        ("OFFHOOK_TELEGRAM_BASE_URL", &telegram),
    ];
    let server = server(&variables).await;
    let bearer = format!("Bearer {}", sign_in(&server).await);
    let own = [("authorization", bearer.as_str())];
    let path = "/api/settings/api-keys";
    let set = async |service: &str, key: &str| {
        ask(&server, Method::POST, path, &own, &json!({ "service": service, "api_key": key })).await
    };
    let refused = set("openai", "bad-key").await;
    assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("invalid_api_key")));
    assert_eq!(set("paypal", "k").await.status, 400);
    let key = "sk-0123456789abcdefghij";
    let taken = set("openai", key).await;
    assert_eq!((taken.status, &taken.json()["key_id"]), (200, &json!("key_openai")), "{}", taken.text());
    let shown = ask(&server, Method::GET, path, &own, &Value::Null).await;
    assert!(!shown.text().contains("0123456789"), "{}", shown.text());
    let keys = shown.json()["api_keys"].as_array().unwrap().clone();
    assert_eq!(
        (keys.len(), &keys[1]["last_4_chars"], &keys[0]["configured"]),
        (3, &json!("ghij"), &json!(false))
    );
    for status in [200, 404] {
        let deleted =
            ask(&server, Method::DELETE, "/api/settings/api-keys/key_openai", &own, &Value::Null).await;
        assert_eq!(deleted.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_made_of_a_video_heard_and_taken_away() {
    let fakes = FakeVendors::start().await;
    let programs = Programs::in_place();
    programs.go();
    let (paths, elevenlabs) =
        ([programs.path("yt-dlp"), programs.path("ffmpeg")], fakes.base_url(Vendor::ElevenLabs));
    let server = server(&variables(&paths, &elevenlabs)).await;
    let owner = Owner::of(&server).await;
    for (body, error) in [
        (json!({ "youtube_url": "https://vimeo.com/1", "persona_name": "x" }), "invalid_url"),
        (json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ" }), "invalid_input"),
        (json!({ "persona_name": "x" }), "invalid_input"),
    ] {
        let refused = owner.ask(Method::POST, "/api/voice/clone", &body).await;
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!(error)), "{}", refused.text());
    }
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!((&status["progress"], &status["result"]["persona_id"]), (&json!(100), &json!(persona)));
    let made = fakes.made_voices();
    assert_eq!((made.len(), &status["result"]["voice_id"]), (1, &json!(made[0].id)));
    assert!(made[0].speech.len() > 10 * 32_000, "ten seconds of speech at 16 kHz");
    let sample = sound(&server, status["result"]["audio_sample_url"].as_str().unwrap()).await;
    assert!(is_cloned(&sample, 8_000), "in the voice that was made");
    let job_seen = owner.get(&format!("/api/jobs/{job}")).await;
    assert_eq!(
        (&job_seen["type"], &job_seen["status"], &job_seen["metadata"]["persona_id"]),
        (&json!("voice_clone"), &json!("completed"), &json!(persona))
    );
    let again = owner.ask(Method::POST, &format!("/api/jobs/{job}/cancel"), &Value::Null).await;
    assert_eq!((again.status, &again.json()["error"]), (409, &json!("conflict")));

    let seen = owner.get(&format!("/api/persona/{persona}")).await;
    assert_eq!((&seen["voice_id"], &seen["name"]), (&json!(made[0].id), &json!("John Sales Expert")));
    let preview = owner.get(&format!("/api/voice/preview/{persona}?text=Good%20day")).await;
    let url = preview["audio_url"].as_str().unwrap();
    assert!(is_cloned(&sound(&server, url).await, 8_000));
    let spoken = fakes.requests().len();
    let _ = owner.get(&format!("/api/voice/preview/{persona}?text=Good%20day")).await;
    assert_eq!(fakes.requests().len(), spoken, "the same text is spoken once");
    let long = "x".repeat(101);
    let refused =
        owner.ask(Method::GET, &format!("/api/voice/preview/{persona}?text={long}"), &Value::Null).await;
    assert_eq!(refused.status, 400);

    let overrides = json!({ "manual_overrides": { "dos": ["Ask first"], "backstory": "Ten years" } });
    let changed = owner.ask(Method::PATCH, &format!("/api/persona/{persona}"), &overrides).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let seen = owner.get(&format!("/api/persona/{persona}")).await;
    assert_eq!(seen["profile"]["manual_overrides"]["dos"], json!(["Ask first"]));

    let deleted = owner.ask(Method::DELETE, &format!("/api/voice/{persona}"), &Value::Null).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert!(fakes.made_voices().is_empty(), "at the maker too");
    let path = url.split_once(BASE).unwrap().1;
    assert_eq!(server.get(&format!("{BASE}{path}")).await.status, 404);
    let gone = owner.ask(Method::GET, &format!("/api/persona/{persona}"), &Value::Null).await;
    assert_eq!(gone.status, 404);
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_private_fails_and_a_job_that_is_called_off_leaves_nothing() {
    let fakes = FakeVendors::start().await;
    let programs = Programs::in_place();
    let (paths, elevenlabs) =
        ([programs.path("yt-dlp"), programs.path("ffmpeg")], fakes.base_url(Vendor::ElevenLabs));
    let server = server(&variables(&paths, &elevenlabs)).await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone("private0000").await;
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!(status["error"]["code"], "video_unavailable", "{status:#}");
    assert_eq!(owner.get(&format!("/api/persona/{persona}")).await["voice_id"], Value::Null);

    let (job, _) = owner.clone("dQw4w9WgXcQ").await;
    while !std::path::Path::new(&programs.path("pid")).exists() {
        sleep(Duration::from_millis(20)).await;
    }
    let cancelled = owner.ask(Method::POST, &format!("/api/jobs/{job}/cancel"), &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")));
    let status = owner.get(&format!("/api/voice/status/{job}")).await;
    assert!(status["status"] == "cancelled" && status["cancelled_at"].is_string(), "{status}");
    let pid = std::fs::read_to_string(programs.path("pid")).unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    for _ in 0..300 {
        if !process.exists() && left(&server).is_empty() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!process.exists(), "what was started has ended");
    nothing_left(&server).await;
    assert!(fakes.made_voices().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_the_server_was_killed() {
    let fakes = FakeVendors::start().await;
    let programs = Programs::in_place();
    let (paths, elevenlabs) =
        ([programs.path("yt-dlp"), programs.path("ffmpeg")], fakes.base_url(Vendor::ElevenLabs));
    let mut server = server(&variables(&paths, &elevenlabs)).await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone("dQw4w9WgXcQ").await;
    while !std::path::Path::new(&programs.path("pid")).exists() {
        sleep(Duration::from_millis(20)).await;
    }
    let bearer = owner.bearer.clone();
    server.kill();
    // It outlives its server, and does no harm.
    programs.go();
    let settings = [&google_client()[..], &variables(&paths, &elevenlabs)].concat();
    let server = Server::start_on(server.data(), &["--speech", "keypad"], &settings).await;
    let owner = Owner { server: &server, bearer };
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(fakes.made_voices().len(), 1, "once");
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_products_is_read_found_and_deleted_and_one_that_cannot_be_read_leaves_nothing() {
    let server = server(&[]).await;
    let owner = Owner::of(&server).await;
    let csv = "name,description,price,currency,sku,in_stock,color\n\
               Notebook A5,\"Recycled paper, 120 pages\",12.99,USD,NB-A5,true,Green\n\
               Waterproof Pen,Writes in the rain,3.50,USD,PEN-W,false,Black\n";
    let started = upload(&owner, "../../catalog.csv", "text/csv", csv.as_bytes()).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let started = started.json();
    assert_eq!(
        (&started["file_name"], &started["file_size_bytes"]),
        (&json!("catalog.csv"), &json!(csv.len()))
    );
    let job = started["job_id"].as_str().unwrap();
    let mut seen = Value::Null;
    for _ in 0..300 {
        seen = owner.get(&format!("/api/jobs/{job}")).await;
        if seen["status"] == "completed" || seen["status"] == "failed" {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        (&seen["status"], &seen["type"], &seen["progress"]),
        (&json!("completed"), &json!("product_ingest"), &json!(100)),
        "{seen:#}"
    );
    let listed = owner.get("/api/products?search=rain").await;
    let pagination = json!({ "page": 1, "limit": 50, "total_products": 1, "total_pages": 1 });
    assert_eq!(
        (&listed["products"][0]["name"], &listed["pagination"]),
        (&json!("Waterproof Pen"), &pagination)
    );
    assert_eq!(
        (&listed["products"][0]["price"], &listed["products"][0]["metadata"]["color"]),
        (&json!(3.5), &json!("Black"))
    );
    let path = format!("/api/products/{}", listed["products"][0]["id"].as_str().unwrap());
    let one = owner.get(&path).await;
    assert!(one["chunks"][0]["content"].as_str().unwrap().contains("rain"), "{one:#}");
    let deleted = owner.ask(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(
        (deleted.status, &deleted.json()["deleted_chunks"]),
        (200, &json!(one["chunks"].as_array().unwrap().len()))
    );
    assert_eq!(owner.ask(Method::GET, &path, &Value::Null).await.status, 404);

    let too_large = vec![b'a'; 52_428_801];
    for (name, kind, content, status) in [
        ("a.csv", "text/csv", &b"colour,size\nred,L\n"[..], 422),
        ("a.csv", "text/csv", b"%PDF-1.7\n%\xe2\xe3", 400),
        ("a.exe", "application/octet-stream", b"MZ\x90\x00\x03\x00\x00\x00", 400),
        ("a.pdf", "application/pdf", b"%PDF-1.7\nnothing", 422),
        ("a.txt", "text/plain", &too_large[..], 413),
    ] {
        let refused = upload(&owner, name, kind, content).await;
        assert_eq!(refused.status, status, "{name}: {}", refused.text());
        assert_eq!(refused.json().as_object().unwrap().len(), 5, "{}", refused.text());
    }
    let files = std::fs::read_dir(server.data().path().join("catalogues")).unwrap().count();
    assert_eq!(files, 0, "nothing is left behind");
}
