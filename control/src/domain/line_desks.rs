//! Where the appointments of a line are: in the calendar that its owner connected, in one that is shared with the server's
//! service account, or in one of this server's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;

use super::appointments::google::AtGoogle;
use super::appointments::hours::{Rules, Week};
use super::appointments::local::LocalCalendar;
use super::appointments::tells_owner::TellsOwner;
use super::appointments::{Appointment, Appointments, Calendar, Entry, Unavailable};
use super::connections::{Connection, ConnectionKind};
use super::keys::Keys;
use super::lines::Line;
use super::time::{Span, UnixMs};
use crate::integrations::google::{Access, GoogleCalendar, Hosts, OAuth, ServiceAccount, oauth};
use crate::integrations::tools::NumberOf;
use crate::settings::{Secret, Settings};
use crate::store::Store;

/// What Google calls the calendar of whoever asks. A service account's own is seen by nobody.
const PRIMARY: &str = "primary";

/// How many lines' calendars are kept ready.
const KEPT: usize = 1_024;

/// The appointments of a line, as a call of it needs them.
#[derive(Clone)]
pub struct LineDesk {
    /// Tells this desk from all others, and from what it was before its owner connected another calendar.
    pub key: String,
    /// The appointments.
    pub appointments: Arc<Appointments>,
    /// Who calls.
    pub number_of: NumberOf,
}

/// The desks of all lines.
pub struct LineDesks {
    store: Arc<Store>,
    keys: Arc<Keys>,
    google: Option<Arc<OAuth>>,
    hosts: Hosts,
    /// For lines without a connection of their own.
    fallback: Option<ServiceAccount>,
    rules: Rules,
    number_of: NumberOf,
    kept: Mutex<HashMap<String, Arc<Appointments>>>,
}

impl LineDesks {
    /// `fallback`: the server's own service account, if it has one.
    pub fn new(
        settings: &Settings,
        store: Arc<Store>,
        keys: Arc<Keys>,
        google: Option<Arc<OAuth>>,
        fallback: Option<ServiceAccount>,
        number_of: NumberOf,
    ) -> Self {
        let rules = settings.appointments.as_ref().map_or_else(default_rules, |wanted| wanted.rules.clone());
        let hosts = Hosts::at(settings.vendors.google_base());
        Self { store, keys, google, hosts, fallback, rules, number_of, kept: Mutex::default() }
    }

    /// Whether lines without a connection of their own can have a calendar at Google.
    pub fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// The desk of a line. None if it has a calendar that cannot be got at: nothing is booked past that.
    pub async fn of(&self, line: &Line) -> Option<LineDesk> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(line = line.id, %error, "the calendar of a line cannot be used: its calls have no appointments");
        };
        let connection = match self.store.connection_of_line(&line.id).await {
            Ok(connection) => connection,
            Err(error) => {
                failed(&error);
                return None;
            }
        };
        let made = connection.as_ref().map_or(0, |connection| connection.created.0);
        let key = format!("{} {} {made}", line.id, line.calendar);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(&key).cloned();
        let appointments = match known {
            Some(known) => known,
            None => {
                let calendar = self.calendar(line, connection).inspect_err(|error| failed(error)).ok()?;
                let calendar = TellsOwner::new(calendar, self.store.clone(), &self.rules.zone);
                let appointments = Arc::new(Appointments::new(self.rules.clone(), Box::new(calendar)));
                if kept.len() >= KEPT {
                    kept.clear();
                }
                kept.insert(key.clone(), appointments.clone());
                appointments
            }
        };
        Some(LineDesk { key, appointments, number_of: self.number_of.clone() })
    }

    fn calendar(&self, line: &Line, connection: Option<Connection>) -> Result<Box<dyn Calendar>, String> {
        let Some(connection) = connection else {
            return match &self.fallback {
                Some(account) if line.calendar != PRIMARY => {
                    let access = self.access_of(account.clone())?;
                    Ok(Box::new(self.at_google(access, line, account.email())?))
                }
                _ => Ok(self.local(line)),
            };
        };
        let sealer = self.keys.sealer().ok_or("OFFHOOK_MASTER_KEY is not set")?;
        let secrets = sealer.open(Connection::place(&line.id), &connection.sealed);
        let secrets = secrets.map_err(|error| error.to_string())?;
        let access = match connection.kind {
            ConnectionKind::ServiceAccount if line.calendar == PRIMARY => {
                tracing::warn!(
                    line = line.id,
                    "a service account has no calendar that anybody sees: appointments are kept here until calendar_id is the \
                     address of one that is shared with it"
                );
                return Ok(self.local(line));
            }
            ConnectionKind::ServiceAccount => {
                let json = String::from_utf8(secrets).map_err(|_| "the key file is no text")?;
                self.access_of(ServiceAccount::from_json(&json)?)?
            }
            ConnectionKind::OAuth => self.access_by_consent(line, &connection, &secrets)?,
        };
        let calendar = self.at_google(access, line, &line.id)?;
        Ok(Box::new(Noted {
            calendar,
            store: self.store.clone(),
            line: line.id.clone(),
            made: connection.created,
        }))
    }

    fn access_of(&self, account: ServiceAccount) -> Result<Access, String> {
        Access::of_account(account, self.hosts.clone(), &oauth::CALENDAR)
    }

    fn access_by_consent(
        &self,
        line: &Line,
        connection: &Connection,
        secrets: &[u8],
    ) -> Result<Access, String> {
        let google = self.google.clone().ok_or("GOOGLE_CLIENT_ID is not set")?;
        let secrets: serde_json::Value =
            serde_json::from_slice(secrets).map_err(|_| "what is kept of the consent is no JSON")?;
        let refresh =
            secrets["refresh_token"].as_str().ok_or("the consent has no refresh token: connect it again")?;
        let (store, keys, line, made) =
            (self.store.clone(), self.keys.clone(), line.id.clone(), connection.created);
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| error.to_string())?;
        let on_replaced = move |refresh: &Secret| {
            let text = serde_json::json!({ "refresh_token": refresh.reveal() }).to_string();
            let Some(sealer) = keys.sealer() else { return };
            let sealed = sealer.seal(Connection::place(&line), text.as_bytes());
            let (store, line) = (store.clone(), line.clone());
            runtime.spawn(async move {
                if let Err(error) = store.used_connection(&line, made, Some(sealed), UnixMs::now()).await {
                    tracing::error!(line, %error, "a new token of a calendar could not be kept");
                }
            });
        };
        Ok(Access::of_consent(google, Secret::new(refresh), Box::new(on_replaced)))
    }

    fn at_google(&self, access: Access, line: &Line, whose: &str) -> Result<AtGoogle, String> {
        let calendar = GoogleCalendar::new(self.hosts.clone(), access, &line.calendar)?;
        Ok(AtGoogle::new(calendar, self.rules.zone.clone(), whose))
    }

    fn local(&self, line: &Line) -> Box<dyn Calendar> {
        Box::new(LocalCalendar::new(self.store.clone(), &desk_of(&line.id)))
    }
}

/// What the desk of a line is called in the calendars of this server.
pub fn desk_of(line: &str) -> String {
    format!("line {line}")
}

/// From Monday to Friday, from nine to five, where nothing is said; in UTC, since nobody said where either.
fn default_rules() -> Rules {
    Rules {
        zone: TimeZone::UTC,
        week: Week::office_hours(),
        slot_minutes: 30,
        notice: std::time::Duration::from_secs(3_600),
        days_ahead: 60,
    }
}

/// A calendar of which is noted when it was last asked.
struct Noted {
    calendar: AtGoogle,
    store: Arc<Store>,
    line: String,
    made: UnixMs,
}

impl Noted {
    async fn note(&self) {
        if let Err(error) = self.store.used_connection(&self.line, self.made, None, UnixMs::now()).await {
            tracing::warn!(line = self.line, %error, "when a calendar was asked could not be noted");
        }
    }
}

impl Calendar for Noted {
    fn name(&self) -> &str {
        self.calendar.name()
    }

    fn busy(&self, within: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        async move {
            let busy = self.calendar.busy(within).await?;
            self.note().await;
            Ok(busy)
        }
        .boxed()
    }

    fn enter<'a>(&'a self, appointment: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        async move {
            let entry = self.calendar.enter(appointment).await?;
            self.note().await;
            Ok(entry)
        }
        .boxed()
    }
}
