//! How the server, the services that it needs, and the day's calls stand.
//!
//! A service without settings says `not_configured` wherever something could be said of it; `last_check` is then when the
//! settings were read. The day is that of UTC, its calls are those that were announced in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::domain::call::Figures;
use crate::domain::services::{Service, Services, Standing};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;

/// The answer, field by field as documented.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ServerStatus)]
pub(super) struct Status {
    application: Application,
    services: ServiceStates,
    metrics: Metrics,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ApplicationState)]
struct Application {
    status: &'static str,
    version: &'static str,
    /// `development` or `production`.
    environment: &'static str,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ServiceStates {
    twilio: Twilio,
    google_cloud: GoogleCloud,
    salesforce: Salesforce,
    calendar: Calendar,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TwilioState)]
struct Twilio {
    /// `connected`, `disconnected`, `not_configured`; `unknown` until the first answer after the start.
    status: &'static str,
    #[schema(format = DateTime)]
    last_check: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = GoogleCloudState)]
struct GoogleCloud {
    status: &'static str,
    speech_api: &'static str,
    tts_api: &'static str,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SalesforceState)]
struct Salesforce {
    status: &'static str,
    api_version: &'static str,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CalendarState)]
struct Calendar {
    provider: &'static str,
    status: &'static str,
}

#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = DayMetrics)]
struct Metrics {
    active_calls: usize,
    total_calls_today: u64,
    /// Of the day's calls that were answered and are over, in whole seconds; 0 if there are none.
    average_call_duration: u64,
    /// The share of the day's calls that are over which were completed, from 0 to 1; 0 if there are none.
    success_rate: f64,
}

/// How the server and its services stand
///
/// From real probes of what is configured, and from the day's calls; the day is that of UTC.
#[utoipa::path(
    get,
    path = "/status",
    tag = "health",
    responses((
        status = 200,
        description = "How they stand",
        body = Status,
        example = json!({
            "application": { "status": "running", "version": "1.0.0", "environment": "production" },
            "services": {
                "twilio": { "status": "connected", "last_check": "2024-01-01T12:00:00Z" },
                "google_cloud": {
                    "status": "not_configured",
                    "speech_api": "not_configured",
                    "tts_api": "not_configured",
                },
                "salesforce": { "status": "not_configured", "api_version": "not_configured" },
                "calendar": { "provider": "not_configured", "status": "not_configured" },
            },
            "metrics": {
                "active_calls": 3,
                "total_calls_today": 127,
                "average_call_duration": 180,
                "success_rate": 0.94,
            },
        }),
    ))
)]
pub(super) async fn handle(State(app): State<Arc<App>>) -> Result<Json<Status>, ApiError> {
    let figures = app.store.figures(UnixMs::now().day()).await?;
    Ok(Json(Status {
        application: Application {
            status: "running",
            version: env!("CARGO_PKG_VERSION"),
            environment: app.settings.environment.as_str(),
        },
        services: ServiceStates::of(&app.services),
        metrics: Metrics::of(&figures, app.calls.running()),
    }))
}

impl ServiceStates {
    fn of(services: &Services) -> Self {
        let twilio = services.checked(Service::Twilio);
        let status = |service| services.checked(service).standing.as_str();
        // Nothing that is offered here has a client yet: what could be said beyond the status is as unconfigured.
        let absent = Standing::NotConfigured.as_str();
        Self {
            twilio: Twilio { status: twilio.standing.as_str(), last_check: twilio.at.to_seconds_text() },
            google_cloud: GoogleCloud {
                status: status(Service::GoogleCloud),
                speech_api: absent,
                tts_api: absent,
            },
            salesforce: Salesforce { status: status(Service::Salesforce), api_version: absent },
            calendar: Calendar { provider: absent, status: status(Service::Calendar) },
        }
    }
}

impl Metrics {
    fn of(figures: &Figures, active_calls: usize) -> Self {
        let rate = figures.completed as f64 / figures.finished.max(1) as f64;
        Self {
            active_calls,
            total_calls_today: figures.announced,
            average_call_duration: (figures.duration_ms_average.unwrap_or(0.0) / 1_000.0).round() as u64,
            success_rate: (rate * 10_000.0).round() / 10_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::services::PACE;
    use serde_json::json;

    #[test]
    fn a_day_without_calls_has_figures_of_nought() {
        let metrics = serde_json::to_value(Metrics::of(&Figures::default(), 0)).unwrap();
        assert_eq!(
            metrics,
            json!({ "active_calls": 0, "total_calls_today": 0, "average_call_duration": 0, "success_rate": 0.0 })
        );
    }

    #[test]
    fn durations_are_whole_seconds_and_the_rate_a_share() {
        let figures =
            Figures { announced: 127, finished: 3, completed: 2, duration_ms_average: Some(179_500.0) };
        assert_eq!(
            Metrics::of(&figures, 3),
            Metrics {
                active_calls: 3,
                total_calls_today: 127,
                average_call_duration: 180,
                success_rate: 0.6667
            }
        );
    }

    #[test]
    fn what_is_not_configured_says_so_in_every_word() {
        let states = ServiceStates::of(&Services::new(Vec::new(), PACE, UnixMs(1_704_110_400_000)));
        let absent = "not_configured";
        assert_eq!(
            serde_json::to_value(states).unwrap(),
            json!({
                "twilio": { "status": absent, "last_check": "2024-01-01T12:00:00Z" },
                "google_cloud": { "status": absent, "speech_api": absent, "tts_api": absent },
                "salesforce": { "status": absent, "api_version": absent },
                "calendar": { "provider": absent, "status": absent },
            })
        );
    }
}
