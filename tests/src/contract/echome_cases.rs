//! How Echo Me's endpoints are asked.

use hyper::Method;
use serde_json::{Value, json};

use super::echome::{
    TELEGRAM, VIDEOS, ask, bot, cancel, client, clone, new_bot, once, owner, persona, product, set_key,
    signing_in, text,
};
use super::shape::Shape;
use super::system::{Case, Site, complaint};
use crate::echome::form;
use crate::http::Ask;
use crate::server::Answer;

/// Ids that nobody has.
const NOBODY: &str = "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3";

/// The case of an endpoint, by its name without the system.
pub(super) fn case(name: &str) -> Option<Case> {
    sign_in_case(name)
        .or_else(|| voice_case(name))
        .or_else(|| persona_case(name))
        .or_else(|| product_case(name))
        .or_else(|| client_case(name))
        .or_else(|| talk_case(name))
        .or_else(|| key_case(name))
        .or_else(|| job_case(name))
}

fn sign_in_case(name: &str) -> Option<Case> {
    Some(match name {
        "get.api_auth_signin" => Case {
            check: |_, answer| {
                Box::pin(async {
                    let to = answer.header("location");
                    let asks = ["/o/oauth2/", "client_id=cid", "state=", "callback%2Fgoogle"];
                    complaint(asks.iter().all(|part| to.contains(part)), || format!("it leads to {to}"))
                })
            },
            ..Case::GET
        },
        "get.api_auth_callback_google" => Case {
            good: |site| {
                Box::pin(async { Ask::get(format!("/api/auth/callback/google?{}", signing_in(site).await)) })
            },
            bad: || {
                let queries = ["", "?code=a", "?state=b", "?code=a&state=b", "?error=access_denied&state=b"];
                queries.map(|query| (Ask::get(format!("/api/auth/callback/google{query}")), 400)).into()
            },
            check: |site, answer| {
                Box::pin(async {
                    let (cookie, to) = (answer.header("set-cookie"), answer.header("location"));
                    let path = if site.base.is_empty() { "/" } else { &site.base };
                    let parts = ["next-auth.session-token=", "HttpOnly", "Max-Age=2592000"];
                    let is_set = parts.iter().all(|part| cookie.contains(part))
                        && cookie.contains(&format!("Path={path};"));
                    let mut told = complaint(is_set, || format!("the cookie is {cookie}"));
                    told.extend(complaint(to == format!("{}/dashboard", site.base), || {
                        format!("it leads to {to}")
                    }));
                    told
                })
            },
            once: true,
            ..Case::GET
        },
        "get.api_auth_session" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.get.api_auth_session").await;
                    Ask::get("")
                })
            },
            check: |_, answer| {
                Box::pin(async {
                    let id = text_in(&answer.json()["user"]["id"]);
                    complaint(id.starts_with("usr_"), || format!("the user is {id:?}"))
                })
            },
            ..Case::GET
        },
        "post.api_auth_signout" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.post.api_auth_signout").await;
                    post("")
                })
            },
            check: |site, answer| {
                Box::pin(async {
                    let gone = answer.headers.get_all("set-cookie").iter();
                    let gone = gone.filter(|cookie| cookie.to_str().is_ok_and(|c| c.contains("Max-Age=0")));
                    let mut told = complaint(gone.count() == 2, || "a cookie stays".into());
                    let after =
                        ask(site, "echome.post.api_auth_signout", Ask::get("/api/auth/session")).await;
                    told.extend(complaint(after.status == 401, || "the session is still good".into()));
                    told
                })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

fn voice_case(name: &str) -> Option<Case> {
    Some(match name {
        "post.api_voice_clone" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.post.api_voice_clone").await;
                    Ask::json("", new_voice(&format!("https://youtu.be/{}", VIDEOS[0])).to_string())
                })
            },
            bad: || {
                json_bodies(&[
                    json!({}),
                    json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ" }),
                    json!({ "persona_name": "x" }),
                    new_voice("https://vimeo.com/1"),
                    new_voice("https://youtube.com.evil.example/watch?v=dQw4w9WgXcQ"),
                    new_voice("file:///etc/passwd"),
                    json!({ "youtube_url": 7, "persona_name": "x" }),
                    json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": "" }),
                    json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": "x".repeat(201) }),
                    json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": "x", "language": "e n" }),
                ])
            },
            check: |site, answer| {
                Box::pin(async {
                    let persona = format!("/api/persona/{}", text(answer, "persona_id"));
                    let there = ask(site, "echome.post.api_voice_clone", Ask::get(persona)).await;
                    let mut told = complaint(there.status == 200, || "the persona is not there".into());
                    let job = text(answer, "job_id");
                    told.extend(complaint(job.starts_with("job_voice_"), || format!("the job is {job}")));
                    told
                })
            },
            ..Case::GET
        },
        "get.api_voice_status_job_id" => Case {
            good: |site| {
                Box::pin(async {
                    let id = "echome.get.api_voice_status_job_id";
                    let (job, _) = clone(site, id, VIDEOS[1]).await;
                    let path = format!("/api/voice/status/{job}");
                    once(site, id, &path, &["processing"]).await;
                    Ask::get(path)
                })
            },
            unknown: Some("/api/voice/status/job_voice_0"),
            check: |site, answer| Box::pin(other_states(site, answer)),
            ..Case::GET
        },
        "get.api_voice_preview_persona_id" => Case {
            good: |site| {
                Box::pin(async {
                    let persona = persona(site, "echome.get.api_voice_preview_persona_id").await;
                    Ask::get(format!("/api/voice/preview/{persona}?text=Good%20day"))
                })
            },
            bad: || {
                let path = format!("/api/voice/preview/persona_{NOBODY}?text=");
                [format!("{path}{}", "x".repeat(101)), format!("{path}a%00b")]
                    .map(|path| (Ask::get(path), 400))
                    .into()
            },
            unknown: Some("/api/voice/preview/persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
            check: |site, answer| {
                Box::pin(async { sound_complaints(site, &text(answer, "audio_url")).await })
            },
            ..Case::GET
        },
        "delete.api_voice_persona_id" => Case {
            good: |site| {
                Box::pin(async {
                    let persona = persona(site, "echome.delete.api_voice_persona_id").await;
                    Ask::new(Method::DELETE, format!("/api/voice/{persona}"))
                })
            },
            unknown: Some("/api/voice/persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
            check: |site, answer| {
                Box::pin(async {
                    let path = format!("/api/persona/{}", text(answer, "persona_id"));
                    let gone = ask(site, "echome.delete.api_voice_persona_id", Ask::get(path)).await;
                    complaint(gone.status == 404, || format!("the persona is still there: {}", gone.status))
                })
            },
            ..Case::GET
        },
        "implied.get.media_media_path" => Case {
            good: |site| {
                Box::pin(async {
                    let id = "echome.implied.get.media_media_path";
                    let preview = format!("/api/voice/preview/{}", persona(site, id).await);
                    let url = text(&ask(site, id, Ask::get(preview)).await, "audio_url");
                    Ask::get(below(site, &url).unwrap_or("/media/a-link-that-leads-elsewhere"))
                })
            },
            bad: || {
                let names = ["..%2Foffhook.db", "%2Fetc%2Fpasswd", "a.ogg%00", "a.mp3"];
                names.map(|name| (Ask::get(format!("/media/{name}?token=e30.e30.e30")), 404)).into()
            },
            unknown: Some("/media/nobody.ogg"),
            check: |_, answer| {
                Box::pin(async { complaint(answer.body.starts_with(b"OggS"), || "it is no Ogg".into()) })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

/// The bodies that a voice's status has by how far it is, beside the one of a job that is being done.
async fn other_states(site: &Site<'_>, held: &Answer) -> Vec<String> {
    let id = "echome.get.api_voice_status_job_id";
    let mut told = complaint(held.json()["stage"] == "downloading_video", || held.text().to_owned());
    let path = |job: &str| format!("/api/voice/status/{job}");
    let job = text(held, "job_id");
    let cancelled = cancel(site, id, &job).await;
    told.extend(complaint(cancelled.status == 200, || cancelled.text().to_owned()));
    let after = ask(site, id, Ask::get(path(&job))).await.json();
    told.extend(complaint(after["status"] == "cancelled" && after["cancelled_at"].is_string(), || {
        format!("called off: {after}")
    }));
    for (video, status, variant) in [(VIDEOS[0], "completed", "Completed"), (VIDEOS[2], "failed", "Failed")] {
        let (job, _) = clone(site, id, video).await;
        let body = once(site, id, &path(&job), &["completed", "failed"]).await.json();
        told.extend(complaint(body["status"] == status, || format!("{video}: {body}")));
        let shape = Shape::of(site.inventory.endpoint(id).variant(variant));
        told.extend(shape.complaints(&body).into_iter().map(|wrong| format!("{status}: {wrong}")));
    }
    told
}

fn persona_case(name: &str) -> Option<Case> {
    Some(match name {
        "get.api_persona_persona_id" => Case {
            good: |site| {
                Box::pin(async {
                    let persona = persona(site, "echome.get.api_persona_persona_id").await;
                    Ask::get(format!("/api/persona/{persona}"))
                })
            },
            unknown: Some("/api/persona/persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
            check: |_, answer| {
                Box::pin(async {
                    complaint(answer.json()["voice_id"].is_string(), || "its voice has no id".into())
                })
            },
            ..Case::GET
        },
        "patch.api_persona_persona_id" => Case {
            good: |site| {
                Box::pin(async {
                    let (_, persona) = clone(site, "echome.patch.api_persona_persona_id", VIDEOS[2]).await;
                    let body =
                        json!({ "manual_overrides": { "dos": ["Ask first"], "backstory": "Ten years" } });
                    Ask::json(format!("/api/persona/{persona}"), body.to_string()).by(Method::PATCH)
                })
            },
            bad: || {
                let patch = |body: Value| {
                    let ask = Ask::json(format!("/api/persona/persona_{NOBODY}"), body.to_string());
                    (ask.by(Method::PATCH), 400)
                };
                vec![
                    patch(json!({})),
                    patch(json!({ "manual_overrides": [] })),
                    patch(json!({ "manual_overrides": { "dos": "Ask first" } })),
                    patch(json!({ "manual_overrides": { "dos": [7] } })),
                    patch(json!({ "manual_overrides": { "backstory": ["x"] } })),
                ]
            },
            unknown: Some("/api/persona/persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
            check: |site, answer| {
                Box::pin(async {
                    let path = format!("/api/persona/{}", text(answer, "persona_id"));
                    let now = ask(site, "echome.patch.api_persona_persona_id", Ask::get(path)).await.json();
                    let kept = &now["profile"]["manual_overrides"];
                    let is_kept = kept["dos"] == json!(["Ask first"]) && kept["backstory"] == "Ten years";
                    complaint(is_kept, || format!("it has {kept}"))
                })
            },
            ..Case::GET
        },
        "post.api_persona_persona_id_reanalyze" => Case {
            good: |site| {
                Box::pin(async {
                    let persona = persona(site, "echome.post.api_persona_persona_id_reanalyze").await;
                    let body = json!({
                        "additional_youtube_urls": [format!("https://youtu.be/{}", VIDEOS[0])],
                        "merge_strategy": "append",
                    });
                    Ask::json(format!("/api/persona/{persona}/reanalyze"), body.to_string())
                })
            },
            bad: || {
                let path = format!("/api/persona/persona_{NOBODY}/reanalyze");
                let bodies = [
                    json!({ "additional_youtube_urls": ["https://vimeo.com/1"] }),
                    json!({ "additional_youtube_urls": "https://youtu.be/dQw4w9WgXcQ" }),
                    json!({ "additional_youtube_urls": [7] }),
                    json!({ "merge_strategy": "mix" }),
                    json!({ "merge_strategy": 7 }),
                ];
                bodies.iter().map(|body| (Ask::json(path.clone(), body.to_string()), 400)).collect()
            },
            unknown: Some("/api/persona/persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3/reanalyze"),
            check: |_, answer| {
                Box::pin(async {
                    let job = text(answer, "job_id");
                    complaint(job.starts_with("job_persona_"), || format!("the job is {job}"))
                })
            },
            may_be_empty: true,
            ..Case::GET
        },
        _ => return None,
    })
}

fn product_case(name: &str) -> Option<Case> {
    Some(match name {
        "post.api_products_upload" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.post.api_products_upload").await;
                    upload("products.csv", "text/csv", b"name,price\nPen,3.50\n")
                })
            },
            bad: || {
                let no_file =
                    "--xx\r\nContent-Disposition: form-data; name=\"catalog_name\"\r\n\r\nx\r\n--xx--\r\n";
                let form = |body: &str| Ask::post("", "multipart/form-data; boundary=xx", body.to_owned());
                vec![
                    (form(no_file), 400),
                    (form(""), 400),
                    (form("--yy\r\n\r\n"), 400),
                    (Ask::post("", "multipart/form-data", "x"), 400),
                    (upload("a.exe", "application/octet-stream", b"MZ\x90\x00\x03\x00"), 400),
                    (upload("a.csv", "text/csv", b"%PDF-1.7\n%\xe2\xe3"), 400),
                    (upload("a.csv", "text/csv", b"colour,size\nred,L\n"), 422),
                    (upload("a.pdf", "application/pdf", b"%PDF-1.7\nnothing"), 422),
                ]
            },
            check: |_, answer| {
                Box::pin(async {
                    let (job, name) = (text(answer, "job_id"), text(answer, "file_name"));
                    complaint(job.starts_with("job_products_") && name == "products.csv", || {
                        format!("the job is {job}, and the file {name}")
                    })
                })
            },
            ..Case::GET
        },
        "get.api_products" => Case {
            good: |site| {
                Box::pin(async {
                    product(site, "echome.get.api_products").await;
                    Ask::get("/api/products?page=1&limit=1&search=rain")
                })
            },
            bad: || bad_pages("/api/products"),
            check: |_, answer| {
                Box::pin(async {
                    let pages = &answer.json()["pagination"];
                    let wanted = json!({ "page": 1, "limit": 1, "total_products": 1, "total_pages": 1 });
                    complaint(*pages == wanted, || format!("the pages are {pages}"))
                })
            },
            ..Case::GET
        },
        "get.api_products_product_id" => Case {
            good: |site| {
                Box::pin(async {
                    let product = product(site, "echome.get.api_products_product_id").await;
                    Ask::get(format!("/api/products/{product}"))
                })
            },
            unknown: Some("/api/products/prod_0"),
            ..Case::GET
        },
        "delete.api_products_product_id" => Case {
            good: |site| {
                Box::pin(async {
                    let product = product(site, "echome.delete.api_products_product_id").await;
                    Ask::new(Method::DELETE, format!("/api/products/{product}"))
                })
            },
            unknown: Some("/api/products/prod_0"),
            check: |site, answer| {
                Box::pin(async {
                    let path = format!("/api/products/{}", text(answer, "deleted_product_id"));
                    let gone = ask(site, "echome.delete.api_products_product_id", Ask::get(path)).await;
                    complaint(gone.status == 404, || "the product is still there".into())
                })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

fn client_case(name: &str) -> Option<Case> {
    Some(match name {
        "post.api_clients" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.post.api_clients").await;
                    let new = json!({
                        "name": "Alice Johnson", "email": "alice@example.com", "telegram_id": "123456789",
                        "phone": "+12025550100", "notes": "Loyal", "metadata": { "company": "Acme" },
                    });
                    Ask::json("", new.to_string())
                })
            },
            bad: || {
                json_bodies(&[
                    json!({}),
                    json!({ "name": "" }),
                    json!({ "name": 7 }),
                    json!({ "name": "x", "email": "nowhere" }),
                    json!({ "name": "x", "telegram_id": "@alice" }),
                    json!({ "name": "x", "metadata": [] }),
                ])
            },
            ..Case::GET
        },
        "get.api_clients" => Case {
            good: |site| {
                Box::pin(async {
                    client(site, "echome.get.api_clients").await;
                    Ask::get("/api/clients?search=alice")
                })
            },
            bad: || bad_pages("/api/clients"),
            ..Case::GET
        },
        "patch.api_clients_client_id" => Case {
            good: |site| {
                Box::pin(async {
                    let client = client(site, "echome.patch.api_clients_client_id").await;
                    let body = json!({ "notes": "Loyal", "metadata": { "company": "Acme" } });
                    Ask::json(format!("/api/clients/{client}"), body.to_string()).by(Method::PATCH)
                })
            },
            bad: || {
                let path = format!("/api/clients/client_{NOBODY}");
                let bodies =
                    [json!({ "notes": 7 }), json!({ "metadata": [] }), json!({ "email": "nowhere" })];
                let ask = |body: &Value| Ask::json(path.clone(), body.to_string()).by(Method::PATCH);
                bodies.iter().map(|body| (ask(body), 400)).collect()
            },
            unknown: Some("/api/clients/client_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
            ..Case::GET
        },
        _ => return None,
    })
}

/// What is asked of a persona.
fn talk_case(name: &str) -> Option<Case> {
    Some(match name {
        "post.api_chat_query" => Case {
            good: |site| {
                Box::pin(async {
                    let id = "echome.post.api_chat_query";
                    product(site, id).await;
                    let (persona, client) = (persona(site, id).await, client(site, id).await);
                    let body = json!({
                        "persona_id": persona, "client_id": client, "query": "Which pen writes in the rain?",
                        "include_audio": true,
                    });
                    Ask::json("", body.to_string())
                })
            },
            bad: || {
                let persona = format!("persona_{NOBODY}");
                json_bodies(&[
                    json!({}),
                    json!({ "query": "Hello" }),
                    json!({ "persona_id": persona }),
                    json!({ "persona_id": persona, "query": "" }),
                    json!({ "persona_id": persona, "query": 7 }),
                    json!({ "persona_id": 7, "query": "Hello" }),
                    json!({ "persona_id": persona, "query": "Hello", "include_audio": "yes" }),
                ])
                .into_iter()
                .chain([(Ask::json("", json!({ "persona_id": persona, "query": "Hello" }).to_string()), 404)])
                .collect()
            },
            check: |site, answer| {
                Box::pin(async {
                    let response = answer.json()["response"].clone();
                    let mut told = sound_complaints(site, &text_in(&response["audio_url"])).await;
                    let tokens = &response["tokens_used"];
                    let sum = tokens["prompt"].as_u64().zip(tokens["completion"].as_u64());
                    let adds_up = sum.map(|(one, other)| one + other) == tokens["total"].as_u64();
                    told.extend(complaint(adds_up, || format!("the tokens are {tokens}")));
                    told
                })
            },
            ..Case::GET
        },
        "post.webhook_telegram" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, TELEGRAM).await;
                    bot(site).await;
                    Ask::json("", update(&json!({ "text": "/help" })).to_string())
                })
            },
            bad: || {
                json_bodies(&[json!({}), json!({ "update_id": "x" }), json!({ "message": { "text": "hi" } })])
            },
            check: |site, _| {
                Box::pin(async {
                    // The same again, and kinds that mean nothing here: answered alike.
                    let mut told = Vec::new();
                    let edited = json!({ "update_id": 123_456_790, "edited_message": { "message_id": 1 } });
                    for body in
                        [update(&json!({ "text": "/help" })), update(&json!({ "sticker": {} })), edited]
                    {
                        let answer = site.ask_for(TELEGRAM, Ask::json("", body.to_string())).await;
                        let is_good = answer.status == 200 && answer.json()["ok"] == true;
                        told.extend(complaint(is_good, || format!("{body}: {}", answer.text())));
                    }
                    told
                })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

fn key_case(name: &str) -> Option<Case> {
    const OPENAI: (&str, &str) = ("openai", "sk-0123456789abcdefghij");
    Some(match name {
        "get.api_settings_api_keys" => Case {
            good: |site| {
                Box::pin(async {
                    let id = "echome.get.api_settings_api_keys";
                    set_key(site, id, OPENAI.0, OPENAI.1).await;
                    set_key(site, id, "elevenlabs", "xi-0123456789abcdefghij").await;
                    set_key(site, id, "telegram", &new_bot()).await;
                    Ask::get("")
                })
            },
            check: |_, answer| {
                Box::pin(async {
                    let is_hidden = !answer.text().contains("0123456789") && answer.text().contains("ghij");
                    complaint(is_hidden, || "more of a key is shown than its end".into())
                })
            },
            ..Case::GET
        },
        "post.api_settings_api_keys" => Case {
            good: |site| {
                Box::pin(async {
                    owner(site, "echome.post.api_settings_api_keys").await;
                    Ask::json("", json!({ "service": OPENAI.0, "api_key": OPENAI.1 }).to_string())
                })
            },
            bad: || {
                let refused = json!({ "service": "openai", "api_key": "bad-key" });
                json_bodies(&[
                    json!({}),
                    json!({ "service": "openai" }),
                    json!({ "api_key": "k" }),
                    json!({ "service": "paypal", "api_key": "k" }),
                    json!({ "service": "openai", "api_key": "two lines\nof it" }),
                    json!({ "service": 7, "api_key": "k" }),
                ])
                .into_iter()
                .chain([(Ask::json("", refused.to_string()), 401)])
                .collect()
            },
            ..Case::GET
        },
        "delete.api_settings_api_keys_key_id" => Case {
            good: |site| {
                Box::pin(async {
                    let id = "echome.delete.api_settings_api_keys_key_id";
                    set_key(site, id, OPENAI.0, OPENAI.1).await;
                    Ask::new(Method::DELETE, "/api/settings/api-keys/key_openai")
                })
            },
            unknown: Some("/api/settings/api-keys/key_paypal"),
            ..Case::GET
        },
        _ => return None,
    })
}

fn job_case(name: &str) -> Option<Case> {
    Some(match name {
        "get.api_jobs_job_id" => Case {
            good: |site| {
                Box::pin(async {
                    let (job, _) = clone(site, "echome.get.api_jobs_job_id", VIDEOS[2]).await;
                    Ask::get(format!("/api/jobs/{job}"))
                })
            },
            unknown: Some("/api/jobs/job_voice_0"),
            check: |_, answer| {
                Box::pin(async {
                    let job = answer.json();
                    let persona = text_in(&job["metadata"]["persona_id"]);
                    complaint(job["type"] == "voice_clone" && persona.starts_with("persona_"), || {
                        format!("it is {job}")
                    })
                })
            },
            ..Case::GET
        },
        "post.api_jobs_job_id_cancel" => Case {
            good: |site| {
                Box::pin(async {
                    let (job, _) = clone(site, "echome.post.api_jobs_job_id_cancel", VIDEOS[1]).await;
                    post(&format!("/api/jobs/{job}/cancel"))
                })
            },
            unknown: Some("/api/jobs/job_voice_0/cancel"),
            check: |site, answer| {
                Box::pin(async {
                    let again =
                        cancel(site, "echome.post.api_jobs_job_id_cancel", &text(answer, "job_id")).await;
                    complaint(again.status == 409 && again.json()["error"] == "conflict", || {
                        format!("called off twice: {}", again.text())
                    })
                })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

/// The path below a site's base that a link leads to. Under a name, others are taken to come over TLS.
fn below<'a>(site: &Site<'_>, url: &'a str) -> Option<&'a str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.strip_prefix(&site.host)?.strip_prefix(&site.base)
}

/// What is wrong with a link to a sound.
async fn sound_complaints(site: &Site<'_>, url: &str) -> Vec<String> {
    let Some(path) = below(site, url) else {
        return vec![format!("{url:?} does not lead to {:?}", site.url(""))];
    };
    let sound = site.ask(Ask::get(path)).await;
    complaint(sound.status == 200 && sound.body.starts_with(b"OggS"), || {
        format!("{url} opens nothing: {}", sound.status)
    })
}

fn post(path: &str) -> Ask {
    Ask::new(Method::POST, path)
}

fn upload(name: &str, kind: &str, content: &[u8]) -> Ask {
    let (content_type, body) = form(name, kind, content);
    Ask::post("", &content_type, body)
}

fn new_voice(url: &str) -> Value {
    json!({ "youtube_url": url, "persona_name": "John Sales Expert", "language": "en" })
}

/// Something that was written to a bot.
fn update(what: &Value) -> Value {
    let mut message = json!({
        "message_id": 456,
        "from": { "id": 123_456_789, "is_bot": false, "first_name": "Alice", "username": "alice_johnson" },
        "chat": { "id": 123_456_789, "type": "private" },
        "date": 1_708_257_600,
    });
    for (name, value) in what.as_object().into_iter().flatten() {
        message[name] = value.clone();
    }
    json!({ "update_id": 123_456_789, "message": message })
}

fn json_bodies(bodies: &[Value]) -> Vec<(Ask, u16)> {
    bodies.iter().map(|body| (Ask::json("", body.to_string()), 400)).collect()
}

fn bad_pages(path: &str) -> Vec<(Ask, u16)> {
    let queries = ["page=0", "page=-1", "page=x", "limit=0", "limit=many", "limit=1.5"];
    queries.map(|query| (Ask::get(format!("{path}?{query}")), 400)).into()
}

fn text_in(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
