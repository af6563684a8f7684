//! A waveform's signs, one bit per sample: enough to find a sound again in another, with one operation for 64 samples.
//!
//! Loudness is no help once only signs are kept, and none is needed: two signals of which one is a delayed, quieter,
//! coloured copy of the other agree in far more than half of their signs at that delay, and in half of them at any other.
//! The signs are those of the band around 1 kHz, which every telephone lets through and where speech changes quickly.

use offhook_codecs::levels::BLOCK;

use crate::prefetch::prefetch;

/// How far apart the offsets are that are tried.
const STEP: usize = 2;
/// With so many words: 160 ms.
const TRIED_WORDS: usize = 20;
/// So many of them are looked at more closely.
const TRIED_FURTHER: usize = 3;

/// The signs of the newest samples by their number, 8 kHz.
pub(super) struct Signs {
    words: Box<[u64]>,
}

impl Signs {
    /// Holds `words` × 64 samples.
    pub(super) fn new(words: usize) -> Self {
        Self { words: vec![0; words].into() }
    }

    /// Asks for where those of number `at` stand.
    pub(super) fn prefetch(&self, at: u64) {
        prefetch(&self.words[(at / 64) as usize % self.words.len()]);
    }

    /// Sets those of up to a block of samples, the first of which is number `at`.
    pub(super) fn set(&mut self, at: u64, pcm: &[i16]) {
        let mut wave = [0i32; BLOCK + 5];
        let n = pcm.len().min(BLOCK);
        wave[5..].iter_mut().zip(pcm).for_each(|(out, &sample)| *out = sample.into());
        // Nothing is known of before: as if it had been like the beginning.
        wave[..5].fill(i32::from(pcm.first().copied().unwrap_or(0)));
        let mut rising = [0u8; BLOCK];
        for (rising, w) in rising.iter_mut().zip(wave.windows(6)) {
            // Sums of two are low-pass, the difference over half a millisecond is a band around 1 kHz.
            *rising = u8::from(w[5] + w[4] > w[1] + w[0]);
        }
        // Eight bytes of 0 or 1 become the eight bits of one: the product moves each to its place in the highest byte.
        let bits = rising.chunks_exact(8).enumerate().fold(0, |bits, (at, bytes)| {
            let eight = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            bits | u128::from(eight.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * at)
        });
        self.put(at, n, bits);
    }

    /// Clears those of `n` samples from number `at` on.
    pub(super) fn clear(&mut self, at: u64, n: usize) {
        for from in (0..n).step_by(64) {
            self.put(at + from as u64, (n - from).min(64), 0);
        }
    }

    fn put(&mut self, at: u64, n: usize, bits: u128) {
        let (mut at, mut n, mut bits) = (at, n as u32, bits);
        while n > 0 {
            let offset = (at % 64) as u32;
            let take = n.min(64 - offset);
            let mask = (u64::MAX >> (64 - take)) << offset;
            let word = &mut self.words[(at / 64) as usize % self.words.len()];
            *word = *word & !mask | (bits as u64) << offset & mask;
            (at, n, bits) = (at + u64::from(take), n - take, bits >> take);
        }
    }

    /// The words that hold those from number `at` on, that of `at` itself first.
    pub(super) fn words_from(&self, at: u64, words: &mut [u64]) {
        let first = (at / 64) as usize % self.words.len();
        let ring = self.words[first..].iter().chain(self.words.iter().cycle());
        words.iter_mut().zip(ring).for_each(|(to, from)| *to = *from);
    }

    /// Those of 64 samples from number `at` on, the first in the lowest bit.
    pub(super) fn word(&self, at: u64) -> u64 {
        let (index, offset) = ((at / 64) as usize, (at % 64) as u32);
        let low = self.words[index % self.words.len()] >> offset;
        let high = self.words[(index + 1) % self.words.len()];
        low | high.checked_shl(64 - offset).unwrap_or(0)
    }
}

/// Moved over `ours` from offset `first` to `last`, by how many signs `line` agrees in more or in fewer than half: the most
/// that is found. Each word of `line` comes with a mask: its signs count where that is set, in words of which it is set wholly
/// or not at all. `ours`: as [`Signs::words_from`] gives them, one more than `last` needs.
///
/// Every second offset is tried with the newest words, since a likeness around 1 kHz is that wide; all words are compared only
/// about the best of them.
pub(super) fn most_alike(line: &[(u64, u64)], ours: &[u64], first: usize, last: usize) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { most_alike_avx2(line, ours, first, last) };
    }
    most_alike_anywhere(line, ours, first, last)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn most_alike_avx2(line: &[(u64, u64)], ours: &[u64], first: usize, last: usize) -> u32 {
    most_alike_anywhere(line, ours, first, last)
}

#[inline(always)]
fn most_alike_anywhere(line: &[(u64, u64)], ours: &[u64], first: usize, last: usize) -> u32 {
    let silent = line.iter().take_while(|(_, mask)| *mask == 0).count();
    let older = silent.max(line.len().saturating_sub(TRIED_WORDS));
    let (all, newest) = ((&line[silent..], &ours[silent..]), (&line[older..], &ours[older..]));
    let mut best = [(0, first); TRIED_FURTHER];
    let mut last_two = [0; 2];
    for offset in (first..=last + STEP).step_by(STEP) {
        let now = if offset <= last { likeness(newest.0, newest.1, offset) } else { 0 };
        let [before, peak] = last_two;
        // Of neighbours that are alike only the best is worth a place.
        if peak >= before && peak > now && peak > best[0].0 {
            best[0] = (peak, offset - STEP);
            best.sort_unstable();
        }
        last_two = [peak, now];
    }
    best.iter()
        .flat_map(|&(_, at)| at.saturating_sub(STEP - 1).max(first)..=(at + STEP - 1).min(last))
        .map(|offset| likeness(all.0, all.1, offset))
        .max()
        .unwrap_or(0)
}

/// By how many signs `line` agrees with `ours` at this offset in more or in fewer than half.
#[inline(always)]
fn likeness(line: &[(u64, u64)], ours: &[u64], offset: usize) -> u32 {
    let (ours, shift) = (&ours[offset / 64..], offset % 64);
    let (low, high) = (&ours[..line.len()], &ours[1..=line.len()]);
    let (mut differ, mut half) = (0, 0);
    for ((signs, mask), (low, high)) in line.iter().zip(low.iter().zip(high)) {
        // In two steps, since a shift by 64 is none.
        let ours = low >> shift | high << 1 << (63 - shift);
        differ += u64::from(((signs ^ ours) & mask).count_ones());
        half += mask & 32;
    }
    // A loudspeaker may be wired the other way round.
    half.abs_diff(differ) as u32
}

#[cfg(test)]
mod tests {
    use offhook_codecs::noise::Random;

    use super::*;

    fn wave(n: usize) -> Vec<i16> {
        let mut x = 1u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 16) as i16
            })
            .collect()
    }

    #[test]
    fn what_was_set_is_found_at_any_number() {
        let wave = wave(800);
        let (mut whole, mut shifted) = (Signs::new(16), Signs::new(16));
        for (block, pcm) in wave.chunks(BLOCK).enumerate() {
            whole.set(block as u64 * 80, pcm);
            shifted.set(block as u64 * 80 + 20_037, pcm);
        }
        for at in 0..800 - 64 {
            assert_eq!(whole.word(at), shifted.word(at + 20_037), "from {at}");
        }
    }

    #[test]
    fn likeness_is_that_of_all_signs_counted_one_by_one() {
        let mut random = Random::new(5);
        let mut ours = Signs::new(16);
        ours.words.iter_mut().for_each(|word| *word = random.bits());
        let line: Vec<(u64, u64)> =
            (0..6).map(|n| (random.bits(), if n % 3 == 1 { 0 } else { u64::MAX })).collect();
        for at in [0, 7, 64, 500, 63 * 16, 5_000] {
            let mut words = [0; 13];
            ours.words_from(at, &mut words);
            let start = at as usize % 64;
            let sign = |number: u64| ours.word(number) & 1;
            for offset in 0..=320 {
                let differ = |(n, (signs, mask)): (usize, &(u64, u64))| {
                    (0..64)
                        .filter(|bit| mask >> bit & 1 == 1)
                        .filter(|bit| signs >> bit & 1 != sign(at + offset + n as u64 * 64 + bit))
                        .count() as u32
                };
                let naive = (4 * 32u32).abs_diff(line.iter().enumerate().map(differ).sum());
                assert_eq!(likeness(&line, &words, start + offset as usize), naive, "{offset} from {at}");
            }
        }
    }

    #[test]
    fn a_likeness_is_found_wherever_it_is_and_however_much_of_the_line_is_silent() {
        let mut random = Random::new(6);
        let mut ours = Signs::new(64);
        let pcm: Vec<i16> = (0..4_096).map(|_| random.bits() as i16).collect();
        pcm.chunks(BLOCK).enumerate().for_each(|(n, block)| ours.set((n * BLOCK) as u64, block));
        for (at, silent) in [(0, 0), (1, 9), (77, 30), (160, 39), (319, 20), (320, 0)] {
            let line: Vec<(u64, u64)> =
                (0..40).map(|n| (ours.word(at + 64 * n), if n < silent { 0 } else { u64::MAX })).collect();
            let mut words = [0; 47];
            ours.words_from(0, &mut words);
            let all = (40 - silent as u32) * 32;
            assert_eq!(most_alike(&line, &words, 0, 320), all, "at {at}");
            assert_eq!(most_alike_anywhere(&line, &words, 0, 320), all, "at {at}");
            let inverted: Vec<_> = line.iter().map(|(signs, mask)| (!signs, *mask)).collect();
            assert_eq!(most_alike(&inverted, &words, 0, 320), all, "at {at}, inverted");
        }
    }

    #[test]
    fn a_copy_of_half_the_size_has_the_same_signs_and_another_sound_half_of_them() {
        let (wave, other) = (wave(80), wave(160));
        let half: Vec<i16> = wave.iter().map(|s| s / 2).collect();
        let (mut a, mut b, mut c) = (Signs::new(4), Signs::new(4), Signs::new(4));
        a.set(0, &wave);
        b.set(0, &half);
        c.set(0, &other[80..]);
        assert!((a.word(0) ^ b.word(0)).count_ones() < 3);
        assert!((20..44).contains(&(a.word(0) ^ c.word(0)).count_ones()));
        a.clear(10, 70);
        assert_eq!(a.word(10), 0);
    }
}
