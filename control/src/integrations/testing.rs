//! What the tests of all voices do: have a text spoken, and look at what came; and those of ears, below.

pub(super) mod ears;

use std::net::SocketAddr;
use std::time::Duration;

use offhook_codecs::g711;
use offhook_engine::call::WordStart;
use offhook_fixtures::vendors::{Asked, FakeVendors, Limits};

use super::vendor::{Spoken, VendorError, VoiceLine};

/// No test takes longer.
const LONG: Duration = Duration::from_secs(30);

/// What came of one text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Came {
    pub(super) ended: Result<(), VendorError>,
    pub(super) ulaw: Vec<u8>,
    pub(super) words: Vec<WordStart>,
    pub(super) pieces: usize,
    /// Words that were placed before their audio came.
    pub(super) early: usize,
}

impl Came {
    pub(super) fn samples(&self) -> Vec<i16> {
        self.ulaw.iter().map(|&code| g711::ulaw_to_linear(code)).collect()
    }

    /// The words that were placed, and their samples.
    pub(super) fn placed<'a>(&self, text: &'a str) -> Vec<(&'a str, u32)> {
        let word = |word: &WordStart| {
            let rest = &text[word.text_offset as usize..];
            (rest.split_whitespace().next().unwrap_or_default(), word.sample)
        };
        self.words.iter().map(word).collect()
    }
}

/// Has a text spoken to its end.
pub(super) async fn speak(line: &mut dyn VoiceLine, text: &str) -> Came {
    let mut came = Came { ended: Ok(()), ulaw: Vec::new(), words: Vec::new(), pieces: 0, early: 0 };
    let mut spoken = |piece: Spoken| {
        came.ulaw.extend(piece.ulaw);
        came.early += piece.words.iter().filter(|word| word.sample as usize >= came.ulaw.len()).count();
        came.words.extend(piece.words);
        came.pieces += 1;
    };
    let ended = tokio::time::timeout(LONG, line.speak(text, &mut spoken)).await.expect("it has an end");
    Came { ended, ..came }
}

/// Has a text spoken, and drops that once the first audio is there.
pub(super) async fn cancelled(line: &mut dyn VoiceLine, text: &str) {
    let (give, mut first) = tokio::sync::mpsc::unbounded_channel();
    let mut spoken = |_: Spoken| {
        let _ = give.send(());
    };
    let first =
        async { tokio::time::timeout(LONG, first.recv()).await.expect("some audio").expect("some audio") };
    tokio::select! {
        biased;
        () = first => {}
        ended = line.speak(text, &mut spoken) => panic!("ended before it was dropped: {ended:?}"),
    }
}

/// Has a text spoken, and drops that once the fakes were asked for something and a little time has passed.
pub(super) async fn cancelled_once_asked(line: &mut dyn VoiceLine, text: &str, fakes: &FakeVendors) {
    let asked = async {
        while fakes.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut spoken = |piece: Spoken| panic!("{piece:?} came before it was dropped");
    tokio::select! {
        biased;
        () = asked => {}
        ended = line.speak(text, &mut spoken) => panic!("ended before it was dropped: {ended:?}"),
    }
}

/// All requests of the fakes, once each of them has ended.
pub(super) async fn ended(fakes: &FakeVendors) -> Vec<Asked> {
    for _ in 0..1_000 {
        let requests = fakes.requests();
        if requests.iter().all(|asked| asked.ended.is_some()) {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not all have ended: {:?}", fakes.requests());
}

/// The fakes once more, at an address where some have just been dropped.
pub(super) async fn again(address: SocketAddr) -> FakeVendors {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..1_000 {
        match FakeVendors::listen(address, free, Limits::default()).await {
            Ok(fakes) => return fakes,
            // The port is free once their task has ended.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{address} does not become free");
}
