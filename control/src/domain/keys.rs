//! The two secrets that are not in the database: the master key, which seals what is secret in it, and the secret that tokens
//! are signed with.
//!
//! Each is a variable. In development one that is not set is made once, kept in the data folder for its owner alone, and told.
//! In production nothing is made: what needs a secret that is not there is refused.

use std::io::Write;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use super::seal::{KEY_BYTES, Place, Sealer};
use super::token::Signer;
use crate::hex;
use crate::settings::{Environment, Settings};

/// The file under the data folder that has the master key, where no variable has it.
pub const MASTER_KEY_FILE: &str = "master.key";

/// The file under the data folder that has the secret of tokens, likewise.
pub const JWT_SECRET_FILE: &str = "jwt.secret";

/// The place of the value that tells whether the master key is the one that this database knows.
pub const CHECK: Place<'_> = Place { table: "key_checks", column: "sealed", row: "master" };

/// What stands there.
pub const CHECK_TEXT: &[u8] = b"this key is the right one";

/// Both secrets, as far as they are there.
#[derive(Debug)]
pub struct Keys {
    sealer: Option<Sealer>,
    secret: Option<Vec<u8>>,
}

impl Keys {
    /// Reads the secrets, and makes those that may be made. The error says what to do.
    pub fn load(settings: &Settings) -> Result<Self, String> {
        let makes = settings.environment == Environment::Development;
        let from = |variable: Option<&str>, file: &str| -> Result<Option<String>, String> {
            match variable {
                Some(text) => Ok(Some(text.to_owned())),
                None if makes => made_once(&settings.data_dir.join(file)).map(Some),
                None => Ok(None),
            }
        };
        let master = settings.master_key.as_ref().map(|secret| secret.reveal());
        let place = if master.is_some() { "OFFHOOK_MASTER_KEY" } else { MASTER_KEY_FILE };
        let sealer = match from(master, MASTER_KEY_FILE)? {
            Some(text) => Some(Sealer::new(&key(&text).ok_or_else(|| {
                format!(
                    "{place} is no key: write 64 hexadecimal digits, such as `openssl rand -hex 32` gives"
                )
            })?)),
            None => None,
        };
        let secret = settings.jwt_secret.as_ref().map(|secret| secret.reveal());
        let secret = from(secret, JWT_SECRET_FILE)?.map(String::into_bytes);
        if secret.as_ref().is_some_and(|secret| secret.len() < KEY_BYTES) {
            return Err(format!(
                "OFFHOOK_JWT_SECRET (or {JWT_SECRET_FILE}) is shorter than {KEY_BYTES} characters: write a long random text"
            ));
        }
        Ok(Self { sealer, secret })
    }

    /// What seals, if there is a master key.
    pub fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_ref()
    }

    /// What signs the tokens of a system, if there is a secret for it.
    pub fn signer(&self, system: &'static str) -> Option<Signer> {
        self.secret.as_ref().map(|secret| Signer::new(secret, system))
    }

    /// Whether the master key is the one that the database was sealed with. `known`: its check value, if it has one.
    pub fn check(&self, known: Option<&[u8]>) -> Result<(), String> {
        let Some(known) = known else { return Ok(()) };
        let what = match &self.sealer {
            None => "is not set",
            Some(sealer) if sealer.open(CHECK, known).is_ok_and(|text| text == CHECK_TEXT) => return Ok(()),
            Some(_) => "is not the key",
        };
        Err(format!(
            "the database holds sealed secrets, and OFFHOOK_MASTER_KEY {what} that they were sealed with. Set that key (in \
             development it is in {MASTER_KEY_FILE} in the data folder; restore that file with the database). If it is lost, \
             so are the secrets: start once with OFFHOOK_FORGET_SECRETS=on, which removes them, and connect calendars again"
        ))
    }
}

/// The 32 bytes of 64 hexadecimal digits.
fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    hex::decode(text.trim())
}

/// Random bytes, in hexadecimal digits.
pub fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).expect("the system has random bytes");
    hex::encode(&random)
}

/// The secret in this file, which is made if it is not there.
fn made_once(path: &Path) -> Result<String, String> {
    let failed = |what: &str, error: std::io::Error| format!("{} cannot be {what}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("read", error)),
        Err(_) => {}
    }
    let text = random_hex(KEY_BYTES);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| failed("made", error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| failed("written", error))?;
    tracing::info!(file = %path.display(), "a secret was made and is kept here: back it up with the database");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn settings(dir: &Path) -> Settings {
        Settings::local(dir.to_path_buf())
    }

    #[test]
    fn in_development_secrets_are_made_once_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::load(&settings(dir.path())).unwrap();
        let sealed = keys.sealer().unwrap().seal(CHECK, CHECK_TEXT);
        let token = keys.signer("frontdesk").unwrap().sign("u", crate::domain::time::UnixMs(0));
        let again = Keys::load(&settings(dir.path())).unwrap();
        assert_eq!(again.check(Some(&sealed)), Ok(()));
        assert!(again.signer("frontdesk").unwrap().verify(&token, crate::domain::time::UnixMs(0)).is_some());
        #[cfg(unix)]
        for file in [MASTER_KEY_FILE, JWT_SECRET_FILE] {
            let mode = std::os::unix::fs::MetadataExt::mode(&dir.path().join(file).metadata().unwrap());
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn in_production_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let production = Settings { environment: Environment::Production, ..settings(dir.path()) };
        let keys = Keys::load(&production).unwrap();
        assert!(keys.sealer().is_none() && keys.signer("frontdesk").is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(keys.check(None), Ok(()));
        let complaint = keys.check(Some(b"sealed")).unwrap_err();
        assert!(complaint.contains("OFFHOOK_MASTER_KEY is not set"), "{complaint}");
    }

    #[test]
    fn another_key_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let with =
            |key: &str| Keys::load(&Settings { master_key: Some(Secret::new(key)), ..settings(dir.path()) });
        let sealed = with(&"ab".repeat(32)).unwrap().sealer().unwrap().seal(CHECK, CHECK_TEXT);
        assert_eq!(with(&"AB".repeat(32)).unwrap().check(Some(&sealed)), Ok(()));
        let complaint = with(&"cd".repeat(32)).unwrap().check(Some(&sealed)).unwrap_err();
        for part in ["OFFHOOK_MASTER_KEY", "master.key", "OFFHOOK_FORGET_SECRETS"] {
            assert!(complaint.contains(part), "{complaint}");
        }
        for bad in ["short", &"zz".repeat(32), &"é".repeat(32), &"ab".repeat(33)] {
            let complaint = with(bad).unwrap_err();
            assert!(complaint.contains("64 hexadecimal") && !complaint.contains(bad), "{complaint}");
        }
    }
}
