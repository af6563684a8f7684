//! The body of a request as a JSON object, field by field, so that what is wrong is said by name.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

use super::error::ApiError;

/// The largest body that is read.
pub const JSON_BYTES_MAX: usize = 64 * 1024;

/// The headers and the raw body of a request, which says that it is JSON and has at most `bytes_max` bytes.
pub async fn json_body(request: Request<Body>, bytes_max: usize) -> Result<(HeaderMap, Vec<u8>), ApiError> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = mime.eq_ignore_ascii_case("application/json")
        || mime.len() > 5 && mime.to_ascii_lowercase().ends_with("+json");
    if !is_json {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json, and its Content-Type must say so",
        ));
    }
    let body = super::body::read(&parts.headers, body, bytes_max).await?;
    Ok((parts.headers, body))
}

/// The fields of an object. Unknown ones are ignored; null counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body of a request.
    pub async fn read(request: Request<Body>) -> Result<Self, ApiError> {
        let (_, body) = json_body(request, JSON_BYTES_MAX).await?;
        Self::parse(&body)
    }

    /// Reads an object. Nesting is bounded by the parser, so that no body can exhaust the stack.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::invalid("The body must be a JSON object")),
            Err(error) => Err(ApiError::invalid(format!("The body is not JSON: {error}"))),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let what = format!("an integer from {} to {}", range.start(), range.end());
                Err(wrong(name, "integer", &what))
            }
        }
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.value(name)
            .map(|value| value.as_bool().ok_or_else(|| wrong(name, "boolean", "true or false")))
            .transpose()
    }

    /// A text of at most 256 characters, none of them a control character.
    pub fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text =
            value.as_str().filter(|text| text.chars().count() <= 256 && !text.chars().any(char::is_control));
        match text {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(wrong(name, "string", "a text of at most 256 characters")),
        }
    }

    /// A text of at most `most` characters, which may have lines.
    pub fn long_text(&self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let is_plain = |text: &&str| {
            text.chars().count() <= most
                && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        };
        match value.as_str().filter(is_plain) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(wrong(name, "string", &format!("a text of at most {most} characters"))),
        }
    }

    /// A list of at most `most` texts.
    pub fn texts(&self, name: &str, most: usize) -> Result<Option<Vec<String>>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let items = value.as_array().filter(|items| items.len() <= most);
        let texts =
            items.and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        match texts {
            Some(texts) => Ok(Some(texts)),
            None => Err(wrong(name, "array of strings", &format!("a list of at most {most} texts"))),
        }
    }

    /// The fields of a field that is an object.
    pub fn part(&self, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_object() {
            Some(fields) => Ok(Some(Self(fields.clone()))),
            None => Err(wrong(name, "object", "an object")),
        }
    }

    /// The value of a field that is an object.
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| value.is_object())
    }

    /// True if a field was sent, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A list of at most `most` objects; empty if it is absent.
    pub fn objects(&self, name: &str, most: usize) -> Result<Vec<Self>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let error = || wrong(name, "array of objects", &format!("a list of at most {most} objects"));
        let items = value.as_array().filter(|items| items.len() <= most).ok_or_else(error)?;
        items.iter().map(|item| item.as_object().cloned().map(Self).ok_or_else(error)).collect()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

fn wrong(parameter: &str, expected_type: &str, what: &str) -> ApiError {
    ApiError {
        status: StatusCode::BAD_REQUEST,
        message: format!("Invalid parameter: {parameter} must be {what}"),
        details: json!({ "parameter": parameter, "expected_type": expected_type }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_number_within_bounds_is_taken_and_nothing_else() {
        let read = |text: &str| fields(&format!(r#"{{"n":{text}}}"#)).integer("n", 1..=1_000);
        assert_eq!((read("1").unwrap(), read("1000").unwrap()), (Some(1), Some(1_000)));
        assert_eq!(read("null").unwrap(), None);
        for bad in
            ["0", "-1", "1.5", "1.0", "\"many\"", "\"5\"", "1000000000", "1e400", "true", "[]", "{}", "1001"]
        {
            match Fields::parse(format!(r#"{{"n":{bad}}}"#).as_bytes())
                .and_then(|f| f.integer("n", 1..=1_000))
            {
                Err(error) => assert_eq!(error.status, 400, "{bad}"),
                Ok(number) => panic!("{bad} was read as {number:?}"),
            }
        }
        assert_eq!(read("0").unwrap_err().details, json!({ "parameter": "n", "expected_type": "integer" }));
        assert!(read("0").unwrap_err().message.contains("from 1 to 1000"));
    }

    #[test]
    fn types_are_what_they_should_be() {
        let some = fields(r#"{"b":true,"t":"Zoë","l":[{"a":1},{}],"no":"yes","c":"a\u0000b","bad":[1]}"#);
        assert_eq!(some.boolean("b").unwrap(), Some(true));
        assert!(some.boolean("no").is_err() && some.text("b").is_err() && some.text("c").is_err());
        assert_eq!(some.text("t").unwrap().as_deref(), Some("Zoë"));
        assert_eq!(some.objects("l", 2).unwrap().len(), 2);
        assert!(
            some.objects("l", 1).is_err() && some.objects("bad", 5).is_err() && some.objects("t", 5).is_err()
        );
        assert_eq!(some.objects("absent", 1).unwrap(), []);
    }

    #[test]
    fn what_is_no_object_is_refused_however_deep() {
        for text in
            ["", "[]", "1", "{", "{\"a\":}", "\u{feff}{}", &"[".repeat(60_000), &"{\"a\":".repeat(10_000)]
        {
            assert_eq!(Fields::parse(text.as_bytes()).unwrap_err().status, 400);
        }
    }

    #[tokio::test]
    async fn the_content_type_must_say_json() {
        for (content_type, status) in [
            (Some("application/json"), None),
            (Some("application/json; charset=utf-8"), None),
            (Some("application/vnd.api+json"), None),
            (Some("text/plain"), Some(415)),
            (Some("application/x-www-form-urlencoded"), Some(415)),
            (None, Some(415)),
        ] {
            let mut request = Request::post("/");
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let read = Fields::read(request.body(Body::from("{}")).unwrap()).await;
            assert_eq!(read.err().map(|error| error.status.as_u16()), status, "{content_type:?}");
        }
        let huge = Request::post("/").header("content-type", "application/json");
        let huge = huge.body(Body::from(vec![b' '; JSON_BYTES_MAX + 1])).unwrap();
        assert_eq!(Fields::read(huge).await.unwrap_err().status, 413);
    }
}
