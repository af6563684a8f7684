//! A call's journal in memory, without the writer's thread: for tests that run calls again.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::append::Appender;
use super::format::{Header, encode_chunk, encode_header};
use super::read::Journal;
use super::write::Message;
use crate::call::{CallSettings, CallTime, EndReason, Input, Output, Outputs};

/// Records a call as a media thread does, through the same [`Appender`].
pub(crate) struct Tape {
    appender: Appender,
    inbox: Receiver<Message>,
    file: Vec<u8>,
    block: Vec<u8>,
}

impl Tape {
    /// An empty journal of a call with these settings.
    pub(crate) fn new(settings: &CallSettings) -> Self {
        let (messages, inbox) = bounded(4);
        // No spare comes back: each chunk is a new one.
        let (_, spares) = bounded(1);
        let header = Header { call: "CA1".into(), started_unix_us: 0, settings: settings.clone() };
        Self {
            appender: Appender::new(0, messages, spares, Arc::default()),
            inbox,
            file: encode_header(&header).expect("settings can be written"),
            block: Vec::new(),
        }
    }

    pub(crate) fn input(&mut self, at: CallTime, input: &Input<'_>) {
        self.appender.input(at, input);
        self.collect();
    }

    pub(crate) fn output(&mut self, at: CallTime, output: &Output, outputs: &Outputs) {
        self.appender.output(at, output, outputs);
        if self.appender.due(at) {
            self.appender.hand_over(at);
        }
        self.collect();
    }

    /// The journal, complete.
    pub(crate) fn finish(mut self, at: CallTime, reason: EndReason) -> Journal {
        assert!(self.appender.finish(at, reason), "there is room for the end");
        self.collect();
        assert_eq!(self.appender.lost(), 0, "nothing was lost on the way");
        Journal::parse(self.file).expect("what was written can be read")
    }

    fn collect(&mut self) {
        for message in self.inbox.try_iter() {
            if let Message::Chunk(chunk) = message {
                encode_chunk(chunk.records(), &chunk.audio, &mut self.block);
                self.file.extend(&self.block);
            }
        }
    }
}
