//! A 3CX telephone system whose calls are answered here.

use serde::Deserialize;

use super::SettingsError;
use super::agent::BaseUrl;
use super::layers::Layers;
use super::values::Secret;

/// `[threecx]` in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThreeCxTable {
    base_url: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    dn: Option<String>,
}

impl ThreeCxTable {
    /// `threecx_dn` is `dn` in the table.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match key {
            "base_url" => self.base_url.clone(),
            "client_id" => self.client_id.clone(),
            "client_secret" => self.client_secret.clone(),
            "dn" => self.dn.clone(),
            _ => None,
        }
    }
}

/// A 3CX system, and who we are to it.
#[derive(Clone, Debug)]
pub struct ThreeCxSettings {
    /// Where it is: `https://pbx.example.com`.
    pub base: BaseUrl,
    /// The API client's id: the number of its route point.
    pub client_id: String,
    /// Its key.
    pub client_secret: Secret,
    /// The route point whose calls are answered. Default the client's id.
    pub dn: String,
}

/// The system, if any of it is set.
pub(super) fn read(layers: &Layers<'_>) -> Result<Option<ThreeCxSettings>, SettingsError> {
    let base = layers.read::<BaseUrl>("threecx_base_url", None)?;
    let client_id = layers.plain("threecx_client_id", "THREECX_CLIENT_ID");
    let client_secret = layers.secret("threecx_client_secret", "THREECX_CLIENT_SECRET");
    let dn = layers.text("threecx_dn", None).map(|given| given.text.trim().to_owned());
    let dn = dn.filter(|dn| !dn.is_empty());
    if base.is_none() && client_id.is_none() && client_secret.is_none() && dn.is_none() {
        return Ok(None);
    }
    let missing = |what: &str| {
        SettingsError::Together(format!(
            "3CX's calls are to be answered, and {what}. Set OFFHOOK_THREECX_BASE_URL, THREECX_CLIENT_ID and \
             THREECX_CLIENT_SECRET together, or none of them."
        ))
    };
    let base = base.ok_or_else(|| missing("it is not said where the system is"))?;
    let client_id = client_id.ok_or_else(|| missing("there is no client id"))?;
    let client_secret = client_secret.ok_or_else(|| missing("there is no secret for the client id"))?;
    if base.is_exposed() {
        return Err(SettingsError::Together(format!(
            "3CX is at {base}, where anyone on the way can read the key and listen to the calls: use https."
        )));
    }
    let dn = dn.unwrap_or_else(|| client_id.clone());
    // It becomes a part of paths.
    if !dn.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b)) {
        return Err(SettingsError::Together(format!(
            "{dn:?} is no DN: write the number of the route point, such as 900, into OFFHOOK_THREECX_DN."
        )));
    }
    Ok(Some(ThreeCxSettings { base, client_id, client_secret, dn }))
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Settings};

    fn with(environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.toml");
        std::fs::write(&path, file).unwrap();
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::load(&Flags { config: Some(path), ..Flags::default() }, &lookup).map_err(|e| e.to_string())
    }

    const SECRET: (&str, &str) = ("THREECX_CLIENT_SECRET", "hush");

    #[test]
    fn a_system_is_set_in_the_file_or_the_environment_and_its_secret_is_not_shown() {
        let file = "[threecx]\nbase_url = 'https://pbx.example.com'\nclient_id = '900'";
        let settings = with(&[SECRET], file).unwrap();
        let threecx = settings.threecx.as_ref().unwrap();
        assert_eq!((threecx.client_id.as_str(), threecx.dn.as_str()), ("900", "900"));
        assert_eq!(threecx.base.of("/connect/token"), "https://pbx.example.com/connect/token");
        assert!(!format!("{settings:?}").contains("hush"));
        let settings = with(&[SECRET, ("OFFHOOK_THREECX_DN", "901")], file).unwrap();
        assert_eq!(settings.threecx.unwrap().dn, "901");
        assert!(with(&[], "").unwrap().threecx.is_none());
    }

    #[test]
    fn half_a_system_is_refused_and_says_what_is_missing() {
        let base = ("OFFHOOK_THREECX_BASE_URL", "https://pbx.example.com");
        let id = ("THREECX_CLIENT_ID", "900");
        for (environment, wanted) in [
            (&[base][..], "no client id"),
            (&[base, id], "no secret"),
            (&[id, SECRET], "where the system is"),
            (&[("OFFHOOK_THREECX_BASE_URL", "http://pbx.example.com"), id, SECRET], "use https"),
            (&[base, id, SECRET, ("OFFHOOK_THREECX_DN", "9/0")], "is no DN"),
        ] {
            let told = with(environment, "").unwrap_err();
            assert!(told.contains(wanted), "{told}");
        }
        assert!(with(&[], "[threecx]\nclient = '900'").unwrap_err().contains("client"));
    }
}
