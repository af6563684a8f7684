//! The text of a PDF.
//!
//! A PDF draws glyphs at places; where words, lines and paragraphs are, is guessed from how far apart that is. What is drawn as
//! an image has no text.
//!
//! Whoever made the file may have meant harm: everything that it makes us hold or do has a bound, and a panic in the reader is
//! an error of that file.

mod page;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lopdf::{DecompressError, Document, LoadOptions};

use page::PageReader;

/// The most pages that are read.
const PAGES_MAX: usize = 5_000;
/// How long the reading of all pages may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(120);
/// The most text that is taken.
const TEXT_BYTES_MAX: usize = 20 * 1024 * 1024;
/// How large a part of the file may become when it is unpacked.
const UNPACKED_BYTES_MAX: usize = 32 * 1024 * 1024;

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

fn open(path: &Path) -> Result<Document, PdfError> {
    let options = LoadOptions::with_max_decompressed_size(UNPACKED_BYTES_MAX);
    let document = Document::load_with_options(path, options).map_err(of_reader)?;
    if document.trailer.has(b"Encrypt") && !document.was_encrypted() {
        return Err(PdfError::Encrypted);
    }
    match document.page_iter().take(PAGES_MAX + 1).count() {
        0 => Err(PdfError::Damaged("it has no pages".into())),
        pages if pages > PAGES_MAX => Err(PdfError::TooMuch(format!("it has more than {PAGES_MAX} pages"))),
        _ => Ok(document),
    }
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
