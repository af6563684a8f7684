//! One call over real sockets: announce it, open the media stream, keep it going on time, tell how it ended.
//!
//! One task per call and one timer per task. The clock is absolute: frame n is due 20 ms × (n + 1) after the stream began,
//! so that lateness never adds up; frames that are late leave together, as carriers' bursts do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use uuid::Uuid;

use super::line::{Happening, Line, Names, What};
use super::report::{CallReport, EndedBy, Lateness};
use super::time::{FRAME, HZ, LineTime, duration_of};
use super::twiml::{self, Answer};
use super::webhook::{Form, SIGNATURE_HEADER, SIMULATOR_HEADER, Webhooks};
use super::{CallPlan, CallerError};
use crate::integrations::dial::{Socket, TLS, dial};

/// A media socket must be open by then.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that is told of the end has this long to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that reads nothing for so long after the call's longest duration has lost it.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// What one connection reads at a time, in bytes. Small, as hundreds of calls may run at once.
const READ_BUFFER: usize = 8 * 1024;

/// The largest message that is taken, in bytes: a minute and a half of audio.
const MESSAGE_MAX: usize = 1024 * 1024;

/// Places one call, from the announcement to the report on how it ended.
///
/// `observer` is told of what happens as it happens, on the call's task: it must not block. The call ends by itself after
/// [`CallPlan::max_duration`] at the latest. Errors if no conversation came about; a conversation that broke off is a report.
pub async fn place(
    plan: CallPlan,
    observer: impl FnMut(&Happening) + Send,
) -> Result<CallReport, CallerError> {
    Carrier::of(&plan)?.place(plan, Instant::now(), &Stop::default(), observer).await
}

/// Ends calls that are running. Clones are one switch.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Ends all calls that look at this switch, within a frame; those that are not up yet are given up.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// True once it was used.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Until it is used.
    pub async fn stopped(&self) {
        // The sender is here, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

/// A carrier that places calls with one server, any number at once, over shared connections for its webhooks.
#[derive(Clone)]
pub struct Carrier {
    webhooks: Webhooks,
    tls: TlsConnector,
}

impl Carrier {
    /// For the server of `plan` and of others like it.
    pub fn of(plan: &CallPlan) -> Result<Self, CallerError> {
        Self::with_tls(plan, TLS.clone())
    }

    fn with_tls(plan: &CallPlan, tls: ClientConfig) -> Result<Self, CallerError> {
        let webhooks = Webhooks::with_tls(plan, tls.clone())?;
        Ok(Self { webhooks, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// Its HTTP side.
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// Places one call, as [`place`] does. `plan` names the server that this carrier is for. `intended`: when the call was to
    /// be placed, from which its setup counts.
    pub async fn place(
        &self,
        plan: CallPlan,
        intended: Instant,
        stop: &Stop,
        mut observer: impl FnMut(&Happening) + Send,
    ) -> Result<CallReport, CallerError> {
        let call_sid = plan.call_sid.clone().unwrap_or_else(new_call_sid);
        let announced = Instant::now();
        let ending = Ending { plan: &plan, webhooks: &self.webhooks, call_sid: &call_sid };
        let setup = async {
            let (url, parameters) = announce(&plan, &self.webhooks, &call_sid).await?;
            let webhook_took = announced.elapsed();
            match self.open_in_time(&plan, &url).await {
                Ok(socket) => Ok((url, parameters, webhook_took, socket)),
                Err(error) => {
                    ending.tell(Duration::ZERO).await;
                    Err(error)
                }
            }
        };
        let (stream_url, parameters, webhook_took, socket) = tokio::select! {
            up = setup => up?,
            () = stop.stopped() => {
                // Who stops a test does not wait for a server that answers nothing.
                let _ = timeout(CLOSE_TIMEOUT, ending.tell(Duration::ZERO)).await;
                return Err(CallerError::Stopped);
            }
        };
        let socket_took = announced.elapsed() - webhook_took;
        let names = Names {
            account_sid: plan.account_sid.clone(),
            call_sid: call_sid.clone(),
            stream_sid: format!("MZ{}", Uuid::new_v4().simple()),
            parameters,
        };
        let stream_sid = names.stream_sid.clone();
        let what = What::Answered { call_sid: call_sid.clone(), stream_url: stream_url.clone() };
        observer(&Happening { at: LineTime::ZERO, what });

        let ends_at = LineTime::from_duration(plan.max_duration);
        let line = Line::begin(names, plan.script.clone(), plan.manners, plan.keep, ends_at);
        let mut stream = Stream { line, socket, began: Instant::now(), lateness: Lateness::default(), stop };
        let longest = plan.max_duration + STUCK_AFTER;
        if timeout(longest, stream.run(&mut observer)).await.is_err() {
            let why = "the server stopped reading from it".into();
            stream.line.end(stream.now(), EndedBy::Lost(why));
        }
        let end = stream.now();
        stream.observe(&mut observer);
        // A server that closes late, or not at all, changes nothing about the call.
        let _ = timeout(CLOSE_TIMEOUT, stream.close()).await;
        let Stream { line, lateness, .. } = stream;
        let status_failed = ending.tell(end.as_duration()).await;

        let ended_by = line.over().cloned().unwrap_or(EndedBy::MaxDuration);
        let seen = line.into_seen(end);
        Ok(CallReport {
            call_sid,
            stream_sid,
            stream_url,
            announced_late: announced.saturating_duration_since(intended),
            webhook_took,
            socket_took,
            duration: end.as_duration(),
            ended_by,
            turns: seen.turns,
            unanswered: seen.unanswered.into_iter().map(duration_of).collect(),
            said: seen.said,
            unsaid: seen.unsaid,
            barge_ins: seen.barge_ins,
            playout: seen.playout,
            frames_sent: seen.frames_sent,
            media_received: seen.media_received,
            samples_received: seen.samples_received,
            lateness,
            faults: seen.faults,
            fault_count: seen.fault_count,
            log: seen.log,
            log_dropped: seen.log_dropped,
            recording: seen.recording,
            status_failed,
        })
    }

    async fn open_in_time(&self, plan: &CallPlan, url: &str) -> Result<Socket, CallerError> {
        let dialled = plan.stream_url.clone().unwrap_or_else(|| plainly(self.webhooks.base(), url));
        timeout(SOCKET_TIMEOUT, open(&self.webhooks, &self.tls, url, &dialled)).await.unwrap_or_else(|_| {
            let why = format!("not open after {} s", SOCKET_TIMEOUT.as_secs());
            Err(CallerError::Socket { url: dialled.clone(), why })
        })
    }
}

/// The stream's address as it is dialled. A server that is called plainly, at `http://`, and names a secure stream at its own
/// address has taken that address from the request's `Host` and the scheme from its examples: no TLS answers there.
fn plainly(base: &str, stream_url: &str) -> String {
    let same = |base: &str, url: &str| {
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        base.strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .is_some_and(|own| own.eq_ignore_ascii_case(authority))
    };
    match stream_url.strip_prefix("wss://") {
        Some(rest) if same(base, rest) => format!("ws://{rest}"),
        _ => stream_url.to_owned(),
    }
}

/// A fresh name for a call: `CA` and 32 hex digits.
pub fn new_call_sid() -> String {
    format!("CA{}", Uuid::new_v4().simple())
}

/// Posts the announcement, and reads where the audio shall go.
async fn announce(
    plan: &CallPlan,
    webhooks: &Webhooks,
    call_sid: &str,
) -> Result<(String, Vec<(String, String)>), CallerError> {
    let mut form = call_form(plan, call_sid);
    form.push(("CallStatus", "ringing".into()));
    let reply = webhooks.post(&plan.incoming_path, &form).await?;
    let url = format!("{}{}", webhooks.base(), plan.incoming_path);
    if !reply.status.is_success() {
        return Err(CallerError::Status { url, status: reply.status.as_u16(), body: reply.body });
    }
    match twiml::read(&reply.body) {
        Ok(Answer::Stream { url, parameters }) => Ok((url, parameters)),
        Ok(Answer::Other(said)) => Err(CallerError::NoStream { said }),
        Err(source) => Err(CallerError::Twiml { url, source }),
    }
}

fn call_form(plan: &CallPlan, call_sid: &str) -> Form {
    vec![
        ("CallSid", call_sid.to_owned()),
        ("AccountSid", plan.account_sid.clone()),
        ("ApiVersion", "2010-04-01".into()),
        ("From", plan.from.clone()),
        ("To", plan.to.clone()),
        ("Caller", plan.from.clone()),
        ("Called", plan.to.clone()),
        ("Direction", "inbound".into()),
    ]
}

/// The word to the server that the call is over.
struct Ending<'a> {
    plan: &'a CallPlan,
    webhooks: &'a Webhooks,
    call_sid: &'a str,
}

impl Ending<'_> {
    /// Posts the status; returns why that failed, if it did.
    async fn tell(&self, duration: Duration) -> Option<String> {
        let path = self.plan.status_path.as_deref()?;
        let mut form = call_form(self.plan, self.call_sid);
        form.push(("CallStatus", "completed".into()));
        form.push(("CallDuration", duration.as_secs().to_string()));
        form.push(("Duration", duration.as_secs().div_ceil(60).to_string()));
        form.push(("SequenceNumber", "0".into()));
        form.push(("CallbackSource", "call-progress-events".into()));
        form.push((
            "Timestamp",
            jiff::fmt::rfc2822::to_string(&jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC))
                .unwrap_or_default(),
        ));
        match self.webhooks.post(path, &form).await {
            Ok(reply) if reply.status.is_success() => None,
            Ok(reply) => Some(format!("{path} answered {}", reply.status)),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Opens the media socket at `dialled`. `url`: as the server named it, which is what a signature is made for.
async fn open(
    webhooks: &Webhooks,
    tls: &TlsConnector,
    url: &str,
    dialled: &str,
) -> Result<Socket, CallerError> {
    let failed = |why: String| CallerError::Socket { url: dialled.to_owned(), why };
    let mut request = dialled.into_client_request().map_err(|e| failed(e.to_string()))?;
    if let Some(signature) = webhooks.sign_socket(url) {
        let signature = HeaderValue::try_from(signature).expect("base64 is printable ASCII");
        request.headers_mut().insert(SIGNATURE_HEADER, signature);
    }
    if let Some(token) = webhooks.simulator_token() {
        request.headers_mut().insert(SIMULATOR_HEADER, token.clone());
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let (socket, _) = dial(request, tls, config).await.map_err(|error| failed(error.to_string()))?;
    Ok(socket)
}

/// A line and its socket.
struct Stream<'a> {
    line: Line,
    socket: Socket,
    began: Instant,
    lateness: Lateness,
    stop: &'a Stop,
}

impl Stream<'_> {
    fn now(&self) -> LineTime {
        LineTime::from_duration(self.began.elapsed())
    }

    fn instant(&self, at: LineTime) -> Instant {
        self.began + at.as_duration()
    }

    /// Runs until the call is over.
    async fn run(&mut self, observer: &mut (impl FnMut(&Happening) + Send)) {
        let timer = sleep_until(self.began);
        tokio::pin!(timer);
        loop {
            if let Err(error) = self.send().await {
                self.line.end(self.now(), lost_or_closed(error));
            }
            self.observe(observer);
            if self.line.over().is_some() {
                return;
            }
            // What comes in seldom changes what is due next, and setting a timer takes a lock.
            let due = self.instant(self.line.next_deadline());
            if timer.deadline() != due || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = &mut timer => self.on_time(),
                message = self.socket.next() => self.on_message(message),
            }
        }
    }

    fn on_time(&mut self) {
        let woke = Instant::now();
        let sent = self.line.frames_sent();
        self.line.on_time(LineTime::from_duration(woke - self.began));
        for frame in sent..self.line.frames_sent() {
            let due = self.began + duration_of((frame + 1) * FRAME as u64);
            self.lateness.record(woke.saturating_duration_since(due));
        }
        if self.stop.is_stopped() {
            self.line.end(LineTime::from_duration(woke - self.began), EndedBy::Stopped);
        }
    }

    fn on_message(&mut self, message: Option<Result<Message, WsError>>) {
        let now = self.now();
        match message {
            Some(Ok(Message::Text(text))) => self.line.on_text(now, &text),
            Some(Ok(Message::Binary(bytes))) => self.line.on_binary(bytes.len()),
            Some(Ok(Message::Close(frame))) => self.line.end(now, closed(frame.as_ref())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => self.line.end(now, lost_or_closed(error)),
            None => self.line.end(now, EndedBy::Lost("it ended without a close".into())),
        }
    }

    async fn send(&mut self) -> Result<(), WsError> {
        let mut any = false;
        for text in self.line.take_outbox() {
            self.socket.feed(Message::text(text)).await?;
            any = true;
        }
        if any { self.socket.flush().await } else { Ok(()) }
    }

    fn observe(&mut self, observer: &mut (impl FnMut(&Happening) + Send)) {
        for happening in self.line.take_happenings() {
            observer(&happening);
        }
    }

    /// Says the last word, and waits for the server's.
    async fn close(&mut self) -> Result<(), WsError> {
        self.send().await?;
        self.socket.close(None).await?;
        while let Some(message) = self.socket.next().await {
            message?;
        }
        Ok(())
    }
}

/// A stream that ends well is closed with 1000, or without a code (RFC 6455, 7.4.1); any other code says what went wrong.
fn closed(frame: Option<&CloseFrame>) -> EndedBy {
    match frame {
        Some(CloseFrame { code, reason }) if *code != CloseCode::Normal => {
            EndedBy::Lost(format!("the server closed it with {}: {reason}", u16::from(*code)))
        }
        _ => EndedBy::Server,
    }
}

fn lost_or_closed(error: WsError) -> EndedBy {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => EndedBy::Server,
        error => EndedBy::Lost(error.to_string()),
    }
}

const _: () = assert!(FRAME as u64 * 50 == HZ, "a frame is 20 ms");

#[cfg(test)]
mod tests {
    use offhook_codecs::wire::Event;
    use offhook_codecs::wire::twilio;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{RootCertStore, ServerConfig};

    use super::super::script::{Item, Script, Speech};
    use super::super::{Keep, Manners, STATUS_PATH};
    use super::*;

    const TONE: u8 = 0x80;

    fn script() -> Script {
        let speech = Speech::Audio(vec![TONE; 2_400].into());
        Script { items: vec![Item::new("hello", speech)].into(), ..Script::default() }
    }

    /// Answers one HTTP request with `body`, and returns the request.
    async fn answer_http(listener: &TcpListener, status: &str, body: &str) -> String {
        let (tcp, _) = listener.accept().await.unwrap();
        answer_on(tcp, status, body).await
    }

    async fn answer_on(mut tcp: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: &str) -> String {
        let mut request = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let read = tcp.read(&mut buffer).await.unwrap();
            request.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                break;
            }
        }
        let length = body.len();
        let reply =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        tcp.write_all(reply.as_bytes()).await.unwrap();
        tcp.flush().await.unwrap();
        String::from_utf8(request).unwrap()
    }

    /// A bot that greets with 300 ms of tone, waits for its mark and then for the caller, answers, and hangs up after the
    /// second mark.
    async fn bot(listener: TcpListener) -> (String, Vec<String>, String) {
        let address = listener.local_addr().unwrap();
        let twiml = format!(
            "<Response><Connect><Stream url=\"ws://{address}/media\"><Parameter name=\"token\" value=\"t1\"/>\
             </Stream></Connect></Response>"
        );
        let announcement = answer_http(&listener, "200 OK", &twiml).await;
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        let mut seen = Vec::new();
        let mut stream = String::new();
        let mut spoke = false;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let message = twilio::parse(&text).unwrap();
            let speak = match message.event {
                Event::Connected => false,
                Event::Start(start) => {
                    stream = message.stream.unwrap().into_owned();
                    seen.push(format!("start {}={}", start.parameters[0].0, start.parameters[0].1));
                    true
                }
                Event::Media(media) => {
                    let mut ulaw = [0; 160];
                    let voiced =
                        twilio::decode_base64(&media.payload, &mut ulaw).unwrap() == 160 && ulaw[0] == TONE;
                    let ended = spoke && !voiced;
                    spoke = voiced;
                    if ended {
                        seen.push("caller spoke".into());
                    }
                    ended
                }
                Event::Mark { name } => {
                    seen.push(format!("mark {name}"));
                    if seen.len() == 4 {
                        break;
                    }
                    false
                }
                other => panic!("{other:?}"),
            };
            if speak {
                for part in [vec![TONE; 1_000], vec![TONE; 1_400]] {
                    let mut text = Vec::new();
                    twilio::write_media(&mut text, &stream, &part);
                    socket.send(Message::text(String::from_utf8(text).unwrap())).await.unwrap();
                }
                let mut text = Vec::new();
                twilio::write_mark(&mut text, &stream, &format!("m{}", seen.len()));
                socket.send(Message::text(String::from_utf8(text).unwrap())).await.unwrap();
            }
        }
        let _ = socket.close(None).await;
        let status = answer_http(&listener, "200 OK", "").await;
        (announcement, seen, status)
    }

    #[test]
    fn only_a_normal_close_is_a_call_that_ended_well() {
        let frame = |code: u16| CloseFrame { code: code.into(), reason: "engine-fault".into() };
        assert_eq!(closed(None), EndedBy::Server);
        assert_eq!(closed(Some(&frame(1000))), EndedBy::Server);
        for code in [1001, 1002, 1003, 1008, 1011, 4000] {
            let EndedBy::Lost(why) = closed(Some(&frame(code))) else { panic!("{code} is no good end") };
            assert!(why.contains(&code.to_string()) && why.contains("engine-fault"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_call_goes_from_announcement_to_status_with_a_bot_on_real_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let bot = tokio::spawn(bot(listener));
        let plan = CallPlan {
            auth_token: Some("secret".into()),
            keep: Keep { recording: true, log: true },
            max_duration: Duration::from_secs(30),
            ..CallPlan::new(base, script())
        };
        let mut observed = 0;
        let report = place(plan, |_| observed += 1).await.unwrap();
        let (announcement, seen, status) = bot.await.unwrap();
        assert_eq!(seen, ["start token=t1", "mark m1", "caller spoke", "mark m3"]);
        assert!(announcement.starts_with("POST /api/callbot/incoming-call HTTP/1.1\r\n"), "{announcement}");
        assert!(announcement.contains("x-twilio-signature: "), "{announcement}");
        assert!(announcement.contains("From=%2B15005550009"), "{announcement}");
        assert!(announcement.contains(&format!("CallSid={}", report.call_sid)), "{announcement}");
        assert!(status.starts_with(&format!("POST {STATUS_PATH} HTTP/1.1")), "{status}");
        assert!(status.contains("CallStatus=completed"), "{status}");
        assert_eq!(report.ended_by, EndedBy::Server);
        assert_eq!((report.turns.len(), report.said.len(), report.unsaid), (2, 1, 0));
        assert_eq!(report.turns[0].duration(), Duration::from_millis(300));
        assert!(report.turns[1].response().is_some());
        assert_eq!((report.playout.underruns, report.fault_count), (0, 0), "{:?}", report.faults);
        assert_eq!(report.samples_received, 4_800);
        assert_eq!(report.lateness.frames(), report.frames_sent);
        assert!(report.recording.unwrap().agent.len() as u64 >= 4_800);
        assert!(report.status_failed.is_none());
        assert!(observed >= 6, "{observed}");
    }

    #[test]
    fn a_secure_stream_at_the_address_of_a_plain_server_is_dialled_plainly() {
        let base = "http://127.0.0.1:8080";
        for (url, dialled) in [
            ("wss://127.0.0.1:8080/media", "ws://127.0.0.1:8080/media"),
            ("wss://127.0.0.1:8080?a=b", "ws://127.0.0.1:8080?a=b"),
            ("ws://127.0.0.1:8080/media", "ws://127.0.0.1:8080/media"),
            ("wss://127.0.0.1:80801/media", "wss://127.0.0.1:80801/media"),
            ("wss://voice.example.com/media", "wss://voice.example.com/media"),
        ] {
            assert_eq!(plainly(base, url), dialled);
        }
        assert_eq!(plainly("https://host", "wss://host/media"), "wss://host/media");
        assert_eq!(plainly("http://HOST:1", "wss://host:1/m"), "ws://host:1/m");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = place(CallPlan::new(base, script()), |_| {}).await.unwrap_err();
        assert!(matches!(error, CallerError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("offhook serve"), "{error}");
    }

    fn trusting_the_tests_authority() -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(include_bytes!("testdata/ca.pem")).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn acceptor() -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    #[tokio::test]
    async fn a_call_goes_through_tls_on_both_of_its_sides() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let acceptor = acceptor();
            let twiml =
                format!("<Response><Connect><Stream url=\"wss://{address}/media\"/></Connect></Response>");
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            answer_on(tls, "200 OK", &twiml).await;
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(tls).await.unwrap();
            let mut messages = 0;
            while let Some(Ok(message)) = socket.next().await {
                messages += usize::from(message.is_text());
            }
            messages
        });
        let manners = Manners {
            patience: Duration::from_millis(100),
            linger: Duration::from_millis(100),
            ..Manners::default()
        };
        let plan =
            CallPlan { status_path: None, manners, ..CallPlan::new(format!("https://{address}"), script()) };
        let carrier = Carrier::with_tls(&plan, trusting_the_tests_authority()).unwrap();
        let report = carrier.place(plan, Instant::now(), &Stop::default(), |_| {}).await.unwrap();
        assert_eq!((&report.ended_by, report.said.len()), (&EndedBy::Caller, 1));
        let messages = server.await.unwrap();
        assert_eq!(messages as u64, report.frames_sent + 3, "connected, start, frames, stop");
    }

    #[tokio::test]
    async fn a_server_that_nobody_vouches_for_is_not_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let _ = acceptor().accept(tcp).await;
        });
        let plan = CallPlan { status_path: None, ..CallPlan::new(format!("https://{address}"), script()) };
        let error = place(plan, |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("TLS failed") && error.contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn answers_without_a_stream_are_told_as_they_are() {
        for (status, body, wanted) in [
            ("200 OK", "<Response><Say>Closed.</Say></Response>", "Closed."),
            ("200 OK", "hello", "no XML"),
            ("403 Forbidden", "{\"error\":1}", "TWILIO_AUTH_TOKEN"),
            ("500 Oops", "", "an empty body"),
            ("429 Too Many Requests", "{}", "OFFHOOK_RATE_LIMITS=off"),
            ("200 OK", "<Response><Connect><Stream url=\"tel:1\"/></Connect></Response>", "ws://"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let server = async {
                answer_http(&listener, status, body).await;
                drop(listener);
            };
            let plan = CallPlan { status_path: None, ..CallPlan::new(base, script()) };
            let (error, ()) = tokio::join!(place(plan, |_| {}), server);
            let text = error.unwrap_err().to_string();
            assert!(text.contains(wanted), "{body}: {text}");
        }
    }
}
