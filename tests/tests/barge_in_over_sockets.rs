//! The caller speaks while the agent does: the agent stops at once, and what comes after is what should come.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use offhook::caller::time::FRAME;
use offhook_tests::{RawCall, Server, Sound, audio};
use serde_json::Value;

/// From the first loud frame to `clear`, in frames that were sent by then: 120 ms of sustained speech is six, and speech
/// need not be voiced from its first loud frame on.
const FRAMES_TO_CLEAR: u32 = 12;

/// The agent is interrupted this many frames after its first audio: 1.6 s, in its greeting.
const INTERRUPTED_AFTER: u32 = 80;

const GREETING: &str =
    "Hello, and thank you for calling. I have four short questions. How many people work at your company?";

/// Without a recogniser, length alone tells a cough from words.
async fn server() -> Server {
    Server::start(&["--speech", "keypad"]).await
}

/// A call whose caller says `clip` into the greeting; checks that a `clear` comes soon. Gives the call, once the caller
/// has said all, and where the clear stands among what was heard.
async fn interrupted(server: &Server, clip: &[u8]) -> (RawCall, usize) {
    let mut call = RawCall::open(server).await;
    call.listen_until("the greeting", |call| !call.heard.is_empty()).await;
    let began = call.frames;
    call.listen_until("1.6 s of it", |call| call.frames >= began + INTERRUPTED_AFTER).await;
    let first_loud = call.frames + audio::first_loud_frame(clip) as u32 + 1;
    call.say(clip).await;
    call.listen_until("a clear", |call| call.clear_at().is_some()).await;
    let clear = call.clear_at().unwrap();
    let (cleared_at, _) = call.heard[clear];
    assert!(
        (first_loud..first_loud + FRAMES_TO_CLEAR).contains(&cleared_at),
        "first loud frame {first_loud}, clear behind frame {cleared_at}"
    );
    (call, clear)
}

/// What was sent of the greeting until the `clear` is its beginning, frame by frame, and not all of it.
fn assert_greeting_was_cut(call: &RawCall, clear: usize) -> usize {
    let sent = call.audio(0).len() - call.audio(clear).len();
    let greeting = audio::spoken_sentences(GREETING);
    assert!(
        sent < greeting.len() && call.audio(0)[..sent] == greeting[..sent],
        "{sent} of {}",
        greeting.len()
    );
    sent
}

fn decisions(timeline: &[(String, Value)]) -> Vec<(String, String)> {
    let text = |data: &Value, field: &str| data[field].as_str().unwrap().to_owned();
    timeline
        .iter()
        .filter(|(kind, _)| kind == "decided")
        .map(|(_, data)| (text(data, "decision"), text(data, "reason")))
        .collect()
}

fn decision(decision: &str, reason: &str) -> (String, String) {
    (decision.into(), reason.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninterrupted_greeting_is_what_the_voice_makes_of_it() {
    let server = server().await;
    let mut call = RawCall::open(&server).await;
    call.listen_to_turn().await;
    assert_eq!(call.clear_at(), None);
    assert!(call.audio(0) == audio::spoken_sentences(GREETING));
    let marks = call.heard.iter().filter(|(_, what)| matches!(what, Sound::Mark(_))).count();
    assert_eq!(marks, audio::sentences(GREETING).len(), "one mark behind each sentence");
    call.hang_up().await;
    assert_eq!(server.record(&call.call_sid).await["end_reason"], "caller-hangup");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_cancelled_turn_comes_after_the_clear() {
    let server = server().await;
    let (mut call, clear) = interrupted(&server, &audio::clip("thank_you_for_your_patience")).await;
    assert_greeting_was_cut(&call, clear);
    call.listen_to_turn().await;
    call.hang_up().await;

    let record = server.record(&call.call_sid).await;
    let turns = record["turns"].as_array().unwrap();
    let speakers: Vec<_> = turns.iter().map(|turn| turn["speaker"].as_str().unwrap()).collect();
    assert_eq!(speakers, ["agent", "caller", "agent"], "{turns:#?}");
    let (heard, unheard) = (turns[0]["text"].as_str().unwrap(), turns[0]["unheard"].as_str().unwrap());
    assert_eq!(format!("{heard} {unheard}"), GREETING, "the history is cut between two words");
    assert!(!heard.is_empty() && !unheard.is_empty(), "{turns:#?}");
    // All that came after the clear is the next turn, from its first sample to its last.
    let answer = turns[2]["text"].as_str().unwrap();
    assert_eq!(turns[2]["unheard"], "");
    assert!(call.audio(clear) == audio::spoken_sentences(answer), "{answer}");

    let timeline = server.timeline(&call.call_sid).await;
    let decided = decisions(&timeline);
    let wanted = [
        decision("barge_in", "sustained_speech"),
        decision("turn_over", "silence"),
        decision("yield", "long_speech"),
    ];
    assert_eq!(decided[..3], wanted, "{decided:#?}");
    let (_, yielded) = timeline.iter().find(|(_, data)| data["decision"] == "yield").unwrap();
    let numbers = ["measured_ms", "threshold_ms"].map(|name| yielded[name].as_u64().unwrap());
    assert!(numbers[0] > numbers[1], "the decision carries the numbers that it was made on: {yielded}");
    let replayed = server.replay(&record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cough_the_agent_goes_on_from_the_first_unheard_word() {
    let server = server().await;
    let (mut call, clear) = interrupted(&server, &audio::clip("no")).await;
    let sent = assert_greeting_was_cut(&call, clear);
    let (cleared_at, _) = call.heard[clear];
    call.listen_to_turn().await;
    call.hang_up().await;

    let greeting = audio::spoken_sentences(GREETING);
    let rest = call.audio(clear);
    // It rises from silence over 8 ms, so that nothing clicks.
    assert!(greeting.ends_with(&rest[64..]), "what comes is the rest of the greeting, to its last sample");
    let resumed = greeting.len() - rest.len();
    assert!(0 < resumed && resumed <= sent, "resumed at {resumed} after {sent}: no word was left out");
    let mut begins = 0;
    let mut words = Vec::new();
    for sentence in audio::sentences(GREETING) {
        words.extend(audio::word_starts(sentence).into_iter().map(|word| begins + word));
        begins += audio::spoken(sentence).len();
    }
    assert!(words.contains(&resumed), "{resumed} is the beginning of a word: {words:?}");
    // Between the two there was the silence after which the cough was known for one: 500 ms.
    let (resumed_at, _) =
        call.heard[clear + 1..].iter().find(|(_, what)| matches!(what, Sound::Media(_))).unwrap();
    let pause = (resumed_at - cleared_at) as usize;
    assert!(pause * FRAME >= 500 * 8, "a pause of {pause} frames");

    let decided = decisions(&server.timeline(&call.call_sid).await);
    let wanted = [
        decision("barge_in", "sustained_speech"),
        decision("turn_over", "silence"),
        decision("resume", "no_words_followed"),
    ];
    assert_eq!(decided, wanted);
    let record = server.record(&call.call_sid).await;
    let turns = record["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 1, "a cough is no turn: {turns:#?}");
    assert_eq!((&turns[0]["text"], &turns[0]["unheard"]), (&GREETING.into(), &"".into()));

    assert_other_settings_decide_otherwise(&server, &record).await;
}

/// What `offhook replay --set` says of a call with a cough in it.
async fn assert_other_settings_decide_otherwise(server: &Server, record: &Value) {
    let replay = async |args: &[&str]| {
        let output = server.replay_with(record, args).await;
        let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), told)
    };
    let (done, told) = replay(&["--set", "barge_in.cough_max=40ms"]).await;
    assert!(done && told.contains("cough_ms_max: 1000 then, 40 here"), "{told}");
    let line =
        |sign: char, what: &str| told.lines().any(|line| line.starts_with(sign) && line.contains(what));
    assert!(line('-', "no interruption, the agent goes on: sound as short as a cough"), "{told}");
    assert!(line('+', "the interruption stands: too much speech for a cough"), "{told}");
    assert!(told.contains("Decided otherwise from 0:0"), "{told}");
    let speed = told.rsplit_once(" times real time").unwrap().0.rsplit_once(' ').unwrap().1;
    assert!(speed.parse::<u64>().unwrap() >= 100, "{told}");

    let (done, told) = replay(&["--set", "keys_pause_ms=900", "--json"]).await;
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(done && last["verdict"] == "decided-alike" && last["only_changed"] == 0, "{told}");
    assert!(!told.contains("\"only\":"), "{told}");

    let (done, told) = replay(&["--set", "turn.min_silense=400ms"]).await;
    assert!(
        !done && told.contains("there is no setting turn.min_silense; near to it: min_silence_ms"),
        "{told}"
    );
}
