//! What a server answers to a call: the part of TwiML that a media stream needs, and a plain word for the rest.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// The first thing that a TwiML document does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `<Connect><Stream>`: the call's audio goes to a socket, both ways.
    Stream {
        /// Where to.
        url: String,
        /// The `<Parameter>`s, for the stream's start message, in order.
        parameters: Vec<(String, String)>,
    },
    /// Something else, told as the caller would experience it.
    Other(String),
}

/// Why an answer could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwimlError {
    /// It is not XML.
    #[error("not XML at byte {at}: {what}")]
    NotXml {
        /// Offset in bytes.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// There is no element in it.
    #[error("there is no XML in it")]
    NoXml,
    /// It is XML, but its root is another.
    #[error("the document is <{0}>, not <Response>")]
    NotResponse(String),
    /// `<Stream>` has no `url`.
    #[error("<Stream> has no url")]
    NoUrl,
}

/// Reads a TwiML document.
///
/// A `<Connect><Stream>` anywhere among the verbs counts, as what stands before it (`<Say>`, `<Pause>`) would be over by
/// then. A `<Start><Stream>` does not: nothing can be said to the caller through it.
pub fn read(document: &str) -> Result<Answer, TwimlError> {
    let mut reader = Reader::from_str(document);
    let mut path: Vec<String> = Vec::new();
    let mut seen_root = false;
    let mut verbs: Vec<Verb> = Vec::new();
    let mut stream: Option<(String, Vec<(String, String)>)> = None;
    loop {
        let at = reader.buffer_position();
        let not_xml = |error: &dyn std::fmt::Display| TwimlError::NotXml { at, what: error.to_string() };
        let event = reader.read_event().map_err(|e| not_xml(&e))?;
        match event {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                let name = tag.name().as_ref().to_owned();
                if path.is_empty() && name != "Response" {
                    return Err(TwimlError::NotResponse(name));
                }
                seen_root = true;
                match (path.as_slice(), name.as_str()) {
                    ([_], verb) => verbs.push(Verb { name: verb.to_owned(), text: String::new() }),
                    ([_, connect], "Stream") if connect == "Connect" && stream.is_none() => {
                        let url = attribute(tag, "url").map_err(|e| not_xml(&e))?;
                        stream = Some((url.ok_or(TwimlError::NoUrl)?.trim().to_owned(), Vec::new()));
                    }
                    ([_, connect, parent], "Parameter") if connect == "Connect" && parent == "Stream" => {
                        let name = attribute(tag, "name").map_err(|e| not_xml(&e))?.unwrap_or_default();
                        let value = attribute(tag, "value").map_err(|e| not_xml(&e))?.unwrap_or_default();
                        if let Some((_, parameters)) = &mut stream {
                            parameters.push((name, value));
                        }
                    }
                    _ => {}
                }
                if matches!(event, Event::Start(_)) {
                    path.push(name);
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(text) if path.len() == 2 => {
                if let Some(verb) = verbs.last_mut() {
                    verb.text.push_str(&text.xml_content(XmlVersion::Implicit1_0));
                }
            }
            Event::GeneralRef(reference) if path.len() == 2 => {
                let c = match reference.resolve_char_ref().map_err(|e| not_xml(&e))? {
                    Some(c) => Some(c),
                    None => PREDEFINED.iter().find(|(name, _)| *name == &*reference).map(|&(_, c)| c),
                };
                if let Some(verb) = verbs.last_mut() {
                    verb.text.extend(c);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !seen_root {
        return Err(TwimlError::NoXml);
    }
    if !path.is_empty() {
        return Err(TwimlError::NotXml {
            at: document.len() as u64,
            what: format!("<{}> is not closed", path.join("><")),
        });
    }
    Ok(match stream {
        Some((url, parameters)) => Answer::Stream { url, parameters },
        None if verbs.is_empty() => Answer::Other("an empty <Response>, which hangs up".into()),
        None => Answer::Other(verbs.iter().map(Verb::to_string).collect::<Vec<_>>().join(", then ")),
    })
}

/// XML's own entities.
const PREDEFINED: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];

struct Verb {
    name: String,
    text: String,
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text.trim() {
            "" => write!(f, "<{}>", self.name),
            text => write!(f, "<{}> {text:?}", self.name),
        }
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, quick_xml::Error> {
    for attribute in tag.attributes() {
        let attribute = attribute?;
        if attribute.key.as_ref() == name {
            return attribute.normalized_value(XmlVersion::Implicit1_0).map(|value| Some(value.into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(url: &str, parameters: &[(&str, &str)]) -> Result<Answer, TwimlError> {
        let parameters = parameters.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Ok(Answer::Stream { url: url.into(), parameters })
    }

    fn other(what: &str) -> Result<Answer, TwimlError> {
        Ok(Answer::Other(what.into()))
    }

    #[test]
    fn streams_are_found_with_their_parameters() {
        for (document, expected) in [
            (
                r#"<?xml version="1.0" encoding="UTF-8"?>
                <Response>
                    <Connect>
                        <Stream url="wss://your-domain.com/api/callbot/audio-stream" />
                    </Connect>
                </Response>"#,
                stream("wss://your-domain.com/api/callbot/audio-stream", &[]),
            ),
            (
                r#"<Response><Say>One moment.</Say><Connect action="/after"><Stream url=" ws://a/b?c=1&amp;d=2 ">
                <Parameter name="token" value="a&quot;b &lt;c&gt;"/><Parameter name="x" value=""></Parameter>
                </Stream></Connect><Hangup/></Response>"#,
                stream("ws://a/b?c=1&d=2", &[("token", "a\"b <c>"), ("x", "")]),
            ),
            (
                r#"<Response><Connect><Stream url='ws://first'/><Stream url='ws://second'/></Connect></Response>"#,
                stream("ws://first", &[]),
            ),
        ] {
            assert_eq!(read(document), expected, "{document}");
        }
    }

    #[test]
    fn anything_else_is_told_in_words() {
        for (document, expected) in [
            ("<Response/>", other("an empty <Response>, which hangs up")),
            ("<Response></Response>", other("an empty <Response>, which hangs up")),
            ("<Response><Reject reason='busy'/></Response>", other("<Reject>")),
            (
                "<Response><Say>We are closed.</Say><Hangup/></Response>",
                other("<Say> \"We are closed.\", then <Hangup>"),
            ),
            (
                "<Response><Start><Stream url='wss://a'/></Start><Dial>+15005550006</Dial></Response>",
                other("<Start>, then <Dial> \"+15005550006\""),
            ),
            ("<Response><Stream url='wss://a'/></Response>", other("<Stream>")),
            ("<Response><Say>A &amp; B &#33;</Say></Response>", other("<Say> \"A & B !\"")),
        ] {
            assert_eq!(read(document), expected, "{document}");
        }
    }

    #[test]
    fn broken_documents_are_errors_that_say_where() {
        assert_eq!(read("<html><body/></html>"), Err(TwimlError::NotResponse("html".into())));
        assert_eq!(read("<Response><Connect><Stream/></Connect></Response>"), Err(TwimlError::NoUrl));
        for document in [
            "<Response><Connect></Response>",
            "<Response",
            "<Response>",
            "<Response><Connect><Stream url=></Response>",
        ] {
            assert!(
                matches!(read(document), Err(TwimlError::NotXml { .. })),
                "{document}: {:?}",
                read(document)
            );
        }
        assert_eq!(read("not found"), Err(TwimlError::NoXml));
        assert_eq!(read(""), Err(TwimlError::NoXml));
    }
}
