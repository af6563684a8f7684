//! Files: journals, settings, and the scripts of agents and callers.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use offhook::caller::CallerScenario;
use offhook::settings::Settings;
use offhook_engine::agent::Scenario;
use offhook_engine::call::Call;
use offhook_engine::journal::{Journal, Verdict, replay};

/// No longer text is given to what speaks it: a voice takes its time.
const SPOKEN_BYTES_MAX: usize = 2_000;

/// The magic and the version of a journal, and of each block: its length, and its checksum.
const PREFIX_BYTES: usize = 10;
const BLOCK_HEAD_BYTES: usize = 8;

/// The journal of a short conversation, made by the code at hand.
pub fn recorded_call() -> &'static [u8] {
    static CALL: OnceLock<Vec<u8>> = OnceLock::new();
    CALL.get_or_init(|| crate::journalled::recorded(Duration::from_secs(6)))
}

/// A journal: what can be read of it can be run again, without a panic of the call. As it is, and with its checksums put
/// right, since otherwise hardly any mutation would get past them.
pub(super) fn journal(bytes: &[u8]) {
    read_and_run(bytes.to_vec());
    let mut right = bytes.to_vec();
    if right.len() < PREFIX_BYTES {
        return;
    }
    right[..PREFIX_BYTES].copy_from_slice(&recorded_call()[..PREFIX_BYTES]);
    let mut block = PREFIX_BYTES;
    while let Some(length) = right[block..].first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) {
        let from = block + BLOCK_HEAD_BYTES;
        let Some(payload) = right.get(from..from.saturating_add(length as usize)) else { break };
        let (crc, end) = (crc32fast::hash(payload), from + payload.len());
        right[block + 4..from].copy_from_slice(&crc.to_le_bytes());
        block = end;
    }
    read_and_run(right);
}

fn read_and_run(bytes: Vec<u8>) {
    let Ok(journal) = Journal::parse(bytes) else { return };
    let run = replay(&journal);
    assert!(!matches!(run.verdict, Verdict::Panicked { .. }), "{:?}", run.verdict);
    if let (Verdict::Same, Some((at, _))) = (&run.verdict, journal.end()) {
        assert_eq!(run.until, at);
    }
    assert_eq!(replay(&journal), run, "the same again");
}

/// A settings file: what is accepted makes a call, and stands within its own rules.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(settings) = Settings::from_text(text) else { return };
    settings.check().expect("checked when it was read");
    assert!(settings.call.vad_mode <= 3);
    let call = Call::new(settings.call);
    assert!(call.next_deadline().is_some(), "a call waits for its stream");
}

/// An agent's scenario.
pub(super) fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Scenario::parse("any.toml", text) {
        Ok(scenario) => assert!(!scenario.name().is_empty()),
        Err(error) => assert!(error.to_string().contains("any.toml"), "{error} does not name the file"),
    }
}

/// A scenario of callers, whose texts are spoken as it is read.
pub(super) fn callers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // No file of this machine is read.
    if text.len() > SPOKEN_BYTES_MAX || text.contains('/') || text.contains("\\u") || text.contains("\\U") {
        return;
    }
    match CallerScenario::parse("any.toml", text, Path::new("/nowhere")) {
        Ok(scenario) => {
            let order = scenario.order();
            assert!(!order.is_empty() && order.iter().all(|kind| *kind < scenario.variants.len()));
        }
        Err(error) => assert!(error.to_string().contains("any.toml"), "{error} does not name the file"),
    }
}
