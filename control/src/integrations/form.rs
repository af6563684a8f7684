//! Forms with files, `multipart/form-data` (RFC 7578), written whole.

/// A form that is being written, between edges that are in none of its values.
pub(super) struct Form {
    edge: String,
    bytes: Vec<u8>,
}

impl Form {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { edge: format!("offhook-{}", uuid::Uuid::new_v4().simple()), bytes: Vec::new() }
    }

    /// With a text.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        let head = format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n", self.edge);
        self.bytes.extend_from_slice(head.as_bytes());
        self.end(value.as_bytes())
    }

    /// With a file.
    pub(super) fn file(mut self, name: &str, file_name: &str, content_type: &str, content: &[u8]) -> Self {
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\
             Content-Type: {content_type}\r\n\r\n",
            self.edge
        );
        self.bytes.extend_from_slice(head.as_bytes());
        self.end(content)
    }

    fn end(mut self, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The content type, and the body.
    pub(super) fn finish(mut self) -> (String, Vec<u8>) {
        self.bytes.extend_from_slice(format!("--{}--\r\n", self.edge).as_bytes());
        (format!("multipart/form-data; boundary={}", self.edge), self.bytes)
    }
}
