//! What the control plane answers beside running calls, and whether it makes their frames late.
//!
//! `offhook serve --speech canned` runs with all of its threads on the first core; callers, and clients that each ask again as
//! soon as they have their answer, on the last. So requests and calls compete for one core, and clients take what is left. The
//! requests are what operators' programs do all day: lists and single things read, contacts and webhooks written. The
//! first rows are of a server without calls; in each pair of the others the calls are the same, without requests and with.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use offhook_benches::load::requests::{Asked, Kind, ask, ask_in_turn, connect, request};
use offhook_benches::load::{Audio, Error, Lateness, Load, SILENCE, Server, Target, Times, pinned, run};
use offhook_benches::table::markdown;
use offhook_engine::sim::voiced;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::Value;

/// A form that is written by hand.
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
/// Contacts that are there to be listed.
const CONTACTS: usize = 200;

#[derive(Debug, clap::Parser)]
#[command(
    name = "control_plane",
    about = "Requests a second beside running calls, and how late they make the calls' frames",
    after_help = "Build the server first: cargo build --release --bin offhook"
)]
struct Args {
    /// Numbers of calls, two rows each: without requests, and with
    #[arg(long, value_delimiter = ',', default_value = "50,200")]
    calls: Vec<usize>,
    /// Clients that ask at once
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// How long each window lasts, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The server to measure
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/offhook"))]
    server: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            let _ = writeln!(std::io::stderr(), "{failed} requests failed");
            ExitCode::FAILURE
        }
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What one window came to.
struct Row {
    asked: Option<Vec<Asked>>,
    lateness: Option<Lateness>,
}

/// Prints the tables; returns how many requests failed.
fn measure(args: &Args) -> Result<usize, Error> {
    if !args.server.exists() {
        let server = args.server.display();
        return Err(format!("{server} is not there: cargo build --release --bin offhook").into());
    }
    let _ = rlimit::increase_nofile_limit(65_536);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let fakes = runtime.block_on(FakeVendors::start());
    let google = fakes.base_url(Vendor::Google);
    let windows: Vec<(usize, bool)> = [(0, true)]
        .into_iter()
        .chain(args.calls.iter().flat_map(|&calls| [(calls, false), (calls, true)]))
        .collect();
    let bar = ProgressBar::new(windows.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?);
    let mut table = vec![HEAD.map(str::to_owned).to_vec()];
    let (mut kinds, mut failed) = (Vec::new(), 0);
    for (calls, with_requests) in windows {
        bar.set_message(format!("{calls} calls{}", if with_requests { ", with requests" } else { "" }));
        let (first, last) = (cores.first().copied(), cores.last().copied());
        let row = pinned(last, || run_row(args, first, &google, calls, with_requests))?;
        bar.inc(1);
        failed += row.asked.iter().flatten().map(|asked| asked.failed).sum::<usize>();
        table.push(cells(args, calls, &row));
        kinds.extend(row.asked.map(|asked| (calls, asked)));
    }
    bar.finish_and_clear();
    let mut by_kind = vec![["request", "calls", "answered", "p50 ms", "p99 ms"].map(str::to_owned).to_vec()];
    for (at, name) in NAMES.into_iter().enumerate() {
        for (calls, asked) in &kinds {
            let times = &asked[at].times;
            let row = [
                name.to_owned(),
                calls.to_string(),
                times.count().to_string(),
                ms(times, 0.5),
                ms(times, 0.99),
            ];
            by_kind.push(row.to_vec());
        }
    }
    write!(std::io::stdout(), "{}\n{}", markdown(&table), markdown(&by_kind))?;
    Ok(failed)
}

fn run_row(
    args: &Args,
    core: Option<core_affinity::CoreId>,
    google: &str,
    calls: usize,
    with_requests: bool,
) -> Result<Row, Error> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        "[vendors.google]\nbase_url = '{google}'\nclient_id = 'cid'\nclient_secret = 'the-secret-of-cid'\n"
    );
    std::fs::write(folder.path().join("offhook.toml"), config)?;
    let server = Server::start(&args.server, core, folder.path(), |port| {
        let listen = format!("127.0.0.1:{port}");
        let arguments = ["serve", "--speech", "canned", "--data-dir", "data", "--listen", &listen];
        arguments.map(str::to_owned).to_vec()
    })?;
    let port = server.port();
    let owner = Owner::sign_in(port)?;
    let kinds = owner.kinds();
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let window = Duration::from_secs(args.seconds);
    let clients = if with_requests { args.clients } else { 0 };
    let asking = || ask_in_turn(port, clients, &kinds, &begun, &over);
    if calls == 0 {
        begun.store(true, Ordering::Release);
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(asking);
            std::thread::sleep(window);
            over.store(true, Ordering::Relaxed);
            asking.join().map_err(|_| "a client panicked")?
        })?;
        return Ok(Row { asked: Some(asked), lateness: None });
    }
    let load = Load {
        target: Target::Offhook(port),
        calls,
        ramp_per_second: 250.0,
        settle: Duration::from_secs(5),
        window,
        seed: 20_261_126,
    };
    let speech = voiced(Duration::from_secs(1));
    let (mut before, mut after) = (String::new(), String::new());
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(asking);
        let heard = run(
            load,
            Audio { speech: &speech, pause: &SILENCE },
            || {
                before = server.metrics()?;
                begun.store(true, Ordering::Release);
                Ok(())
            },
            || {
                after = server.metrics()?;
                Ok(())
            },
        );
        // However the load ended, the clients end with it.
        begun.store(true, Ordering::Release);
        over.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| "a client panicked")??;
        if heard?.lost > 0 {
            return Err(Error::from("calls were lost"));
        }
        Ok(asked)
    })?;
    let lateness = Server::lateness(&before, &after).ok_or("no frame was counted in /metrics")?;
    Ok(Row { asked: with_requests.then_some(asked), lateness: Some(lateness) })
}

/// Somebody with a client of FrontDesk's.
struct Owner {
    bearer: String,
    client: String,
}

impl Owner {
    /// Signs in at the double of Google, where everybody consents at once.
    fn sign_in(port: u16) -> Result<Self, Error> {
        let mut server = connect(port)?;
        let mut said = |method: &str, path: &str, headers: &str, body: &str| -> Result<Value, Error> {
            let answer = ask(&mut server, &request(method, path, headers, body))?;
            match answer.status() {
                200 | 201 => Ok(serde_json::from_slice(&answer.body)?),
                _ => Err(format!("{path}: {} {}", answer.head, String::from_utf8_lossy(&answer.body)).into()),
            }
        };
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("an answer lacks a text");
        let begun = said("POST", "/frontdesk/auth/google/initiate", "", "")?;
        let query = consent(&text(&begun["authorization_url"])?)?;
        let signed_in = said("GET", &format!("/frontdesk/auth/google/callback?{query}"), "", "")?;
        let bearer = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            text(&signed_in["access_token"])?
        );
        let body = r#"{"name": "Acme", "phone_number": "+15550000001"}"#;
        let client = text(&said("POST", "/frontdesk/api/clients", &bearer, body)?["id"])?;
        for number in 0..CONTACTS {
            said("POST", NEW_CONTACT, &bearer, &contact(&client, number))?;
        }
        Ok(Self { bearer, client })
    }

    /// What is asked, in turn, by the names of [`NAMES`].
    fn kinds(&self) -> Vec<Kind<'_>> {
        let Self { bearer, client } = self;
        let listed = format!("/frontdesk/api/clients/{client}/contacts?limit=50");
        let make: [Box<dyn Fn(usize) -> Vec<u8> + Sync + '_>; 7] = [
            Box::new(|_| request("GET", "/health", "", "")),
            Box::new(|_| request("GET", "/v1/calls?limit=20", "", "")),
            Box::new(|_| request("GET", "/frontdesk/api/clients", bearer, "")),
            Box::new(move |_| request("GET", &listed, bearer, "")),
            Box::new(|number| request("POST", NEW_CONTACT, bearer, &contact(client, CONTACTS + number))),
            Box::new(|number| {
                let body = format!(
                    r#"{{"event_type": "IncomingCall", "call_id": "b{number}", "caller_id": "+15550100", "direction": "In"}}"#
                );
                request("POST", "/voiceclone/webhook/3cx", "Content-Type: application/json\r\n", &body)
            }),
            Box::new(|number| {
                let body = format!(
                    "CallSid=CAb{number:031x}&AccountSid=AC1&From=%2B15550100&To=%2B15550101&CallStatus=ringing"
                );
                request("POST", "/api/callbot/incoming-call", FORM, &body)
            }),
        ];
        NAMES.into_iter().zip(make).map(|(name, make)| Kind { name, make }).collect()
    }
}

const NAMES: [&str; 7] = [
    "health",
    "list of calls",
    "list of clients",
    "list of contacts",
    "new contact",
    "3CX's webhook",
    "Twilio's webhook",
];

const NEW_CONTACT: &str = "/frontdesk/api/contacts";

fn contact(client: &str, number: usize) -> String {
    let number = 2_000_000 + number;
    format!(r#"{{"client_id": "{client}", "phone_number": "+1555{number:07}", "name": "Somebody"}}"#)
}

/// Goes where a browser is sent; the query that it comes back with.
fn consent(url: &str) -> Result<String, Error> {
    let rest = url.strip_prefix("http://").ok_or("the double has no TLS")?;
    let (host, path) = rest.split_once('/').ok_or("a URL without a path")?;
    let (_, port) = host.rsplit_once(':').ok_or("a URL without a port")?;
    let answer = ask(&mut connect(port.parse()?)?, &request("GET", &format!("/{path}"), "", ""))?;
    let location = answer.header("location").ok_or("nobody consents")?;
    Ok(location.split_once('?').ok_or("a redirect without a query")?.1.to_owned())
}

const HEAD: [&str; 6] = [
    "calls",
    "clients",
    "requests a second",
    "answered within p50 / p99",
    "frames late p50 / p99 / p99.9 / max",
    "failed",
];

fn cells(args: &Args, calls: usize, row: &Row) -> Vec<String> {
    let none = || "–".to_owned();
    let mut all = Times::default();
    let (mut failed, mut clients) = (0, 0);
    if let Some(asked) = &row.asked {
        clients = args.clients;
        for one in asked {
            all.append(one.times.clone());
            failed += one.failed;
        }
    }
    let late = row
        .lateness
        .as_ref()
        .map(|late| format!("{} / {} / {} / {} ms", late.p50_ms, late.p99_ms, late.p999_ms, late.max_ms));
    let is_asked = clients > 0;
    vec![
        calls.to_string(),
        clients.to_string(),
        if is_asked { format!("{:.0}", all.count() as f64 / args.seconds as f64) } else { none() },
        if is_asked { format!("{} / {} ms", ms(&all, 0.5), ms(&all, 0.99)) } else { none() },
        late.unwrap_or_else(none),
        failed.to_string(),
    ]
}

fn ms(times: &Times, share: f64) -> String {
    times.quantile_ms(share).map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"))
}
