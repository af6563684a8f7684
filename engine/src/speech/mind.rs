//! A call's agent, asked where it disturbs nobody.
//!
//! A script answers in microseconds and is asked on its call's speech thread, which saves two hops. Any other agent may
//! wait for a model, a database, a human, and would hold up all calls of that thread, and its own call's recogniser
//! with them. So it has a thread of its own for as long as its call lasts, parked while nobody asks it: some 20 KB.
//! An agent that never comes back holds up nothing either: its call ends by `agent_wait_ms`, and nobody waits for the thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::bell::Bell;
use crate::agent::{Agent, AgentAction};
use crate::call::{Prompt, Then, TurnId};
use crate::engine::EngineError;
use crate::measure::{Counts, bump};

/// What may wait for an agent, and what it may have answered that nobody took yet: more turns than a call goes through while
/// one of them is answered. Full: the agent counts as broken for the turn that found no room, and is not told of more.
const ERRANDS: usize = 64;

/// What an agent is told.
enum Errand {
    Answer { turn: TurnId, prompt: Prompt },
    ForgetLast,
    WasCut { heard: String },
}

/// What came of asking.
pub(super) struct Answered {
    pub(super) turn: TurnId,
    /// `None` if the agent broke.
    pub(super) answer: Option<(Vec<AgentAction>, Then)>,
}

/// The agent of one call.
pub(crate) struct Mind {
    place: Place,
    answered: VecDeque<Answered>,
    /// Turns that were asked and not answered yet.
    asked: VecDeque<TurnId>,
    /// Those of them that nobody wants answered any more.
    unwanted: Vec<TurnId>,
}

enum Place {
    Here(Box<dyn Agent>),
    Apart { errands: Sender<Errand>, answers: Receiver<Answered> },
}

impl Mind {
    /// Gives the agent of call `number` its place. `bell`: of the session that will ask it, rung by its answers.
    pub(crate) fn new(
        agent: Box<dyn Agent>,
        number: u64,
        bell: Bell,
        counts: &Arc<Counts>,
    ) -> Result<Self, EngineError> {
        let place = if agent.answers_at_once() {
            Place::Here(agent)
        } else {
            let (errands, inbox) = bounded(ERRANDS);
            let (answer, answers) = bounded(ERRANDS);
            let counts = Arc::clone(counts);
            std::thread::Builder::new()
                .name(format!("agent-{number}"))
                .spawn(move || run(agent, &inbox, &answer, &bell, &counts))
                .map_err(EngineError::Thread)?;
            Place::Apart { errands, answers }
        };
        Ok(Self { place, answered: VecDeque::new(), asked: VecDeque::new(), unwanted: Vec::new() })
    }

    /// Asks it. The answer comes by [`Mind::next_answer`].
    pub(super) fn ask(&mut self, turn: TurnId, prompt: Prompt) {
        match &mut self.place {
            Place::Here(agent) => self.answered.push_back(answer(&mut **agent, turn, &prompt)),
            Place::Apart { errands, .. } => {
                self.asked.push_back(turn);
                if errands.try_send(Errand::Answer { turn, prompt }).is_err() {
                    self.answered.push_back(Answered { turn, answer: None });
                }
            }
        }
    }

    /// Nobody heard its answer to `turn`, the latest, or will.
    pub(super) fn forget_last(&mut self, turn: TurnId) {
        if self.asked.contains(&turn) {
            self.unwanted.push(turn);
        }
        self.tell(Errand::ForgetLast);
    }

    /// The caller heard only `heard` of its latest answer.
    pub(super) fn was_cut(&mut self, heard: String) {
        self.tell(Errand::WasCut { heard });
    }

    /// What it answers, in the order in which it was asked.
    pub(super) fn next_answer(&mut self) -> Option<Answered> {
        loop {
            if let Place::Apart { answers, .. } = &self.place {
                self.answered.extend(answers.try_iter());
            }
            let answered = self.answered.pop_front()?;
            self.asked.retain(|turn| *turn != answered.turn);
            let before = self.unwanted.len();
            self.unwanted.retain(|turn| *turn != answered.turn);
            if self.unwanted.len() == before {
                return Some(answered);
            }
        }
    }

    fn tell(&mut self, errand: Errand) {
        match &mut self.place {
            Place::Here(agent) => {
                carry_out(&mut **agent, errand);
            }
            Place::Apart { errands, .. } => drop(errands.try_send(errand)),
        }
    }
}

fn answer(agent: &mut dyn Agent, turn: TurnId, prompt: &Prompt) -> Answered {
    let mut actions = Vec::new();
    let then = agent.answer(prompt, &mut actions);
    Answered { turn, answer: Some((actions, then)) }
}

fn carry_out(agent: &mut dyn Agent, errand: Errand) -> Option<Answered> {
    match errand {
        Errand::Answer { turn, prompt } => return Some(answer(agent, turn, &prompt)),
        Errand::ForgetLast => agent.forget_last(),
        Errand::WasCut { heard } => agent.was_cut(&heard),
    }
    None
}

/// The life of a thread that belongs to one agent, until its call is over. Once the agent has panicked, no turn is answered.
fn run(
    agent: Box<dyn Agent>,
    inbox: &Receiver<Errand>,
    answers: &Sender<Answered>,
    bell: &Bell,
    counts: &Counts,
) {
    let mut agent = Some(agent);
    let mut latest = None;
    while let Ok(errand) = inbox.recv() {
        if let Errand::Answer { turn, .. } = errand {
            latest = Some(turn);
        }
        let done =
            agent.as_mut().map(|agent| catch_unwind(AssertUnwindSafe(|| carry_out(&mut **agent, errand))));
        let answered = match done {
            Some(Ok(answered)) => answered,
            broken => {
                if broken.is_some() {
                    agent = None;
                    bump(&counts.speech_panics, 1);
                    tracing::error!("an agent panicked; its call is told");
                }
                // What else it may have been told, its latest turn ends the call.
                latest.map(|turn| Answered { turn, answer: None })
            }
        };
        if let Some(answered) = answered {
            if answers.send(answered).is_err() {
                return;
            }
            bell.ring_and_wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Writes down what it is told, and answers only when it is let.
    struct Slow {
        told: mpsc::Sender<String>,
        let_go: mpsc::Receiver<()>,
    }

    impl Agent for Slow {
        fn answer(&mut self, prompt: &Prompt, out: &mut Vec<AgentAction>) -> Then {
            let _ = self.told.send(format!("{prompt:?}"));
            self.let_go.recv().expect("the test lets it go");
            out.push(AgentAction::Record { key: "asked".into(), value: format!("{prompt:?}") });
            Then::Listen { keys_max: 0 }
        }

        fn forget_last(&mut self) {
            let _ = self.told.send("forget".into());
        }

        fn was_cut(&mut self, heard: &str) {
            assert_ne!(heard, "break", "broken as the test wants it");
            let _ = self.told.send(format!("cut after {heard}"));
        }
    }

    struct House {
        mind: Mind,
        told: mpsc::Receiver<String>,
        go: mpsc::Sender<()>,
        counts: Arc<Counts>,
    }

    impl House {
        fn new() -> Self {
            let (tell, told) = mpsc::channel();
            let (go, let_go) = mpsc::channel();
            let counts = Arc::<Counts>::default();
            let agent = Box::new(Slow { told: tell, let_go });
            let mind = Mind::new(agent, 7, Bell::here(crate::media::now()).0, &counts).unwrap();
            Self { mind, told, go, counts }
        }

        fn told(&self) -> String {
            self.told.recv_timeout(Duration::from_secs(20)).unwrap()
        }

        fn answered(&mut self) -> Answered {
            loop {
                if let Some(answered) = self.mind.next_answer() {
                    return answered;
                }
                // The agent's thread unparks this one.
                std::thread::park_timeout(Duration::from_secs(20));
            }
        }
    }

    #[test]
    fn asking_an_agent_that_waits_does_not_wait() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::NotUnderstood);
        assert!(house.mind.next_answer().is_none());
        assert_eq!(house.told(), "NotUnderstood");
        house.go.send(()).unwrap();
        let answered = house.answered();
        assert_eq!(answered.turn, TurnId(1));
        assert_eq!(answered.answer.unwrap().0.len(), 1);
    }

    #[test]
    fn an_answer_that_was_called_off_before_it_came_is_dropped_with_what_it_records() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::Said("two".into()));
        house.mind.forget_last(TurnId(1));
        house.mind.ask(TurnId(3), Prompt::Said("two hundred".into()));
        house.mind.was_cut("Two".into());
        (0..2).for_each(|_| house.go.send(()).unwrap());
        assert_eq!(house.answered().turn, TurnId(3));
        let told: Vec<String> = (0..4).map(|_| house.told()).collect();
        assert_eq!(told, [r#"Said("two")"#, "forget", r#"Said("two hundred")"#, "cut after Two"]);
    }

    #[test]
    fn a_panic_is_told_as_a_turn_without_an_answer_and_so_is_asking_after_it() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::CallStarted);
        house.go.send(()).unwrap();
        assert!(house.answered().answer.is_some());
        house.mind.was_cut("break".into());
        let answered = house.answered();
        assert!(answered.turn == TurnId(1) && answered.answer.is_none());
        assert_eq!(house.counts.read().speech_panics, 1);
        house.mind.ask(TurnId(3), Prompt::CallStarted);
        let answered = house.answered();
        assert!(answered.turn == TurnId(3) && answered.answer.is_none());
    }

    #[test]
    fn an_agent_that_hangs_is_let_go_of_with_its_call() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::CallStarted);
        assert_eq!(house.told(), "CallStarted");
        drop(house.mind);
        house.go.send(()).unwrap();
        assert!(house.told.recv_timeout(Duration::from_secs(20)).is_err(), "the agent is gone");
    }
}
