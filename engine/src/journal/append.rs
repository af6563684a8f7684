//! The media thread's side of a journal: records into a chunk, chunks to the writer thread.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::format::{InputRecord, OutputRecord, Record, Stamped};
use super::write::Message;
use crate::call::{CallTime, EndReason, EventKind, Input, Output, Outputs};
use crate::measure::{Counts, bump};
use crate::prefetch::{Prefetch, prefetch};

/// Room for the records of one chunk, in bytes: 0.7 s of a listening call, half of that of a speaking one. Each call has
/// one, so this is memory that every call costs; and each costs the writer a write: with a third less, the writer takes a sixth more.
const RECORDS_BYTES: usize = 6 * 1024;
/// The most that one record may grow a chunk to, in bytes: far beyond what a leg lets through.
const RECORDS_BYTES_MAX: usize = 1024 * 1024;
/// Room for the pieces of agent audio that came in with one chunk, and for those that were played.
const PIECES: usize = 16;
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
    pub(super) fn new() -> Self {
        Self {
            call: 0,
            bytes: vec![0; RECORDS_BYTES],
            filled: 0,
            count: 0,
            audio: Vec::with_capacity(PIECES),
            spent: Vec::with_capacity(PIECES),
        }
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
            self.bytes.resize((self.bytes.len() * 2).min(RECORDS_BYTES_MAX), 0);
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
    /// Kept by value: what a record needs of it should not be a second place in memory.
    chunk: Option<Chunk>,
    messages: Sender<Message>,
    spares: Receiver<Chunk>,
    /// The moment of the latest record.
    latest: CallTime,
    /// When the chunk should go, if it holds anything.
    due: CallTime,
    counts: Arc<Counts>,
    /// Records dropped since the call began.
    lost: u64,
    /// True if the journal does not say so yet.
    loss_untold: bool,
    ended: bool,
    finished: bool,
}

/// Room of a chunk that the records of a frame need, both ways.
const FRAME_BYTES: usize = 256;

impl Prefetch for Appender {
    fn prefetch(&mut self) {
        if let Some(chunk) = &self.chunk {
            let end = chunk.bytes.len().min(chunk.filled + FRAME_BYTES);
            prefetch(&chunk.bytes[chunk.filled..end]);
        }
    }
}

impl Appender {
    pub(super) fn new(
        call: CallKey,
        messages: Sender<Message>,
        spares: Receiver<Chunk>,
        counts: Arc<Counts>,
    ) -> Self {
        let mut appender = Self {
            call,
            chunk: None,
            messages,
            spares,
            latest: CallTime::ZERO,
            due: CallTime::ZERO + PERIOD,
            counts,
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
            Input::AgentAudio { audio, .. } | Input::AgentSpeaks { audio, .. } => Some(audio),
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
                bump(&self.counts.journal_refused_chunks, 1);
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
            self.lose(1);
        }
    }

    fn lose(&mut self, records: u64) {
        self.lost += records;
        self.loss_untold |= records > 0;
        bump(&self.counts.journal_lost_records, records);
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
        self.lose(dropped);
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

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::super::format::{BLOCK_HEAD_BYTES, Entries, encode_chunk};
    use super::*;
    use crate::call::{Event, Media, UtteranceId};

    /// An appender whose way to the writer holds `room` chunks, with no spare ones.
    fn appender(room: usize) -> (Appender, Receiver<Message>) {
        let (messages, inbox) = bounded(room);
        let (_, spares) = bounded(1);
        (Appender::new(5, messages, spares, Arc::default()), inbox)
    }

    fn media(payload: &[u8]) -> Input<'_> {
        Input::Media(Media { chunk: Some(1), timestamp_ms: Some(20), payload })
    }

    fn at_ms(ms: u64) -> CallTime {
        CallTime::from_millis(ms)
    }

    /// How many inputs the chunks hold that wait for the writer, and the losses that they tell of.
    fn received(inbox: &Receiver<Message>) -> (u64, Vec<u64>) {
        let (mut inputs, mut losses, mut block) = (0, Vec::new(), Vec::new());
        for message in inbox.try_iter() {
            let Message::Chunk(chunk) = message else { panic!("only chunks come from an appender") };
            assert_eq!(chunk.call, 5);
            encode_chunk(chunk.records(), &chunk.audio, &mut block);
            for entry in Entries::of(&block[BLOCK_HEAD_BYTES..]).unwrap() {
                match entry.unwrap().record {
                    Record::Input(_) => inputs += 1,
                    Record::Lost { records } => losses.push(records),
                    _ => {}
                }
            }
        }
        (inputs, losses)
    }

    #[test]
    fn chunk_is_due_once_a_second() {
        let (mut appender, inbox) = appender(8);
        assert_eq!(appender.next_due(), None);
        appender.input(at_ms(20), &media(&[0; 160]));
        assert_eq!(appender.next_due(), Some(at_ms(1_000)));
        assert!(!appender.due(at_ms(999)));
        assert!(appender.due(at_ms(1_000)));
        appender.hand_over(at_ms(1_000));
        assert!(!appender.due(at_ms(1_100)));
        appender.input(at_ms(1_100), &media(&[0; 160]));
        assert_eq!(appender.next_due(), Some(at_ms(2_000)));
        assert_eq!(received(&inbox), (1, vec![]));
    }

    #[test]
    fn turn_is_due_at_once_and_a_sound_is_not() {
        let (mut appender, _inbox) = appender(8);
        let event = |kind| Output::Event(Event { at: at_ms(40), kind });
        let outputs = Outputs::default();
        appender.output(at_ms(40), &event(EventKind::SpeechStarted { utterance: UtteranceId(1) }), &outputs);
        assert!(!appender.due(at_ms(40)));
        appender.output(at_ms(40), &event(EventKind::Ended { reason: EndReason::Operator }), &outputs);
        assert!(appender.due(at_ms(40)));
    }

    #[test]
    fn burst_larger_than_a_chunk_loses_nothing() {
        let (mut appender, inbox) = appender(64);
        for _ in 0..1_000 {
            appender.input(at_ms(20), &media(&[7; 160]));
        }
        appender.hand_over(at_ms(20));
        assert_eq!(received(&inbox), (1_000, vec![]));
        assert_eq!(appender.lost(), 0);
    }

    #[test]
    fn record_larger_than_a_chunk_grows_one() {
        let (mut appender, inbox) = appender(8);
        appender.input(at_ms(20), &media(&[7; 160]));
        appender.input(at_ms(20), &media(&[7; 5 * RECORDS_BYTES]));
        appender.input(at_ms(20), &media(&[7; 160]));
        appender.hand_over(at_ms(20));
        assert_eq!(received(&inbox), (3, vec![]));
    }

    #[test]
    fn record_larger_than_any_chunk_is_counted_as_lost() {
        let (mut appender, inbox) = appender(8);
        appender.input(at_ms(20), &media(&vec![7; RECORDS_BYTES_MAX + 1]));
        appender.input(at_ms(40), &media(&[7; 160]));
        appender.hand_over(at_ms(40));
        assert_eq!(received(&inbox), (1, vec![1]));
    }

    #[test]
    fn full_way_keeps_one_chunk_then_drops_counts_and_says_so() {
        let (mut appender, inbox) = appender(1);
        appender.input(at_ms(20), &media(&[7; 160]));
        appender.hand_over(at_ms(20));
        appender.input(at_ms(40), &media(&[7; 160]));
        appender.hand_over(at_ms(40));
        assert_eq!(appender.next_due(), Some(at_ms(140)), "tried again soon");
        assert_eq!(appender.lost(), 0);
        let mut sent = 2;
        while appender.lost() == 0 {
            appender.input(at_ms(60), &media(&[7; 160]));
            sent += 1;
        }
        assert_eq!(received(&inbox), (1, vec![]));
        appender.input(at_ms(80), &media(&[7; 160]));
        sent += 1;
        appender.hand_over(at_ms(80));
        let lost = appender.lost();
        assert_eq!(received(&inbox), (sent - 1 - lost, vec![lost]));
        assert!(lost > 20, "a whole chunk: {lost}");
    }

    #[test]
    fn end_waits_for_room_and_is_written_once() {
        let (mut appender, inbox) = appender(1);
        appender.input(at_ms(20), &media(&[7; 160]));
        appender.hand_over(at_ms(20));
        assert!(!appender.finish(at_ms(40), EndReason::CallerHangup));
        assert!(!appender.finish(at_ms(60), EndReason::CallerHangup));
        assert_eq!(received(&inbox), (1, vec![]));
        assert!(appender.finish(at_ms(80), EndReason::CallerHangup));
        let Ok(Message::Chunk(chunk)) = inbox.try_recv() else { panic!("a chunk") };
        let stamped: Stamped<'_> = postcard::from_bytes(chunk.records()).unwrap();
        assert_eq!(
            stamped,
            Stamped { at: at_ms(40), record: Record::End { reason: EndReason::CallerHangup } }
        );
        drop(appender);
        assert!(inbox.try_recv().is_err());
    }

    #[test]
    fn appender_dropped_unfinished_ends_as_a_fault_of_the_engine() {
        let (mut appender, inbox) = appender(1);
        appender.input(at_ms(20), &Input::Tick);
        drop(appender);
        let Ok(Message::Chunk(chunk)) = inbox.try_recv() else { panic!("a chunk") };
        let (_, rest) = postcard::take_from_bytes::<Stamped<'_>>(chunk.records()).unwrap();
        let stamped: Stamped<'_> = postcard::from_bytes(rest).unwrap();
        assert_eq!(stamped.record, Record::End { reason: EndReason::EngineFault });
    }

    #[test]
    fn without_a_writer_nothing_is_waited_for() {
        let (mut appender, inbox) = appender(1);
        drop(inbox);
        appender.input(at_ms(20), &media(&[7; 160]));
        appender.hand_over(at_ms(20));
        assert!(appender.finish(at_ms(40), EndReason::Shutdown));
    }

    #[test]
    fn spent_audio_goes_where_it_may_be_freed() {
        let (mut appender, inbox) = appender(8);
        let audio: Arc<[u8]> = Arc::from([1u8; 160]);
        for _ in 0..PIECES + 1 {
            appender.spent(audio.clone());
        }
        appender.hand_over(at_ms(20));
        assert_eq!(Arc::strong_count(&audio), PIECES + 2);
        assert_eq!(inbox.try_iter().count(), 2);
        assert_eq!(Arc::strong_count(&audio), 1);
    }
}
