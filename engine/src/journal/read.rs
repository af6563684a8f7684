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
    #[error("version {found} at byte {at}: this program reads version {VERSION}")]
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
