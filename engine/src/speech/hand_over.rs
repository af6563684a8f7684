//! Both ends of a call's rings in one hand, for who wants to know what it costs to cross them.

use std::sync::Arc;
use std::time::Instant;

use super::bell::{AUDIO_PERIOD, Bell, List, list};
use super::link::{Answer, CallEnd, Request, SessionEnd, link};
use crate::call::UtteranceId;

/// A call's rings and bell, as a media thread and a speech thread hold them; nobody sleeps, so nobody is woken.
pub struct HandOver {
    call: CallEnd,
    session: SessionEnd,
    bell: Bell,
    list: List,
    /// A later moment with each hand-over, so that audio is always due.
    now: Instant,
}

impl std::fmt::Debug for HandOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandOver").finish_non_exhaustive()
    }
}

impl HandOver {
    /// Empty rings. `now`: any moment.
    pub fn new(now: Instant) -> Self {
        let (foundry, list) = list(now);
        let bell = foundry.bell(1, std::thread::current());
        let (call, session) = link(bell.clone(), Box::new(|| {}));
        Self { call, session, bell, list, now }
    }

    /// Sends audio of the caller, rings, and takes it out at the other end: how many bytes arrived. `take` gets them.
    pub fn to_session(&mut self, ulaw: &[u8], mut take: impl FnMut(&[u8])) -> usize {
        self.call.send_audio(ulaw);
        self.now += AUDIO_PERIOD;
        self.call.settle(self.now);
        let mut arrived = 0;
        for _ in self.list.due_audio() {
            self.bell.answer();
            while let Some(request) = self.session.next_request() {
                if let Request::Audio { len, ulaw } = request {
                    take(&ulaw[..usize::from(len)]);
                    arrived += usize::from(len);
                }
            }
        }
        arrived
    }

    /// Sends audio of the agent and takes it out at the other end: how many bytes arrived.
    pub fn to_call(&mut self, audio: &Arc<[u8]>) -> usize {
        self.session.send(Answer::Audio {
            utterance: UtteranceId(1),
            audio: Arc::clone(audio),
            words: Box::default(),
        });
        self.session.settle();
        let mut arrived = 0;
        while let Some(answer) = self.call.next_answer() {
            if let Answer::Audio { audio, .. } = answer {
                arrived += audio.len();
            }
        }
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_goes_in_comes_out() {
        let mut rings = HandOver::new(crate::media::now());
        let mut got = Vec::new();
        for n in 0..200u8 {
            assert_eq!(rings.to_session(&[n; 160], |ulaw| got.extend_from_slice(ulaw)), 160);
            assert_eq!(rings.to_call(&Arc::from([n; 320])), 320);
        }
        assert!(got.chunks(160).enumerate().all(|(n, frame)| frame == [n as u8; 160]));
    }
}
