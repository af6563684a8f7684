//! An agent that says a greeting of its line before its own beginning.

use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering};
use offhook_engine::call::{Prompt, Then};

/// Another agent, with a greeting before it.
pub struct Greeted {
    greeting: String,
    agent: Box<dyn Agent>,
    /// The last answer began with the greeting.
    greeted: bool,
}

impl Greeted {
    /// `agent` with `greeting` before it; as it is if that is empty.
    pub fn by(greeting: &str, agent: Box<dyn Agent>) -> Box<dyn Agent> {
        let greeting = greeting.trim();
        if greeting.is_empty() {
            agent
        } else {
            Box::new(Self { greeting: greeting.to_owned(), agent, greeted: false })
        }
    }
}

impl Agent for Greeted {
    fn answers_at_once(&self) -> bool {
        self.agent.answers_at_once()
    }

    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        self.greeted = *prompt == Prompt::CallStarted;
        if self.greeted {
            // Whether anybody wants it or not: the agent itself looks at that.
            let _ = out.act(AgentAction::Say(self.greeting.clone()));
        }
        self.agent.answer(prompt, out)
    }

    fn forget_last(&mut self) {
        self.agent.forget_last();
    }

    fn was_cut(&mut self, heard: &str) {
        // Cut in the greeting, nothing of the agent's own was heard.
        let own = heard.strip_prefix(self.greeting.as_str()).map_or("", str::trim_start);
        self.agent.was_cut(if self.greeted { own } else { heard });
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use offhook_engine::agent::Wanted;

    use super::*;

    /// Says its beginning, and tells what of it was heard.
    #[derive(Default)]
    struct Script {
        heard: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    }

    impl Agent for Script {
        fn answers_at_once(&self) -> bool {
            true
        }

        fn answer(&mut self, _: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
            let _ = out.act(AgentAction::Say("How many?".into()));
            Ok(Then::HangUp)
        }

        fn forget_last(&mut self) {}

        fn was_cut(&mut self, heard: &str) {
            self.heard.lock().unwrap().push(heard.to_owned());
        }
    }

    #[derive(Default)]
    struct Ear(Vec<AgentAction>);

    impl Answering for Ear {
        fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
            self.0.push(action);
            ControlFlow::Continue(())
        }

        fn wanted(&self) -> Wanted {
            Wanted::default()
        }
    }

    #[test]
    fn a_greeting_is_said_once_before_the_beginning_and_is_not_the_agents_own() {
        let script = Script::default();
        let heard = script.heard.clone();
        let mut agent = Greeted::by(" Acme. ", Box::new(script));
        assert!(agent.answers_at_once());
        let said = |agent: &mut Box<dyn Agent>, prompt: Prompt| {
            let mut ear = Ear::default();
            agent.answer(&prompt, &mut ear).unwrap();
            ear.0
        };
        let say = |text: &str| AgentAction::Say(text.into());
        assert_eq!(said(&mut agent, Prompt::CallStarted), [say("Acme."), say("How many?")]);
        agent.was_cut("Acme. How");
        agent.was_cut("Ac");
        assert_eq!(*heard.lock().unwrap(), ["How", ""]);
        assert_eq!(said(&mut agent, Prompt::Said("five".into())), [say("How many?")]);
        agent.was_cut("Ac");
        assert_eq!(heard.lock().unwrap().last().unwrap(), "Ac");
        let mut plain = Greeted::by(" ", Box::new(Script::default()));
        assert_eq!(said(&mut plain, Prompt::CallStarted), [say("How many?")]);
    }
}
