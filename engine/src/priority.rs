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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

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
