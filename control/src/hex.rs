//! Bytes as hexadecimal digits, and back.

use std::fmt::Write as _;

/// Two lower-case digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The `N` bytes of twice as many digits; none if the text is something else.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were_and_nothing_else_is_taken_for_some() {
        let bytes = [0, 1, 0x7F, 0xFF];
        assert_eq!(encode(&bytes), "00017fff");
        assert_eq!(decode("00017fFF"), Some(bytes));
        for bad in ["", "00017ff", "00017fff00", "0001 fff", "+1+2+3+4", "00017fé"] {
            assert_eq!(decode::<4>(bad), None, "{bad}");
        }
    }
}
