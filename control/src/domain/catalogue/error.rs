//! Why a file is not taken. Each kind is one status at the edge.

use std::fmt;

use crate::store::StoreError;

/// So many errors of a table are told one by one; of the others, how many there are.
pub const TOLD_MAX: usize = 20;

/// Why an upload is refused. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is no file of a kind that is read, or not of the kind that it says (400).
    #[error("{0}")]
    WrongType(String),
    /// It is larger than may be (413).
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// It is of its kind, and cannot be read (422).
    #[error("{0}")]
    Unreadable(Unreadable),
    /// Too many files of its owner wait to be imported (409).
    #[error("{waiting} files wait to be imported; wait for one of them")]
    Busy {
        /// How many.
        waiting: u32,
    },
    /// The file cannot be kept (500).
    #[error("the file cannot be kept")]
    Disk(#[from] std::io::Error),
    /// The store failed (500).
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What is wrong in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// In a sentence.
    pub reason: String,
    /// Line by line, the first [`TOLD_MAX`].
    pub lines: Vec<LineError>,
    /// How many lines are wrong, those that are not told among them.
    pub wrong_lines: u64,
}

impl Unreadable {
    /// Something that is wrong with the file as a whole.
    pub fn whole(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.lines.first() {
            Some(LineError { line, message }) => write!(f, "; line {line}: {message}"),
            None => Ok(()),
        }
    }
}

/// What is wrong in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Which, from 1: where the row begins.
    pub line: u64,
    /// What.
    pub message: String,
}
