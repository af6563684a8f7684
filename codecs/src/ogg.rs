//! Opus in Ogg: the `.ogg` or `.opus` files of voice notes, packet by packet.
//!
//! ```text
//! page   OpusHead: channels, pre-skip, rate of the source        (granule 0)
//! page   OpusTags: who made it, comments                         (granule 0)
//! pages  packets; each page's granule = samples up to its end    (48 kHz, pre-skip included)
//! last   marked as the end; a granule below its packets' sum trims the last ones
//! ```
//!
//! All counts of samples here are at 48 kHz, whatever the rate of the sound, as the format has it. Packets pass as they
//! are: `opus.rs` makes and plays them, and the `encode` and `decode` here do both for a whole file.
//!
//! Reading is strict, since a damaged voice note should be reported, not half played: each page's checksum and number are
//! checked, and errors name the byte where the page begins. A file whose last page lacks the mark of the end was cut off;
//! [`Reader::next_packet`] says so after the last whole packet, so that a caller may settle for what there is.
//!
//! RFC 3533 (Ogg), RFC 7845 (Opus in Ogg), RFC 6716 section 3.1 (a packet's duration).

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use ogg::reading::{BasePacketReader, OggReadError, PageParser};
use ogg::writing::{PacketWriteEndInfo, PacketWriter};

#[cfg(feature = "opus")]
use crate::audio::SampleRate;
#[cfg(feature = "opus")]
use crate::opus;

/// Samples per second of all positions in a file.
pub const GRANULES_PER_SECOND: u32 = 48_000;

/// A packet of this size or more is a damaged or hostile file: 48 times what RFC 7845 asks a player to take.
const MAX_PACKET_BYTES: usize = 48 * 61_440;

/// More missing sound than this before one page is a damaged or hostile file.
const MAX_LOST_SAMPLES: u64 = 60 * GRANULES_PER_SECOND as u64;

/// A page is closed once it holds this much sound: what a crash may cost a file that is being written.
const PAGE_SAMPLES: u64 = GRANULES_PER_SECOND as u64;

/// Why a file cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OggError {
    /// The reader or writer failed.
    #[error("input or output failed at byte {at}: {kind}")]
    Io {
        /// Bytes read or written before.
        at: u64,
        /// How.
        kind: io::ErrorKind,
    },
    /// The file ends within a page, a packet, or before a page marked as the last.
    #[error("the file is cut off at byte {at}")]
    Truncated {
        /// Its length, in bytes.
        at: u64,
    },
    /// No Ogg page begins where one should.
    #[error("no Ogg page at byte {at}")]
    NoPage {
        /// Where.
        at: u64,
    },
    /// A page's checksum is not that of its bytes.
    #[error("the page at byte {at} is damaged")]
    Damaged {
        /// Where the page begins.
        at: u64,
    },
    /// A page is not the one that should follow: lost, repeated, or of another stream.
    #[error("the page at byte {at} does not follow the page before it")]
    OutOfOrder {
        /// Where the page begins.
        at: u64,
    },
    /// The stream does not begin with a header of Opus that is understood here.
    #[error("no usable Opus header in the page at byte {at}: {what}")]
    NotOpus {
        /// Where the page begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A packet of sound is not Opus, or too long.
    #[error("packet {index} is not an Opus packet (page at byte {at})")]
    BadPacket {
        /// Its place among the packets of sound, from 0.
        index: u64,
        /// Where the page begins on which it ends.
        at: u64,
    },
    /// A page's granule position contradicts its packets or the pages before it.
    #[error("the page at byte {at} has granule position {granule}, which cannot be")]
    BadGranule {
        /// Where the page begins.
        at: u64,
        /// What it states.
        granule: u64,
    },
    /// The sound is longer than was asked for; nothing is wrong with the file.
    #[error("the sound is longer than allowed")]
    TooLong,
    /// A comment is longer than the format can state.
    #[error("a comment is too long")]
    CommentTooLong,
    /// Opus refused settings or packets.
    #[cfg(feature = "opus")]
    #[error("Opus failed at packet {index}")]
    Opus {
        /// The packet's place among the packets of sound, from 0.
        index: u64,
        /// Why.
        source: opus::OpusError,
    },
}

/// What a stream says of itself before the first sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 1 or 2.
    pub channels: u8,
    /// Samples at 48 kHz at the beginning that the codec makes from nothing, and that are not to be played.
    pub pre_skip: u16,
    /// Rate of the sound before it was encoded, in Hz; 0 if unknown. For the curious: playing does not need it.
    pub source_rate_hz: u32,
    /// By how much to change the volume, in 1/256 dB.
    pub gain_q8_db: i16,
}

impl Head {
    fn write(&self) -> [u8; 19] {
        let mut head = *b"OpusHead\x01\0\0\0\0\0\0\0\0\0\0";
        head[9] = self.channels;
        head[10..12].copy_from_slice(&self.pre_skip.to_le_bytes());
        head[12..16].copy_from_slice(&self.source_rate_hz.to_le_bytes());
        head[16..18].copy_from_slice(&self.gain_q8_db.to_le_bytes());
        head
    }

    fn read(packet: &[u8]) -> Result<Self, &'static str> {
        let [
            b'O',
            b'p',
            b'u',
            b's',
            b'H',
            b'e',
            b'a',
            b'd',
            version,
            channels,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            family,
            ..,
        ] = *packet
        else {
            return Err("no OpusHead");
        };
        if version >= 16 {
            return Err("a version that is not known");
        }
        if family != 0 || !(1..=2).contains(&channels) {
            return Err("neither mono nor stereo");
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([a, b]),
            source_rate_hz: u32::from_le_bytes([c, d, e, f]),
            gain_q8_db: i16::from_le_bytes([g, h]),
        })
    }
}

/// How many samples at 48 kHz an Opus packet holds, from its first bytes; `None` if that cannot be.
///
/// RFC 6716, section 3.1: five bits tell mode and frame length, two bits how many frames.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let frame = match first >> 3 {
        config @ 0..12 => [480, 960, 1_920, 2_880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    Some(frame * frames).filter(|samples| (1..=5_760).contains(samples))
}

/// Writes one stream.
#[expect(missing_debug_implementations, reason = "the page writer within has none")]
pub struct Writer<W: Write> {
    pages: PacketWriter<'static, Counting<W>>,
    serial: u32,
    /// The newest packet waits here: whether it is the last is not known yet.
    held: Option<Vec<u8>>,
    /// Samples in the packets so far, the held one included.
    samples: u64,
    /// Of these, the held one's.
    held_samples: u64,
    /// Granule position at which the present page began.
    page_began: u64,
    packets: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the headers.
    ///
    /// `serial` names the stream within the file: any number. `comments` are pairs such as `("TITLE", "Voicemail")`.
    pub fn new(output: W, serial: u32, head: &Head, comments: &[(&str, &str)]) -> Result<Self, OggError> {
        let mut pages = PacketWriter::new(Counting { inner: output, at: 0 });
        let mut tags = b"OpusTags".to_vec();
        push_text(&mut tags, &["offhook"])?;
        let count = u32::try_from(comments.len()).map_err(|_| OggError::CommentTooLong)?;
        tags.extend_from_slice(&count.to_le_bytes());
        for (name, value) in comments {
            push_text(&mut tags, &[name, "=", value])?;
        }
        if tags.len() >= MAX_PACKET_BYTES {
            return Err(OggError::CommentTooLong);
        }
        for header in [head.write().to_vec(), tags] {
            pages
                .write_packet(header, serial, PacketWriteEndInfo::EndPage, 0)
                .map_err(|error| OggError::Io { at: pages.inner().at, kind: error.kind() })?;
        }
        Ok(Self { pages, serial, held: None, samples: 0, held_samples: 0, page_began: 0, packets: 0 })
    }

    /// Appends one packet of sound.
    pub fn write(&mut self, packet: &[u8]) -> Result<(), OggError> {
        let samples = packet_samples(packet).filter(|_| packet.len() < MAX_PACKET_BYTES);
        let bad = OggError::BadPacket { index: self.packets, at: self.pages.inner().at };
        let samples = samples.ok_or(bad)?;
        if let Some(held) = self.held.replace(packet.to_vec()) {
            let full = self.samples - self.page_began >= PAGE_SAMPLES;
            let end = if full { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
            if full {
                self.page_began = self.samples;
            }
            self.push(held, end, self.samples)?;
        }
        self.held_samples = samples.into();
        self.samples += self.held_samples;
        self.packets += 1;
        Ok(())
    }

    /// Marks the end, and gives the output back.
    ///
    /// `granule`: where the sound ends, in samples at 48 kHz from the beginning, pre-skip included; what the packets hold
    /// beyond it is not to be played. It is moved into the last packet if it lies elsewhere. `None`: at that packet's end.
    pub fn finish(mut self, granule: Option<u64>) -> Result<W, OggError> {
        // The packet before may have ended the page before, and positions never go back.
        let earliest = self.samples - self.held_samples;
        let granule = granule.unwrap_or(self.samples).clamp(earliest, self.samples);
        // A stream without sound still ends with a page; an empty packet is how Ogg writes it.
        let held = self.held.take().unwrap_or_default();
        self.push(held, PacketWriteEndInfo::EndStream, granule)?;
        let mut output = self.pages.into_inner();
        output.flush().map_err(|error| OggError::Io { at: output.at, kind: error.kind() })?;
        Ok(output.inner)
    }

    fn push(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, granule: u64) -> Result<(), OggError> {
        self.pages
            .write_packet(packet, self.serial, end, granule)
            .map_err(|error| OggError::Io { at: self.pages.inner().at, kind: error.kind() })
    }
}

fn push_text(tags: &mut Vec<u8>, parts: &[&str]) -> Result<(), OggError> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| OggError::CommentTooLong)?;
    tags.extend_from_slice(&length.to_le_bytes());
    parts.iter().for_each(|part| tags.extend_from_slice(part.as_bytes()));
    Ok(())
}

/// One packet of sound, and which of its samples are meant to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the decoder takes.
    pub data: Vec<u8>,
    /// Samples at 48 kHz that it decodes to.
    pub samples: u32,
    /// Of these, how many at the beginning are not to be played: the pre-skip.
    pub skip: u32,
    /// And how many at the end: beyond the end of the stream.
    pub trim: u32,
    /// Samples at 48 kHz that are missing before this packet, by the page's own account.
    pub lost_before: u64,
}

/// Reads one stream; a file of several is refused at the second one's first page.
#[expect(missing_debug_implementations, reason = "the page reader within has none")]
pub struct Reader<R> {
    input: Counting<R>,
    pages: BasePacketReader,
    head: Head,
    comments: Vec<String>,
    /// Packets that end on the present page.
    ready: VecDeque<Packet>,
    next_page: u32,
    serial: u32,
    /// Granule position after all packets so far; `None` before the first page of sound.
    granule: Option<u64>,
    /// Samples of the pre-skip that are still to come.
    skip_left: u32,
    packets: u64,
    /// Bytes of a packet that the pages so far began and did not end.
    unfinished_bytes: usize,
    ended: bool,
}

/// What a page's header says, beyond what the page reader keeps to itself.
struct Page {
    at: u64,
    granule: u64,
    last: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the headers.
    pub fn new(input: R) -> Result<Self, OggError> {
        let mut reader = Self {
            input: Counting { inner: input, at: 0 },
            pages: BasePacketReader::new(),
            head: Head { channels: 1, pre_skip: 0, source_rate_hz: 0, gain_q8_db: 0 },
            comments: Vec::new(),
            ready: VecDeque::new(),
            next_page: 0,
            serial: 0,
            granule: None,
            skip_left: 0,
            packets: 0,
            unfinished_bytes: 0,
            ended: false,
        };
        let (packet, at) = reader.header_packet()?;
        reader.head = Head::read(&packet).map_err(|what| OggError::NotOpus { at, what })?;
        reader.skip_left = reader.head.pre_skip.into();
        let (packet, at) = reader.header_packet()?;
        let what = "no OpusTags, or cut off";
        reader.comments = read_comments(&packet).ok_or(OggError::NotOpus { at, what })?;
        Ok(reader)
    }

    /// What the stream says of itself.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Comments such as `TITLE=Voicemail`; bytes that are not text are replaced.
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    /// The next packet of sound; `None` after the last.
    ///
    /// After an error the reader is at its end.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, OggError> {
        while self.ready.is_empty() && !self.ended {
            if let Err(error) = self.read_page().and_then(|page| self.take_sound(&page)) {
                self.ended = true;
                // What of the bad page was read already is not known to be sound.
                self.ready.clear();
                return Err(error);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// A header stands alone on its pages.
    fn header_packet(&mut self) -> Result<(Vec<u8>, u64), OggError> {
        loop {
            let page = self.read_page()?;
            match (self.pages.read_packet(), self.pages.read_packet()) {
                (Some(packet), None) if !page.last => return Ok((packet.data, page.at)),
                (None, _) if !page.last => {}
                _ => return Err(OggError::NotOpus { at: page.at, what: "a header shares its page" }),
            }
        }
    }

    /// Reads and checks one page; its packets are then in `pages`.
    fn read_page(&mut self) -> Result<Page, OggError> {
        let at = self.input.at;
        let header: [u8; 27] = self.input.array()?;
        let [b'O', b'g', b'g', b'S', 0, flags, granule @ .., _, _, _, _, _, _, _, _, _, _, _, _, _] = header
        else {
            return Err(OggError::NoPage { at });
        };
        let word = |from: usize| {
            u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
        };
        let (serial, number) = (word(14), word(18));
        let (mut parser, segments) = PageParser::new(header).map_err(|_| OggError::NoPage { at })?;
        let lengths = self.input.bytes(segments)?;
        let tail = lengths.iter().rev().take_while(|length| **length == 255).count() * 255;
        let ends_packet = lengths.iter().any(|length| *length < 255);
        let body = parser.parse_segments(lengths);
        let body = self.input.bytes(body)?;
        let page = parser.parse_packet_data(body).map_err(|error| match error {
            OggReadError::HashMismatch(..) => OggError::Damaged { at },
            _ => OggError::NoPage { at },
        })?;
        if number == 0 && self.next_page == 0 {
            self.serial = serial;
        }
        if number != self.next_page || serial != self.serial {
            return Err(OggError::OutOfOrder { at });
        }
        self.next_page = self.next_page.wrapping_add(1);
        self.unfinished_bytes = if ends_packet { tail } else { self.unfinished_bytes + tail };
        if self.unfinished_bytes >= MAX_PACKET_BYTES {
            return Err(OggError::BadPacket { index: self.packets, at });
        }
        self.pages.push_page(page).map_err(|_| OggError::OutOfOrder { at })?;
        Ok(Page { at, granule: u64::from_le_bytes(granule), last: flags & 4 != 0 })
    }

    /// Moves a page's packets to `ready`, each with its share of pre-skip and trim.
    fn take_sound(&mut self, page: &Page) -> Result<(), OggError> {
        let bad_granule = OggError::BadGranule { at: page.at, granule: page.granule };
        let first = self.ready.len();
        let mut sum = 0;
        while let Some(packet) = self.pages.read_packet() {
            if packet.data.is_empty() && page.last {
                continue; // the end of a stream whose last sound was on the page before
            }
            let samples = packet_samples(&packet.data);
            let samples = samples.ok_or(OggError::BadPacket { index: self.packets, at: page.at })?;
            self.packets += 1;
            sum += u64::from(samples);
            let (skip, trim, lost_before) = (0, 0, 0);
            self.ready.push_back(Packet { data: packet.data, samples, skip, trim, lost_before });
        }
        let sound = self.ready.range_mut(first..);
        if page.granule == u64::MAX {
            // RFC 3533: no packet ends on this page.
            if sound.len() > 0 {
                return Err(bad_granule);
            }
        } else {
            // A stream may begin in the middle of something longer (RFC 7845, section 4.3): its first page tells where.
            let before = match self.granule {
                Some(before) => before,
                None if page.last => 0,
                None => page.granule.checked_sub(sum).ok_or(bad_granule)?,
            };
            let end = before.checked_add(sum).ok_or(bad_granule)?;
            let lost = page.granule.saturating_sub(end);
            if page.granule < before || (page.granule < end && !page.last) || lost > MAX_LOST_SAMPLES {
                return Err(bad_granule);
            }
            let mut beyond = end.saturating_sub(page.granule);
            for packet in sound.rev() {
                packet.trim = beyond.min(packet.samples.into()) as u32;
                beyond -= u64::from(packet.trim);
            }
            if let Some(packet) = self.ready.get_mut(first) {
                packet.lost_before = lost;
            }
            self.granule = Some(page.granule);
        }
        for packet in self.ready.range_mut(first..) {
            packet.skip = self.skip_left.min(packet.samples - packet.trim);
            self.skip_left -= packet.skip;
        }
        self.ended = page.last;
        Ok(())
    }
}

/// Encodes mono speech as one file, and gives the output back.
///
/// `samples`: any number at `rate`; one that is not a multiple of 20 ms is kept to the sample.
#[cfg(feature = "opus")]
pub fn encode<W: Write>(
    output: W,
    samples: &[i16],
    rate: SampleRate,
    settings: &opus::Settings,
    comments: &[(&str, &str)],
) -> Result<W, OggError> {
    let refused = |index| move |source| OggError::Opus { index, source };
    let mut encoder = opus::Encoder::new(rate, settings).map_err(refused(0))?;
    let ratio = (GRANULES_PER_SECOND / rate.hz()) as usize;
    let pre_skip = encoder.lookahead_samples() * ratio;
    let head = Head {
        channels: 1,
        pre_skip: u16::try_from(pre_skip).expect("the lookahead is a few milliseconds"),
        source_rate_hz: rate.hz(),
        gain_q8_db: 0,
    };
    let mut writer = Writer::new(output, 1, &head, comments)?;
    let mut frame = vec![0; rate.samples_in_ms(20)];
    let mut packet = [0; opus::MAX_PACKET_BYTES];
    // What comes out is late by the lookahead, so silence pushes the last samples through.
    let total = samples.len() + encoder.lookahead_samples();
    for (index, start) in (0..total).step_by(frame.len()).enumerate() {
        let rest = samples.get(start..).unwrap_or_default();
        let taken = rest.len().min(frame.len());
        frame[..taken].copy_from_slice(&rest[..taken]);
        frame[taken..].fill(0);
        let length = encoder.encode(&frame, &mut packet).map_err(refused(index as u64))?;
        writer.write(&packet[..length])?;
    }
    writer.finish(Some((total * ratio) as u64))
}

/// Decodes a whole file to mono at `rate`; what it lost is concealed.
///
/// `longest_ms`: more sound than this is [`OggError::TooLong`], because a small file can hold hours.
#[cfg(feature = "opus")]
pub fn decode<R: Read>(input: R, rate: SampleRate, longest_ms: u32) -> Result<Vec<i16>, OggError> {
    let refused = |index| move |source| OggError::Opus { index, source };
    let mut reader = Reader::new(input)?;
    let mut decoder = opus::Decoder::new(rate).map_err(refused(0))?;
    let ratio = u64::from(GRANULES_PER_SECOND / rate.hz());
    let longest = rate.samples_in_ms(longest_ms);
    let mut frame = vec![0; rate.samples_in_ms(120)];
    let mut samples = Vec::new();
    let mut index = 0;
    while let Some(packet) = reader.next_packet()? {
        let step = rate.samples_in_ms(5) / 2;
        let mut lost = (packet.lost_before / ratio) as usize / step * step;
        if samples.len() + lost > longest {
            return Err(OggError::TooLong);
        }
        while lost > 0 {
            let concealed = lost.min(rate.samples_in_ms(20));
            decoder.conceal(&mut frame[..concealed]).map_err(refused(index))?;
            samples.extend_from_slice(&frame[..concealed]);
            lost -= concealed;
        }
        let made = decoder.decode(&packet.data, &mut frame).map_err(refused(index))?;
        let at = |granules: u32| (u64::from(granules) / ratio) as usize;
        samples.extend_from_slice(&frame[at(packet.skip)..made - at(packet.trim)]);
        if samples.len() > longest {
            return Err(OggError::TooLong);
        }
        index += 1;
    }
    Ok(samples)
}

fn read_comments(packet: &[u8]) -> Option<Vec<String>> {
    fn word(bytes: &mut &[u8]) -> Option<usize> {
        let (word, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        usize::try_from(u32::from_le_bytes(*word)).ok()
    }
    fn text(bytes: &mut &[u8]) -> Option<String> {
        let length = word(bytes)?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
    let mut bytes = packet.strip_prefix(b"OpusTags")?;
    text(&mut bytes)?;
    let count = word(&mut bytes)?;
    (0..count).map(|_| text(&mut bytes)).collect()
}

/// A reader or writer that knows how far it is.
struct Counting<T> {
    inner: T,
    at: u64,
}

impl<R: Read> Counting<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), OggError> {
        let mut done = 0;
        while done < bytes.len() {
            match self.inner.read(&mut bytes[done..]) {
                Ok(0) => return Err(OggError::Truncated { at: self.at }),
                Ok(got) => {
                    done += got;
                    self.at += got as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(OggError::Io { at: self.at, kind: error.kind() }),
            }
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OggError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// `length`: at most the 65,025 bytes of a page.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, OggError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: Head = Head { channels: 1, pre_skip: 312, source_rate_hz: 8_000, gain_q8_db: -256 };

    /// A SILK packet of 20 ms whose bytes tell its number. RFC 6716, table 2: configuration 1.
    fn packet(number: usize, length: usize) -> Vec<u8> {
        let mut packet = vec![number as u8; length.max(1)];
        packet[0] = 1 << 3;
        packet
    }

    fn file(packets: &[Vec<u8>], granule: Option<u64>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 7, &HEAD, &[("TITLE", "Voicemail")]).unwrap();
        packets.iter().for_each(|packet| writer.write(packet).unwrap());
        writer.finish(granule).unwrap()
    }

    fn read(file: &[u8]) -> Result<Vec<Packet>, OggError> {
        let mut reader = Reader::new(file)?;
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet()? {
            packets.push(packet);
        }
        Ok(packets)
    }

    /// Where each page begins.
    fn pages(file: &[u8]) -> Vec<usize> {
        (0..file.len()).filter(|&at| file[at..].starts_with(b"OggS")).collect()
    }

    /// Makes the checksum of the page at `at` right again.
    fn seal(file: &mut [u8], at: usize) {
        let segments = usize::from(file[at + 26]);
        let body: usize = file[at + 27..at + 27 + segments].iter().copied().map(usize::from).sum();
        let page = &mut file[at..at + 27 + segments + body];
        page[22..26].fill(0);
        // RFC 3533, section 6: polynomial 0x04c11db7, neither reflected nor inverted.
        let crc = page.iter().fold(0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
                if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
            })
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn packets_come_back_with_their_positions() {
        let packets: Vec<_> = (0..120).map(|number| packet(number, number * 11)).collect();
        let file = file(&packets, Some(120 * 960 - 100));
        let mut reader = Reader::new(&file[..]).unwrap();
        assert_eq!(reader.head(), HEAD);
        assert_eq!(reader.comments(), ["TITLE=Voicemail"]);
        for (number, packet) in packets.into_iter().enumerate() {
            let expected = Packet {
                data: packet,
                samples: 960,
                skip: if number == 0 { 312 } else { 0 },
                trim: if number == 119 { 100 } else { 0 },
                lost_before: 0,
            };
            assert_eq!(reader.next_packet(), Ok(Some(expected)));
        }
        assert_eq!(reader.next_packet(), Ok(None));
        assert_eq!(reader.next_packet(), Ok(None));
        let pages = pages(&file);
        assert!(pages.len() >= 2 + 120 / 50, "a page holds a second at most: {pages:?}");
    }

    #[test]
    fn headers_stand_as_the_format_has_them() {
        let file = file(&[packet(0, 3)], None);
        assert_eq!(file[..6], *b"OggS\0\x02");
        assert_eq!(file[28..47], *b"OpusHead\x01\x01\x38\x01\x40\x1f\0\0\0\xff\0");
        assert_eq!(file[75..90], *b"OpusTags\x07\0\0\0off");
        let last = pages(&file)[2];
        assert_eq!((file[last + 5], &file[last + 6..last + 14]), (4, &960_u64.to_le_bytes()[..]));
    }

    #[test]
    fn a_stream_without_sound_and_a_packet_over_many_pages_are_streams() {
        assert_eq!(read(&file(&[], None)), Ok(vec![]));
        let long = packet(1, 200_000);
        let read = read(&file(&[packet(0, 5), long.clone(), packet(2, 0)], None)).unwrap();
        assert_eq!(
            read.iter().map(|packet| &packet.data).collect::<Vec<_>>(),
            [&packet(0, 5), &long, &packet(2, 0)]
        );
    }

    #[test]
    fn a_cut_anywhere_is_an_error_that_says_where_after_the_whole_pages() {
        let packets: Vec<_> = (0..120).map(|number| packet(number, 30)).collect();
        let file = file(&packets, None);
        let pages = pages(&file);
        for cut in (0..file.len()).step_by(13).chain(pages.iter().copied()) {
            assert_eq!(read(&file[..cut]), Err(OggError::Truncated { at: cut as u64 }));
        }
        let mut reader = Reader::new(&file[..pages[3]]).unwrap();
        let whole = std::iter::from_fn(|| reader.next_packet().ok().flatten()).count();
        assert!((50..=51).contains(&whole), "{whole}");
    }

    #[test]
    fn damage_is_an_error_that_says_where() {
        let packets: Vec<_> = (0..120).map(|number| packet(number, 30)).collect();
        let good = file(&packets, None);
        let pages = pages(&good);
        let (second, third, last) = (pages[2] as u64, pages[3] as u64, pages[4] as u64);
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bad = good.clone();
            change(&mut bad);
            read(&bad)
        };
        let sealed = |page: usize, change: &dyn Fn(&mut [u8])| {
            damaged(&|bad| {
                change(&mut bad[pages[page]..]);
                seal(bad, pages[page]);
            })
        };
        assert_eq!(sealed(2, &|_| {}).map(|packets| packets.len()), Ok(120));
        assert_eq!(damaged(&|bad| bad[pages[2] + 200] ^= 1), Err(OggError::Damaged { at: second }));
        assert_eq!(damaged(&|bad| bad[pages[3]] = b'o'), Err(OggError::NoPage { at: third }));
        assert_eq!(damaged(&|bad| bad[pages[3] + 4] = 1), Err(OggError::NoPage { at: third }));
        let lost = damaged(&|bad| drop(bad.drain(pages[2]..pages[3])));
        assert_eq!(lost, Err(OggError::OutOfOrder { at: second }));
        assert_eq!(sealed(3, &|page| page[14] ^= 1), Err(OggError::OutOfOrder { at: third }));
        assert_eq!(sealed(3, &|page| page[5] |= 1), Err(OggError::OutOfOrder { at: third }));
        let back = sealed(3, &|page| page[6..14].fill(0));
        assert_eq!(back, Err(OggError::BadGranule { at: third, granule: 0 }));
        let far = sealed(4, &|page| page[6..14].copy_from_slice(&(u64::MAX - 1).to_le_bytes()));
        assert_eq!(far, Err(OggError::BadGranule { at: last, granule: u64::MAX - 1 }));
        for (at, byte, what) in [
            (28, b'X', "no OpusHead"),
            (36, 16, "a version that is not known"),
            (37, 0, "neither mono nor stereo"),
            (46, 1, "neither mono nor stereo"),
        ] {
            let error = Err(OggError::NotOpus { at: 0, what });
            assert_eq!(sealed(0, &|page| page[at] = byte), error, "{what}");
        }
        let tags = OggError::NotOpus { at: pages[1] as u64, what: "no OpusTags, or cut off" };
        assert_eq!(sealed(1, &|page| page[28] = b'X'), Err(tags));
        assert_eq!(sealed(1, &|page| page[36..40].fill(0xff)), Err(tags));
        assert_eq!(sealed(1, &|page| page[47..51].fill(0xff)), Err(tags));
    }

    #[test]
    fn missing_sound_is_counted_and_a_late_beginning_is_none() {
        let packets: Vec<_> = (0..60).map(|number| packet(number, 30)).collect();
        let mut late = file(&packets, None);
        let (first, last) = (pages(&late)[2], pages(&late)[3]);
        let granule = u64::from_le_bytes(late[first + 6..first + 14].try_into().unwrap());
        for (page, add) in [(first, 480_000), (last, 480_000 + 1_920)] {
            let old = u64::from_le_bytes(late[page + 6..page + 14].try_into().unwrap());
            late[page + 6..page + 14].copy_from_slice(&(old + add).to_le_bytes());
            seal(&mut late, page);
        }
        let lost: Vec<_> = read(&late).unwrap().iter().map(|packet| packet.lost_before).collect();
        let gap = (granule / 960) as usize;
        assert_eq!((lost[0], lost[gap], lost.iter().sum::<u64>()), (0, 1_920, 1_920));
    }

    #[test]
    fn a_packet_tells_its_duration() {
        for (packet, samples) in [
            (&[0x00][..], Some(480)),     // SILK, 10 ms
            (&[0x18], Some(2_880)),       // SILK, 60 ms
            (&[0x68], Some(960)),         // hybrid, 20 ms
            (&[0x80], Some(120)),         // CELT, 2.5 ms
            (&[0xf9], Some(1_920)),       // CELT, twice 20 ms
            (&[0xfb, 0x83], Some(2_880)), // CELT, three times 20 ms
            (&[0xfb], None),
            (&[0xfb, 0], None),
            (&[0xfb, 7], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:?}");
        }
        let mut writer = Writer::new(Vec::new(), 7, &HEAD, &[("TITLE", "Voicemail")]).unwrap();
        assert!(matches!(writer.write(&[]), Err(OggError::BadPacket { index: 0, .. })));
    }

    #[cfg(feature = "opus")]
    #[test]
    fn speech_comes_back_to_the_sample_in_length_and_place() {
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000] {
            let tone = |index: usize| (index as f64 * 2_500.0 / f64::from(rate.hz())).sin() * 9_000.0;
            let count = rate.samples_in_ms(1_501) + 1;
            let samples: Vec<i16> = (0..count).map(|index| tone(index) as i16).collect();
            let settings = opus::Settings { bitrate_bps: Some(48_000), ..opus::Settings::default() };
            let file = encode(Vec::new(), &samples, rate, &settings, &[]).unwrap();
            let decoded = decode(&file[..], rate, 2_000).unwrap();
            assert_eq!(decoded.len(), samples.len());
            let product = |a: &[i16], b: &[i16]| -> f64 {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let alike = product(&samples, &decoded)
                / (product(&samples, &samples) * product(&decoded, &decoded)).sqrt();
            assert!(alike > 0.9, "{rate:?}: {alike}");
            assert_eq!(decode(&file[..], rate, 1_000), Err(OggError::TooLong));
        }
        let rate = SampleRate::HZ_44100;
        let source = opus::OpusError::Rate { hz: 44_100 };
        let refused = Err(OggError::Opus { index: 0, source });
        assert_eq!(encode(Vec::new(), &[], rate, &opus::Settings::default(), &[]), refused);
    }

    proptest! {
        #[test]
        fn any_packets_come_back(
            lengths in proptest::collection::vec(0_usize..1_300, 0..130), trim in 0_u64..960,
        ) {
            let packets: Vec<_> = lengths.iter().enumerate().map(|(n, length)| packet(n, *length)).collect();
            let end = (packets.len() as u64 * 960).saturating_sub(trim);
            let read = read(&file(&packets, Some(end))).unwrap();
            prop_assert_eq!(read.iter().map(|packet| u64::from(packet.samples - packet.trim)).sum::<u64>(), end);
            prop_assert!(read.into_iter().map(|packet| packet.data).eq(packets));
        }

        #[test]
        fn any_damage_under_a_right_checksum_is_read_or_refused(
            page in 0_usize..4, at in 4_usize..80, with in proptest::collection::vec(any::<u8>(), 1..9),
        ) {
            let packets: Vec<_> = (0..60).map(|number| packet(number, 300)).collect();
            let mut bad = file(&packets, None);
            let start = pages(&bad)[page];
            for (byte, with) in bad[start + at..].iter_mut().zip(with) {
                *byte = with;
            }
            // Lengths that reach beyond the file cannot be sealed; the reader meets them as they are.
            let segments = usize::from(bad[start + 26]);
            let lengths = bad.get(start + 27..start + 27 + segments).unwrap_or_default();
            let end = start + 27 + segments + lengths.iter().copied().map(usize::from).sum::<usize>();
            if lengths.len() == segments && end <= bad.len() {
                seal(&mut bad, start);
            }
            let _ = read(&bad);
            #[cfg(feature = "opus")]
            let _ = decode(&bad[..], SampleRate::HZ_8000, 5_000);
        }
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let file = include_bytes!("../../fixtures/fuzz/ogg/packets_after_an_error");
        let mut reader = Reader::new(&file[..]).unwrap();
        while let Ok(packet) = reader.next_packet() {
            assert!(packet.is_some(), "it breaks off before its end");
        }
        assert!(reader.next_packet().unwrap().is_none());
    }
}
