//! The wire costs no allocation per frame: an allocator that counts its own thread, a warm start, a thousand frames, zero.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{Event, Outgoing};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct CountingAllocator;

fn count() {
    // A thread that is ending has no counter left, and nobody asks for it any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what it returns; the counter is a
// const-initialised thread-local without a destructor, so counting does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc_zeroed`'s contract, which is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract, and `block` came from `System`.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `block` came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const STREAM: &str = "MZ0123456789abcdef0123456789abcdef";

/// How often this thread asks for memory in a thousand runs of `work`, after one to warm up.
fn allocations_of_a_thousand(mut work: impl FnMut()) -> u64 {
    work();
    let before = ALLOCATIONS.get();
    for _ in 0..1_000 {
        work();
    }
    ALLOCATIONS.get() - before
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("what is written is text")
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of_a_thousand(|| drop(std::hint::black_box(Box::new(7)))), 1_000);
}

#[test]
fn reading_and_writing_a_media_message_allocates_nothing() {
    let frame: [u8; 160] = std::array::from_fn(|index| index as u8);
    let place = Place { sequence: 2, chunk: 1, timestamp_ms: 5 };
    let inbound = text(|out| twilio::write_inbound_media(out, STREAM, place, &frame));
    let mut ulaw = [0; 160];
    let mut out = Vec::new();
    let allocations = allocations_of_a_thousand(|| {
        let message = twilio::parse(&inbound).unwrap();
        let Event::Media(media) = message.event else { panic!("not media") };
        assert_eq!(twilio::decode_base64(&media.payload, &mut ulaw), Ok(160));
        assert_eq!(ulaw, frame);
        out.clear();
        twilio::write_media(&mut out, STREAM, &ulaw);
    });
    assert_eq!(allocations, 0);
}

#[test]
fn reading_marks_keys_and_the_end_allocates_nothing() {
    let stop = r#"{"event":"stop","sequenceNumber":"7","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}"#;
    let texts = [
        text(|out| twilio::write_mark_echo(out, STREAM, 3, "m17")),
        text(|out| twilio::write_dtmf(out, STREAM, 4, '5')),
        stop.to_owned(),
    ];
    let allocations = allocations_of_a_thousand(|| {
        for text in &texts {
            assert!(twilio::parse(text).is_ok());
        }
    });
    assert_eq!(allocations, 0);
}

#[test]
fn a_simulated_carrier_allocates_nothing_per_frame() {
    let agent = text(|out| twilio::write_media(out, STREAM, &[0xff; 160]));
    let mut ulaw = [0; 160];
    let mut out = Vec::new();
    let mut place = Place { sequence: 1_000_000, chunk: 1_000_000, timestamp_ms: 20_000_000 };
    let allocations = allocations_of_a_thousand(|| {
        let Ok(Outgoing::Media { payload, .. }) = twilio::parse_outgoing(&agent) else { panic!("not media") };
        assert_eq!(twilio::decode_base64(&payload, &mut ulaw), Ok(160));
        out.clear();
        place.sequence += 1;
        twilio::write_inbound_media(&mut out, STREAM, place, &ulaw);
        twilio::write_mark(&mut out, STREAM, "m17");
        twilio::write_clear(&mut out, STREAM);
    });
    assert_eq!(allocations, 0);
}
