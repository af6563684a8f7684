//! Who is counted, who is not, and whom a request counts for. The numbers and headers themselves are the contract test's.

use futures_util::SinkExt;
use offhook::caller::INCOMING_PATH;
use offhook::systems::callbot::signature;
use offhook_tests::{Announced, Answer, Ask, Client, RawCall, Server};
use tokio_tungstenite::tungstenite::Message;

/// A limited path that is cheap to ask for, and its requests a minute.
const LIMITED: (&str, u32) = ("/api/test/load-results", 10);

/// Requests a minute below `/api/callbot/`.
const CALLBOT: u32 = 100;

const ON: (&str, &str) = ("OFFHOOK_RATE_LIMITS", "on");

const HEADERS: [&str; 3] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

async fn server(variables: &[(&str, &str)]) -> Server {
    Server::start_with(&["--speech", "canned"], variables).await
}

async fn ask(server: &Server, client: Client, forwarded_for: Option<&str>) -> Answer {
    let mut ask = Ask::get(LIMITED.0);
    if let Some(forwarded_for) = forwarded_for {
        ask = ask.with("x-forwarded-for", forwarded_for);
    }
    client.ask(server.address(), ask).await
}

fn remaining(answer: &Answer) -> u32 {
    let text = answer.header("x-ratelimit-remaining");
    text.parse().unwrap_or_else(|_| panic!("X-RateLimit-Remaining is {text:?} on {}", answer.status))
}

fn assert_uncounted(answer: &Answer, what: &str) {
    assert_ne!(answer.status, 429, "{what}");
    for name in HEADERS {
        assert!(!answer.headers.contains_key(name), "{what} carries {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_evade_a_limit_by_speaking_for_others() {
    // Another proxy than the one that asks is trusted.
    let server = server(&[ON, ("OFFHOOK_TRUSTED_PROXIES", "10.1.2.3, 192.0.2.0/24")]).await;
    let stranger = Client::new();
    for n in 1..=LIMITED.1 {
        let answer = ask(&server, stranger, Some(&format!("198.51.100.{n}"))).await;
        assert_eq!(remaining(&answer), LIMITED.1 - n);
    }
    for forwarded_for in [None, Some("198.51.100.99"), Some("192.0.2.1"), Some("10.1.2.3"), Some("")] {
        let answer = ask(&server, stranger, forwarded_for).await;
        assert_eq!(answer.status, 429, "{forwarded_for:?}");
    }
    // Nor under other headers that proxies use.
    for name in ["forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip", "true-client-ip"] {
        let value = if name == "forwarded" { "for=198.51.100.98" } else { "198.51.100.98" };
        let answer = stranger.ask(server.address(), Ask::get(LIMITED.0).with(name, value)).await;
        assert_eq!(answer.status, 429, "{name}");
    }
    // Nor by the other base of the same system.
    let answer = stranger.ask(server.address(), Ask::get(format!("/callbot{}", LIMITED.0))).await;
    assert_eq!(answer.status, 429, "both bases are one system");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let proxy = Client::new();
    let inner = Client::new();
    let trusted = format!("{}, {}/32", proxy.address(), inner.address());
    let server = server(&[ON, ("OFFHOOK_TRUSTED_PROXIES", &trusted)]).await;
    for n in 1..=LIMITED.1 {
        // The client says something of itself, which the proxy only appends to.
        let invented = format!("203.0.113.{n}, 198.51.100.1");
        assert_eq!(remaining(&ask(&server, proxy, Some(&invented)).await), LIMITED.1 - n);
    }
    let own = |text: &str| text.to_owned();
    let chained = format!("198.51.100.1, {}", inner.address());
    for used_up in [own("198.51.100.1"), own("198.51.100.2, 198.51.100.1"), own("198.51.100.1:4711"), chained]
    {
        let answer = ask(&server, proxy, Some(&used_up)).await;
        assert_eq!(answer.status, 429, "{used_up}");
    }
    for other in ["198.51.100.2", "198.51.100.1, 198.51.100.3", "2001:db8::1"] {
        assert_eq!(remaining(&ask(&server, proxy, Some(other)).await), LIMITED.1 - 1, "{other}");
    }
    assert_eq!(remaining(&ask(&server, proxy, None).await), LIMITED.1 - 1, "the proxy asks for itself");
    // One machine has a whole network of IPv6.
    assert_eq!(remaining(&ask(&server, proxy, Some("2001:db8::2")).await), LIMITED.1 - 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_carrier_signed_is_not_counted_and_all_else_is() {
    let key = "12345";
    let server = server(&[ON, ("TWILIO_AUTH_TOKEN", key), ("OFFHOOK_BEARER_TOKENS", "api")]).await;
    let client = Client::new();
    let webhook = |call: &str, key: &str| {
        let url = format!("{}{INCOMING_PATH}", server.base());
        let fields = [("CallSid".to_owned(), call.to_owned())];
        Ask::form(INCOMING_PATH, format!("CallSid={call}"))
            .with("x-twilio-signature", signature::sign(key, &url, &fields))
    };
    let post = |ask: Ask| client.ask(server.address(), ask);
    for n in 0..=CALLBOT {
        let answer = post(webhook(&format!("CA{n}"), key)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_uncounted(&answer, "a signed webhook");
    }
    for n in 1..=CALLBOT {
        let wrong = webhook("CA1", "guess");
        let answer = post(if n % 2 == 0 { wrong } else { wrong.without("x-twilio-signature") }).await;
        assert_eq!((answer.status, remaining(&answer)), (403, CALLBOT - n));
    }
    let wrong = post(webhook("CA1", "guess")).await;
    assert_eq!(wrong.status, 429);
    assert_eq!(post(webhook("CA1", "guess").without("x-twilio-signature")).await.status, 429);
    let signed = post(webhook("CAlast", key)).await;
    assert_eq!(signed.status, 200, "a flood from the carrier's address does not keep the carrier out");
    assert_uncounted(&signed, "a signed webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_counts_once_however_much_is_said_on_it() {
    let server = server(&[ON]).await;
    // Sockets come from the address that the server's own client asks from: both count together.
    let first = server.post_form(INCOMING_PATH, "CallSid=CA1").await;
    let announced = Announced::to(&server).await;
    let mut call = RawCall::connect(&announced).await;
    call.connected().await;
    call.start(Some(&announced.token)).await;
    for _ in 0..20 {
        call.frame(&offhook_tests::audio::QUIET).await;
    }
    let last = server.post_form(INCOMING_PATH, "CallSid=CA2").await;
    assert_eq!(remaining(&last) + 3, remaining(&first), "a webhook, an upgrade, a webhook");
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_of_this_machine_is_not_counted_and_nobody_else_passes_for_it() {
    let server = server(&[ON]).await;
    let token = std::fs::read_to_string(server.data().path().join("simulator.token")).unwrap();
    let client = Client::new();
    let webhook = |n: u32, token: &str| {
        let ask = Ask::form(INCOMING_PATH, format!("CallSid=CA{n}")).with("x-offhook-simulator", token);
        client.ask(server.address(), ask)
    };
    for n in 0..=CALLBOT {
        let answer = webhook(n, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_uncounted(&answer, "the simulator");
    }
    for (n, wrong) in ["", "guess", &token[1..], &token.to_uppercase()].into_iter().enumerate() {
        assert_eq!(remaining(&webhook(1_000, wrong).await), CALLBOT - 1 - n as u32, "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_health_and_metrics_are_never_counted() {
    let server = server(&[ON]).await;
    let client = Client::new();
    for path in
        ["/health", "/docs", "/redoc", "/openapi.json", "/status", "/metrics", "/v1/calls", "/nowhere"]
    {
        for _ in 0..LIMITED.1 + 1 {
            let answer = client.ask(server.address(), Ask::get(path)).await;
            assert_uncounted(&answer, path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn off_switches_all_limits_off() {
    let server = server(&[("OFFHOOK_RATE_LIMITS", "off")]).await;
    let client = Client::new();
    for path in [LIMITED.0, "/api/logs/latest", "/api/callbot/nowhere"] {
        for _ in 0..CALLBOT + 1 {
            assert_uncounted(&client.ask(server.address(), Ask::get(path)).await, path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_counts_too() {
    let server = server(&[ON]).await;
    let client = Client::new();
    let first = client.ask(server.address(), Ask::get("/api/callbot/audio-stream")).await;
    assert!(matches!(first.status, 400 | 426), "{}", first.status);
    // A socket that then says nothing sensible has counted like any.
    let tcp = client.connect(server.address()).await.unwrap();
    let url = format!("ws://{}/api/callbot/audio-stream", server.address());
    let (mut socket, _) = tokio_tungstenite::client_async(&url, tcp).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let last = client.ask(server.address(), Ask::get("/api/callbot/audio-stream")).await;
    assert_eq!(remaining(&last) + 2, remaining(&first));
}
