//! What people write into tables: prices, currencies, and whether there is any.

/// The currency of a price that does not say it.
pub(super) const CURRENCY: &str = "USD";

/// Nothing costs more.
const PRICE_MAX: f64 = 1e12;

/// What a price says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Price {
    /// How much.
    pub(super) amount: f64,
    /// ISO 4217, where a sign or a code stands beside the number.
    pub(super) currency: Option<&'static str>,
}

const SIGNS: [(&str, &str); 10] = [
    ("US$", "USD"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("¥", "JPY"),
    ("₹", "INR"),
    ("USD", "USD"),
    ("EUR", "EUR"),
    ("GBP", "GBP"),
    ("CHF", "CHF"),
];

/// Reads a price: `12.99`, `$1,299.00`, `12,99 €`, `1.299,00`. `has_decimal_comma`: a comma is what stands before the decimals
/// even where it could part thousands.
pub(super) fn price(text: &str, has_decimal_comma: bool) -> Result<Price, String> {
    let wrong = || Err(format!("price must be a number from 0, such as 12.99, not {}", shown(text)));
    let mut number = text.trim();
    let mut currency = None;
    for (sign, code) in SIGNS {
        if let Some(rest) = number.strip_prefix(sign).or_else(|| number.strip_suffix(sign)) {
            (number, currency) = (rest.trim(), Some(code));
            break;
        }
    }
    let Some(plain) = plain(number, has_decimal_comma) else { return wrong() };
    match plain.parse::<f64>() {
        Ok(amount) if (0.0..=PRICE_MAX).contains(&amount) => Ok(Price { amount, currency }),
        _ => wrong(),
    }
}

/// A number with a point before its decimals and nothing else; none if it is no number.
fn plain(number: &str, has_decimal_comma: bool) -> Option<String> {
    let number: String =
        number.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’')).collect();
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',')) {
        return None;
    }
    let (points, commas) = (number.matches('.').count(), number.matches(',').count());
    let decimal = match (points, commas) {
        (0, 0) => None,
        (1, 0) if has_decimal_comma && in_thousands(&number, '.') => None,
        (1, 0) => Some('.'),
        (0, 1) if !has_decimal_comma && in_thousands(&number, ',') => None,
        (0, 1) => Some(','),
        (0, _) | (_, 0) => None,
        // The one that comes last.
        _ if number.rfind('.') > number.rfind(',') => Some('.'),
        _ => Some(','),
    };
    let (whole, decimals) = match decimal {
        Some(mark) => number.rsplit_once(mark)?,
        None => (number.as_str(), ""),
    };
    let separator = match decimal {
        Some('.') => ',',
        Some(_) => '.',
        None if points > 0 => '.',
        None => ',',
    };
    let has_digits = !decimals.contains(['.', ',']) && (decimal.is_none() || !decimals.is_empty());
    if !has_digits || whole.contains(separator) && !in_thousands(whole, separator) {
        return None;
    }
    let whole = whole.replace(separator, "");
    (whole.chars().all(|c| c.is_ascii_digit()) && !(whole.is_empty() && decimals.is_empty()))
        .then(|| format!("{whole}.{decimals}0"))
}

/// Whether a mark parts a number in groups of three digits.
fn in_thousands(number: &str, mark: char) -> bool {
    let mut groups = number.split(mark);
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3)
}

/// Reads a currency: three letters.
pub(super) fn currency(text: &str) -> Result<String, String> {
    let code = text.trim().to_ascii_uppercase();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(code);
    }
    let sign = SIGNS.iter().find(|(sign, _)| *sign == code);
    let wrong = || format!("currency must be three letters such as USD, not {}", shown(text));
    sign.map(|(_, code)| (*code).to_owned()).ok_or_else(wrong)
}

/// Reads whether there is any: a word, or how many there are.
pub(super) fn in_stock(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "y" | "t" | "x" | "in stock" | "in_stock" | "available" => Ok(true),
        "false" | "no" | "n" | "f" | "out of stock" | "out_of_stock" | "unavailable" | "sold out" => {
            Ok(false)
        }
        number => match number.parse::<f64>() {
            Ok(count) if (0.0..=PRICE_MAX).contains(&count) => Ok(count > 0.0),
            _ => Err(format!("in_stock must be true or false, not {}", shown(text))),
        },
    }
}

/// A value as it may stand in an error.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("\"{short}{dots}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_as_people_write_it() {
        for (text, comma, amount, code) in [
            ("12.99", false, 12.99, None),
            ("$12.99", false, 12.99, Some("USD")),
            ("US$ 1,299.50", false, 1_299.5, Some("USD")),
            ("1,299", false, 1_299.0, None),
            ("1,299", true, 1.299, None),
            ("12,99 €", false, 12.99, Some("EUR")),
            ("1.299,00", false, 1_299.0, None),
            ("1.299", true, 1_299.0, None),
            ("1.299", false, 1.299, None),
            ("1 299,5", true, 1_299.5, None),
            ("1,234,567", false, 1_234_567.0, None),
            ("0", false, 0.0, None),
            (".5", false, 0.5, None),
            ("12 CHF", false, 12.0, Some("CHF")),
        ] {
            assert_eq!(price(text, comma), Ok(Price { amount, currency: code }), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_told() {
        for text in [
            "",
            "free",
            "-3",
            "=1+1",
            "1e5",
            "nan",
            "inf",
            "1,2,3",
            "12.",
            "1.2.3,4,5",
            "١٢",
            "9999999999999",
            ".",
        ] {
            let told = price(text, false).unwrap_err();
            assert!(told.contains("price must be a number"), "{text}: {told}");
        }
    }

    #[test]
    fn a_currency_is_three_letters_or_a_sign() {
        assert_eq!(currency(" eur ").unwrap(), "EUR");
        assert_eq!(currency("£").unwrap(), "GBP");
        assert!(currency("Dollar").unwrap_err().contains("\"Dollar\""));
    }

    #[test]
    fn stock_is_a_word_or_a_number() {
        for text in ["true", "YES", "1", "12", "In stock"] {
            assert_eq!(in_stock(text), Ok(true), "{text}");
        }
        for text in ["false", "No", "0", "Out of stock"] {
            assert_eq!(in_stock(text), Ok(false), "{text}");
        }
        for text in ["perhaps", "-1", "nan"] {
            assert!(in_stock(text).is_err(), "{text}");
        }
    }
}
