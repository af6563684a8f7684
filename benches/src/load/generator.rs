//! One thread that is all callers: each sends its frames at a random phase of the 20 ms, on an absolute clock.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use offhook_engine::sim::Dice;

use super::Error;
pub use super::caller::Heard;
use super::caller::{Audio, Caller};
use super::connect::{Connected, Target};

const PTIME: Duration = Duration::from_millis(20);
/// How often sockets are looked at while frames are due all the time.
const LOOK: Duration = Duration::from_micros(250);
/// A turn and its answer last four seconds: callers begin somewhere in it.
const CYCLE_FRAMES: u32 = 190;

/// What to load with.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Whom.
    pub target: Target,
    /// With how many calls.
    pub calls: usize,
    /// New calls per second, until all are there.
    pub ramp_per_second: f64,
    /// How long they talk before anything counts.
    pub settle: Duration,
    /// How long the window is that counts.
    pub window: Duration,
    /// Where callers begin, in their 20 ms and in their turn.
    pub seed: u64,
}

/// Runs the load on the calling thread. `begins` and `ends` are called at the edges of the window that counts.
pub fn run(
    load: Load,
    audio: Audio<'_>,
    begins: impl FnOnce() -> Result<(), Error>,
    ends: impl FnOnce() -> Result<(), Error>,
) -> Result<Heard, Error> {
    let (sender, connected) = mpsc::sync_channel(load.calls);
    std::thread::scope(|scope| {
        let dialling = scope.spawn(move || dial(load, &sender));
        let heard = Generator::new(load)?.run(audio, &connected, begins, ends);
        // A caller that could not connect says why better than what followed from it.
        dialling.join().map_err(|_| "the dialling thread panicked")??;
        heard
    })
}

fn dial(load: Load, connected: &mpsc::SyncSender<Connected>) -> Result<(), Error> {
    let first = Instant::now();
    for number in 0..load.calls {
        let due = first + Duration::from_secs_f64(number as f64 / load.ramp_per_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if connected.send(load.target.connect(number)?).is_err() {
            break;
        }
    }
    Ok(())
}

struct Generator {
    load: Load,
    poll: Poll,
    callers: Vec<Caller>,
    /// When each caller's next frame is due, and whose it is: soonest last.
    due: std::collections::BinaryHeap<std::cmp::Reverse<(Instant, usize)>>,
    dice: Dice,
    heard: Heard,
    text: Vec<u8>,
    scratch: Vec<u8>,
}

impl Generator {
    fn new(load: Load) -> Result<Self, Error> {
        Ok(Self {
            load,
            poll: Poll::new()?,
            callers: Vec::with_capacity(load.calls),
            due: std::collections::BinaryHeap::with_capacity(load.calls),
            dice: Dice::new(load.seed),
            heard: Heard::default(),
            text: Vec::with_capacity(1024),
            scratch: vec![0; 64 * 1024],
        })
    }

    fn run(
        mut self,
        audio: Audio<'_>,
        connected: &mpsc::Receiver<Connected>,
        begins: impl FnOnce() -> Result<(), Error>,
        ends: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Heard, Error> {
        let (mut begins, mut settled, mut over) = (Some(begins), None, None);
        let mut events = Events::with_capacity(1024);
        let mut looked = Instant::now();
        loop {
            let mut now = Instant::now();
            if self.callers.len() < self.load.calls {
                self.take_connected(connected, now)?;
                if self.callers.len() == self.load.calls {
                    settled = Some(now + self.load.settle);
                }
            }
            if settled.is_some_and(|at| at <= now) {
                settled = None;
                if let Some(begins) = begins.take() {
                    begins()?;
                }
                self.heard = Heard::default();
                now = Instant::now();
                over = Some(now + self.load.window);
            }
            if over.is_some_and(|at| at <= now) {
                ends()?;
                return Ok(self.heard);
            }
            self.send_due(now, audio);
            now = Instant::now();
            let next = self.due.peek().map_or(PTIME, |next| next.0.0.saturating_duration_since(now));
            if next < LOOK && now.duration_since(looked) < LOOK {
                std::thread::sleep(next);
                continue;
            }
            // mio waits in whole milliseconds and rounds up, so only what is longer is waited for there.
            let wait = Duration::from_millis(next.as_millis().saturating_sub(1).min(5) as u64);
            self.poll
                .poll(&mut events, Some(wait))
                .or_else(|e| if e.kind() == std::io::ErrorKind::Interrupted { Ok(()) } else { Err(e) })?;
            looked = Instant::now();
            for event in &events {
                let caller = &mut self.callers[event.token().0];
                caller.read(looked, &mut self.scratch, &mut self.heard);
                caller.flush(&mut self.heard);
            }
            if events.is_empty() {
                std::thread::sleep(next.min(LOOK));
            }
        }
    }

    fn take_connected(&mut self, connected: &mpsc::Receiver<Connected>, now: Instant) -> Result<(), Error> {
        loop {
            let one = match connected.try_recv() {
                Ok(one) => one,
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::TryRecvError::Disconnected) if self.callers.len() == self.load.calls => {
                    return Ok(());
                }
                Err(mpsc::TryRecvError::Disconnected) => return Err("a caller could not connect".into()),
            };
            let wait = self.dice.below(CYCLE_FRAMES.into()) as u32;
            let phase = Duration::from_micros(self.dice.below(PTIME.as_micros() as u64));
            let mut caller = Caller::new(one, wait, matches!(self.load.target, Target::Floor(_)));
            let number = self.callers.len();
            self.poll.registry().register(&mut caller.socket, Token(number), Interest::READABLE)?;
            caller.begin(&mut self.text);
            caller.flush(&mut self.heard);
            self.callers.push(caller);
            self.due.push(std::cmp::Reverse((now + phase, number)));
        }
    }

    fn send_due(&mut self, now: Instant, audio: Audio<'_>) {
        while let Some(std::cmp::Reverse((due, number))) = self.due.peek().copied() {
            if due > now {
                return;
            }
            self.due.pop();
            self.due.push(std::cmp::Reverse((due + PTIME, number)));
            let at = Instant::now();
            self.callers[number].tick(at, due, audio, &mut self.text, &mut self.heard);
        }
    }
}
