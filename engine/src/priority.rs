//! Who runs first where there are fewer cores than threads with something to do.
//!
//! Media threads sleep and wake all the time and must not wait for whoever runs just then. A program may not raise its
//! threads' priority without a privilege, but it may lower it: so all other threads do, each by what may wait for it.
//!
//! A lower priority is less of the time, not a later turn: Linux lets whoever wakes interrupt whoever runs, and the one
//! interrupted has the core back when the other sleeps or the clock ticks, which is 4 ms later on many machines. Therefore
//! threads with nobody on the line do not interrupt when they wake, and those with long work do it in short [`Turns`].

use std::time::{Duration, Instant};

use crate::media::now;

/// Whom a thread works for that is not a media thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// A caller who waits for an answer.
    Speech,
    /// Whoever waits for an answer of the control plane.
    Control,
    /// Nobody who waits: journals, recordings, logs.
    Records,
}

impl Rank {
    /// How much nicer than the process's first thread. A step takes a fifth of a thread's share where two want all of a core:
    /// beside a media thread that does, these get 39, 25 and 17 %, so that nothing starves.
    #[cfg(target_os = "linux")]
    const fn nicer(self) -> i32 {
        match self {
            Self::Speech => 2,
            Self::Control => 5,
            Self::Records => 7,
        }
    }

    /// Whether it may interrupt who runs when it wakes.
    #[cfg(target_os = "linux")]
    const fn interrupts(self) -> bool {
        matches!(self, Self::Speech)
    }
}

/// Has the calling thread, and those that it starts, give way to media threads and to those of a higher rank. Linux alone
/// has a priority for each thread; elsewhere this does nothing.
///
/// A thread that has given way cannot take that back, and so must not start a media thread.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "there is nothing to set"))]
pub fn give_way(rank: Rank) {
    // What is refused leaves things as they were, which works too.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpid, getpriority_process, setpriority_process};
        let _ = getpriority_process(Some(getpid()))
            .and_then(|first| setpriority_process(None, first + rank.nicer()));
        if !rank.interrupts() {
            change(|attributes| attributes.sched_policy = libc::SCHED_BATCH as u32);
        }
    }
}

/// The shortest slice that Linux grants.
const SLICE: Duration = Duration::from_micros(100);

/// Has the calling thread run soon after it wakes, in place of long once it runs: it asks for a short slice, for which Linux
/// interrupts whoever runs with a longer one (`EEVDF`, from 6.12 on). Its share of the time stays the same, and no privilege
/// is needed. Elsewhere, and with an older kernel, this does nothing.
///
/// It is for those with long work too: who offers the core ([`Turns`]) gives up what is left of the slice.
pub fn run_soon() {
    #[cfg(target_os = "linux")]
    change(|attributes| attributes.sched_runtime = SLICE.as_nanos() as u64);
}

/// Long work of a thread, done a slice at a time.
#[derive(Debug)]
pub struct Turns {
    since: Instant,
}

impl Turns {
    /// The first turn begins: when the work does, or once the thread has slept.
    pub fn begin() -> Self {
        Self { since: now() }
    }

    /// To be called between two pieces of the work. Once the turn has been as long as a slice, the core is offered to whoever
    /// waits for it and has had less than their share.
    pub fn offer(&mut self) {
        if now().duration_since(self.since) >= SLICE {
            std::thread::yield_now();
            *self = Self::begin();
        }
    }
}

/// Changes how the calling thread is scheduled, if it is as threads usually are (sched_setattr(2)). What is refused leaves
/// things as they were, which works too.
#[cfg(target_os = "linux")]
fn change(how: impl FnOnce(&mut libc::sched_attr)) {
    const USUAL: [u32; 2] = [libc::SCHED_OTHER as u32, libc::SCHED_BATCH as u32];
    let Some(mut attributes) = attributes().filter(|now| USUAL.contains(&now.sched_policy)) else { return };
    how(&mut attributes);
    // SAFETY: the system reads the structure, which lives until it returns; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// How the calling thread is scheduled (sched_getattr(2)).
#[cfg(target_os = "linux")]
fn attributes() -> Option<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>();
    // SAFETY: it is made of integers, for which zeros are values; the system writes at most `size` bytes of it.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        let done = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size as u32, 0);
        (done == 0).then_some(attributes)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_soon_is_as_nice_as_before() {
        let now = std::thread::spawn(|| {
            give_way(Rank::Speech);
            let before = attributes().unwrap();
            run_soon();
            let after = attributes().unwrap();
            assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
            (before.sched_runtime, after.sched_runtime)
        });
        // A kernel that knows of no slices tells of none.
        assert!(matches!(now.join().unwrap(), (0, 0) | (1.., 100_000)));
    }

    #[test]
    fn a_turn_as_long_as_a_slice_is_followed_by_another() {
        let began = now();
        let mut turns = Turns { since: began + SLICE };
        turns.offer();
        assert_eq!(turns.since, began + SLICE);
        turns.since = began.checked_sub(SLICE).unwrap();
        turns.offer();
        assert!(turns.since >= began);
    }

    #[test]
    fn a_thread_that_gives_way_does_so_alone() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let other = std::thread::spawn(move || {
            give_way(Rank::Control);
            give_way(Rank::Control);
            own()
        });
        assert_eq!(other.join().unwrap(), (before + Rank::Control.nicer()).min(19));
        assert_eq!(own(), before);
    }

    #[test]
    fn who_has_a_caller_waiting_comes_before_who_has_nobody() {
        let ranks = [Rank::Speech, Rank::Control, Rank::Records];
        assert!(ranks.map(Rank::nicer).is_sorted_by(|one, next| one < next));
    }
}
