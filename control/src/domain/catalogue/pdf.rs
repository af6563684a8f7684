//! The text of a PDF.
//!
//! A PDF draws glyphs at places; where words, lines and paragraphs are, is guessed from how far apart that is. What is drawn as
//! an image has no text.
//!
//! Whoever made the file may have meant harm: everything that it makes us hold or do has a bound, and a panic in the reader is
//! an error of that file.

mod page;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lopdf::{DecompressError, Document, LoadOptions, Object, ObjectId, Stream};

use page::PageReader;

/// The most pages that are read.
const PAGES_MAX: usize = 5_000;
/// How long the reading of all pages may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(120);
/// The most text that is taken.
const TEXT_BYTES_MAX: usize = 20 * 1024 * 1024;
/// How large a part of the file may become when it is unpacked.
const UNPACKED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same, of a file that is encrypted for its owner alone: there, what all parts come to is not counted.
const DECRYPTED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How large all lists of objects together may become when they are unpacked. In memory, an object takes many times that.
const OBJECTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What stands in a file that takes a password.
const ENCRYPT: &[u8] = b"/Encrypt";

/// Why a PDF is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PdfError {
    /// Nobody but who has the password can.
    #[error("the PDF is encrypted; save it without a password")]
    Encrypted,
    /// There is none, or only in images.
    #[error("the PDF has no text in it; a scan has to be recognised first")]
    NoText,
    /// It is larger than may be.
    #[error("the PDF is too large: {0}")]
    TooMuch(String),
    /// It cannot be understood.
    #[error("the PDF is damaged: {0}")]
    Damaged(String),
    /// Its text is not wanted any more.
    #[error("stopped")]
    Stopped,
    /// The disk failed.
    #[error("the text of the PDF cannot be kept")]
    Io(#[from] io::Error),
}

/// Looks whether a PDF can be read, without reading its pages. Blocks.
pub(super) fn check(path: &Path) -> Result<(), PdfError> {
    guarded(|| open(path).map(drop))
}

/// Writes the text of a PDF to a file, as UTF-8, with an empty line between pages. Gives the number of pages. Blocks, until
/// `stop` is true at the latest.
pub(super) fn extract(path: &Path, into: &Path, stop: &AtomicBool) -> Result<usize, PdfError> {
    guarded(|| {
        let document = open(path)?;
        let pages: Vec<_> = document.page_iter().collect();
        let mut text = BufWriter::new(File::create(into)?);
        let mut bytes = 0;
        let mut limits = Limits { until: Instant::now() + TIME_MAX, stop };
        let mut reader = PageReader::new(&document);
        for page in &pages {
            let found = reader.text_of(*page, &mut limits)?;
            bytes += found.len();
            if bytes > TEXT_BYTES_MAX {
                return Err(PdfError::TooMuch(format!("it has more than {TEXT_BYTES_MAX} bytes of text")));
            }
            text.write_all(found.trim_end().as_bytes())?;
            text.write_all(b"\n\n")?;
        }
        text.flush()?;
        Ok(pages.len())
    })
}

/// How long the reading may go on.
struct Limits<'a> {
    until: Instant,
    stop: &'a AtomicBool,
}

impl Limits<'_> {
    fn check(&self) -> Result<(), PdfError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(PdfError::Stopped);
        }
        if Instant::now() > self.until {
            return Err(PdfError::TooMuch(format!("it takes longer than {} s to read", TIME_MAX.as_secs())));
        }
        Ok(())
    }
}

thread_local! {
    /// How much the lists of objects of the document that this thread opens may still become.
    static OBJECTS_BYTES_LEFT: Cell<usize> = const { Cell::new(0) };
}

fn open(path: &Path) -> Result<Document, PdfError> {
    let bytes = std::fs::read(path)?;
    let is_encrypted = bytes.windows(ENCRYPT.len()).any(|window| window == ENCRYPT);
    let most = if is_encrypted { DECRYPTED_BYTES_MAX } else { UNPACKED_BYTES_MAX };
    let options = LoadOptions { filter: Some(kept), ..LoadOptions::with_max_decompressed_size(most) };
    OBJECTS_BYTES_LEFT.set(OBJECTS_BYTES_MAX);
    let document = Document::load_mem_with_options(&bytes, options).map_err(of_reader)?;
    if OBJECTS_BYTES_LEFT.get() == 0 {
        let most = OBJECTS_BYTES_MAX;
        return Err(PdfError::TooMuch(format!(
            "its objects are more than {most} bytes when they are unpacked"
        )));
    }
    if document.trailer.has(b"Encrypt") && !document.was_encrypted() {
        return Err(PdfError::Encrypted);
    }
    match document.page_iter().take(PAGES_MAX + 1).count() {
        0 => Err(PdfError::Damaged("it has no pages".into())),
        pages if pages > PAGES_MAX => Err(PdfError::TooMuch(format!("it has more than {PAGES_MAX} pages"))),
        _ => Ok(document),
    }
}

/// Whether an object is kept that was read. The reader asks that of each, and of a list of objects before it unpacks it; what it
/// is given back it keeps of the objects in lists alone, and streams are never in those.
fn kept(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let Object::Stream(stream) = object else { return Some((id, object.clone())) };
    let is = |key: &[u8], value: &[u8]| {
        stream.dict.get(key).and_then(Object::as_name).is_ok_and(|name| name == value)
    };
    // Images say nothing, and are the most of many files.
    if is(b"Subtype", b"Image") || is(b"Type", b"ObjStm") && !has_room(stream) {
        return None;
    }
    Some((id, Object::Null))
}

/// Whether a list of objects may be unpacked, by what the ones before it came to.
fn has_room(list: &Stream) -> bool {
    let left = OBJECTS_BYTES_LEFT.get();
    let left = match list.decompress_to_writer(&mut io::sink(), left) {
        Ok(bytes) => left.saturating_sub(bytes),
        Err(lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => 0,
        // The reader finds the same, and has nothing of it.
        Err(_) => left,
    };
    OBJECTS_BYTES_LEFT.set(left);
    left > 0
}

fn of_reader(error: lopdf::Error) -> PdfError {
    match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => PdfError::Encrypted,
        lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { limit }) => {
            PdfError::TooMuch(format!("a part of it is more than {limit} bytes when it is unpacked"))
        }
        lopdf::Error::IO(error) if error.kind() != io::ErrorKind::UnexpectedEof => PdfError::Io(error),
        other => PdfError::Damaged(other.to_string()),
    }
}

/// Does what may panic on bytes from outside.
fn guarded<T>(work: impl FnOnce() -> Result<T, PdfError>) -> Result<T, PdfError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(PdfError::Damaged("it makes the reader fail".into())))
}

#[cfg(test)]
mod tests;
