//! Whether ElevenLabs is there and takes the key, whoever speaks with it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HeaderValue;

use super::{CHECK, KEY};
use crate::domain::services::{Probe, Probing, Service};
use crate::integrations::http::HttpClient;
use crate::integrations::refusal::sensitive;
use crate::settings::Settings;

/// Asks for the models, which any key may see.
pub struct ElevenLabsProbe {
    http: HttpClient,
    url: String,
    key: HeaderValue,
}

impl ElevenLabsProbe {
    /// A probe with the settings' key. None without one, or with one that cannot be sent.
    pub fn from_settings(settings: &Settings, http: &HttpClient) -> Option<Self> {
        let vendor = &settings.vendors.elevenlabs;
        let key = sensitive(vendor.key.as_ref()?.reveal());
        let key = key.inspect_err(|what| tracing::warn!("ElevenLabs' key: {what}")).ok()?;
        Some(Self { http: http.clone(), url: vendor.base.of("/v1/models"), key })
    }

    async fn look(&self) -> Result<(), String> {
        let request = Request::get(&self.url)
            .header(KEY, self.key.clone())
            .body(Full::<Bytes>::default())
            .map_err(|error| error.to_string())?;
        let answer = self.http.send(request, CHECK).await.map_err(|error| error.to_string())?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(format!("status {}", answer.status.as_u16())),
        }
    }
}

impl Probe for ElevenLabsProbe {
    fn service(&self) -> Service {
        Service::ElevenLabs
    }

    fn ask(&self) -> Probing<'_> {
        Box::pin(self.look())
    }
}
