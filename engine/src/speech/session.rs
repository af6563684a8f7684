//! One call's recogniser, agent and voice, on a speech thread.

use std::sync::Arc;

use super::link::{Answer, Request, SessionEnd};
use super::mind::{Mind, Piece, What};
use super::render::Renderer;
use super::{SpeechToText, TextToSpeech};
use crate::agent::AgentAction;
use crate::call::{NoAnswer, TurnId, UtteranceId};

/// Requests taken per round, so that one session cannot hold up the others.
const REQUESTS_PER_ROUND: usize = 32;

pub(crate) struct Session {
    link: SessionEnd,
    recogniser: Box<dyn SpeechToText>,
    mind: Mind,
    voice: Arc<dyn TextToSpeech>,
    /// The utterance that the recogniser is in.
    utterance: Option<UtteranceId>,
    /// The agent's latest turn.
    turn: Option<TurnId>,
}

/// What a round of work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// There was nothing to do.
    Idle,
    /// Something was done; more may be waiting.
    Worked,
    /// Answers wait for room.
    Blocked,
    /// The call is over.
    Over,
}

impl Session {
    pub(crate) fn new(
        link: SessionEnd,
        recogniser: Box<dyn SpeechToText>,
        mind: Mind,
        voice: Arc<dyn TextToSpeech>,
    ) -> Self {
        Self { link, recogniser, mind, voice, utterance: None, turn: None }
    }

    /// Works off what is waiting, up to a bound.
    pub(super) fn round(&mut self, renderer: &mut Renderer) -> Round {
        if !self.link.settle() {
            return if self.link.is_over() { Round::Over } else { Round::Blocked };
        }
        self.take_answers();
        for _ in 0..REQUESTS_PER_ROUND {
            let has_room = self.link.settle();
            let Some(request) = self.link.next_request() else {
                return match has_room {
                    _ if self.link.is_over() => Round::Over,
                    true => Round::Idle,
                    false => Round::Blocked,
                };
            };
            self.work(request, renderer);
            self.take_answers();
        }
        Round::Worked
    }

    fn work(&mut self, request: Request, renderer: &mut Renderer) {
        match request {
            Request::UtteranceStarted(utterance) => {
                self.utterance = Some(utterance);
                self.recogniser.start();
            }
            Request::Audio { len, ulaw } => {
                if let Some(utterance) = self.utterance
                    && let Some(transcript) = self.recogniser.audio(&ulaw[..usize::from(len)])
                {
                    let text = transcript.text;
                    self.link.send(Answer::Transcript { utterance, text, is_final: false });
                }
            }
            Request::UtteranceEnded { utterance, speech_ms } => {
                if self.utterance.take() == Some(utterance) {
                    let text = self.recogniser.end(speech_ms).text;
                    self.link.send(Answer::Transcript { utterance, text, is_final: true });
                }
            }
            Request::AskAgent { turn, prompt } => {
                self.turn = Some(turn);
                self.mind.ask(turn, prompt);
            }
            Request::CancelAgent { turn } => {
                if self.turn.take_if(|latest| *latest == turn).is_some() {
                    self.mind.forget_last(turn);
                }
            }
            Request::AgentHeard { turn, text } => {
                if self.turn == Some(turn) {
                    self.mind.was_cut(turn, text);
                }
            }
            Request::Synthesize { utterance, text } => self.speak(utterance, &text, renderer),
        }
    }

    /// Passes on what the agent answered. True if that was anything.
    fn take_answers(&mut self) -> bool {
        let mut any = false;
        while let Some(Piece { turn, what }) = self.mind.next_piece() {
            any = true;
            match what {
                What::Did(AgentAction::Say(text)) => self.link.send(Answer::Says { turn, text }),
                What::Did(AgentAction::Record { key, value }) => {
                    self.link.send(Answer::Records { key, value })
                }
                What::Did(AgentAction::Expect(expectation)) => self.recogniser.expect(&expectation),
                What::Done(then) => self.link.send(Answer::Done { turn, then }),
                What::Failed(why) => self.link.send(Answer::Failed { turn, why }),
            }
        }
        if any {
            self.link.settle();
        }
        any
    }

    fn speak(&mut self, utterance: UtteranceId, text: &str, renderer: &mut Renderer) {
        let link = &mut self.link;
        let spoken = renderer.speak(&self.voice, text, &mut |audio| {
            link.send(Answer::Audio { utterance, audio });
            // The first piece goes out while the voice speaks on.
            link.settle();
        });
        let (failed, words) = match spoken {
            Ok(words) => (false, words),
            Err(error) => {
                tracing::warn!(%error, "the voice failed");
                (true, Arc::from([]))
            }
        };
        self.link.send(Answer::AudioEnd { utterance, failed, words });
    }

    /// Something in this session broke: the call is told that its agent is gone.
    pub(super) fn fail(&mut self) {
        if let Some(turn) = self.turn {
            self.link.send(Answer::Failed { turn, why: NoAnswer::Panicked });
            self.link.settle();
        }
    }
}
