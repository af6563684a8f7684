//! The numbers that a call decides by.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Every threshold of a call, fixed when it is answered. Written into the journal, so that a replay decides alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallSettings {
    /// How readily the voice detector calls a sound speech: 0 (readily) to 3 (clean lines only). Default 3.
    pub vad_mode: u8,
    /// Speech for this long within [`CallSettings::onset_window_ms`] begins an utterance. Default 60 ms.
    pub onset_ms: u32,
    /// See [`CallSettings::onset_ms`]. Default 100 ms.
    pub onset_window_ms: u32,
    /// Audio from before the onset that the recogniser gets with the utterance, at most 10 s. Default 300 ms.
    pub preroll_ms: u32,
    /// Silence for this long ends the caller's turn, unless there is a reason to wait longer: see
    /// [`CallSettings::max_silence_ms`]. Default 700 ms.
    pub min_silence_ms: u32,
    /// One turn of the caller lasts no longer. Default 30 s.
    pub turn_ms_max: u32,
    /// Speech for this long, while the agent speaks, stops the agent. Default 120 ms.
    pub barge_in_ms: u32,
    /// Silence for this long after an interruption asks for its words; if there are none, the agent goes on. Default 500 ms.
    pub resume_after_ms: u32,
    /// A sound without words is held against the caller (as not understood) only from this much speech on. Default 300 ms.
    pub min_speech_ms: u32,
    /// An interruption without words is a cough up to this much speech; beyond, it was not understood. Default 1 s.
    pub cough_ms_max: u32,
    /// How long the recogniser may take for its final words. Default 3 s.
    pub final_wait_ms: u32,
    /// How long the agent may take to its next sentence, or to the end of its turn. Default 15 s.
    pub agent_wait_ms: u32,
    /// What is said when the agent cannot answer, before the call ends; empty: nothing. Default an apology in English.
    pub apology: Arc<str>,
    /// How long the voice may take to its next audio. Default 8 s.
    pub voice_wait_ms: u32,
    /// Silence for this long after the agent's turn was heard counts as no answer. Default 7 s.
    pub no_input_ms: u32,
    /// A pause of this length ends an answer by keys. Default 2.5 s.
    pub keys_pause_ms: u32,
    /// How far playout runs ahead of real time. Default 100 ms.
    pub lead_ms: u32,
    /// How much agent audio one message to the carrier holds, at most. For a carrier that does not buffer: 20 ms. Default
    /// 100 ms.
    pub message_ms: u32,
    /// How long after its audio was due a mark may come back. Default 2 s.
    pub mark_grace_ms: u32,
    /// No audio for this long is told on the timeline. Default 1 s.
    pub stall_ms: u32,
    /// No audio for this long ends the call. Default 15 s.
    pub media_timeout_ms: u32,
    /// The most that one gap in the caller's audio is filled with. Default 500 ms.
    pub conceal_ms_max: u32,
    /// How far the caller's audio may run ahead of the time that has passed. Default 1 s.
    pub ahead_ms_max: u32,
    /// Whether the other side is told, once per kind of fault, that a message could not be used. Twilio ignores that. Default
    /// true.
    pub error_frames: bool,
    /// Whether the agent's own voice is recognised when the caller's telephone sends it back, so that it does not interrupt
    /// the agent. Default true.
    pub echo: bool,
    /// How long what may be an echo is kept from interrupting, until it is known what it is. Only at the beginning of a
    /// call: once the agent was heard for a moment without anything coming back, nothing waits. Default 400 ms.
    pub echo_wait_ms: u32,
    /// Words that, said alone while the agent speaks, do not take the floor; none: every word does. Only their letters count.
    /// Default "mm-hm" and its like, "yeah" and "okay".
    pub back_channels: Arc<[String]>,
    /// They do take it if less than this was left to say, since then they may be the answer. Default 1.5 s.
    pub back_channel_unheard_ms: u32,
    /// Silence for this long ends the caller's turn though the words so far seem unfinished, or the caller is one who makes
    /// long pauses. As much as [`CallSettings::min_silence_ms`] or less: all are treated alike. Default 1.5 s.
    pub max_silence_ms: u32,
    /// Words that no turn ends with: after them the caller is waited for longer. Default some forty of English.
    pub unfinished_words: Arc<[String]>,
    /// Silence for this long after words that do not seem unfinished asks the agent already, since the turn is probably over.
    /// Its answer is held until the turn is over, and dropped unheard if the caller goes on. As much as the silence that ends
    /// the turn, or 0: never. Default 0, as whoever pays for answers pays for those that are dropped.
    pub early_silence_ms: u32,
}

/// Conjunctions, articles, possessives and prepositions that hardly ever stand last, and sounds of somebody who thinks.
const UNFINISHED: &str = "a an and about around at because but by for from i i'm if is it's its like maybe my of or our than \
    that's the then their um uhm erm er to we well with your";

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            vad_mode: 3,
            onset_ms: 60,
            onset_window_ms: 100,
            preroll_ms: 300,
            min_silence_ms: 700,
            turn_ms_max: 30_000,
            barge_in_ms: 120,
            resume_after_ms: 500,
            min_speech_ms: 300,
            cough_ms_max: 1_000,
            final_wait_ms: 3_000,
            agent_wait_ms: 15_000,
            apology: "I am sorry, I cannot go on with this call right now. Please call again later.".into(),
            voice_wait_ms: 8_000,
            no_input_ms: 7_000,
            keys_pause_ms: 2_500,
            lead_ms: 100,
            message_ms: 100,
            mark_grace_ms: 2_000,
            stall_ms: 1_000,
            media_timeout_ms: 15_000,
            conceal_ms_max: 500,
            ahead_ms_max: 1_000,
            error_frames: true,
            echo: true,
            echo_wait_ms: 400,
            back_channels: [
                "mmhm", "mhm", "mm", "hm", "hmm", "uhhuh", "uh", "huh", "aha", "yeah", "okay", "ok",
            ]
            .map(String::from)
            .into(),
            back_channel_unheard_ms: 1_500,
            max_silence_ms: 1_500,
            unfinished_words: UNFINISHED.split_whitespace().map(String::from).collect(),
            early_silence_ms: 0,
        }
    }
}

pub(crate) const fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms as u64)
}
