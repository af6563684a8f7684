//! The text of one page: its drawing instructions in order, as far as they place and show text (PDF 32000-1, section 9.4).

use std::collections::BTreeMap;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Encoding, Object, ObjectId, Stream};

use super::{Limits, PdfError, UNPACKED_BYTES_MAX, of_reader};

/// How deep drawings may stand in drawings.
const DEPTH_MAX: usize = 8;
/// After so many instructions it is looked how late it is.
const LOOK_EVERY: u32 = 4_096;
/// A gap in a line beyond which a new word begins, in thousandths of the font's size (usual spaces are 250 to 280).
const WORD_GAP: f32 = 140.0;
/// Lines that are further apart than so many times the font's size are paragraphs.
const PARAGRAPH_LINES: f32 = 1.9;
/// One page says no more.
const PAGE_TEXT_MAX: usize = 4 * 1024 * 1024;

type Fonts<'a> = BTreeMap<Vec<u8>, Encoding<'a>>;

/// Reads pages of one document.
pub(super) struct PageReader<'a> {
    document: &'a Document,
    instructions: u32,
}

/// Where text is shown next, and what is already there.
#[derive(Default)]
struct Pen {
    text: String,
    /// Where the line begins that text is placed from.
    y: f32,
    /// How large the letters are.
    size: f32,
    /// How the letters are enlarged.
    scale: f32,
    /// Where text was shown last.
    last_y: Option<f32>,
    /// Whether the place changed since.
    has_moved: bool,
    /// Whether all places mean something else since.
    is_elsewhere: bool,
    leading: f32,
}

impl<'a> PageReader<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self { document, instructions: 0 }
    }

    /// The text of a page. What of it cannot be understood is left out.
    pub(super) fn text_of(&mut self, page: ObjectId, limits: &mut Limits<'_>) -> Result<String, PdfError> {
        limits.check()?;
        let mut pen = Pen::default();
        let resources = self.document.get_page_resources(page);
        // A page whose resources cannot be found has no fonts, and so no text.
        let Ok((own, others)) = resources else { return Ok(pen.text) };
        let others = others.into_iter().filter_map(|id| self.document.get_dictionary(id).ok());
        let resources: Vec<&'a Dictionary> = own.into_iter().chain(others).collect();
        let content =
            self.document.get_page_content_with_limit(page, UNPACKED_BYTES_MAX).map_err(of_reader)?;
        self.draw(&content, &resources, &mut pen, 0, limits)?;
        Ok(pen.text)
    }

    fn draw(
        &mut self,
        content: &[u8],
        resources: &[&'a Dictionary],
        pen: &mut Pen,
        depth: usize,
        limits: &mut Limits<'_>,
    ) -> Result<(), PdfError> {
        let fonts = self.fonts(resources)?;
        let mut font = None;
        // What comes behind an instruction that cannot be read is left out.
        for operation in Content::decode_iter(content).map_while(Result::ok) {
            self.instructions = self.instructions.wrapping_add(1);
            if self.instructions.is_multiple_of(LOOK_EVERY) {
                limits.check()?;
            }
            if pen.text.len() > PAGE_TEXT_MAX {
                return Err(PdfError::TooMuch(format!("a page has more than {PAGE_TEXT_MAX} bytes of text")));
            }
            match operation.operator.as_str() {
                "Tf" => {
                    let name = operation.operands.first().and_then(|name| name.as_name().ok());
                    font = name.and_then(|name| fonts.get(name));
                    pen.size = number(&operation, 1);
                }
                "Do" if depth < DEPTH_MAX => {
                    let Some(form) = self.form(&operation, resources) else { continue };
                    let drawn = form.decompressed_content_with_limit(UNPACKED_BYTES_MAX);
                    let drawn = match drawn {
                        Ok(drawn) => drawn,
                        Err(error @ lopdf::Error::Decompress(_)) => return Err(of_reader(error)),
                        Err(_) => form.content.clone(),
                    };
                    let own = form.dict.get_deref(b"Resources", self.document).and_then(Object::as_dict);
                    let own: Vec<&'a Dictionary> = match own {
                        Ok(own) => vec![own],
                        Err(_) => resources.to_vec(),
                    };
                    pen.is_elsewhere = true;
                    self.draw(&drawn, &own, pen, depth + 1, limits)?;
                    pen.is_elsewhere = true;
                }
                _ => pen.follow(&operation, font),
            }
        }
        Ok(())
    }

    fn fonts(&self, resources: &[&'a Dictionary]) -> Result<Fonts<'a>, PdfError> {
        let mut fonts = Fonts::new();
        for resources in resources {
            let Ok(named) = self.document.get_dict_in_dict(resources, b"Font") else { continue };
            for (name, font) in named {
                if fonts.contains_key(name) {
                    continue;
                }
                let font = self.document.dereference(font).and_then(|(_, font)| font.as_dict());
                let encoding = font
                    .and_then(|font| font.get_font_encoding_with_limit(self.document, UNPACKED_BYTES_MAX));
                match encoding {
                    Ok(encoding) => drop(fonts.insert(name.clone(), encoding)),
                    Err(error @ lopdf::Error::Decompress(_)) => return Err(of_reader(error)),
                    Err(_) => {}
                }
            }
        }
        Ok(fonts)
    }

    /// The drawing that an instruction names.
    fn form(&self, operation: &Operation, resources: &[&'a Dictionary]) -> Option<&'a Stream> {
        let name = operation.operands.first()?.as_name().ok()?;
        let found = resources.iter().find_map(|resources| {
            let drawings = self.document.get_dict_in_dict(resources, b"XObject").ok()?;
            drawings.get_deref(name, self.document).ok()?.as_stream().ok()
        })?;
        found
            .dict
            .get(b"Subtype")
            .and_then(Object::as_name)
            .is_ok_and(|kind| kind == b"Form")
            .then_some(found)
    }
}

/// An operand that is a number; 0 if it is none.
fn number(operation: &Operation, at: usize) -> f32 {
    operation.operands.get(at).and_then(|operand| operand.as_float().ok()).unwrap_or(0.0)
}

impl Pen {
    fn follow(&mut self, operation: &Operation, font: Option<&Encoding<'_>>) {
        match operation.operator.as_str() {
            "BT" => (self.y, self.scale, self.has_moved) = (0.0, 1.0, true),
            "cm" => self.is_elsewhere = true,
            "TL" => self.leading = number(operation, 0),
            "Td" | "TD" => {
                if operation.operator == "TD" {
                    self.leading = -number(operation, 1);
                }
                self.y += number(operation, 1) * self.scale;
                self.has_moved = true;
            }
            "Tm" => {
                // Turned text has its size in the second number.
                self.scale = number(operation, 3).abs().max(number(operation, 1).abs());
                self.y = number(operation, 5);
                self.has_moved = true;
            }
            "T*" => self.next_line(),
            "Tj" | "TJ" => self.show(&operation.operands, font),
            "'" => {
                self.next_line();
                self.show(&operation.operands, font);
            }
            "\"" => {
                self.next_line();
                self.show(operation.operands.get(2..).unwrap_or_default(), font);
            }
            _ => {}
        }
    }

    fn next_line(&mut self) {
        let leading = if self.leading == 0.0 { self.size } else { self.leading };
        self.y -= leading * self.scale;
        self.has_moved = true;
    }

    fn show(&mut self, operands: &[Object], font: Option<&Encoding<'_>>) {
        let Some(font) = font else { return };
        let mut shown = String::new();
        write(operands, font, &mut shown, true);
        if shown.is_empty() {
            return;
        }
        self.part(&shown);
        self.text.push_str(&shown);
        (self.last_y, self.has_moved, self.is_elsewhere) = (Some(self.y), false, false);
    }

    /// Writes what is between the last text and the next one.
    fn part(&mut self, next: &str) {
        let Some(last_y) = self.last_y else { return };
        let height = (self.size * self.scale).abs().max(1.0);
        let apart = (last_y - self.y).abs();
        let gap = if self.is_elsewhere {
            "\n"
        } else if apart > height * PARAGRAPH_LINES {
            "\n\n"
        } else if apart > height * 0.3 {
            "\n"
        } else if self.has_moved && !self.text.ends_with(' ') && !next.starts_with(' ') {
            " "
        } else {
            ""
        };
        self.text.push_str(gap);
    }
}

/// Writes what is shown. `nested`: whether operands may be lists.
fn write(operands: &[Object], font: &Encoding<'_>, text: &mut String, nested: bool) {
    for operand in operands {
        match operand {
            Object::String(bytes, _) => {
                // What the font does not name is left out.
                let _ = font.write_to_string(bytes, text);
            }
            Object::Array(list) if nested => write(list, font, text, false),
            gap @ (Object::Integer(_) | Object::Real(_)) => {
                let is_gap = gap.as_float().is_ok_and(|gap| gap < -WORD_GAP);
                if is_gap && !text.is_empty() && !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            _ => {}
        }
    }
}
