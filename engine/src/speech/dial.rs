//! Keys that an agent presses, as their tones.

use std::sync::Arc;

use offhook_codecs::g711;
use offhook_codecs::tones::Key;

/// How long a key sounds, and the silence after it, in ms: twice what every exchange must take (ITU-T Q.24).
const KEY_MS: u32 = 80;
const PAUSE_MS: usize = 80;
/// Of each of a key's two tones, as keypads send them.
const LEVEL_DBFS: f32 = -10.0;
/// More keys than any menu or account number has.
const KEYS_MAX: usize = 64;

/// The tones of `keys`, one after the other, as 8 kHz µ-law. What is no key is passed over.
pub(super) fn dial(keys: &str) -> Arc<[u8]> {
    let mut pcm = Vec::new();
    for key in keys.chars().filter_map(Key::from_char).take(KEYS_MAX) {
        key.generate(KEY_MS, LEVEL_DBFS, &mut pcm);
        pcm.resize(pcm.len() + 8 * PAUSE_MS, 0);
    }
    let mut ulaw = vec![0; pcm.len()];
    g711::encode_ulaw(&pcm, &mut ulaw);
    ulaw.into()
}

#[cfg(test)]
mod tests {
    use offhook_codecs::tones::{KeyDetector, KeyEvent};

    use super::*;

    #[test]
    fn every_key_that_is_pressed_is_heard_as_itself_in_its_order() {
        let all = "0123456789*#ABCD11";
        let ulaw = dial(&format!("{all} x"));
        let mut pcm = vec![0; ulaw.len()];
        g711::decode_ulaw(&ulaw, &mut pcm);
        let mut heard = String::new();
        KeyDetector::new().detect(&pcm, |event| {
            if let KeyEvent::Down { key, .. } = event {
                heard.push(key.to_char());
            }
        });
        assert_eq!(heard, all);
    }

    #[test]
    fn what_is_no_key_makes_no_sound_and_no_end_of_keys_is_cut_short() {
        assert!(dial("hello, world").len() <= 2 * 8 * (KEY_MS as usize + PAUSE_MS), "at most its d's");
        assert_eq!(dial(&"1".repeat(10_000)).len(), KEYS_MAX * 8 * (KEY_MS as usize + PAUSE_MS));
    }
}
