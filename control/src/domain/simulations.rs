//! Simulations: calls that this server places to itself, over its own sockets, and what became of them.
//!
//! A simulated call is a call like any other: it is announced, streamed, answered and recorded. What the caller's ear
//! measured comes from the load runner; what the agent recorded comes from the store.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use offhook_engine::agent::scenario::Goal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::UnixMs;
use crate::caller::load::{
    self, CallOutcome, Fate, LoadPlan, LoadResult, LoadRun, Progress, Schedule, Timed,
};
use crate::caller::{CallPlan, CallerScenario, EndedBy, Script, Stop};
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// How many calls one simulation may have, and all running ones together at once.
pub const CALLS_MAX: u32 = 1_000;

/// How long one simulated call may last.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// How long the records of calls that are over may take to be complete.
const RECORDS_WAIT: Duration = Duration::from_secs(10);

/// How often they are looked at.
const RECORDS_LOOK: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSimulation {
    /// How many calls, 1 to [`CALLS_MAX`].
    pub calls: u32,
    /// The caller hangs up after so many seconds at the latest.
    pub duration_s: u32,
    /// All together, or one after another.
    pub at_once: bool,
    /// What the callers say: the name of a shipped caller scenario.
    pub scenario: String,
    /// Who calls, cycled; empty for one caller of no particular name.
    pub callers: Vec<CallerProfile>,
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerProfile {
    /// The number that is called from, as `+15005550009`.
    pub phone_number: Option<String>,
    /// For the record.
    pub name: Option<String>,
    /// For the record.
    pub company: Option<String>,
}

/// Where a simulation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulationStatus {
    /// Calls are being placed, or run.
    Running,
    /// All calls are over.
    Completed,
    /// Somebody ended it early.
    Stopped,
    /// No call came about, or the server died with it.
    Failed,
}

impl SimulationStatus {
    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// The reverse of [`SimulationStatus::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Running, Self::Completed, Self::Stopped, Self::Failed];
        all.into_iter().find(|status| status.as_str() == text)
    }
}

/// What was measured, so far or for good. Times in ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Calls that went to their end, the caller's hanging up when time was over included.
    pub calls_completed: u64,
    /// Calls that did not come about, broke off, or in which the agent was never heard.
    pub calls_failed: u64,
    /// Calls that were cut because the simulation was stopped.
    pub calls_stopped: u64,
    /// The mean length of completed calls; none if there are none.
    pub duration_ms_mean: Option<f64>,
    /// The mean of all response times, by the caller's ear; none if the agent never answered.
    pub response_ms_mean: Option<f64>,
    /// How many response times that is the mean of.
    pub responses: u64,
    /// Calls in which the agent recorded a qualified prospect.
    pub qualifications: u64,
    /// Calls in which the agent recorded an appointment.
    pub appointments: u64,
    /// The most calls that were up together.
    pub calls_at_once_max: u64,
    /// From the first call to the end of the last.
    pub took_ms: u64,
    /// Holes that callers heard in the agent's speech.
    pub underruns: u64,
    /// Why calls failed, and how many.
    pub failures: BTreeMap<String, u64>,
    /// Percentiles, once it is over: from dialling to the open stream, to the first audio, from speech to answer, from an
    /// interruption to silence, and how late the callers' own frames left.
    pub percentiles: BTreeMap<String, Percentiles>,
    /// Why the callers themselves, not the server, set these figures; none if they did not.
    pub bottleneck: Option<String>,
}

/// Percentiles of a time in ms, of so many measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half of them are at most this.
    pub p50: f64,
    /// 90 % of them are at most this.
    pub p90: f64,
    /// 99 % of them are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// A simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Its place among all simulations, from 1.
    pub number: i64,
    /// `sim_…`.
    pub id: String,
    /// When it started.
    pub started: UnixMs,
    /// When it was over.
    pub ended: Option<UnixMs>,
    /// Where it stands.
    pub status: SimulationStatus,
    /// What was asked for.
    pub request: NewSimulation,
    /// What was measured.
    pub measured: Measured,
}

/// What the agent recorded of a simulated call, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedOutcome {
    /// What its agent went through.
    pub scenario: String,
    /// True once the call's record is complete.
    pub complete: bool,
    /// What the agent recorded as `outcome`.
    pub outcome: Option<String>,
}

/// Why a simulation could not start. Displays as what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// There is no such caller scenario.
    #[error("there is no call scenario of that name; there are: {}", .0.join(", "))]
    UnknownScenario(Vec<&'static str>),
    /// Too many simulated calls run.
    #[error(
        "{running} simulated calls run, and {CALLS_MAX} is the most: stop a simulation, or wait for its end"
    )]
    TooMany {
        /// How many.
        running: u32,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug, or a machine without room for a thread.
    #[error("the simulation broke down: {0}")]
    Broken(String),
}

/// What an outcome counts as, by the scenario and the outcome's name.
pub type GoalOf = Box<dyn Fn(&str, &str) -> Option<Goal> + Send + Sync>;

/// All simulations of this server.
pub struct Simulations {
    store: Arc<Store>,
    base: String,
    token: Secret,
    goal_of: GoalOf,
    running: Mutex<HashMap<String, Running>>,
    /// Scenarios whose texts have been spoken.
    spoken: Mutex<HashMap<String, Arc<CallerScenario>>>,
}

struct Running {
    calls: u32,
    started: UnixMs,
    request: NewSimulation,
    progress: Arc<Progress>,
    stop: Stop,
}

impl Simulations {
    /// For the server that listens at `address`, and lets in its simulator by `token`.
    pub fn new(store: Arc<Store>, address: SocketAddr, token: Secret, goal_of: GoalOf) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let base = format!("http://{}", SocketAddr::new(ip, address.port()));
        Self { store, base, token, goal_of, running: Mutex::default(), spoken: Mutex::default() }
    }

    /// Starts a simulation on the runtime that this is called on; it goes on by itself. Returns its name.
    pub async fn start(self: &Arc<Self>, request: NewSimulation) -> Result<String, SimulateError> {
        let scenario = self.speak(&request.scenario).await?;
        let id = format!("sim_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let started = UnixMs::now();
        let plan = self.plan(&request, scenario);
        let calls = if request.at_once { request.calls } else { 1 };
        let run = {
            let mut running = self.running();
            let at_once: u32 = running.values().map(|other| other.calls).sum();
            if at_once + calls > CALLS_MAX {
                return Err(SimulateError::TooMany { running: at_once });
            }
            let run = load::start(plan).map_err(|error| SimulateError::Broken(error.to_string()))?;
            running.insert(
                id.clone(),
                Running {
                    calls,
                    started,
                    request: request.clone(),
                    progress: run.progress().clone(),
                    stop: run.stopper(),
                },
            );
            run
        };
        let record = Simulation {
            number: 0,
            id: id.clone(),
            started,
            ended: None,
            status: SimulationStatus::Running,
            request,
            measured: Measured::default(),
        };
        if let Err(error) = self.store.write_simulation(record.clone()).await {
            run.stop();
            self.running().remove(&id);
            return Err(error.into());
        }
        tracing::info!(simulation = id, calls = record.request.calls, "a simulation started");
        tokio::spawn(self.clone().see_through(record, run));
        Ok(id)
    }

    /// A simulation as it stands.
    pub async fn one(&self, id: &str) -> Result<Option<Simulation>, StoreError> {
        let live = self.running().get(id).map(|running| {
            (
                running.started,
                running.request.clone(),
                running.progress.ended(),
                running.progress.counts().running,
            )
        });
        let Some((started, request, ended, up)) = live else { return self.store.simulation(id).await };
        let mut measured = self.measure(&ended).await?;
        measured.calls_at_once_max = up;
        Ok(Some(Simulation {
            number: 0,
            id: id.to_owned(),
            started,
            ended: None,
            status: SimulationStatus::Running,
            request,
            measured,
        }))
    }

    /// Ends a simulation: its callers hang up. False if it does not run.
    pub fn stop(&self, id: &str) -> bool {
        let stop = self.running().get(id).map(|running| running.stop.clone());
        stop.inspect(Stop::stop).is_some()
    }

    /// Ends all simulations, and waits until their results are written down.
    pub async fn stop_all(&self) {
        self.running().values().for_each(|running| running.stop.stop());
        let all_over = async {
            while !self.running().is_empty() {
                tokio::time::sleep(RECORDS_LOOK).await;
            }
        };
        let _ = tokio::time::timeout(RECORDS_WAIT + Duration::from_secs(2), all_over).await;
    }

    async fn see_through(self: Arc<Self>, mut record: Simulation, run: LoadRun) {
        match run.finish().await {
            Ok(result) => {
                self.wait_for_records(&result.calls).await;
                let counted = self.measure(&result.calls).await;
                record.measured = counted.unwrap_or_else(|error| {
                    tracing::error!(%error, simulation = record.id, "what the agents recorded cannot be read");
                    count(&result.calls)
                });
                complete(&mut record.measured, &result);
                record.status = status_of(&record.measured, result.stopped);
            }
            Err(error) => {
                tracing::error!(%error, simulation = record.id, "a simulation broke down");
                record.status = SimulationStatus::Failed;
            }
        }
        record.ended = Some(UnixMs::now());
        tracing::info!(
            simulation = record.id,
            status = record.status.as_str(),
            completed = record.measured.calls_completed,
            failed = record.measured.calls_failed,
            "a simulation is over"
        );
        let id = record.id.clone();
        if let Err(error) = self.store.write_simulation(record).await {
            tracing::error!(%error, simulation = id, "a simulation's result cannot be written down yet");
        }
        self.running().remove(&id);
    }

    fn plan(&self, request: &NewSimulation, scenario: Arc<CallerScenario>) -> LoadPlan {
        let mut call = CallPlan::new(self.base.clone(), Script::default());
        call.max_duration = Duration::from_secs(request.duration_s.into());
        call.simulator_token = Some(self.token.reveal().to_owned());
        let numbers = request
            .callers
            .iter()
            .map(|caller| caller.phone_number.clone().unwrap_or_else(|| call.from.clone()));
        LoadPlan {
            numbers: numbers.collect(),
            call,
            scenario,
            schedule: Schedule::Once { calls: request.calls as usize, at_once: request.at_once },
            seed: u64::from(request.calls),
        }
    }

    /// The scenario with its audio: made once.
    async fn speak(&self, name: &str) -> Result<Arc<CallerScenario>, SimulateError> {
        if !CallerScenario::shipped_names().any(|shipped| shipped == name) {
            return Err(SimulateError::UnknownScenario(CallerScenario::shipped_names().collect()));
        }
        let spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(scenario) = spoken {
            return Ok(scenario);
        }
        let wanted = name.to_owned();
        let speaking = tokio::task::spawn_blocking(move || CallerScenario::load(&wanted)).await;
        let scenario = speaking
            .map_err(|error| SimulateError::Broken(error.to_string()))?
            .map_err(|error| SimulateError::Broken(error.to_string()))?;
        let scenario = Arc::new(scenario);
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(spoken.entry(name.to_owned()).or_insert(scenario).clone())
    }

    /// What the calls came to, with what their agents recorded.
    async fn measure(&self, calls: &[CallOutcome]) -> Result<Measured, StoreError> {
        let mut measured = count(calls);
        let names = calls.iter().map(|call| call.call_sid.clone()).collect();
        for recorded in self.store.outcomes(names).await? {
            let goal = recorded.outcome.and_then(|outcome| (self.goal_of)(&recorded.scenario, &outcome));
            match goal {
                Some(Goal::Qualification) => measured.qualifications += 1,
                Some(Goal::Appointment) => measured.appointments += 1,
                None => {}
            }
        }
        Ok(measured)
    }

    /// A call's record is complete a moment after its end: the journal's last chunk and a commit later.
    async fn wait_for_records(&self, calls: &[CallOutcome]) {
        let names: Vec<String> =
            calls.iter().filter(|call| call.ended_by.is_some()).map(|call| call.call_sid.clone()).collect();
        let complete = async {
            loop {
                match self.store.outcomes(names.clone()).await {
                    Ok(outcomes) if outcomes.iter().all(|outcome| outcome.complete) => break,
                    Ok(_) => tokio::time::sleep(RECORDS_LOOK).await,
                    Err(_) => break,
                }
            }
        };
        if tokio::time::timeout(RECORDS_WAIT, complete).await.is_err() {
            tracing::warn!("records of simulated calls are not complete yet: their outcomes may be missing");
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the callers know of their calls.
fn count(calls: &[CallOutcome]) -> Measured {
    let mut measured = Measured::default();
    let (mut durations_ms, mut responses_ms) = (0.0, 0.0);
    for call in calls {
        match &call.fate {
            Fate::Completed => measured.calls_completed += 1,
            // The caller was to hang up then: what was asked for happened.
            Fate::Failed(_) if call.ended_by == Some(EndedBy::MaxDuration) => measured.calls_completed += 1,
            Fate::Failed(failure) => {
                measured.calls_failed += 1;
                *measured.failures.entry(failure.reason.clone()).or_default() += 1;
                continue;
            }
            Fate::Stopped => {
                measured.calls_stopped += 1;
                continue;
            }
        }
        durations_ms += ms(call.duration);
        if let Some(mean) = call.response_mean {
            measured.responses += u64::from(call.responses);
            responses_ms += ms(mean) * f64::from(call.responses);
        }
        measured.underruns += u64::from(call.underruns);
    }
    let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
    measured.duration_ms_mean = mean(durations_ms, measured.calls_completed);
    measured.response_ms_mean = mean(responses_ms, measured.responses);
    measured
}

/// Adds what is known once all calls are over.
fn complete(measured: &mut Measured, result: &LoadResult) {
    let times = &result.measures;
    let percentiles = [
        ("setup", percentiles(&times.setup)),
        ("first_audio", percentiles(&times.first_audio)),
        ("response", percentiles(&times.response)),
        ("barge_in", percentiles(&times.barge_in)),
        ("own_lateness", percentiles_of(&times.lateness)),
    ];
    measured.percentiles = percentiles.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    measured.calls_at_once_max = result.peak;
    measured.took_ms = result.took.as_millis() as u64;
    measured.bottleneck = result.bottleneck();
}

fn status_of(measured: &Measured, stopped: bool) -> SimulationStatus {
    if stopped {
        SimulationStatus::Stopped
    } else if measured.calls_completed == 0 {
        SimulationStatus::Failed
    } else {
        SimulationStatus::Completed
    }
}

fn percentiles(timed: &Timed) -> Percentiles {
    percentiles_of(&timed.whole())
}

fn percentiles_of(histogram: &hdrhistogram::Histogram<u64>) -> Percentiles {
    let at = |share: f64| histogram.value_at_quantile(share) as f64 / 1_000.0;
    Percentiles {
        count: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: histogram.max() as f64 / 1_000.0,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::load::Failure;

    fn call(
        fate: Fate,
        ended_by: Option<EndedBy>,
        seconds: u64,
        responses: u32,
        mean_ms: u64,
    ) -> CallOutcome {
        CallOutcome {
            call_sid: "CA1".into(),
            variant: 0,
            from: "+1".into(),
            intended: Duration::ZERO,
            fate,
            ended_by,
            duration: Duration::from_secs(seconds),
            setup: None,
            responses,
            response_mean: (responses > 0).then(|| Duration::from_millis(mean_ms)),
            underruns: 1,
        }
    }

    fn failed(reason: &str) -> Fate {
        Fate::Failed(Failure { reason: reason.into(), detail: reason.into() })
    }

    #[test]
    fn a_call_that_its_caller_ends_when_time_is_over_is_complete() {
        let measured = count(&[
            call(Fate::Completed, Some(EndedBy::Server), 20, 1, 400),
            call(failed("too long"), Some(EndedBy::MaxDuration), 30, 3, 800),
            call(failed("refused"), None, 0, 0, 0),
            call(failed("refused"), None, 0, 0, 0),
            call(Fate::Stopped, Some(EndedBy::Stopped), 5, 1, 100),
        ]);
        assert_eq!((measured.calls_completed, measured.calls_failed, measured.calls_stopped), (2, 2, 1));
        assert_eq!(measured.duration_ms_mean, Some(25_000.0));
        assert_eq!((measured.responses, measured.response_ms_mean), (4, Some(700.0)));
        assert_eq!(measured.failures, BTreeMap::from([("refused".to_owned(), 2)]));
        assert_eq!(measured.underruns, 2);
    }

    #[test]
    fn nothing_measured_is_told_as_nothing() {
        let measured = count(&[]);
        assert_eq!((measured.duration_ms_mean, measured.response_ms_mean), (None, None));
        assert_eq!(status_of(&measured, false), SimulationStatus::Failed);
        assert_eq!(status_of(&measured, true), SimulationStatus::Stopped);
    }
}
