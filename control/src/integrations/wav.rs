//! WAV files that go to vendors, and the head of one that a vendor sends as a stream: found while its bytes come, and not to be
//! played. Who writes while it speaks does not know how long that will be.

use std::io::Cursor;

use offhook_codecs::g711;
use offhook_codecs::wav::Writer;
use offhook_engine::call::Failure;

use super::vendor::VendorError;

/// A file of 16-bit samples at 8 kHz.
pub(super) fn file_of_ulaw(ulaw: &[u8]) -> Vec<u8> {
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(ulaw, &mut samples);
    file_of(&samples, 8_000)
}

/// A file of these samples.
pub(super) fn file_of(samples: &[i16], rate_hz: u32) -> Vec<u8> {
    let write = || {
        let mut writer = Writer::mono(Cursor::new(Vec::new()), rate_hz)?;
        writer.write(samples)?;
        writer.finish()
    };
    write().expect("memory takes some minutes").into_inner()
}

/// A head is no longer than this.
const HEAD_MAX: usize = 64 * 1024;

/// A length from here on says that nobody knows it.
const UNKNOWN: usize = 0x7fff_0000;

/// What the samples behind a head are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 1: integers; 6: A-law; 7: µ-law; 0xfffe: it is said elsewhere.
    pub(super) tag: u16,
    pub(super) channels: u16,
    pub(super) rate_hz: u32,
    /// Bits of a sample.
    pub(super) bits: u16,
    /// Where the samples begin, in bytes.
    pub(super) samples_at: usize,
    /// How many there are, in bytes; none if whoever wrote it did not know.
    pub(super) samples_bytes: Option<usize>,
}

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// So few bytes do not tell.
    Unknown,
    /// No head: samples from the first byte on.
    Bare,
    /// A head.
    Wav(Head),
}

/// Looks at the first bytes of a stream, all of them so far.
pub(super) fn beginning(bytes: &[u8]) -> Result<Beginning, VendorError> {
    let known = bytes.len().min(4);
    if bytes.is_empty() {
        return Ok(Beginning::Unknown);
    }
    if bytes[..known] != b"RIFF"[..known] {
        return Ok(Beginning::Bare);
    }
    if bytes.len() < 12 {
        return Ok(Beginning::Unknown);
    }
    if &bytes[8..12] != b"WAVE" {
        return Ok(Beginning::Bare);
    }
    let mut format = None;
    let mut at = 12;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]) as usize;
        at += 8;
        match &chunk[..4] {
            b"data" => {
                let format: Head = format.ok_or_else(|| malformed("audio without a format"))?;
                let samples_bytes = (length > 0 && length < UNKNOWN).then_some(length);
                return Ok(Beginning::Wav(Head { samples_at: at, samples_bytes, ..format }));
            }
            b"fmt " => {
                let Some(fields) = bytes.get(at..at + 16) else { return Ok(Beginning::Unknown) };
                let two = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
                let rate_hz = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
                let (tag, channels, bits) = (two(0), two(2), two(14));
                format = Some(Head { tag, channels, rate_hz, bits, samples_at: 0, samples_bytes: None });
            }
            _ => {}
        }
        if length > HEAD_MAX || at > HEAD_MAX {
            return Err(malformed("a WAV head without an end"));
        }
        at += length + length % 2;
    }
    Ok(Beginning::Unknown)
}

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
pub(super) mod tests {
    use offhook_codecs::wav::Reader;

    use super::*;

    /// A head of mono samples, with a chunk before them that nobody needs.
    pub(in super::super) fn head(tag: u16, rate_hz: u32, bits: u16) -> Vec<u8> {
        let mut head = b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        head.extend(tag.to_le_bytes());
        head.extend(1u16.to_le_bytes());
        head.extend(rate_hz.to_le_bytes());
        head.extend((rate_hz * u32::from(bits) / 8).to_le_bytes());
        head.extend((bits / 8).to_le_bytes());
        head.extend(bits.to_le_bytes());
        head.extend(b"data\xff\xff\xff\xff");
        head
    }

    #[test]
    fn ulaw_becomes_a_file_of_the_same_samples() {
        let ulaw: Vec<u8> = (0..2_000).map(|n| (n % 256) as u8).collect();
        let mut reader = Reader::new(Cursor::new(file_of_ulaw(&ulaw))).unwrap();
        assert_eq!((reader.format().rate_hz, reader.format().channels), (8_000, 1));
        let wanted: Vec<i16> = ulaw.iter().map(|&code| g711::ulaw_to_linear(code)).collect();
        assert_eq!(reader.read_mono().unwrap(), wanted);
    }

    #[test]
    fn a_head_is_found_as_soon_as_it_is_whole() {
        let bytes = head(7, 8_000, 8);
        for split in 0..bytes.len() {
            assert_eq!(beginning(&bytes[..split]).unwrap(), Beginning::Unknown, "{split}");
        }
        let wanted = Head {
            tag: 7,
            channels: 1,
            rate_hz: 8_000,
            bits: 8,
            samples_at: bytes.len(),
            samples_bytes: None,
        };
        assert_eq!(beginning(&bytes).unwrap(), Beginning::Wav(wanted));
    }

    #[test]
    fn what_is_none_is_told_apart_and_a_head_has_an_end() {
        assert_eq!(beginning(b"RIFX").unwrap(), Beginning::Bare);
        assert_eq!(beginning(b"RIFF1234AVI ").unwrap(), Beginning::Bare);
        assert!(beginning(b"RIFF1234WAVEdata\0\0\0\0").is_err(), "no format");
        assert!(beginning(b"RIFF1234WAVElong\xff\xff\xff\x7f").is_err());
    }
}
