//! Telephone numbers as everything inside has them: E.164, with a plus.

use std::fmt;

/// Longer texts are no numbers: 15 digits, and what people write between them.
const TEXT_BYTES_MAX: usize = 32;

/// A number such as `+15551234567`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(String);

impl E164 {
    /// Reads an international number, as people or carriers write one: with a plus, and perhaps spaces, dots, dashes and
    /// brackets. Numbers that no country has given out yet are taken: fiction and test lines are full of them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_plain = |byte: u8| byte.is_ascii_digit() || b" .-()/".contains(&byte);
        let rest = text.strip_prefix('+')?;
        if text.len() > TEXT_BYTES_MAX || !rest.bytes().all(is_plain) {
            return None;
        }
        let number = phonenumber::parse(None, text).ok()?;
        let number = number.format().mode(phonenumber::Mode::E164).to_string();
        // ITU-T E.164 (11/2010), section 6: at most 15 digits with the country's.
        (8..=16).contains(&number.len()).then_some(Self(number))
    }

    /// With the plus.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits by which it is known within its country, without what is dialled before them there.
    pub fn national_digits(&self) -> String {
        match phonenumber::parse(None, &self.0) {
            Ok(number) => number.national().to_string(),
            // It was made of one that could be read.
            Err(_) => self.0[1..].to_owned(),
        }
    }

    /// As people write it: with and without its country, in digits alone and in groups. The first is E.164; none stands twice.
    pub fn spellings(&self) -> Vec<String> {
        let mut all = vec![self.0.clone(), self.0[1..].to_owned(), format!("00{}", &self.0[1..])];
        if let Ok(number) = phonenumber::parse(None, &self.0) {
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
            let international = number.format().mode(phonenumber::Mode::International).to_string();
            let national = number.format().mode(phonenumber::Mode::National).to_string();
            let country = number.code().value();
            all.extend([digits(&national), international.clone(), national.clone()]);
            // Where a country has an area in brackets, it has dashes and dots instead of them too.
            let dashed = national.replace(['(', ')'], "").replace(' ', "-");
            all.extend([dashed.replace('-', "."), dashed.replace('-', " "), dashed.clone()]);
            all.extend([format!("+{country} {national}"), international.replace(['-', ' '], "-")]);
            if country == 1 {
                all.extend([format!("1-{dashed}"), format!("1 {national}"), format!("+1-{dashed}")]);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|text| seen.insert(text.clone()));
        all
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_one_however_they_are_written() {
        for (text, number) in [
            ("+15551234567", "+15551234567"),
            (" +1 (555) 123-4567 ", "+15551234567"),
            ("+1.555.123.4567", "+15551234567"),
            ("+31 20 624 1111", "+31206241111"),
            ("+44 20 7946 0018", "+442079460018"),
            ("+15005550006", "+15005550006"),
        ] {
            assert_eq!(E164::parse(text).as_ref().map(E164::as_str), Some(number), "{text}");
        }
    }

    #[test]
    fn a_number_has_the_spellings_that_people_use() {
        let spellings = |number: &str| E164::parse(number).unwrap().spellings();
        let american = spellings("+14155551234");
        for text in [
            "+14155551234",
            "14155551234",
            "4155551234",
            "(415) 555-1234",
            "415-555-1234",
            "415.555.1234",
            "+1 415-555-1234",
            "+1 (415) 555-1234",
            "1-415-555-1234",
        ] {
            assert!(american.iter().any(|spelling| spelling == text), "{text}: {american:?}");
        }
        assert_eq!(american[0], "+14155551234");
        let dutch = spellings("+31206241111");
        for text in ["0206241111", "+31 20 624 1111", "020 624 1111", "0031206241111"] {
            assert!(dutch.iter().any(|spelling| spelling == text), "{text}: {dutch:?}");
        }
        for all in [american, dutch] {
            let once: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(once.len(), all.len(), "{all:?}");
        }
        assert_eq!(E164::parse("+31206241111").unwrap().national_digits(), "206241111");
    }

    #[test]
    fn what_is_no_international_number_is_none() {
        for text in [
            "",
            "+",
            "5551234567",
            "0031206241111",
            "anonymous",
            "+1555123456789012345",
            "+15551234567;phone-context=+1",
            "+1555CALLNOW",
            "+1 555 123 4567 ext. 3",
            "tel:+15551234567",
            "+999999999999999999",
            "++15551234567",
            "+1",
            "+123",
            "\u{ff0b}15551234567",
        ] {
            assert_eq!(E164::parse(text), None, "{text}");
        }
    }
}
