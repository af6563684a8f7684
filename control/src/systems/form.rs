//! The fields of a webhook: `application/x-www-form-urlencoded`, in the body of a POST or the query of a GET.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};

use super::error::ApiError;

/// The largest form that is read. A carrier's webhooks are some 2 KB.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// A webhook's fields, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads the fields of a request.
    pub async fn read(request: Request<Body>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Self::parse(parts.uri.query().unwrap_or("").as_bytes());
        }
        let bytes = super::body::read(&parts.headers, body, FORM_BYTES_MAX).await?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        if !bytes.is_empty() && !content_type.is_some_and(is_form) {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/x-www-form-urlencoded, and its Content-Type must say so",
            ));
        }
        Self::parse(&bytes)
    }

    /// Reads fields out of their encoded form. Refuses what decoders disagree on, since signatures are made of what they
    /// decode.
    pub fn parse(encoded: &[u8]) -> Result<Self, ApiError> {
        for (at, _) in encoded.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
            let digits = encoded.get(at + 1..at + 3);
            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return Err(ApiError::invalid(format!("Malformed percent-encoding at byte {at}")));
            }
        }
        // The decoder replaces bytes that are no UTF-8; the mark that it leaves tells, unless it was sent as such.
        let fields: Vec<(String, String)> = form_urlencoded::parse(encoded).into_owned().collect();
        let marks = |text: &str| text.matches('\u{fffd}').count();
        let decoded: usize = fields.iter().map(|(name, value)| marks(name) + marks(value)).sum();
        let sent = std::str::from_utf8(encoded)
            .map_or(0, |text| marks(text) + text.to_ascii_lowercase().matches("%ef%bf%bd").count());
        if decoded > sent {
            return Err(ApiError::invalid("The fields are not UTF-8"));
        }
        Ok(Self { fields })
    }

    /// The first value of a field; none if it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// The value of a field that must be there: at most 256 characters, none of them a control character.
    pub fn require(&self, name: &str) -> Result<&str, ApiError> {
        let value = self.get(name).map(str::trim).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| ApiError::missing(name))?;
        if value.len() > 256 || value.chars().any(char::is_control) {
            return Err(ApiError::bad_parameter(name, "string"));
        }
        Ok(value)
    }

    /// A whole number, if the field is there.
    pub fn number(&self, name: &str) -> Result<Option<u32>, ApiError> {
        self.get(name)
            .map(|text| text.trim().parse().map_err(|_| ApiError::bad_parameter(name, "integer")))
            .transpose()
    }

    /// All fields, for the signature.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }
}

fn is_form(content_type: &[u8]) -> bool {
    let mime = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    mime.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        for (encoded, name, value) in [
            ("CallSid=CA1&From=%2B15005550009", "From", Some("+15005550009")),
            ("From=+1500", "From", Some(" 1500")),
            ("A=1&A=2", "A", Some("1")),
            ("A=&B=1", "A", None),
            ("A", "A", None),
            ("", "A", None),
            ("&&A=1&", "A", Some("1")),
            ("A=a%3Db%26c", "A", Some("a=b&c")),
            ("Name=Zo%C3%AB", "Name", Some("Zoë")),
            ("A=%EF%BF%BD", "A", Some("\u{fffd}")),
            ("A=x=y", "A", Some("x=y")),
        ] {
            assert_eq!(Form::parse(encoded.as_bytes()).unwrap().get(name), value, "{encoded}");
        }
    }

    #[test]
    fn what_decoders_disagree_on_is_refused() {
        for (encoded, wanted) in [
            (&b"A=%"[..], "at byte 2"),
            (b"A=%4", "at byte 2"),
            (b"A=%zz", "at byte 2"),
            (b"A=1&B=%2B%", "at byte 9"),
            (b"A=%FF", "UTF-8"),
            (b"A=\xff", "UTF-8"),
            (b"A=%EF%BF%BD%FF", "UTF-8"),
        ] {
            let error = Form::parse(encoded).unwrap_err();
            assert!(error.message.contains(wanted), "{encoded:?}: {}", error.message);
            assert_eq!(error.status, 400);
        }
    }

    #[test]
    fn a_required_field_is_a_short_printable_text() {
        let form = Form::parse(format!("A=%00&B={}&C=+&D=+x+", "x".repeat(257)).as_bytes()).unwrap();
        assert_eq!(form.require("A").unwrap_err().message, "Invalid parameter: A");
        assert_eq!(form.require("B").unwrap_err().message, "Invalid parameter: B");
        assert_eq!(form.require("C").unwrap_err().message, "Missing required parameter: C");
        assert_eq!(form.require("D").unwrap(), "x");
    }

    #[test]
    fn numbers_are_whole() {
        let form = Form::parse(b"A=12&B=1.5&C=-1&D=").unwrap();
        assert_eq!(form.number("A").unwrap(), Some(12));
        assert_eq!(form.number("B").unwrap_err().details["expected_type"], "integer");
        assert!(form.number("C").is_err());
        assert_eq!(form.number("D").unwrap(), None);
    }

    async fn post(content_type: Option<&str>, body: Vec<u8>) -> Result<Form, ApiError> {
        let mut request = Request::post("/x?A=query").body(Body::from(body)).unwrap();
        if let Some(content_type) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        Form::read(request).await
    }

    #[tokio::test]
    async fn a_post_is_read_from_its_body_and_must_say_what_it_is() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(post(Some(form), b"A=1".to_vec()).await.unwrap().get("A"), Some("1"));
        let with_charset = "Application/X-WWW-form-urlencoded; charset=UTF-8";
        assert!(post(Some(with_charset), b"A=1".to_vec()).await.is_ok());
        assert_eq!(post(None, Vec::new()).await.unwrap().get("A"), None);
        assert_eq!(post(Some("application/json"), b"{}".to_vec()).await.unwrap_err().status, 415);
        assert_eq!(post(None, b"A=1".to_vec()).await.unwrap_err().status, 415);
        let huge = vec![b'a'; FORM_BYTES_MAX + 1];
        assert_eq!(post(Some(form), huge).await.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn a_get_is_read_from_its_query() {
        let request = Request::get("/x?CallSid=CA1&From=%2B1").body(Body::empty()).unwrap();
        assert_eq!(Form::read(request).await.unwrap().get("From"), Some("+1"));
    }
}
