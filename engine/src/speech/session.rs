//! One call's recogniser, agent and voice, on a speech thread.

use std::sync::Arc;

use super::link::{Answer, Request, SessionEnd};
use super::render::Renderer;
use super::{SpeechToText, TextToSpeech};
use crate::agent::{Agent, AgentAction};
use crate::call::{Prompt, TurnId, UtteranceId};

/// Requests taken per round, so that one session cannot hold up the others.
const REQUESTS_PER_ROUND: usize = 32;

pub(crate) struct Session {
    link: SessionEnd,
    recogniser: Box<dyn SpeechToText>,
    agent: Box<dyn Agent>,
    voice: Arc<dyn TextToSpeech>,
    /// The utterance that the recogniser is in.
    utterance: Option<UtteranceId>,
    /// The agent's latest turn.
    turn: Option<TurnId>,
    actions: Vec<AgentAction>,
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
        agent: Box<dyn Agent>,
        voice: Arc<dyn TextToSpeech>,
    ) -> Self {
        Self { link, recogniser, agent, voice, utterance: None, turn: None, actions: Vec::new() }
    }

    /// Works off what is waiting, up to a bound.
    pub(super) fn round(&mut self, renderer: &mut Renderer) -> Round {
        if !self.link.settle() {
            return if self.link.is_over() { Round::Over } else { Round::Blocked };
        }
        for done in 0..REQUESTS_PER_ROUND {
            let Some(request) = self.link.next_request() else {
                return match done {
                    _ if self.link.is_over() => Round::Over,
                    0 => Round::Idle,
                    _ => Round::Worked,
                };
            };
            self.work(request, renderer);
            self.link.settle();
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
            Request::AskAgent { turn, prompt } => self.ask(turn, &prompt),
            Request::CancelAgent { turn } => {
                if self.turn.take_if(|latest| *latest == turn).is_some() {
                    self.agent.forget_last();
                }
            }
            Request::AgentHeard { turn, text } => {
                if self.turn == Some(turn) {
                    self.agent.was_cut(&text);
                }
            }
            Request::Synthesize { utterance, text } => self.speak(utterance, &text, renderer),
        }
    }

    fn ask(&mut self, turn: TurnId, prompt: &Prompt) {
        self.turn = Some(turn);
        let then = self.agent.answer(prompt, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                AgentAction::Say(text) => self.link.send(Answer::Says { turn, text }),
                AgentAction::Record { key, value } => self.link.send(Answer::Records { key, value }),
                AgentAction::Expect(expectation) => self.recogniser.expect(&expectation),
            }
        }
        self.link.send(Answer::Done { turn, then });
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
            self.link.send(Answer::Failed { turn });
            self.link.settle();
        }
    }
}
