//! Who runs first where there are fewer cores than threads with something to do.
//!
//! Media threads sleep and wake all the time and must not wait for whoever runs just then. A program may not raise its
//! threads' priority without a privilege, but it may lower it: so all other threads do, each by what may wait for it.

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
    }
}

/// The shortest slice that Linux grants: 0.1 ms.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

/// Has the calling thread run soon after it wakes, in place of long once it runs: it asks for a short slice, for which Linux
/// interrupts whoever runs with a longer one (`EEVDF`, from 6.12 on). Its share of the time stays the same, and no privilege
/// is needed. Elsewhere, and with an older kernel, this does nothing.
pub fn run_soon() {
    #[cfg(target_os = "linux")]
    {
        let Some(mut attributes) = attributes() else { return };
        if attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.sched_runtime = SLICE_NS;
            // SAFETY: the system reads the structure, which lives until it returns; 0 is the calling thread. What is refused
            // leaves things as they were, which works too.
            unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        }
    }
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
        assert!(matches!(now.join().unwrap(), (0, 0) | (1.., SLICE_NS)));
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
