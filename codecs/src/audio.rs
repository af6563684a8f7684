//! The units of audio: how many samples a second, and how many in a packet.

use serde::{Deserialize, Serialize};

/// Samples per second of a mono stream, in Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SampleRate(u32);

impl SampleRate {
    /// 8 kHz: the telephone network.
    pub const HZ_8000: Self = Self(8_000);
    /// 16 kHz: wideband telephony and most recognisers.
    pub const HZ_16000: Self = Self(16_000);
    /// 22.05 kHz: half of the compact disc's rate.
    pub const HZ_22050: Self = Self(22_050);
    /// 24 kHz: many synthesizers.
    pub const HZ_24000: Self = Self(24_000);
    /// 44.1 kHz: the compact disc.
    pub const HZ_44100: Self = Self(44_100);
    /// 48 kHz: browsers and Opus.
    pub const HZ_48000: Self = Self(48_000);

    /// The rates that Offhook converts between, ascending.
    pub const ALL: [Self; 6] =
        [Self::HZ_8000, Self::HZ_16000, Self::HZ_22050, Self::HZ_24000, Self::HZ_44100, Self::HZ_48000];

    /// The rate of `hz` samples a second, if it is one of [`SampleRate::ALL`].
    pub fn from_hz(hz: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rate| rate.0 == hz)
    }

    /// Samples per second.
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// How many whole samples `ms` milliseconds hold.
    pub const fn samples_in_ms(self, ms: u32) -> usize {
        (self.0 as u64 * ms as u64 / 1_000) as usize
    }
}

/// Packet time: how long the samples of one frame last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ptime(u16);

impl Ptime {
    /// 20 ms, what carriers send: 160 samples at 8 kHz.
    pub const MS_20: Self = Self(20);

    /// A packet time of `ms` milliseconds.
    pub const fn from_ms(ms: u16) -> Self {
        Self(ms)
    }

    /// In milliseconds.
    pub const fn ms(self) -> u32 {
        self.0 as u32
    }

    /// Samples of one frame at `rate`.
    pub const fn samples(self, rate: SampleRate) -> usize {
        rate.samples_in_ms(self.0 as u32)
    }
}
