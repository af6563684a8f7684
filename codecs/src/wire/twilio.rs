//! Twilio Media Streams.
