//! Reads a journal back, and says where one is broken.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::format::{
    BLOCK_HEAD_BYTES, Entries, Entry, Header, MAGIC, OutputRecord, PREFIX_BYTES, Record, VERSION,
    decode_header,
};
use crate::call::{CallTime, EndReason, Event};

/// What is wrong with a journal, and at which byte of it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not begin as a journal does.
    #[error("not a journal: it does not begin with OFFHOOKJ (byte 0)")]
    NotAJournal,
    /// The file is of another version.
    #[error(
        "version {found} at byte {at}: this program reads version {VERSION}; the one that wrote the journal reads it"
    )]
    Version {
        /// Its version.
        found: u16,
        /// Where it says so.
        at: usize,
    },
    /// The file ends in the middle of something.
    #[error("the file ends in the middle of {what} that begins at byte {at}")]
    Truncated {
        /// Where the unfinished thing begins.
        at: usize,
        /// What it is.
        what: &'static str,
    },
    /// A block's content is not what was written.
    #[error("the block at byte {at} is damaged: its checksum does not match")]
    Checksum {
        /// Where the block begins.
        at: usize,
    },
    /// The content is whole, but makes no sense.
    #[error("undecodable at byte {at}: {what}")]
    Undecodable {
        /// Where.
        at: usize,
        /// What is wrong.
        what: String,
    },
}

/// A journal, read whole.
#[derive(Debug)]
pub struct Journal {
    bytes: Vec<u8>,
    header: Header,
    /// Where the chunks' payloads stand in `bytes`; all of them were read through.
    chunks: Vec<Range<usize>>,
    /// How many records the last of the chunks is good for.
    records: u64,
    damage: Option<JournalError>,
}

/// Reads the journal at `path`. Errors if the file cannot be read, or breaks off or makes no sense before its first
/// record; what is wrong behind that is [`Journal::damage`].
pub fn read(path: &Path) -> Result<Journal, JournalError> {
    let bytes =
        std::fs::read(path).map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
    Journal::parse(bytes)
}

impl Journal {
    /// Reads a journal from memory. Errors as [`read`] does.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, JournalError> {
        let magic = bytes.get(..MAGIC.len()).unwrap_or(&bytes);
        if !MAGIC.starts_with(magic) {
            return Err(JournalError::NotAJournal);
        }
        let Some(version) = bytes.get(MAGIC.len()..PREFIX_BYTES) else {
            return Err(JournalError::Truncated { at: 0, what: "the file's own head" });
        };
        let found = u16::from_le_bytes([version[0], version[1]]);
        if found != VERSION {
            return Err(JournalError::Version { found, at: MAGIC.len() });
        }
        let payload = block_at(&bytes, PREFIX_BYTES, "the header")?;
        let header = decode_header(&bytes[payload.clone()])
            .map_err(|what| JournalError::Undecodable { at: payload.start, what })?;

        let mut journal = Self { bytes, header, chunks: Vec::new(), records: 0, damage: None };
        let mut at = payload.end;
        let mut time = CallTime::ZERO;
        while at < journal.bytes.len() {
            let chunk = block_at(&journal.bytes, at, "a chunk");
            let read = chunk.and_then(|chunk| journal.check(chunk.clone(), &mut time).map(|()| chunk.end));
            match read {
                Ok(end) => at = end,
                Err(e) => {
                    journal.damage = Some(e);
                    break;
                }
            }
        }
        Ok(journal)
    }

    /// Reads a chunk through, and enters it together with what it is good for.
    fn check(&mut self, chunk: Range<usize>, time: &mut CallTime) -> Result<(), JournalError> {
        let undecodable = |malformed: super::format::Malformed| JournalError::Undecodable {
            at: chunk.start + malformed.at,
            what: malformed.what.to_owned(),
        };
        let entries = Entries::of(&self.bytes[chunk.clone()]).map_err(undecodable)?;
        self.chunks.push(chunk.clone());
        for entry in entries {
            let Entry { at, .. } = entry.map_err(undecodable)?;
            if at < *time {
                return Err(JournalError::Undecodable {
                    at: chunk.start,
                    what: format!("time goes back from {} to {} µs", time.as_micros(), at.as_micros()),
                });
            }
            *time = at;
            self.records += 1;
        }
        Ok(())
    }

    /// What the journal says about its call before anything happened.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What is wrong with the journal, if anything: all that stands before it was read.
    pub fn damage(&self) -> Option<&JournalError> {
        self.damage.as_ref()
    }

    /// The call's timeline.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.entries().filter_map(|entry| match entry.record {
            Record::Output(OutputRecord::Event(event)) => Some(event.into_owned()),
            _ => None,
        })
    }

    /// When and why the call ended; `None` if the journal does not reach that far.
    pub fn end(&self) -> Option<(CallTime, EndReason)> {
        self.entries().find_map(|entry| match entry.record {
            Record::End { reason } => Some((entry.at, reason)),
            _ => None,
        })
    }

    /// All records that could be read, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let chunks = self.chunks.iter().map(|chunk| &self.bytes[chunk.clone()]);
        chunks
            .flat_map(|payload| Entries::of(payload).into_iter().flatten().flatten())
            .take(self.records as usize)
    }
}

/// The payload of the block that begins at `at`.
fn block_at(bytes: &[u8], at: usize, what: &'static str) -> Result<Range<usize>, JournalError> {
    let truncated = JournalError::Truncated { at, what };
    let start = at + BLOCK_HEAD_BYTES;
    let Some(head) = bytes.get(at..start) else { return Err(truncated) };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let Some(payload) = bytes[start..].get(..length) else { return Err(truncated) };
    if crc32fast::hash(payload) != crc {
        return Err(JournalError::Checksum { at });
    }
    Ok(start..start + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::testing::{entry, file, settings, short_call};
    use super::*;
    use crate::call::EndReason;

    fn sound() -> Vec<u8> {
        file(&short_call())
    }

    #[test]
    fn sound_journal_gives_all_records() {
        let journal = Journal::parse(sound()).unwrap();
        assert!(journal.damage().is_none());
        assert_eq!(journal.header().call, "CA17");
        assert_eq!(journal.header().settings, settings());
        let written: Vec<Entry<'_>> = short_call().into_iter().flatten().collect();
        assert_eq!(journal.entries().collect::<Vec<_>>(), written);
        assert_eq!(journal.end(), Some((CallTime::from_millis(50), EndReason::CallerHangup)));
    }

    #[test]
    fn what_is_wrong_before_the_first_record_is_an_error() {
        let mut next_version = sound();
        next_version[8] = 8;
        let mut last_version = sound();
        last_version[8] = 3;
        let mut broken_header = sound();
        broken_header[PREFIX_BYTES + BLOCK_HEAD_BYTES] ^= 1;
        let mut no_settings = file(&[]);
        no_settings.truncate(PREFIX_BYTES);
        let payload = [1, b'x', 0, 3, b'a', b'=', b'1'];
        no_settings.extend((payload.len() as u32).to_le_bytes());
        no_settings.extend(crc32fast::hash(&payload).to_le_bytes());
        no_settings.extend(payload);
        let table = [
            (b"RIFF and so on".to_vec(), "not a journal: it does not begin with OFFHOOKJ (byte 0)"),
            (Vec::new(), "the file ends in the middle of the file's own head that begins at byte 0"),
            (
                sound()[..9].to_vec(),
                "the file ends in the middle of the file's own head that begins at byte 0",
            ),
            (
                next_version,
                "version 8 at byte 8: this program reads version 7; the one that wrote the journal reads it",
            ),
            (
                last_version,
                "version 3 at byte 8: this program reads version 7; the one that wrote the journal reads it",
            ),
            (sound()[..30].to_vec(), "the file ends in the middle of the header that begins at byte 10"),
            (broken_header, "the block at byte 10 is damaged: its checksum does not match"),
            (no_settings, "undecodable at byte 18: settings: "),
        ];
        for (bytes, message) in table {
            let error = Journal::parse(bytes).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error} / {message}");
        }
    }

    #[test]
    fn journal_cut_at_any_byte_says_where_it_breaks_off() {
        let whole = sound();
        let first = file(&[]).len();
        let second = file(&short_call()[..1]).len();
        for cut in 0..whole.len() {
            let unfinished = |error: &JournalError| match error {
                JournalError::Truncated { at, .. } => *at,
                other => panic!("cut at {cut}: {other}"),
            };
            match Journal::parse(whole[..cut].to_vec()) {
                Err(error) => {
                    let begins = if cut < PREFIX_BYTES { 0 } else { PREFIX_BYTES };
                    assert!(cut < first, "the header of a journal cut at {cut} is whole");
                    assert_eq!(unfinished(&error), begins, "cut at {cut}");
                }
                // Between two chunks nothing is broken off; what is missing is the end.
                Ok(journal) if cut == first || cut == second => {
                    assert!(journal.damage().is_none() && journal.end().is_none());
                }
                Ok(journal) => {
                    let begins = if cut < second { first } else { second };
                    assert_eq!(unfinished(journal.damage().unwrap()), begins, "cut at {cut}");
                    assert_eq!(journal.entries().count(), if cut < second { 0 } else { 2 });
                }
            }
        }
    }

    #[test]
    fn truncated_tail_gives_all_before_it() {
        let whole = sound();
        let second = file(&short_call()[..1]).len();
        for cut in second + 1..whole.len() {
            let journal = Journal::parse(whole[..cut].to_vec()).unwrap();
            assert_eq!(journal.entries().count(), 2);
            assert_eq!(journal.end(), None);
            let damage = journal.damage().unwrap();
            assert!(matches!(damage, JournalError::Truncated { at, what: "a chunk" } if *at == second));
        }
    }

    #[test]
    fn flipped_bit_gives_all_before_its_chunk() {
        let second = file(&short_call()[..1]).len();
        for byte in second + 4..sound().len() {
            let mut bytes = sound();
            bytes[byte] ^= 0x10;
            let journal = Journal::parse(bytes).unwrap();
            assert_eq!(journal.entries().count(), 2);
            assert!(matches!(journal.damage(), Some(JournalError::Checksum { at }) if *at == second));
        }
    }

    #[test]
    fn chunk_that_makes_no_sense_gives_what_stands_before_the_nonsense() {
        let backwards = vec![
            entry(10, Record::End { reason: EndReason::Operator }),
            entry(9, Record::End { reason: EndReason::Operator }),
        ];
        let journal = Journal::parse(file(&[backwards])).unwrap();
        assert_eq!(journal.entries().count(), 1);
        let damage = journal.damage().unwrap().to_string();
        assert!(damage.ends_with("time goes back from 10000 to 9000 µs"), "{damage}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = read(Path::new("/nowhere/CA17.journal")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/CA17.journal");
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Journal::parse(bytes);
        }

        #[test]
        fn no_tail_makes_the_reader_panic(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            honest_length in any::<bool>(),
        ) {
            let mut bytes = file(&short_call()[..1]);
            if honest_length {
                bytes.extend((tail.len() as u32).to_le_bytes());
                bytes.extend(crc32fast::hash(&tail).to_le_bytes());
            }
            bytes.extend(&tail);
            let journal = Journal::parse(bytes).unwrap();
            prop_assert!(journal.entries().count() >= 2);
            let _ = (journal.events().count(), journal.end());
        }
    }
}
