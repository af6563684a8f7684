//! A user with calls, CRMs that are doubles, and time that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::header::LOCATION;
use offhook_engine::CallId;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::Value;
use tokio::task::JoinSet;

use super::sync::CrmSync;
use super::{Crms, Sync};
use crate::domain::call::{Announcement, CallStatus};
use crate::domain::deliveries::Webhooks;
use crate::domain::deliveries::send::SendWebhook;
use crate::domain::ended_calls::EndedCalls;
use crate::domain::error::Error;
use crate::domain::jobs::{Clock, Work, Worker};
use crate::domain::keys::Keys;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::integrations::crm::Crm;
use crate::integrations::http::{HttpClient, Limits};
use crate::integrations::webhook::WebhookSender;
use crate::settings::Settings;
use crate::store::{Store, Write};

/// Where browsers come back.
pub(crate) const BACK: &str = "http://127.0.0.1:1/dashboard/back";
/// An instance of Dynamics.
pub(crate) const INSTANCE: &str = "https://orgname.crm.dynamics.com";
/// Everything that there is.
pub(crate) const ALL: Page = Page { limit: None, offset: 0 };

const LIMITS: Limits = Limits { time: Duration::from_secs(20), body_bytes: 100_000 };

pub(crate) struct Desk {
    pub(crate) store: Arc<Store>,
    pub(crate) fakes: FakeVendors,
    pub(crate) crms: Arc<Crms>,
    pub(crate) webhooks: Webhooks,
    pub(crate) owner: String,
    pub(crate) worker: Arc<Worker>,
    /// How far the clock is ahead of the machine's, in ms.
    ahead: Arc<AtomicI64>,
    calls: AtomicUsize,
    _dir: tempfile::TempDir,
}

/// The double of a CRM.
pub(crate) fn vendor(crm: Crm) -> Vendor {
    match crm {
        Crm::Salesforce => Vendor::Salesforce,
        Crm::HubSpot => Vendor::HubSpot,
        Crm::Dynamics => Vendor::Dynamics,
    }
}

/// Settings with a client at each double.
pub(crate) fn settings(fakes: &FakeVendors) -> Settings {
    let tables = Crm::ALL.map(|crm| {
        let (name, base) = (crm.as_str(), fakes.base_url(vendor(crm)));
        format!("[vendors.{name}]\nclient_id = 'cid'\nclient_secret = 'sec'\nbase_url = '{base}'\n")
    });
    Settings::from_text(&tables.concat()).unwrap()
}

impl Desk {
    pub(crate) async fn start() -> Self {
        let fakes = FakeVendors::start().await;
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
        let crms = Arc::new(Crms::new(&settings(&fakes).crm, store.clone(), keys.clone()).unwrap());
        let ahead = Arc::<AtomicI64>::default();
        let clock: Clock = {
            let ahead = ahead.clone();
            Arc::new(move || UnixMs(UnixMs::now().0 + ahead.load(Ordering::Relaxed)))
        };
        let (retry, base) = (Duration::from_secs(2), "http://x.example/dashboard".to_owned());
        let sender = WebhookSender::new(true).unwrap();
        let works: Vec<Arc<dyn Work>> = vec![
            Arc::new(EndedCalls::new(store.clone(), clock.clone(), retry)),
            Arc::new(CrmSync::new(crms.clone(), store.clone(), clock.clone(), retry, None)),
            Arc::new(SendWebhook::new(
                store.clone(),
                keys.clone(),
                sender.clone(),
                clock.clone(),
                retry,
                base,
            )),
        ];
        let worker = Arc::new(Worker::new(store.clone(), works, clock));
        let webhooks = Webhooks::new(store.clone(), keys, sender);
        let account = store.add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1)).await;
        let owner = account.unwrap().unwrap().id;
        let calls = AtomicUsize::default();
        Self { store, fakes, crms, webhooks, owner, worker, ahead, calls, _dir: dir }
    }

    /// With one CRM connected.
    pub(crate) async fn with(crm: Crm) -> Self {
        let desk = Self::start().await;
        desk.connect(crm).await.unwrap();
        desk
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(UnixMs::now().0 + self.ahead.load(Ordering::Relaxed))
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }

    /// Consents, and gives what the browser comes back with: code and state.
    pub(crate) async fn consent(&self, crm: Crm) -> (String, String) {
        let instance = (crm == Crm::Dynamics).then_some(INSTANCE);
        let started = self.crms.begin(&self.owner, crm, BACK.into(), instance, self.now()).await.unwrap();
        let request = Request::get(started.url).body(Full::default()).unwrap();
        let answer = HttpClient::new().unwrap().send(request, LIMITS).await.unwrap();
        let location = answer.headers[LOCATION].to_str().unwrap();
        let query = location.strip_prefix(BACK).unwrap().strip_prefix('?').unwrap();
        let field = |name: &str| {
            let found = form_urlencoded::parse(query.as_bytes()).find(|(given, _)| given == name);
            found.map_or(String::new(), |(_, value)| value.into_owned())
        };
        assert_eq!(field("state"), started.state);
        (field("code"), field("state"))
    }

    pub(crate) async fn connect(&self, crm: Crm) -> Result<(), Error> {
        let (code, state) = self.consent(crm).await;
        self.crms.connect(crm, &code, &state, None, self.now()).await
    }

    /// A call of this number's that has ended. Its id.
    pub(crate) async fn call(&self, from: &str) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let name = format!("01980000-0000-7000-8000-{number:012x}");
        let call = CallId::new(&name).unwrap();
        let at = self.now();
        let announced = Announcement {
            call: call.clone(),
            carrier: "twilio",
            carrier_call_id: format!("CA{number}"),
            from: from.into(),
            to: "+15005550006".into(),
            direction: "inbound".into(),
            scenario: "lead_qualification".into(),
            on_line: None,
            owner_email: Some("pat@example.com".into()),
            at,
        };
        self.store.announce(announced).await.unwrap();
        let answered = Write::Answered { call: call.clone(), stream_id: "MZ".into(), at };
        self.store.pass(answered).unwrap();
        let finished = Write::Finished {
            call,
            status: CallStatus::Completed,
            reason: "caller-hangup".into(),
            duration_ms: Some(61_000),
            at: UnixMs(at.0 + 61_000),
            recording: None,
            journal: None,
        };
        self.store.pass(finished).unwrap();
        // What waits for its answer comes after what was passed on before it.
        self.store.put_jobs_back().await.unwrap();
        self.pass(Duration::from_millis(61_001));
        name
    }

    /// Does all that is due, and what becomes due by that.
    pub(crate) async fn work(&self) {
        let mut running = JoinSet::new();
        loop {
            self.worker.start_due(&mut running).await.unwrap();
            if running.is_empty() {
                return;
            }
            while let Some(done) = running.join_next().await {
                done.unwrap();
            }
        }
    }

    /// Works until `there` is true of the doubles; then dies in the middle of what it does.
    pub(crate) async fn work_and_die_once(&self, there: impl Fn(&FakeVendors) -> bool) {
        let mut running = JoinSet::new();
        for _ in 0..2_000 {
            self.worker.start_due(&mut running).await.unwrap();
            if there(&self.fakes) {
                running.shutdown().await;
                self.store.put_jobs_back().await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to that: {:#?}", self.fakes.requests());
    }

    /// What became of the calls, the first one first.
    pub(crate) async fn syncs(&self, crm: Crm) -> Vec<Sync> {
        let mut syncs = self.store.syncs(&self.owner, crm, true, ALL).await.unwrap();
        syncs.sort_by(|one, other| one.id.cmp(&other.id));
        syncs
    }

    /// The records of a CRM of these kinds.
    pub(crate) fn records(&self, crm: Crm, kinds: &[&str]) -> Vec<Value> {
        let state = self.fakes.crm_state(vendor(crm));
        let records = state["records"].as_array().unwrap().iter();
        records.filter(|record| kinds.iter().any(|kind| record["type"] == *kind)).cloned().collect()
    }

    pub(crate) fn people(&self, crm: Crm) -> Vec<Value> {
        self.records(crm, &["Lead", "Contact", "contacts", "leads"])
    }

    pub(crate) fn activities(&self, crm: Crm) -> Vec<Value> {
        self.records(crm, &["Task", "calls", "phonecalls"])
    }
}
