//! The desk that the settings ask for: its hours, its calendar, and how it learns who calls.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::domain::appointments::google::AtGoogle;
use crate::domain::appointments::local::{CALLBOT, LocalCalendar};
use crate::domain::appointments::tells_owner::TellsOwner;
use crate::domain::appointments::{Appointments, Calendar};
use crate::integrations::google::{Access, GoogleCalendar, Hosts, ServiceAccount, oauth};
use crate::integrations::tools::{Desk, DeskTool, NumberOf};
use crate::settings::{AgentChoice, Settings};
use crate::store::Store;

/// Appointments that callers may book, if the settings have any. Reads the key of a service account. The error says what to do.
pub(super) fn desk(settings: &Settings, store: &Arc<Store>) -> Result<Option<Desk>, String> {
    let Some(wanted) = &settings.appointments else { return Ok(None) };
    if settings.agent == AgentChoice::Scenario {
        tracing::warn!(
            "[appointments] are for agents that ask a model, and a scenario answers: OFFHOOK_AGENT=openai"
        );
    }
    let calendar: Box<dyn Calendar> = match google(settings)? {
        Some((calendar, whose)) => Box::new(AtGoogle::new(calendar, wanted.rules.zone.clone(), &whose)),
        None => Box::new(LocalCalendar::new(store.clone(), CALLBOT)),
    };
    let calendar = TellsOwner::new(calendar, store.clone(), &wanted.rules.zone);
    let appointments = Appointments::new(wanted.rules.clone(), Box::new(calendar));
    Ok(Some(Desk::new(Arc::new(appointments), &DeskTool::ALL, number_of(store))))
}

/// The service account for lines without a calendar connection of their own, if there is one.
pub(super) fn fallback(settings: &Settings) -> Result<Option<ServiceAccount>, String> {
    settings.google_credentials.as_deref().map(account).transpose()
}

fn account(path: &Path) -> Result<ServiceAccount, String> {
    let place = format!("GOOGLE_APPLICATION_CREDENTIALS names {}", path.display());
    let json =
        std::fs::read_to_string(path).map_err(|error| format!("{place}, which cannot be read: {error}"))?;
    ServiceAccount::from_json(&json).map_err(|error| format!("{place}: {error}"))
}

/// By the record of the call.
pub(super) fn number_of(store: &Arc<Store>) -> NumberOf {
    let store = store.clone();
    Arc::new(move |call| {
        let (store, call) = (store.clone(), call.to_owned());
        async move {
            let record = store.record(&call).await.unwrap_or_else(|error| {
                tracing::warn!(call_id = %call, %error, "the number of a caller cannot be looked up");
                None
            });
            record.map(|record| record.from).filter(|from| !from.is_empty())
        }
        .boxed()
    })
}

/// The calendar at Google that appointments go to, if any, and the address of the account that it is to be shared with. The
/// error says what to do.
pub fn google(settings: &Settings) -> Result<Option<(GoogleCalendar, String)>, String> {
    let address = settings.appointments.as_ref().and_then(|wanted| wanted.google_calendar.as_deref());
    let Some(address) = address else { return Ok(None) };
    let key = settings.google_credentials.as_deref();
    let account = account(key.ok_or("GOOGLE_APPLICATION_CREDENTIALS is not set")?)?;
    let whose = account.email().to_owned();
    let hosts = Hosts::at(settings.vendors.google_base());
    let access = Access::of_account(account, hosts.clone(), &oauth::CALENDAR)?;
    Ok(Some((GoogleCalendar::new(hosts, access, address)?, whose)))
}
