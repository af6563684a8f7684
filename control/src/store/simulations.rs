//! Simulations, and what the agents of simulated calls recorded: each query beside the function that runs it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Write;
use super::{Store, StoreError};
use crate::domain::simulations::{Measured, NewSimulation, RecordedOutcome, Simulation, SimulationStatus};
use crate::domain::time::UnixMs;

impl Store {
    /// Writes a simulation down, or what became of it.
    pub async fn write_simulation(&self, simulation: Simulation) -> Result<(), StoreError> {
        self.write_and_wait(Write::Simulation(Box::new(simulation))).await.map(drop)
    }

    /// A simulation by its name.
    pub async fn simulation(&self, id: &str) -> Result<Option<Simulation>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM simulations WHERE id = ?1")?
                .query_row([id], simulation_from_row)
                .optional()
        })
        .await
    }

    /// Up to `limit` simulations, the latest first; with `before`, only such as started before the one of that number.
    pub async fn simulations(
        &self,
        limit: usize,
        before: Option<i64>,
    ) -> Result<Vec<Simulation>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM simulations WHERE number < ?1 ORDER BY number DESC LIMIT ?2")?
                .query_map(params![before.unwrap_or(i64::MAX), limit as i64], simulation_from_row)?
                .collect()
        })
        .await
    }

    /// What the agents recorded as `outcome` of the calls of these carrier's names; calls without a record are left out.
    pub async fn outcomes(&self, carrier_call_ids: Vec<String>) -> Result<Vec<RecordedOutcome>, StoreError> {
        let names = serde_json::Value::from(carrier_call_ids).to_string();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT calls.scenario, calls.ended_ms IS NOT NULL, answers.value FROM json_each(?1) AS names
                     JOIN calls ON calls.carrier_call_id = names.value
                     LEFT JOIN answers ON answers.call = calls.id AND answers.name = 'outcome'",
                )?
                .query_map([names], |row| {
                    Ok(RecordedOutcome { scenario: row.get(0)?, complete: row.get(1)?, outcome: row.get(2)? })
                })?
                .collect()
        })
        .await
    }
}

/// Writes a new simulation, or completes one.
pub(super) fn write(connection: &Connection, simulation: &Simulation) -> rusqlite::Result<()> {
    let result = simulation.ended.map(|_| json(&simulation.measured));
    connection
        .prepare_cached(
            "INSERT INTO simulations (id, started_ms, ended_ms, status, scenario, request, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET ended_ms = excluded.ended_ms, status = excluded.status,
                                            result = excluded.result",
        )?
        .execute(params![
            simulation.id,
            simulation.started.0,
            simulation.ended.map(|at| at.0),
            simulation.status.as_str(),
            simulation.request.scenario,
            json(&simulation.request),
            result,
        ])
        .map(drop)
}

/// Closes simulations that run, though no process runs them. Returns how many there were.
pub(super) fn close_running(connection: &Connection, now: UnixMs) -> rusqlite::Result<usize> {
    connection.execute(
        "UPDATE simulations SET status = ?1, ended_ms = ?2 WHERE ended_ms IS NULL",
        params![SimulationStatus::Failed.as_str(), now.0],
    )
}

fn simulation_from_row(row: &Row<'_>) -> rusqlite::Result<Simulation> {
    let status: String = row.get("status")?;
    let scenario: String = row.get("scenario")?;
    let request: String = row.get("request")?;
    let result: Option<String> = row.get("result")?;
    // What an older or newer version wrote otherwise is shown as far as it can be read.
    let unread = NewSimulation { calls: 0, duration_s: 0, at_once: true, scenario, callers: Vec::new() };
    Ok(Simulation {
        number: row.get("number")?,
        id: row.get("id")?,
        started: UnixMs(row.get("started_ms")?),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
        status: SimulationStatus::from_text(&status).unwrap_or(SimulationStatus::Failed),
        request: serde_json::from_str(&request).unwrap_or(unread),
        measured: result.and_then(|text| serde_json::from_str::<Measured>(&text).ok()).unwrap_or_default(),
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("these types have nothing that JSON lacks")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::{Announcement, CallStatus};
    use offhook_engine::CallId;

    fn simulation(id: &str) -> Simulation {
        Simulation {
            number: 0,
            id: id.into(),
            started: UnixMs(1_000),
            ended: None,
            status: SimulationStatus::Running,
            request: NewSimulation {
                calls: 5,
                duration_s: 30,
                at_once: true,
                scenario: "silent_caller".into(),
                callers: Vec::new(),
            },
            measured: Measured::default(),
        }
    }

    #[tokio::test]
    async fn a_simulation_survives_a_restart_and_one_that_ran_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(1)).unwrap();
        store.write_simulation(simulation("sim_a")).await.unwrap();
        store.write_simulation(simulation("sim_b")).await.unwrap();
        let measured = Measured { calls_completed: 4, response_ms_mean: Some(712.5), ..Measured::default() };
        let status = SimulationStatus::Completed;
        let done = Simulation { ended: Some(UnixMs(2_000)), status, measured, ..simulation("sim_a") };
        store.write_simulation(done.clone()).await.unwrap();
        store.close();
        drop(store);

        let store = Store::open(dir.path(), UnixMs(9_000)).unwrap();
        assert_eq!(store.simulation("sim_a").await.unwrap(), Some(Simulation { number: 1, ..done }));
        let cut = store.simulation("sim_b").await.unwrap().unwrap();
        assert_eq!((cut.status, cut.ended), (SimulationStatus::Failed, Some(UnixMs(9_000))));
        assert_eq!(store.simulation("sim_c").await.unwrap(), None);
        let page = store.simulations(1, None).await.unwrap();
        assert_eq!(page[0].id, "sim_b");
        assert_eq!(store.simulations(5, Some(page[0].number)).await.unwrap()[0].id, "sim_a");
    }

    #[tokio::test]
    async fn outcomes_are_those_of_the_calls_that_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(1)).unwrap();
        for (id, sid) in [("a", "CA1"), ("b", "CA2"), ("c", "CA3")] {
            let call = CallId::new(id).unwrap();
            let announcement = Announcement {
                call: call.clone(),
                carrier: "twilio",
                carrier_call_id: sid.into(),
                from: String::new(),
                to: String::new(),
                direction: "inbound".into(),
                scenario: "s".into(),
                on_line: None,
                owner_email: None,
                at: UnixMs(1),
            };
            store.announce(announcement).await.unwrap();
            if id != "b" {
                let (name, value) = ("outcome".to_owned(), format!("outcome of {id}"));
                store.pass(Write::Answer { call: call.clone(), name, value }).unwrap();
            }
            if id == "a" {
                let finished = Write::Finished {
                    call,
                    status: CallStatus::Completed,
                    reason: "agent-hangup".into(),
                    duration_ms: Some(1),
                    at: UnixMs(2),
                    recording: None,
                    journal: None,
                };
                store.pass(finished).unwrap();
            }
        }
        // Behind what was passed on: it is written once this is.
        store.write_simulation(simulation("sim_a")).await.unwrap();
        let names = ["CA1", "CA2", "CA9"].map(str::to_owned).to_vec();
        let mut outcomes = store.outcomes(names).await.unwrap();
        outcomes.sort_by_key(|outcome| outcome.outcome.clone());
        let of = |complete, outcome: Option<&str>| RecordedOutcome {
            scenario: "s".into(),
            complete,
            outcome: outcome.map(str::to_owned),
        };
        assert_eq!(outcomes, [of(false, None), of(true, Some("outcome of a"))]);
    }
}
