//! Server-sent events, as they arrive.
//!
//! In: bytes, split anywhere, also inside a character or between CR and LF. Out: the data of each event. Names, ids and
//! retry times are skipped, comments too. [HTML, 9.2.6](https://html.spec.whatwg.org/multipage/server-sent-events.html).

/// Bytes of a line or of an event's data. What is longer is no answer of a model.
const BYTES_MAX: usize = 256 * 1024;

/// An event is longer than any that is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes events out of bytes.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF after it belongs to it.
    after_cr: bool,
}

impl Events {
    /// Takes all of `bytes`, and gives the data of each event that they complete. A byte order mark and bytes that are no
    /// UTF-8 are for whoever reads the data to complain of.
    pub(super) fn push(&mut self, bytes: &[u8], event: &mut dyn FnMut(&[u8])) -> Result<(), TooLong> {
        for &byte in bytes {
            let ends = match byte {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_cr = byte == b'\r';
            if ends {
                self.end_line(event)?;
            } else if self.line.len() < BYTES_MAX {
                self.line.push(byte);
            } else {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, event: &mut dyn FnMut(&[u8])) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                event(&self.data);
            }
            self.data.clear();
        } else if let Some(value) = line.strip_prefix(b"data") {
            let value = match value {
                [] => value,
                [b':', b' ', value @ ..] | [b':', value @ ..] => value,
                // A field of another name.
                _ => return Ok(()),
            };
            if self.data.len() + value.len() > BYTES_MAX {
                return Err(TooLong);
            }
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        }
        // The memory of the line is used again.
        self.line = line;
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in pieces {
            events.push(piece, &mut |data| found.push(String::from_utf8_lossy(data).into_owned())).unwrap();
        }
        found
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_split() {
        let text = ": keep-alive\r\nevent: x\r\ndata: {\"a\": \"é\"}\r\n\r\ndata:b\rdata: c\r\rid: 7\n\ndatax: no\n\ndata\n\n\
                    data: [DONE]\n\ndata: unfinished\n"
            .as_bytes();
        let wanted = ["{\"a\": \"é\"}", "b\nc", "", "[DONE]"];
        assert_eq!(events(&[text]), wanted);
        for size in 1..text.len() {
            assert_eq!(events(&text.chunks(size).collect::<Vec<_>>()), wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut events = Events::default();
        let line = vec![b'x'; BYTES_MAX + 1];
        assert_eq!(events.push(&line, &mut |_| ()), Err(TooLong));
        let mut events = Events::default();
        let lines = "data: 0123456789\n".repeat(BYTES_MAX / 10);
        assert_eq!(events.push(lines.as_bytes(), &mut |_| ()), Err(TooLong));
    }
}
