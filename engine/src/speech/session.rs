//! One call's recogniser, agent and voice, on a speech thread.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::apart::{Ears, EarsApart, Report, Voice, VoiceApart, reports};
use super::bell::Bell;
use super::dial::dial;
use super::link::{Answer, Request, SessionEnd, Switch};
use super::mind::{Mind, Piece, What};
use super::render::Renderer;
use super::{SpeechToText, TextToSpeech};
use crate::agent::AgentAction;
use crate::call::{Failure, Part, TurnId, UtteranceId};

/// Requests taken per round, so that one session cannot hold up the others.
const REQUESTS_PER_ROUND: usize = 32;

pub(crate) struct Session {
    link: SessionEnd,
    ears: Hearing,
    mind: Mind,
    voice: Speaking,
    /// What comes from ears and a voice that are elsewhere.
    reports: Receiver<Report>,
    /// The utterance that the ears are in.
    utterance: Option<UtteranceId>,
    /// The agent's latest turn.
    turn: Option<TurnId>,
}

enum Hearing {
    Here(Box<dyn SpeechToText>),
    Apart(Box<dyn EarsApart>),
}

enum Speaking {
    Here(Arc<dyn TextToSpeech>),
    Apart(Box<dyn VoiceApart>),
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
    /// `bell`: its own, rung by what is elsewhere.
    pub(crate) fn new(link: SessionEnd, bell: Bell, ears: Ears, mind: Mind, voice: Voice) -> Self {
        let (to_here, reports) = reports(bell);
        let ears = match ears {
            Ears::Here(recogniser) => Hearing::Here(recogniser),
            Ears::Apart(make) => Hearing::Apart(make(to_here.clone())),
        };
        let voice = match voice {
            Voice::Here(voice) => Speaking::Here(voice),
            Voice::Apart(make) => Speaking::Apart(make(to_here)),
        };
        Self { link, ears, mind, voice, reports, utterance: None, turn: None }
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
                match &mut self.ears {
                    Hearing::Here(recogniser) => recogniser.start(),
                    Hearing::Apart(ears) => ears.start(utterance),
                }
            }
            Request::Audio { len, ulaw } => {
                if let Some(utterance) = self.utterance {
                    self.hear(utterance, &ulaw[..usize::from(len)]);
                }
            }
            Request::UtteranceEnded { utterance, speech_ms } => {
                if self.utterance.take() == Some(utterance) {
                    match &mut self.ears {
                        Hearing::Here(recogniser) => {
                            let text = recogniser.end(speech_ms).text;
                            self.link.send(Answer::Transcript { utterance, text, is_final: true });
                        }
                        Hearing::Apart(ears) => ears.end(utterance, speech_ms),
                    }
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
            Request::AgentHeard { turn, text, spoken_heard } => {
                if self.turn == Some(turn) {
                    self.mind.was_cut(turn, text, spoken_heard);
                }
            }
            Request::Synthesize { utterance, text } => match &mut self.voice {
                Speaking::Here(voice) => speak(&mut self.link, voice, utterance, &text, renderer),
                Speaking::Apart(voice) => voice.speak(utterance, text),
            },
            Request::CancelSynthesis { utterance } => match &mut self.voice {
                // It has spoken before it could be cancelled.
                Speaking::Here(_) => {}
                Speaking::Apart(voice) => voice.cancel(utterance),
            },
        }
    }

    fn hear(&mut self, utterance: UtteranceId, ulaw: &[u8]) {
        match &mut self.ears {
            Hearing::Here(recogniser) => {
                if let Some(transcript) = recogniser.audio(ulaw) {
                    let text = transcript.text;
                    self.link.send(Answer::Transcript { utterance, text, is_final: false });
                }
            }
            Hearing::Apart(ears) => ears.audio(ulaw),
        }
    }

    /// Passes on what the agent answered, and what came from elsewhere.
    fn take_answers(&mut self) {
        let mut any = false;
        while let Ok(report) = self.reports.try_recv() {
            any = true;
            self.link.send(match report {
                Report::Words { utterance, text, is_final } => {
                    Answer::Transcript { utterance, text, is_final }
                }
                Report::Understood { utterance } => Answer::Understood { utterance },
                Report::Audio { utterance, audio, words } => {
                    Answer::Audio { utterance, audio, words: words.into() }
                }
                Report::AudioEnd { utterance, failed } => {
                    Answer::AudioEnd { utterance, failed, words: Arc::from([]) }
                }
                Report::Switched { part, from, to, why } => {
                    Answer::Switched(Box::new(Switch { part, from, to, why }))
                }
            });
        }
        while let Some(Piece { turn, what }) = self.mind.next_piece() {
            any = true;
            match what {
                What::Did(AgentAction::Say(text)) => self.link.send(Answer::Says { turn, text }),
                What::Did(AgentAction::Speak { text, audio, is_last }) => {
                    self.link.send(Answer::Speaks { turn, text, audio, is_last });
                }
                What::Did(AgentAction::Press(keys)) => {
                    let audio = dial(&keys);
                    self.link.send(Answer::Speaks { turn, text: String::new(), audio, is_last: true });
                }
                What::Did(AgentAction::Record { key, value }) => {
                    self.link.send(Answer::Records { key, value })
                }
                What::Did(AgentAction::Expect(expectation)) => match &mut self.ears {
                    Hearing::Here(recogniser) => recogniser.expect(&expectation),
                    Hearing::Apart(ears) => ears.expect(&expectation),
                },
                What::Did(AgentAction::Switch { from, to, why }) => {
                    self.link.send(Answer::Switched(Box::new(Switch { part: Part::Agent, from, to, why })));
                }
                What::Done(then) => self.link.send(Answer::Done { turn, then }),
                What::Failed(why) => self.link.send(Answer::Failed { turn, why }),
            }
        }
        if any {
            self.link.settle();
        }
    }

    /// Something in this session broke: the call is told that its agent is gone.
    pub(super) fn fail(&mut self) {
        if let Some(turn) = self.turn {
            self.link.send(Answer::Failed { turn, why: Failure::Panicked });
            self.link.settle();
        }
    }
}

fn speak(
    link: &mut SessionEnd,
    voice: &Arc<dyn TextToSpeech>,
    utterance: UtteranceId,
    text: &str,
    renderer: &mut Renderer,
) {
    let spoken = renderer.speak(voice, text, &mut |audio| {
        link.send(Answer::Audio { utterance, audio, words: Box::default() });
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
    link.send(Answer::AudioEnd { utterance, failed, words });
}
