//! What Echo Me cannot use, over real sockets: each in the documented status and body, nothing half-written, nothing left on disk.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook_codecs::wav::Writer;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::echome::{BASE, Owner, Programs, form, left, server, upload, variables};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Answer, Ask, Client, Server, audio};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const VIDEO: &str = "dQw4w9WgXcQ";

/// An error of this status and code, with the five keys and the request's id.
fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    let error = answer.json();
    assert_eq!(error["error"], code, "{what}: {error}");
    let keys: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["error", "message", "details", "request_id", "timestamp"], "{what}");
    assert_eq!(error["request_id"], answer.header("x-request-id"), "{what}");
    assert!(
        error["details"].is_object() && !error["message"].as_str().unwrap().is_empty(),
        "{what}: {error}"
    );
}

/// A vendor that answers this status.
fn fault(status: u16) -> Fault {
    Fault::parse(&format!("status={status}")).unwrap()
}

/// The names below a folder of a server's data, at any depth.
fn files(server: &Server, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![server.data().path().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().display().to_string()),
            }
        }
    }
    found
}

/// Waits until no job has a folder any more.
async fn all_is_tidy(server: &Server) {
    let give_up = Instant::now() + PATIENCE;
    while !left(server).is_empty() {
        assert!(Instant::now() < give_up, "{:?} stay", left(server));
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files(server, "media"), Vec::<String>::new());
}

/// A WAV file of one channel at 16 kHz in the folder of the programs.
fn sound(programs: &Programs, name: &str, samples: &[i16]) {
    let file = std::fs::File::create(programs.path(name)).unwrap();
    let mut writer = Writer::mono(file, 16_000).unwrap();
    writer.write(samples).unwrap();
    writer.finish().unwrap();
}

/// Programs that make of each video what its name says, as yt-dlp and ffmpeg do.
fn programs() -> Programs {
    let programs = Programs::in_place();
    sound(&programs, "silence.wav", &vec![0; 16_000 * 30]);
    sound(&programs, "short.wav", &audio::wide_speech(Duration::from_secs(25))[..16_000 * 2]);
    programs.write(
        "yt-dlp",
        "while [ $# -gt 0 ]; do case $1 in --paths) out=$2;; esac; last=$1; shift; done\n\
         here=$(dirname \"$0\"); from=speech.wav\n\
         fails() { echo \"WARNING: something\" >&2; echo \"ERROR: [youtube] $1\" >&2; exit 1; }\n\
         case $last in\n\
         *private0000) fails 'private0000: Private video. Sign in if you have been granted access to this video';;\n\
         *removed0000) fails 'removed0000: Video unavailable. This video has been removed by the uploader';;\n\
         *notfound000) fails 'notfound000: Unable to download webpage: HTTP Error 404: Not Found';;\n\
         *odderror000) fails 'odderror000: Something that nobody has ever seen';;\n\
         *twohours000) echo '[download] video does not pass filter (duration<=?3600), skipping ..' >&2; exit 0;;\n\
         *elsewhere00) echo /etc/hostname; exit 0;;\n\
         *chatters000) head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; fails 'chatters000: Private video';;\n\
         *silence0000) from=silence.wav;;\n\
         *tooshort000) from=short.wav;;\n\
         *nosound0000) echo 'no sound' > \"$out/video.wav\"; echo \"$out/video.wav\"; exit 0;;\n\
         esac\n\
         echo part > \"$out/video.part\"; cp \"$here/$from\" \"$out/video.wav\"; echo \"$out/video.wav\"\n",
    );
    programs
}

struct House {
    fakes: FakeVendors,
    _programs: Programs,
    server: Server,
}

impl House {
    async fn build() -> Self {
        let (fakes, programs) = (FakeVendors::start().await, programs());
        let paths = [programs.path("yt-dlp"), programs.path("ffmpeg")];
        let (elevenlabs, openai) = (fakes.base_url(Vendor::ElevenLabs), fakes.base_url(Vendor::OpenAi));
        let more = [("OFFHOOK_OPENAI_BASE_URL", openai.as_str())];
        let server = server(&[&variables(&paths, &elevenlabs)[..], &more].concat()).await;
        Self { fakes, _programs: programs, server }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_is_refused_before_there_is_a_job() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    for url in [
        "",
        "youtube",
        "https://vimeo.com/1",
        "https://youtube.com/",
        "https://www.youtube.com/watch?v=short",
        "https://www.youtube.com/watch?v=--exec=touch",
        "https://www.youtube.com.evil.example/watch?v=dQw4w9WgXcQ",
        "https://evil.example/?u=youtube.com/watch?v=dQw4w9WgXcQ",
        "ftp://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "https://www.youtube.com/playlist?list=PL1234567890",
        "https://www.youtube.com/@somebody",
    ] {
        let body = json!({ "youtube_url": url, "persona_name": "x" });
        let refused = owner.ask(Method::POST, "/api/voice/clone", &body).await;
        assert_refused(&refused, 400, "invalid_url", url);
        assert_eq!(refused.json()["details"]["url"], url);
    }
    for body in [
        json!({}),
        json!({ "youtube_url": null, "persona_name": "x" }),
        json!({ "youtube_url": ["https://youtu.be/dQw4w9WgXcQ"], "persona_name": "x" }),
        json!({ "youtube_url": "x".repeat(3_000), "persona_name": "x" }),
        json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": " \n " }),
        json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": "a\u{0}b" }),
        json!({ "youtube_url": "https://youtu.be/dQw4w9WgXcQ", "persona_name": "x", "language": "../en" }),
    ] {
        let refused = owner.ask(Method::POST, "/api/voice/clone", &body).await;
        assert_refused(&refused, 400, "invalid_input", &body.to_string());
    }
    assert!(!house.server.log().iter().any(|line| line.contains("job_voice_")), "there is no job");
    assert_eq!(left(&house.server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_gives_no_voice_fails_with_its_code_and_leaves_nothing() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let mut personas = Vec::new();
    for (video, code, words) in [
        ("private0000", "video_unavailable", "Private video"),
        ("removed0000", "video_unavailable", "removed by the uploader"),
        ("notfound000", "video_unavailable", "404"),
        ("odderror000", "job_failed", "nobody has ever seen"),
        ("twohours000", "invalid_input", "longer than 3600 s"),
        ("elsewhere00", "invalid_input", ""),
        ("chatters000", "video_unavailable", "Private video"),
        ("silence0000", "invalid_input", "Too little speech"),
        ("tooshort000", "invalid_input", "Too little speech"),
        ("nosound0000", "job_failed", "sound cannot be read"),
    ] {
        let (job, persona) = owner.clone(video).await;
        let status = owner.status(&job, &["completed", "failed"]).await;
        let keys: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["job_id", "status", "error", "failed_at"], "{video}: {status:#}");
        let error = &status["error"];
        assert_eq!(
            (&error["code"], &error["retry_after_seconds"]),
            (&json!(code), &Value::Null),
            "{video}: {error}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words) && message.len() < 1_000, "{video}: {message}");
        let seen = owner.get(&format!("/api/jobs/{job}")).await;
        assert_eq!(seen["status"], "failed", "{video}");
        personas.push(persona);
    }
    all_is_tidy(&house.server).await;
    assert!(house.fakes.made_voices().is_empty());
    for persona in personas {
        let path = format!("/api/voice/preview/{persona}");
        let early = owner.ask(Method::GET, &path, &Value::Null).await;
        assert_refused(&early, 404, "resource_not_found", "a preview of a voice that is not there");
    }
    assert_eq!(files(&house.server, "media"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told_as_such_and_no_voice_is_left_at_the_maker() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    house.fakes.fail("/elevenlabs/v1/voices/add", 1, fault(402));
    let (job, _) = owner.clone(VIDEO).await;
    let status = owner.status(&job, &["completed", "failed"]).await;
    let error = json!({
        "code": "elevenlabs_quota_exceeded",
        "message": "ElevenLabs API quota exceeded. Please upgrade your plan.",
        "retry_after_seconds": null,
    });
    assert_eq!(status["error"], error);
    all_is_tidy(&house.server).await;

    house.fakes.forget_faults();
    let (job, persona) = owner.clone(VIDEO).await;
    assert_eq!(owner.status(&job, &["completed", "failed"]).await["status"], "completed");
    house.fakes.fail("/elevenlabs/v1/text-to-speech", 100, fault(402));
    let path = format!("/api/voice/preview/{persona}?text=Good%20day");
    let refused = owner.ask(Method::GET, &path, &Value::Null).await;
    assert_refused(&refused, 402, "quota_exceeded", "a preview without quota");
    house.fakes.forget_faults();
    house.fakes.fail("/elevenlabs/v1/text-to-speech", 100, fault(500));
    let refused = owner.ask(Method::GET, &path, &Value::Null).await;
    assert_refused(&refused, 502, "external_api_error", "a preview that the maker fails");
    house.fakes.forget_faults();
    assert_eq!(owner.ask(Method::GET, &path, &Value::Null).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_has_at_most_a_hundred_characters() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let (job, persona) = owner.clone(VIDEO).await;
    assert_eq!(owner.status(&job, &["completed", "failed"]).await["status"], "completed");
    let preview = async |text: &str| {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        owner.ask(Method::GET, &format!("/api/voice/preview/{persona}?text={text}"), &Value::Null).await
    };
    let before = files(&house.server, "media").len();
    // Characters are counted, and not bytes.
    assert_eq!(preview(&"é".repeat(100)).await.status, 200);
    for text in ["é".repeat(101), "x".repeat(5_000), "a\u{0}b".into(), "a\u{1b}[31mb".into()] {
        assert_refused(&preview(&text).await, 400, "invalid_input", &text[..text.len().min(20)]);
    }
    let twice =
        owner.ask(Method::GET, &format!("/api/voice/preview/{persona}?text=a&text=b"), &Value::Null).await;
    assert_refused(&twice, 400, "invalid_input", "a text that is given twice");
    assert_eq!(files(&house.server, "media").len(), before + 1);
    for id in ["persona_..%2F..%2Foffhook.db", "persona_%00", "persona_", "..%2F", "persona_'%20OR%201=1"] {
        let refused = owner.ask(Method::GET, &format!("/api/voice/preview/{id}"), &Value::Null).await;
        assert_refused(&refused, 404, "resource_not_found", id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_refused_with_its_lines_and_leaves_nothing() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let pdf = |name: &str| std::fs::read(offhook_fixtures::path(&format!("catalogue/{name}.pdf"))).unwrap();
    let many = format!("name,price\n{}", "Pen,dear\n".repeat(5_000));
    let rows: [(&str, &str, Vec<u8>, u16); 18] = [
        ("wrong header", "text/csv", b"colour,size\nred,L\n".into(), 422),
        ("header alone", "text/csv", b"name,description,price\n".into(), 422),
        ("twice the same column", "text/csv", b"name,name,price\na,b,1\n".into(), 422),
        ("ragged rows", "text/csv", b"name,price\nPen,1\nInk,2,3,4\nCap\n".into(), 422),
        ("a price that is none", "text/csv", b"name,price\nPen,-1\nInk,NaN\nCap,1e400\n".into(), 422),
        ("a quote that is never closed", "text/csv", b"name,price\n\"Pen,1\nInk,2\n".into(), 422),
        ("five thousand wrong lines", "text/csv", many.into_bytes(), 422),
        ("empty", "text/csv", Vec::new(), 400),
        ("bytes that are no text", "text/csv", vec![0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0], 400),
        ("a PDF that says it is a table", "text/csv", pdf("notebooks"), 400),
        ("a program", "application/octet-stream", b"MZ\x90\x00\x03\x00\x00\x00".into(), 400),
        ("a program that says it is a PDF", "application/pdf", b"\x7fELF\x02\x01\x01\x00".into(), 400),
        ("an archive", "application/zip", b"PK\x03\x04\x14\x00\x00\x00".into(), 400),
        ("a page of a site", "text/html", b"<html><script>alert(1)</script></html>".into(), 400),
        ("a PDF with nothing in it", "application/pdf", b"%PDF-1.7\nnothing".into(), 422),
        ("a PDF with a password", "application/pdf", pdf("encrypted"), 422),
        ("a PDF that explodes", "application/pdf", pdf("bomb"), 202),
        ("a PDF without text", "application/pdf", pdf("scan"), 202),
    ];
    for (what, kind, content, status) in rows {
        let suffix = match kind {
            "text/csv" => "csv",
            "application/pdf" => "pdf",
            "application/zip" => "zip",
            "text/html" => "html",
            _ => "exe",
        };
        let answer = upload(&owner, &format!("a.{suffix}"), kind, &content).await;
        match status {
            400 => assert_refused(&answer, 400, "invalid_input", what),
            422 => {
                assert_refused(&answer, 422, "unprocessable_entity", what);
                let details = &answer.json()["details"];
                let lines = details["lines"].as_array().unwrap();
                assert!(lines.len() <= 20 && details["wrong_lines"].as_u64().unwrap() >= lines.len() as u64);
                if what.starts_with("ragged") {
                    let numbers: Vec<_> = lines.iter().map(|line| line["line"].clone()).collect();
                    assert_eq!(numbers, [3, 4], "{details}");
                }
                if what.starts_with("five thousand") {
                    assert_eq!((lines.len(), &details["wrong_lines"]), (20, &json!(5_000)), "{details}");
                }
            }
            _ => fails_later(&owner, &answer, what).await,
        }
        assert_eq!(files(&house.server, "catalogues"), Vec::<String>::new(), "{what}");
    }
    let listed = owner.get("/api/products").await;
    assert_eq!(listed["pagination"]["total_products"], 0, "nothing half-written: {listed}");
}

/// What is seen only when a file is read all through fails as a job that tells why, and its file is gone.
async fn fails_later(owner: &Owner<'_>, answer: &Answer, what: &str) {
    assert_eq!(answer.status, 202, "{what}: {}", answer.text());
    let path = format!("/api/jobs/{}", answer.json()["job_id"].as_str().unwrap());
    let give_up = Instant::now() + PATIENCE;
    loop {
        let job = owner.get(&path).await;
        let is_gone = files(owner.server, "catalogues").is_empty();
        if job["status"] == "failed" && is_gone {
            assert!(!job["metadata"]["error"].as_str().unwrap().is_empty(), "{what}: {job}");
            return;
        }
        assert!(job["status"] != "completed" && Instant::now() < give_up, "{what}: {job}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_in_any_usual_encoding_and_its_formulas_are_texts() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let text = "name;description;price\nCafé;=HYPERLINK(\"http://evil.example\");1,50\n";
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let latin1: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let files_of = [
        ("with a BOM", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("UTF-16", utf16),
        ("Latin-1", latin1),
        ("with a path in its name", text.as_bytes().to_vec()),
    ];
    for (what, content) in files_of {
        let name = if what.starts_with("with a path") { "..\\..\\/etc/cron.d/products.csv" } else { "p.csv" };
        let started = upload(&owner, name, "text/csv", &content).await;
        assert_eq!(started.status, 202, "{what}: {}", started.text());
        let kept = started.json()["file_name"].as_str().unwrap().to_owned();
        assert!(!kept.contains(['/', '\\']) && kept.ends_with(".csv"), "{what}: {kept}");
        let catalogue = started.json()["catalog_id"].as_str().unwrap().to_owned();
        let give_up = Instant::now() + PATIENCE;
        let product = loop {
            let found = owner.get(&format!("/api/products?catalog_id={catalogue}")).await;
            if found["pagination"]["total_products"] == 1 {
                break found["products"][0].clone();
            }
            assert!(Instant::now() < give_up, "{what}: {found}");
            sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(
            (&product["name"], &product["description"], &product["price"]),
            (&json!("Café"), &json!("=HYPERLINK(\"http://evil.example\")"), &json!(1.5)),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_are_taken_and_one_byte_more_is_not() {
    const MOST: usize = 52_428_800;
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let mut content = vec![b'a'; MOST + 1];
    // Lines, so that it is a text that a person may have written.
    content.iter_mut().skip(79).step_by(80).for_each(|byte| *byte = b'\n');
    let refused = upload(&owner, "a.txt", "text/plain", &content).await;
    assert_refused(&refused, 413, "payload_too_large", "one byte more");
    assert_eq!(files(&house.server, "catalogues"), Vec::<String>::new());
    let taken = upload(&owner, "a.txt", "text/plain", &content[..MOST]).await;
    assert_eq!((taken.status, &taken.json()["file_size_bytes"]), (202, &json!(MOST)), "{}", taken.text());
    let job = taken.json()["job_id"].as_str().unwrap().to_owned();
    let cancelled = owner.ask(Method::POST, &format!("/api/jobs/{job}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    let give_up = Instant::now() + PATIENCE;
    while !files(&house.server, "catalogues").is_empty() {
        assert!(Instant::now() < give_up, "what was cancelled is left");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_or_is_no_form_leaves_nothing() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let (content_type, body) = form("a.csv", "text/csv", b"name,price\nPen,1\n");
    for (what, kind, body) in [
        ("no boundary", "multipart/form-data", body.clone()),
        ("another boundary", "multipart/form-data; boundary=yy", body.clone()),
        ("no end", content_type.as_str(), body[..body.len() - 8].to_vec()),
        (
            "no file",
            &content_type,
            b"--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xx--\r\n".to_vec(),
        ),
        ("nothing", &content_type, Vec::new()),
    ] {
        let ask = Ask::post(format!("{BASE}/api/products/upload"), kind, body);
        let ask = ask.with("authorization", owner.bearer.clone());
        let refused = Client::new().ask(house.server.address(), ask).await;
        assert_refused(&refused, 400, "invalid_input", what);
        assert_eq!(files(&house.server, "catalogues"), Vec::<String>::new(), "{what}");
    }
    // A client that goes away in the middle.
    let head = format!(
        "POST {BASE}/api/products/upload HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Type: {content_type}\r\n\
         Content-Length: 1000000\r\n\r\n",
        owner.bearer
    );
    let mut socket = Client::new().connect(house.server.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body[..body.len() - 10]).await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    while files(&house.server, "catalogues").is_empty() {
        assert!(Instant::now() < give_up, "nothing of it is kept while it comes");
        sleep(Duration::from_millis(20)).await;
    }
    socket.shutdown().await.unwrap();
    let _ = socket.read(&mut [0; 1_024]).await;
    drop(socket);
    while !files(&house.server, "catalogues").is_empty() {
        assert!(Instant::now() < give_up, "what came of it is left");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(owner.get("/api/products").await["pagination"]["total_products"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_service_refuses_is_not_kept_and_the_session_stays() {
    let house = House::build().await;
    let owner = Owner::of(&house.server).await;
    let body = json!({ "service": "openai", "api_key": "bad-key" });
    let refused = owner.ask(Method::POST, "/api/settings/api-keys", &body).await;
    assert_refused(&refused, 401, "invalid_api_key", "a key that is refused");
    house.fakes.fail("/openai", 20, fault(500));
    let body = json!({ "service": "openai", "api_key": "sk-0123456789abcdefghij" });
    let unknown = owner.ask(Method::POST, "/api/settings/api-keys", &body).await;
    assert_refused(&unknown, 502, "external_api_error", "a service that fails");
    let keys = owner.get("/api/settings/api-keys").await;
    assert!(keys["api_keys"].as_array().unwrap().iter().all(|key| key["configured"] == false), "{keys}");
    assert!(!house.server.log().iter().any(|line| line.contains("0123456789")), "keys are not logged");
}
