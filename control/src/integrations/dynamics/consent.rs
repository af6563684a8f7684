//! Microsoft Entra's OAuth 2: the instance is part of what is consented to, so a token is good for one instance. Each renewal
//! replaces the refresh token.

use crate::integrations::crm::Grant;
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{self, Attempt, OAuthError, challenge, tokens_of};
use crate::settings::{BaseUrl, CrmClientSettings, Secret};

/// Where instances are.
const DOMAINS: [&str; 1] = ["dynamics.com"];

/// The client that an operator registered.
#[derive(Debug)]
pub(super) struct Consent {
    http: HttpClient,
    base: BaseUrl,
    is_vendors: bool,
    /// Who may consent: `organizations`, `common`, or one organization's id.
    tenant: String,
    client_id: String,
    client_secret: Secret,
}

impl Consent {
    pub(super) fn new(http: HttpClient, settings: &CrmClientSettings) -> Self {
        Self {
            http,
            base: settings.base.clone(),
            is_vendors: settings.is_vendors_base(),
            tenant: settings.option("tenant").unwrap_or("organizations").to_owned(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
        }
    }

    /// Tokens are sent there, and it is named to who gives them: it must be an instance of Dynamics, or where the operator says
    /// that all of it is.
    pub(super) fn instance_url(&self, text: &str) -> Result<String, String> {
        const HELP: &str =
            "must be the https URL of a Dynamics 365 instance, such as https://orgname.crm.dynamics.com";
        let url: BaseUrl = text.trim().parse().map_err(|_| HELP.to_owned())?;
        let is_configured = !self.is_vendors && url.is_same_origin(&self.base);
        if url.is_https_below(&DOMAINS) || is_configured { Ok(url.to_string()) } else { Err(HELP.into()) }
    }

    /// Where an instance's API is asked.
    pub(super) fn api(&self, instance_url: &str) -> String {
        if self.is_vendors { instance_url.to_owned() } else { self.base.to_string() }
    }

    fn scopes(instance_url: &str) -> String {
        format!("{instance_url}/user_impersonation offline_access openid profile")
    }

    fn url(&self, what: &str) -> String {
        self.base.of(&format!("/{}/oauth2/v2.0/{what}", self.tenant))
    }

    pub(super) fn authorization_url(
        &self,
        redirect_uri: &str,
        instance_url: &str,
        attempt: &Attempt,
    ) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &Self::scopes(instance_url))
            .append_pair("state", attempt.state.reveal())
            .append_pair("code_challenge", &challenge(attempt.verifier.reveal()))
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{}?{query}", self.url("authorize"))
    }

    pub(super) async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        instance_url: &str,
    ) -> Result<Grant, OAuthError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.tokens(&fields, instance_url).await
    }

    pub(super) async fn refresh(&self, refresh: &Secret, instance_url: &str) -> Result<Grant, OAuthError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())];
        self.tokens(&fields, instance_url).await
    }

    async fn tokens(&self, fields: &[(&str, &str)], instance_url: &str) -> Result<Grant, OAuthError> {
        let scopes = Self::scopes(instance_url);
        let client = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.reveal()),
            ("scope", &scopes),
        ];
        let fields: Vec<_> = fields.iter().copied().chain(client).collect();
        let said = oauth::ask(&self.http, self.url("token"), &fields, &self.client_secret).await?;
        Ok(Grant { tokens: tokens_of(&said)?, instance_url: Some(instance_url.to_owned()) })
    }
}
