//! People who sign in by e-mail address and password: registration, login, and giving a token back.
//!
//! An address is typed in, and nobody proves that it is theirs. So it never leads to what belongs to somebody else who showed
//! an address, such as a Google account: the two are joined only by who shows the tokens of both. Addresses that give more than
//! an account of one's own (admins, the owner of unclaimed calls) are registered in production by who shows a token of the
//! operator's.

pub mod passwords;

use std::sync::Arc;

use self::passwords::{Passwords, TooMany};
use super::time::UnixMs;
use super::token::{Session, Signer};
use crate::settings::{Environment, Settings};
use crate::store::{Store, StoreError};

/// The shortest password, in characters.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, less the brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// Somebody with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub id: String,
    /// Which they sign in with, in lower case.
    pub email: String,
    /// What they are called.
    pub name: String,
    /// When they registered.
    pub created: UnixMs,
    /// Whether it was registered with a token of the operator's.
    pub vouched: bool,
    /// The address that Google verified, if the account was joined with one there.
    pub verified_email: Option<String>,
}

/// What to register.
#[derive(Clone, Debug)]
pub struct Registration {
    /// As it was typed.
    pub email: String,
    /// Likewise.
    pub password: String,
    /// What they are called; none: as their address.
    pub name: Option<String>,
    /// Whether a token of the operator's was shown.
    pub vouched: bool,
}

/// Somebody who has just signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// Who.
    pub account: Account,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// What was typed cannot be used.
    #[error("{field} {reason}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What it should be.
        reason: String,
    },
    /// Somebody has the address.
    #[error("The email is already registered")]
    Taken,
    /// The address gives more than an account, and nobody vouched for who registers it.
    #[error(
        "This email is reserved: register it with one of the server's bearer tokens (OFFHOOK_BEARER_TOKENS)"
    )]
    Reserved,
    /// No account has this address and this password.
    #[error("Invalid email or password")]
    Wrong,
    /// The two are not two that can be joined.
    #[error("These accounts cannot be joined: one of them is joined already")]
    Joined,
    /// There is no secret to sign tokens with.
    #[error("This server has no secret to sign tokens with (OFFHOOK_JWT_SECRET)")]
    NoSecret,
    /// More passwords are being looked at than the server has time for.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<Store>,
    passwords: Passwords,
    signer: Option<Signer>,
    token_life_s: i64,
    admins: Vec<String>,
    /// Addresses, admins' among them, that in production take a token of the operator's.
    reserved: Vec<String>,
    development: bool,
}

impl Accounts {
    /// `signer`: of the dashboard's tokens; none: nobody can sign in.
    pub fn new(settings: &Settings, store: Arc<Store>, signer: Option<Signer>) -> Self {
        let admins = settings.frontdesk.admins.clone();
        let reserved = admins.iter().chain(&settings.dashboard.calls_owner).cloned().collect();
        Self {
            store,
            passwords: Passwords::default(),
            signer,
            token_life_s: settings.dashboard.token_life.as_secs() as i64,
            admins,
            reserved,
            development: settings.environment == Environment::Development,
        }
    }

    /// Makes an account.
    pub async fn register(&self, new: Registration, now: UnixMs) -> Result<SignedIn, AccountError> {
        let email = email_of(&new.email)?;
        check_password(&new.password, &email)?;
        if self.reserved.contains(&email) && !self.development && !new.vouched {
            return Err(AccountError::Reserved);
        }
        let signer = self.signer.as_ref().ok_or(AccountError::NoSecret)?;
        let hash = self.passwords.hash(new.password).await?;
        let name = new.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| email.clone());
        let account = self.store.add_account(&email, &name, hash, new.vouched, now).await?;
        let account = account.ok_or(AccountError::Taken)?;
        Ok(SignedIn { token: signer.sign_session(&account.id, self.token_life_s, now), account })
    }

    /// Lets in who knows the password. Takes as long where nobody has the address.
    pub async fn log_in(&self, email: &str, password: String, now: UnixMs) -> Result<SignedIn, AccountError> {
        let signer = self.signer.as_ref().ok_or(AccountError::NoSecret)?;
        let known = self.store.password_of(&email.trim().to_lowercase()).await?;
        let (user, hash) = known.unzip();
        let right = self.passwords.check(password, hash).await?;
        let user = user.filter(|_| right).ok_or(AccountError::Wrong)?;
        let account = self.store.signed_in(&user, now).await?.ok_or(AccountError::Wrong)?;
        Ok(SignedIn { token: signer.sign_session(&account.id, self.token_life_s, now), account })
    }

    /// What a token says, if it is one of ours and has not ended. Whether it was given back, [`Accounts::account`] tells.
    pub fn session(&self, token: &str, now: UnixMs) -> Option<Session> {
        self.signer.as_ref()?.session(token, now)
    }

    /// Whose session it is; none if the token was given back, or its account is gone.
    pub async fn account(&self, session: &Session) -> Result<Option<Account>, StoreError> {
        self.store.account_of_session(session).await
    }

    /// Takes a token back: it is not good any more, whatever becomes of this process.
    pub async fn log_out(&self, session: &Session, now: UnixMs) -> Result<(), StoreError> {
        self.store.revoke(session, now).await
    }

    /// Joins an account with the user who signs in with Google whose token was shown as well: what is theirs is the account's
    /// from here on.
    pub async fn join(&self, account: &Account, google_user: &str) -> Result<(), AccountError> {
        match self.store.join(&account.id, google_user).await? {
            true => Ok(()),
            false => Err(AccountError::Joined),
        }
    }

    /// Whether an account sees all.
    pub fn is_admin(&self, account: &Account) -> bool {
        let typed = self.development || account.vouched;
        let verified = account.verified_email.as_ref().map(|email| email.to_lowercase());
        typed && self.admins.contains(&account.email)
            || verified.is_some_and(|email| self.admins.contains(&email))
    }
}

/// An address in the form that it is kept in.
fn email_of(text: &str) -> Result<String, AccountError> {
    let email = text.trim().to_lowercase();
    let is_email = email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.matches('@').count() == 1
        && email.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.split('.').count() > 1 && host.split('.').all(|label| !label.is_empty())
        });
    match is_email {
        true => Ok(email),
        false => Err(AccountError::Invalid {
            field: "email",
            reason: "must be an address such as user@example.com".into(),
        }),
    }
}

/// Refuses what anybody would guess first. Length is what counts (NIST SP 800-63B, section 5.1.1.2).
fn check_password(password: &str, email: &str) -> Result<(), AccountError> {
    let refused = |reason: String| Err(AccountError::Invalid { field: "password", reason });
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        return refused(format!("must have at least {PASSWORD_CHARACTERS_MIN} characters"));
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) || password.to_lowercase() == email {
        return refused("must not be one character repeated, nor the email".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
