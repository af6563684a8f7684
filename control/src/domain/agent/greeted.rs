//! An agent that says a greeting of its line before its own beginning.

use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering};
use offhook_engine::call::{Prompt, Then};

/// Another agent, with a greeting before it.
pub struct Greeted {
    greeting: String,
    agent: Box<dyn Agent>,
}

impl Greeted {
    /// `agent` with `greeting` before it; as it is if that is empty.
    pub fn by(greeting: &str, agent: Box<dyn Agent>) -> Box<dyn Agent> {
        let greeting = greeting.trim();
        if greeting.is_empty() { agent } else { Box::new(Self { greeting: greeting.to_owned(), agent }) }
    }
}

impl Agent for Greeted {
    fn answers_at_once(&self) -> bool {
        self.agent.answers_at_once()
    }

    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        if *prompt == Prompt::CallStarted {
            // Whether anybody wants it or not: the agent itself looks at that.
            let _ = out.act(AgentAction::Say(self.greeting.clone()));
        }
        self.agent.answer(prompt, out)
    }

    fn forget_last(&mut self) {
        self.agent.forget_last();
    }

    fn was_cut(&mut self, heard: &str, spoken_heard: u32) {
        let own = heard.strip_prefix(self.greeting.as_str()).unwrap_or(heard);
        self.agent.was_cut(own.trim_start(), spoken_heard);
    }
}
