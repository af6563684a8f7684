//! A frame of a running call asks the allocator for nothing, whoever has the floor.

use std::time::Duration;

use offhook_engine::sim::{Line, voiced};
use offhook_fixtures::alloc::{CountingAllocator, Counts, counted};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SILENCE: [u8; 160] = [0xFF; 160];

#[test]
fn an_idle_caller_costs_no_memory() {
    let mut line = Line::open();
    (0..50).for_each(|_| line.hear(&SILENCE));
    let ((), counts) = counted(|| (0..200).for_each(|_| line.hear(&SILENCE)));
    assert_eq!(counts, Counts::default());
}

#[test]
fn a_speaking_caller_costs_no_memory() {
    let mut line = Line::open();
    let speech = voiced(Duration::from_secs(22));
    let (before, after) = speech.split_at(2 * 8_000);
    before.chunks(160).for_each(|frame| line.hear(frame));
    let heard = line.caller_audio;
    let ((), counts) = counted(|| after.chunks(160).for_each(|frame| line.hear(frame)));
    assert_eq!(counts, Counts::default());
    assert_eq!(line.caller_audio - heard, after.len() as u64, "all of it went to the recogniser");
}

#[test]
fn a_speaking_agent_costs_no_memory() {
    let mut line = Line::open();
    line.agent_speaks(60);
    (0..50).for_each(|_| line.hear(&SILENCE));
    let sent = line.media_out;
    let ((), counts) = counted(|| (0..1_000).for_each(|_| line.hear(&SILENCE)));
    assert_eq!(counts, Counts::default());
    assert_eq!(line.media_out - sent, 1_000 * 160, "a frame in, a frame out");
}
