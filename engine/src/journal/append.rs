//! The media thread's side of a journal: records into a chunk, chunks to the writer thread.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::format::{InputRecord, OutputRecord, Record, Stamped};
use super::write::Message;
use crate::call::{CallTime, EndReason, EventKind, Input, Output, Outputs};

/// Room for the records of one chunk, in bytes: two seconds of a listening call, one of a speaking one.
const RECORDS_BYTES: usize = 16 * 1024;
/// The most that one record may grow a chunk to, in bytes: far beyond what a leg lets through.
const RECORDS_BYTES_MAX: usize = 1024 * 1024;
/// Room for the pieces of agent audio that came in with one chunk, and for those that were played.
const PIECES: usize = 64;
/// How long a chunk stays with the media thread, if nothing in it is urgent.
const PERIOD: Duration = Duration::from_secs(1);
/// How soon to try again after the writer had no room.
const RETRY: Duration = Duration::from_millis(100);

/// Names a call between its appender and the writer.
pub(super) type CallKey = u64;

/// A run of records on its way to the writer thread.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) call: CallKey,
    /// As long as its capacity; the first `filled` bytes are records.
    bytes: Vec<u8>,
    filled: usize,
    /// How many records it holds, without those that tell of a loss.
    count: u64,
    /// What the records of agent audio speak of, in order. Shared with the call, so that nothing is copied here.
    pub(super) audio: Vec<Arc<[u8]>>,
    /// Audio that the call is done with. It rides along to be freed where freeing hurts nobody.
    pub(super) spent: Vec<Arc<[u8]>>,
}

impl Chunk {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            call: 0,
            bytes: vec![0; RECORDS_BYTES],
            filled: 0,
            count: 0,
            audio: Vec::with_capacity(PIECES),
            spent: Vec::with_capacity(PIECES),
        })
    }

    /// The records in it, as they go to disk.
    pub(super) fn records(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Empties it for its next use, freeing what it holds. False if one large record grew it: not worth keeping.
    pub(super) fn recycle(&mut self) -> bool {
        self.spent.clear();
        self.forget_records();
        self.bytes.len() == RECORDS_BYTES
    }

    fn forget_records(&mut self) {
        self.audio.clear();
        self.filled = 0;
        self.count = 0;
    }

    fn is_empty(&self) -> bool {
        self.filled == 0 && self.spent.is_empty()
    }

    /// Adds a record if there is room for it.
    fn push(&mut self, stamped: &Stamped<'_>, audio: Option<&Arc<[u8]>>) -> bool {
        if audio.is_some() && self.audio.len() == self.audio.capacity() {
            return false;
        }
        match postcard::to_slice(stamped, &mut self.bytes[self.filled..]) {
            Ok(used) => self.filled += used.len(),
            Err(_) => return false,
        }
        self.audio.extend(audio.cloned());
        true
    }

    /// Adds a record to an empty chunk, growing it. False if no chunk could hold the record.
    fn push_large(&mut self, stamped: &Stamped<'_>, audio: Option<&Arc<[u8]>>) -> bool {
        while !self.push(stamped, audio) {
            if self.bytes.len() >= RECORDS_BYTES_MAX {
                return false;
            }
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        true
    }
}

/// Writes one call's journal, from the media thread that owns the call.
///
/// Recording neither allocates, locks, blocks nor calls the system: a record is encoded into a chunk that is there
/// already, and about once a second the chunk goes to the writer thread for an empty one. Memory is asked for only by a
/// record larger than a chunk, and when the writer is so far behind that all spare chunks are on their way to it.
///
/// The way to the writer is bounded, and never waited for. Full: the chunk stays here and goes on filling, to be tried
/// again; once it is full too, its records are dropped and counted, and the journal says how many.
#[derive(Debug)]
pub struct Appender {
    call: CallKey,
    chunk: Option<Box<Chunk>>,
    messages: Sender<Message>,
    spares: Receiver<Box<Chunk>>,
    /// The moment of the latest record.
    latest: CallTime,
    /// When the chunk should go, if it holds anything.
    due: CallTime,
    /// Records dropped since the call began.
    lost: u64,
    /// True if the journal does not say so yet.
    loss_untold: bool,
    ended: bool,
    finished: bool,
}

impl Appender {
    pub(super) fn new(call: CallKey, messages: Sender<Message>, spares: Receiver<Box<Chunk>>) -> Self {
        let mut appender = Self {
            call,
            chunk: None,
            messages,
            spares,
            latest: CallTime::ZERO,
            due: CallTime::ZERO + PERIOD,
            lost: 0,
            loss_untold: false,
            ended: false,
            finished: false,
        };
        appender.chunk();
        appender
    }

    /// Records that the call takes `input` at `at`. Call this before [`Call::handle`](crate::call::Call::handle).
    pub fn input(&mut self, at: CallTime, input: &Input<'_>) {
        let audio = match *input {
            Input::AgentAudio { audio, .. } => Some(audio),
            _ => None,
        };
        self.append(at, Record::Input(InputRecord::of(input)), audio);
    }

    /// Records that the call gave `output` at `at`, out of `outputs`.
    pub fn output(&mut self, at: CallTime, output: &Output, outputs: &Outputs) {
        self.append(at, Record::Output(OutputRecord::of(output, outputs)), None);
        if is_urgent(output) {
            self.due = at;
        }
    }

    /// Takes audio that the call is done with, to be freed on the writer thread.
    pub fn spent(&mut self, audio: Arc<[u8]>) {
        if self.chunk().spent.len() == PIECES {
            self.hand_over(self.latest);
        }
        let spent = &mut self.chunk().spent;
        // With the way to the writer full, freeing it here is the lesser evil.
        if spent.len() < PIECES {
            spent.push(audio);
        }
    }

    /// True if the chunk should be handed over at `now`: it is a second old, or holds what the store should have soon.
    pub fn due(&self, now: CallTime) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    /// From when on [`Appender::due`] is true; `None` if there is nothing to hand over.
    pub fn next_due(&self) -> Option<CallTime> {
        self.chunk.as_ref().filter(|chunk| !chunk.is_empty()).map(|_| self.due)
    }

    /// Hands the chunk over to the writer thread, if that has room for it. Costs no system call.
    pub fn hand_over(&mut self, now: CallTime) {
        self.due = now + PERIOD;
        let Some(chunk) = self.chunk.take_if(|chunk| !chunk.is_empty()) else { return };
        match self.messages.try_send(Message::Chunk(chunk)) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Chunk(chunk))) => {
                self.chunk = Some(chunk);
                self.due = now + RETRY;
            }
            // The writer is gone, and with it all who could want the records.
            Err(_) => self.finished = true,
        }
    }

    /// Records the end of the call and hands over what is left. False if the writer has no room: try again soon, with
    /// the same arguments. A call whose appender is dropped unfinished counts as ended by a fault of the engine.
    pub fn finish(&mut self, at: CallTime, reason: EndReason) -> bool {
        if !self.ended {
            self.append(at, Record::End { reason }, None);
            self.ended = true;
        }
        self.hand_over(at);
        self.finished |= self.chunk.is_none();
        self.finished
    }

    /// How many records had to be dropped so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn chunk(&mut self) -> &mut Chunk {
        self.chunk.get_or_insert_with(|| {
            let mut chunk = self.spares.try_recv().unwrap_or_else(|_| Chunk::new());
            chunk.call = self.call;
            chunk
        })
    }

    fn append(&mut self, at: CallTime, record: Record<'_>, audio: Option<&Arc<[u8]>>) {
        if self.ended {
            return;
        }
        self.latest = at;
        let stamped = Stamped { at, record };
        if self.push(&stamped, audio) {
            return;
        }
        self.hand_over(at);
        if self.push(&stamped, audio) {
            return;
        }
        self.drop_records();
        self.tell_loss();
        let chunk = self.chunk();
        if chunk.push_large(&stamped, audio) {
            chunk.count += 1;
        } else {
            self.lost += 1;
            self.loss_untold = true;
        }
    }

    fn push(&mut self, stamped: &Stamped<'_>, audio: Option<&Arc<[u8]>>) -> bool {
        self.tell_loss();
        let chunk = self.chunk();
        let fits = chunk.push(stamped, audio);
        chunk.count += u64::from(fits);
        fits
    }

    /// Drops what the chunk holds, unless it was handed over. Agent audio in it may be freed here: loss costs.
    fn drop_records(&mut self) {
        let chunk = self.chunk();
        let dropped = chunk.count;
        chunk.forget_records();
        self.lost += dropped;
        self.loss_untold |= dropped > 0;
    }

    fn tell_loss(&mut self) {
        if self.loss_untold {
            let stamped = Stamped { at: self.latest, record: Record::Lost { records: self.lost } };
            self.loss_untold = !self.chunk().push(&stamped, None);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if self.finished {
            self.hand_over(self.latest);
        } else {
            self.finish(self.latest, EndReason::EngineFault);
        }
    }
}

/// True for what a record of the call outside should have as it happens, so that a crash loses none of it.
fn is_urgent(output: &Output) -> bool {
    let Output::Event(event) = output else { return false };
    matches!(
        event.kind,
        EventKind::Started { .. }
            | EventKind::Final { .. }
            | EventKind::Recorded { .. }
            | EventKind::Turn(_)
            | EventKind::Ended { .. }
    )
}
