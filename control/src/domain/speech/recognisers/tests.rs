use std::collections::VecDeque;
use std::sync::Mutex;

use crossbeam_channel::Receiver;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::*;

/// How a double fails, if it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// At once.
    Refuses(Failure),
    /// With so many bytes of an utterance heard.
    BreaksAfter(usize),
    /// Gives no final words.
    NeverFinal,
    /// Takes nothing.
    TakesNothing,
    /// Says that the turn is over after so many bytes.
    EndsAfter(usize),
    /// Goes away once it has given final words.
    Leaves,
    /// Gives the final words of an utterance only when the next one has ended.
    Late,
}

/// Ears that understand how many bytes they heard.
struct Double {
    name: &'static str,
    faults: Mutex<VecDeque<Fault>>,
    told: Mutex<Vec<Caller>>,
    goodbyes: Mutex<u32>,
}

impl Double {
    fn new(name: &'static str, faults: &[Fault]) -> Arc<Self> {
        let faults = Mutex::new(faults.iter().copied().collect());
        Arc::new(Self { name, faults, told: Mutex::default(), goodbyes: Mutex::default() })
    }

    fn told(&self) -> Vec<Caller> {
        self.told.lock().unwrap().clone()
    }
}

fn broken(why: Failure) -> Result<(), VendorError> {
    Err(VendorError::new(why, "as the test wants it"))
}

impl Ears for Arc<Double> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        async { Ok(()) }.boxed()
    }

    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        async move {
            let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::Refuses(why) => return broken(why),
                Fault::TakesNothing => std::future::pending::<()>().await,
                _ => {}
            }
            let (mut utterance, mut bytes, mut late) = (UtteranceId::default(), 0, None);
            while let Some(did) = caller.recv().await {
                self.told.lock().unwrap().push(did.clone());
                let mut say =
                    |bytes, is_final| heard(Heard { utterance, text: format!("{bytes} bytes"), is_final });
                match did {
                    Caller::Starts(started) => (utterance, bytes) = (started, 0),
                    Caller::Audio(ulaw) => {
                        bytes += ulaw.len();
                        match fault {
                            Fault::BreaksAfter(most) if bytes >= most => return broken(Failure::BrokenOff),
                            Fault::EndsAfter(most) if bytes >= most => say(bytes, true),
                            _ => say(bytes, false),
                        }
                    }
                    Caller::Ends { .. } if fault == Fault::NeverFinal => {}
                    Caller::Ends { .. } if fault == Fault::Late && late.is_none() => late = Some(utterance),
                    Caller::Ends { .. } => {
                        if let Some(utterance) = late.take() {
                            heard(Heard { utterance, text: "late".into(), is_final: true });
                        }
                        heard(Heard { utterance, text: format!("{bytes} bytes"), is_final: true });
                        if fault == Fault::Leaves {
                            return broken(Failure::BrokenOff);
                        }
                    }
                    Caller::Expected(_) => {}
                }
            }
            *self.goodbyes.lock().unwrap() += 1;
            Ok(())
        }
        .boxed()
    }
}

struct House {
    tells: Box<dyn EarsApart>,
    reports: Receiver<Report>,
    ears: Arc<Recognisers>,
}

impl House {
    fn new(ears: &[&Arc<Double>]) -> Self {
        let ears = ears.iter().map(|ears| Arc::new(Arc::clone(ears)) as Arc<dyn Ears>).collect();
        Self::call(&Arc::new(Recognisers::new(ears, None, Handle::current())))
    }

    fn call(ears: &Arc<Recognisers>) -> Self {
        let (to_here, reports) = Reports::unattended();
        let OfTheCall::Apart(make) = ears.for_a_call() else { panic!("ears of vendors are apart") };
        Self { tells: make(to_here), reports, ears: Arc::clone(ears) }
    }

    async fn next(&self) -> Report {
        loop {
            match self.reports.try_recv() {
                Ok(report) => return report,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The caller speaks for a second. What its final words are, and who took over from whom.
    async fn speak(&mut self, utterance: u32) -> (String, Vec<(String, Option<String>, Failure)>) {
        self.tells.start(UtteranceId(utterance));
        for _ in 0..50 {
            self.tells.audio(&[0x55; 160]);
            sleep(Duration::from_millis(20)).await;
        }
        self.tells.end(UtteranceId(utterance), 900);
        let mut switched = Vec::new();
        loop {
            match self.next().await {
                Report::Words { utterance: of, text, is_final } => {
                    assert_eq!(of, UtteranceId(utterance));
                    if is_final {
                        return (text, switched);
                    }
                }
                Report::Switched { part, from, to, why } => {
                    assert_eq!(part, Part::Ears);
                    switched.push((from, to, why));
                }
                report => panic!("ears do not speak: {report:?}"),
            }
        }
    }
}

const ALL: &str = "8000 bytes";

#[tokio::test(start_paused = true)]
async fn the_first_ears_hear_everything_and_are_told_goodbye() {
    let (first, second) = (Double::new("first", &[]), Double::new("second", &[]));
    let mut house = House::new(&[&first, &second]);
    let expectation = Expectation { grammar: "public <answer> = yes;".into(), speech_ms_max: 1_000 };
    house.tells.expect(&expectation);
    for utterance in 1..4 {
        assert_eq!(house.speak(utterance).await, (ALL.into(), Vec::new()));
    }
    assert_eq!(house.ears.tallies().next().unwrap().asked, 24_000);
    drop(house);
    while *first.goodbyes.lock().unwrap() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(first.told()[0], Caller::Expected(expectation));
    assert!(second.told().is_empty());
}

/// What goes wrong at the first ears, and why they were changed.
#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_the_next_ears_hear_the_utterance_from_its_beginning() {
    for (fault, why) in [
        (Fault::Refuses(Failure::Unreachable), Failure::Unreachable),
        (Fault::Refuses(Failure::Unpaid), Failure::Unpaid),
        (Fault::BreaksAfter(1), Failure::BrokenOff),
        (Fault::BreaksAfter(4_000), Failure::BrokenOff),
        (Fault::BreaksAfter(8_000), Failure::BrokenOff),
        (Fault::NeverFinal, Failure::Slow),
        (Fault::TakesNothing, Failure::Slow),
    ] {
        let (first, second) = (Double::new("first", &[fault]), Double::new("second", &[]));
        let mut house = House::new(&[&first, &second]);
        let expectation = Expectation { grammar: "public <answer> = yes;".into(), speech_ms_max: 1_000 };
        house.tells.expect(&expectation);
        let (words, switched) = house.speak(1).await;
        assert_eq!(words, ALL, "{fault:?}");
        assert_eq!(switched, [("first".into(), Some("second".into()), why)], "{fault:?}");
        assert_eq!(second.told()[0], Caller::Expected(expectation), "{fault:?}");
        // For the rest of the call, the second ones listen.
        assert_eq!(house.speak(2).await, (ALL.into(), Vec::new()), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_away_while_nobody_speaks_is_called_again() {
    let (first, second) = (Double::new("first", &[Fault::Leaves, Fault::Leaves]), Double::new("second", &[]));
    let mut house = House::new(&[&first, &second]);
    for utterance in 1..5 {
        assert_eq!(house.speak(utterance).await, (ALL.into(), Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn ears_may_say_that_the_turn_is_over_and_hear_no_more_of_it() {
    let first = Double::new("first", &[Fault::EndsAfter(4_000)]);
    let mut house = House::new(&[&first]);
    assert_eq!(house.speak(1).await.0, "4000 bytes");
    assert_eq!(first.told().len(), 1 + 25);
}

#[tokio::test(start_paused = true)]
async fn if_nobody_hears_every_utterance_is_without_words_at_once() {
    let first = Double::new("first", &[Fault::BreaksAfter(4_000)]);
    let mut house = House::new(&[&first]);
    let (words, switched) = house.speak(1).await;
    assert_eq!((words.as_str(), switched), ("", vec![("first".into(), None, Failure::BrokenOff)]));
    let asked = Instant::now();
    assert_eq!(house.speak(2).await, (String::new(), Vec::new()));
    assert!(asked.elapsed() < Duration::from_millis(1_100), "no longer than it was spoken");
}

/// The caller went on before the words of what they said were there: they belong to it all the same.
#[tokio::test(start_paused = true)]
async fn final_words_that_come_while_the_caller_goes_on_are_not_lost() {
    for fault in [Fault::Late, Fault::NeverFinal] {
        let (first, second) = (Double::new("first", &[fault]), Double::new("second", &[]));
        let mut house = House::new(&[&first, &second]);
        for utterance in [1, 2] {
            house.tells.start(UtteranceId(utterance));
            for _ in 0..25 {
                house.tells.audio(&[0x55; 160]);
                sleep(Duration::from_millis(20)).await;
            }
            house.tells.end(UtteranceId(utterance), 400);
        }
        let mut finals = Vec::new();
        while finals.len() < 2 {
            if let Report::Words { utterance, text, is_final: true } = house.next().await {
                finals.push((utterance.0, text));
            }
        }
        let words = if fault == Fault::Late { "late" } else { "4000 bytes" };
        assert_eq!(finals, [(1, words.to_owned()), (2, "4000 bytes".to_owned())], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn words_of_an_utterance_that_is_over_are_passed_over() {
    let (to_here, reports) = Reports::unattended();
    let ears = Arc::new(Recognisers::new(vec![Arc::new(Double::new("first", &[]))], None, Handle::current()));
    let open =
        VecDeque::from([Open { utterance: UtteranceId(2), audio: Vec::new(), speech_ms: None, due: None }]);
    let mut listener = Listener { ears, reports: to_here, at: 0, expected: None, open };
    let heard =
        |utterance, is_final| Heard { utterance: UtteranceId(utterance), text: "so".into(), is_final };
    listener.pass(heard(1, true));
    listener.pass(heard(3, true));
    assert!(reports.is_empty());
    listener.pass(heard(2, true));
    listener.pass(heard(2, true));
    assert_eq!(reports.len(), 1);
}
