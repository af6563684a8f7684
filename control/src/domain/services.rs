//! The outside services that calls depend on: which are configured, and whether each answered when it was last asked.
//!
//! A service is asked by a [`Probe`] in the background, at the start and every minute. Who wants to know how things stand
//! gets what the last probe found, and when that was: nobody waits for a vendor. A service without a probe is not
//! configured; that was settled when the settings were read, which is the time it is given.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::time::UnixMs;

/// When services are asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often each of them.
    pub ask_every: Duration,
    /// One that has not answered by then is disconnected.
    pub answer_within: Duration,
}

/// Every minute, with five seconds to answer.
pub const PACE: Pace = Pace { ask_every: Duration::from_secs(60), answer_within: Duration::from_secs(5) };

/// Something outside that calls may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The carrier's REST API.
    Twilio,
    /// Google's recogniser and voices.
    GoogleCloud,
    /// The CRM.
    Salesforce,
    /// Where appointments go.
    Calendar,
    /// ElevenLabs' voices.
    ElevenLabs,
}

impl Service {
    /// As logs name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Twilio => "twilio",
            Self::GoogleCloud => "google_cloud",
            Self::Salesforce => "salesforce",
            Self::Calendar => "calendar",
            Self::ElevenLabs => "elevenlabs",
        }
    }
}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No settings for it.
    NotConfigured,
    /// Configured, and the first answer is still awaited.
    Unknown,
    /// It answered as it should.
    Connected,
    /// It did not: why, in words for the log.
    Disconnected(String),
}

impl Standing {
    /// In a word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Unknown => "unknown",
            Self::Connected => "connected",
            Self::Disconnected(_) => "disconnected",
        }
    }
}

/// What is known of a service, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How it stands.
    pub standing: Standing,
    /// When it was last asked; when the settings were read, if it never was.
    pub at: UnixMs,
}

/// The answer to whether a service is there: the error says why not, without secrets.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Asks one service whether it is there and takes our credentials.
pub trait Probe: Send + Sync {
    /// Which service.
    fn service(&self) -> Service;

    /// Asks it. May take as long as it likes: whoever calls keeps the time.
    fn ask(&self) -> Probing<'_>;
}

/// All services.
pub struct Services {
    settled: UnixMs,
    pace: Pace,
    probed: Vec<Probed>,
}

struct Probed {
    probe: Box<dyn Probe>,
    last: Mutex<Checked>,
}

impl Services {
    /// Services of which those with a probe are configured. `now`: when that was settled.
    pub fn new(probes: Vec<Box<dyn Probe>>, pace: Pace, now: UnixMs) -> Self {
        let unknown = || Mutex::new(Checked { standing: Standing::Unknown, at: now });
        let probed = probes.into_iter().map(|probe| Probed { probe, last: unknown() }).collect();
        Self { settled: now, pace, probed }
    }

    /// What the last probe found.
    pub fn checked(&self, service: Service) -> Checked {
        match self.probed.iter().find(|probed| probed.probe.service() == service) {
            Some(probed) => probed.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => Checked { standing: Standing::NotConfigured, at: self.settled },
        }
    }

    /// How a service stands, once it has answered for the first time, or not by the end of `within`.
    pub async fn settled(&self, service: Service, within: Duration) -> Standing {
        let give_up = Instant::now() + within;
        loop {
            let standing = self.checked(service).standing;
            if standing != Standing::Unknown || Instant::now() >= give_up {
                return standing;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks all that are configured, at once and then at their pace, for as long as it is polled.
    pub async fn keep_asking(&self) {
        let mut every = tokio::time::interval(self.pace.ask_every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.ask_all().await;
        }
    }

    /// Asks all that are configured, side by side.
    async fn ask_all(&self) {
        let asking = self.probed.iter().map(|probed| probed.ask(self.pace.answer_within));
        futures_util::future::join_all(asking).await;
    }
}

impl Probed {
    async fn ask(&self, within: Duration) {
        let standing = match tokio::time::timeout(within, self.probe.ask()).await {
            Ok(Ok(())) => Standing::Connected,
            Ok(Err(why)) => Standing::Disconnected(why),
            Err(_) => Standing::Disconnected(format!("no answer within {} s", within.as_secs_f32())),
        };
        let now = Checked { standing, at: UnixMs::now() };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now.clone());
        drop(last);
        if before.standing != now.standing {
            self.tell(&now.standing);
        }
    }

    /// Says what has changed, once.
    fn tell(&self, standing: &Standing) {
        let service = self.probe.service().as_str();
        match standing {
            Standing::Disconnected(why) => tracing::warn!(service, %why, "a service is disconnected"),
            _ => tracing::info!(service, "a service is connected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers what it is told to, and counts how often it is asked.
    struct Scripted {
        answer: fn(usize) -> Option<Result<(), String>>,
        asked: Arc<AtomicUsize>,
    }

    impl Probe for Scripted {
        fn service(&self) -> Service {
            Service::Twilio
        }

        fn ask(&self) -> Probing<'_> {
            Box::pin(async {
                match (self.answer)(self.asked.fetch_add(1, Ordering::Relaxed)) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            })
        }
    }

    fn services(answer: fn(usize) -> Option<Result<(), String>>) -> (Arc<Services>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let probe = Scripted { answer, asked: asked.clone() };
        let pace = Pace { ask_every: Duration::from_millis(1), answer_within: Duration::from_millis(20) };
        (Arc::new(Services::new(vec![Box::new(probe)], pace, UnixMs(7))), asked)
    }

    #[tokio::test]
    async fn what_has_no_probe_is_not_configured_since_the_settings_were_read() {
        let (services, _) = services(|_| Some(Ok(())));
        let salesforce = services.checked(Service::Salesforce);
        assert_eq!(salesforce, Checked { standing: Standing::NotConfigured, at: UnixMs(7) });
        assert_eq!(services.checked(Service::Twilio).standing, Standing::Unknown);
    }

    #[tokio::test]
    async fn what_is_known_is_what_the_last_probe_found() {
        let (services, _) = services(|time| Some(if time == 1 { Err("gone".into()) } else { Ok(()) }));
        for standing in [Standing::Connected, Standing::Disconnected("gone".into()), Standing::Connected] {
            services.ask_all().await;
            let twilio = services.checked(Service::Twilio);
            assert_eq!(twilio.standing, standing);
            assert!(twilio.at > UnixMs(7), "the time is that of the probe");
        }
    }

    #[tokio::test]
    async fn services_are_asked_again_and_again() {
        let (services, asked) = services(|_| Some(Ok(())));
        let asking = tokio::spawn({
            let services = services.clone();
            async move { services.keep_asking().await }
        });
        while asked.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        asking.abort();
    }

    #[tokio::test]
    async fn a_service_that_does_not_answer_in_time_is_disconnected() {
        let (services, _) = services(|_| None);
        services.ask_all().await;
        let Standing::Disconnected(why) = services.checked(Service::Twilio).standing else { panic!() };
        assert!(why.contains("within 0.02 s"), "{why}");
    }
}
