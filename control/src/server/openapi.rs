//! The OpenAPI document of a system: what its routes say of themselves, completed with what the [`System`] value settles.
//!
//! A handler's attribute says what is its own: summary, parameters, bodies, what each answer means. All that holds for
//! every route is written here, from the values that the server runs with, so that neither can be forgotten or go stale:
//!
//! | | from |
//! |---|---|
//! | `operationId`: method and path | the route |
//! | security and 401 | whether the route is a guarded one |
//! | `X-RateLimit-…`, 429, `Retry-After`, `x-rate-limit` | [`System::limits`] |
//! | the body of every error, with an example | [`System::error_body`] |
//! | 400, 404, 413, 415, 426, 500 | parameters, path, body and upgrade of the route |
//! | `X-Request-Id` on every answer | the server |
//! | the form's fields as query of a GET | the form of the POST |
//! | the messages of a socket, in words | `x-websocket` in the attribute: names of schemas that it `receives` and `sends` |
//!
//! OpenAPI 3.1.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Schema, Type};

use super::middleware::too_many;
use super::rate_limit::{Limit, Quota};
use super::system::System;
use crate::systems::error::{ApiError, of_status};

/// What the document of a system says of it as a whole.
pub struct About {
    /// The API's name.
    pub title: &'static str,
    /// What a client has to know before its first request. Markdown.
    pub description: &'static str,
    /// Groups of routes: name, and what they are for.
    pub tags: &'static [(&'static str, &'static str)],
    /// The security schemes, by their names.
    pub schemes: fn() -> Value,
    /// The schemes that open guarded routes: any of them does.
    pub guarded_by: &'static [&'static str],
    /// The schemes that open guarded sockets, where a web page cannot set headers.
    pub guarded_sockets_by: &'static [&'static str],
    /// The schema of an error's body.
    pub error: fn() -> RefOr<Schema>,
    /// The parameter that is missing in the example of a request that cannot be used.
    pub missing: &'static str,
}

/// What the routes of a system say of themselves.
pub(super) struct Described {
    pub(super) system: &'static System,
    pub(super) open: OpenApi,
    pub(super) guarded: OpenApi,
}

/// The name of the schema of errors.
const ERROR: &str = "Error";

/// The time in examples, as documented.
const EXAMPLE_TIME: &str = "2024-01-01T12:00:00Z";

/// How long the client of the example has to wait.
const EXAMPLE_WAIT: Duration = Duration::from_secs(20);

/// A string that is one of `words`.
pub fn words(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

/// The document of the system `own`, asked for below `base`. `guests` stand at the root of the same origin.
pub(super) fn document(about: &About, own: &Described, guests: &[&Described], base: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert(ERROR.to_owned(), json(&(about.error)()));
    for part in std::iter::once(&own).chain(guests) {
        let is_guest = !std::ptr::eq(part.system, own.system);
        for (routes, guarded) in [(&part.open, false), (&part.guarded, true)] {
            let mut routes = json(routes);
            unwrap_lines(&mut routes);
            let own_schemas = routes["components"]["schemas"].take();
            let Value::Object(described) = routes["paths"].take() else { continue };
            for (path, mut item) in described {
                let Some(methods) = item.as_object_mut() else { continue };
                for (method, operation) in methods.iter_mut().filter(|(_, value)| value.is_object()) {
                    let route = Route { system: part.system, about, path: &path, method, guarded };
                    route.complete(operation, &own_schemas);
                }
                if is_guest && !base.is_empty() {
                    item["servers"] =
                        json!([{ "url": "/", "description": "At the root, whatever the base" }]);
                }
                match paths.get_mut(&path).and_then(Value::as_object_mut) {
                    Some(known) => known.extend(item.as_object().cloned().unwrap_or_default()),
                    None => drop(paths.insert(path, item)),
                }
            }
            schemas.extend(own_schemas.as_object().cloned().unwrap_or_default());
        }
    }
    schemas.sort_keys();
    let used = |name: &str| {
        let mut operations = paths.values().filter_map(Value::as_object).flat_map(Map::values);
        operations
            .any(|operation| operation["tags"].as_array().is_some_and(|tags| tags.contains(&name.into())))
    };
    let tags = about.tags.iter().filter(|(name, _)| used(name));
    let tags = tags.map(|(name, description)| json!({ "name": name, "description": description }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": about.description,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": if base.is_empty() { "/" } else { base }, "description": "This server" }],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": (about.schemes)(),
        },
    })
}

/// One method of one path.
struct Route<'a> {
    system: &'a System,
    about: &'a About,
    path: &'a str,
    method: &'a str,
    guarded: bool,
}

impl Route<'_> {
    fn complete(&self, operation: &mut Value, schemas: &Value) {
        operation["operationId"] = self.id().into();
        if self.method == "get" {
            form_into_query(operation, schemas);
        }
        let is_socket = operation["responses"].get("101").is_some();
        if self.guarded {
            let schemes = if is_socket { self.about.guarded_sockets_by } else { self.about.guarded_by };
            let alternatives = schemes.iter().map(|name| json!({ *name: [] }));
            operation["security"] = alternatives.collect();
        }
        if is_socket {
            tell_messages(operation, schemas);
        }
        if let Some(limit) = self.limit() {
            let requests = limit.requests;
            operation["x-rate-limit"] =
                json!({ "requests": requests, "window_seconds": 60, "per": "client address" });
            append(operation, &format!("At most {requests} requests a minute below `{}`.", limit.prefix));
        }
        let expected = self.expected_errors(operation, is_socket);
        let Some(responses) = operation["responses"].as_object_mut() else { return };
        for status in expected {
            responses.entry(status.as_str()).or_insert_with(|| json!({}));
        }
        responses.sort_keys();
        for (status, response) in responses.iter_mut() {
            if let Ok(status) = status.parse() {
                self.complete_response(status, response);
            }
        }
    }

    /// As the method and the path: `get_v1_calls_call`.
    fn id(&self) -> String {
        let plain = self.path.replace(['{', '}'], "").replace(['/', '-', '.'], "_");
        format!("{}_{}", self.method, plain.trim_matches('_'))
    }

    fn limit(&self) -> Option<&Limit> {
        self.system.limits.iter().find(|limit| self.path.starts_with(limit.prefix))
    }

    /// Errors that the server or the framework makes, of which the handler need not speak.
    fn expected_errors(&self, operation: &Value, is_socket: bool) -> Vec<StatusCode> {
        let has_parameter = |place: &str| {
            let parameters = operation["parameters"].as_array();
            parameters.is_some_and(|all| all.iter().any(|parameter| parameter["in"] == place))
        };
        let has_body = operation.get("requestBody").is_some();
        let candidates = [
            (StatusCode::BAD_REQUEST, has_parameter("query") || has_body || is_socket),
            (StatusCode::UNAUTHORIZED, self.guarded),
            (StatusCode::NOT_FOUND, self.path.contains('{')),
            (StatusCode::PAYLOAD_TOO_LARGE, has_body),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, has_body),
            (StatusCode::UPGRADE_REQUIRED, is_socket),
            (StatusCode::TOO_MANY_REQUESTS, self.limit().is_some()),
            (StatusCode::INTERNAL_SERVER_ERROR, true),
        ];
        candidates.into_iter().filter(|(_, expected)| *expected).map(|(status, _)| status).collect()
    }

    fn complete_response(&self, status: StatusCode, response: &mut Value) {
        let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
        response["headers"]["X-Request-Id"] = header("X-Request-Id");
        if self.limit().is_some() {
            for name in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"] {
                response["headers"][name] = header(name);
            }
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS => response["headers"]["Retry-After"] = header("Retry-After"),
            StatusCode::UNAUTHORIZED => response["headers"]["WWW-Authenticate"] = header("WWW-Authenticate"),
            _ => {}
        }
        let error = self.example_error(status, response["description"].as_str().unwrap_or_default());
        if response["description"].as_str().unwrap_or_default().is_empty() {
            response["description"] = match status {
                StatusCode::BAD_REQUEST => "Something is missing or malformed: `details` names it".into(),
                StatusCode::SWITCHING_PROTOCOLS => "The connection is a WebSocket from here on".into(),
                _ if status.is_success() => "Done".into(),
                _ => Value::from(error.message.as_str()),
            };
        }
        if (status.is_client_error() || status.is_server_error()) && response.get("content").is_none() {
            let mut body = (self.system.error_body)(&error, "req_123");
            if let Some(time) = body.get_mut("timestamp") {
                *time = EXAMPLE_TIME.into();
            }
            response["content"]["application/json"] =
                json!({ "schema": { "$ref": format!("#/components/schemas/{ERROR}") }, "example": body });
        }
    }

    /// An error of this status as the server makes it. `told`: what the handler says of it.
    fn example_error(&self, status: StatusCode, told: &str) -> ApiError {
        match (status, self.limit()) {
            (StatusCode::BAD_REQUEST, _) => ApiError::missing(self.about.missing),
            (StatusCode::TOO_MANY_REQUESTS, Some(limit)) => too_many(&Quota {
                limit: limit.requests,
                remaining: 0,
                reset_unix_s: 0,
                reset_in: EXAMPLE_WAIT,
                exceeded: true,
            }),
            _ if !told.is_empty() => ApiError::new(status, told),
            (StatusCode::UNAUTHORIZED, _) => ApiError::new(status, "A valid bearer token is required"),
            _ => of_status(status),
        }
    }
}

/// A GET of a webhook takes in its query what a POST takes in its form.
fn form_into_query(operation: &mut Value, schemas: &Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let Some(body) = operation.remove("requestBody") else { return };
    let schema = resolved(&body["content"]["application/x-www-form-urlencoded"]["schema"], schemas);
    let required = schema["required"].as_array();
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let (Some(fields), Some(parameters)) = (schema["properties"].as_object(), parameters.as_array_mut())
    else {
        return;
    };
    for (name, field) in fields {
        let mut field = field.clone();
        let description = field.as_object_mut().and_then(|field| field.shift_remove("description"));
        parameters.push(json!({
            "name": name,
            "in": "query",
            "description": description,
            "required": required.is_some_and(|names| names.iter().any(|required| required == name)),
            "schema": field,
        }));
    }
}

/// Turns the names in `x-websocket` into references, and tells of the messages in the description, by their examples.
fn tell_messages(operation: &mut Value, schemas: &Value) {
    let mut text = String::new();
    for (direction, heading) in
        [("receives", "Messages to the server"), ("sends", "Messages from the server")]
    {
        let Some(name) = operation["x-websocket"][direction].as_str().map(str::to_owned) else { continue };
        text += &format!("\n\n**{heading}** (schema `{name}`), one JSON object in each text message:\n");
        for example in schemas[&name]["examples"].as_array().into_iter().flatten() {
            text += &format!("\n```json\n{example}\n```\n");
        }
        operation["x-websocket"][direction] = json!({ "$ref": format!("#/components/schemas/{name}") });
    }
    append(operation, text.trim_start());
}

/// Joins the lines of descriptions, which are as long as those of the source: some viewers would break them there.
fn unwrap_lines(described: &mut Value) {
    match described {
        Value::Array(items) => items.iter_mut().for_each(unwrap_lines),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => {
                        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    _ => unwrap_lines(value),
                }
            }
        }
        _ => {}
    }
}

fn append(operation: &mut Value, paragraph: &str) {
    let before = operation["description"].as_str().unwrap_or_default();
    operation["description"] = format!("{before}\n\n{paragraph}").trim().into();
}

/// The schema itself, if `schema` is a reference to one of `schemas`.
fn resolved<'a>(schema: &'a Value, schemas: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    name.map_or(schema, |name| &schemas[name])
}

fn headers() -> Value {
    let header = |description: &str, kind: &str, example: Value| json!({ "description": description, "schema": { "type": kind }, "example": example });
    json!({
        "X-Request-Id": header("Names the request, as in the log and in an error's body", "string", "req_123".into()),
        "X-RateLimit-Limit": header("Requests that a client may make in a minute", "integer", 100.into()),
        "X-RateLimit-Remaining": header("How many of them are left", "integer", 95.into()),
        "X-RateLimit-Reset":
            header("When the next minute begins, in seconds since 1970", "integer", 1_640_995_200.into()),
        "Retry-After": header("Seconds to wait before the next request", "integer", 20.into()),
        "WWW-Authenticate": header("How to say who asks", "string", "Bearer".into()),
    })
}

fn json(described: &impl serde::Serialize) -> Value {
    serde_json::to_value(described).expect("a description has string keys only")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::sites::taken_apart;
    use super::*;
    use crate::server::App;
    use crate::settings::{Settings, Speech};
    use crate::systems::{callbot, native};

    /// What is mounted without being part of the API: the files that the pages load, and what axum answers the rest with.
    const UNDOCUMENTED: [&str; 3] = ["/docs/{file}", "/", "/{*__private__axum_fallback}"];

    /// Answers with a status of an error that are none.
    const OWN_BODIES: [(&str, &str); 1] = [("/health", "503")];

    struct Documented {
        own: Described,
        guest: Described,
        /// Paths that are mounted.
        mounted: BTreeSet<String>,
    }

    impl Documented {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings { speech: Speech::Canned, ..Settings::local(dir.path().into()) };
            let app = tokio::task::spawn_blocking(|| App::start(settings, ([127, 0, 0, 1], 80).into()))
                .await
                .unwrap()
                .unwrap();
            let app = Arc::new(app);
            let ((open, guarded), own) = taken_apart(&callbot::SYSTEM, &app);
            let ((guests_open, guests_guarded), guest) = taken_apart(&native::SYSTEM, &app);
            let routers = [open, guarded, guests_open, guests_guarded];
            Self { own, guest, mounted: routers.iter().flat_map(paths_of).collect() }
        }

        fn document(&self, base: &str) -> Value {
            document(callbot::SYSTEM.about.unwrap(), &self.own, &[&self.guest], base)
        }

        /// The system of a path, and whether the path is guarded.
        fn place_of(&self, path: &str) -> (&'static System, bool) {
            for part in [&self.own, &self.guest] {
                for (routes, guarded) in [(&part.open, false), (&part.guarded, true)] {
                    if routes.paths.paths.contains_key(path) {
                        return (part.system, guarded);
                    }
                }
            }
            panic!("{path} is documented, but no route");
        }
    }

    /// The paths of a router, which it shows to those who debug.
    fn paths_of(router: &axum::Router<Arc<App>>) -> Vec<String> {
        let shown = format!("{router:?}");
        shown.split('"').filter(|piece| piece.starts_with('/')).map(str::to_owned).collect()
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let methods = |item: &Value| item.as_object().unwrap().clone().into_iter();
        paths
            .iter()
            .flat_map(|(path, item)| methods(item).map(move |(method, value)| (path.clone(), method, value)))
            .filter(|(_, method, _)| method != "servers")
            .collect()
    }

    /// True for what can be shown as text.
    fn is_readable(mime: &str) -> bool {
        ["application/json", "application/xml", "application/x-www-form-urlencoded"].contains(&mime)
            || mime.starts_with("text/")
            || mime == "application/openmetrics-text"
    }

    fn has_example(content: &Value, document: &Value) -> bool {
        let schema = resolved(&content["schema"], &document["components"]["schemas"]);
        let told = |value: &Value| value.get("example").is_some() || value.get("examples").is_some();
        told(content) || told(schema)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_mounted_route_is_described() {
        let documented = Documented::new().await;
        let document = documented.document("");
        let described = document["paths"].as_object().unwrap();
        assert!(documented.mounted.contains("/health"), "a router shows its paths: {:?}", documented.mounted);
        let absent = documented.mounted.iter().filter(|path| !described.contains_key(*path));
        let absent: Vec<_> = absent.filter(|path| !UNDOCUMENTED.contains(&path.as_str())).collect();
        assert!(
            absent.is_empty(),
            "mounted with `route`, not with `routes!`, and so undocumented: {absent:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_operation_says_what_a_client_must_know() {
        let documented = Documented::new().await;
        let document = documented.document("");
        let tags: Vec<&str> =
            document["tags"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        let mut complaints = Vec::new();
        for (path, method, operation) in operations(&document) {
            let mut expect = |is_so: bool, what: &str| {
                if !is_so {
                    complaints.push(format!("{method} {path}: {what}"));
                }
            };
            let text = |value: &Value| !value.as_str().unwrap_or_default().is_empty();
            expect(text(&operation["summary"]), "no summary: the first line of the handler's doc comment");
            expect(text(&operation["description"]), "no description: the rest of the handler's doc comment");
            let own_tags = operation["tags"].as_array();
            let is_known = |tag: &Value| tags.contains(&tag.as_str().unwrap());
            expect(own_tags.is_some_and(|own| own.iter().all(is_known)), "its tag is none of the system's");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for parameter in &parameters {
                expect(text(&parameter["description"]), &format!("what is {}?", parameter["name"]));
            }
            for name in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
            {
                let named = |p: &Value| p["in"] == "path" && p["name"] == name;
                expect(parameters.iter().any(named), &format!("{{{name}}} is not among its params"));
            }
            let responses = operation["responses"].as_object().unwrap();
            let bodies = std::iter::once(&operation["requestBody"]).chain(responses.values());
            for (mime, content) in bodies.filter_map(|body| body["content"].as_object()).flatten() {
                expect(
                    !is_readable(mime) || has_example(content, &document),
                    &format!("no example of {mime}"),
                );
                expect(
                    !is_readable(mime) || content.get("schema").is_some(),
                    &format!("no schema of {mime}"),
                );
            }
            let (system, guarded) = documented.place_of(&path);
            let limit = system.limits.iter().find(|limit| path.starts_with(limit.prefix));
            let needs_bearer = operation["security"].as_array().is_some_and(|all| {
                !all.is_empty()
                    && all.iter().all(|one| one.get("bearer").or(one.get("socketToken")).is_some())
            });
            expect(needs_bearer == guarded, "its security is not the system's");
            expect(!guarded || responses.contains_key("401"), "no 401");
            expect(responses.contains_key("429") == limit.is_some(), "429 where there is no limit, or none");
            let told = operation["x-rate-limit"]["requests"].as_u64();
            expect(told == limit.map(|limit| limit.requests.into()), "its limit is not the system's");
            for (status, response) in responses {
                expect(text(&response["description"]), &format!("{status} without a description"));
                let headers = response["headers"].as_object().unwrap();
                expect(headers.contains_key("X-Request-Id"), &format!("{status} without X-Request-Id"));
                let limited = headers.contains_key("X-RateLimit-Limit")
                    && headers.contains_key("X-RateLimit-Remaining")
                    && headers.contains_key("X-RateLimit-Reset");
                expect(limited == limit.is_some(), &format!("{status}: the headers of its limit"));
                expect(headers.contains_key("Retry-After") == (status == "429"), "Retry-After is for 429");
                if status.starts_with(['4', '5']) && !OWN_BODIES.contains(&(path.as_str(), status)) {
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    expect(schema == "#/components/schemas/Error", &format!("{status} is no Error"));
                }
            }
        }
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn webhooks_are_signed_forms_and_may_be_asked_by_get() {
        let document = Documented::new().await.document("");
        for path in ["/api/callbot/incoming-call", "/api/callbot/call-status"] {
            let item = &document["paths"][path];
            for method in ["get", "post"] {
                let operation = &item[method];
                assert_eq!(operation["security"], json!([{ "twilioSignature": [] }]), "{method} {path}");
                for status in ["400", "403"] {
                    assert!(operation["responses"].get(status).is_some(), "{method} {path}: {status}");
                }
            }
            let form = &item["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
            let form = resolved(form, &document["components"]["schemas"]);
            let fields: Vec<&String> = form["properties"].as_object().unwrap().keys().collect();
            let in_query = item["get"]["parameters"].as_array().unwrap();
            for field in fields {
                assert!(
                    in_query.iter().any(|p| p["name"] == *field && p["in"] == "query"),
                    "{path}: {field}"
                );
            }
            assert!(item["get"].get("requestBody").is_none());
        }
        let missing = &document["paths"]["/api/callbot/incoming-call"]["post"]["responses"]["400"];
        let example = &missing["content"]["application/json"]["example"];
        assert_eq!(*example, document["components"]["schemas"]["Error"]["examples"][0], "as documented");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sockets_messages_are_shown() {
        let document = Documented::new().await.document("");
        let socket = &document["paths"]["/api/callbot/audio-stream"]["get"];
        assert!(socket["responses"].get("101").is_some());
        for (direction, events) in [
            ("receives", &["connected", "start", "media", "mark", "dtmf", "stop"][..]),
            ("sends", &["media", "mark", "clear", "error"]),
        ] {
            let schema = resolved(&socket["x-websocket"][direction], &document["components"]["schemas"]);
            let examples = schema["examples"].as_array().unwrap();
            let told: Vec<&str> = examples.iter().map(|e| e["event"].as_str().unwrap()).collect();
            assert_eq!(told, events);
            for example in examples {
                let text = socket["description"].as_str().unwrap();
                assert!(text.contains(&example.to_string()), "{text}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_are_unique_and_references_lead_somewhere() {
        let documented = Documented::new().await;
        let document = documented.document("/callbot");
        let ids: Vec<_> =
            operations(&document).into_iter().map(|(_, _, o)| o["operationId"].clone()).collect();
        let different: BTreeSet<String> = ids.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), ids.len(), "{ids:?}");
        assert!(ids.contains(&"get_v1_calls_call_timeline".into()), "{ids:?}");

        let names = |part: &Described| -> BTreeSet<String> {
            let all = [&part.open, &part.guarded];
            let schemas = all.into_iter().filter_map(|routes| routes.components.as_ref());
            schemas.flat_map(|components| components.schemas.keys().cloned()).collect()
        };
        let (own, guest) = (names(&documented.own), names(&documented.guest));
        let both: Vec<_> = own.intersection(&guest).collect();
        assert!(both.is_empty(), "two systems have schemas of one name: {both:?}");

        let text = document.to_string();
        for (at, _) in text.match_indices("\"$ref\":\"#") {
            let pointer = text[at + 9..].split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_is_the_base_that_was_asked_and_guests_stay_at_the_root() {
        let documented = Documented::new().await;
        for (base, server, guests_server) in [("", "/", Value::Null), ("/callbot", "/callbot", "/".into())] {
            let document = documented.document(base);
            assert_eq!(document["servers"][0]["url"], server);
            assert_eq!(document["paths"]["/v1/calls"]["servers"][0]["url"], guests_server);
            assert!(document["paths"]["/health"].get("servers").is_none());
        }
        let alone = document(callbot::SYSTEM.about.unwrap(), &documented.own, &[], "");
        assert!(alone["paths"].get("/v1/calls").is_none(), "an origin of callbot's own has no /v1");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn examples_of_errors_have_the_shape_that_is_promised() {
        let document = Documented::new().await.document("");
        let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let schema = &document["components"]["schemas"]["Error"]["properties"];
        let codes = schema["error"]["properties"]["code"]["enum"].as_array().unwrap();
        let mut seen = 0;
        for (path, method, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let Some(example) = response["content"]["application/json"].get("example") else { continue };
                if status.starts_with(['4', '5']) && !OWN_BODIES.contains(&(path.as_str(), status)) {
                    assert_eq!(keys(example), keys(schema), "{method} {path} {status}");
                    assert_eq!(keys(&example["error"]), keys(&schema["error"]["properties"]));
                    assert!(codes.contains(&example["error"]["code"]), "{example}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }
}
