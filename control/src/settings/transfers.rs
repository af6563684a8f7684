//! Who can go on with a call on the telephone.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Deserialize;

use super::layers::Layers;
use super::{Settings, SettingsError};

/// Digits of a number with its country, by E.164.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A telephone number as carriers dial it: `+15005550006`, by [ITU-T E.164](https://www.itu.int/rec/T-REC-E.164).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// With its plus.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
        let digits = bare.strip_prefix('+').unwrap_or_default();
        if DIGITS.contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
        {
            return Ok(Self(bare));
        }
        Err("write a number with its country, such as +15005550006".into())
    }
}

/// `[[transfers]]` in the file: somebody whom the agent may put a call through to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferTable {
    name: String,
    #[serde(default)]
    description: String,
    number: String,
}

/// Somebody whom the agent may put a call through to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What the agent calls them: `sales`.
    pub name: String,
    /// When the call is theirs, for the agent; may be empty.
    pub description: String,
    /// Where they are.
    pub number: PhoneNumber,
}

/// Who can go on with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferSettings {
    /// Whom the agent may put a call through to. Default nobody.
    pub to: Vec<Transfer>,
    /// Who gets a call whose agent failed, after the apology. Default nobody: the call ends.
    pub fallback: Option<PhoneNumber>,
}

impl TransferSettings {
    /// True if some call may go on elsewhere.
    pub fn is_any(&self) -> bool {
        self.fallback.is_some() || !self.to.is_empty()
    }
}

pub(super) fn read(layers: &Layers<'_>) -> Result<TransferSettings, SettingsError> {
    let mut to = Vec::new();
    for TransferTable { name, description, number } in layers.transfers() {
        let place = || format!("number of {name:?} in [[transfers]] of {}", layers.file_name());
        let number = number.parse().map_err(|help| SettingsError::Value {
            place: place(),
            text: number.clone(),
            help,
        })?;
        to.push(Transfer { name: name.trim().to_owned(), description: description.clone(), number });
    }
    Ok(TransferSettings { to, fallback: layers.read("fallback_number", None)? })
}

/// What no single setting can know.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let mut names = BTreeSet::new();
    match settings
        .transfers
        .to
        .iter()
        .find(|transfer| transfer.name.is_empty() || !names.insert(&transfer.name))
    {
        Some(transfer) => Err(SettingsError::Together(format!(
            "each of [[transfers]] needs a name of its own; {:?} is none",
            transfer.name
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_a_carrier_can_dial() {
        for (text, wanted) in [("+15005550006", "+15005550006"), ("+1 (500) 555-00.06", "+15005550006")] {
            assert_eq!(text.parse::<PhoneNumber>().unwrap().as_str(), wanted);
        }
        for bad in ["", "15005550006", "+0123456789", "+12", "+1234567890123456", "+1500x550006", "sip:a@b"] {
            assert!(bad.parse::<PhoneNumber>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_names_whom_calls_may_go_to() {
        let settings = Settings::from_text(
            "fallback_number = '+15005550001'\n[[transfers]]\nname = 'sales'\nnumber = '+15005550006'\n\
             description = 'Whoever wants to buy.'",
        )
        .unwrap();
        assert_eq!(settings.transfers.to[0].number.as_str(), "+15005550006");
        assert_eq!(settings.transfers.fallback.as_ref().map(PhoneNumber::as_str), Some("+15005550001"));
        for (file, wanted) in [
            ("[[transfers]]\nname = 'sales'\nnumber = '5550006'", "sales"),
            ("fallback_number = '911'", "+15005550006"),
            (
                "[[transfers]]\nname = 'a'\nnumber = '+15005550006'\n[[transfers]]\nname = 'a'\nnumber = '+15005550006'",
                "of its own",
            ),
        ] {
            let text = Settings::from_text(file).unwrap_err().to_string();
            assert!(text.contains(wanted), "{text}");
        }
    }
}
