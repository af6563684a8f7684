//! A call's timeline as lines of text, for all commands that show one.

use super::call::TimelineEntry;
use offhook_engine::call::{
    By, CallTime, Decided, Decision, Event, EventKind, Failure, Nearest, Part, Prompt, Reason, Relation,
    Response, Rule, Speaker, Turn,
};

/// One event as one line: ` 0:12.340  caller    "two hundred"`.
pub fn line(event: &Event) -> String {
    let (who, what) = describe(&event.kind);
    format!("{:>9}  {who:<8}  {what}", clock(event.at))
}

/// One entry of a stored timeline as a line; `None` if it is of a kind that this version does not know.
pub fn stored_line(entry: &TimelineEntry) -> Option<String> {
    let kind = match &entry.data {
        serde_json::Value::Object(data) if data.is_empty() => serde_json::Value::from(entry.kind.clone()),
        data => serde_json::json!({ &entry.kind: data }),
    };
    let kind = serde_json::from_value(kind).ok()?;
    Some(line(&Event { at: CallTime::from_micros(entry.at_us), kind }))
}

/// What a stored entry says, with what follows from it: of a response time, who spent it, in µs.
pub fn explained(entry: &TimelineEntry) -> serde_json::Value {
    let mut data = entry.data.clone();
    if entry.kind == "responded"
        && let Ok(response) = serde_json::from_value::<Response>(data.clone())
        && let Some(fields) = data.as_object_mut()
    {
        let spent = response.spent().map(|(spender, us)| (format!("{}_us", spender.as_str()), us.into()));
        fields.extend(spent);
    }
    data
}

/// A moment of a call: minutes, seconds and milliseconds since the answer.
pub fn clock(at: CallTime) -> String {
    let ms = at.as_millis();
    format!("{}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
}

/// Whose doing an event is, and what it is.
fn describe(kind: &EventKind) -> (&'static str, String) {
    match kind {
        EventKind::Started { stream } => ("leg", format!("stream {} began", plain(stream))),
        EventKind::MediaFlows => ("leg", "the caller's audio flows".to_owned()),
        EventKind::SpeechStarted { .. } => ("caller", "begins to speak".to_owned()),
        EventKind::SpeechEnded { speech_ms, .. } => {
            ("caller", format!("falls silent after {speech_ms} ms of speech"))
        }
        EventKind::Interim { text, .. } => ("caller", format!("so far: {}", quoted(text))),
        EventKind::Final { text, wait_ms, .. } if text.is_empty() => {
            ("caller", format!("no words understood ({wait_ms} ms after the end of speech)"))
        }
        EventKind::Final { text, wait_ms, .. } => {
            ("caller", format!("understood: {} ({wait_ms} ms after the end of speech)", quoted(text)))
        }
        EventKind::Decided(decided) => ("decision", decision(decided)),
        EventKind::Key { digit } => ("caller", format!("presses {}", plain(&digit.to_string()))),
        EventKind::AgentAsked { turn, prompt } => {
            ("agent", format!("asked for turn {}: {}", turn.0, prompted(prompt)))
        }
        EventKind::AgentFailed { turn, why } => {
            ("agent", format!("gives no answer for turn {}: {}", turn.0, failure(*why)))
        }
        EventKind::VoiceFailed { utterance } => {
            ("agent", format!("the voice failed on utterance {}", utterance.0))
        }
        EventKind::Switched { part, from, to, why } => {
            let who = match part {
                Part::Ears => "caller",
                Part::Voice | Part::Agent => "agent",
            };
            let next = match to {
                Some(to) => format!("{} goes on", plain(to)),
                None => "nobody is left".to_owned(),
            };
            (who, format!("{} {} failed, {}: {next}", part.as_str(), plain(from), failure(*why)))
        }
        EventKind::AgentSpeaks { response_ms: Some(ms), .. } => {
            ("agent", format!("begins to speak, {ms} ms after the caller"))
        }
        EventKind::AgentSpeaks { response_ms: None, .. } => ("agent", "begins to speak".to_owned()),
        EventKind::Responded(response) => ("agent", responded(response)),
        EventKind::Recorded { key, value } => ("agent", format!("notes {} = {}", plain(key), quoted(value))),
        EventKind::Turn(turn) => (speaker(turn.speaker), said(turn)),
        EventKind::Fault { fault, count } => ("leg", format!("unusable message: {fault:?} ({count} so far)")),
        EventKind::Gap { missing_ms, concealed_ms, count } => {
            ("leg", format!("{missing_ms} ms of audio missing, {concealed_ms} ms concealed ({count} so far)"))
        }
        EventKind::OutOfSequence { expected, got, count } => {
            ("leg", format!("message {got} where {expected} was due ({count} so far)"))
        }
        EventKind::Stale { count } => ("leg", format!("audio came twice or too late ({count} so far)")),
        EventKind::AheadOfTime { ahead_ms, dropped_ms, count } => (
            "leg",
            format!("audio {ahead_ms} ms ahead of time, {dropped_ms} ms dropped in all ({count} so far)"),
        ),
        EventKind::EmptyPayload { count } => ("leg", format!("a message without audio ({count} so far)")),
        EventKind::MediaStalled { silent_ms } => ("leg", format!("no audio for {silent_ms} ms")),
        EventKind::MediaResumed { silent_ms } => ("leg", format!("audio flows again after {silent_ms} ms")),
        EventKind::Underrun { gap_ms, count } => {
            ("agent", format!("the caller heard a gap of {gap_ms} ms ({count} so far)"))
        }
        EventKind::UnknownMark { count } => ("leg", format!("a mark that is not ours ({count} so far)")),
        EventKind::MarkMissing { mark } => ("leg", format!("mark {mark} did not come back in time")),
        EventKind::SpeechDropped { dropped_ms } => {
            ("engine", format!("the recogniser missed {dropped_ms} ms of audio so far"))
        }
        EventKind::Ended { reason } => ("call", format!("ended: {}", reason.as_str())),
    }
}

fn failure(why: Failure) -> &'static str {
    match why {
        Failure::Unsaid => "it does not say why",
        Failure::Slow => "it takes too long",
        Failure::Unreachable => "its service cannot be reached",
        Failure::Unauthorised => "its service does not accept the key",
        Failure::Unpaid => "its service wants to be paid first",
        Failure::Busy => "its service has too much to do",
        Failure::Faulty => "its service failed",
        Failure::Refused => "its service will not do this",
        Failure::Malformed => "its service answered nonsense",
        Failure::BrokenOff => "its service stopped in the middle",
        Failure::Flooded => "too much waits for it",
        Failure::Panicked => "a bug in it",
    }
}

/// The response time, its stages, and who spent them, in ms, to the microsecond: what stands there adds up.
fn responded(response: &Response) -> String {
    let ms = |us: u64| format!("{}.{:03}", us / 1_000, us % 1_000);
    let stages = response.told_stages().map(|(stage, us)| format!("{} {}", stage.as_str(), ms(us)));
    let stages = stages.collect::<Vec<_>>().join(" + ");
    let spent = response.spent().map(|(spender, us)| format!("{} {}", spender.as_str(), ms(us))).join(", ");
    format!("answered after {} ms = {stages} ({spent})", ms(response.response_us))
}

fn speaker(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Caller => "caller",
        Speaker::Agent => "agent",
    }
}

fn said(turn: &Turn) -> String {
    let mut said = match turn.by {
        By::Voice => quoted(&turn.text),
        By::Keypad => format!("keys {}", plain(&turn.text)),
    };
    if !turn.unheard.is_empty() {
        let about = if turn.estimated { ", or near it: the voice places no words" } else { "" };
        said.push_str(&format!(", cut off before {}{about}", quoted(&turn.unheard)));
    }
    said
}

fn prompted(prompt: &Prompt) -> String {
    match prompt {
        Prompt::CallStarted => "greet".to_owned(),
        Prompt::Said(text) => format!("the caller said {}", quoted(text)),
        Prompt::Keyed(keys) => format!("the caller keyed {}", plain(keys)),
        Prompt::NotUnderstood => "the caller was not understood".to_owned(),
        Prompt::Spoke => "the caller spoke to an agent that hears".to_owned(),
        Prompt::Silence(1) => "the caller is silent".to_owned(),
        Prompt::Silence(times) => format!("the caller is silent, for the {times}. time"),
    }
}

/// A decision, the rule that fired with its numbers, and the nearest that did not with what it lacked.
fn decision(decided: &Decided) -> String {
    let decision = match decided.decision {
        Decision::BargeIn => "barge-in, the agent stops",
        Decision::KeepFloor => "the agent keeps the floor",
        Decision::Resume => "no interruption, the agent goes on",
        Decision::Yield => "the interruption stands",
        Decision::TurnOver => "the caller's turn is over",
        Decision::Ignore => "not a turn, wait on",
        Decision::NoInput => "the caller does not answer",
        Decision::HangUp => "hang up",
        Decision::GiveUp => "wait no longer",
        Decision::AskEarly => "the caller's turn is probably over, the agent is asked already",
    };
    let nearest = decided.nearest.map_or(String::new(), |nearest| format!("; {}", nearest_rule(&nearest)));
    format!("{decision}: {}{nearest}", rule(&decided.rule()))
}

/// `silence, 700 ms ≥ 700 ms`: a rule that holds.
fn rule(rule: &Rule) -> String {
    let Rule { reason, measured_ms, threshold_ms } = *rule;
    let reason_text = reason_text(reason);
    let sign = match reason.relation() {
        Relation::Fact => return reason_text.to_owned(),
        Relation::AtLeast => "≥",
        Relation::Over => ">",
        Relation::Under => "<",
        Relation::AtMost => "≤",
    };
    format!("{reason_text}, {measured_ms} ms {sign} {threshold_ms} ms")
}

/// `nearest other rule: silence, 300 ms of 700 ms`.
fn nearest_rule(nearest: &Nearest) -> String {
    let Nearest { reason, measured_ms, threshold_ms, missing_ms } = *nearest;
    let reason_text = reason_text(reason);
    match reason.relation() {
        Relation::Fact => format!("nearest other rule: {reason_text}"),
        _ if missing_ms == 0 => {
            format!("overruled: {}", rule(&Rule::new(reason, measured_ms, threshold_ms)))
        }
        Relation::AtLeast | Relation::Over => {
            format!(
                "nearest other rule: {reason_text}, {measured_ms} of {threshold_ms} ms, {missing_ms} ms short"
            )
        }
        Relation::Under | Relation::AtMost => format!(
            "nearest other rule: {reason_text}, {measured_ms} of at most {threshold_ms} ms, {missing_ms} ms over"
        ),
    }
}

fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::SustainedSpeech => "sustained speech",
        Reason::ShortSound => "a short sound, then silence",
        Reason::KeyPressed => "a key was pressed",
        Reason::WordsFollowed => "words followed",
        Reason::NoWordsFollowed => "sound as short as a cough",
        Reason::Goodbye => "goodbye is not interrupted",
        Reason::Silence => "silence",
        Reason::TooLong => "as long as a turn may last",
        Reason::MediaStalled => "the audio stopped coming",
        Reason::KeysComplete => "the keys are complete",
        Reason::KeysPause => "a pause after keys",
        Reason::RecogniserSilent => "the recogniser gave nothing in time",
        Reason::AgentSilent => "the agent gave nothing in time",
        Reason::VoiceSilent => "the voice gave nothing in time",
        Reason::TooShort => "too little speech for words",
        Reason::EnoughSpeech => "enough speech for words",
        Reason::LongSpeech => "too much speech for a cough",
        Reason::LastMark => "the last mark came back",
        Reason::MarkTimeout => "a mark did not come back",
        Reason::Echo => "the agent's own voice came back",
        Reason::PerhapsEcho => "it may be the agent's own voice",
        Reason::BackChannel => "the caller only said to go on",
        Reason::SilenceUnfinished => "silence, after words that seemed unfinished",
        Reason::SilenceOfHesitant => "silence, of one who makes long pauses",
        Reason::SilenceWhileTyping => "silence, while keys are being typed",
        Reason::SilenceProbablyOver => "silence, after words that do not seem unfinished",
        Reason::RecogniserEnds => "the recogniser takes the turn for over",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// Text from outside, without what would move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use offhook_engine::call::{EndReason, TurnId};

    use super::*;

    fn at(ms: u64, kind: EventKind) -> String {
        line(&Event { at: CallTime::from_millis(ms), kind })
    }

    #[test]
    fn lines_stand_under_each_other() {
        assert_eq!(at(0, EventKind::MediaFlows), " 0:00.000  leg       the caller's audio flows");
        assert_eq!(
            at(754_321, EventKind::Ended { reason: EndReason::CallerHangup }),
            "12:34.321  call      ended: caller-hangup"
        );
    }

    fn decided(decision: Decision, rule: Rule, nearest: Option<Nearest>) -> String {
        let Rule { reason, measured_ms, threshold_ms } = rule;
        let decided = Decided { decision, reason, measured_ms, threshold_ms, nearest, seen: None };
        at(2_500, EventKind::Decided(decided)).split_off(" 0:02.500  decision  ".len())
    }

    #[test]
    fn decision_comes_with_its_rule_and_the_nearest_other() {
        let near = |reason, measured_ms, threshold_ms, missing_ms| {
            Some(Nearest { reason, measured_ms, threshold_ms, missing_ms })
        };
        let silence = near(Reason::Silence, 0, 700, 700);
        assert_eq!(
            decided(Decision::BargeIn, Rule::new(Reason::SustainedSpeech, 120, 100), silence),
            "barge-in, the agent stops: sustained speech, 120 ms ≥ 100 ms; nearest other rule: silence, 0 of 700 ms, \
             700 ms short"
        );
        let cough = near(Reason::NoWordsFollowed, 1_020, 1_000, 20);
        assert_eq!(
            decided(Decision::Yield, Rule::new(Reason::LongSpeech, 1_020, 1_000), cough),
            "the interruption stands: too much speech for a cough, 1020 ms > 1000 ms; nearest other rule: sound as \
             short as a cough, 1020 of at most 1000 ms, 20 ms over"
        );
        let overruled = near(Reason::SustainedSpeech, 100, 100, 0);
        assert_eq!(
            decided(Decision::KeepFloor, Rule::fact(Reason::Goodbye), overruled),
            "the agent keeps the floor: goodbye is not interrupted; overruled: sustained speech, 100 ms ≥ 100 ms"
        );
        assert_eq!(
            decided(Decision::HangUp, Rule::fact(Reason::LastMark), None),
            "hang up: the last mark came back"
        );
    }

    #[test]
    fn decisions_stored_before_the_nearest_rule_was_kept_are_still_shown() {
        let data = serde_json::json!({
            "decision": "turn_over", "reason": "silence", "measured_ms": 700, "threshold_ms": 700
        });
        let entry = TimelineEntry { place: 1, at_us: 2_500_000, kind: "decided".into(), data };
        assert_eq!(
            stored_line(&entry).unwrap(),
            " 0:02.500  decision  the caller's turn is over: silence, 700 ms ≥ 700 ms"
        );
    }

    #[test]
    fn an_agent_that_gives_no_answer_says_why_unless_it_was_stored_before_reasons_were_kept() {
        let turn = TurnId(3);
        assert_eq!(
            at(900, EventKind::AgentFailed { turn, why: Failure::Unpaid }),
            " 0:00.900  agent     gives no answer for turn 3: its service wants to be paid first"
        );
        let data = serde_json::json!({ "turn": 3 });
        let entry = TimelineEntry { place: 1, at_us: 900_000, kind: "agent_failed".into(), data };
        assert!(stored_line(&entry).unwrap().ends_with("gives no answer for turn 3: it does not say why"));
    }

    #[test]
    fn turn_says_what_was_heard_and_what_was_not() {
        let turn = Turn {
            turn: TurnId(3),
            speaker: Speaker::Agent,
            started: CallTime::ZERO,
            ended: CallTime::from_millis(900),
            text: "We open".into(),
            unheard: "at nine.".into(),
            estimated: false,
            by: By::Voice,
            response_ms: None,
        };
        assert_eq!(
            at(900, EventKind::Turn(turn)),
            " 0:00.900  agent     \"We open\", cut off before \"at nine.\""
        );
    }

    #[test]
    fn response_time_comes_with_its_stages() {
        let response = Response {
            turn: TurnId(3),
            endpointing_us: 700_002,
            transcript_us: 51_010,
            agent_us: 900,
            voice_us: 2_000,
            held_us: 0,
            playout_us: 0,
            response_us: 753_912,
        };
        assert_eq!(
            at(900, EventKind::Responded(response)),
            " 0:00.900  agent     answered after 753.912 ms = endpointing 700.002 + transcript 51.010 + agent 0.900 + voice \
             2.000 + playout 0.000 (silence 700.002, vendor 53.910, engine 0.000)"
        );
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        let text = "a\u{1b}[2Jb\nc".to_owned();
        assert_eq!(plain(&text), "a [2Jb c");
    }
}
