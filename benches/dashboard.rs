//! How fast a user's figures are with a million calls, all of one owner: the worst case.
//!
//! Fills a store through the product's own functions, call by call as they are reported and looked at, and then asks for each
//! figure as the dashboard does. Beside it, the same figure as one statement over the calls and their index, without the counts
//! of days and hours that the store keeps: what they are for.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::stream::{self, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use offhook::domain::account_calls::{CallReport, Outcome, Stage};
use offhook::domain::booked::Source;
use offhook::domain::call_analysis::{Analysis, Found, INTENTS, Mention, NewAnalysis};
use offhook::domain::concurrency::Granularity;
use offhook::domain::inbound_webhooks::InboundWebhook;
use offhook::domain::lines::Page;
use offhook::domain::time::UnixMs;
use offhook::store::Store;
use offhook_benches::table::markdown;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, clap::Parser)]
#[command(name = "dashboard", about = "How fast a user's figures are with many calls in the store")]
struct Args {
    /// Calls in the store, all of one user
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// Over how many days they are spread
    #[arg(long, default_value_t = 365)]
    days: u64,
    /// Of how many of them it is known what they were about; default: of all
    #[arg(long)]
    looked_at: Option<u64>,
    /// How often each figure is asked for
    #[arg(long, default_value_t = 100)]
    times: usize,
    /// Keep the store here, and use it again the next time; default: a folder that is removed
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// When the bench takes place, as far as the calls know: 2026-02-02.
const NOW: i64 = 1_770_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// Writes that wait at once: as many as the store commits together.
const AT_ONCE: usize = 1_024;

const AGENTS: [&str; 5] = ["Customer Support", "Sales", "Reception", "Billing", "After Hours"];
const ENDS: [&str; 8] = [
    "customer-ended-call",
    "assistant-ended-call",
    "silence-timed-out",
    "customer-did-not-answer",
    "voicemail",
    "customer-busy",
    "assistant-forwarded-call",
    "exceeded-max-duration",
];

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new();
    let done = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(measure(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<(), Error> {
    let passing = tempfile::tempdir()?;
    let folder = args.data_dir.as_deref().unwrap_or(passing.path());
    let store = Arc::new(Store::open(folder, UnixMs(NOW))?);
    let began = Instant::now();
    let owner = fill(&store, args).await?;
    let filled = began.elapsed();
    let calls = store.call_summary(&owner).await?.calls;
    let looked_at: u64 = store.calls_by_intent(&owner).await?.iter().map(|count| count.calls).sum();
    let rows = figures(&store, &owner, args.times).await?;
    let plain = without_counts(folder, &owner)?;
    let mut table =
        vec![["figure", "median ms", "p99 ms", "without counts: median ms"].map(str::to_owned).to_vec()];
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    for (name, mut times) in rows {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let other = plain.get(name).map_or_else(|| "".to_owned(), |time| ms(*time));
        table.push(vec![name.to_owned(), ms(at(0.5)), ms(at(0.99)), other]);
    }
    let size = std::fs::metadata(folder.join("offhook.db"))?.len() / 1_000_000;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = std::io::stdout();
    writeln!(out, "{}", markdown(&table))?;
    writeln!(
        out,
        "{calls} calls of one user over {} days, {looked_at} of them with three keywords each; a database of {size} MB; {} times each, one after the \
         other; {cores} cores; filled in {:.0} s, call by call as they are reported.",
        args.days,
        args.times,
        filled.as_secs_f64()
    )?;
    store.close();
    Ok(())
}

/// Reports so many calls of one user, and what they were about. Goes on where an earlier run of the same folder ended.
async fn fill(store: &Arc<Store>, args: &Args) -> Result<String, Error> {
    let owner = match store.password_of("pat@example.com").await? {
        Some((owner, _)) => owner,
        None => begin(store).await?,
    };
    // What was under way when it ended is reported again, which changes nothing.
    let there = store.call_summary(&owner).await?.calls;
    let first = if there >= args.calls { args.calls } else { there.saturating_sub(2 * AT_ONCE as u64) };
    let bar = ProgressBar::new(args.calls).with_position(first);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} calls, {eta} left")?);
    let apart_ms = args.days as i64 * DAY_MS / args.calls.max(1) as i64;
    let reports = stream::iter(first..args.calls).map(|n| {
        let (store, owner) = (store.clone(), owner.clone());
        async move {
            store.report_call(&owner, "w", report(n, NOW - (n as i64 + 1) * apart_ms), UnixMs(NOW)).await
        }
    });
    let mut reports = reports.buffer_unordered(AT_ONCE);
    while let Some(done) = reports.next().await {
        done?;
        bar.inc(1);
    }
    drop(reports);
    bar.finish_and_clear();
    look_at(store, &owner, args.looked_at.unwrap_or(args.calls)).await?;
    while store.count_hours(UnixMs(NOW)).await? {}
    Ok(owner)
}

async fn begin(store: &Store) -> Result<String, Error> {
    let account = store.add_account("pat@example.com", "Pat", "no hash".into(), false, UnixMs(NOW)).await?;
    let owner = account.ok_or("the store is not empty")?.id;
    let webhook = InboundWebhook {
        id: "w".into(),
        owner: owner.clone(),
        name: "w".into(),
        token: "wh_0".into(),
        sealed: Vec::new(),
        created: UnixMs(NOW),
    };
    store.add_inbound_webhook(webhook).await?;
    Ok(owner)
}

/// What the newest of them were about: what the analyses would have written.
async fn look_at(store: &Arc<Store>, owner: &str, calls: u64) -> Result<(), Error> {
    let known: u64 = store.calls_by_intent(owner).await?.iter().map(|count| count.calls).sum();
    let bar = ProgressBar::new(calls).with_position(known);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} looked at, {eta} left")?);
    let mut offset = u32::try_from(known)?;
    while u64::from(offset) < calls {
        let limit = (calls - u64::from(offset)).min(100_000);
        let page = store.ended_calls(owner, Page { limit: Some(limit as u32), offset }).await?;
        if page.is_empty() {
            break;
        }
        offset += page.len() as u32;
        let writes = stream::iter(page.into_iter().enumerate()).map(|(n, call)| {
            let store = store.clone();
            async move { store.write_analysis(analysis(call.id, n as u64)).await }
        });
        let mut writes = writes.buffer_unordered(AT_ONCE);
        while let Some(done) = writes.next().await {
            done?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn report(n: u64, started: i64) -> CallReport {
    CallReport {
        id: format!("call-{n}"),
        stage: Stage::Ended,
        agent: Some(AGENTS[(n * 7 % 11 % 5) as usize].into()),
        customer_phone: Some(format!("+1555{:07}", n % 5_000_000)),
        started: Some(UnixMs(started)),
        // Up to ten minutes: some run beside others.
        ended: Some(UnixMs(started + 1_000 + (n * 7_919 % 600_000) as i64)),
        ended_reason: Some(ENDS[(n * 13 % 17 % 8) as usize].into()),
        summary: Some("Customer inquired about pricing and delivery.".into()),
        outcome: Some(Outcome::default()),
        ..CallReport::default()
    }
}

fn analysis(call: String, n: u64) -> NewAnalysis {
    let keyword = |n: u64| Mention {
        keyword: format!("subject {}", n % 2_000),
        sentiment: (n % 21) as f64 / 10.0 - 1.0,
    };
    let analysis = Analysis {
        intent: INTENTS[(n % 8) as usize].into(),
        sentiment: 0.1,
        keywords: vec![keyword(n), keyword(n * 31), keyword(n * 97)],
    };
    let found = Found { analysis, ..Found::default() };
    NewAnalysis { call, found, source: Source::Local, appointment: None, at: UnixMs(NOW) }
}

/// Each figure of the dashboard, and how long it took each time.
async fn figures(
    store: &Store,
    owner: &str,
    times: usize,
) -> Result<Vec<(&'static str, Vec<Duration>)>, Error> {
    let now = UnixMs(NOW);
    let page = Page { limit: Some(1_000), offset: 0 };
    let days = |days: i64| Some(UnixMs(NOW - days * DAY_MS - 1_234_567));
    let bar = ProgressBar::new(times as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} times each figure")?);
    let mut took: BTreeMap<usize, (&'static str, Vec<Duration>)> = BTreeMap::new();
    for _ in 0..times {
        let mut place = 0;
        macro_rules! time {
            ($name:literal, $ask:expr) => {{
                let began = Instant::now();
                let answer = $ask.await?;
                took.entry(place).or_insert(($name, Vec::new())).1.push(began.elapsed());
                place += 1;
                answer
            }};
        }
        let summary = time!("summary", store.call_summary(owner));
        let agents = time!("agent distribution", store.calls_by_agent(owner));
        let ends = time!("ended reasons", store.calls_by_end(owner, None, None));
        time!("ended reasons, 100 days and two parts", store.calls_by_end(owner, days(150), days(50)));
        time!("concurrent calls, with the peak", store.concurrency(owner, now));
        time!("timeseries by minute", store.concurrency_series(owner, Granularity::Minute, 1_000, now));
        time!("timeseries by hour", store.concurrency_series(owner, Granularity::Hour, 1_000, now));
        time!("timeseries by day", store.concurrency_series(owner, Granularity::Day, 1_000, now));
        time!("keywords", store.keywords(owner));
        time!("intents", store.calls_by_intent(owner));
        time!("active calls", store.running_calls(owner, page));
        time!("calls, the newest 1000", store.ended_calls(owner, page));
        time!("all users, for admins", store.server_figures(now));
        let all =
            |counts: &[offhook::domain::figures::Count]| counts.iter().map(|count| count.calls).sum::<u64>();
        if all(&agents) != summary.calls || all(&ends) != summary.calls {
            return Err("the figures do not add up".into());
        }
        let _ = place;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(took.into_values().collect())
}

/// The same as statements over the calls themselves: the median of five.
fn without_counts(folder: &Path, owner: &str) -> Result<BTreeMap<&'static str, Duration>, Error> {
    let connection = rusqlite::Connection::open(folder.join("offhook.db"))?;
    let statements = [
        (
            "summary",
            "SELECT count(*), sum(answered), sum(duration_s) FROM account_calls WHERE owner = ?1 AND ended_ms > 0",
        ),
        (
            "agent distribution",
            "SELECT agent, count(*) FROM account_calls WHERE owner = ?1 AND ended_ms > 0 GROUP BY agent",
        ),
        (
            "ended reasons",
            "SELECT ended_reason, count(*) FROM account_calls WHERE owner = ?1 AND ended_ms > 0 GROUP BY ended_reason",
        ),
        (
            "keywords",
            "SELECT keyword, count(*), avg(sentiment), max(at_ms) FROM call_keywords WHERE owner = ?1
             GROUP BY keyword ORDER BY 2 DESC LIMIT 100",
        ),
        ("intents", "SELECT intent, count(*) FROM call_analyses WHERE owner = ?1 GROUP BY intent"),
        (
            "concurrent calls, with the peak",
            "SELECT max(running) FROM (SELECT sum(change) OVER (ORDER BY at, change) AS running FROM (
                 SELECT started_ms AS at, 1 AS change FROM account_calls WHERE owner = ?1
                 UNION ALL SELECT ended_ms, -1 FROM account_calls WHERE owner = ?1 AND ended_ms > 0))",
        ),
    ];
    let mut medians = BTreeMap::new();
    for (name, statement) in statements {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let mut query = connection.prepare(statement)?;
            let mut rows = query.query([owner])?;
            while rows.next()?.is_some() {}
            times.push(began.elapsed());
        }
        times.sort_unstable();
        medians.insert(name, times[2]);
    }
    Ok(medians)
}
