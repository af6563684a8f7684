//! Who runs first where there are fewer cores than threads with something to do.
//!
//! Media threads sleep and wake all the time and must not wait for whoever runs just then. A program may not raise its
//! threads' priority without a privilege, but it may lower it: so all other threads do.

/// How much lower than the process's first thread: a third of a media thread's share where both want all of it, so that
/// nothing starves.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// Has the calling thread, and those that it starts, give way to media threads. Linux alone has a priority for each thread;
/// elsewhere this does nothing.
pub fn yield_to_media() {
    // What is refused leaves things as they were, which works too.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpid, getpriority_process, setpriority_process};
        let _ =
            getpriority_process(Some(getpid())).and_then(|first| setpriority_process(None, first + NICER));
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
            yield_to_media();
            yield_to_media();
            own()
        });
        assert_eq!(other.join().unwrap(), (before + NICER).min(19));
        assert_eq!(own(), before);
    }
}
