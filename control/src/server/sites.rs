//! Finds the system that a request is for, by listener, host name and base, and lets it answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, Uri, header};
use axum::middleware::{self as axum_middleware, Next};
use axum::response::IntoResponse;
use tower::ServiceExt;
use uuid::Uuid;

use super::App;
use super::arrival::{Arrival, client_of};
use super::connections::Permit;
use super::docs::{self, Documents};
use super::middleware::{around, limit};
use super::openapi::Described;
use super::system::System;
use crate::systems::error::ApiError;

/// Where a simulator of this process or of its user shows the process's token.
pub const SIMULATOR_HEADER: &str = "x-offhook-simulator";

/// All mounted systems.
pub(super) struct Sites {
    app: Arc<App>,
    mounted: Vec<Mounted>,
}

/// Which systems a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All of them: the main listener.
    Main,
    /// One, at the root: the listener of the system of this number.
    Own(usize),
}

struct Mounted {
    system: &'static System,
    hosts: Vec<String>,
    router: Router,
    documents: Documents,
}

/// What the middleware of one system works with.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) system: &'static System,
    pub(super) app: Arc<App>,
    /// The number of the system's first limit among all limits.
    pub(super) first_scope: usize,
}

impl Sites {
    /// Mounts `systems`.
    pub(super) fn new(app: &Arc<App>, systems: &[&'static System]) -> Arc<Self> {
        let (routers, described): (Vec<_>, Vec<_>) =
            systems.iter().map(|system| taken_apart(system, app)).unzip();
        let mut first_scope = 0;
        let mut mounted = Vec::new();
        for (&system, routers) in systems.iter().zip(routers) {
            let mount = Mount { system, app: app.clone(), first_scope };
            // One more for the addresses.
            first_scope += system.limits.len() + 1;
            let place = app.settings.systems.get(system.name);
            mounted.push(Mounted {
                system,
                hosts: place.map(|place| place.hosts.clone()).unwrap_or_default(),
                router: router(mount, routers),
                documents: Documents::of(system, &described),
            });
        }
        Arc::new(Self { app: app.clone(), mounted })
    }

    /// Listeners that systems have of their own.
    pub(super) fn own_listeners(&self) -> impl Iterator<Item = (Place, &'static str, SocketAddr)> + '_ {
        self.mounted.iter().enumerate().filter_map(|(number, mounted)| {
            let listen = self.app.settings.systems.get(mounted.system.name)?.listen?;
            Some((Place::Own(number), mounted.system.name, listen))
        })
    }

    /// Answers a request that came in at `place`.
    pub(super) async fn answer(
        self: Arc<Self>,
        place: Place,
        peer: SocketAddr,
        local: SocketAddr,
        permit: Permit,
        mut request: Request,
    ) -> Result<Response<Body>, Infallible> {
        let settings = &self.app.settings;
        let headers = request.headers();
        let (mounted, base, alone) = self.find(place, host_of(headers, request.uri()), request.uri().path());
        let trusted = settings.trusted_proxies.iter().any(|range| range.contains(&peer.ip().to_canonical()));
        let loopback = peer.ip().to_canonical().is_loopback();
        let this_machine = loopback || peer.ip() == local.ip();
        let arrival = Arrival {
            request_id: format!("req_{}", Uuid::new_v4().simple()).into(),
            base,
            uri: request.uri().clone(),
            client: client_of(peer.ip(), headers, &settings.trusted_proxies),
            forwarded_counts: trusted || loopback,
            local,
            simulated: this_machine && self.app.is_simulator(headers.get(SIMULATOR_HEADER)),
            permit,
        };
        if !base.is_empty()
            && let Some(uri) = without_base(request.uri(), base)
        {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(arrival);
        if let Some(document) = mounted.documents.below(base, alone) {
            request.extensions_mut().insert(document);
        }
        mounted.router.clone().oneshot(request).await
    }

    /// The system that is asked, the base below which it is, and whether it has the origin to itself.
    fn find(&self, place: Place, host: Option<&str>, path: &str) -> (&Mounted, &'static str, bool) {
        if let Place::Own(number) = place {
            return (&self.mounted[number], "", true);
        }
        if let Some(host) = host {
            let host = host.to_ascii_lowercase();
            let bare = host.rsplit_once(':').map_or(host.as_str(), |(bare, _)| bare);
            let named = |mounted: &&Mounted| mounted.hosts.iter().any(|own| *own == host || own == bare);
            if let Some(mounted) = self.mounted.iter().find(named) {
                return (mounted, "", true);
            }
        }
        let below =
            |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(mounted) =
            self.mounted.iter().find(|mounted| mounted.system.prefixes.iter().any(|prefix| below(prefix)))
        {
            return (mounted, "", false);
        }
        let bases = self.mounted.iter().flat_map(|m| m.system.bases.iter().map(move |base| (m, *base)));
        let (mounted, base) = bases
            .filter(|(_, base)| below(base))
            .max_by_key(|(_, base)| base.len())
            .unwrap_or((&self.mounted[0], ""));
        (mounted, base, false)
    }
}

/// The open and the guarded routes of a system.
pub(super) type Routers = (Router<Arc<App>>, Router<Arc<App>>);

/// A system's routes, and what they say of themselves.
pub(super) fn taken_apart(system: &'static System, app: &Arc<App>) -> (Routers, Described) {
    let mut open = (system.open)(app);
    if system.about.is_some() {
        open = open.merge(docs::routes());
    }
    let (open, said_of_open) = open.split_for_parts();
    let (guarded, said_of_guarded) = (system.guarded)(app).split_for_parts();
    ((open, guarded), Described { system, open: said_of_open, guarded: said_of_guarded })
}

fn router(mount: Mount, (open, guarded): Routers) -> Router {
    let Mount { system, app, .. } = mount.clone();
    let mut router: Router<Arc<App>> = Router::new().merge(open);
    if guarded.has_routes() {
        let guarded = guarded.route_layer(axum_middleware::from_fn_with_state(mount.clone(), guard));
        router = router.merge(guarded);
    }
    router = router.layer(axum_middleware::from_fn_with_state(mount.clone(), limit));
    if let Some(cors) = (system.cors)(&app.settings) {
        router = router.layer(cors);
    }
    router.layer(axum_middleware::from_fn_with_state(mount, around)).with_state(app)
}

async fn guard(State(mount): State<Mount>, request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Err(error) = (mount.system.guard)(&mount.app, &parts) {
        return ApiError::into_response(error);
    }
    next.run(Request::from_parts(parts, body)).await
}

fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

fn without_base(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::StatusCode;
    use axum::routing::get;
    use serde_json::{Value, json};
    use utoipa_axum::router::OpenApiRouter;

    use super::super::rate_limit::Limit;
    use super::super::system::{System, by_address, no_cors};
    use super::*;
    use crate::settings::{Secret, Settings, Speech, SystemPlace};

    /// A system with an error shape of its own, and routes that show what the server does around them.
    static ODD: System = System {
        name: "odd",
        bases: &["/odd"],
        prefixes: &["/oddities"],
        open: |_| {
            OpenApiRouter::new()
                .route("/where", get(|arrival: axum::Extension<Arrival>| async move { arrival.base }))
                .route("/oddities/x", get(|| async { "prefix" }))
                .route("/limited/x", get(|| async { "limited" }))
                .route("/panics", get(panics))
        },
        guarded: |_| OpenApiRouter::new().route("/guarded", get(|| async { "guarded" })),
        guard: |_, _| Err(ApiError::forbidden("nobody")),
        error_body: |error, request_id| json!({ "detail": error.message, "id": request_id }),
        limits: &[Limit { prefix: "/limited/", requests: 2 }],
        counted_as: by_address,
        per_address: None,
        claims_signature: |headers| headers.contains_key("signed"),
        cors: |_| Some(tower_http::cors::CorsLayer::permissive()),
        about: None,
    };

    async fn panics() -> &'static str {
        panic!("a bug of ours")
    }

    static PLAIN: System = System {
        name: "plain",
        bases: &["", "/plain"],
        prefixes: &[],
        open: |_| OpenApiRouter::new().route("/where", get(|| async { "root" })),
        guarded: |_| OpenApiRouter::new(),
        guard: |_, _| Ok(()),
        error_body: crate::systems::error::enveloped,
        limits: &[],
        counted_as: by_address,
        per_address: None,
        claims_signature: super::super::system::unsigned,
        cors: no_cors,
        about: None,
    };

    const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

    struct Mounted {
        sites: Arc<Sites>,
        _dir: tempfile::TempDir,
    }

    impl Mounted {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut settings = Settings { speech: Speech::Canned, ..Settings::local(dir.path().into()) };
            settings.twilio_auth_token = Some(Secret::new("key"));
            settings.trusted_proxies = vec!["10.0.0.1/32".parse().unwrap()];
            let place = SystemPlace { listen: None, hosts: vec!["odd.example.com".into()] };
            settings.systems.insert("odd".into(), place);
            let app =
                tokio::task::spawn_blocking(|| App::start(settings, SocketAddr::from(([127, 0, 0, 1], 1))))
                    .await
                    .unwrap()
                    .unwrap();
            Self { sites: Sites::new(&Arc::new(app), &[&PLAIN, &ODD]), _dir: dir }
        }

        async fn ask(&self, uri: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
            self.ask_from("127.0.0.1", Place::Main, uri, headers).await
        }

        async fn ask_from(
            &self,
            peer: &str,
            place: Place,
            uri: &str,
            headers: &[(&str, &str)],
        ) -> (StatusCode, HeaderMap, String) {
            let mut request = Request::get(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let peer = SocketAddr::new(peer.parse::<IpAddr>().unwrap(), 1);
            let answer = self.sites.clone().answer(place, peer, LOCAL, Permit::uncounted(), request);
            let (head, body) = answer.await.unwrap().into_parts();
            let body = axum::body::to_bytes(body, 10_000).await.unwrap();
            (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
        }
    }

    #[tokio::test]
    async fn a_request_finds_its_system_by_listener_host_prefix_and_base() {
        let mounted = Mounted::new().await;
        for (uri, headers, expected) in [
            ("/where", vec![], "root"),
            ("/plain/where", vec![], "root"),
            ("/odd/where", vec![], "/odd"),
            ("/where", vec![("host", "odd.example.com")], ""),
            ("/where", vec![("host", "ODD.example.com:8080")], ""),
            ("/oddities/x", vec![], "prefix"),
        ] {
            let (status, _, body) = mounted.ask(uri, &headers).await;
            assert_eq!((status.as_u16(), body.as_str()), (200, expected), "{uri} {headers:?}");
        }
        let (_, _, body) = mounted.ask_from("127.0.0.1", Place::Own(1), "/where", &[]).await;
        assert_eq!(body, "");
        let (status, _, body) = mounted.ask("/oddwhere", &[]).await;
        assert_eq!(status, 404);
        assert!(body.contains("NOT_FOUND"), "a base ends at a slash, and the root answers: {body}");
    }

    #[tokio::test]
    async fn every_error_has_the_shape_of_the_system_that_was_asked() {
        let mounted = Mounted::new().await;
        for (uri, status) in [("/odd/nowhere", 404), ("/odd/panics", 500), ("/odd/guarded", 403)] {
            let (got, headers, body) = mounted.ask(uri, &[]).await;
            assert_eq!(got.as_u16(), status, "{uri}");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
            assert_eq!(headers["x-request-id"], body["id"].as_str().unwrap());
            assert!(!body.to_string().contains("a bug of ours"));
        }
    }

    #[tokio::test]
    async fn limits_count_clients_and_are_told_on_every_answer() {
        let mounted = Mounted::new().await;
        for (remaining, status) in [("1", 200), ("0", 404), ("0", 429)] {
            let path = if status == 404 { "/odd/limited/nowhere" } else { "/odd/limited/x" };
            let (got, headers, _) = mounted.ask(path, &[("x-forwarded-for", remaining)]).await;
            assert_eq!(got.as_u16(), status);
            assert_eq!(
                (&headers["x-ratelimit-limit"], &headers["x-ratelimit-remaining"]),
                (&"2".parse().unwrap(), &remaining.parse().unwrap())
            );
            assert_eq!(headers.contains_key("retry-after"), status == 429);
        }
        let (status, headers, _) = mounted.ask("/odd/where", &[]).await;
        assert_eq!((status.as_u16(), headers.get("x-ratelimit-limit")), (200, None));
        for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            let headers = [("x-forwarded-for", client)];
            let (status, ..) = mounted.ask_from("10.0.0.1", Place::Main, "/odd/limited/x", &headers).await;
            assert_eq!(status, 200, "behind a trusted proxy {client} is a client of its own");
        }
    }

    #[tokio::test]
    async fn a_signature_that_nobody_confirms_counts_like_none() {
        let mounted = Mounted::new().await;
        for status in [200, 200, 429] {
            let (got, headers, _) = mounted.ask("/odd/limited/x", &[("signed", "perhaps")]).await;
            assert_eq!(got.as_u16(), status);
            assert!(headers.contains_key("x-ratelimit-limit"));
        }
    }

    #[tokio::test]
    async fn the_simulator_of_this_machine_is_not_counted() {
        let mounted = Mounted::new().await;
        let token = mounted.sites.app.simulator_token.reveal().to_owned();
        for _ in 0..5 {
            let (status, headers, _) = mounted.ask("/odd/limited/x", &[(SIMULATOR_HEADER, &token)]).await;
            assert_eq!((status.as_u16(), headers.get("x-ratelimit-limit")), (200, None));
        }
        let from_afar = [(SIMULATOR_HEADER, token.as_str())];
        let (_, headers, _) = mounted.ask_from("192.0.2.9", Place::Main, "/odd/limited/x", &from_afar).await;
        assert!(headers.contains_key("x-ratelimit-limit"), "the token is worth nothing on other machines");
    }

    #[tokio::test]
    async fn a_preflight_is_answered_before_anyone_is_asked_who_they_are() {
        let mounted = Mounted::new().await;
        let request = Request::options("/odd/guarded")
            .header("origin", "https://page.example")
            .header("access-control-request-method", "GET")
            .body(Body::empty())
            .unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let answer = mounted.sites.clone().answer(Place::Main, peer, peer, Permit::uncounted(), request);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("access-control-allow-origin"));
    }

    #[test]
    fn a_base_is_taken_off_and_the_query_stays() {
        for (uri, expected) in [
            ("/callbot/health", "/health"),
            ("/callbot", "/"),
            ("/callbot?a=b", "/?a=b"),
            ("/callbot/a%2Fb?c=d%20e", "/a%2Fb?c=d%20e"),
            ("http://h/callbot/x", "http://h/x"),
        ] {
            assert_eq!(
                without_base(&uri.parse().unwrap(), "/callbot").unwrap().to_string(),
                expected,
                "{uri}"
            );
        }
    }
}
