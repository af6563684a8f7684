//! G.711: one byte per sample in either law, to and from 16-bit linear samples.
//!
//! Source: ITU-T G.711 (11/88), tables 1a and 1b (A-law), 2a and 2b (µ-law). The Recommendation works in 13 bits plus
//! sign for µ-law and 12 plus sign for A-law; Offhook's samples are 16 bits, so its decision values stand here four
//! times and eight times as high. The optional suppression of the all-zero character is not applied: a carrier that
//! needs it does it itself.
//!
//! A sample that lies exactly on a decision value is left open by the tables. Here it belongs to the interval above it,
//! for both signs, as in the Recommendation's reference software (ITU-T G.191): a negative sample is mirrored about −½,
//! not about 0, before its magnitude is compared. `fixtures/audio/G711.md` says where other encoders differ.
//!
//! Decoding is one table look-up. Encoding reads segment and step from the exponent and the mantissa of the magnitude as
//! an `f32`, which has the shape of the law already: no search, no branch, no table, and so it vectorises.

/// Encoded magnitudes stop here: the last µ-law decision value, 8,159, in 16 bits and less the bias.
const ULAW_MAGNITUDE_MAX: i32 = 32_635;
/// Added to a µ-law magnitude so that every segment starts at a power of two: 33 in 14 bits.
const ULAW_BIAS: i32 = 132;

static ULAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = ulaw_value(code as u8);
        code += 1;
    }
    table
};

static ALAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_value(code as u8);
        code += 1;
    }
    table
};

/// The linear sample of one µ-law byte, within ±32,124. Both zeros, `0xFF` and `0x7F`, give 0.
#[inline]
pub fn ulaw_to_linear(code: u8) -> i16 {
    ULAW_TO_LINEAR[code as usize]
}

/// The linear sample of one A-law byte, within ±32,256. A-law has no zero: its smallest samples are ±8.
#[inline]
pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW_TO_LINEAR[code as usize]
}

/// The µ-law byte whose interval holds `sample`. Magnitudes above 32,635 take the outermost interval.
#[inline]
pub const fn linear_to_ulaw(sample: i16) -> u8 {
    let (sign, magnitude) = split_sign(sample);
    let magnitude = if magnitude > ULAW_MAGNITUDE_MAX { ULAW_MAGNITUDE_MAX } else { magnitude };
    // 132..=32,767 has exponents 7 to 14, segments 0 to 7.
    let interval = exponent_and_step(magnitude + ULAW_BIAS, 7);
    (interval ^ 0x7F | !sign & 0x80) as u8
}

/// The A-law byte whose interval holds `sample`, even bits inverted as on the wire.
#[inline]
pub const fn linear_to_alaw(sample: i16) -> u8 {
    let (sign, magnitude) = split_sign(sample);
    // The first two segments have the same step, so the first continues the second's line down to zero.
    let interval = if magnitude < 256 { magnitude >> 4 } else { exponent_and_step(magnitude, 7) };
    ((interval | !sign & 0x80) ^ 0x55) as u8
}

/// Expands µ-law bytes to linear samples.
///
/// `ulaw`: 8 kHz mono, one byte per sample. `out`: as many samples as there are bytes, within ±32,124. Every byte is
/// valid, so this cannot fail.
///
/// # Panics
/// If the lengths differ: that is the caller's bug.
pub fn decode_ulaw(ulaw: &[u8], out: &mut [i16]) {
    assert_eq!(ulaw.len(), out.len(), "one sample for each byte");
    for (sample, &code) in out.iter_mut().zip(ulaw) {
        *sample = ulaw_to_linear(code);
    }
}

/// Compresses linear samples to µ-law bytes: the inverse of [`decode_ulaw`], each sample to the interval that holds it.
///
/// # Panics
/// If the lengths differ: that is the caller's bug.
pub fn encode_ulaw(samples: &[i16], out: &mut [u8]) {
    assert_eq!(samples.len(), out.len(), "one byte for each sample");
    for (code, &sample) in out.iter_mut().zip(samples) {
        *code = linear_to_ulaw(sample);
    }
}

/// Expands A-law bytes to linear samples.
///
/// `alaw`: 8 kHz mono, one byte per sample. `out`: as many samples as there are bytes, within ±32,256. Every byte is
/// valid, so this cannot fail.
///
/// # Panics
/// If the lengths differ: that is the caller's bug.
pub fn decode_alaw(alaw: &[u8], out: &mut [i16]) {
    assert_eq!(alaw.len(), out.len(), "one sample for each byte");
    for (sample, &code) in out.iter_mut().zip(alaw) {
        *sample = alaw_to_linear(code);
    }
}

/// Compresses linear samples to A-law bytes: the inverse of [`decode_alaw`], each sample to the interval that holds it.
///
/// # Panics
/// If the lengths differ: that is the caller's bug.
pub fn encode_alaw(samples: &[i16], out: &mut [u8]) {
    assert_eq!(samples.len(), out.len(), "one byte for each sample");
    for (code, &sample) in out.iter_mut().zip(samples) {
        *code = linear_to_alaw(sample);
    }
}

/// All ones for a negative sample, else zero; and the magnitude, 0..=32,767, mirrored about −½.
const fn split_sign(sample: i16) -> (i32, i32) {
    let sign = (sample >> 15) as i32;
    (sign, sample as i32 ^ sign)
}

/// Three bits of exponent, counted from `exponent_min`, above the top four bits of mantissa.
const fn exponent_and_step(magnitude: i32, exponent_min: i32) -> i32 {
    // Exact: an f32 holds every integer below 2^24. Its exponent is biased by 127 and stands above 23 bits of mantissa.
    let bits = (magnitude as f32).to_bits() as i32;
    (bits >> 19) - ((127 + exponent_min) << 4)
}

const fn ulaw_value(code: u8) -> i16 {
    let (segment, step) = ((!code >> 4 & 7) as i32, (!code & 15) as i32);
    // The middle of the interval: half a step above its lower edge, in a segment that starts at 132 << segment.
    let magnitude = ((2 * step + 33) << (segment + 2)) - ULAW_BIAS;
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

const fn alaw_value(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4 & 7) as i32, (code & 15) as i32);
    let magnitude = match segment {
        0 => (2 * step + 1) << 3,
        _ => (2 * step + 33) << (segment + 2),
    };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables 1a and 2a, column 1: how many intervals of which size, from zero outwards, in the Recommendation's units.
    const ALAW_INTERVALS: [(usize, i32); 7] =
        [(32, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128)];
    const ULAW_INTERVALS: [(usize, i32); 9] =
        [(1, 1), (15, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128), (16, 256)];

    /// One law as its tables tell it: decision values x(0) to x(128), then everything by searching them.
    struct Tables {
        decisions: Vec<i32>,
        /// 16-bit samples per unit of the table.
        scale: i32,
        /// µ-law's first decoder value is 0 itself, not the middle of its interval.
        zero_is_zero: bool,
        /// What the column "character signal" does to the sign bit and the interval's number.
        invert: u8,
    }

    impl Tables {
        fn new(intervals: &[(usize, i32)], scale: i32, zero_is_zero: bool, invert: u8) -> Self {
            let mut decisions = vec![0];
            for &(count, size) in intervals {
                for _ in 0..count {
                    decisions.push(decisions.last().unwrap() + size);
                }
            }
            Self { decisions, scale, zero_is_zero, invert }
        }

        fn ulaw() -> Self {
            Self::new(&ULAW_INTERVALS, 4, true, 0x7F)
        }

        fn alaw() -> Self {
            Self::new(&ALAW_INTERVALS, 8, false, 0x55)
        }

        fn encode(&self, sample: i16) -> u8 {
            let magnitude = i32::from(sample).abs();
            let mut interval = 0;
            for n in 1..128 {
                let decision = self.decisions[n] * self.scale;
                if if sample < 0 { magnitude > decision } else { magnitude >= decision } {
                    interval = n;
                }
            }
            let sign = if sample < 0 { 0 } else { 0x80 };
            (sign | interval as u8) ^ self.invert
        }

        fn decode(&self, code: u8) -> i16 {
            let character = code ^ self.invert;
            let n = usize::from(character & 0x7F);
            let magnitude = match n {
                0 if self.zero_is_zero => 0,
                _ => (self.decisions[n] + self.decisions[n + 1]) * self.scale / 2,
            };
            (if character & 0x80 == 0 { -magnitude } else { magnitude }) as i16
        }
    }

    #[test]
    fn the_reference_has_the_decision_values_printed_in_the_recommendation() {
        let (ulaw, alaw) = (Tables::ulaw().decisions, Tables::alaw().decisions);
        assert_eq!((ulaw.len(), alaw.len()), (129, 129));
        // Table 2a: n = 1, 2, 16, 17, 32, 48, 64, 80, 96, 112, 113, 127, 128.
        let at = |table: &[i32], ns: &[usize]| ns.iter().map(|&n| table[n]).collect::<Vec<_>>();
        assert_eq!(
            at(&ulaw, &[1, 2, 16, 17, 32, 48, 64, 80, 96, 112, 113, 127, 128]),
            [1, 3, 31, 35, 95, 223, 479, 991, 2015, 4063, 4319, 7903, 8159]
        );
        // Table 1a: n = 1, 32, 33, 48, 64, 80, 96, 112, 113, 127, 128.
        assert_eq!(
            at(&alaw, &[1, 32, 33, 48, 64, 80, 96, 112, 113, 127, 128]),
            [2, 64, 68, 128, 256, 512, 1024, 2048, 2176, 3968, 4096]
        );
    }

    #[test]
    fn every_ulaw_byte_has_the_value_of_the_tables() {
        let tables = Tables::ulaw();
        for code in 0..=255 {
            assert_eq!(ulaw_to_linear(code), tables.decode(code), "{code:#04x}");
        }
    }

    #[test]
    fn every_alaw_byte_has_the_value_of_the_tables() {
        let tables = Tables::alaw();
        for code in 0..=255 {
            assert_eq!(alaw_to_linear(code), tables.decode(code), "{code:#04x}");
        }
    }

    #[test]
    fn every_sample_becomes_the_ulaw_byte_of_the_tables() {
        let tables = Tables::ulaw();
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(linear_to_ulaw(sample), tables.encode(sample), "{sample}");
        }
    }

    #[test]
    fn every_sample_becomes_the_alaw_byte_of_the_tables() {
        let tables = Tables::alaw();
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(linear_to_alaw(sample), tables.encode(sample), "{sample}");
        }
    }

    #[test]
    fn all_bytes_and_samples_agree_with_the_golden_vectors() {
        let golden = [
            (
                include_str!("../../fixtures/audio/g711_ulaw.csv"),
                ulaw_to_linear as fn(u8) -> i16,
                linear_to_ulaw as fn(i16) -> u8,
            ),
            (include_str!("../../fixtures/audio/g711_alaw.csv"), alaw_to_linear, linear_to_alaw),
        ];
        for (csv, decode, encode) in golden {
            let mut samples = 0;
            for (line, expected_code) in csv.lines().skip(1).zip(0..=255u8) {
                let fields: Vec<i32> = line.split(',').map(|field| field.parse().unwrap()).collect();
                let &[code, value, lowest, highest] = fields.as_slice() else {
                    panic!("four fields in {line}")
                };
                assert_eq!(code, i32::from(expected_code));
                assert_eq!(i32::from(decode(expected_code)), value, "byte {code:#04x}");
                for sample in lowest..=highest {
                    assert_eq!(encode(sample as i16), expected_code, "sample {sample}");
                    samples += 1;
                }
            }
            assert_eq!(samples, 65_536, "the intervals cover every sample once");
        }
    }

    #[test]
    fn decoded_bytes_encode_to_themselves() {
        for code in 0..=255 {
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code);
            // The negative zero, 0x7F, comes back as the positive one.
            let again = linear_to_ulaw(ulaw_to_linear(code));
            assert_eq!(again, if code == 0x7F { 0xFF } else { code });
        }
    }

    #[test]
    fn slices_give_what_single_samples_give() {
        let codes: Vec<u8> = (0..=255).collect();
        let mut linear = vec![0; 256];
        let mut back = vec![0; 256];
        decode_ulaw(&codes, &mut linear);
        assert!(linear.iter().zip(&codes).all(|(&sample, &code)| sample == ulaw_to_linear(code)));
        encode_ulaw(&linear, &mut back);
        assert!(back.iter().zip(&linear).all(|(&code, &sample)| code == linear_to_ulaw(sample)));
        decode_alaw(&codes, &mut linear);
        assert!(linear.iter().zip(&codes).all(|(&sample, &code)| sample == alaw_to_linear(code)));
        encode_alaw(&linear, &mut back);
        assert_eq!(back, codes);
    }

    #[test]
    #[should_panic(expected = "one sample for each byte")]
    fn a_slice_of_another_length_is_refused() {
        decode_ulaw(&[0xFF; 160], &mut [0; 159]);
    }
}
