//! What does it cost to have a model answer?
//!
//! A hundred calls at once on one thread, each with a conversation behind it, ask the double of `fixtures` on another thread,
//! which streams its answer five characters at a time. The time is that thread's CPU time for one answer: the conversation
//! written, the stream over loopback without TLS read piece by piece. Beside it stands what it asks of the allocator. A model
//! that hears and speaks itself is given two seconds of the caller's, frame by frame, and its answer's audio is read. The scripted
//! agent of this machine answers a question of its scenario.

#![expect(clippy::print_stdout, reason = "the allocations are what a reader comes for, too")]

mod vendors;

use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use offhook::integrations::openai::chat::Asking;
use offhook::integrations::openai::realtime::{Event, Options, Realtime, Session};
use offhook::integrations::openai::{Chat, Waits};
use offhook::settings::Secret;
use offhook_engine::agent::{Agent, AgentAction, Scenario, ScriptedAgent};
use offhook_engine::call::Prompt;
use offhook_fixtures::alloc::CountingAllocator;
use offhook_fixtures::vendors::Vendor;
use serde_json::{Value, json};
use vendors::{doubles, group, measure, runtime};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CALLS: usize = 100;
/// How long a caller speaks to a model that hears.
const SPOKEN_S: usize = 2;
/// What the caller says last.
const SAID: &str = "I would like to book a table for two, tomorrow at nine.";

/// A conversation of ten turns, with what the model is told first.
fn conversation() -> Vec<Value> {
    let prompt = "You answer the telephone of a restaurant. Be brief, and ask one thing at a time.";
    let mut messages = vec![json!({"role": "system", "content": prompt})];
    for _ in 0..5 {
        messages.push(json!({"role": "user", "content": "Do you have a table by the window?"}));
        messages.push(
            json!({"role": "assistant", "content": "We do. For how many people, and when would that be?"}),
        );
    }
    messages.push(json!({"role": "user", "content": SAID}));
    messages
}

/// A turn of the caller's, and the answer to it.
async fn talk(session: &mut Session<'_>) {
    for _ in 0..SPOKEN_S * 50 {
        session.append(&[0x55; 160]).await.expect("the double has no faults");
    }
    session.commit().await.expect("the double has no faults");
    session.respond("turn", None).await.expect("the double has no faults");
    let mut samples = 0;
    loop {
        match session.next().await.expect("the double has no faults") {
            Event::Audio { ulaw, .. } => samples += ulaw.len(),
            Event::Over { ended, .. } => {
                assert_eq!(ended, Ok(()));
                break;
            }
            Event::Refused { event, error } => panic!("{event}: {error}"),
            _ => {}
        }
    }
    assert!(samples >= 8_000, "a second of audio: {samples}");
}

fn minds(c: &mut Criterion) {
    let (base_of, _) = doubles();
    let runtime = runtime();
    let chat = Chat::new(Asking {
        base: base_of(Vendor::OpenAi),
        key: Some(Secret::new("any")),
        model: "gpt-4o-mini".into(),
        temperature: None,
        max_tokens: 400,
        max_tokens_field: "max_completion_tokens".into(),
        waits: Waits::default(),
    });
    let (chat, messages) = (chat.expect("the key is one"), conversation());
    // The double repeats what is said, in two sentences.
    let said = SAID.trim_end_matches('.');
    let answer = format!("You said: {said}. I repeat: {said}.");
    let mut group = group(c, "minds");
    let what = format!("an answer of {} characters", answer.len());
    measure(&mut group, "chat completions", &what, CALLS as f64, || {
        let asking = (0..CALLS).map(|_| async {
            let mut pieces = 0;
            let mut on_text = |_: &str| {
                pieces += 1;
                ControlFlow::Continue(())
            };
            let reply = chat.reply(&messages, &[], &mut on_text).await.expect("the double has no faults");
            assert_eq!((reply.text.as_str(), pieces), (answer.as_str(), answer.len().div_ceil(5)));
        });
        runtime.block_on(join_all(asking));
    });

    let realtime = Realtime::new(Options {
        base: base_of(Vendor::OpenAi),
        key: Some(Secret::new("any")),
        model: "gpt-realtime-2".into(),
        voice: "marin".into(),
        transcription_model: "gpt-4o-mini-transcribe".into(),
        tools: Vec::new(),
        max_tokens: 400,
    });
    let realtime = realtime.expect("the key is one");
    let open = (0..CALLS).map(|_| realtime.open("You answer the telephone."));
    let sessions = runtime.block_on(join_all(open));
    let mut sessions: Vec<Session<'_>> =
        sessions.into_iter().map(|open| open.expect("it is there")).collect();
    let what = format!("{SPOKEN_S} s heard and an answer spoken");
    measure(&mut group, "Realtime", &what, CALLS as f64, || {
        runtime.block_on(join_all(sessions.iter_mut().map(talk)));
    });
    drop(sessions);

    let scenario = Arc::new(Scenario::shipped("lead_qualification").expect("it is shipped"));
    measure(&mut group, "the scripted agent", "a greeting and an answer", 1.0, || {
        let mut agent = ScriptedAgent::new(scenario.clone());
        for prompt in [Prompt::CallStarted, Prompt::Said("two hundred".into())] {
            let mut actions: Vec<AgentAction> = Vec::new();
            agent.answer(&prompt, &mut actions).expect("a script knows what to say");
            assert!(actions.iter().any(|action| matches!(action, AgentAction::Say(_))));
        }
    });
    group.finish();
}

criterion_group!(benches, minds);
criterion_main!(benches);
