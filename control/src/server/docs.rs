//! `/openapi.json`, and the two pages that show it: Swagger UI at `/docs`, ReDoc at `/redoc`. All of it is in the binary.
//!
//! The pages refer to what they load by relative paths (`docs/…`, `openapi.json`), so that they work below every base of the
//! server, and below a path that a proxy puts in front. Scripts are files rather than parts of the pages: the policy lets
//! the browser run nothing else, and load nothing from elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use sha1::{Digest, Sha1};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi::{Described, document};
use super::system::{Routes, System};
use crate::hex;
use crate::systems::error::ApiError;

/// Scripts and images from here alone, and none inline. Both programs set styles as they go, ReDoc searches in a worker that
/// it makes of a blob, and Swagger UI has images in its style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
     connect-src 'self'; worker-src blob:; child-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// The version of what a page loads is the server's: a browser asks each time, and mostly hears that nothing changed.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/png";

const SWAGGER_UI: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API of this server</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" sizes="32x32" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/swagger-ui-start.js"></script>
</body>
</html>
"##;

// The validator that Swagger UI would ask is a public server: no.
const START_SWAGGER_UI: &str = r##"SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"##;

const REDOC: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API of this server</title>
<link rel="stylesheet" href="docs/redoc.css">
<link rel="icon" type="image/png" sizes="32x32" href="docs/favicon-32x32.png">
</head>
<body>
<div id="redoc"></div>
<noscript>This page needs JavaScript. The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/redoc.standalone.js"></script>
<script src="docs/redoc-start.js"></script>
</body>
</html>
"##;

const START_REDOC: &str = r##"Redoc.init("openapi.json", {}, document.getElementById("redoc"));
"##;

/// ReDoc wants the whole window.
const REDOC_STYLE: &str = "body { margin: 0; padding: 0; }\n";

/// A logo that ReDoc would fetch from its makers' server, and what stands for it: an image of nothing.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const NO_IMAGE: &str = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

/// The routes, for a system that has a document.
pub(super) fn routes() -> Routes {
    // What pages load is no part of the API.
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(swagger_ui))
        .routes(routes!(redoc))
        .route("/docs/{file}", get(asset))
}

/// The OpenAPI document
///
/// This document, in OpenAPI 3.1. Its server is the base below which it was asked for.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "documentation",
    responses((
        status = 200,
        description = "The document",
        content_type = "application/json",
        body = Object,
        example = json!({ "openapi": "3.1.0", "info": { "title": "Offhook callbot", "version": "0.1.0" }, "paths": {} }),
    ))
)]
async fn openapi(
    document: Option<Extension<Arc<File>>>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let Extension(document) = document.ok_or_else(|| ApiError::not_found("This system has no document"))?;
    Ok(document.answer(&headers))
}

/// The API in Swagger UI
///
/// A page that shows the document, and tries its operations out. It loads nothing from other servers.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    responses((
        status = 200,
        description = "The page",
        content_type = "text/html",
        body = String,
        example = json!("<!DOCTYPE html>\n<html lang=\"en\">…</html>"),
    ))
)]
async fn swagger_ui(headers: HeaderMap) -> Response<Body> {
    page("swagger-ui.html", &headers)
}

/// The API in ReDoc
///
/// A page that shows the document, for reading. It loads nothing from other servers.
#[utoipa::path(
    get,
    path = "/redoc",
    tag = "documentation",
    responses((
        status = 200,
        description = "The page",
        content_type = "text/html",
        body = String,
        example = json!("<!DOCTYPE html>\n<html lang=\"en\">…</html>"),
    ))
)]
async fn redoc(headers: HeaderMap) -> Response<Body> {
    page("redoc.html", &headers)
}

fn page(name: &str, headers: &HeaderMap) -> Response<Body> {
    let mut response = FILES[name].answer(headers);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response<Body>, ApiError> {
    let file = FILES.get(name.as_str()).filter(|file| file.content_type != HTML);
    Ok(file.ok_or_else(|| ApiError::not_found("There is nothing at this path"))?.answer(&headers))
}

/// Something that is sent as it is.
#[derive(Debug)]
pub(super) struct File {
    content_type: &'static str,
    bytes: Bytes,
    etag: HeaderValue,
}

impl File {
    fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = hex::encode(&Sha1::digest(&bytes)[..8]);
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).expect("hexadecimal digits are printable");
        Self { content_type, bytes, etag }
    }

    /// 200 with the bytes, or 304 if the client says that it has them.
    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let own = self.etag.to_str().unwrap_or_default();
        let is_known = known
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == own || tag == "*");
        let mut response = Response::new(if is_known { Body::empty() } else { self.bytes.clone().into() });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        for (name, value) in [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, REVALIDATE),
            (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
        ] {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What the pages are made of, by name. Made at the first request for one of them: hashing it takes some milliseconds.
static FILES: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| {
    BTreeMap::from([
        ("swagger-ui.html", File::new(HTML, SWAGGER_UI)),
        ("swagger-ui-start.js", File::new(SCRIPT, START_SWAGGER_UI)),
        ("swagger-ui-bundle.js", File::new(SCRIPT, of_swagger_ui("swagger-ui-bundle.js"))),
        ("swagger-ui.css", File::new(STYLE, of_swagger_ui("swagger-ui.css"))),
        ("favicon-32x32.png", File::new(IMAGE, of_swagger_ui("favicon-32x32.png"))),
        ("redoc.html", File::new(HTML, REDOC)),
        ("redoc-start.js", File::new(SCRIPT, START_REDOC)),
        ("redoc.standalone.js", File::new(SCRIPT, redoc_script())),
        ("redoc.css", File::new(STYLE, REDOC_STYLE)),
    ])
});

/// A file of the Swagger UI that is in the binary.
fn of_swagger_ui(name: &str) -> Bytes {
    let config = Arc::new(utoipa_swagger_ui::Config::from("openapi.json"));
    let file = utoipa_swagger_ui::serve(name, config).ok().flatten();
    match file.expect("the file is part of every Swagger UI").bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    }
}

/// ReDoc's program, cut out of the page that has it inline.
fn redoc_script() -> Bytes {
    let page = aide::redoc::Redoc::new("").html();
    let script = page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init("));
    let (script, _) = script.expect("the page begins and starts the program");
    Bytes::from(script.trim().replace(REDOC_LOGO, NO_IMAGE))
}

/// The documents of one system: one for each base, and one for where it has the origin to itself.
#[derive(Debug, Default)]
pub(super) struct Documents {
    below: Vec<(&'static str, Arc<File>)>,
    alone: Option<Arc<File>>,
}

impl Documents {
    /// Writes them. `described`: all systems; those that stand at prefixes only are guests of the first.
    pub(super) fn of(system: &'static System, described: &[Described]) -> Self {
        let own = described.iter().find(|own| std::ptr::eq(own.system, system));
        let (Some(own), Some(about)) = (own, system.about) else { return Self::default() };
        let is_first = described.first().is_some_and(|first| std::ptr::eq(first.system, system));
        let guests: Vec<&Described> =
            described.iter().filter(|other| is_first && other.system.bases.is_empty()).collect();
        let file = |guests: &[&Described], base: &str| {
            let document = document(about, own, guests, base);
            Arc::new(File::new("application/json", document.to_string()))
        };
        Self {
            below: system.bases.iter().map(|&base| (base, file(&guests, base))).collect(),
            alone: Some(file(&[], "")),
        }
    }

    /// The document for who asked below `base`. `alone`: no other system is at this origin.
    pub(super) fn below(&self, base: &str, alone: bool) -> Option<Arc<File>> {
        let shared = || self.below.iter().find(|(own, _)| *own == base).map(|(_, file)| file.clone());
        if alone { self.alone.clone() } else { shared() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page loads: `src` of scripts, `href` of links.
    fn loaded(page: &str) -> Vec<&str> {
        let after = |mark| page.split(mark).skip(1).filter_map(|rest: &str| rest.split('"').next());
        after("src=\"")
            .chain(after("<link rel=\"stylesheet\" href=\""))
            .chain(after("sizes=\"32x32\" href=\""))
            .collect()
    }

    #[test]
    fn pages_load_what_is_there_and_nothing_else() {
        for page in [SWAGGER_UI, REDOC] {
            let names = loaded(page);
            assert!(names.len() >= 4, "{names:?}");
            for name in names {
                let file = name.strip_prefix("docs/").expect("assets stand below docs/");
                assert!(FILES.contains_key(file), "{name}");
            }
            assert!(!page.contains("<script>") && !page.contains("://"), "the policy lets neither through");
        }
    }

    #[test]
    fn redocs_program_is_whole_and_asks_nobody_for_its_logo() {
        let script = &FILES["redoc.standalone.js"].bytes;
        let script = std::str::from_utf8(script).unwrap();
        assert!(script.len() > 1_000_000 && script.starts_with("/*!"), "{}", &script[..40]);
        assert!(!script.contains("</html>") && script.contains(NO_IMAGE) && !script.contains("cdn.redoc.ly"));
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let file = File::new(STYLE, "a {}");
        let mut headers = HeaderMap::new();
        assert_eq!(file.answer(&headers).status(), StatusCode::OK);
        for (tags, status) in [("\"other\"", 200), ("*", 304), (file.etag.to_str().unwrap(), 304)] {
            headers.insert(header::IF_NONE_MATCH, tags.parse().unwrap());
            assert_eq!(file.answer(&headers).status().as_u16(), status, "{tags}");
        }
        let weak = format!("\"x\", W/{}", file.etag.to_str().unwrap());
        headers.insert(header::IF_NONE_MATCH, weak.parse().unwrap());
        assert_eq!(file.answer(&headers).status(), StatusCode::NOT_MODIFIED);
    }
}
