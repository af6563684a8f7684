//! Every byte that comes from outside, one function for each place where bytes come in.
//!
//! Each takes any bytes and panics if what the code makes of them breaks a promise: that what was read can be written and
//! read again, that sizes stay within bounds, that any split of the bytes gives the same. `cargo test` runs them over the
//! seeds in `fixtures/fuzz/` and over mutations of these; `make fuzz TARGET=wav` lets libFuzzer look for more.

mod http;
mod records;
mod sound;
mod wire;

use offhook_engine::sim::Dice;

pub use records::recorded_call;

/// One place where bytes come in.
pub struct Target {
    /// What it is called, and the folder of its seeds.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// How many mutations a test makes of its seeds: fewer where one takes long.
    pub mutations: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), mutations: u32) -> Target {
    Target { name, run, mutations }
}

/// All of them.
pub const TARGETS: [Target; 14] = [
    target("twilio", wire::from_carrier, 20_000),
    target("twilio_outgoing", wire::to_carrier, 20_000),
    target("base64", wire::base64, 20_000),
    target("websocket", wire::websocket, 5_000),
    target("wav", sound::wav, 3_000),
    target("ogg", sound::ogg, 1_000),
    target("opus", sound::opus, 1_000),
    target("journal", records::journal, 1_500),
    target("settings", records::settings, 3_000),
    target("scenario", records::scenario, 3_000),
    target("callers", records::callers, 1_000),
    target("form", http::form, 10_000),
    target("json", http::json, 10_000),
    target("twiml", http::twiml, 10_000),
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// What readers stumble over: ends of ranges, and signs that mean something somewhere.
const PIECES: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\"",
    b"\\",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"-1",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"1e999",
    b"=",
    b"%",
    b"&",
    b"\n",
    "\u{feff}é\u{1f600}".as_bytes(),
];

/// Other bytes that come of `seed`, with stretches of `other` in them.
pub fn mutated(dice: &mut Dice, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..dice.between(1, 6) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        let length = dice.pick(&[1, 2, 4, 16, 200]);
        let end = (at + dice.between(1, length) as usize).min(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes[at..end].iter_mut().for_each(|byte| *byte = dice.any() as u8),
            3 if at < end => bytes[at] ^= 1 << dice.below(8),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let piece = dice.pick(&PIECES);
                let over = (at + piece.len() * dice.below(2) as usize).min(bytes.len());
                bytes.splice(at..over, piece.iter().copied());
            }
            6 => {
                let from = dice.below(other.len() as u64 + 1) as usize;
                let to = (from + dice.between(1, 200) as usize).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                // A number becomes another.
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    let from = at + digit;
                    let to = from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let number = dice.pick(&["0", "1", "255", "65536", "4294967295", "99999999999999999999"]);
                    bytes.splice(from..to, number.bytes());
                }
            }
        }
    }
    bytes
}
