//! What a file is: by what it says of itself (its name, and the type that its sender gives), and by what is in it. All of that
//! must agree.

use super::error::UploadError;

/// The kinds of files that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table, one product in each row.
    Csv,
    /// A document.
    Pdf,
    /// A document in plain text.
    Text,
}

impl Kind {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Pdf => "pdf",
            Self::Text => "text",
        }
    }

    /// The kind that is stored so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Csv, Self::Pdf, Self::Text].into_iter().find(|kind| kind.as_str() == name)
    }
}

const TAKEN: &str = "upload CSV (.csv), PDF (.pdf) or plain text (.txt)";

/// The kind of a file. `name`: without folders. `content_type`: as its sender gives it, if it does. `beginning`: its first
/// kilobytes.
pub(super) fn kind_of(name: &str, content_type: Option<&str>, beginning: &[u8]) -> Result<Kind, UploadError> {
    let wrong = |what: String| Err(UploadError::WrongType(what));
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = match extension.as_deref() {
        Some("csv") => Some(Kind::Csv),
        Some("pdf") => Some(Kind::Pdf),
        Some("txt" | "text" | "md") => Some(Kind::Text),
        _ => None,
    };
    let by_type = content_type.and_then(by_content_type);
    let kind = match (by_name, by_type) {
        (Some(kind), None) | (None, Some(kind)) => kind,
        // Tables are plain text as well; which of the two is meant, the name says.
        (Some(kind), Some(other)) if kind == other || kind != Kind::Pdf && other != Kind::Pdf => kind,
        (Some(_), Some(_)) => {
            let content_type = content_type.unwrap_or_default();
            return wrong(format!("the file is called {name} and sent as {content_type}; {TAKEN}"));
        }
        (None, None) => return wrong(format!("{name} is of no kind that is read; {TAKEN}")),
    };
    if beginning.is_empty() {
        return wrong("the file is empty".into());
    }
    match (kind, found(beginning, kind)) {
        (Kind::Pdf, Found::Pdf) | (Kind::Csv | Kind::Text, Found::Text) => Ok(kind),
        (_, found) => {
            let said = match kind {
                Kind::Csv => "a CSV file",
                Kind::Pdf => "a PDF",
                Kind::Text => "plain text",
            };
            wrong(format!("{name} is {}, not {said}; {TAKEN}", found.as_str()))
        }
    }
}

/// The kind that a content type names; none if it says nothing.
fn by_content_type(content_type: &str) -> Option<Kind> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        // What browsers say of tables where Excel is installed.
        "text/csv" | "application/csv" | "text/comma-separated-values" | "application/vnd.ms-excel" => {
            Some(Kind::Csv)
        }
        "application/pdf" | "application/x-pdf" => Some(Kind::Pdf),
        "text/plain" | "text/markdown" => Some(Kind::Text),
        _ => None,
    }
}

/// What a file is by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Pdf,
    Text,
    /// Another kind, as one says it.
    Other(&'static str),
}

impl Found {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "a PDF",
            Self::Text => "text",
            Self::Other(name) => name,
        }
    }
}

/// How files of other kinds begin.
const MAGIC: [(&[u8], &str); 16] = [
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
    (b"{\\rtf", "rich text"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"II*\0", "an image"),
    (b"MM\0*", "an image"),
    (b"RIFF", "sound, video or an image"),
    (b"OggS", "sound"),
    (b"ID3", "sound"),
    (b"\x1f\x8b", "a compressed file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\0", "a database"),
];

/// `said`: what it is said to be.
fn found(beginning: &[u8], said: Kind) -> Found {
    // Readers look for it in the first kilobyte (PDF 32000-1, annex H.3, note 13); but a text may be about PDFs.
    let first = &beginning[..beginning.len().min(1024)];
    let is_pdf = match said {
        Kind::Pdf => first.windows(5).any(|window| window == b"%PDF-"),
        _ => first.trim_ascii_start().starts_with(b"%PDF-"),
    };
    if is_pdf {
        return Found::Pdf;
    }
    let magic = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic));
    // Two letters are also how a text may begin.
    let is_binary = |name: &str| name != "a program" || beginning.contains(&0);
    if let Some((_, name)) = magic.filter(|(_, name)| is_binary(name)) {
        return Found::Other(name);
    }
    let is_utf_16 = matches!(beginning, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    let zeros = beginning.iter().filter(|byte| **byte == 0).count();
    // In UTF-16, every second byte is; in what is no text, some.
    if is_utf_16 || zeros == 0 || zeros * 4 > beginning.len() && zeros * 4 <= beginning.len() * 3 {
        Found::Text
    } else {
        Found::Other("binary data")
    }
}

/// A file's name as it may be shown and stored: the last part of a path, without what cannot be seen, not too long. Never used
/// to name a file of ours.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !c.is_control() && !is_mark(*c)).collect();
    let name = visible.trim();
    if matches!(name, "" | "." | "..") {
        return "upload".into();
    }
    let skipped = name.chars().count().saturating_sub(NAME_CHARACTERS_MAX);
    // The end says what it is.
    name.chars().skip(skipped).collect()
}

/// The longest name that is kept.
pub(super) const NAME_CHARACTERS_MAX: usize = 200;

/// Marks that turn the direction of a text around, so that a name looks like another.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, content_type: Option<&str>, beginning: &[u8]) -> Result<Kind, String> {
        kind_of(name, content_type, beginning).map_err(|error| match error {
            UploadError::WrongType(what) => what,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn name_type_and_content_agree() {
        for (name, content_type, beginning, wanted) in [
            ("a.csv", None, &b"name,price\n"[..], Kind::Csv),
            ("A.CSV", Some("text/plain; charset=utf-8"), b"name", Kind::Csv),
            ("a.csv", Some("application/vnd.ms-excel"), b"name", Kind::Csv),
            ("a.csv", Some("application/octet-stream"), b"\xff\xfen\0", Kind::Csv),
            ("export", Some("text/csv"), b"name", Kind::Csv),
            ("a.pdf", Some("application/pdf"), b"\n%PDF-1.7", Kind::Pdf),
            ("a.txt", Some("text/plain"), b"MZ is how this begins", Kind::Text),
            ("a.md", None, b"n\0a\0m\0e\0", Kind::Text),
            ("a.txt", None, b"A PDF begins with %PDF-", Kind::Text),
        ] {
            assert_eq!(kind(name, content_type, beginning), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn a_file_that_lies_about_its_type_is_told_what_it_is() {
        for (name, content_type, beginning, wanted) in [
            ("a.csv", None, &b"%PDF-1.4"[..], "a PDF, not a CSV"),
            ("a.pdf", None, b"name,price", "text, not a PDF"),
            ("a.pdf", Some("text/csv"), b"%PDF-1.4", "sent as text/csv"),
            ("a.csv", None, b"PK\x03\x04rest", "office document"),
            ("a.txt", None, b"\x89PNG\r\n", "an image"),
            ("a.txt", None, b"\x7fELF\0", "a program"),
            ("a.txt", None, b"some\0thing that is no text", "binary data"),
            ("a.exe", Some("application/octet-stream"), b"MZ\0", "no kind"),
            ("a", None, b"text", "no kind"),
            ("a.csv", None, b"", "empty"),
        ] {
            let told = kind(name, content_type, beginning).unwrap_err();
            assert!(told.contains(wanted), "{name}: {told}");
        }
    }

    #[test]
    fn of_a_path_only_the_last_part_is_kept() {
        assert_eq!(safe_name("../../etc/passwd.csv"), "passwd.csv");
        assert_eq!(safe_name("C:\\Users\\me\\spring 2025.csv"), "spring 2025.csv");
        assert_eq!(safe_name("/absolute/"), "upload");
        assert_eq!(safe_name(".."), "upload");
        assert_eq!(safe_name("evil\u{202e}vsc.exe\n\0.csv"), "evilvsc.exe.csv");
        let long = safe_name(&format!("{}.csv", "é".repeat(5_000)));
        assert!(long.chars().count() == NAME_CHARACTERS_MAX && long.ends_with("é.csv"));
    }
}
