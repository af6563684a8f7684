//! A load test: many calls at once to one server, by a schedule, and what they measured together.
//!
//! ```text
//!  Dialer ──► one task per call: Carrier::place ──► CallReport ──► Measures, CallOutcome ──► LoadResult
//!  (when)        └─► Progress (counters, live)                     (once per call)
//! ```
//!
//! [`start`] begins a test on the async runtime that it is called on; the test goes on by itself until its schedule is done or
//! it is stopped. Each frame of each call leaves on an absolute clock, and how late it left is measured: where a test's own
//! frames are late, its other figures are no better, and [`LoadResult::bottleneck`] says so.
//!
//! | file | is | |
//! |---|---|---|
//! | `dial.rs` | when calls are placed | virtual time |
//! | `progress.rs` | counters while it runs | |
//! | `measures.rs` | histograms, and what counts for answers that never came | |
//! | `slo.rs` | objectives, and what a test says to them | |
//! | `expect.rs` | what the agent recorded, against what it should have | |
//! | `search.rs` | the most calls that hold an objective | |
//! | `own.rs`, `cost.rs` | what the test costs its own process, and the server | |

pub mod cost;
pub mod dial;
pub mod expect;
pub mod measures;
pub mod own;
pub mod progress;
pub mod search;
pub mod slo;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::dial::{Dial, Dialer};
use super::carrier::{Carrier, Stop, new_call_sid};
use super::report::{CallReport, EndedBy};
use super::scenario::CallerScenario;
use super::{CallPlan, CallerError, INCOMING_PATH, Keep};
pub use dial::Schedule;
pub use expect::Expectations;
pub use measures::{Measures, Timed};
pub use progress::{Counts, Progress};
pub use slo::{Slo, Verdict};

/// Frames of the test itself that are later than this, for one in a hundred: it was the bottleneck. One frame's time.
pub const LATENESS_MAX: Duration = Duration::from_millis(20);

/// A process that keeps this share of its processors busy has none left.
pub const CPU_MAX: f64 = 0.9;

/// A load test to run.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// What all calls have in common: the server, who is called, the longest duration. Script, manners, name and recording are
    /// the scenario's and the test's business, whatever it says of them.
    pub call: CallPlan,
    /// What callers say. Where it names an agent, and `call` has the usual webhook, the server is asked for that agent
    /// (`?scenario=…`).
    pub scenario: Arc<CallerScenario>,
    /// Who calls: one number after another, over and over. Empty: `call.from`.
    pub numbers: Vec<String>,
    /// How many calls, and when.
    pub schedule: Schedule,
    /// The same seed gives the same phases between calls.
    pub seed: u64,
}

/// A load test that runs. Dropping it does not end it.
#[derive(Debug)]
pub struct LoadRun {
    progress: Arc<Progress>,
    stop: Stop,
    task: JoinHandle<LoadResult>,
}

impl LoadRun {
    /// Counters while it runs. They stay readable after.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Ends the test early: its calls hang up, and what was measured until then is the result.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// The switch behind [`LoadRun::stop`], for whoever does not hold the run.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// The result, once all calls are over. An error means that the test itself broke down, which is a bug.
    pub async fn finish(self) -> Result<LoadResult, CallerError> {
        self.task.await.map_err(|error| CallerError::Broken { why: error.to_string() })
    }
}

/// Begins a load test on the runtime that this is called on.
///
/// Errors if the server's address or a token is not one: then nothing was dialled. Calls that fail are part of the result.
pub fn start(plan: LoadPlan) -> Result<LoadRun, CallerError> {
    let carrier = Carrier::of(&plan.call)?;
    let progress = match plan.schedule {
        Schedule::Once { .. } => Progress::keeping_calls(),
        Schedule::Hold { .. } => Progress::default(),
    };
    let (progress, stop) = (Arc::new(progress), Stop::default());
    let task = tokio::spawn(run(plan, carrier, progress.clone(), stop.clone()));
    Ok(LoadRun { progress, stop, task })
}

/// What a load test came to.
#[derive(Clone, Debug)]
pub struct LoadResult {
    /// What callers said.
    pub scenario: Arc<CallerScenario>,
    /// Every call, in the order in which they ended.
    pub calls: Vec<CallOutcome>,
    /// All measurements.
    pub measures: Measures,
    /// From the first to the last.
    pub took: Duration,
    /// The most calls that were up together.
    pub peak: u64,
    /// True if it was stopped early.
    pub stopped: bool,
    /// Processors that this process kept busy meanwhile, as a number of cores; none where the system does not tell. With the
    /// server in the same process, its work is in it.
    pub own_cores: Option<f64>,
    /// Processors that this process may use.
    pub cores: usize,
}

/// One call of a load test.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// The carrier's name for it.
    pub call_sid: String,
    /// Which of the scenario's callers it was: an index into [`CallerScenario::variants`].
    pub variant: usize,
    /// Who called.
    pub from: Arc<str>,
    /// When it was to be placed, since the test's beginning.
    pub intended: Duration,
    /// How it went.
    pub fate: Fate,
    /// How its conversation ended; none if none came about.
    pub ended_by: Option<EndedBy>,
    /// How long its media stream was open.
    pub duration: Duration,
    /// From when it was to be placed to the open stream; none if it did not open.
    pub setup: Option<Duration>,
    /// The agent's answers to what the caller said.
    pub responses: u32,
    /// Their mean time.
    pub response_mean: Option<Duration>,
    /// Holes in the agent's speech.
    pub underruns: u32,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To its end, with everything said and the agent heard.
    Completed,
    /// It did not.
    Failed(Failure),
    /// It was ended by stopping the test.
    Stopped,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Without what differs between calls, so that equal ones can be counted.
    pub reason: String,
    /// The whole story.
    pub detail: String,
}

impl LoadResult {
    /// Calls that went to their end.
    pub fn completed(&self) -> usize {
        self.calls.iter().filter(|call| call.fate == Fate::Completed).count()
    }

    /// Calls that failed.
    pub fn failed(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call.fate, Fate::Failed(_))).count()
    }

    /// Why calls failed, and how many for each reason, the most frequent first.
    pub fn failures(&self) -> Vec<(&Failure, usize)> {
        let mut counted: BTreeMap<&str, (&Failure, usize)> = BTreeMap::new();
        for call in &self.calls {
            if let Fate::Failed(failure) = &call.fate {
                counted.entry(&failure.reason).or_insert((failure, 0)).1 += 1;
            }
        }
        let mut counted: Vec<_> = counted.into_values().collect();
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted
    }

    /// Why the test itself, not the server, set its figures; none if it did not.
    pub fn bottleneck(&self) -> Option<String> {
        bottleneck(
            Duration::from_micros(self.measures.lateness.value_at_quantile(0.99)),
            self.own_cores.map(|busy| busy / self.cores as f64),
        )
    }
}

/// The rule of [`LoadResult::bottleneck`]: `late` is the 99th percentile of the own frames' lateness, `cpu` the share of its
/// processors that the process kept busy.
fn bottleneck(late: Duration, cpu: Option<f64>) -> Option<String> {
    if let Some(cpu) = cpu.filter(|cpu| *cpu > CPU_MAX) {
        return Some(format!(
            "the caller itself kept {:.0} % of this machine's processors busy: place fewer calls, or call from a machine with more cores",
            cpu * 100.0
        ));
    }
    (late > LATENESS_MAX).then(|| {
        format!(
            "1 % of the caller's own frames left {:.0} ms late or more, a frame being 20 ms: place fewer calls, or call from \
             another machine than the server's",
            late.as_secs_f64() * 1_000.0
        )
    })
}

/// One call as its task gives it back.
struct Placed {
    outcome: CallOutcome,
    report: Option<CallReport>,
    /// For how long an answer to the announcement was waited for in vain.
    waited: Option<Duration>,
}

async fn run(plan: LoadPlan, carrier: Carrier, progress: Arc<Progress>, stop: Stop) -> LoadResult {
    let before = own::Usage::now();
    let began = Instant::now();
    let mut dialer = Dialer::new(plan.schedule, plan.seed);
    let order = plan.scenario.order();
    let numbers: Vec<Arc<str>> = match plan.numbers.as_slice() {
        [] => vec![plan.call.from.as_str().into()],
        numbers => numbers.iter().map(|number| number.as_str().into()).collect(),
    };
    let common = common(&plan);
    let mut tasks: JoinSet<Placed> = JoinSet::new();
    let mut dials: HashMap<Id, (Dial, Planned)> = HashMap::new();
    let mut result = LoadResult {
        scenario: plan.scenario.clone(),
        calls: Vec::new(),
        measures: Measures::default(),
        took: Duration::ZERO,
        peak: 0,
        stopped: false,
        own_cores: None,
        cores: own::cores(),
    };
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        let due = dialer.next_due();
        if due.is_none() && tasks.is_empty() {
            break;
        }
        tokio::select! {
            () = sleep_until(began + due.unwrap_or_default()), if due.is_some() => {
                while let Some(dial) = dialer.dial(began.elapsed()) {
                    let planned = Planned {
                        call_sid: new_call_sid(),
                        variant: order[dial.nth % order.len()],
                        from: numbers[dial.nth % numbers.len()].clone(),
                        intended: dial.intended,
                    };
                    progress.on_dialled();
                    let call = common.for_call(&planned, &plan.scenario);
                    let (carrier, stop, progress) = (carrier.clone(), stop.clone(), progress.clone());
                    let at = began + dial.intended;
                    let task = tasks.spawn(place(carrier, call, at, stop, progress, planned.clone()));
                    dials.insert(task.id(), (dial, planned));
                }
            }
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let (id, placed) = match ended {
                    Ok((id, placed)) => (id, Some(placed)),
                    Err(error) => (error.id(), None),
                };
                let Some((dial, planned)) = dials.remove(&id) else { continue };
                let placed = placed.unwrap_or_else(|| broken(planned));
                match (&placed.report, placed.waited) {
                    (Some(report), _) => result.measures.add(report),
                    (None, Some(waited)) => result.measures.add_unanswered(waited),
                    (None, None) => {}
                }
                progress.on_over(&placed.outcome);
                dialer.on_ended(dial.line, placed.report.is_some(), began.elapsed());
                result.calls.push(placed.outcome);
            }
            () = &mut stopped, if !result.stopped => {
                result.stopped = true;
                dialer.stop();
            }
        }
    }
    result.peak = progress.counts().peak;
    result.took = began.elapsed();
    result.own_cores = own::Usage::now().cores_since(&before);
    result
}

/// A call before it is placed.
#[derive(Clone)]
struct Planned {
    call_sid: String,
    variant: usize,
    from: Arc<str>,
    intended: Duration,
}

impl Planned {
    fn outcome(self, fate: Fate) -> CallOutcome {
        CallOutcome {
            call_sid: self.call_sid,
            variant: self.variant,
            from: self.from,
            intended: self.intended,
            fate,
            ended_by: None,
            duration: Duration::ZERO,
            setup: None,
            responses: 0,
            response_mean: None,
            underruns: 0,
        }
    }
}

/// The plan of every call, without what differs.
struct Common(CallPlan);

fn common(plan: &LoadPlan) -> Common {
    let mut call = CallPlan { keep: Keep::default(), ..plan.call.clone() };
    if let Some(agent) = plan.scenario.agent.as_deref().filter(|_| call.incoming_path == INCOMING_PATH) {
        let agent: String = form_urlencoded::byte_serialize(agent.as_bytes()).collect();
        call.incoming_path = format!("{INCOMING_PATH}?scenario={agent}");
    }
    Common(call)
}

impl Common {
    fn for_call(&self, planned: &Planned, scenario: &CallerScenario) -> CallPlan {
        let variant = &scenario.variants[planned.variant];
        CallPlan {
            call_sid: Some(planned.call_sid.clone()),
            from: planned.from.to_string(),
            script: variant.script.clone(),
            manners: variant.manners,
            ..self.0.clone()
        }
    }
}

async fn place(
    carrier: Carrier,
    call: CallPlan,
    at: Instant,
    stop: Stop,
    progress: Arc<Progress>,
    planned: Planned,
) -> Placed {
    let items = call.script.items.len();
    let placed = carrier.place(call, at, &stop, |happening| progress.on_happening(&happening.what)).await;
    match placed {
        Ok(report) => {
            let times: Vec<Duration> = report.response_times().collect();
            let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
            let outcome = CallOutcome {
                ended_by: Some(report.ended_by.clone()),
                duration: report.duration,
                setup: Some(report.setup_took()),
                responses: count,
                response_mean: (count > 0).then(|| times.iter().sum::<Duration>() / count),
                underruns: report.playout.underruns,
                ..planned.outcome(fate(&report, items))
            };
            Placed { outcome, report: Some(report), waited: None }
        }
        // How long it had waited when somebody lost patience with the test says nothing of the server.
        Err(CallerError::Stopped) => {
            Placed { outcome: planned.outcome(Fate::Stopped), report: None, waited: None }
        }
        Err(error) => {
            let unanswered = matches!(error, CallerError::NoAnswer { .. } | CallerError::Socket { .. });
            let failure = Failure { reason: error.reason(), detail: error.to_string() };
            let outcome = planned.outcome(Fate::Failed(failure));
            Placed { outcome, report: None, waited: unanswered.then(|| at.elapsed()) }
        }
    }
}

/// How a call went that came about. `items`: of its script.
fn fate(report: &CallReport, items: usize) -> Fate {
    let failed = |reason: String| Fate::Failed(Failure { detail: reason.clone(), reason });
    match &report.ended_by {
        EndedBy::Stopped => Fate::Stopped,
        EndedBy::Lost(_) => failed(report.ended_by.to_string()),
        EndedBy::MaxDuration => failed(format!(
            "{}: the script was not over by then, or the agent went on and on",
            report.ended_by
        )),
        EndedBy::Caller | EndedBy::Server if report.unsaid > 0 => Fate::Failed(Failure {
            reason: "the agent hung up before the caller had said everything".into(),
            detail: format!(
                "the agent hung up when the caller had said {} of {items} things",
                items - report.unsaid
            ),
        }),
        EndedBy::Caller | EndedBy::Server if report.turns.is_empty() => {
            failed("the agent was never heard".into())
        }
        EndedBy::Caller | EndedBy::Server => Fate::Completed,
    }
}

fn broken(planned: Planned) -> Placed {
    let reason = "the caller broke down: this is a bug in offhook".to_owned();
    let failure = Failure { detail: reason.clone(), reason };
    Placed { outcome: planned.outcome(Fate::Failed(failure)), report: None, waited: None }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::script::{Item, Manners, Script, Speech};
    use super::*;

    /// A test with these response times in ms, and so many calls, of which some failed.
    pub(super) fn result(responses_ms: &[u64], calls: usize, failed: usize) -> LoadResult {
        let scenario = CallerScenario::of_one("one", Script::default(), Manners::default());
        let mut measures = Measures::default();
        responses_ms.iter().for_each(|ms| measures.response.record(Duration::from_millis(*ms)));
        let call = |nth: usize| {
            let planned = Planned {
                call_sid: format!("CA{nth:032}"),
                variant: 0,
                from: "+15005550009".into(),
                intended: Duration::ZERO,
            };
            let failure = Failure { reason: "it rained".into(), detail: format!("it rained on call {nth}") };
            planned.outcome(if nth < failed { Fate::Failed(failure) } else { Fate::Completed })
        };
        LoadResult {
            scenario: Arc::new(scenario),
            calls: (0..calls).map(call).collect(),
            measures,
            took: Duration::from_secs(10),
            peak: calls as u64,
            stopped: false,
            own_cores: Some(0.1),
            cores: 2,
        }
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let result = result(&[], 5, 3);
        let failures = result.failures();
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].0.reason.as_str(), failures[0].1), ("it rained", 3));
        assert_eq!((result.completed(), result.failed()), (2, 3));
    }

    #[test]
    fn a_test_that_was_late_or_out_of_breath_itself_says_what_to_do() {
        let ms = Duration::from_millis;
        assert_eq!(bottleneck(ms(2), Some(0.4)), None);
        assert_eq!(bottleneck(ms(20), None), None);
        for (late, cpu, wanted) in [
            (ms(35), Some(0.5), "35 ms late"),
            (ms(35), None, "another machine"),
            (ms(1), Some(0.97), "97 %"),
        ] {
            let why = bottleneck(late, cpu).unwrap();
            assert!(why.contains(wanted) && why.contains("fewer calls"), "{why}");
        }
    }

    /// A bot that answers every call, says nothing, and listens for as long as it is let.
    async fn silent_bot() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut seen = [0; 4_096];
                    let length = tcp.peek(&mut seen).await.unwrap_or(0);
                    if seen[..length].starts_with(b"GET") {
                        let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
                        while let Some(Ok(_)) = socket.next().await {}
                        return;
                    }
                    let _ = tcp.read(&mut seen).await;
                    let body = format!(
                        "<Response><Connect><Stream url=\"ws://{address}/media\"/></Connect></Response>"
                    );
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                    let _ = tcp.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        format!("http://{address}")
    }

    fn plan(base: String, schedule: Schedule) -> LoadPlan {
        let speech = Speech::Audio(vec![0x80; 800].into());
        let script = Script { items: vec![Item::new("hello", speech)].into(), ..Script::default() };
        let manners = Manners { patience: Duration::from_millis(200), ..Manners::default() };
        LoadPlan {
            call: CallPlan { status_path: None, ..CallPlan::new(base, Script::default()) },
            scenario: Arc::new(CallerScenario::of_one("one", script, manners)),
            numbers: vec!["+15005550001".into(), "+15005550002".into()],
            schedule,
            seed: 1,
        }
    }

    #[tokio::test]
    async fn answers_that_never_came_fail_a_call_and_count_as_the_time_waited() {
        let plan = plan(silent_bot().await, Schedule::Once { calls: 3, at_once: true });
        let run = start(plan).unwrap();
        let progress = run.progress().clone();
        let result = run.finish().await.unwrap();
        assert_eq!((result.calls.len(), result.completed(), result.failed()), (3, 0, 3));
        assert_eq!(result.failures()[0].0.reason, "the agent was never heard");
        let measures = &result.measures;
        assert_eq!((measures.response.came().len(), measures.response.waited().len()), (0, 3));
        assert!(measures.response.whole().min() >= 200_000, "{}", measures.response.whole().min());
        assert_eq!((measures.first_audio.waited().len(), measures.setup.came().len()), (3, 3));
        assert_eq!(measures.frames_sent, measures.lateness.len());
        let counts = progress.counts();
        assert_eq!((counts.dialled, counts.running, counts.failed), (3, 0, 3));
        assert!((1..=3).contains(&result.peak));
        let mut from: Vec<_> = result.calls.iter().map(|call| &*call.from).collect();
        from.sort_unstable();
        assert_eq!(from, ["+15005550001", "+15005550001", "+15005550002"], "numbers are cycled");
    }

    #[tokio::test]
    async fn a_stopped_test_hangs_up_and_tells_what_it_has_measured() {
        let schedule = Schedule::Hold { lines: 4, time: Duration::from_secs(600), ramp: Duration::ZERO };
        let mut plan = plan(silent_bot().await, schedule);
        let patient = Manners { patience: Duration::from_secs(600), ..Manners::default() };
        plan.scenario = Arc::new(CallerScenario::of_one("one", Script::default(), patient));
        plan.call.max_duration = Duration::from_secs(900);
        let run = start(plan).unwrap();
        while run.progress().counts().running < 4 {
            tokio::task::yield_now().await;
        }
        run.stop();
        let result = run.finish().await.unwrap();
        assert!(result.stopped);
        assert_eq!((result.calls.len(), result.failed(), result.peak), (4, 0, 4));
        assert!(result.calls.iter().all(|call| call.fate == Fate::Stopped));
        assert!(result.measures.frames_sent > 0 || result.took < Duration::from_millis(40));
    }

    #[test]
    fn the_agent_of_a_scenario_is_asked_for_at_the_usual_webhook_alone() {
        let mut plan = plan("http://host:1".into(), Schedule::Once { calls: 1, at_once: true });
        let mut scenario = (*plan.scenario).clone();
        scenario.agent = Some("a b".into());
        plan.scenario = Arc::new(scenario);
        assert_eq!(common(&plan).0.incoming_path, "/api/callbot/incoming-call?scenario=a+b");
        plan.call.incoming_path = "/voice".into();
        assert_eq!(common(&plan).0.incoming_path, "/voice");
    }
}
