//! What a carrier is told to do with a call: TwiML.

use std::fmt::Write;

/// Connect the call to the media socket at `url`, and say these parameters there. `after`: where to ask what to do once that is
/// over; none: hang up then.
pub fn stream(url: &str, after: Option<&str>, parameters: &[(&str, &str)]) -> String {
    let mut inside = String::new();
    for (name, value) in parameters {
        let (name, value) = (escaped(name), escaped(value));
        // Writing to a String cannot fail.
        let _ = writeln!(inside, r#"            <Parameter name="{name}" value="{value}" />"#);
    }
    let action = after.map(|url| format!(" action=\"{}\" method=\"POST\"", escaped(url))).unwrap_or_default();
    response(&format!(
        "    <Connect{action}>\n        <Stream url=\"{}\">\n{inside}        </Stream>\n    </Connect>\n",
        escaped(url)
    ))
}

/// Say a sentence, and hang up.
pub fn say_and_hang_up(sentence: &str) -> String {
    response(&format!("    <Say>{}</Say>\n    <Hangup/>\n", escaped(sentence)))
}

/// Have somebody else go on with the call.
pub fn dial(number: &str) -> String {
    response(&format!("    <Dial>{}</Dial>\n", escaped(number)))
}

/// Hang up.
pub fn hang_up() -> String {
    response("    <Hangup/>\n")
}

/// Ask on at another URL.
pub fn redirect(url: &str) -> String {
    response(&format!("    <Redirect method=\"POST\">{}</Redirect>\n", escaped(url)))
}

fn response(inside: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n{inside}</Response>\n")
}

/// As it may stand in an element, or between the quotes of an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 has no other control characters, not even written as numbers.
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", character as u32);
            }
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carrier_is_told_what_the_contract_shows_and_a_token() {
        assert_eq!(
            stream("wss://your-domain.com/api/callbot/audio-stream", None, &[("token", "t")]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n    <Connect>\n        \
             <Stream url=\"wss://your-domain.com/api/callbot/audio-stream\">\n            \
             <Parameter name=\"token\" value=\"t\" />\n        </Stream>\n    </Connect>\n</Response>\n"
        );
    }

    #[test]
    fn a_refused_call_hears_a_sentence_or_is_sent_on() {
        let text = say_and_hang_up("Sorry, \"no\" & no.");
        assert!(text.contains("<Say>Sorry, &quot;no&quot; &amp; no.</Say>\n    <Hangup/>"), "{text}");
        assert!(redirect("https://b.example/voice?a=1&b=2").contains("/voice?a=1&amp;b=2</Redirect>"));
    }

    #[test]
    fn a_call_that_may_go_on_says_where_to_ask_and_goes_on_or_ends() {
        let text = stream("wss://a/b", Some("https://a/after?x=1&y=2"), &[]);
        assert!(text.contains("<Connect action=\"https://a/after?x=1&amp;y=2\" method=\"POST\">"), "{text}");
        assert!(dial("+15005550006").contains("<Dial>+15005550006</Dial>"));
        assert!(hang_up().contains("<Response>\n    <Hangup/>\n</Response>"));
    }

    #[test]
    fn nothing_gets_out_of_an_attribute() {
        assert_eq!(escaped("a\"b'c<d>e&f"), "a&quot;b&apos;c&lt;d&gt;e&amp;f");
        assert_eq!(escaped("a\u{1}b\nc"), "a\u{fffd}b&#10;c");
        assert_eq!(escaped("Zoë"), "Zoë");
    }
}
