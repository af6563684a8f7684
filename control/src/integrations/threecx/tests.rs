//! The client, with a double of 3CX on a real socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use offhook_fixtures::threecx::{Caller, Ending, FakeThreeCx, Fault, LineFault, Options, Step};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::settings::Secret;

const PATIENCE: Duration = Duration::from_secs(10);

fn client_of(fake: &FakeThreeCx, secret: &str) -> Arc<ThreeCx> {
    let settings = ThreeCxSettings {
        base: fake.url().parse().unwrap(),
        client_id: fake.options().client_id.clone(),
        client_secret: Secret::new(secret),
        dn: fake.options().dn.clone(),
    };
    Arc::new(ThreeCx::new(settings).unwrap())
}

async fn pbx(options: Options) -> (FakeThreeCx, Arc<ThreeCx>) {
    let fake = FakeThreeCx::with(options).await;
    let client = client_of(&fake, "secret-of-900");
    (fake, client)
}

/// What a client that watches is told.
struct Watched {
    events: mpsc::UnboundedReceiver<Event>,
    watching: JoinHandle<()>,
}

impl Watched {
    fn by(client: &Arc<ThreeCx>) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let client = client.clone();
        let watching = tokio::spawn(async move { client.watch(|event| drop(tell.send(event))).await });
        Self { events, watching }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event").expect("it watches for ever")
    }

    /// The next one that this is true of.
    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn tokens_asked(fake: &FakeThreeCx) -> usize {
    fake.requests().iter().filter(|asked| asked.path == "/connect/token").count()
}

#[tokio::test]
async fn one_token_serves_all_and_is_made_anew_once_when_it_is_refused() {
    let (fake, client) = pbx(Options { one_token: true, ..Options::default() }).await;
    let all = futures_util::future::join_all((0..8).map(|_| client.participants())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(tokens_asked(&fake), 1, "expires_in says 60 s, and exp an hour");
    fake.fail(Fault::ExpireTokens);
    let all = futures_util::future::join_all((0..8).map(|_| client.participants())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(tokens_asked(&fake), 2, "however many were refused");
}

#[tokio::test]
async fn who_is_not_let_in_learns_why_and_no_secret_is_told() {
    let (fake, _) = pbx(Options::default()).await;
    let error = client_of(&fake, "a-wrong-secret").participants().await.unwrap_err();
    assert!(matches!(error, ThreeCxError::Unauthorised(_)));
    let told = error.to_string();
    assert!(told.contains("THREECX_CLIENT_SECRET") && !told.contains("a-wrong-secret"), "{told}");
}

#[tokio::test]
async fn a_call_is_told_from_its_ring_to_its_end() {
    let (fake, client) = pbx(Options::default()).await;
    let mut watched = Watched::by(&client);
    assert_eq!(watched.next().await, Event::All(vec![]));
    let call = fake.ring(Caller::who("+31612345678", [Step::Keys("12#".into()), Step::HangUp]));
    let connected = |event: &Event| matches!(event, Event::Changed(one) if one.status == Status::Connected);
    let Event::Changed(participant) = watched.until(connected).await else { unreachable!() };
    assert_eq!((participant.id, participant.caller.as_str()), (call.id(), "+31612345678"));
    assert_eq!((participant.call_id, participant.called.as_str()), (call.call_id(), "+31201234567"));
    let keys = watched.until(|event| matches!(event, Event::Keys(..))).await;
    assert_eq!(keys, Event::Keys(call.id(), "12#".into()));
    watched.until(|event| *event == Event::Gone(call.id())).await;
}

#[tokio::test]
async fn after_a_lost_socket_all_calls_are_read_again() {
    let (fake, client) = pbx(Options::default()).await;
    let mut watched = Watched::by(&client);
    let first = fake.ring(Caller::new("+31611111111"));
    watched.until(|event| matches!(event, Event::Changed(_))).await;
    fake.fail(Fault::DropSockets);
    fake.fail(Fault::status("/callcontrol/ws", 1, 503));
    fake.fail(Fault::ExpireTokens);
    first.hang_up();
    let second = fake.ring(Caller::new("+31622222222"));
    let is_second = |list: &[Participant]| list.len() == 1 && list[0].id == second.id();
    watched.until(|event| matches!(event, Event::All(list) if is_second(list))).await;
    second.hang_up();
    watched.until(|event| *event == Event::Gone(second.id())).await;
}

#[tokio::test]
async fn a_gap_in_the_count_of_events_has_all_calls_read() {
    let (fake, client) = pbx(Options::default()).await;
    let mut watched = Watched::by(&client);
    let call = fake.ring(Caller::new("+31611111111"));
    watched.until(|event| matches!(event, Event::Changed(one) if one.status == Status::Connected)).await;
    fake.fail(Fault::MuteEvents(1));
    call.hang_up();
    let next = fake.ring(Caller::new("+31622222222"));
    let only_next = |list: &[Participant]| list.iter().all(|one| one.id == next.id());
    watched.until(|event| matches!(event, Event::All(list) if !list.is_empty() && only_next(list))).await;
}

#[tokio::test]
async fn an_action_that_was_understood_and_not_done_is_an_error() {
    let (fake, client) = pbx(Options { connects_after: None, ..Options::default() }).await;
    let call = fake.ring(Caller::new("+31612345678"));
    let refused = client.transfer(call.id(), "100").await;
    assert!(
        matches!(&refused, Err(ThreeCxError::Refused(why)) if why.contains("not connected")),
        "{refused:?}"
    );
    assert_eq!(client.listen(call.id()).await.unwrap_err(), ThreeCxError::NotYet);
    client.answer(call.id()).await.unwrap();
    client.transfer(call.id(), "100").await.unwrap();
    assert_eq!(call.over().await, Ending::Transferred("100".into()));
    assert_eq!(client.drop_call(call.id()).await, Err(ThreeCxError::Gone));
    assert_eq!(client.participant(call.id()).await, Err(ThreeCxError::Gone));
}

#[tokio::test]
async fn audio_goes_both_ways_and_ends_with_the_call() {
    let (fake, client) = pbx(Options { connects_after: None, ..Options::default() }).await;
    let steps = [Step::UntilHeard(Duration::from_millis(100)), Step::Say(vec![4_321; 1_600]), Step::HangUp];
    let call = fake.ring(Caller::who("+31612345678", steps));
    client.answer(call.id()).await.unwrap();
    let mut stream = client.listen(call.id()).await.unwrap();
    let mut speaking = client.speak(call.id()).await.unwrap();
    let loud: Vec<u8> = std::iter::repeat_n(9_000_i16.to_le_bytes(), 1_600).flatten().collect();
    assert!(speaking.send(loud.into()));
    let mut bytes = Vec::new();
    while let Some(piece) = timeout(PATIENCE, stream.next()).await.unwrap() {
        bytes.extend(piece.unwrap());
    }
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    assert_eq!(samples.iter().filter(|sample| **sample == 4_321).count(), 1_600);
    timeout(PATIENCE, speaking.ended()).await.unwrap().unwrap();
    assert_eq!(call.heard().samples.iter().filter(|sample| **sample == 9_000).count(), 1_600);
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_broken_off_and_one_that_is_not_taken_says_so() {
    let (fake, client) = pbx(Options::default()).await;
    let call = fake.ring(Caller::new("+31612345678"));
    sleep(Duration::from_millis(200)).await;
    let speaking = client.speak(call.id()).await.unwrap();
    assert!(speaking.send(Bytes::from_static(&[1; 320])));
    drop(speaking);
    let second = client.speak(call.id()).await.unwrap();
    assert!(second.send(Bytes::from_static(&[1; 320])));
    sleep(Duration::from_millis(50)).await;
    fake.fail(Fault::Line { id: call.id(), fault: LineFault::StallPost });
    let stuck = async {
        // What the sockets hold of it is some megabytes at most.
        while second.send(vec![1; 64 * 1024].into()) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, stuck).await.expect("a stream that is not read fills up");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_while_it_is_good() {
    let life = Duration::from_secs(20);
    let (fake, client) = pbx(Options { token_life: life, ..Options::default() }).await;
    client.participants().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(life * 3 / 5).await;
    tokio::time::resume();
    fake.fail(Fault::status("/connect/token", 1, 503));
    client.participants().await.unwrap();
    client.participants().await.unwrap();
    assert_eq!(tokens_asked(&fake), 3, "the second was refused, the third was not");
}
