//! Opus, through libopus: mono speech in packets of 10 to 60 ms, and back.
//!
//! | rate | samples of 20 ms | lookahead of the encoder |
//! |---|---|---|
//! | 8 kHz | 160 | 52 |
//! | 16 kHz | 320 | 104 |
//! | 24 kHz | 480 | 156 |
//! | 48 kHz | 960 | 312 |
//!
//! The lookahead, 6.5 ms at every rate, is the whole delay of encoder and decoder together: sample `n` in is sample
//! `n + lookahead` out. Encoder and decoder may run at different rates; each resamples within libopus. Neither allocates
//! after it was made.
//!
//! Codec: RFC 6716. Settings and limits: libopus' API documentation, version 1.3.

use audiopus::coder;
use audiopus::{Application, Bitrate, Channels, ErrorCode, MutSignals, Signal, packet};

use crate::audio::SampleRate;

/// No packet that [`Encoder::encode`] makes is longer: the limit of one Opus frame (RFC 6716, section 3.4), and its header.
pub const MAX_PACKET_BYTES: usize = 1_276;

/// A packet of at most this many bytes, made with [`Settings::dtx`], says "still silent" and need not be sent.
pub const DTX_PACKET_BYTES: usize = 2;

/// What an encoder aims for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Average rate in bits per second, 500 to 512,000; `None` leaves it to libopus.
    pub bitrate_bps: Option<u32>,
    /// Effort, from 0 (least CPU) to 10 (best sound). At 16 kHz, 5 costs about half of 10.
    pub complexity: u8,
    /// Losses to expect, in percent up to 100: above 0, packets repeat the one before coarsely (in-band FEC).
    pub expected_loss_percent: u8,
    /// Whether silence is left out (discontinuous transmission): see [`DTX_PACKET_BYTES`].
    pub dtx: bool,
}

impl Default for Settings {
    /// Speech at 24 kbit/s, complexity 5, without FEC and DTX.
    fn default() -> Self {
        Self { bitrate_bps: Some(24_000), complexity: 5, expected_loss_percent: 0, dtx: false }
    }
}

/// Why Opus could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    /// Opus has no such rate; it has 8, 16, 24 and 48 kHz.
    #[error("Opus does not work at {hz} Hz")]
    Rate {
        /// The rate asked for.
        hz: u32,
    },
    /// A setting is outside of its range.
    #[error("setting {setting} is out of range")]
    Setting {
        /// Its name.
        setting: &'static str,
    },
    /// A frame has a length that is not 10, 20, 40 or 60 ms.
    #[error("{samples} samples are not a frame of 10, 20, 40 or 60 ms")]
    FrameLength {
        /// Its samples.
        samples: usize,
    },
    /// The buffer cannot take the result.
    #[error("the buffer is too small")]
    BufferTooSmall {
        /// Bytes or samples that would do, where libopus tells.
        needed: Option<usize>,
    },
    /// The packet breaks the rules of the format (RFC 6716, section 3.4); libopus does not say at which byte.
    #[error("malformed packet of {bytes} bytes")]
    Malformed {
        /// Its length.
        bytes: usize,
    },
    /// libopus failed in a way that no argument explains.
    #[error("libopus failed: {code:?}")]
    Internal {
        /// Its error.
        code: ErrorCode,
    },
}

/// Makes packets from frames.
#[derive(Debug)]
pub struct Encoder {
    inner: coder::Encoder,
    rate: SampleRate,
}

impl Encoder {
    /// An encoder for mono speech at `rate`.
    pub fn new(rate: SampleRate, settings: &Settings) -> Result<Self, OpusError> {
        let mut inner =
            coder::Encoder::new(rate_of(rate)?, Channels::Mono, Application::Voip).map_err(internal)?;
        let setting = |setting| move |_| OpusError::Setting { setting };
        if let Some(bps) = settings.bitrate_bps {
            let bps = bps.try_into().ok().filter(|bps| (500..=512_000).contains(bps));
            let bps = bps.ok_or(OpusError::Setting { setting: "bitrate_bps" })?;
            inner.set_bitrate(Bitrate::BitsPerSecond(bps)).map_err(setting("bitrate_bps"))?;
        }
        inner.set_complexity(settings.complexity).map_err(setting("complexity"))?;
        inner
            .set_packet_loss_perc(settings.expected_loss_percent)
            .map_err(setting("expected_loss_percent"))?;
        inner.set_inband_fec(settings.expected_loss_percent > 0).map_err(setting("expected_loss_percent"))?;
        inner.set_signal(Signal::Voice).map_err(internal)?;
        inner.set_dtx(settings.dtx).map_err(setting("dtx"))?;
        Ok(Self { inner, rate })
    }

    /// By how many samples at this encoder's rate the decoded sound comes late.
    pub fn lookahead_samples(&self) -> usize {
        self.inner.lookahead().expect("an encoder always knows its lookahead") as usize
    }

    /// Encodes one frame into the beginning of `packet`, and says how many bytes that made.
    ///
    /// `samples`: 10, 20, 40 or 60 ms. `packet`: [`MAX_PACKET_BYTES`] always do; less also caps the bit rate.
    pub fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Result<usize, OpusError> {
        if ![10, 20, 40, 60].iter().any(|&ms| self.rate.samples_in_ms(ms) == samples.len()) {
            return Err(OpusError::FrameLength { samples: samples.len() });
        }
        let capacity = packet.len().min(MAX_PACKET_BYTES);
        self.inner.encode(samples, &mut packet[..capacity]).map_err(|error| match error {
            audiopus::Error::Opus(ErrorCode::BufferTooSmall | ErrorCode::BadArgument) => {
                OpusError::BufferTooSmall { needed: None }
            }
            error => internal(error),
        })
    }
}

/// Makes samples from packets, and from their absence.
#[derive(Debug)]
pub struct Decoder {
    inner: coder::Decoder,
    rate: SampleRate,
    opus_rate: audiopus::SampleRate,
}

impl Decoder {
    /// A decoder to mono at `rate`, whatever rate and channels the packets were made with.
    pub fn new(rate: SampleRate) -> Result<Self, OpusError> {
        let opus_rate = rate_of(rate)?;
        let inner = coder::Decoder::new(opus_rate, Channels::Mono).map_err(internal)?;
        Ok(Self { inner, rate, opus_rate })
    }

    /// Decodes one packet into the beginning of `out`, and says how many samples that made: up to 120 ms.
    ///
    /// After an error the decoder goes on as if the packet had not come.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        let needed = self.samples_of(packet)?;
        if out.len() < needed {
            return Err(OpusError::BufferTooSmall { needed: Some(needed) });
        }
        self.run(Some(packet), &mut out[..needed], false)
    }

    /// Fills `out` with what a lost packet probably held, fading to silence as the losses go on.
    ///
    /// `out`: as long as the lost packet's frame, a multiple of 2.5 ms up to 120 ms.
    pub fn conceal(&mut self, out: &mut [i16]) -> Result<usize, OpusError> {
        self.check_lost(out)?;
        self.run(None, out, false)
    }

    /// Fills `out` with a lost packet's sound from the coarse copy in the packet after it, or conceals if there is none.
    ///
    /// Call it before `next` itself is decoded. `out`: as for [`Decoder::conceal`].
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        self.check_lost(out)?;
        self.samples_of(next)?;
        self.run(Some(next), out, true)
    }

    /// How many samples at this decoder's rate a packet holds.
    pub fn samples_of(&self, packet: &[u8]) -> Result<usize, OpusError> {
        packet
            .try_into()
            .and_then(|packet| packet::nb_samples(packet, self.opus_rate))
            .map_err(|_| OpusError::Malformed { bytes: packet.len() })
    }

    fn check_lost(&self, out: &[i16]) -> Result<(), OpusError> {
        let step = self.rate.samples_in_ms(5) / 2;
        if out.is_empty() || !out.len().is_multiple_of(step) || out.len() > self.rate.samples_in_ms(120) {
            return Err(OpusError::FrameLength { samples: out.len() });
        }
        Ok(())
    }

    fn run(&mut self, packet: Option<&[u8]>, out: &mut [i16], fec: bool) -> Result<usize, OpusError> {
        let bytes = packet.map_or(0, <[u8]>::len);
        let malformed = |_| OpusError::Malformed { bytes };
        let packet = packet.map(TryInto::try_into).transpose().map_err(malformed)?;
        let out = MutSignals::try_from(out).map_err(internal)?;
        self.inner.decode(packet, out, fec).map_err(|error| match error {
            audiopus::Error::Opus(ErrorCode::InvalidPacket | ErrorCode::BadArgument) => {
                OpusError::Malformed { bytes }
            }
            error => internal(error),
        })
    }
}

fn rate_of(rate: SampleRate) -> Result<audiopus::SampleRate, OpusError> {
    match rate.hz() {
        8_000 => Ok(audiopus::SampleRate::Hz8000),
        16_000 => Ok(audiopus::SampleRate::Hz16000),
        24_000 => Ok(audiopus::SampleRate::Hz24000),
        48_000 => Ok(audiopus::SampleRate::Hz48000),
        hz => Err(OpusError::Rate { hz }),
    }
}

fn internal(error: audiopus::Error) -> OpusError {
    let code = if let audiopus::Error::Opus(code) = error { code } else { ErrorCode::Unknown };
    OpusError::Internal { code }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: [SampleRate; 4] =
        [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];

    fn plain() -> Settings {
        Settings { bitrate_bps: Some(32_000), complexity: 10, ..Settings::default() }
    }

    /// A voice of sorts: harmonics of a pitch that glides, swelling four times a second.
    fn voice(rate: SampleRate, ms: u32) -> Vec<i16> {
        let mut phase = 0.0_f64;
        (0..rate.samples_in_ms(ms))
            .map(|index| {
                let time = index as f64 / f64::from(rate.hz());
                phase += (220.0 + 30.0 * (3.0 * time).sin()) / f64::from(rate.hz());
                let tone = |harmonic: u32| {
                    (std::f64::consts::TAU * phase * f64::from(harmonic)).sin() / f64::from(harmonic)
                };
                let swell = 0.6 + 0.4 * (std::f64::consts::TAU * 4.0 * time).sin();
                (9_000.0 * swell * (1..=12).map(tone).sum::<f64>()) as i16
            })
            .collect()
    }

    fn packets(encoder: &mut Encoder, samples: &[i16], frame: usize) -> Vec<Vec<u8>> {
        let mut packet = [0; MAX_PACKET_BYTES];
        samples
            .chunks_exact(frame)
            .map(|frame| {
                let length = encoder.encode(frame, &mut packet).unwrap();
                packet[..length].to_vec()
            })
            .collect()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    /// Normalised correlation of the beginning of `late`, moved forward by `delay` samples, with `original`; 1 means the same shape.
    fn correlation(original: &[i16], late: &[i16], delay: usize) -> f64 {
        let pairs =
            || original.iter().zip(&late[delay..]).take(12_000).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let product: f64 = pairs().map(|(a, b)| a * b).sum();
        let (a, b) = pairs().fold((0.0, 0.0), |(x, y), (a, b)| (x + a * a, y + b * b));
        product / (a * b).sqrt()
    }

    #[test]
    fn what_is_encoded_comes_back_later_by_the_lookahead() {
        for (rate, lookahead) in RATES.into_iter().zip([52, 104, 156, 312]) {
            for ms in [10, 20, 40, 60] {
                let mut encoder = Encoder::new(rate, &plain()).unwrap();
                assert_eq!(encoder.lookahead_samples(), lookahead);
                let mut decoder = Decoder::new(rate).unwrap();
                let original = voice(rate, 1_200);
                let frame = rate.samples_in_ms(ms);
                let mut decoded = Vec::new();
                let mut out = vec![0; frame];
                for packet in packets(&mut encoder, &original, frame) {
                    assert_eq!(decoder.samples_of(&packet), Ok(frame));
                    assert_eq!(decoder.decode(&packet, &mut out), Ok(frame));
                    decoded.extend_from_slice(&out);
                }
                assert_eq!(decoded.len(), original.len());
                let found = (0..3 * lookahead)
                    .max_by(|&a, &b| {
                        correlation(&original, &decoded, a).total_cmp(&correlation(&original, &decoded, b))
                    })
                    .unwrap();
                assert!(found.abs_diff(lookahead) <= lookahead / 52, "{rate:?} {ms} ms: delay {found}");
                let alike = correlation(&original, &decoded, found);
                assert!(alike > 0.92, "{rate:?} {ms} ms: correlation {alike}");
                let loudness = power(&decoded) / power(&original);
                assert!((0.7..1.4).contains(&loudness), "{rate:?} {ms} ms: power {loudness}");
            }
        }
    }

    #[test]
    fn decoder_and_encoder_may_differ_in_rate() {
        let mut encoder = Encoder::new(SampleRate::HZ_48000, &plain()).unwrap();
        let mut decoder = Decoder::new(SampleRate::HZ_16000).unwrap();
        let mut out = [0; 320];
        for packet in packets(&mut encoder, &voice(SampleRate::HZ_48000, 200), 960) {
            assert_eq!(decoder.decode(&packet, &mut out), Ok(320));
        }
        assert!(power(&out) > 1e5);
    }

    #[test]
    fn a_lost_packet_is_concealed_at_about_the_same_loudness_and_then_fades() {
        for rate in RATES {
            let mut encoder = Encoder::new(rate, &plain()).unwrap();
            let mut decoder = Decoder::new(rate).unwrap();
            let mut out = vec![0; rate.samples_in_ms(20)];
            for packet in packets(&mut encoder, &voice(rate, 500), out.len()) {
                decoder.decode(&packet, &mut out).unwrap();
            }
            let before = power(&out);
            assert_eq!(decoder.conceal(&mut out), Ok(rate.samples_in_ms(20)));
            let first = power(&out) / before;
            assert!((0.3..3.0).contains(&first), "{rate:?}: {first}");
            for _ in 0..50 {
                decoder.conceal(&mut out).unwrap();
            }
            assert!(power(&out) / before < 0.05, "{rate:?}: {}", power(&out) / before);
        }
    }

    #[test]
    fn forward_error_correction_recovers_more_than_concealment() {
        let rate = SampleRate::HZ_16000;
        let settings = Settings { expected_loss_percent: 20, ..plain() };
        let mut encoder = Encoder::new(rate, &settings).unwrap();
        let original = voice(rate, 1_000);
        let packets = packets(&mut encoder, &original, 320);
        let mut distance = [0.0; 2];
        let mut out = vec![0; 320];
        for (index, distance) in distance.iter_mut().enumerate() {
            let mut whole = Decoder::new(rate).unwrap();
            let mut lossy = Decoder::new(rate).unwrap();
            let mut expected = vec![0; 320];
            for (at, packet) in packets.iter().enumerate() {
                whole.decode(packet, &mut expected).unwrap();
                match (at % 5 == 4 && at + 1 < packets.len(), index) {
                    (false, _) => lossy.decode(packet, &mut out),
                    (true, 0) => lossy.conceal(&mut out),
                    (true, _) => lossy.recover(&packets[at + 1], &mut out),
                }
                .unwrap();
                let squares = expected.iter().zip(&out).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                *distance += squares.sum::<f64>();
            }
        }
        assert!(distance[1] < 0.7 * distance[0], "concealed {:e}, recovered {:e}", distance[0], distance[1]);
    }

    #[test]
    fn bit_rate_and_silence_are_as_set() {
        let rate = SampleRate::HZ_16000;
        let bytes = |settings: &Settings, samples: &[i16]| -> Vec<usize> {
            packets(&mut Encoder::new(rate, settings).unwrap(), samples, 320).iter().map(Vec::len).collect()
        };
        let voice = voice(rate, 2_000);
        for bps in [12_000_usize, 24_000, 64_000] {
            let settings = Settings { bitrate_bps: Some(bps as u32), ..Settings::default() };
            let sent = bytes(&settings, &voice).iter().sum::<usize>() * 8 / 2;
            assert!((bps / 2..bps * 3 / 2).contains(&sent), "{bps} asked, {sent} made");
        }
        let silence = vec![0; 32_000];
        let kept = |dtx| {
            let lengths = bytes(&Settings { dtx, ..Settings::default() }, &silence);
            lengths.iter().filter(|&&length| length > DTX_PACKET_BYTES).count()
        };
        assert_eq!(kept(false), 100);
        assert!(kept(true) < 30, "{} of 100 packets of silence kept", kept(true));
    }

    #[test]
    fn arguments_out_of_range_are_errors() {
        let rate = SampleRate::HZ_8000;
        assert_eq!(Encoder::new(SampleRate::HZ_44100, &plain()).err(), Some(OpusError::Rate { hz: 44_100 }));
        assert_eq!(Decoder::new(SampleRate::HZ_22050).err(), Some(OpusError::Rate { hz: 22_050 }));
        for (settings, setting) in [
            (Settings { bitrate_bps: Some(100), ..plain() }, "bitrate_bps"),
            (Settings { bitrate_bps: Some(u32::MAX), ..plain() }, "bitrate_bps"),
            (Settings { complexity: 11, ..plain() }, "complexity"),
            (Settings { expected_loss_percent: 101, ..plain() }, "expected_loss_percent"),
        ] {
            assert_eq!(Encoder::new(rate, &settings).err(), Some(OpusError::Setting { setting }));
        }
        let mut encoder = Encoder::new(rate, &plain()).unwrap();
        let mut packet = [0; MAX_PACKET_BYTES];
        for samples in [0, 1, 159, 240, 800] {
            let result = encoder.encode(&vec![0; samples], &mut packet);
            assert_eq!(result, Err(OpusError::FrameLength { samples }));
        }
        let result = encoder.encode(&[0; 160], &mut []);
        assert_eq!(result, Err(OpusError::BufferTooSmall { needed: None }));
        let length = encoder.encode(&[0; 160], &mut packet).unwrap();
        let mut decoder = Decoder::new(rate).unwrap();
        let result = decoder.decode(&packet[..length], &mut [0; 159]);
        assert_eq!(result, Err(OpusError::BufferTooSmall { needed: Some(160) }));
        for samples in [0, 19, 161, 1_000] {
            let result = decoder.conceal(&mut vec![0; samples]);
            assert_eq!(result, Err(OpusError::FrameLength { samples }));
        }
    }

    #[test]
    fn malformed_packets_are_errors_and_the_decoder_goes_on() {
        let rate = SampleRate::HZ_16000;
        let mut encoder = Encoder::new(rate, &plain()).unwrap();
        let good = packets(&mut encoder, &voice(rate, 100), 320).pop().unwrap();
        let mut decoder = Decoder::new(rate).unwrap();
        let mut out = [0; 1_920];
        // RFC 6716, section 3.4: a packet has a byte (R1), code 1 halves evenly (R3), code 3 states 1 to 120 ms of frames (R5).
        for packet in [&[] as &[u8], &[0x49, 1], &[0x4b], &[0x4b, 0], &[0x4b, 63]] {
            let malformed = Err(OpusError::Malformed { bytes: packet.len() });
            assert_eq!(decoder.decode(packet, &mut out), malformed, "{packet:?}");
            assert_eq!(decoder.recover(packet, &mut [0; 320]), malformed, "{packet:?}");
            assert_eq!(decoder.decode(&good, &mut out), Ok(320));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_decoded_or_refused(
            first in proptest::collection::vec(any::<u8>(), 0..200),
            second in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut decoder = Decoder::new(SampleRate::HZ_8000).unwrap();
            let mut out = [0; 960];
            for packet in [&first, &second] {
                if let Ok(samples) = decoder.decode(packet, &mut out) {
                    prop_assert!(samples <= 960);
                }
                let _ = decoder.recover(packet, &mut out[..160]);
            }
            prop_assert_eq!(decoder.conceal(&mut out[..160]), Ok(160));
        }
    }
}
