//! A call's agent, asked where it disturbs nobody.
//!
//! A script answers in microseconds and is asked on its call's speech thread, which saves two hops. Any other agent may
//! wait for a model, a database, a human, and would hold up all calls of that thread, and its own call's recogniser
//! with them. So it has a thread of its own for as long as its call lasts, parked while nobody asks it: some 20 KB. What
//! it says comes from there piece by piece, and it is told at once when nobody wants the rest.
//! An agent that never comes back holds up nothing either: its call ends by `agent_wait_ms`, and nobody waits for the thread.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::bell::Bell;
use crate::agent::{Agent, AgentAction, AgentError, Answering, Wanted};
use crate::call::{Failure, Prompt, Then, TurnId};
use crate::engine::EngineError;
use crate::measure::{Counts, bump};

/// What may wait for an agent: more turns than a call goes through while one of them is answered. Full: the agent counts as
/// broken for the turn that found no room, and is not told of more.
const ERRANDS: usize = 64;
/// What an agent may have said that its session did not take yet. Full: the agent waits.
const PIECES: usize = 64;

/// What an agent is told.
enum Errand {
    Answer { turn: TurnId, prompt: Prompt, wanted: Wanted },
    ForgetLast,
    WasCut { heard: String, spoken_heard: u32 },
}

/// A piece of what came of asking.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) turn: TurnId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Did(AgentAction),
    Done(Then),
    Failed(Failure),
}

/// The agent of one call.
pub(crate) struct Mind {
    place: Place,
    pieces: VecDeque<Piece>,
    /// Turns that were asked of an agent apart, and are not answered whole yet.
    asked: VecDeque<Asked>,
}

struct Asked {
    turn: TurnId,
    wanted: Wanted,
    /// It is to be as if it had not been asked: not even what the agent writes down counts.
    forgotten: bool,
}

enum Place {
    Here(Box<dyn Agent>),
    Apart { errands: Sender<Errand>, pieces: Receiver<Piece> },
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
            let (outbox, pieces) = bounded(PIECES);
            let counts = Arc::clone(counts);
            std::thread::Builder::new()
                .name(format!("agent-{number}"))
                .spawn(move || run(agent, &inbox, &Outbox { pieces: outbox, bell, number }, &counts))
                .map_err(EngineError::Thread)?;
            Place::Apart { errands, pieces }
        };
        Ok(Self { place, pieces: VecDeque::new(), asked: VecDeque::new() })
    }

    /// Asks it. The answer comes by [`Mind::next_piece`]. What it was asked before is called off.
    pub(super) fn ask(&mut self, turn: TurnId, prompt: Prompt) {
        match &mut self.place {
            Place::Here(agent) => {
                let mut actions = Vec::new();
                let end = ended(turn, agent.answer(&prompt, &mut actions));
                let did = actions.into_iter().map(|action| Piece { turn, what: What::Did(action) });
                self.pieces.extend(did.chain([end]));
            }
            Place::Apart { errands, .. } => {
                self.asked.iter().for_each(|asked| asked.wanted.call_off());
                let wanted = Wanted::default();
                if errands.try_send(Errand::Answer { turn, prompt, wanted: wanted.clone() }).is_ok() {
                    self.asked.push_back(Asked { turn, wanted, forgotten: false });
                } else {
                    self.pieces.push_back(Piece { turn, what: What::Failed(Failure::Flooded) });
                }
            }
        }
    }

    /// Nobody heard its answer to `turn`, the latest, or will.
    pub(super) fn forget_last(&mut self, turn: TurnId) {
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.turn == turn) {
            asked.forgotten = true;
            asked.wanted.call_off();
        }
        self.tell(Errand::ForgetLast);
    }

    /// The caller heard only `heard` of its answer to `turn`, the latest, and will hear no more; `spoken_heard` samples of what
    /// it spoke itself.
    pub(super) fn was_cut(&mut self, turn: TurnId, heard: String, spoken_heard: u32) {
        if let Some(asked) = self.asked.iter().find(|asked| asked.turn == turn) {
            asked.wanted.call_off();
        }
        self.tell(Errand::WasCut { heard, spoken_heard });
    }

    /// What it answers, in the order in which it was asked, as far as it is wanted. Of a turn that was cut off, what the
    /// agent wrote down still counts: it may have done what it writes of.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        loop {
            let piece = match &self.place {
                Place::Apart { pieces, .. } if self.pieces.is_empty() => pieces.try_recv().ok()?,
                _ => self.pieces.pop_front()?,
            };
            let Some(at) = self.asked.iter().position(|asked| asked.turn == piece.turn) else {
                return Some(piece);
            };
            let asked = &self.asked[at];
            let is_fact = matches!(piece.what, What::Did(AgentAction::Record { .. }));
            let counts = asked.wanted.is_wanted() || is_fact && !asked.forgotten;
            if matches!(piece.what, What::Done(_) | What::Failed(_)) {
                self.asked.remove(at);
            }
            if counts {
                return Some(piece);
            }
        }
    }

    fn tell(&mut self, errand: Errand) {
        match (&mut self.place, errand) {
            (Place::Here(agent), Errand::ForgetLast) => agent.forget_last(),
            (Place::Here(agent), Errand::WasCut { heard, spoken_heard }) => {
                agent.was_cut(&heard, spoken_heard)
            }
            (Place::Here(_), Errand::Answer { .. }) => {}
            (Place::Apart { errands, .. }, errand) => drop(errands.try_send(errand)),
        }
    }
}

impl Drop for Mind {
    /// The call is over: what is still being answered is called off.
    fn drop(&mut self) {
        self.asked.iter().for_each(|asked| asked.wanted.call_off());
    }
}

fn ended(turn: TurnId, answer: Result<Then, AgentError>) -> Piece {
    let what = match answer {
        Ok(then) => What::Done(then),
        Err(error) => {
            tracing::warn!(turn = turn.0, %error, "the agent gives no answer");
            What::Failed(error.why)
        }
    };
    Piece { turn, what }
}

/// Where an agent apart leaves what it says.
struct Outbox {
    pieces: Sender<Piece>,
    bell: Bell,
    number: u64,
}

impl Outbox {
    /// False if the call is over.
    fn send(&self, piece: Piece) -> bool {
        let sent = self.pieces.send(piece).is_ok();
        self.bell.ring_and_wake();
        sent
    }
}

/// One turn of an agent apart.
struct Speaking<'a> {
    turn: TurnId,
    wanted: Wanted,
    outbox: &'a Outbox,
}

impl Answering for Speaking<'_> {
    fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
        let sent = self.outbox.send(Piece { turn: self.turn, what: What::Did(action) });
        if sent && self.wanted.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }
}

fn carry_out(agent: &mut dyn Agent, errand: Errand, outbox: &Outbox) -> Option<Piece> {
    match errand {
        Errand::Answer { turn, prompt, wanted } => {
            let mut speaking = Speaking { turn, wanted, outbox };
            // Also if it was called off before it began: the agent is told how a turn ended that it knows of.
            let answer = agent.answer(&prompt, &mut speaking);
            return Some(ended(turn, answer));
        }
        Errand::ForgetLast => agent.forget_last(),
        Errand::WasCut { heard, spoken_heard } => agent.was_cut(&heard, spoken_heard),
    }
    None
}

/// The life of a thread that belongs to one agent, until its call is over. Once the agent has panicked, no turn is answered.
fn run(agent: Box<dyn Agent>, inbox: &Receiver<Errand>, outbox: &Outbox, counts: &Counts) {
    let mut agent = Some(agent);
    let mut latest = None;
    while let Ok(errand) = inbox.recv() {
        if let Errand::Answer { turn, .. } = errand {
            latest = Some(turn);
        }
        let done = agent
            .as_mut()
            .map(|agent| catch_unwind(AssertUnwindSafe(|| carry_out(&mut **agent, errand, outbox))));
        let end = match done {
            Some(Ok(end)) => end,
            broken => {
                if broken.is_some() {
                    agent = None;
                    bump(&counts.speech_panics, 1);
                    tracing::error!(agent = outbox.number, "an agent panicked; its call is told");
                }
                // What else it may have been told, its latest turn ends the call.
                latest.map(|turn| Piece { turn, what: What::Failed(Failure::Panicked) })
            }
        };
        if let Some(end) = end
            && !outbox.send(end)
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Writes down what it is told, and says one word each time that it is let. A turn ends with the word "end".
    struct Slow {
        told: mpsc::Sender<String>,
        words: mpsc::Receiver<&'static str>,
    }

    impl Agent for Slow {
        fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
            let _ = self.told.send(format!("{prompt:?}"));
            loop {
                match self.words.recv().expect("the test lets it go") {
                    "end" => return Ok(Then::Listen { keys_max: 0 }),
                    // All words before it were wanted when they were said.
                    "tell" => drop(self.told.send("goes on".into())),
                    "fail" => {
                        return Err(AgentError { why: Failure::Busy, detail: "as the test wants it".into() });
                    }
                    word => {
                        let action = match word.strip_prefix("note ") {
                            Some(note) => AgentAction::Record { key: "note".into(), value: note.into() },
                            None => AgentAction::Say(word.into()),
                        };
                        if out.act(action).is_break() {
                            let _ = self.told.send(format!("{word} is not wanted"));
                        }
                    }
                }
            }
        }

        fn forget_last(&mut self) {
            let _ = self.told.send("forget".into());
        }

        fn was_cut(&mut self, heard: &str, _: u32) {
            assert_ne!(heard, "break", "broken as the test wants it");
            let _ = self.told.send(format!("cut after {heard}"));
        }
    }

    struct House {
        mind: Mind,
        told: mpsc::Receiver<String>,
        words: mpsc::Sender<&'static str>,
        counts: Arc<Counts>,
    }

    impl House {
        fn new() -> Self {
            let (tell, told) = mpsc::channel();
            let (speak, words) = mpsc::channel();
            let counts = Arc::<Counts>::default();
            let agent = Box::new(Slow { told: tell, words });
            let mind = Mind::new(agent, 7, Bell::here(crate::media::now()).0, &counts).unwrap();
            Self { mind, told, words: speak, counts }
        }

        fn lets(&self, words: &[&'static str]) {
            words.iter().for_each(|word| self.words.send(word).unwrap());
        }

        fn told(&self) -> String {
            self.told.recv_timeout(Duration::from_secs(20)).unwrap()
        }

        /// The next piece, as its turn and text.
        fn piece(&mut self) -> (u32, String) {
            loop {
                if let Some(Piece { turn, what }) = self.mind.next_piece() {
                    let text = match what {
                        What::Did(AgentAction::Say(text)) => text,
                        What::Did(action) => format!("{action:?}"),
                        What::Done(_) => "done".into(),
                        What::Failed(why) => why.as_str().into(),
                    };
                    return (turn.0, text);
                }
                // The agent's thread unparks this one.
                std::thread::park_timeout(Duration::from_secs(20));
            }
        }
    }

    #[test]
    fn asking_an_agent_that_waits_does_not_wait_and_each_word_comes_when_it_is_said() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::NotUnderstood);
        assert!(house.mind.next_piece().is_none());
        assert_eq!(house.told(), "NotUnderstood");
        for word in ["one", "two"] {
            house.lets(&[word]);
            assert_eq!(house.piece(), (1, word.to_owned()));
            assert!(house.mind.next_piece().is_none(), "the rest is not said yet");
        }
        house.lets(&["end"]);
        assert_eq!(house.piece(), (1, "done".into()));
    }

    #[test]
    fn a_reason_for_no_answer_arrives_after_what_was_said_until_then() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::CallStarted);
        house.lets(&["one", "fail"]);
        assert_eq!(house.piece(), (1, "one".into()));
        assert_eq!(house.piece(), (1, "busy".into()));
    }

    #[test]
    fn an_answer_that_was_called_off_before_it_came_is_dropped_with_what_it_records() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::Said("two".into()));
        house.lets(&["one", "tell"]);
        assert_eq!(house.piece(), (1, "one".into()));
        assert_eq!(house.told(), r#"Said("two")"#);
        assert_eq!(house.told(), "goes on");
        house.mind.forget_last(TurnId(1));
        house.mind.ask(TurnId(3), Prompt::Said("two hundred".into()));
        house.mind.was_cut(TurnId(3), "Three".into(), 0);
        house.lets(&["two", "note it", "end", "three", "end"]);
        assert_eq!(house.told(), "two is not wanted");
        assert_eq!(house.told(), "note it is not wanted");
        assert_eq!(house.told(), "forget");
        assert_eq!(house.told(), r#"Said("two hundred")"#);
        assert_eq!(house.told(), "three is not wanted");
        assert_eq!(house.told(), "cut after Three");
        assert!(house.mind.next_piece().is_none(), "nothing of either turn");
    }

    #[test]
    fn of_a_turn_that_was_cut_off_what_was_written_down_still_counts() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::CallStarted);
        house.mind.was_cut(TurnId(1), String::new(), 0);
        house.lets(&["one", "note booked", "two", "end"]);
        assert!(house.piece().1.contains("booked"));
        assert_eq!(house.told(), "CallStarted");
        house.mind.ask(TurnId(3), Prompt::NotUnderstood);
        house.lets(&["end"]);
        assert_eq!(house.piece(), (3, "done".into()));
    }

    #[test]
    fn an_agent_that_waits_hears_at_once_that_its_turn_is_not_wanted() {
        struct Waits(mpsc::Sender<()>);
        impl Agent for Waits {
            fn answer(&mut self, _: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
                let thread = std::thread::current();
                let waker = std::task::Waker::from(Arc::new(Unpark(thread)));
                let mut called_off = Box::pin(out.wanted().called_off());
                while called_off.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending() {
                    std::thread::park();
                }
                let _ = self.0.send(());
                Ok(Then::HangUp)
            }
            fn forget_last(&mut self) {}
        }
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        type CallOff = fn(&mut Mind);
        let ways: [CallOff; 3] = [
            |mind| mind.forget_last(TurnId(1)),
            |mind| mind.was_cut(TurnId(1), String::new(), 0),
            |mind| mind.ask(TurnId(2), Prompt::NotUnderstood),
        ];
        for way in ways {
            let (gone, wait) = mpsc::channel();
            let bell = Bell::here(crate::media::now()).0;
            let mut mind = Mind::new(Box::new(Waits(gone)), 7, bell, &Arc::default()).unwrap();
            mind.ask(TurnId(1), Prompt::CallStarted);
            way(&mut mind);
            wait.recv_timeout(Duration::from_secs(20)).unwrap();
            drop(mind);
            // The end of the call is the fourth way, for the turn that the third one asks.
            while wait.recv_timeout(Duration::from_secs(20)).is_ok() {}
        }
    }

    #[test]
    fn a_panic_is_told_as_a_turn_without_an_answer_and_so_is_asking_after_it() {
        let mut house = House::new();
        house.mind.ask(TurnId(1), Prompt::CallStarted);
        house.lets(&["end"]);
        assert_eq!(house.piece(), (1, "done".into()));
        house.mind.was_cut(TurnId(1), "break".into(), 0);
        assert_eq!(house.piece(), (1, "panicked".into()));
        assert_eq!(house.counts.read().speech_panics, 1);
        house.mind.ask(TurnId(3), Prompt::CallStarted);
        assert_eq!(house.piece(), (3, "panicked".into()));
    }

    #[test]
    fn an_agent_that_hangs_is_let_go_of_with_its_call() {
        let House { mut mind, told, words, .. } = House::new();
        mind.ask(TurnId(1), Prompt::CallStarted);
        drop(mind);
        for word in ["one", "end"] {
            words.send(word).unwrap();
        }
        let told: Vec<String> = told.iter().collect();
        assert_eq!(told, ["CallStarted", "one is not wanted"], "and then the agent is gone");
    }
}
