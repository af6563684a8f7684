//! Echo Me as its users have it: people who sign in, programs in the place of yt-dlp and ffmpeg, voices, catalogues.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hyper::Method;
use offhook_codecs::wav::Writer;
use offhook_codecs::{SampleRate, ogg};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::audio;
use crate::desk::{consent, google_client};
use crate::http::{Ask, Client};
use crate::server::{Answer, Server};

/// Where Echo Me is on the main listener.
pub const BASE: &str = "/echome";

/// A server at which people sign in with the double of Google.
pub async fn server(more: &[(&str, &str)]) -> Server {
    Server::start_with(&["--speech", "keypad"], &[&google_client()[..], more].concat()).await
}

/// Asks for a path below the base. Null: without a body.
pub async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let json = [("content-type", "application/json")];
    let headers = [headers, &json].concat();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    server.ask(method, &format!("{BASE}{path}"), &headers, &body).await
}

/// Signs in as a browser does; the cookie's value.
pub async fn sign_in(server: &Server) -> String {
    let begun = ask(server, Method::GET, "/api/auth/signin", &[], &Value::Null).await;
    assert_eq!(begun.status, 302, "{}", begun.text());
    let query = consent(begun.header("location")).await;
    let path = format!("{BASE}/api/auth/callback/google?{query}");
    let back = Client::new().ask(server.address(), Ask::get(path)).await;
    assert_eq!((back.status, back.header("location")), (302, "/echome/dashboard"), "{}", back.text());
    let cookie = back.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("Path=/echome;"), "{cookie}");
    let value = cookie.split(';').next().unwrap().split_once('=').unwrap();
    assert_eq!(value.0, "next-auth.session-token");
    value.1.to_owned()
}

/// Programs in the place of yt-dlp and ffmpeg: the first fetches `speech.wav` of its folder, once a file `go` is there; the second
/// copies.
pub struct Programs(tempfile::TempDir);

impl Programs {
    /// Both of them.
    pub fn in_place() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let speech = audio::wide_speech(Duration::from_secs(25));
        let file = std::fs::File::create(folder.path().join("speech.wav")).unwrap();
        let mut writer = Writer::mono(file, 16_000).unwrap();
        writer.write(&speech).unwrap();
        writer.finish().unwrap();
        let programs = Self(folder);
        programs.write(
            "yt-dlp",
            "case \"$*\" in *private0000*) echo 'ERROR: [youtube] private0000: Private video' >&2; exit 1;; esac\n\
             while [ $# -gt 0 ]; do case $1 in --paths) out=$2;; esac; shift; done\n\
             here=$(dirname \"$0\"); echo $$ > \"$here/pid\"\n\
             while [ ! -e \"$here/go\" ]; do sleep 0.05; done\n\
             cp \"$here/speech.wav\" \"$out/video.wav\"; echo \"$out/video.wav\"\n",
        );
        programs.write(
            "ffmpeg",
            "while [ $# -gt 1 ]; do case $1 in -i) in=$2;; esac; shift; done; cp \"$in\" \"$1\"\n",
        );
        programs
    }

    /// Puts a program in place.
    pub fn write(&self, name: &str, script: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where a program or file is.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Lets what fetches go on.
    pub fn go(&self) {
        std::fs::write(self.path("go"), "").unwrap();
    }
}

/// Somebody who signed in.
pub struct Owner<'a> {
    /// The server.
    pub server: &'a Server,
    /// What is shown to it.
    pub bearer: String,
}

impl<'a> Owner<'a> {
    /// Signs in.
    pub async fn of(server: &'a Server) -> Self {
        Self { server, bearer: format!("Bearer {}", sign_in(server).await) }
    }

    /// Asks for a path below the base.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Answer {
        ask(self.server, method, path, &[("authorization", &self.bearer)], body).await
    }

    /// Fetches what must be there.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Has a voice made; the ids of the job and the persona.
    pub async fn clone(&self, video: &str) -> (String, String) {
        let url = format!("https://www.youtube.com/watch?v={video}");
        let body = json!({ "youtube_url": url, "persona_name": "John Sales Expert" });
        let started = self.ask(Method::POST, "/api/voice/clone", &body).await;
        assert_eq!(started.status, 202, "{}", started.text());
        let text = |name: &str| started.json()[name].as_str().unwrap().to_owned();
        (text("job_id"), text("persona_id"))
    }

    /// The job's status, once it is one of these.
    pub async fn status(&self, job: &str, wanted: &[&str]) -> Value {
        for _ in 0..600 {
            let status = self.get(&format!("/api/voice/status/{job}")).await;
            if wanted.contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{job} is none of {wanted:?} in a minute");
    }
}

/// What a server is told of the programs, at these paths, and of ElevenLabs.
pub fn variables<'a>(programs: &'a [String; 2], elevenlabs: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("OFFHOOK_YT_DLP", &programs[0]),
        ("OFFHOOK_FFMPEG", &programs[1]),
        ("OFFHOOK_ELEVENLABS_BASE_URL", elevenlabs),
        ("ELEVENLABS_API_KEY", "k"),
    ]
}

/// The sound behind a link, as samples at 8 kHz.
pub async fn sound(server: &Server, url: &str) -> Vec<i16> {
    let path = url.split_once(BASE).unwrap().1;
    let answer = server.get(&format!("{BASE}{path}")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "audio/ogg"), "{url}");
    ogg::decode(&answer.body[..], SampleRate::HZ_8000, 60_000).unwrap()
}

/// What stands in the folders of jobs.
pub fn left(server: &Server) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(server.data().path().join("work")) else { return Vec::new() };
    folders.flatten().map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until nothing stands there.
pub async fn nothing_left(server: &Server) {
    for _ in 0..600 {
        if left(server).is_empty() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the folders of jobs stay: {:?}", left(server));
}

/// A profile as the model is to answer with it.
pub fn profile(catchphrase: &str) -> Value {
    json!({
        "role": "Founder",
        "speech_patterns": { "catchphrases": [catchphrase], "filler_words": ["um"], "expressions": [] },
        "vocabulary": { "level": "everyday", "style": "warm", "technical_terms": [], "slang": [] },
        "tone": { "formality": "casual", "energy": "lively", "humor": "dry", "empathy": "high" },
        "selling_style": { "approach": "stories", "primary_methods": ["proof"], "objection_handling": "listens" },
        "greeting_closing": { "typical_greetings": ["Hey there!"], "typical_closings": ["Take care!"] },
    })
}

/// A form with a file.
pub fn form(name: &str, kind: &str, content: &[u8]) -> (String, Vec<u8>) {
    let head = format!(
        "--xx\r\nContent-Disposition: form-data; name=\"catalog_name\"\r\n\r\nSpring\r\n--xx\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
    );
    ("multipart/form-data; boundary=xx".into(), [head.as_bytes(), content, b"\r\n--xx--\r\n"].concat())
}

/// Uploads a file of products.
pub async fn upload(owner: &Owner<'_>, name: &str, kind: &str, content: &[u8]) -> Answer {
    let (content_type, body) = form(name, kind, content);
    let ask = Ask::new(Method::POST, format!("{BASE}/api/products/upload"))
        .with("content-type", content_type)
        .with("authorization", owner.bearer.clone());
    Client::new().ask(owner.server.address(), Ask { body: body.into(), ..ask }).await
}
