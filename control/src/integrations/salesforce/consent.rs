//! Salesforce's OAuth 2, the web server flow, with PKCE, which many orgs ask for.
//!
//! Tokens do not say how long they are good: an org's policy decides, and a refused one is renewed. All requests go to the
//! `instance_url` that comes with a token, which may be another one after a renewal.

use serde_json::Value;

use crate::integrations::crm::Grant;
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{self, Attempt, OAuthError, challenge, malformed, tokens_of};
use crate::settings::{BaseUrl, CrmClientSettings, Secret};

/// To read and write records, and to do so while nobody is there.
const SCOPES: &str = "api refresh_token openid email";

/// Where orgs are.
const DOMAINS: [&str; 2] = ["salesforce.com", "force.com"];

/// The client that an operator registered.
#[derive(Debug)]
pub(super) struct Consent {
    http: HttpClient,
    base: BaseUrl,
    /// Whether the base is the vendor's own: then orgs are at its domains alone.
    is_vendors: bool,
    client_id: String,
    client_secret: Secret,
}

impl Consent {
    pub(super) fn new(http: HttpClient, settings: &CrmClientSettings) -> Self {
        Self {
            http,
            base: settings.base.clone(),
            is_vendors: settings.is_vendors_base(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
        }
    }

    pub(super) fn authorization_url(&self, redirect_uri: &str, attempt: &Attempt) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", SCOPES)
            .append_pair("state", attempt.state.reveal())
            .append_pair("code_challenge", &challenge(attempt.verifier.reveal()))
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{}?{query}", self.base.of("/services/oauth2/authorize"))
    }

    pub(super) fn userinfo(&self) -> String {
        self.base.of("/services/oauth2/userinfo")
    }

    pub(super) async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<Grant, OAuthError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.tokens(&fields).await
    }

    pub(super) async fn refresh(&self, refresh: &Secret) -> Result<Grant, OAuthError> {
        self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())]).await
    }

    pub(super) async fn revoke(&self, refresh: &Secret) -> Result<(), OAuthError> {
        let url = self.base.of("/services/oauth2/revoke");
        oauth::revoke(&self.http, url, refresh).await
    }

    async fn tokens(&self, fields: &[(&str, &str)]) -> Result<Grant, OAuthError> {
        let client = [("client_id", self.client_id.as_str()), ("client_secret", self.client_secret.reveal())];
        let fields: Vec<_> = fields.iter().copied().chain(client).collect();
        let url = self.base.of("/services/oauth2/token");
        let said: Value = oauth::ask(&self.http, url, &fields, &self.client_secret).await?;
        let instance_url = said["instance_url"].as_str().ok_or_else(|| malformed("no instance_url"))?;
        let instance_url = self.instance_url(instance_url).map_err(|what| malformed(&what))?;
        Ok(Grant { tokens: tokens_of(&said)?, instance_url: Some(instance_url) })
    }

    /// Tokens are sent there: it must be Salesforce's, or where the operator says that Salesforce is.
    pub(super) fn instance_url(&self, text: &str) -> Result<String, String> {
        let url: BaseUrl = text.parse().map_err(|_| "an instance_url that is none".to_owned())?;
        let is_there = match self.is_vendors {
            true => url.is_https_below(&DOMAINS),
            false => url.is_same_origin(&self.base) || url.is_https_below(&DOMAINS),
        };
        if is_there { Ok(url.to_string()) } else { Err("an instance_url that is not Salesforce's".into()) }
    }
}
