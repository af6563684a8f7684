//! WAV files: any common sample format in, 16-bit PCM out, over any reader and writer.
//!
//! ```text
//! RIFF size WAVE   fmt_ 16+ tag channels rate bytes/s block bits …   other chunks …   data size samples …
//! 0         8      12                                                                  36 (as written here)
//! ```
//!
//! [`Reader`] takes 8, 16, 24 and 32-bit integers, 32 and 64-bit floats, µ-law and A-law, plain or in the extensible form,
//! with any number of channels up to [`MAX_CHANNELS`], and never seeks, so that a pipe will do. It believes no length before
//! it has read that far. [`Writer`] makes mono or stereo 16-bit files whose header can be brought up to date at any time:
//! after a crash the file is readable up to the last [`Writer::patch_header`].
//!
//! Format: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991), and Microsoft's
//! `WAVEFORMATEXTENSIBLE`.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::g711;

/// Channels beyond this number are a damaged header.
pub const MAX_CHANNELS: u16 = 64;

/// Rates beyond this one, in Hz, are a damaged header.
pub const MAX_RATE_HZ: u32 = 768_000;

/// The data length that says "until the end": written to pipes, where the header cannot be patched.
const UNTIL_THE_END: u32 = u32::MAX;

/// Samples are converted in blocks of at most this many bytes, and space is taken only as they come.
const BLOCK_BYTES: usize = 16 * 1024;

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 8 bits without sign, silence at 128.
    Unsigned8,
    /// 16 bits with sign.
    Signed16,
    /// 24 bits with sign, in three bytes.
    Signed24,
    /// 32 bits with sign.
    Signed32,
    /// 32-bit float, full scale ±1.
    Float32,
    /// 64-bit float, full scale ±1.
    Float64,
    /// G.711 µ-law.
    ULaw,
    /// G.711 A-law.
    ALaw,
}

impl Encoding {
    /// Bytes of one sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Unsigned8 | Self::ULaw | Self::ALaw => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    fn from_tag(tag: u16, bits: u16) -> Option<Self> {
        Some(match (tag, bits) {
            (TAG_PCM, 8) => Self::Unsigned8,
            (TAG_PCM, 16) => Self::Signed16,
            (TAG_PCM, 24) => Self::Signed24,
            (TAG_PCM, 32) => Self::Signed32,
            (TAG_FLOAT, 32) => Self::Float32,
            (TAG_FLOAT, 64) => Self::Float64,
            (TAG_ALAW, 8) => Self::ALaw,
            (TAG_ULAW, 8) => Self::ULaw,
            _ => return None,
        })
    }

    /// Converts whole samples. `bytes`: [`Encoding::bytes`] for each of `out`.
    fn decode(self, bytes: &[u8], out: &mut [i16]) {
        fn each<const N: usize>(bytes: &[u8], out: &mut [i16], convert: impl Fn([u8; N]) -> i16) {
            for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
                *out = convert(*bytes);
            }
        }
        match self {
            Self::Unsigned8 => each(bytes, out, |[byte]| (i16::from(byte) - 128) << 8),
            Self::Signed16 => each(bytes, out, i16::from_le_bytes),
            Self::Signed24 => {
                each(bytes, out, |[low, middle, high]| rounded(i32::from_le_bytes([0, low, middle, high])))
            }
            Self::Signed32 => each(bytes, out, |bytes| rounded(i32::from_le_bytes(bytes))),
            Self::Float32 => {
                each(bytes, out, |bytes| (f32::from_le_bytes(bytes) * 32_767.0).round() as i16);
            }
            Self::Float64 => {
                each(bytes, out, |bytes| (f64::from_le_bytes(bytes) * 32_767.0).round() as i16);
            }
            Self::ULaw => g711::decode_ulaw(bytes, out),
            Self::ALaw => g711::decode_alaw(bytes, out),
        }
    }
}

/// The upper 16 of 32 bits, to the nearest, without wrapping at the top.
fn rounded(sample: i32) -> i16 {
    (sample.saturating_add(1 << 15) >> 16) as i16
}

const TAG_PCM: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_ALAW: u16 = 6;
const TAG_ULAW: u16 = 7;
const TAG_EXTENSIBLE: u16 = 0xfffe;

/// The end of every `WAVEFORMATEXTENSIBLE` sub-format that only wraps a plain tag.
const WRAPPED_TAG: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// What a file's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How one sample is stored.
    pub encoding: Encoding,
    /// Samples per second of each channel; the file may have any.
    pub rate_hz: u32,
    /// Samples of one instant; they stand side by side.
    pub channels: u16,
}

/// Why a file cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// The reader or writer failed.
    #[error("input or output failed at byte {at}: {kind}")]
    Io {
        /// Bytes read or written before.
        at: u64,
        /// How.
        kind: io::ErrorKind,
    },
    /// The file ends before what its header announces.
    #[error("the file ends at byte {at}, in the middle of {within}")]
    Truncated {
        /// Length of the file, in bytes.
        at: u64,
        /// What is cut off.
        within: &'static str,
    },
    /// The file does not begin as a WAV file.
    #[error("not a WAV file: no {expected} at byte {at}")]
    NotWav {
        /// Where.
        at: u64,
        /// What should stand there.
        expected: &'static str,
    },
    /// The samples come before their format.
    #[error("no format before the data at byte {at}")]
    NoFormat {
        /// Where the data begins.
        at: u64,
    },
    /// A field of the format has a value that it cannot have.
    #[error("{field} is {value}, which cannot be (format at byte {at})")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What stands there.
        value: u32,
        /// Where the format chunk begins.
        at: u64,
    },
    /// A format that is not read here, such as ADPCM or MP3.
    #[error("format {tag:#06x} of {bits} bits is not supported (format at byte {at})")]
    Unsupported {
        /// The format's number.
        tag: u16,
        /// Bits of a sample.
        bits: u16,
        /// Where the format chunk begins.
        at: u64,
    },
    /// The file would outgrow the 4 GiB that its header can state.
    #[error("a WAV file cannot hold more than 4 GiB")]
    TooLong,
}

/// Reads one file, from its beginning.
#[derive(Debug)]
pub struct Reader<R> {
    input: Counting<R>,
    format: Format,
    /// Bytes of samples that the header announces and that have not been read; `None` until the end of the file.
    left: Option<u64>,
    block: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the header, up to the first sample.
    pub fn new(input: R) -> Result<Self, WavError> {
        let mut input = Counting { inner: input, at: 0 };
        input.expect(b"RIFF", "RIFF")?;
        input.array::<4>("the header")?;
        input.expect(b"WAVE", "WAVE")?;
        let mut format = None;
        loop {
            let id = input.array::<4>("a chunk's header")?;
            let length = u32::from_le_bytes(input.array("a chunk's header")?);
            match &id {
                b"fmt " => format = Some(read_format(&mut input, length)?),
                b"data" => {
                    let format = format.ok_or(WavError::NoFormat { at: input.at })?;
                    let left = (length != UNTIL_THE_END).then_some(u64::from(length));
                    return Ok(Self { input, format, left, block: Vec::new() });
                }
                _ => input.skip(u64::from(length) + u64::from(length % 2), "a chunk")?,
            }
        }
    }

    /// What the samples are.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads the next samples, all channels side by side, and says how many: fewer than `out` holds only at the end.
    ///
    /// `out`: takes a multiple of the number of channels; a remainder stays untouched.
    pub fn read(&mut self, out: &mut [i16]) -> Result<usize, WavError> {
        let channels = usize::from(self.format.channels);
        let width = self.format.encoding.bytes();
        let instant = width * channels;
        let whole = out.len() / channels * channels;
        let mut done = 0;
        while done < whole {
            let mut wanted = ((whole - done) * width).min(BLOCK_BYTES / instant * instant);
            if let Some(left) = self.left {
                // A last instant that the header itself cuts short is left out.
                wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX) / instant * instant);
            }
            if wanted == 0 {
                break;
            }
            self.block.resize(wanted, 0);
            let got = self.input.fill(&mut self.block)?;
            if let Some(left) = &mut self.left {
                *left -= got as u64;
                if got < wanted {
                    return Err(WavError::Truncated { at: self.input.at, within: "the samples" });
                }
            }
            let got = got / instant * instant;
            self.format.encoding.decode(&self.block[..got], &mut out[done..done + got / width]);
            done += got / width;
            if got < wanted {
                break;
            }
        }
        Ok(done)
    }

    /// Reads all that is left, as one channel: the mean of all.
    pub fn read_mono(&mut self) -> Result<Vec<i16>, WavError> {
        let channels = usize::from(self.format.channels);
        let mut mono = Vec::new();
        self.for_each_block(|block| {
            mono.extend(block.chunks_exact(channels).map(|instant| {
                let sum: i32 = instant.iter().copied().map(i32::from).sum();
                (sum / channels as i32) as i16
            }));
        })?;
        Ok(mono)
    }

    /// Reads all that is left, each channel for itself.
    pub fn read_channels(&mut self) -> Result<Vec<Vec<i16>>, WavError> {
        let stride = usize::from(self.format.channels);
        let mut channels = vec![Vec::new(); stride];
        self.for_each_block(|block| {
            for (index, channel) in channels.iter_mut().enumerate() {
                channel.extend(block.iter().skip(index).step_by(stride));
            }
        })?;
        Ok(channels)
    }
}

impl<R: Read> Reader<R> {
    fn for_each_block(&mut self, mut take: impl FnMut(&[i16])) -> Result<(), WavError> {
        let mut block = vec![0; 1_024 * usize::from(self.format.channels)];
        loop {
            let got = self.read(&mut block)?;
            take(&block[..got]);
            if got < block.len() {
                return Ok(());
            }
        }
    }
}

fn read_format<R: Read>(input: &mut Counting<R>, length: u32) -> Result<Format, WavError> {
    const WITHIN: &str = "the format";
    let at = input.at;
    let mut left = u64::from(length) + u64::from(length % 2);
    let mut take = |input: &mut Counting<R>| {
        left = left.checked_sub(2).ok_or(WavError::Invalid { field: "format length", value: length, at })?;
        Ok(u16::from_le_bytes(input.array(WITHIN)?))
    };
    let mut tag = take(input)?;
    let channels = take(input)?;
    let rate_hz = u32::from(take(input)?) | u32::from(take(input)?) << 16;
    // Bytes per second: many writers get it wrong, and it follows from the rest.
    let _ = (take(input)?, take(input)?);
    let block = take(input)?;
    let bits = take(input)?;
    if tag == TAG_EXTENSIBLE {
        // The extension's length, valid bits, and the speakers of the channels.
        for _ in 0..4 {
            take(input)?;
        }
        tag = take(input)?;
        let mut wrapped = [0; WRAPPED_TAG.len()];
        for pair in wrapped.as_chunks_mut::<2>().0 {
            *pair = take(input)?.to_le_bytes();
        }
        if wrapped != WRAPPED_TAG {
            return Err(WavError::Unsupported { tag: TAG_EXTENSIBLE, bits, at });
        }
    }
    input.skip(left, WITHIN)?;

    let encoding = Encoding::from_tag(tag, bits).ok_or(WavError::Unsupported { tag, bits, at })?;
    let invalid = |field, value| Err(WavError::Invalid { field, value, at });
    if channels == 0 || channels > MAX_CHANNELS {
        return invalid("number of channels", channels.into());
    }
    if rate_hz == 0 || rate_hz > MAX_RATE_HZ {
        return invalid("rate", rate_hz);
    }
    if usize::from(block) != encoding.bytes() * usize::from(channels) {
        return invalid("block size", block.into());
    }
    Ok(Format { encoding, rate_hz, channels })
}

/// A reader that knows how far it is.
#[derive(Debug)]
struct Counting<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Counting<R> {
    /// Reads until `bytes` is full or the file ends, and says how many bytes came.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, WavError> {
        let mut done = 0;
        while done < bytes.len() {
            match self.inner.read(&mut bytes[done..]) {
                Ok(0) => break,
                Ok(got) => {
                    done += got;
                    self.at += got as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WavError::Io { at: self.at, kind: error.kind() }),
            }
        }
        Ok(done)
    }

    fn array<const N: usize>(&mut self, within: &'static str) -> Result<[u8; N], WavError> {
        let mut bytes = [0; N];
        match self.fill(&mut bytes)? {
            got if got == N => Ok(bytes),
            _ => Err(WavError::Truncated { at: self.at, within }),
        }
    }

    fn expect(&mut self, mark: &[u8; 4], expected: &'static str) -> Result<(), WavError> {
        let at = self.at;
        if self.array::<4>("the header")? != *mark {
            return Err(WavError::NotWav { at, expected });
        }
        Ok(())
    }

    fn skip(&mut self, mut bytes: u64, within: &'static str) -> Result<(), WavError> {
        let mut scratch = [0; 512];
        while bytes > 0 {
            let wanted = scratch.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            if self.fill(&mut scratch[..wanted])? < wanted {
                return Err(WavError::Truncated { at: self.at, within });
            }
            bytes -= wanted as u64;
        }
        Ok(())
    }
}

/// Bytes before the first sample, as written here.
const HEADER_BYTES: u32 = 44;

/// Writes one 16-bit PCM file.
///
/// The header states no samples until [`Writer::patch_header`] or [`Writer::finish`]. Give it a buffered writer.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Where the file begins in the output.
    start: u64,
    channels: u16,
    data_bytes: u32,
    block: Vec<u8>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file of one channel.
    ///
    /// `output` is written from its present position on.
    pub fn mono(output: W, rate_hz: u32) -> Result<Self, WavError> {
        Self::new(output, rate_hz, 1)
    }

    /// Begins a file of two channels.
    ///
    /// `output` is written from its present position on.
    pub fn stereo(output: W, rate_hz: u32) -> Result<Self, WavError> {
        Self::new(output, rate_hz, 2)
    }

    fn new(mut output: W, rate_hz: u32, channels: u16) -> Result<Self, WavError> {
        if rate_hz == 0 || rate_hz > MAX_RATE_HZ {
            return Err(WavError::Invalid { field: "rate", value: rate_hz, at: 0 });
        }
        let start = output.stream_position().map_err(io_error(0))?;
        let block = 2 * channels;
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&(HEADER_BYTES - 8).to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&16_u32.to_le_bytes());
        header.extend_from_slice(&TAG_PCM.to_le_bytes());
        header.extend_from_slice(&channels.to_le_bytes());
        header.extend_from_slice(&rate_hz.to_le_bytes());
        header.extend_from_slice(&(rate_hz * u32::from(block)).to_le_bytes());
        header.extend_from_slice(&block.to_le_bytes());
        header.extend_from_slice(&16_u16.to_le_bytes());
        header.extend_from_slice(b"data");
        header.extend_from_slice(&0_u32.to_le_bytes());
        output.write_all(&header).map_err(io_error(0))?;
        Ok(Self { output, start, channels, data_bytes: 0, block: Vec::new() })
    }

    /// How many samples of each channel were written.
    pub fn samples(&self) -> u32 {
        self.data_bytes / u32::from(2 * self.channels)
    }

    /// Appends samples: of one channel, or of two side by side, left first.
    ///
    /// Panics on an odd number of samples in a stereo file: that is the caller's bug.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), WavError> {
        assert_eq!(samples.len() % usize::from(self.channels), 0, "each instant has a sample per channel");
        self.block.clear();
        self.block.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.write_block()
    }

    /// Appends samples of both channels.
    ///
    /// Panics if the file is mono or the lengths differ: that is the caller's bug.
    pub fn write_stereo(&mut self, left: &[i16], right: &[i16]) -> Result<(), WavError> {
        assert_eq!(self.channels, 2, "the file has two channels");
        assert_eq!(left.len(), right.len(), "each instant has a sample per channel");
        self.block.clear();
        self.block.extend(left.iter().zip(right).flat_map(|(left, right)| {
            let ([a, b], [c, d]) = (left.to_le_bytes(), right.to_le_bytes());
            [a, b, c, d]
        }));
        self.write_block()
    }

    fn write_block(&mut self) -> Result<(), WavError> {
        let data_bytes = u32::try_from(self.block.len())
            .ok()
            .and_then(|bytes| self.data_bytes.checked_add(bytes))
            .filter(|bytes| *bytes < UNTIL_THE_END - HEADER_BYTES)
            .ok_or(WavError::TooLong)?;
        let at = u64::from(HEADER_BYTES + self.data_bytes);
        self.output.write_all(&self.block).map_err(io_error(at))?;
        self.data_bytes = data_bytes;
        Ok(())
    }

    /// Brings the header up to date and flushes, so that the file so far would survive a crash of the process.
    pub fn patch_header(&mut self) -> Result<(), WavError> {
        let Self { output, start, data_bytes, .. } = self;
        let end = u64::from(HEADER_BYTES + *data_bytes);
        let mut patch = || {
            output.seek(SeekFrom::Start(*start + 4))?;
            output.write_all(&(HEADER_BYTES - 8 + *data_bytes).to_le_bytes())?;
            output.seek(SeekFrom::Start(*start + u64::from(HEADER_BYTES) - 4))?;
            output.write_all(&data_bytes.to_le_bytes())?;
            output.seek(SeekFrom::Start(*start + end))?;
            output.flush()
        };
        patch().map_err(io_error(end))
    }

    /// Brings the header up to date, and gives the output back, at the end of the file.
    pub fn finish(mut self) -> Result<W, WavError> {
        self.patch_header()?;
        Ok(self.output)
    }
}

fn io_error(at: u64) -> impl FnOnce(io::Error) -> WavError {
    move |error| WavError::Io { at, kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// A WAV file with this format chunk and these samples.
    fn file(format: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF".to_vec();
        file.extend_from_slice(&(20 + format.len() as u32 + data.len() as u32).to_le_bytes());
        file.extend_from_slice(b"WAVEfmt ");
        file.extend_from_slice(&(format.len() as u32).to_le_bytes());
        file.extend_from_slice(format);
        file.extend_from_slice(b"data");
        file.extend_from_slice(&(data.len() as u32).to_le_bytes());
        file.extend_from_slice(data);
        file
    }

    fn format(tag: u16, channels: u16, rate_hz: u32, bits: u16) -> Vec<u8> {
        let block = channels.wrapping_mul(bits / 8);
        let mut format = Vec::new();
        format.extend_from_slice(&tag.to_le_bytes());
        format.extend_from_slice(&channels.to_le_bytes());
        format.extend_from_slice(&rate_hz.to_le_bytes());
        format.extend_from_slice(&rate_hz.wrapping_mul(block.into()).to_le_bytes());
        format.extend_from_slice(&block.to_le_bytes());
        format.extend_from_slice(&bits.to_le_bytes());
        format
    }

    fn mono(file: &[u8]) -> Result<Vec<i16>, WavError> {
        Reader::new(file)?.read_mono()
    }

    #[test]
    fn every_encoding_keeps_silence_and_full_scale() {
        let floats = |values: [f64; 5]| -> (Vec<u8>, Vec<u8>) {
            (
                values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect(),
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            )
        };
        let (float32, float64) = floats([0.0, 1.0, -1.0, 7.0, f64::NAN]);
        for (tag, bits, data, expected) in [
            (1, 8, vec![128, 255, 0], vec![0, 32_512, -32_768]),
            (1, 16, vec![0, 0, 0xff, 0x7f, 0, 0x80], vec![0, 32_767, -32_768]),
            (1, 24, vec![0, 0, 0, 0xff, 0xff, 0x7f, 0, 0, 0x80, 0x7f, 1, 0], vec![0, 32_767, -32_768, 1]),
            (1, 32, vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80], vec![0, 32_767, -32_768]),
            (3, 32, float32, vec![0, 32_767, -32_767, 32_767, 0]),
            (3, 64, float64, vec![0, 32_767, -32_767, 32_767, 0]),
            (7, 8, vec![0xff, 0x80, 0x00], vec![0, 32_124, -32_124]),
            (6, 8, vec![0xd5, 0xaa, 0x2a], vec![8, 32_256, -32_256]),
        ] {
            assert_eq!(mono(&file(&format(tag, 1, 8_000, bits), &data)), Ok(expected), "{tag} {bits}");
        }
    }

    #[test]
    fn channels_can_be_kept_apart_or_mixed() {
        let mut writer = Writer::stereo(Cursor::new(Vec::new()), 8_000).unwrap();
        writer.write_stereo(&[100, 200, 32_767], &[300, -200, 32_767]).unwrap();
        writer.write(&[5, 7]).unwrap();
        assert_eq!(writer.samples(), 4);
        let file = writer.finish().unwrap().into_inner();
        let mut reader = Reader::new(&file[..]).unwrap();
        let format = Format { encoding: Encoding::Signed16, rate_hz: 8_000, channels: 2 };
        assert_eq!(reader.format(), format);
        assert_eq!(reader.read_channels(), Ok(vec![vec![100, 200, 32_767, 5], vec![300, -200, 32_767, 7]]));
        assert_eq!(mono(&file), Ok(vec![200, 0, 32_767, 6]));
    }

    #[test]
    fn other_readers_and_writers_agree() {
        let samples: Vec<i16> =
            (0..10_000_i32).map(|index| (index * 7_919 % 65_536 - 32_768) as i16).collect();
        let mut writer = Writer::stereo(Cursor::new(Vec::new()), 16_000).unwrap();
        samples.chunks(322).for_each(|samples| writer.write(samples).unwrap());
        let ours = writer.finish().unwrap().into_inner();
        let mut theirs = hound::WavReader::new(&ours[..]).unwrap();
        assert_eq!((theirs.spec().channels, theirs.spec().sample_rate), (2, 16_000));
        assert!(theirs.samples::<i16>().map(Result::unwrap).eq(samples.iter().copied()));

        for (bits_per_sample, sample_format) in [
            (8, hound::SampleFormat::Int),
            (16, hound::SampleFormat::Int),
            (24, hound::SampleFormat::Int),
            (32, hound::SampleFormat::Int),
            (32, hound::SampleFormat::Float),
        ] {
            let spec = hound::WavSpec { channels: 1, sample_rate: 44_100, bits_per_sample, sample_format };
            let mut file = Cursor::new(Vec::new());
            let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
            let kept: Vec<i16> = samples.iter().map(|sample| sample & !0xff).collect();
            for &sample in &kept {
                match (sample_format, bits_per_sample) {
                    (hound::SampleFormat::Float, _) => writer.write_sample(f32::from(sample) / 32_767.0),
                    (_, 8) => writer.write_sample((sample >> 8) as i8),
                    (_, bits) => writer.write_sample(i32::from(sample) << (bits - 16)),
                }
                .unwrap();
            }
            writer.finalize().unwrap();
            let read = mono(file.get_ref()).unwrap();
            // The lowest number has no place on a scale of ±32,767.
            let scale = |sample: &i16| if bits_per_sample == 32 { (*sample).max(-32_767) } else { *sample };
            assert!(
                read.iter().zip(&kept).all(|(read, kept)| read == kept || *read == scale(kept)),
                "{bits_per_sample} {sample_format:?}"
            );
            assert_eq!(read.len(), kept.len());
        }
    }

    #[test]
    fn a_file_is_readable_up_to_the_last_patch_of_its_header() {
        let mut output = Cursor::new(b"before".to_vec());
        output.set_position(6);
        let mut writer = Writer::mono(output, 8_000).unwrap();
        writer.write(&[1, 2, 3]).unwrap();
        writer.patch_header().unwrap();
        writer.write(&[4, 5]).unwrap();
        let crashed = writer.output.get_ref()[6..].to_vec();
        assert_eq!(mono(&crashed), Ok(vec![1, 2, 3]));
        let finished = writer.finish().unwrap();
        assert_eq!(finished.position(), 6 + 44 + 10);
        assert_eq!(mono(&finished.get_ref()[6..]), Ok(vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn chunks_that_we_do_not_know_are_skipped() {
        let plain = file(&format(1, 1, 8_000, 16), &[1, 0]);
        let mut odd = plain[..12].to_vec();
        odd.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        odd.extend_from_slice(&plain[12..]);
        odd.extend_from_slice(b"id3 \xff\xff\xff\xff");
        assert_eq!(mono(&odd), Ok(vec![1]));
    }

    #[test]
    fn the_extensible_form_is_read_and_its_strangers_refused() {
        let mut extensible = format(TAG_EXTENSIBLE, 1, 8_000, 16);
        extensible.extend_from_slice(&[22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
        extensible.extend_from_slice(&WRAPPED_TAG);
        assert_eq!(mono(&file(&extensible, &[1, 0])), Ok(vec![1]));
        extensible[30] ^= 1;
        let refused = WavError::Unsupported { tag: TAG_EXTENSIBLE, bits: 16, at: 20 };
        assert_eq!(mono(&file(&extensible, &[1, 0])), Err(refused));
    }

    #[test]
    fn samples_written_to_a_pipe_end_with_it() {
        let mut endless = file(&format(1, 1, 8_000, 16), &[1, 0, 2, 0, 3]);
        endless[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(mono(&endless), Ok(vec![1, 2]));
    }

    #[test]
    fn hostile_headers_are_errors_that_say_what_and_where() {
        let good = file(&format(1, 1, 8_000, 16), &[1, 0, 2, 0]);
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            bad
        };
        let invalid = |field, value| WavError::Invalid { field, value, at: 20 };
        let unsupported = |tag, bits| WavError::Unsupported { tag, bits, at: 20 };
        for (bad, error) in [
            (b"".to_vec(), WavError::Truncated { at: 0, within: "the header" }),
            (with(0, b"RIFX"), WavError::NotWav { at: 0, expected: "RIFF" }),
            (with(8, b"AVI "), WavError::NotWav { at: 8, expected: "WAVE" }),
            (with(12, b"fact"), WavError::NoFormat { at: 44 }),
            (with(16, &[14]), invalid("format length", 14)),
            (with(16, &[0xff; 4]), WavError::Truncated { at: 48, within: "the format" }),
            (with(20, &[85]), unsupported(85, 16)),
            (with(34, &[12]), unsupported(1, 12)),
            (with(34, &[0]), unsupported(1, 0)),
            (with(22, &[0]), invalid("number of channels", 0)),
            (with(22, &[0xff, 0xff]), invalid("number of channels", 65_535)),
            (with(24, &[0; 4]), invalid("rate", 0)),
            (with(24, &[0xff; 4]), invalid("rate", u32::MAX)),
            (with(32, &[0]), invalid("block size", 0)),
            (with(32, &[4]), invalid("block size", 4)),
            (with(40, &[6]), WavError::Truncated { at: 48, within: "the samples" }),
            (with(40, &[0xfe, 0xff, 0xff, 0xff]), WavError::Truncated { at: 48, within: "the samples" }),
            (good[..36].to_vec(), WavError::Truncated { at: 36, within: "a chunk's header" }),
            (good[..30].to_vec(), WavError::Truncated { at: 30, within: "the format" }),
        ] {
            assert_eq!(mono(&bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn a_file_cannot_outgrow_its_header() {
        struct Nowhere;
        impl Write for Nowhere {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Seek for Nowhere {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let mut writer = Writer::mono(Nowhere, 8_000).unwrap();
        writer.data_bytes = u32::MAX - 44 - 3;
        assert_eq!(writer.write(&[1]), Ok(()));
        assert_eq!(writer.write(&[1]), Err(WavError::TooLong));
        assert_eq!(writer.patch_header(), Ok(()));
        assert!(Writer::mono(Nowhere, 0).is_err());
    }

    proptest! {
        #[test]
        fn any_damage_to_a_file_is_read_or_refused(
            at in 0_usize..44, with in proptest::collection::vec(any::<u8>(), 0..6), cut in 0_usize..60,
        ) {
            let mut file = file(&format(1, 2, 8_000, 16), &[7; 16]);
            file.truncate(file.len() - cut.min(file.len()));
            for (byte, with) in file.iter_mut().skip(at).zip(with) {
                *byte = with;
            }
            let read = mono(&file);
            prop_assert!(read.is_err() || read.is_ok_and(|samples| samples.len() <= 16));
        }

        #[test]
        fn any_reads_give_the_same_samples(
            samples in proptest::collection::vec(any::<i16>(), 0..300), sizes in proptest::collection::vec(1_usize..50, 1..8),
        ) {
            let mut writer = Writer::mono(Cursor::new(Vec::new()), 8_000).unwrap();
            samples.chunks(sizes[0]).for_each(|block| writer.write(block).unwrap());
            let file = writer.finish().unwrap().into_inner();
            let mut reader = Reader::new(&file[..]).unwrap();
            let mut read = Vec::new();
            for size in sizes.iter().cycle() {
                let mut out = vec![0; *size];
                let got = reader.read(&mut out).unwrap();
                read.extend_from_slice(&out[..got]);
                if got < *size {
                    break;
                }
            }
            prop_assert_eq!(read, samples);
        }
    }
}
