//! What the wire costs per frame: one Twilio message of 20 ms read, its payload decoded, and one written.
//!
//! The throughput is in samples: divided by 8,000 it is the calls that one core could carry if it did nothing else.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{Event, Message, Outgoing};

const STREAM: &str = "MZ0123456789abcdef0123456789abcdef";
const SAMPLES: usize = 160;

fn payload(text: &str) -> std::borrow::Cow<'_, str> {
    match twilio::parse(text) {
        Ok(Message { event: Event::Media(media), .. }) => media.payload,
        other => panic!("{other:?}"),
    }
}

fn wire(criterion: &mut Criterion) {
    let ulaw: [u8; SAMPLES] = std::array::from_fn(|index| (index * 37) as u8);
    let place = Place { sequence: 1_234, chunk: 1_230, timestamp_ms: 24_600 };
    let mut inbound = Vec::new();
    twilio::write_inbound_media(&mut inbound, STREAM, place, &ulaw);
    let inbound = String::from_utf8(inbound).expect("what is written is text");

    let mut decoded = [0; SAMPLES];
    assert_eq!(twilio::decode_base64(&payload(&inbound), &mut decoded), Ok(SAMPLES));
    assert_eq!(decoded, ulaw);
    let mut outbound = Vec::new();
    twilio::write_media(&mut outbound, STREAM, &ulaw);
    let outbound = String::from_utf8(outbound).expect("what is written is text");
    match twilio::parse_outgoing(&outbound) {
        Ok(Outgoing::Media { stream, payload: sent }) => {
            assert_eq!((&*stream, sent), (STREAM, payload(&inbound)));
        }
        other => panic!("{other:?}"),
    }

    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    group.bench_function("read a media message", |bencher| {
        bencher.iter(|| twilio::parse(black_box(&inbound)));
    });
    group.bench_function("decode its base64", |bencher| {
        let payload = payload(&inbound);
        bencher.iter(|| twilio::decode_base64(black_box(&payload), black_box(&mut decoded)));
    });
    group.bench_function("write a media message", |bencher| {
        let mut out = Vec::new();
        bencher.iter(|| {
            out.clear();
            twilio::write_media(&mut out, black_box(STREAM), black_box(&ulaw));
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
