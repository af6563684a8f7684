//! Secrets at rest: sealed by AES-256-GCM with a key that is not in the database.
//!
//! A sealed value is bound to its place (table, column, row): copied to another row it does not open. Layout: one byte of
//! version, 12 bytes of nonce, the ciphertext, 16 bytes of tag (NIST SP 800-38D, by `ring`).

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The first byte of all that is sealed this way.
const VERSION: u8 = 1;

/// Where a sealed value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its table.
    pub table: &'a str,
    /// Its column.
    pub column: &'a str,
    /// The primary key of its row.
    pub row: &'a str,
}

impl Place<'_> {
    /// What the value is bound to. Lengths go before texts, so that no two places read alike.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"offhook sealed value".to_vec();
        for part in [self.table, self.column, self.row] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key, for another place, or is damaged")]
pub struct SealError;

/// Seals and opens.
pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes is one of AES-256");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new() }
    }

    /// Seals `plain` for `place`. The same twice gives two different values: the nonce is drawn anew each time.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system has random bytes");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        let aad = Aad::from(place.associated_data());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .expect("a value is shorter than 64 GB");
        sealed.extend_from_slice(&text);
        sealed
    }

    /// Opens what was sealed for `place`.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut text = text.to_vec();
        let aad = Aad::from(place.associated_data());
        let length = self.key.open_in_place(nonce, aad, &mut text).map_err(|_| SealError)?.len();
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { table: "calendar_connections", column: "sealed", row: "line-1" };

    #[test]
    fn what_was_sealed_opens_and_does_not_show() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let sealed = sealer.seal(HERE, b"refresh token");
        assert_eq!(sealer.open(HERE, &sealed).unwrap(), b"refresh token");
        assert!(!sealed.windows(7).any(|window| window == b"refresh"));
        assert_ne!(sealed, sealer.seal(HERE, b"refresh token"), "each has a nonce of its own");
        assert_eq!(sealer.open(HERE, &sealer.seal(HERE, b"")).unwrap(), b"");
    }

    #[test]
    fn nothing_opens_in_another_place_with_another_key_or_damaged() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let sealed = sealer.seal(HERE, b"secret");
        for place in [
            Place { row: "line-2", ..HERE },
            Place { column: "other", ..HERE },
            Place { table: "users", ..HERE },
            Place { table: "calendar_connectionss", column: "ealed", row: "line-1" },
        ] {
            assert_eq!(sealer.open(place, &sealed), Err(SealError), "{place:?}");
        }
        assert_eq!(Sealer::new(&[8; KEY_BYTES]).open(HERE, &sealed), Err(SealError));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(sealer.open(HERE, &damaged), Err(SealError), "byte {at}");
            assert_eq!(sealer.open(HERE, &sealed[..at]), Err(SealError), "cut at {at}");
        }
    }
}
