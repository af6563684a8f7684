//! A whole conversation: greeted, asked, answered, said goodbye to; and all of it is in the record.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use offhook::caller::{CallPlan, CallReport, EndedBy, Keep, LogMessage, Step, place, prepare};
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_tests::Server;
use offhook_tests::audio::{self, Recording};
use serde_json::Value;

async fn call(server: &Server, steps: Vec<Step>) -> CallReport {
    let script = prepare(&steps).unwrap();
    let plan = CallPlan {
        keep: Keep { recording: true, log: true },
        max_duration: Duration::from_secs(100),
        ..CallPlan::new(server.base(), script)
    };
    let report = place(plan, |_| {}).await.unwrap();
    assert_eq!((report.fault_count, &report.status_failed), (0, &None), "{:?}", report.faults);
    report
}

fn keys(keys: &str) -> Step {
    Step::Keys(keys.into())
}

fn clip(name: &str) -> Step {
    Step::Wav(audio::clip_file(name))
}

/// Checks that the agent's last mark came back played, not cleared.
fn assert_goodbye_was_heard(report: &CallReport) {
    let is_mark = |message: &LogMessage| matches!(message, LogMessage::Mark { .. });
    let last = report.log.iter().rposition(|entry| is_mark(&entry.message)).unwrap();
    let LogMessage::Mark { name: last_mark } = &report.log[last].message else { unreachable!() };
    let echoed = report.log[last..].iter().any(
        |entry| matches!(&entry.message, LogMessage::Echo { name, cleared: false } if name == last_mark),
    );
    assert!(echoed, "{last_mark} did not come back");
    let more = report.log[last..]
        .iter()
        .any(|e| matches!(e.message, LogMessage::Media { .. } | LogMessage::Clear { .. }));
    assert!(!more, "nothing is said after goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_questions_are_answered_by_keys_and_all_of_it_is_kept() {
    let server = Server::start(&["--speech", "keypad"]).await;
    // What is said is not understood, as there is no recogniser; the keys are.
    let steps = vec![clip("hello"), keys("200#"), keys("2"), keys("1"), keys("1")];
    let report = call(&server, steps).await;
    assert_eq!((&report.ended_by, report.unsaid), (&EndedBy::Server, 0));
    assert_goodbye_was_heard(&report);

    let record = server.record(&report.call_sid).await;
    assert_eq!((&record["status"], &record["end_reason"]), (&"completed".into(), &"agent-hangup".into()));
    assert_eq!(record["carrier_status"], "completed");
    assert_eq!(record["stream_id"], report.stream_sid.as_str());
    assert_eq!((&record["from"], &record["to"]), (&"+15005550009".into(), &"+15005550006".into()));
    assert_eq!((&record["lost_timeline_entries"], &record["losses"]), (&0.into(), &Value::Array(vec![])));
    for (question, answer) in [
        ("company_size", "200"),
        ("budget", "10000_to_50000"),
        ("timeline", "this_month"),
        ("meeting", "yes"),
        ("outcome", "qualified"),
    ] {
        assert_eq!(record["recorded"][question], answer, "{record:#}");
    }

    let turns = record["turns"].as_array().unwrap();
    let said: Vec<_> = turns
        .iter()
        .map(|turn| {
            (turn["speaker"].as_str().unwrap(), turn["by"].as_str().unwrap(), turn["text"].as_str().unwrap())
        })
        .collect();
    assert!(said.iter().step_by(2).all(|turn| turn.0 == "agent"), "{said:#?}");
    let caller: Vec<_> = said.iter().skip(1).step_by(2).copied().collect();
    let typed = |text| ("caller", "keypad", text);
    assert_eq!(
        caller,
        [("caller", "voice", ""), typed("200"), typed("2"), typed("1"), typed("1")],
        "{said:#?}"
    );
    assert!(
        said[0].2.starts_with("Hello, and thank you for calling. I have four short questions."),
        "{said:#?}"
    );
    assert!(said.last().unwrap().2.ends_with("Thank you, and goodbye."), "{said:#?}");
    let mut before = 0;
    for turn in turns {
        let (started, ended) = (turn["started_ms"].as_u64().unwrap(), turn["ended_ms"].as_u64().unwrap());
        assert!(before <= started && started <= ended, "{turns:#?}");
        before = started;
        assert_eq!(turn["unheard"], "", "nobody was interrupted");
    }

    let duration_ms = record["duration_ms"].as_u64().unwrap();
    let off = report.duration.abs_diff(Duration::from_millis(duration_ms));
    assert!(off < Duration::from_secs(3), "{duration_ms} ms, by the caller {:?}", report.duration);
    let recording = Recording::read(&server.file(&record, "recording").await);
    recording.assert_lasts(duration_ms);
    audio::assert_holds(&recording.left, &audio::clip("hello"));
    let agent: Vec<u8> =
        said.iter().step_by(2).flat_map(|(_, _, text)| audio::spoken_sentences(text)).collect();
    // Sentence by sentence: between two turns lies silence.
    let mut rest = &recording.right[..];
    for sentence in said.iter().step_by(2).flat_map(|(_, _, text)| audio::sentences(text)) {
        rest = audio::assert_holds(rest, &audio::spoken_sentences(sentence));
    }
    assert_eq!(report.samples_received, agent.len() as u64, "all that the record says was said, and no more");

    let replayed = server.replay(&record).await;
    let told = String::from_utf8_lossy(&replayed.stdout);
    assert!(replayed.status.success() && told.contains("Same: "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "says why it has nothing to test on this machine")]
async fn two_hundred_said_by_a_human_is_understood() {
    if let Err(error) = Pocketsphinx::load() {
        println!("skipped: {error}");
        return;
    }
    let server = Server::start(&["--speech", "local"]).await;
    let report = call(&server, vec![clip("two_hundred"), keys("2"), keys("1"), keys("1")]).await;
    assert_eq!((&report.ended_by, report.unsaid), (&EndedBy::Server, 0));
    let record = server.record(&report.call_sid).await;
    assert_eq!(record["recorded"]["company_size"], "200", "{record:#}");
    assert_eq!(record["recorded"]["outcome"], "qualified", "{record:#}");
    let first = record["turns"].as_array().unwrap().iter().find(|turn| turn["speaker"] == "caller").unwrap();
    assert_eq!((&first["by"], &first["text"]), (&"voice".into(), &"two hundred".into()));
    let replayed = server.replay(&record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}
