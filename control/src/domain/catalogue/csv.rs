//! Products from CSV: a header with the names of the columns, then one product in each row.
//!
//! | column | is | if it is missing or empty |
//! |---|---|---|
//! | `name` | a text of up to 500 characters | an error |
//! | `price` | a number from 0, with or without the sign of a currency and separators of thousands | an error |
//! | `description` | a text | empty |
//! | `currency` | three letters (ISO 4217) | by the sign beside the price, else `USD` |
//! | `sku`, `category` | texts | none |
//! | `in_stock` | yes or no, in one of several words, or how many there are | yes |
//! | any other | a text, which becomes part of `metadata` | left out |
//!
//! Columns may stand in any order, and be parted by commas, semicolons or tabs. A text that begins like a formula (`=`, `+`, `-`,
//! `@`) is that text: nothing here calculates. Rows of empty values are passed over; any other row that is no product is an error
//! with its line, and a table with an error is not taken at all.

use std::collections::BTreeSet;
use std::io::{self, Chain, Cursor, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Terminator};
use serde_json::{Map, Value};

use super::error::{LineError, TOLD_MAX, Unreadable};
use super::text::Decoded;
use super::values;

/// The most rows.
pub const ROWS_MAX: u32 = 200_000;
/// The most columns.
const COLUMNS_MAX: usize = 200;
/// The most characters of a value: what a cell of Excel holds.
const VALUE_CHARACTERS_MAX: usize = 32_767;
/// The most characters of a name.
const NAME_CHARACTERS_MAX: usize = 500;
/// A header ends by then.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// A row of our own behind the last: where a quote is left open, it is not found.
const END: &str = "\u{1e}the end of the table\u{1e}";

/// One product as its row says it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductRow {
    /// What it is called.
    pub name: String,
    /// What is said of it; may be empty.
    pub description: String,
    /// In units of `currency`; none for a document.
    pub price: Option<f64>,
    /// ISO 4217.
    pub currency: String,
    /// The seller's number of it.
    pub sku: Option<String>,
    /// What kind of thing it is.
    pub category: Option<String>,
    /// Whether it can be had.
    pub in_stock: bool,
    /// What else the row says, by the names of the columns.
    pub metadata: Map<String, Value>,
}

/// What a column means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Description,
    Price,
    Currency,
    Sku,
    Category,
    InStock,
    Other(String),
}

impl Column {
    fn named(title: &str) -> Self {
        let plain = title.to_lowercase().replace([' ', '-'], "_");
        match plain.as_str() {
            "name" => Self::Name,
            "description" => Self::Description,
            "price" => Self::Price,
            "currency" => Self::Currency,
            "sku" => Self::Sku,
            "category" => Self::Category,
            "in_stock" => Self::InStock,
            _ => Self::Other(title.to_owned()),
        }
    }
}

/// Why there is no next row.
#[derive(Debug)]
pub(super) enum RowError {
    /// This row is wrong. There may be others behind it.
    Line(LineError),
    /// The table cannot be read any further.
    Table(Unreadable),
    /// The file cannot be read.
    Io(io::Error),
}

type Source<R> = Chain<Chain<Cursor<Vec<u8>>, R>, Cursor<String>>;

/// The rows of a table.
pub(super) struct Rows<R: Read> {
    reader: csv::Reader<Source<R>>,
    columns: Vec<Column>,
    delimiter: u8,
    ends_line: char,
    record: StringRecord,
    rows: u32,
    is_over: bool,
}

impl Rows<Decoded<std::fs::File>> {
    /// Opens a table, and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, RowError> {
        Self::new(Decoded::open(path).map_err(RowError::Io)?)
    }
}

impl<R: Read> Rows<R> {
    /// The rows of what is read here: UTF-8.
    pub(super) fn new(mut source: R) -> Result<Self, RowError> {
        let mut header = Vec::new();
        (&mut source).take(HEADER_BYTES_MAX).read_to_end(&mut header).map_err(of_io)?;
        let delimiter = delimiter_of(&header);
        // A carriage return before the line feed is taken for white space; only old Macs had nothing else.
        let ends_line = if header.contains(&b'\r') && !header.contains(&b'\n') { '\r' } else { '\n' };
        let end = Cursor::new(format!("{ends_line}{END}{ends_line}"));
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .terminator(Terminator::Any(ends_line as u8))
            .flexible(true)
            .has_headers(false)
            .from_reader(Cursor::new(header).chain(source).chain(end));
        let record = StringRecord::new();
        let mut rows =
            Self { reader, columns: Vec::new(), delimiter, ends_line, record, rows: 0, is_over: false };
        loop {
            if !rows.read()? {
                return Err(wrong_header("the table is empty"));
            }
            if !rows.is_blank() {
                break;
            }
        }
        rows.columns = columns_of(&rows.record)?;
        Ok(rows)
    }

    /// How much of the table is read, in bytes of UTF-8.
    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// Reads the next record. False: there is none.
    fn read(&mut self) -> Result<bool, RowError> {
        let is_there = self.reader.read_record(&mut self.record).map_err(of_csv)?;
        let is_end = is_there && self.record.len() == 1 && self.record.get(0) == Some(END);
        if is_there && !is_end {
            return Ok(true);
        }
        self.is_over = true;
        // Where a value is quoted and the quote never closed, the end is part of that value.
        if !is_there || self.reader.read_record(&mut StringRecord::new()).map_err(of_csv)? {
            return Err(RowError::Table(Unreadable::whole("the table does not end where the file does")));
        }
        Ok(false)
    }

    /// Whether nothing stands in the record that was just read.
    fn is_blank(&self) -> bool {
        self.record.iter().all(|value| value.trim().is_empty())
    }

    fn row(&mut self) -> Result<Option<ProductRow>, RowError> {
        loop {
            if !self.read()? {
                return Ok(None);
            }
            let line = self.line();
            let wrong = |message: String| RowError::Line(LineError { line, message });
            if self.record.iter().any(|value| value.contains(END)) {
                self.is_over = true;
                return Err(wrong("a quote (\") is opened and never closed".into()));
            }
            if self.is_blank() {
                continue;
            }
            self.rows += 1;
            if self.rows > ROWS_MAX {
                self.is_over = true;
                return Err(RowError::Table(Unreadable::whole(format!("it has more than {ROWS_MAX} rows"))));
            }
            let (found, wanted) = (self.record.len(), self.columns.len());
            if found != wanted {
                let values = if found == 1 { "value" } else { "values" };
                return Err(wrong(format!("has {found} {values} where the header has {wanted}")));
            }
            return self.told().map(Some).map_err(|message| RowError::Line(LineError { line, message }));
        }
    }

    /// The line in which the record begins that was just read. What the reader says of that is where the one before it ended.
    fn line(&self) -> u64 {
        if self.ends_line != '\n' {
            return self.reader.position().record();
        }
        let within: usize = self.record.iter().map(|value| value.matches('\n').count()).sum();
        // Behind a quote that is not closed, there is no end of a line.
        let ends = u64::from(!self.record.iter().any(|value| value.contains(END)));
        self.reader.position().line().saturating_sub(within as u64 + ends)
    }

    /// What the row says.
    fn told(&self) -> Result<ProductRow, String> {
        let mut product = ProductRow {
            name: String::new(),
            description: String::new(),
            price: None,
            currency: String::new(),
            sku: None,
            category: None,
            in_stock: true,
            metadata: Map::new(),
        };
        let mut sign = None;
        for (column, value) in self.columns.iter().zip(self.record.iter()) {
            let value = clean(value)?;
            if value.is_empty() {
                continue;
            }
            match column {
                Column::Name => product.name = value,
                Column::Description => product.description = value,
                Column::Price => {
                    let price = values::price(&value, self.delimiter == b';')?;
                    product.price = Some(price.amount);
                    sign = price.currency;
                }
                Column::Currency => product.currency = values::currency(&value)?,
                Column::Sku => product.sku = Some(value),
                Column::Category => product.category = Some(value),
                Column::InStock => product.in_stock = values::in_stock(&value)?,
                Column::Other(title) => {
                    product.metadata.insert(title.clone(), value.into());
                }
            }
        }
        if product.name.is_empty() {
            return Err("name is empty".into());
        }
        if product.name.chars().count() > NAME_CHARACTERS_MAX {
            return Err(format!("name is longer than {NAME_CHARACTERS_MAX} characters"));
        }
        if product.price.is_none() {
            return Err("price is empty".into());
        }
        if product.currency.is_empty() {
            product.currency = sign.unwrap_or(values::CURRENCY).to_owned();
        }
        Ok(product)
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<ProductRow, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = self.row();
        self.is_over |= matches!(row, Err(RowError::Table(_) | RowError::Io(_)));
        row.transpose()
    }
}

/// Reads a whole table, and says how many products it has, or all that is wrong with it.
pub(super) fn check(path: &Path) -> io::Result<Result<u32, Unreadable>> {
    let mut wrong = Unreadable::default();
    let rows = match Rows::open(path) {
        Ok(rows) => rows,
        Err(RowError::Io(error)) => return Err(error),
        Err(RowError::Table(why)) => return Ok(Err(why)),
        Err(RowError::Line(line)) => {
            return Ok(Err(Unreadable { lines: vec![line], wrong_lines: 1, ..wrong }));
        }
    };
    let mut products = 0;
    for row in rows {
        match row {
            Ok(_) => products += 1,
            Err(RowError::Line(line)) => {
                wrong.wrong_lines += 1;
                if wrong.lines.len() < TOLD_MAX {
                    wrong.lines.push(line);
                }
            }
            Err(RowError::Table(why)) => {
                wrong.reason = why.reason;
                return Ok(Err(wrong));
            }
            Err(RowError::Io(error)) => return Err(error),
        }
    }
    Ok(match (wrong.wrong_lines, products) {
        (0, 0) => Err(Unreadable::whole("the table has no rows below its header")),
        (0, products) => Ok(products),
        (1, _) => Err(Unreadable { reason: "1 row is no product".into(), ..wrong }),
        (lines, _) => Err(Unreadable { reason: format!("{lines} rows are no products"), ..wrong }),
    })
}

/// What parts the columns: which of the three parts a header with a `name` in it.
fn delimiter_of(beginning: &[u8]) -> u8 {
    let header =
        beginning.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.trim_ascii().is_empty());
    let header = String::from_utf8_lossy(header.unwrap_or_default());
    let has_name = |delimiter: &u8| {
        let mut titles = header.split(char::from(*delimiter));
        titles.any(|title| Column::named(title.trim().trim_matches('"').trim()) == Column::Name)
    };
    let delimiters = [b',', b';', b'\t'];
    let parts = |delimiter: &u8| header.matches(char::from(*delimiter)).count();
    // A column that is alone stands in a table of any kind.
    delimiters.into_iter().filter(has_name).max_by_key(parts).unwrap_or(b',')
}

fn columns_of(header: &StringRecord) -> Result<Vec<Column>, RowError> {
    if header.len() > COLUMNS_MAX {
        return Err(wrong_header(format!(
            "the header has {} columns, more than {COLUMNS_MAX}",
            header.len()
        )));
    }
    let mut columns = Vec::with_capacity(header.len());
    let mut known = BTreeSet::new();
    for (at, title) in header.iter().enumerate() {
        let title =
            clean(title).map_err(|why| wrong_header(format!("column {} of the header {why}", at + 1)))?;
        if title.is_empty() {
            return Err(wrong_header(format!("column {} of the header has no name", at + 1)));
        }
        if !known.insert(title.to_lowercase().replace([' ', '-'], "_")) {
            return Err(wrong_header(format!("the header has two columns called {title}")));
        }
        columns.push(Column::named(&title));
    }
    for (column, name) in [(Column::Name, "name"), (Column::Price, "price")] {
        if !columns.contains(&column) {
            return Err(wrong_header(format!(
                "the header has no column called {name}; columns are name, price, description, currency, sku, category, \
                 in_stock, and any others"
            )));
        }
    }
    Ok(columns)
}

fn wrong_header(message: impl Into<String>) -> RowError {
    let message = message.into();
    let lines = vec![LineError { line: 1, message }];
    RowError::Table(Unreadable { reason: "the header is wrong".into(), lines, wrong_lines: 1 })
}

/// A value without white space around it and without what is no text.
fn clean(value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.chars().count() > VALUE_CHARACTERS_MAX {
        return Err(format!(
            "has a value of more than {VALUE_CHARACTERS_MAX} characters; is a quote left open?"
        ));
    }
    if value.chars().any(super::text::is_control) {
        return Err("has a value with control characters in it".into());
    }
    Ok(value.to_owned())
}

fn of_csv(error: csv::Error) -> RowError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => of_io(error),
        other => RowError::Table(Unreadable::whole(format!("it is no CSV: {other:?}"))),
    }
}

fn of_io(error: io::Error) -> RowError {
    match error.kind() {
        io::ErrorKind::InvalidData => RowError::Table(Unreadable::whole(error.to_string())),
        _ => RowError::Io(error),
    }
}

#[cfg(test)]
mod tests;
