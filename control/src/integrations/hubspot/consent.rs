//! HubSpot's OAuth 2. People consent at one host, tokens are given at another; a refresh token stays as it is.

use hyper::Method;
use offhook_engine::call::Failure;

use crate::integrations::crm::{CrmError, Grant, Request};
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{self, Attempt, OAuthError, challenge, tokens_of};
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, CrmClientSettings, Secret};

/// To read and write contacts, and what is associated with them.
const SCOPES: &str = "oauth crm.objects.contacts.read crm.objects.contacts.write";

/// Where people consent, unless all of HubSpot is said to be elsewhere.
const CONSENT_HOST: &str = "https://app.hubspot.com";

/// The client that an operator registered.
#[derive(Debug)]
pub(super) struct Consent {
    http: HttpClient,
    api: BaseUrl,
    app: BaseUrl,
    token_path: String,
    client_id: String,
    client_secret: Secret,
}

impl Consent {
    pub(super) fn new(http: HttpClient, settings: &CrmClientSettings) -> Self {
        let own = || CONSENT_HOST.parse().expect("the vendor's own address can be read");
        Self {
            http,
            api: settings.base.clone(),
            app: if settings.is_vendors_base() { own() } else { settings.base.clone() },
            token_path: settings.option("token_path").unwrap_or("/oauth/v1/token").to_owned(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
        }
    }

    /// The URL of a path of the API.
    pub(super) fn api(&self, path: &str) -> String {
        self.api.of(path)
    }

    pub(super) fn authorization_url(&self, redirect_uri: &str, attempt: &Attempt) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", SCOPES)
            .append_pair("state", attempt.state.reveal())
            // HubSpot asks for none of these; who asks by the standard may send them.
            .append_pair("response_type", "code")
            .append_pair("code_challenge", &challenge(attempt.verifier.reveal()))
            .append_pair("code_challenge_method", "S256")
            .finish();
        // Scopes are parted by spaces, and a plus is none here.
        format!("{}?{}", self.app.of("/oauth/authorize"), query.replace('+', "%20"))
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

    /// A refresh token is deleted by its name.
    pub(super) async fn revoke(&self, refresh: &Secret) -> Result<(), OAuthError> {
        let name: String = form_urlencoded::byte_serialize(refresh.reveal().as_bytes()).collect();
        let url = self.api.of(&format!("/oauth/v1/refresh-tokens/{}", name.replace('+', "%20")));
        let request = Request { method: Method::DELETE, url, token: refresh, headers: &[], body: None };
        match request.send(&self.http).await {
            // Where there is none, there is nothing to take back.
            Ok(answer) if answer.status.is_success() || answer.status.as_u16() == 404 => Ok(()),
            Ok(answer) => {
                let detail = format!("status {}", answer.status.as_u16());
                Err(VendorError::new(Failure::Refused, detail).into())
            }
            Err(CrmError::Expired(detail)) => Err(VendorError::new(Failure::Unauthorised, detail).into()),
            Err(error) => Err(VendorError::new(Failure::Unreachable, error.to_string()).into()),
        }
    }

    async fn tokens(&self, fields: &[(&str, &str)]) -> Result<Grant, OAuthError> {
        let client = [("client_id", self.client_id.as_str()), ("client_secret", self.client_secret.reveal())];
        let fields: Vec<_> = fields.iter().copied().chain(client).collect();
        let said =
            oauth::ask(&self.http, self.api.of(&self.token_path), &fields, &self.client_secret).await?;
        Ok(Grant { tokens: tokens_of(&said)?, instance_url: None })
    }
}
