//! The OpenAPI document and the pages that show it, as a browser gets them from the built binary.

use std::collections::BTreeSet;

use hyper::Method;
use offhook_tests::{Answer, Server};

/// Where callbot stands.
const BASES: [&str; 2] = ["", "/callbot"];

/// What a page loads: `src` of any element, `href` of `<link>`.
fn loaded(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let attribute = if tag.starts_with("link") { "href=\"" } else { "src=\"" };
        found.extend(
            tag.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
        );
    }
    found
}

/// Where a relative path leads from a page whose path does not end with a slash.
fn resolved(page: &str, relative: &str) -> String {
    let (folder, _) = page.rsplit_once('/').expect("paths begin with a slash");
    format!("{folder}/{relative}")
}

fn assert_page(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert!(answer.header("content-type").starts_with("text/html"), "{path}: {:?}", answer.headers);
    let policy = answer.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self';"),
        "{path}: {policy}"
    );
    assert!(!policy.contains("http"), "{path} allows another server: {policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_and_all_that_they_load_come_from_this_server() {
    let server = Server::start(&["--speech", "canned"]).await;
    for base in BASES {
        for page in ["/docs", "/redoc"] {
            let path = format!("{base}{page}");
            let answer = server.get(&path).await;
            assert_page(&answer, &path);
            let assets = loaded(answer.text());
            assert!(assets.iter().any(|asset| asset.ends_with(".js")), "{assets:?}");
            let mut scripts = String::new();
            for asset in &assets {
                assert!(!asset.contains("//"), "{path} loads {asset}");
                let asset = resolved(&path, asset);
                let answer = server.get(&asset).await;
                assert_eq!(answer.status, 200, "{path} loads {asset}");
                let kind = answer.header("content-type").split(';').next().unwrap().to_owned();
                let expected = match asset.rsplit('.').next().unwrap() {
                    "js" => "text/javascript",
                    "css" => "text/css",
                    "png" => "image/png",
                    other => panic!("what is {other}?"),
                };
                assert_eq!(kind, expected, "{asset}");
                assert!(!answer.body.is_empty());
                if asset.ends_with("-start.js") {
                    scripts += answer.text();
                }
                if asset.ends_with(".css") {
                    assert!(!answer.text().contains("@import"), "{asset}");
                    assert!(!answer.text().contains("url(http"), "{asset}");
                }
                let tag = answer.header("etag").to_owned();
                let again = server.ask(Method::GET, &asset, &[("if-none-match", &tag)], "").await;
                assert_eq!((again.status, again.body.len()), (304, 0), "{asset}");
            }
            assert!(scripts.contains("\"openapi.json\""), "{path} shows the document beside it: {scripts}");
            assert_eq!(server.get(&resolved(&path, "openapi.json")).await.status, 200);
        }
        let absent = server.get(&format!("{base}/docs/nothing.js")).await;
        assert_eq!((absent.status, &absent.json()["error"]["code"]), (404, &"NOT_FOUND".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_what_is_documented_below_each_base() {
    let server = Server::start(&["--speech", "canned"]).await;
    for base in BASES {
        let answer = server.get(&format!("{base}/openapi.json")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        let document = answer.json();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"][0]["url"], if base.is_empty() { "/" } else { base });
        for (method, path) in [
            ("post", "/api/callbot/incoming-call"),
            ("post", "/api/callbot/call-status"),
            ("get", "/api/callbot/audio-stream"),
            ("get", "/health"),
            ("get", "/docs"),
            ("get", "/redoc"),
            ("get", "/openapi.json"),
            ("get", "/v1/calls"),
            ("get", "/v1/calls/{call}/timeline"),
        ] {
            let operation = &document["paths"][path][method];
            assert!(
                operation["operationId"].is_string(),
                "{method} {path} is not in the document of {base:?}"
            );
        }
        assert!(document["paths"].get("/docs/{file}").is_none(), "assets are no part of the API");
    }
}

/// What can be asked without arguments answers with the status, the content type and the keys that the document promises.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_that_the_document_promises() {
    let limits = [("OFFHOOK_RATE_LIMITS", "on")];
    let server = Server::start_with(&["--speech", "canned"], &limits).await;
    let announced = server.post_form("/api/callbot/incoming-call", "CallSid=CA1&From=%2B1&To=%2B2").await;
    assert_eq!(announced.status, 200);
    let document = server.get("/openapi.json").await.json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let responses = &item["get"]["responses"];
        if item["get"].is_null() || !responses["101"].is_null() {
            continue;
        }
        let url = path.replace("{call}", "CA1");
        if url.contains('{') {
            continue;
        }
        let answer = server.get(&url).await;
        let promised = &responses[answer.status.to_string()];
        assert!(promised.is_object(), "{url} answers {}, which is not in its document", answer.status);
        let kind = answer.header("content-type").split(';').next().unwrap();
        if !answer.body.is_empty() {
            assert!(promised["content"].get(kind).is_some(), "{url} answers {} with {kind}", answer.status);
        }
        for name in promised["headers"].as_object().unwrap().keys() {
            assert!(answer.headers.contains_key(name), "{url} answers {} without {name}", answer.status);
        }
        asked += 1;
    }
    assert!(asked >= 8, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_pages_are_open_and_uncounted() {
    let variables = [("OFFHOOK_ENVIRONMENT", "production"), ("OFFHOOK_BEARER_TOKENS", "secret")];
    let server = Server::start_with(&["--speech", "canned"], &variables).await;
    assert_eq!(server.get("/v1/calls").await.status, 401);
    for path in ["/openapi.json", "/docs", "/redoc", "/docs/swagger-ui.css"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("x-ratelimit-limit"), "", "{path}");
        let head = server.ask(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), answer.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), answer.body.len().to_string(), "{path}");
        let other = server.ask(Method::POST, path, &[], "").await;
        assert_eq!(other.status, 405, "{path}");
    }
    assert_eq!(server.get("/docs/").await.status, 404, "nothing is redirected for a slash at its end");
}
