//! Sound files, and packets of sound.

use std::io::Cursor;

use offhook_codecs::{SampleRate, ogg, opus, wav};

/// The longest sound that is read, so that one input takes no time worth speaking of.
const LONGEST_MS: u32 = 2_000;

/// A WAV file: bounded by its bytes, the same in pieces as at once, and the same again once written.
pub(super) fn wav(bytes: &[u8]) {
    let Ok(mut reader) = wav::Reader::new(Cursor::new(bytes)) else { return };
    let format = reader.format();
    let channels = usize::from(format.channels);
    assert!(channels > 0 && format.rate_hz > 0, "{format:?}");
    let whole = reader.read_channels();
    if let Ok(whole) = &whole {
        assert_eq!(whole.len(), channels);
        assert!(whole.iter().all(|channel| channel.len() == whole[0].len()));
        assert!(whole.len() * whole[0].len() <= bytes.len(), "a sample is at least a byte");
    }
    let mut reader = wav::Reader::new(Cursor::new(bytes)).expect("read once, read twice");
    let (mut pieces, mut block) = (Vec::new(), vec![0; 3 * channels]);
    let ended = loop {
        match reader.read(&mut block) {
            Ok(read) => {
                pieces.extend_from_slice(&block[..read]);
                if read < block.len() {
                    break Ok(());
                }
            }
            Err(error) => break Err(error),
        }
    };
    let Ok(whole) = whole else { return assert!(ended.is_err(), "an error at once, and none in pieces") };
    assert_eq!(ended, Ok(()));
    let side_by_side: Vec<i16> =
        (0..whole[0].len()).flat_map(|n| whole.iter().map(move |channel| channel[n])).collect();
    assert_eq!(pieces, side_by_side);

    let mut writer = wav::Writer::mono(Cursor::new(Vec::new()), format.rate_hz).expect("memory takes all");
    writer.write(&whole[0]).expect("memory takes all");
    let file = writer.finish().expect("memory takes all").into_inner();
    let again = wav::Reader::new(Cursor::new(file)).and_then(|mut reader| reader.read_mono());
    assert_eq!(again.as_ref(), Ok(&whole[0]));
}

/// An Ogg Opus file: packets within its bytes, sound within the limit.
pub(super) fn ogg(bytes: &[u8]) {
    if let Ok(mut reader) = ogg::Reader::new(Cursor::new(bytes)) {
        assert!(reader.head().channels > 0);
        let mut total = 0;
        while let Ok(Some(packet)) = reader.next_packet() {
            total += packet.data.len();
            assert!(packet.skip + packet.trim <= packet.samples, "{packet:?}");
            assert_eq!(ogg::packet_samples(&packet.data), Some(packet.samples));
        }
        assert!(total <= bytes.len(), "{total} bytes of packets in {}", bytes.len());
        assert!(!matches!(reader.next_packet(), Ok(Some(_))), "after its end, or an error, it has ended");
    }
    for rate in [SampleRate::HZ_8000, SampleRate::HZ_48000] {
        if let Ok(samples) = ogg::decode(Cursor::new(bytes), rate, LONGEST_MS) {
            assert!(samples.len() <= rate.samples_in_ms(LONGEST_MS));
        }
    }
}

/// Opus packets, each behind a byte with its length, through decoders that go on after what they could not read.
pub(super) fn opus(bytes: &[u8]) {
    for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_48000] {
        let mut decoder = opus::Decoder::new(rate).expect("Opus knows these rates");
        let mut out = vec![0; rate.samples_in_ms(120)];
        let mut rest = &bytes[..bytes.len().min(4_000)];
        while let Some((length, tail)) = rest.split_first() {
            let (packet, tail) = tail.split_at(tail.len().min(usize::from(*length)));
            rest = tail;
            let samples = decoder.samples_of(packet);
            match decoder.decode(packet, &mut out) {
                Ok(made) => {
                    assert_eq!(samples, Ok(made));
                    let at_48k = ogg::packet_samples(packet).expect("what decodes has a length") as usize;
                    assert_eq!(made, at_48k / (48_000 / rate.hz() as usize));
                    assert!(
                        decoder.decode(packet, &mut out[..made - 1]).is_err(),
                        "too little room is refused"
                    );
                }
                Err(_) => {
                    let lost = &mut out[..rate.samples_in_ms(20)];
                    assert_eq!(decoder.conceal(lost), Ok(lost.len()), "the decoder goes on");
                }
            }
            let lost = &mut out[..rate.samples_in_ms(20)];
            if let Ok(made) = decoder.recover(packet, lost) {
                assert_eq!(made, lost.len());
            }
        }
    }
}
