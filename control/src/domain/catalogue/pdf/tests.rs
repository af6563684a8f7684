use proptest::prelude::*;

use super::*;

const NOTEBOOKS: &[u8] = include_bytes!("../../../../../fixtures/catalogue/notebooks.pdf");
const SCAN: &[u8] = include_bytes!("../../../../../fixtures/catalogue/scan.pdf");
const ENCRYPTED: &[u8] = include_bytes!("../../../../../fixtures/catalogue/encrypted.pdf");
const PRINTABLE: &[u8] = include_bytes!("../../../../../fixtures/catalogue/printable.pdf");
const BOMBS: &[u8] = include_bytes!("../../../../../fixtures/catalogue/bombs.pdf");
const BOMB: &[u8] = include_bytes!("../../../../../fixtures/catalogue/bomb.pdf");

/// Its pages and its text.
fn text(bytes: &[u8]) -> Result<(usize, String), PdfError> {
    let dir = tempfile::tempdir().unwrap();
    let (path, into) = (dir.path().join("pdf"), dir.path().join("text"));
    std::fs::write(&path, bytes).unwrap();
    check(&path)?;
    let pages = extract(&path, &into, &AtomicBool::new(false))?;
    Ok((pages, std::fs::read_to_string(into).unwrap()))
}

#[test]
fn words_lines_and_paragraphs_are_where_they_are_drawn() {
    let wanted = "Waterproof notebooks\n\n\
        The AquaGuard series has water-\nresistant pages and a durable cover.\nIt costs 19.99 dollars.\n\n\
        Perfect for field work.\nDrawn in a form.\n\n\
        Café edition: paper for cafés.\nAsk for it.\n\n";
    assert_eq!(text(NOTEBOOKS).unwrap(), (2, wanted.to_owned()));
}

#[test]
fn a_scan_has_no_text() {
    assert_eq!(text(SCAN).unwrap(), (1, "\n\n".to_owned()));
}

#[test]
fn what_takes_a_password_is_refused_before_it_is_read() {
    assert!(matches!(text(ENCRYPTED), Err(PdfError::Encrypted)));
    assert_eq!(text(PRINTABLE).unwrap().1, "Nobody reads this.\n\n", "this one takes none");
}

#[test]
fn a_page_that_explodes_is_refused() {
    let error = text(BOMB).unwrap_err();
    assert!(matches!(error, PdfError::TooMuch(_)), "{error}");
}

#[test]
fn a_file_whose_parts_explode_together_is_refused() {
    let error = text(BOMBS).unwrap_err();
    assert!(error.to_string().contains("its objects are more than"), "{error}");
}

#[test]
fn what_is_no_pdf_is_damaged() {
    for bytes in [b"%PDF-1.7\n".as_slice(), b"", b"%PDF-1.4\nnothing of the kind\n%%EOF"] {
        let error = text(bytes).unwrap_err();
        assert!(matches!(error, PdfError::Damaged(_)), "{error}");
    }
    let deep = format!("%PDF-1.4\n1 0 obj\n{}{}\nendobj\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(text(deep.as_bytes()).is_err());
}

#[test]
fn reading_stops_when_the_text_is_not_wanted_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (path, into) = (dir.path().join("pdf"), dir.path().join("text"));
    std::fs::write(&path, NOTEBOOKS).unwrap();
    let stopped = extract(&path, &into, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(PdfError::Stopped)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_bytes_are_a_pdf_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = text(&[b"%PDF-1.4\n".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_pdf_with_any_bytes_changed_is_a_pdf_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut bytes = NOTEBOOKS.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = text(&bytes);
    }
}
