//! Passwords, as argon2id has them.
//!
//! A hash takes some 30 ms of a core and 19 MiB, on purpose. Calls are carried by the same cores: so one is made at a time, on a
//! thread that may wait, and who comes while many others wait is told to come again.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// Memory in KiB, passes and lanes: the second choice of the OWASP Password Storage Cheat Sheet (read 2026-11), and the crate's.
const COST: (u32, u32, u32) = (19 * 1_024, 2, 1);

/// How many may wait for their turn: two seconds of one core.
const WAITING_MAX: usize = 64;

/// Too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Too many people sign in at this moment; try again in a few seconds")]
pub struct TooMany;

/// Makes and checks hashes.
#[derive(Debug)]
pub struct Passwords {
    waiting: Semaphore,
    turn: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { waiting: Semaphore::new(WAITING_MAX), turn: Semaphore::new(1) }
    }
}

impl Passwords {
    /// The hash of a password, with a salt of its own: a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, TooMany> {
        self.in_turn(move || hash(&password)).await
    }

    /// Whether a password is the one of this hash. Without a hash it is none's, and that takes as long.
    pub async fn check(&self, password: String, known: Option<String>) -> Result<bool, TooMany> {
        self.in_turn(move || match known {
            Some(known) => is_of(&password, &known),
            None => {
                hash(&password);
                false
            }
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooMany> {
        let _place = self.waiting.try_acquire().map_err(|_| TooMany)?;
        let _turn = self.turn.acquire().await.map_err(|_| TooMany)?;
        // It does not panic. Who goes away while it works leaves the turn to the next a little early.
        tokio::task::spawn_blocking(work).await.map_err(|_| TooMany)
    }
}

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("these are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    let hash = argon2().hash_password(password.as_bytes());
    hash.expect("a salt of the system's random bytes is one").to_string()
}

fn is_of(password: &str, known: &str) -> bool {
    // With the cost that it was made with, which stands in it.
    PasswordHash::new(known).is_ok_and(|known| argon2().verify_password(password.as_bytes(), &known).is_ok())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = Passwords::default();
        let one = passwords.hash("correct horse".into()).await.unwrap();
        let two = passwords.hash("correct horse".into()).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two, "{one} {two}");
        assert!(passwords.check("correct horse".into(), Some(one.clone())).await.unwrap());
        assert!(!passwords.check("correct horse ".into(), Some(one)).await.unwrap());
        assert!(!passwords.check("correct horse".into(), None).await.unwrap());
        assert!(!passwords.check("correct horse".into(), Some("no hash".into())).await.unwrap());
    }

    #[tokio::test]
    async fn of_a_flood_some_are_turned_away_and_the_others_served() {
        let passwords = Passwords::default();
        let held = passwords.turn.acquire().await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(passwords.in_turn(|| 7))).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(passwords.in_turn(|| 7).await, Err(TooMany));
        drop(held);
        for one in waiting {
            assert_eq!(one.await, Ok(7));
        }
        assert_eq!(passwords.in_turn(|| 7).await, Ok(7));
    }
}
