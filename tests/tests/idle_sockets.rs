//! Clients that connect and say little or nothing: they cost a bounded number of connections for a bounded time, and the
//! server goes on answering everyone else.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use offhook::caller::{CallPlan, Step, place, prepare};
use offhook_tests::conversation::{self, sane_call, undisturbed};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Announced, Ask, Client, RawCall, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Connections that one address may have open, in the tests that say so to the server.
const CAP: usize = 16;

/// A caller that is later than this with its own frames cannot judge another's.
const OWN_LATENESS_MAX: Duration = Duration::from_millis(20);

async fn connect(server: &Server, client: Client) -> TcpStream {
    client.connect(server.address()).await.unwrap()
}

/// Waits until the server has closed a connection. True if it said something before.
async fn closed(tcp: &mut TcpStream) -> bool {
    let mut all = Vec::new();
    // A reset is a close as well.
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut all)).await.expect("the server closes it");
    !all.is_empty()
}

/// An upgraded media socket.
async fn media_socket(server: &Server, client: Client) -> WebSocketStream<TcpStream> {
    let tcp = connect(server, client).await;
    let url = format!("ws://{}/api/callbot/audio-stream", server.address());
    tokio_tungstenite::client_async(url, tcp).await.unwrap().0
}

/// Waits until the server has closed a media socket, and gives code and reason.
async fn turned_away(mut socket: WebSocketStream<TcpStream>) -> (u16, String) {
    let goodbye = timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
        (0, String::new())
    });
    goodbye.await.expect("the server closes it")
}

/// A call by the well-behaved caller, which plays what comes on an absolute clock.
async fn call_by_the_clock(server: &Server) {
    let script = prepare(&[Step::Keys("1".into()), Step::Pause(Duration::from_secs(30))]).unwrap();
    let plan = CallPlan { max_duration: Duration::from_secs(30), ..CallPlan::new(server.base(), script) };
    let report = tokio::spawn(place(plan, |_| {})).await.unwrap().expect("the call comes about");
    assert_eq!(report.fault_count, 0, "{:?}", report.faults);
    if report.lateness.max() <= OWN_LATENESS_MAX {
        assert_eq!(report.playout.underruns, 0, "the agent's audio had gaps");
    }
    let record = server.record(&report.call_sid).await;
    assert_eq!(record["recorded"]["outcome"], "done", "{record:#}");
    conversation::assert_files(server, &record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_hundred_silent_sockets_disturb_nobody_and_are_closed() {
    let (server, _scenario) = conversation::server(&[]).await;
    let deed = async {
        let crowd = Client::new();
        let mut silent = join_all((0..1_000).map(|_| connect(&server, crowd))).await;
        let mut upgraded = Vec::new();
        for _ in 0..10 {
            upgraded.extend(join_all((0..30).map(|_| media_socket(&server, crowd))).await);
        }
        for _ in 0..20 {
            let health = Client::new().ask(server.address(), Ask::get("/health")).await;
            assert_eq!(health.status, 200, "it goes on answering");
        }
        call_by_the_clock(&server).await;
        let said = join_all(silent.iter_mut().map(closed)).await;
        assert!(!said.contains(&true), "there is nothing to say to who asked nothing");
        for goodbye in join_all(upgraded.into_iter().map(turned_away)).await {
            assert_eq!(goodbye, (1008, "no start message within 10 s".to_owned()));
        }
    };
    undisturbed(&server, deed).await;
    let calls = server.get("/v1/calls?limit=500").await.json();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 3, "silent sockets are no calls: {calls:#}");
    assert_eq!(server.get("/health").await.json()["active_calls"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_trickle_are_cut_off() {
    let (server, _scenario) = conversation::server(&[]).await;
    let trickle = async |opening: &str, kept_alive: bool| {
        let mut tcp = connect(&server, Client::new()).await;
        if kept_alive {
            // A first request that is as it should be, and then the trickle on the same connection.
            tcp.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut piece = [0; 4_096];
            let read = timeout(PATIENCE, tcp.read(&mut piece)).await.expect("it answers").unwrap();
            assert!(piece[..read].starts_with(b"HTTP/1.1 200"));
        }
        tcp.write_all(opening.as_bytes()).await.unwrap();
        let (mut read, mut write) = tcp.into_split();
        let dripping = tokio::spawn(async move {
            while write.write_all(b"a").await.is_ok() {
                sleep(Duration::from_millis(250)).await;
            }
        });
        let mut all = Vec::new();
        let closed = timeout(PATIENCE, read.read_to_end(&mut all)).await;
        dripping.abort();
        assert!(closed.is_ok(), "{opening:?}, kept alive {kept_alive}: it is waited for, for ever");
    };
    let deed = async {
        let openings =
            ["G", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", "GET /", "PRI * HTTP/2.0\r\n\r\nSM"];
        let all = openings.into_iter().flat_map(|opening| [(opening, false), (opening, true)]);
        // A connection that spoke HTTP/1.1 does not change to 2.
        let all = all.filter(|(opening, kept_alive)| !(opening.starts_with("PRI") && *kept_alive));
        join_all(all.flat_map(|kind| [kind; 10]).map(|(opening, kept_alive)| trickle(opening, kept_alive)))
            .await;
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_gets_so_many_connections_and_others_notice_nothing() {
    let cap = CAP.to_string();
    let (server, _scenario) = conversation::server(&[("OFFHOOK_CONNECTIONS_PER_ADDRESS", &cap)]).await;
    let greedy = Client::new();
    let ask = async |tcp: &mut TcpStream| {
        tcp.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
        let mut piece = [0; 4_096];
        let read = timeout(PATIENCE, tcp.read(&mut piece)).await.expect("it answers or closes").ok()?;
        piece[..read].starts_with(b"HTTP/1.1 200").then_some(())
    };
    let deed = async {
        let mut open = Vec::new();
        for n in 0..CAP {
            let mut tcp = connect(&server, greedy).await;
            assert!(ask(&mut tcp).await.is_some(), "connection {n} of {CAP} is served");
            open.push(tcp);
        }
        for _ in 0..5 {
            let mut tcp = connect(&server, greedy).await;
            assert!(ask(&mut tcp).await.is_none(), "one more is not");
        }
        assert!(ask(&mut open[0]).await.is_some(), "those that were there stay");
        let other = Client::new().ask(server.address(), Ask::get("/health")).await;
        assert_eq!(other.status, 200, "another address is served");
        open.truncate(CAP / 2);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut tcp = connect(&server, greedy).await;
            if ask(&mut tcp).await.is_some() {
                break;
            }
            assert!(Instant::now() < give_up, "who closes connections may open others");
            sleep(Duration::from_millis(25)).await;
        }
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_do_not_count_as_connections_of_their_address() {
    let cap = CAP.to_string();
    let (server, _scenario) = conversation::server(&[("OFFHOOK_CONNECTIONS_PER_ADDRESS", &cap)]).await;
    // All of them come from one address, as a carrier's do.
    let mut calls = Vec::new();
    for _ in 0..2 * CAP {
        let mut call = RawCall::open(&server).await;
        call.settle().await;
        assert!(call.over.is_none(), "call {} is let in", calls.len() + 1);
        calls.push(call);
    }
    assert_eq!(server.get("/health").await.json()["active_calls"], 2 * CAP);
    let mut hang_up = calls;
    for call in &mut hang_up {
        call.hang_up().await;
        assert_eq!(server.record(&call.call_sid).await["end_reason"], "caller-hangup");
    }
    sane_call(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_stop_half_way_into_their_start_are_turned_away() {
    let (server, _scenario) = conversation::server(&[]).await;
    let deed = async {
        let half = async |text: &[u8]| {
            let announced = Announced::to(&server).await;
            let mut call = RawCall::connect(&announced).await;
            call.connected().await;
            call.tcp().write_all(text).await.unwrap();
            call.listen_until_gone().await;
            (call.over.clone().unwrap().code, announced.call_sid)
        };
        // The head of a masked text frame of 100 bytes, and some of it; or nothing after `connected`.
        let begun: &[u8] = &[0x81, 0xe4, 0, 0, 0, 0, b'{', b'"'];
        let (silent, begun) = join(half(b""), half(begun)).await;
        for (code, call) in [silent, begun] {
            assert_eq!(code, 1008);
            assert_eq!(server.record_when(&call, |_| true).await["status"], "announced", "it may still come");
        }
    };
    undisturbed(&server, deed).await;
}
