//! One request per text: `stream/with-timestamps`, JSON objects one after the other. To drop the future closes the connection.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use offhook_engine::call::{Failure, WordStart};
use serde_json::{Value, json};

use super::{Client, KEY, either};
use crate::integrations::contexts::samples;
use crate::integrations::http::told;
use crate::integrations::refusal::{of_http, reached, refusal};
use crate::integrations::vendor::{Spoken, VendorError, VoiceLine};
use crate::integrations::words::Words;

/// An object is no longer than this: four minutes of audio.
const OBJECT_MAX: usize = 4 * 1024 * 1024;

/// A call's side of it.
pub(super) struct Line(pub(super) Arc<Client>);

impl VoiceLine for Line {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        // Its connection is kept for the first text.
        async { reached(self.0.check().await) }.boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        self.0.stream(text, spoken).boxed()
    }
}

impl Client {
    async fn stream(&self, text: &str, spoken: &mut (dyn FnMut(Spoken) + Send)) -> Result<(), VendorError> {
        let options = &self.options;
        let mut body = json!({"text": text, "model_id": options.model});
        if let Some(language) = &options.language {
            body["language_code"] = language.as_str().into();
        }
        let settings = self.voice_settings();
        if !settings.is_null() {
            body["voice_settings"] = settings;
        }
        let path = format!("/v1/text-to-speech/{}/stream/with-timestamps", options.voice);
        let request = Request::post(format!("{}?output_format=ulaw_8000", options.base.of(&path)))
            .header(KEY, self.key.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a checked base and a checked voice are a URL");
        let response = self.http.open(request).await.map_err(|error| of_http(&error))?;
        if !response.status().is_success() {
            let (status, headers, body) = refusal(response).await;
            return Err(self.refused(status, &headers, &body));
        }
        let mut objects = Objects::default();
        let mut places = Places { words: Words::of(text), samples: 0, latest: 0 };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|broken| VendorError::new(Failure::BrokenOff, told(&broken)))?;
            for object in objects.take(&frame.into_data().unwrap_or_default())? {
                let piece = places.place(&object)?;
                if !piece.ulaw.is_empty() || !piece.words.is_empty() {
                    spoken(piece);
                }
            }
        }
        objects.finish()
    }
}

/// JSON objects, one after the other, in any split.
#[derive(Default)]
struct Objects(Vec<u8>);

impl Objects {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Value>, VendorError> {
        self.0.extend_from_slice(bytes);
        let mut objects = Vec::new();
        let mut reader = serde_json::Deserializer::from_slice(&self.0).into_iter::<Value>();
        loop {
            match reader.next() {
                Some(Ok(object @ Value::Object(_))) => objects.push(object),
                Some(Err(error)) if error.is_eof() => break,
                Some(_) => return Err(VendorError::new(Failure::Malformed, "an answer that is no JSON")),
                None => break,
            }
        }
        let taken = reader.byte_offset();
        self.0.drain(..taken);
        if self.0.len() > OBJECT_MAX {
            return Err(VendorError::new(Failure::Malformed, "an answer without an end"));
        }
        Ok(objects)
    }

    fn finish(&self) -> Result<(), VendorError> {
        match self.0.iter().all(u8::is_ascii_whitespace) {
            true => Ok(()),
            false => Err(VendorError::new(Failure::BrokenOff, "the answer ended in an object")),
        }
    }
}

/// Where the words of a text are in its audio.
struct Places<'a> {
    words: Words<'a>,
    samples: u32,
    /// Where the latest character began.
    latest: u32,
}

impl Places<'_> {
    fn place(&mut self, object: &Value) -> Result<Spoken, VendorError> {
        let audio = either(object, ["audio_base64", "audio"]).as_str().unwrap_or_default();
        let ulaw = STANDARD
            .decode(audio)
            .map_err(|_| VendorError::new(Failure::Malformed, "audio that is no base64"))?;
        let alignment = &object["alignment"];
        let characters = either(alignment, ["characters", "chars"]).as_array();
        let starts = alignment["character_start_times_seconds"].as_array();
        let mut words: Vec<WordStart> = Vec::new();
        if let (Some(characters), Some(starts)) = (characters, starts) {
            let starts: Vec<u32> =
                starts.iter().map(|start| samples(start.as_f64().unwrap_or(0.0))).collect();
            // From the beginning of the audio, or, where they begin anew, of this piece.
            let begin_anew = starts.first().is_some_and(|&first| first < self.latest);
            let base = if begin_anew { self.samples } else { 0 };
            for (character, start) in characters.iter().zip(starts) {
                self.latest = self.latest.max(base + start);
                words.extend(self.words.character(character.as_str().unwrap_or_default(), base + start));
            }
        }
        self.samples += ulaw.len() as u32;
        Ok(Spoken { ulaw, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_taken_out_of_any_split() {
        let bytes = "{\"a\":\"é}\"}\n{\"b\":{}} {\"c\":1}\n".as_bytes();
        for by in 1..bytes.len() {
            let mut objects = Objects::default();
            let got: Vec<Value> = bytes.chunks(by).flat_map(|piece| objects.take(piece).unwrap()).collect();
            assert_eq!(got, [json!({"a": "é}"}), json!({"b": {}}), json!({"c": 1})], "{by}");
            assert_eq!(objects.finish(), Ok(()));
        }
        let mut cut = Objects::default();
        assert!(cut.take(b"{\"a\":").unwrap().is_empty() && cut.finish().is_err());
        assert!(Objects::default().take(b"<html>").is_err());
        assert!(Objects::default().take(b"[1]").is_err());
    }

    #[test]
    fn times_may_begin_anew_with_every_piece() {
        let piece = |chars: &[&str], starts: &[f64]| {
            let audio = STANDARD.encode(vec![0xff; 800 * chars.len()]);
            json!({"audio_base64": audio, "alignment": {
                "characters": chars, "character_start_times_seconds": starts,
            }})
        };
        for starts in [[0.2, 0.3], [0.0, 0.1]] {
            let mut places = Places { words: Words::of("a b c"), samples: 0, latest: 0 };
            let first = places.place(&piece(&["a", " "], &[0.0, 0.1])).unwrap();
            let second = places.place(&piece(&["b", " "], &starts)).unwrap();
            let words = [first.words, second.words].concat();
            let places =
                [WordStart { text_offset: 0, sample: 0 }, WordStart { text_offset: 2, sample: 1_600 }];
            assert_eq!(words, places, "{starts:?}");
        }
    }
}
