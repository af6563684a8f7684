//! A model's turns, against a server on a real socket.

use std::sync::mpsc;
use std::time::Duration;

use offhook_engine::agent::Wanted;
use offhook_engine::call::Failure;
use serde_json::{Value, json};

use super::*;
use crate::integrations::openai::fake::{Fake, Step, calls, says, text};

const LONG: Duration = Duration::from_secs(20);

fn model(fake: &Fake, change: impl FnOnce(&mut OpenAiSettings)) -> Arc<Model> {
    let mut settings = OpenAiSettings {
        base: fake.url.parse().unwrap(),
        prompt: "Be brief.".into(),
        greeting: "Hello.".into(),
        ..OpenAiSettings::default()
    };
    change(&mut settings);
    let waits = Waits { connect: LONG, first: LONG, next: LONG };
    Arc::new(Model::new(&settings, &[], waits, Handle::current()).unwrap())
}

/// Passes on what is said.
struct Ear {
    says: mpsc::Sender<String>,
    wanted: Wanted,
}

impl Answering for Ear {
    fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
        if let AgentAction::Say(text) = action {
            let _ = self.says.send(text);
        }
        if self.wanted.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }
}

/// A turn under way, on a thread of its own.
struct Turn {
    says: mpsc::Receiver<String>,
    wanted: Wanted,
    thread: std::thread::JoinHandle<(ModelAgent, Result<Then, AgentError>)>,
}

fn ask(mut agent: ModelAgent, prompt: Prompt) -> Turn {
    let (says, heard) = mpsc::channel();
    let wanted = Wanted::default();
    let mut ear = Ear { says, wanted: wanted.clone() };
    let thread = std::thread::spawn(move || {
        let then = agent.answer(&prompt, &mut ear);
        (agent, then)
    });
    Turn { says: heard, wanted, thread }
}

impl Turn {
    fn next(&self) -> String {
        self.says.recv_timeout(LONG).unwrap()
    }

    fn end(self) -> (ModelAgent, Result<Then, AgentError>, Vec<String>) {
        let (agent, then) = self.thread.join().unwrap();
        (agent, then, self.says.iter().collect())
    }
}

fn said(text: &str) -> Prompt {
    Prompt::Said(text.into())
}

/// Role and content of what the model was told.
fn told(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().unwrap().iter();
    messages
        .map(|m| format!("{} {}", m["role"].as_str().unwrap(), m["content"].as_str().unwrap_or("null")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_clause_is_spoken_while_the_model_still_writes() {
    let mut steps = says(&[" of the day", ". And you?"]);
    steps.splice(1..1, [text("Of course I can, at any"), text(" time"), Step::Gate]);
    let mut fake = Fake::new([steps]).await;
    let (agent, then, greeting) = ask(ModelAgent::new(model(&fake, |_| ()), "c"), Prompt::CallStarted).end();
    assert_eq!((greeting, then), (vec!["Hello.".to_owned()], Ok(LISTEN)));
    let turn = ask(agent, said("Can you?"));
    assert_eq!(turn.next(), "Of course I can,");
    fake.gate.add_permits(1);
    let (agent, then, rest) = turn.end();
    assert_eq!(rest, ["at any time of the day.", "And you?"]);
    assert_eq!(then, Ok(LISTEN));
    assert_eq!(agent.model.counts().wasted(), 0);
    let asked = fake.next_asked().await;
    assert_eq!(told(&asked.body), ["system Be brief.", "assistant Hello.", "user Can you?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_is_called_off_stops_at_the_server_and_is_remembered_as_far_as_it_was_heard() {
    let steps = vec![Step::Head, text("We open at nine o'clock, and"), text(" we close"), Step::Stall];
    let mut fake = Fake::new([steps, says(&["Then come."])]).await;
    let turn = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("When?"));
    assert_eq!(turn.next(), "We open at nine o'clock,");
    turn.wanted.call_off();
    fake.gone.recv().await.unwrap();
    let (mut agent, then, rest) = turn.end();
    assert!(then.is_ok() && rest.is_empty());
    agent.was_cut("We open at");
    assert!(agent.model.counts().wasted() >= 1);
    let (agent, ..) = ask(agent, said("I come at ten.")).end();
    fake.next_asked().await;
    let asked = fake.next_asked().await;
    let wanted = ["system Be brief.", "user When?", "assistant We open at", "user I come at ten."];
    assert_eq!(told(&asked.body), wanted);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_is_called_off_before_its_first_word_leaves_no_trace() {
    let mut fake = Fake::new([vec![Step::Stall], says(&["All right."])]).await;
    let turn = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("two"));
    fake.next_asked().await;
    turn.wanted.call_off();
    fake.gone.recv().await.unwrap();
    let (mut agent, ..) = turn.end();
    agent.forget_last();
    let (_, then, _) = ask(agent, said("two hundred")).end();
    assert_eq!(then, Ok(LISTEN));
    assert_eq!(told(&fake.next_asked().await.body), ["system Be brief.", "user two hundred"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_answers_goes_back_to_the_model_which_speaks_of_it() {
    let slots = Step::Answer(200, "", "{\"free\": [\"nine\"]}".into());
    let mut tool = Fake::new([vec![slots]]).await;
    let mut fake = Fake::new([calls("slots", "{\"day\": \"monday\"}"), says(&["At nine."])]).await;
    let declared = format!(
        "name = 'slots'\ndescription = 'Free slots.'\nurl = '{}/slots'\nheaders = {{ x-key = 'k' }}\n\
         [parameters]\ntype = 'object'\nrequired = ['day']\nproperties.day.type = 'string'",
        tool.url
    );
    let model = model(&fake, |settings| settings.tools = vec![toml::from_str(&declared).unwrap()]);
    let (_, then, says) = ask(ModelAgent::new(model, "c"), said("When?")).end();
    assert_eq!((says, then), (vec!["At nine.".to_owned()], Ok(LISTEN)));
    let asked = tool.next_asked().await;
    assert!(asked.head.starts_with("post /slots ") && asked.head.contains("x-key: k\r\n"), "{}", asked.head);
    assert_eq!(asked.body, json!({"day": "monday"}));
    let first = fake.next_asked().await.body;
    assert_eq!(first["tools"][1]["function"]["name"], "slots");
    let second = fake.next_asked().await.body;
    assert_eq!(told(&second)[2..], ["assistant null", "tool {\"free\": [\"nine\"]}"]);
    assert_eq!(second["messages"][2]["tool_calls"][0]["id"], second["messages"][3]["tool_call_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_uses_tools_has_to_speak_in_the_end() {
    let script = std::iter::repeat_n(calls("none", "{}"), ROUNDS).chain([says(&["Well."])]);
    let mut fake = Fake::new(script.collect::<Vec<_>>()).await;
    let (_, then, says) = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("x")).end();
    assert_eq!((says, then), (vec!["Well.".to_owned()], Ok(LISTEN)));
    let mut last = Value::Null;
    for _ in 0..=ROUNDS {
        last = fake.next_asked().await.body;
    }
    assert!(last.get("tools").is_none(), "the last time, none are offered");
    assert!(told(&last).last().unwrap().contains("no such tool"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_ends_when_the_model_says_so_and_not_without_a_goodbye() {
    let mut with_text = calls("end_call", "{}");
    with_text.insert(1, text("Goodbye."));
    let fake = Fake::new([with_text]).await;
    let (_, then, words) = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("Bye")).end();
    assert_eq!((words, then), (vec!["Goodbye.".to_owned()], Ok(Then::HangUp)));

    let fake = Fake::new([calls("end_call", "{}"), says(&["Goodbye."])]).await;
    let (_, then, words) = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("Bye")).end();
    assert_eq!((words, then), (vec!["Goodbye.".to_owned()], Ok(Then::HangUp)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_says_why_after_what_it_said() {
    let fake = Fake::new([vec![Step::Head, text("Of course I can, at any time"), Step::Close]]).await;
    let (_, then, says) = ask(ModelAgent::new(model(&fake, |_| ()), "c"), said("Can you?")).end();
    assert_eq!(says, ["Of course I can,"]);
    assert_eq!(then.unwrap_err().why, Failure::BrokenOff);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_stays_silent_costs_nothing_more() {
    let mut fake = Fake::new([]).await;
    let agent = ModelAgent::new(model(&fake, |_| ()), "c");
    let (_, then, says) = ask(agent, Prompt::Silence(SILENCES_MAX)).end();
    assert!(then == Ok(Then::HangUp) && says.is_empty());
    assert!(fake.asked.try_recv().is_err());
}

#[test]
fn what_is_nothing_to_speak_is_spoken_with_what_follows() {
    let mut out = Vec::new();
    let mut mouth = Mouth::new(&mut out);
    let _ = mouth.more("…\n- One\n— two\n!!!");
    mouth.end();
    let says: Vec<_> = out
        .into_iter()
        .map(|action| match action {
            AgentAction::Say(text) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(says, ["…\n- One", "— two"]);
}
