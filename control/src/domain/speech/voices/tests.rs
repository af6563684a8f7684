use std::sync::Mutex;

use crossbeam_channel::Receiver;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use offhook_engine::call::WordStart;
use tokio::time::sleep;

use super::*;

/// What a double does with a text.
#[derive(Clone, Debug)]
enum Step {
    /// Says the next words of what it was given, 100 ms each, and places them.
    Words(usize),
    /// The same, without placing them.
    Sounds(usize),
    Wait(u64),
    Fail(Failure),
    /// Is dropped here, or never ends.
    Hang,
}

/// A voice that does as it is told, whatever the text.
struct Double {
    name: &'static str,
    steps: Mutex<VecDeque<Vec<Step>>>,
    /// What comes of a connection: one, a refusal, or nothing for ever.
    warm: Result<(), Option<Failure>>,
    asked: Mutex<Vec<String>>,
    cancelled: Mutex<u32>,
}

/// Samples of a word.
const WORD: usize = 800;

impl Double {
    fn new(name: &'static str, texts: &[&[Step]]) -> Arc<Self> {
        let steps = Mutex::new(texts.iter().map(|steps| steps.to_vec()).collect());
        Arc::new(Self { name, steps, warm: Ok(()), asked: Mutex::default(), cancelled: Mutex::default() })
    }

    /// One to which there is no connection.
    fn cold(name: &'static str, why: Option<Failure>) -> Arc<Self> {
        let steps = Mutex::default();
        Arc::new(Self { name, steps, warm: Err(why), asked: Mutex::default(), cancelled: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct DoubleLine(Arc<Double>);

/// Counts who was dropped before it ended.
struct Guard<'a>(&'a Double, bool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        *self.0.cancelled.lock().unwrap() += u32::from(!self.1);
    }
}

impl Voice for Arc<Double> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        async { Ok(()) }.boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        Box::new(DoubleLine(Arc::clone(self)))
    }
}

impl VoiceLine for DoubleLine {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        async {
            match self.0.warm {
                Ok(()) => Ok(()),
                Err(Some(why)) => Err(VendorError::new(why, "as the test wants it")),
                Err(None) => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        async move {
            self.0.asked.lock().unwrap().push(text.to_owned());
            let steps =
                self.0.steps.lock().unwrap().pop_front().unwrap_or_else(|| vec![Step::Words(usize::MAX)]);
            let mut guard = Guard(&self.0, false);
            let starts: Vec<usize> = (0..text.len())
                .filter(|&at| !text[at..].starts_with(' ') && (at == 0 || text[..at].ends_with(' ')))
                .collect();
            let mut at = 0;
            for step in steps {
                match step {
                    Step::Words(count) | Step::Sounds(count) => {
                        for &start in starts.iter().skip(at).take(count) {
                            let word = WordStart { text_offset: start as u32, sample: (at * WORD) as u32 };
                            let words = if matches!(step, Step::Words(_)) { vec![word] } else { Vec::new() };
                            spoken(Spoken { ulaw: vec![at as u8; WORD], words });
                            at += 1;
                        }
                    }
                    Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
                    Step::Fail(why) => {
                        guard.1 = true;
                        return Err(VendorError::new(why, "as the test wants it"));
                    }
                    Step::Hang => std::future::pending().await,
                }
            }
            guard.1 = true;
            Ok(())
        }
        .boxed()
    }
}

struct House {
    orders: Box<dyn VoiceApart>,
    reports: Receiver<Report>,
    voices: Arc<Voices>,
}

/// What came of one text.
#[derive(Debug, Default, PartialEq)]
struct Came {
    words: Vec<u32>,
    samples: usize,
    switched: Vec<(String, Option<String>, Failure)>,
    failed: bool,
}

impl House {
    fn new(voices: &[&Arc<Double>]) -> Self {
        let voices = voices.iter().map(|voice| Arc::new(Arc::clone(voice)) as Arc<dyn Voice>).collect();
        Self::call(&Arc::new(Voices::new(voices, VoiceWaits::default(), Handle::current())))
    }

    fn call(voices: &Arc<Voices>) -> Self {
        let (to_here, reports) = Reports::unattended();
        let OfTheCall::Apart(make) = voices.for_a_call() else { panic!("voices of vendors are apart") };
        Self { orders: make(to_here), reports, voices: Arc::clone(voices) }
    }

    async fn next(&self) -> Report {
        loop {
            match self.reports.try_recv() {
                Ok(report) => return report,
                // In virtual time: nothing else has to be done but to wait.
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn speak(&mut self, utterance: u32, text: &str) -> Came {
        self.orders.speak(UtteranceId(utterance), text.into());
        let mut came = Came::default();
        loop {
            match self.next().await {
                Report::Audio { utterance: of, audio, words } => {
                    assert_eq!(of, UtteranceId(utterance));
                    came.samples += audio.len();
                    for word in words {
                        if came.words.last().is_none_or(|last| *last < word.text_offset) {
                            came.words.push(word.text_offset);
                        }
                    }
                }
                Report::AudioEnd { utterance: of, failed } => {
                    assert_eq!(of, UtteranceId(utterance));
                    came.failed = failed;
                    return came;
                }
                Report::Switched { part, from, to, why } => {
                    assert_eq!(part, Part::Voice);
                    came.switched.push((from, to, why));
                }
                Report::Words { .. } | Report::Understood { .. } => panic!("a voice understands nothing"),
            }
        }
    }
}

const TEXT: &str = "one two three four five";
const STARTS: [u32; 5] = [0, 4, 8, 14, 19];

fn switched(from: &str, to: &str, why: Failure) -> Vec<(String, Option<String>, Failure)> {
    vec![(from.into(), Some(to.into()), why)]
}

#[tokio::test(start_paused = true)]
async fn texts_are_spoken_one_after_the_other_by_the_first_voice() {
    let (first, second) = (Double::new("first", &[]), Double::new("second", &[]));
    let mut house = House::new(&[&first, &second]);
    for utterance in 0..3 {
        let came = house.speak(utterance, TEXT).await;
        assert_eq!(came, Came { words: STARTS.into(), samples: 5 * WORD, ..Came::default() });
    }
    assert_eq!(first.asked(), [TEXT; 3]);
    assert_eq!(second.asked(), [""; 0]);
    let tally = house.voices.tallies().next().unwrap();
    assert_eq!((&*tally.name, tally.asked, tally.failures), ("first", 3 * TEXT.len() as u64, 0));
}

/// What goes wrong at the first voice, what the second one has to say, and why it was changed.
#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_the_next_voice_goes_on_with_the_first_word_that_is_missing() {
    use Step::{Fail, Hang, Sounds, Wait, Words};
    let all = TEXT;
    let from_four = "four five";
    let table: &[(&str, &[Step], &str, Failure)] = &[
        ("refuses", &[Fail(Failure::Unauthorised)], all, Failure::Unauthorised),
        ("is too busy", &[Wait(100), Fail(Failure::Busy)], all, Failure::Busy),
        ("never begins", &[Hang], all, Failure::Slow),
        ("begins too late", &[Wait(3_000), Words(5)], all, Failure::Slow),
        ("ends without a sound", &[], all, Failure::Malformed),
        // The fourth word has begun, and was held back.
        ("breaks in the middle", &[Words(4), Fail(Failure::BrokenOff)], from_four, Failure::BrokenOff),
        ("stalls in the middle", &[Words(4), Hang], from_four, Failure::Slow),
        (
            "is slower than speech",
            &[Words(2), Wait(400), Words(1), Wait(350), Words(1), Wait(1_000), Words(1)],
            from_four,
            Failure::Slow,
        ),
        ("talks nonsense", &[Words(3), Fail(Failure::Malformed)], "three four five", Failure::Malformed),
        // 2,400 samples are four letters and a half: within the second word.
        (
            "breaks and places no words",
            &[Sounds(3), Fail(Failure::Faulty)],
            "two three four five",
            Failure::Faulty,
        ),
    ];
    for (what, steps, rest, why) in table {
        let (first, second) = (Double::new("first", &[steps]), Double::new("second", &[]));
        let mut house = House::new(&[&first, &second]);
        let came = house.speak(1, TEXT).await;
        assert_eq!(second.asked(), [*rest], "the first voice {what}");
        assert_eq!(came.switched, switched("first", "second", *why), "the first voice {what}");
        assert_eq!(came.words, STARTS, "each word has its place once: the first voice {what}");
        assert!(!came.failed, "the first voice {what}");
        // For the rest of the call, the second one speaks.
        let came = house.speak(2, "six").await;
        assert_eq!((came.switched.len(), second.asked().len()), (0, 2), "the first voice {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_voice_to_which_there_is_no_connection_is_left_before_the_first_word() {
    for (why, wanted) in [(Some(Failure::Unauthorised), Failure::Unauthorised), (None, Failure::Unreachable)]
    {
        let (first, second) = (Double::cold("first", why), Double::new("second", &[]));
        let mut house = House::new(&[&first, &second]);
        let asked = Instant::now();
        let came = house.speak(1, TEXT).await;
        assert_eq!(came.switched, switched("first", "second", wanted));
        assert_eq!((came.words, first.asked().len()), (STARTS.into(), 0));
        assert!(asked.elapsed() <= CONNECT + Duration::from_millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn if_nobody_can_speak_the_call_is_told_so() {
    let (first, second) = (
        Double::new("first", &[&[Step::Hang]]),
        Double::new("second", &[&[Step::Words(3), Step::Fail(Failure::Faulty)]]),
    );
    let came = House::new(&[&first, &second]).speak(1, TEXT).await;
    assert!(came.failed);
    assert_eq!(came.switched.last(), Some(&("second".into(), None, Failure::Faulty)));
    // The last voice is asked again all the same: it is the last.
    let mut house = House::new(&[&second]);
    for utterance in 0..5 {
        assert!(!house.speak(utterance, TEXT).await.failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_keeps_failing_is_not_asked_by_the_next_calls_until_it_had_a_rest() {
    let fails: &[Step] = &[Step::Fail(Failure::Faulty)];
    let (first, second) = (Double::new("first", &[fails, fails, fails]), Double::new("second", &[]));
    let voices: Vec<Arc<dyn Voice>> = vec![Arc::new(Arc::clone(&first)), Arc::new(Arc::clone(&second))];
    let voices = Arc::new(Voices::new(voices, VoiceWaits::default(), Handle::current()));
    for call in 0..5 {
        let came = House::call(&voices).speak(call, TEXT).await;
        assert_eq!(came.switched, switched("first", "second", Failure::Faulty), "call {call}");
    }
    assert_eq!(first.asked().len(), 3, "two calls did not ask it");
    assert_eq!(voices.tallies().next().unwrap().kept_out, Some(Failure::Faulty));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_will_hear_is_cancelled_at_the_vendor_and_what_waits_is_not_begun() {
    let first = Double::new("first", &[&[Step::Words(2), Step::Wait(300), Step::Hang]]);
    let mut house = House::new(&[&first]);
    for (utterance, text) in [(1, TEXT), (2, "six"), (3, "seven")] {
        house.orders.speak(UtteranceId(utterance), text.into());
    }
    assert!(matches!(house.next().await, Report::Audio { .. }));
    house.orders.cancel(UtteranceId(2));
    house.orders.cancel(UtteranceId(1));
    while !matches!(house.next().await, Report::AudioEnd { utterance: UtteranceId(3), failed: false }) {}
    assert_eq!(first.asked(), [TEXT, "seven"]);
    assert_eq!(*first.cancelled.lock().unwrap(), 1);
    assert_eq!(house.voices.tallies().next().unwrap().failures, 0, "it did nothing wrong");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_call_cancels_what_is_being_spoken() {
    let first = Double::new("first", &[&[Step::Words(1), Step::Hang]]);
    let House { mut orders, reports, .. } = House::new(&[&first]);
    orders.speak(UtteranceId(1), TEXT.into());
    while reports.try_recv().is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    drop(orders);
    while *first.cancelled.lock().unwrap() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
}
