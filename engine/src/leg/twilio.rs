//! Twilio Media Streams as inputs of a call, and back.

use offhook_codecs::wire::{self, Message, WireError, twilio};

use crate::call::{Fault, Input, Media};
use crate::prefetch::{Prefetch, prefetch};

/// Room for a decoded payload: what a message of the largest size can hold. The largest that Offhook was asked to
/// survive is 60,000 bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = super::framing::MESSAGE_BYTES_MAX * 3 / 4;

/// What a connection knows of its stream.
#[derive(Debug, Default)]
pub(super) struct Twilio {
    /// The carrier's name for the stream; empty until it has begun.
    stream: String,
    next_sequence: Option<u32>,
}

/// What one message says.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    message: Result<Message<'a>, Fault>,
    payload: &'a [u8],
    out_of_sequence: Option<(u32, u32)>,
}

impl Prefetch for Twilio {
    fn prefetch(&mut self) {
        prefetch(self.stream.as_str());
    }
}

impl Twilio {
    pub(super) fn read<'a>(&mut self, text: &'a str, payload: &'a mut [u8]) -> Reading<'a> {
        let Ok(message) = twilio::parse(text) else {
            return Reading { message: Err(Fault::NotAMessage), payload: &[], out_of_sequence: None };
        };
        let out_of_sequence = self.check_sequence(message.sequence);
        let (message, payload) = self.judge(message, payload);
        Reading { message, payload, out_of_sequence }
    }

    fn judge<'a>(
        &mut self,
        message: Message<'a>,
        payload: &'a mut [u8],
    ) -> (Result<Message<'a>, Fault>, &'a [u8]) {
        let stream = message.stream.as_deref().unwrap_or_default();
        if let wire::Event::Start(_) = &message.event {
            if self.stream.is_empty() {
                self.stream.push_str(stream);
            }
        } else if !stream.is_empty() && !self.stream.is_empty() && stream != self.stream {
            return (Err(Fault::ForeignStream), &[]);
        }
        match &message.event {
            wire::Event::Media(media) if media.outbound_track => (Err(Fault::ForeignTrack), &[]),
            wire::Event::Media(media) => match twilio::decode_base64(&media.payload, payload) {
                Ok(bytes) => (Ok(message), &payload[..bytes]),
                Err(WireError::TooLarge { .. }) => (Err(Fault::TooLarge), &[]),
                Err(_) => (Err(Fault::NotBase64), &[]),
            },
            wire::Event::Unknown { .. } => (Err(Fault::UnknownEvent), &[]),
            _ => (Ok(message), &[]),
        }
    }

    /// The number that was due and the one that came, if they differ.
    fn check_sequence(&mut self, sequence: Option<u32>) -> Option<(u32, u32)> {
        let got = sequence?;
        let expected = self.next_sequence.replace(got.wrapping_add(1))?;
        (expected != got).then_some((expected, got))
    }

    pub(super) fn write_media(&self, out: &mut Vec<u8>, ulaw: &[u8]) {
        twilio::write_media(out, &self.stream, ulaw);
    }

    pub(super) fn write_mark(&self, out: &mut Vec<u8>, name: &str) {
        twilio::write_mark(out, &self.stream, name);
    }

    pub(super) fn write_clear(&self, out: &mut Vec<u8>) {
        twilio::write_clear(out, &self.stream);
    }

    /// Word of a fault, if the sender can do something about it.
    pub(super) fn word_of(fault: Fault) -> Option<Word> {
        let message = match fault {
            Fault::NotBase64 => "Failed to process audio chunk: the payload is not base64",
            Fault::TooLarge => "Failed to process audio chunk: the message is too large",
            Fault::ForeignFormat => "Failed to process audio: it must be audio/x-mulaw, 8000 Hz, 1 channel",
            Fault::MediaBeforeStart => "Failed to process audio chunk: it came before start",
            Fault::NotAMessage => "Failed to process a message: it is not a JSON object, or lacks a field",
            Fault::BinaryFrame => "Failed to process a binary frame: this stream is JSON in text frames",
            Fault::ForeignStream => "Failed to process a message: it names another stream",
            Fault::SecondStart => "Failed to process start: the stream has begun already",
            Fault::NotAKey => "Failed to process dtmf: no telephone has that key",
            Fault::Protocol => "Failed to read the stream: the bytes break the WebSocket protocol",
            // Carriers add events, and taps have two tracks: neither is a mistake.
            Fault::UnknownEvent | Fault::ForeignTrack => return None,
        };
        Some(Word { message, recoverable: fault != Fault::Protocol })
    }
}

/// Word of a message that could not be used.
pub(super) struct Word {
    message: &'static str,
    recoverable: bool,
}

impl Word {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        twilio::write_error(out, self.message, self.recoverable);
    }
}

impl Reading<'_> {
    /// The inputs that it stands for, in order.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let jump = self.out_of_sequence.map(|(expected, got)| Input::OutOfSequence { expected, got });
        [jump, self.input()].into_iter().flatten()
    }

    fn input(&self) -> Option<Input<'_>> {
        let message = match &self.message {
            Ok(message) => message,
            Err(fault) => return Some(Input::Fault(*fault)),
        };
        Some(match &message.event {
            wire::Event::Connected | wire::Event::Unknown { .. } => return None,
            wire::Event::Start(start) => Input::Start {
                stream: message.stream.as_deref().unwrap_or_default(),
                format_ok: start.format.encoding.eq_ignore_ascii_case("audio/x-mulaw")
                    && start.format.sample_rate_hz == 8_000
                    && start.format.channels == 1,
            },
            wire::Event::Media(media) => Input::Media(Media {
                chunk: media.chunk,
                timestamp_ms: media.timestamp_ms,
                payload: self.payload,
            }),
            wire::Event::Dtmf { digit } => Input::Dtmf { digit: *digit },
            wire::Event::Mark { name } => Input::Mark { name },
            wire::Event::Stop => Input::Stop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(twilio: &mut Twilio, text: &str) -> Vec<String> {
        let mut payload = vec![0; 1_000];
        twilio.read(text, &mut payload).inputs().map(|input| format!("{input:?}")).collect()
    }

    fn started() -> Twilio {
        let mut twilio = Twilio::default();
        let start = r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1",
            "streamSid":"MZ1","callSid":"CA1","tracks":["inbound"],"customParameters":{},
            "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#;
        assert_eq!(say(&mut twilio, start), [r#"Start { stream: "MZ1", format_ok: true }"#]);
        twilio
    }

    #[test]
    fn what_a_call_cannot_use_is_a_fault() {
        let media = |payload: &str, stream: &str| {
            format!(r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"{payload}"}}}}"#)
        };
        let cases = [
            ("no json".to_string(), "NotAMessage"),
            (r#"{"event":"media"}"#.to_string(), "NotAMessage"),
            (media("/w==", "MZ2"), "ForeignStream"),
            (media("!", "MZ1"), "NotBase64"),
            (media(&"AAAA".repeat(400), "MZ1"), "TooLarge"),
            (r#"{"event":"dance","streamSid":"MZ1"}"#.to_string(), "UnknownEvent"),
        ];
        for (text, fault) in cases {
            assert_eq!(say(&mut started(), &text), [format!("Fault({fault})")], "{text}");
        }
    }

    #[test]
    fn a_jump_in_the_count_comes_before_its_message() {
        let mut twilio = started();
        let mark = |n: u32| {
            format!(r#"{{"event":"mark","sequenceNumber":"{n}","streamSid":"MZ1","mark":{{"name":"m1"}}}}"#)
        };
        assert_eq!(say(&mut twilio, &mark(2)).len(), 1);
        assert_eq!(
            say(&mut twilio, &mark(7)),
            ["OutOfSequence { expected: 3, got: 7 }", r#"Mark { name: "m1" }"#]
        );
        assert_eq!(say(&mut twilio, &mark(8)).len(), 1, "the count goes on from where it jumped to");
    }

    #[test]
    fn a_second_start_keeps_the_first_name() {
        let mut twilio = started();
        let second = r#"{"event":"start","streamSid":"MZ2","start":{"streamSid":"MZ2","callSid":"CA1","accountSid":"A",
            "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#;
        say(&mut twilio, second);
        let mut out = Vec::new();
        twilio.write_clear(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"event":"clear","streamSid":"MZ1"}"#);
    }
}
