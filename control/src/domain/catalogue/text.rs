//! Texts in any encoding, read piece by piece as UTF-8.
//!
//! A byte order mark says what a file is in. Without one it is UTF-8 if that is what its bytes are, else UTF-16 if every second
//! byte of its beginning is zero, else what its bytes look most like, by the statistics that Firefox uses for pages that do
//! not say it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

use super::error::Unreadable;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// So much of a file tells whether it is UTF-16.
const BEGINNING_BYTES: usize = 4 * 1024;

/// What a file is in.
pub(super) fn encoding_of(file: &mut File) -> io::Result<&'static Encoding> {
    file.seek(SeekFrom::Start(0))?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut is_beginning = true;
    loop {
        let count = fill(file, &mut piece)?;
        if is_beginning {
            let beginning = &piece[..count.min(BEGINNING_BYTES)];
            if let Some((encoding, _)) = Encoding::for_bom(beginning) {
                return Ok(encoding);
            }
            if let Some(encoding) = utf_16(beginning) {
                return Ok(encoding);
            }
            is_beginning = false;
        }
        let is_last = count < piece.len();
        detector.feed(&piece[..count], is_last);
        if is_last {
            return Ok(detector.guess(None, Utf8Detection::Allow));
        }
    }
}

/// Texts in UTF-16 have a zero in each character of theirs that is Latin; texts in other encodings have none at all.
fn utf_16(beginning: &[u8]) -> Option<&'static Encoding> {
    let zeros = |from: usize| beginning.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), beginning.len() / 2);
    match (even * 2 > pairs, odd * 2 > pairs) {
        (true, false) => Some(UTF_16BE),
        (false, true) => Some(UTF_16LE),
        _ => None,
    }
}

fn fill(file: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < piece.len() {
        match file.read(&mut piece[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Reads a file as UTF-8, without its byte order mark. Bytes that are nothing in its encoding are an error of the kind
/// `InvalidData`.
pub(super) struct Decoded<R> {
    source: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    /// What of `text` was not read yet begins here.
    at: usize,
    is_over: bool,
}

impl Decoded<File> {
    /// Reads this file from its beginning.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let encoding = encoding_of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self::new(file, encoding))
    }
}

impl<R: Read> Decoded<R> {
    /// Reads what is in this encoding.
    pub(super) fn new(source: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { source, decoder, raw: vec![0; PIECE_BYTES], text: Vec::new(), at: 0, is_over: false }
    }

    /// The next piece of the text; none at its end.
    pub(super) fn piece(&mut self) -> io::Result<Option<&str>> {
        while self.at == self.text.len() && !self.is_over {
            self.next_piece()?;
        }
        let piece = &self.text[std::mem::replace(&mut self.at, self.text.len())..];
        Ok(if piece.is_empty() { None } else { Some(utf8(piece)?) })
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let count = fill(&mut self.source, &mut self.raw)?;
        let is_last = count < self.raw.len();
        let room = self.decoder.max_utf8_buffer_length(count).unwrap_or(PIECE_BYTES * 4);
        self.text.resize(room, 0);
        let (done, _, written, had_errors) =
            self.decoder.decode_to_utf8(&self.raw[..count], &mut self.text, is_last);
        if had_errors || done == CoderResult::OutputFull {
            let name = self.decoder.encoding().name();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is no text in {name}")));
        }
        self.text.truncate(written);
        self.at = 0;
        self.is_over = is_last;
        Ok(())
    }
}

fn utf8(piece: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(piece).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.is_over {
            self.next_piece()?;
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Why a file is no text that can be searched; the inner result says what is wrong with it.
pub(super) fn check(path: &Path) -> io::Result<Result<(), Unreadable>> {
    let mut decoded = Decoded::open(path)?;
    let (mut characters, mut controls, mut words) = (0_u64, 0_u64, false);
    loop {
        let piece = match decoded.piece() {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Err(Unreadable::whole(error.to_string())));
            }
            Err(error) => return Err(error),
        };
        for character in piece.chars() {
            characters += 1;
            controls += u64::from(is_control(character));
            words |= character.is_alphanumeric();
        }
    }
    Ok(if controls * 100 > characters {
        Err(Unreadable::whole("it is no text: too much of it are control characters"))
    } else if words {
        Ok(())
    } else {
        Err(Unreadable::whole("there is no word in it"))
    })
}

/// Whether a character has no place in a text.
pub(super) fn is_control(character: char) -> bool {
    character.is_control()
        && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{1a}' | '\u{1b}' | '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        let mut decoded = Decoded::open(&path).unwrap();
        decoded.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, bytes).unwrap();
        check(&path).unwrap().map_err(|wrong| wrong.reason)
    }

    #[test]
    fn a_text_is_read_whatever_it_is_in() {
        let text = "Größe, Preis: 12 € für “Notizbücher” aus Österreich und der Schweiz\n";
        let utf_16 = |big: bool, bom: bool| -> Vec<u8> {
            let units = bom.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        assert_eq!(read(text.as_bytes()).unwrap(), text);
        assert_eq!(read(&[b"\xef\xbb\xbf", text.as_bytes()].concat()).unwrap(), text);
        for (big, bom) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(read(&utf_16(big, bom)).unwrap(), text, "big: {big}, bom: {bom}");
        }
        let (windows, _, _) = encoding_rs::WINDOWS_1252.encode(text);
        assert_eq!(read(&windows).unwrap(), text);
        let russian = "Записная книжка в твёрдой обложке, сто двадцать страниц\n";
        let (windows, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
        assert_eq!(read(&windows).unwrap(), russian);
    }

    #[test]
    fn a_character_may_stand_anywhere_in_a_large_file() {
        for before in PIECE_BYTES - 3..=PIECE_BYTES {
            let text = format!("{}é字", "x".repeat(before));
            assert_eq!(read(text.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_text_is_not_taken_for_one() {
        assert_eq!(checked(b"A notebook.\r\n"), Ok(()));
        assert!(checked(b"").unwrap_err().contains("no word"));
        assert!(checked(b" \n --- \n").unwrap_err().contains("no word"));
        let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(checked(&noise).is_err());
        let broken = [b"\xef\xbb\xbf".as_slice(), b"caf\xe9 au lait"].concat();
        assert!(checked(&broken).unwrap_err().contains("UTF-8"));
    }
}
