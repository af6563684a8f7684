//! The walk: what is asked of every endpoint, whatever its system, and the verdict.
//!
//! | asked | answer |
//! |---|---|
//! | as documented | the documented status, content type, keys and types; as HEAD the same without a body |
//! | with a body that cannot be used, of another type, without a required field | 400, 415, 400 with the documented text |
//! | by another method; a path below, a slash at the end; an id that nobody has | 405 with `Allow`; 404; 404 |
//! | without credentials, with wrong ones, in production | the system's refusal, with `WWW-Authenticate` |
//! | more often than the limit allows | 429 with `Retry-After` |
//!
//! Every error has the system's form and tells the request's id; every answer of a limited path carries the limit's three
//! headers, and no other does.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use super::inventory::{Endpoint, Kind};
use super::system::{Case, Credentials, Site, World, complaint, short};
use crate::http::{Ask, Client};
use crate::server::Answer;

/// What came of an endpoint.
#[derive(Debug)]
pub struct Verdict {
    /// The endpoint's name.
    pub id: String,
    /// What is wrong; nothing if it is as documented.
    pub complaints: Vec<String>,
}

/// A walk through a system where it is mounted.
pub struct Walk<'a> {
    site: &'a Site<'a>,
}

impl<'a> Walk<'a> {
    /// A walk through this site.
    pub fn of(site: &'a Site<'a>) -> Self {
        Self { site }
    }

    /// Asks for every endpoint, one after the other.
    pub async fn go(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for endpoint in self.site.inventory.all() {
            let complaints = match self.site.system.case(&endpoint.id) {
                Some(case) => self.visit(endpoint, &case).await,
                None => vec!["there is no case for it".to_owned()],
            };
            verdicts.push(Verdict { id: endpoint.id.clone(), complaints });
        }
        verdicts
    }

    async fn visit(&self, endpoint: &Endpoint, case: &Case) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |what: &str, complaints: Vec<String>| {
            told.extend(complaints.into_iter().map(|complaint| format!("{what}: {complaint}")));
        };
        let mut good = (case.good)(self.site).await;
        if good.path.is_empty() {
            good.path.clone_from(&endpoint.path);
        }
        tell("as documented", self.good(endpoint, case, &good).await);
        match self.site.world {
            World::Development => {
                if endpoint.wire_method() == Method::GET && endpoint.kind != Kind::Websocket {
                    if case.once {
                        good = (case.good)(self.site).await;
                    }
                    tell("HEAD", self.head(endpoint, &good).await);
                }
                if endpoint.kind == Kind::Websocket {
                    tell("without an upgrade", self.no_upgrade(endpoint, &good).await);
                }
                for (what, ask, status) in self.refused(endpoint, case, &good) {
                    let answer = self.site.ask(self.authorized(endpoint, ask)).await;
                    tell(&what, self.error(endpoint, Credentials::Right, status, &answer));
                    if status == 405 && answer.status == 405 {
                        tell(&what, allow_complaints(endpoint, &answer));
                    }
                    if let Some(field) = what.strip_prefix("without ") {
                        let system = self.site.system;
                        tell(&what, system.missing_complaints(self.site.inventory, field, &answer));
                    }
                }
            }
            World::Production => {
                if let Some(status) = self.site.system.refusal(endpoint) {
                    for with in [Credentials::None, Credentials::Wrong] {
                        let complaints = self.stranger(endpoint, &good, with, status).await;
                        tell(&format!("with {with:?} credentials").to_lowercase(), complaints);
                    }
                }
            }
        }
        told
    }

    fn authorized(&self, endpoint: &Endpoint, ask: Ask) -> Ask {
        self.site.system.authorize(self.site, endpoint, Credentials::Right, ask)
    }

    async fn good(&self, endpoint: &Endpoint, case: &Case, good: &Ask) -> Vec<String> {
        if good.method != endpoint.wire_method() {
            return vec![format!("the case asks by {}", good.method)];
        }
        let ask = self.authorized(endpoint, good.clone());
        if let Some(talk) = case.talk {
            let (answer, socket) = match self.site.open(ask).await {
                Ok(opened) => opened,
                Err(answer) => return vec![format!("no socket: {} {}", answer.status, answer.text())],
            };
            let mut told = self.headers(endpoint, Credentials::Right, &answer);
            told.extend(complaint(answer.header("sec-websocket-protocol").is_empty(), || {
                "it chose a subprotocol that nobody offered".into()
            }));
            told.extend(talk(self.site, socket).await);
            return told;
        }
        let answer = self.site.ask(ask).await;
        if answer.status != endpoint.success_status {
            return vec![format!("{} and not {}: {}", answer.status, endpoint.success_status, answer.text())];
        }
        let mut told = self.headers(endpoint, Credentials::Right, &answer);
        told.extend(body_complaints(endpoint, &answer));
        told.extend((case.check)(self.site, &answer).await);
        told
    }

    async fn head(&self, endpoint: &Endpoint, good: &Ask) -> Vec<String> {
        let ask = self.authorized(endpoint, good.clone().by(Method::HEAD));
        let answer = self.site.ask(ask).await;
        let mut told = self.headers(endpoint, Credentials::Right, &answer);
        told.extend(complaint(answer.status == endpoint.success_status, || answer.status.to_string()));
        told.extend(complaint(answer.body.is_empty(), || "it has a body".into()));
        told.extend(type_complaints(endpoint, &answer));
        told
    }

    /// A socket's path, asked for as a page.
    async fn no_upgrade(&self, endpoint: &Endpoint, good: &Ask) -> Vec<String> {
        let answer = self.site.ask(self.authorized(endpoint, good.clone())).await;
        let status = if answer.status == 400 { 400 } else { 426 };
        self.error(endpoint, Credentials::Right, status, &answer)
    }

    /// What every endpoint refuses, from the inventory and its case: a name, the request, the status.
    fn refused(&self, endpoint: &Endpoint, case: &Case, good: &Ask) -> Vec<(String, Ask, u16)> {
        let path = good.path.split('?').next().unwrap_or_default();
        let mut all = vec![
            ("by another method".to_owned(), Ask::new(self.no_method_of(endpoint), path), 405),
            ("a path below".to_owned(), Ask { path: format!("{path}/nowhere/at/all"), ..good.clone() }, 404),
        ];
        if endpoint.kind != Kind::DocumentationPage {
            all.push((
                "a slash at the end".to_owned(),
                Ask { path: format!("{path}/"), ..good.clone() },
                404,
            ));
        }
        if let Some(unknown) = case.unknown {
            all.push(("an unknown id".to_owned(), Ask { path: unknown.to_owned(), ..good.clone() }, 404));
        }
        let typed = |of: &str, body: &str| Ask {
            body: body.to_owned().into(),
            ..good.clone().without("content-type").with("content-type", of)
        };
        let text = || String::from_utf8_lossy(&good.body).into_owned();
        if !endpoint.request_content_types_accepted.is_empty() {
            all.push(("a body of another type".to_owned(), typed("text/plain", &text()), 415));
        }
        if endpoint.accepts("application/json") {
            let bodies = ["", "{", "[]", "\"text\"", "null", "{\"a\":1}}"].into_iter();
            for body in bodies.skip(usize::from(case.may_be_empty)) {
                all.push((format!("the body {body:?}"), typed("application/json", body), 400));
            }
        }
        if endpoint.accepts("application/x-www-form-urlencoded") {
            for field in endpoint.documented_required() {
                let body: Vec<_> =
                    text().split('&').filter(|pair| !of(pair, field)).map(str::to_owned).collect();
                let form = typed("application/x-www-form-urlencoded", &body.join("&"));
                all.push((format!("without {field}"), form, 400));
            }
        }
        for (ask, status) in (case.bad)() {
            let path = if ask.path.is_empty() { endpoint.path.clone() } else { ask.path.clone() };
            let what = format!("{} {}", ask.path, String::from_utf8_lossy(&ask.body));
            all.push((what.trim().to_owned(), Ask { path, ..ask }, status));
        }
        all
    }

    /// A method that the path of this endpoint does not take.
    fn no_method_of(&self, endpoint: &Endpoint) -> Method {
        let taken = |method: &Method| {
            self.site
                .inventory
                .all()
                .any(|other| other.path == endpoint.path && other.wire_method() == *method)
        };
        [Method::DELETE, Method::PATCH].into_iter().find(|method| !taken(method)).expect("no path takes all")
    }

    async fn stranger(&self, endpoint: &Endpoint, good: &Ask, with: Credentials, status: u16) -> Vec<String> {
        let ask = self.site.system.authorize(self.site, endpoint, with, good.clone());
        let answer = if endpoint.kind == Kind::Websocket {
            match self.site.open(ask).await {
                Ok(_) => return vec!["a socket was opened".to_owned()],
                Err(answer) => answer,
            }
        } else {
            self.site.ask(ask).await
        };
        let mut told = self.error(endpoint, with, status, &answer);
        if status == 401 && answer.status == 401 {
            let challenge = answer.header("www-authenticate");
            told.extend(complaint(challenge.starts_with("Bearer"), || {
                format!("WWW-Authenticate is {challenge:?}")
            }));
        }
        told
    }

    /// What is wrong with an error.
    fn error(&self, endpoint: &Endpoint, with: Credentials, status: u16, answer: &Answer) -> Vec<String> {
        if answer.status != status {
            return vec![format!("{} and not {status}: {}", answer.status, answer.text())];
        }
        let mut told = self.headers(endpoint, with, answer);
        let format =
            endpoint.error_format.as_deref().expect("an endpoint of a built system has an error format");
        let content_type = answer.header("content-type");
        told.extend(complaint(content_type == "application/json", || {
            format!("the error is {content_type:?}")
        }));
        let complaints = match serde_json::from_slice(&answer.body) {
            Ok(body) => {
                let system = self.site.system;
                system.error_shape(self.site.inventory, format, status).complaints(&body)
            }
            Err(error) => vec![format!("{error}: {}", answer.text())],
        };
        if complaints.is_empty() {
            told.extend(self.site.system.error_complaints(self.site.inventory, status, answer));
        }
        told.extend(complaints);
        told
    }

    /// What is wrong with the headers that every answer has, or must not have.
    fn headers(&self, endpoint: &Endpoint, with: Credentials, answer: &Answer) -> Vec<String> {
        let names = || self.site.inventory.rate_limit_headers.iter().map(|header| header.name.as_str());
        let Some(limit) = self.site.system.limit(self.site, endpoint, with) else {
            let there = names().filter(|name| answer.headers.contains_key(*name));
            return there.map(|name| format!("{name} on an answer that no limit counts")).collect();
        };
        let Some(told) = Told::of(answer) else {
            return vec![format!("{:?} are not all there, as numbers", names().collect::<Vec<_>>())];
        };
        let mut wrong = complaint(told.limit == limit, || format!("the limit is told as {}", told.limit));
        wrong.extend(complaint(told.remaining < limit, || format!("{} remain of {limit}", told.remaining)));
        // Half a minute for a clock that is read twice, and for a busy machine.
        let window =
            endpoint.rate_limit.as_ref().and_then(|limit| limit.window_seconds).map_or(60, u64::from);
        let within = told.reset + 30 >= unix_now() && told.reset <= unix_now() + window + 30;
        wrong.extend(complaint(within, || {
            format!("the reset is at {}, and it is {}", told.reset, unix_now())
        }));
        wrong
    }

    /// Asks until the limit of this endpoint's scope is used up, and looks at what is said then.
    pub async fn exhaust(&self, endpoint: &Endpoint) -> Vec<String> {
        let Some(limit) = endpoint.rate_limit.as_ref().and_then(|limit| limit.requests) else {
            return vec!["no number is documented".to_owned()];
        };
        let mut good = (self.site.system.case(&endpoint.id).expect("it has a case").good)(self.site).await;
        if good.path.is_empty() {
            good.path.clone_from(&endpoint.path);
        }
        // A window may end in the middle: then there is a new one to begin with.
        for _ in 0..3 {
            let client = Client::new();
            self.site.system.someone_else(self.site, endpoint).await;
            let mut resets = Vec::new();
            let mut wrong = Vec::new();
            for n in 1..=limit {
                let answer = self.site.ask_as(client, self.authorized(endpoint, good.clone())).await;
                let Some(told) = Told::of(&answer) else {
                    return vec![format!("request {n} tells no limit: {}", answer.status)];
                };
                resets.push(told.reset);
                wrong
                    .extend(complaint(answer.status != 429, || format!("request {n} of {limit} is refused")));
                wrong.extend(complaint(told.remaining == limit - n, || {
                    format!("{} remain after {n} of {limit} requests", told.remaining)
                }));
            }
            let answer = self.site.ask_as(client, self.authorized(endpoint, good.clone())).await;
            resets.extend(Told::of(&answer).map(|told| told.reset));
            if resets.iter().any(|reset| *reset != resets[0]) {
                continue;
            }
            wrong.extend(self.error(endpoint, Credentials::Right, 429, &answer));
            let after: u64 = answer.header("retry-after").parse().unwrap_or(0);
            wrong.extend(complaint((1..=60).contains(&after), || {
                format!("Retry-After is {:?}", answer.header("retry-after"))
            }));
            self.site.system.someone_else(self.site, endpoint).await;
            let other = self.site.ask(self.authorized(endpoint, good.clone())).await;
            wrong.extend(complaint(other.status != 429, || "another client is refused as well".into()));
            wrong.extend(self.elsewhere(client, endpoint).await);
            return wrong;
        }
        vec!["the limit's window ends too often to use it up".to_owned()]
    }

    /// Who has used up one scope still gets answers in the others, and where nothing is counted.
    async fn elsewhere(&self, client: Client, used_up: &Endpoint) -> Vec<String> {
        let scope = |endpoint: &Endpoint| endpoint.rate_limit.as_ref().map(|limit| limit.scope.clone());
        let mut wrong = Vec::new();
        for endpoint in self.site.inventory.all().filter(|endpoint| scope(endpoint) != scope(used_up)) {
            let ask = self.authorized(endpoint, Ask::new(Method::OPTIONS, endpoint.path.clone()));
            let answer = self.site.ask_as(client, ask).await;
            wrong.extend(complaint(answer.status != 429, || format!("{} is refused as well", endpoint.path)));
        }
        wrong
    }
}

/// The limit's three headers.
struct Told {
    limit: u32,
    remaining: u32,
    reset: u64,
}

impl Told {
    fn of(answer: &Answer) -> Option<Self> {
        let number = |name: &str| answer.header(name).parse::<u64>().ok();
        Some(Self {
            limit: number("x-ratelimit-limit")?.try_into().ok()?,
            remaining: number("x-ratelimit-remaining")?.try_into().ok()?,
            reset: number("x-ratelimit-reset")?,
        })
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn of(pair: &str, field: &str) -> bool {
    pair.split('=').next() == Some(field)
}

fn allow_complaints(endpoint: &Endpoint, answer: &Answer) -> Vec<String> {
    let method = endpoint.wire_method();
    let allow = answer.header("allow");
    let told = allow.split(',').any(|allowed| allowed.trim() == method.as_str());
    complaint(told, || format!("Allow is {allow:?} and lacks {method}"))
}

fn type_complaints(endpoint: &Endpoint, answer: &Answer) -> Vec<String> {
    let given = answer.header("content-type").split(';').next().unwrap_or_default().trim();
    let wanted = endpoint.response_content_type.as_deref().unwrap_or_default();
    complaint(given == wanted, || format!("the content type is {given:?} and not {wanted:?}"))
}

fn body_complaints(endpoint: &Endpoint, answer: &Answer) -> Vec<String> {
    let mut told = type_complaints(endpoint, answer);
    match endpoint.response_content_type.as_deref() {
        None => told.extend(complaint(answer.body.is_empty(), || "there is a body".into())),
        Some("application/json") => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => {
                let complaints = endpoint.shape().complaints(&body);
                if !complaints.is_empty() {
                    told.push(short(&body));
                }
                told.extend(complaints);
            }
            Err(error) => told.push(format!("{error}: {}", answer.text())),
        },
        Some("application/xml") => {
            let there = xml_names(answer.text());
            let missing = endpoint.response_fields.iter().filter(|field| !there.contains(&field.name));
            told.extend(missing.map(|field| format!("{} is missing: {}", field.name, answer.text())));
        }
        Some("text/html") => {
            let page = answer.text().trim_start().to_ascii_lowercase();
            told.extend(complaint(page.starts_with("<!doctype html") || page.starts_with("<html"), || {
                "it is no page".into()
            }));
        }
        Some(_) => told.extend(complaint(!answer.body.is_empty(), || "there is no body".into())),
    }
    told
}

/// Every element and attribute: `Response/Connect`, `Response/Connect/Stream@url`. Nothing if it is not XML.
fn xml_names(document: &str) -> Vec<String> {
    let mut reader = Reader::from_str(document);
    let mut path: Vec<String> = Vec::new();
    let mut names = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                path.push(name_of(tag.name().as_ref()));
                note(&path, &tag, &mut names);
            }
            Ok(Event::Empty(tag)) => {
                path.push(name_of(tag.name().as_ref()));
                note(&path, &tag, &mut names);
                path.pop();
            }
            Ok(Event::End(_)) => {
                path.pop();
            }
            Ok(Event::Eof) => return names,
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
    }
}

fn name_of(name: impl AsRef<str>) -> String {
    name.as_ref().to_owned()
}

fn note(path: &[String], tag: &quick_xml::events::BytesStart<'_>, names: &mut Vec<String>) {
    let element = path.join("/");
    for attribute in tag.attributes().flatten() {
        names.push(format!("{element}@{}", name_of(attribute.key.as_ref())));
    }
    names.push(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_are_found_by_their_path() {
        let names = xml_names("<?xml version=\"1.0\"?><R><C><S url=\"x\"><P a=\"1\"/></S></C></R>");
        assert_eq!(names, ["R", "R/C", "R/C/S@url", "R/C/S", "R/C/S/P@a", "R/C/S/P"]);
        assert_eq!(xml_names("<R><C></R>"), [""; 0], "what is not XML has no names");
    }
}
