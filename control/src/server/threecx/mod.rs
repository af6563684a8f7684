//! Calls of a 3CX system: told of by its events, answered by a task each ([`call`]).
//!
//! Where other carriers come to this server, this server goes to 3CX: it connects, hears of calls at its route point, and fetches
//! and sends their audio itself.

mod call;
mod line;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::App;
use crate::integrations::threecx::{Event, Participant, Status, ThreeCx};

/// How long calls that were ended may take to be dropped at 3CX when the server stops.
const GOODBYE: Duration = Duration::from_secs(3);

/// What a call's task is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Where the call stands.
    Status(Status),
    /// The caller pressed these.
    Keys(String),
    /// It is over.
    Gone,
}

/// The calls of one 3CX system, while this is there.
pub(super) struct ThreeCxCalls {
    watching: JoinHandle<()>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl ThreeCxCalls {
    /// Answers calls from here on.
    pub(super) fn start(app: Arc<App>, client: ThreeCx) -> Self {
        let client = Arc::new(client);
        let tasks = Arc::<Mutex<JoinSet<()>>>::default();
        let mut desk = Desk { app, client: client.clone(), tasks: tasks.clone(), known: BTreeMap::new() };
        let watching = tokio::spawn(async move { client.watch(|event| desk.on(event)).await });
        Self { watching, tasks }
    }

    /// Hears of no new call from here on.
    pub(super) fn stop(&self) {
        self.watching.abort();
    }

    /// Waits until the calls, which the engine has ended, are dropped at 3CX.
    pub(super) async fn finish(self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        if timeout(GOODBYE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(calls = tasks.len(), "calls could not be dropped at 3CX in time");
        }
    }
}

/// Knows which call has a task.
struct Desk {
    app: Arc<App>,
    client: Arc<ThreeCx>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    /// Calls that were seen and are not gone, those among them whose task is over: they are not answered again.
    known: BTreeMap<u32, mpsc::UnboundedSender<Told>>,
}

impl Desk {
    fn on(&mut self, event: Event) {
        match event {
            Event::All(list) => {
                let gone: Vec<u32> =
                    self.known.keys().filter(|id| list.iter().all(|one| one.id != **id)).copied().collect();
                gone.into_iter().for_each(|id| self.gone(id));
                list.into_iter().for_each(|participant| self.changed(participant));
            }
            Event::Changed(participant) => self.changed(participant),
            Event::Gone(id) => self.gone(id),
            Event::Keys(id, keys) => self.tell(id, Told::Keys(keys)),
        }
    }

    fn changed(&mut self, participant: Participant) {
        let Participant { id, status, .. } = participant;
        if self.known.contains_key(&id) {
            return self.tell(id, Told::Status(status));
        }
        // What is dialled from here is nobody's call to answer.
        if !matches!(status, Status::Ringing | Status::Connected) {
            return;
        }
        let (tell, told) = mpsc::unbounded_channel();
        self.known.insert(id, tell);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        let (app, client) = (self.app.clone(), self.client.clone());
        tasks.spawn(async move {
            let serving = AssertUnwindSafe(call::serve(app, client.clone(), participant, told));
            if serving.catch_unwind().await.is_err() {
                tracing::error!(participant = id, "the task of a 3CX call panicked: the call is dropped");
                call::dropped(&client, id).await;
            }
        });
    }

    fn gone(&mut self, id: u32) {
        self.tell(id, Told::Gone);
        self.known.remove(&id);
    }

    fn tell(&self, id: u32, told: Told) {
        if let Some(task) = self.known.get(&id) {
            // Whose task is over needs to know nothing.
            let _ = task.send(told);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
