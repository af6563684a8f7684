//! How much memory stays with the process beyond what its calls hold.
//!
//! A call's state is made on one thread, grows on others and is freed on yet another. glibc gives threads arenas of their
//! own, up to eight for each core, and each keeps the holes that such a life leaves. With as many arenas as cores a server
//! takes little more than half the memory per call; what it costs is that two threads wait for each other when they
//! allocate at the same moment, which media threads do not do while calls run.

/// Has all threads of the process share as many of glibc's arenas as there are cores, and at least two. To be called before
/// there are threads. Does nothing if whoever started the process chose (`MALLOC_ARENA_MAX`), and with other allocators.
///
/// Returns whether the bound is in force.
pub fn share_arenas() -> bool {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return false;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let arenas = i32::try_from(cores.max(2)).unwrap_or(i32::MAX);
        // SAFETY: `mallopt` takes two numbers and changes how the allocator works from now on, not what it gave out.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_the_bound_unless_the_environment_names_one() {
        assert_eq!(share_arenas(), std::env::var_os("MALLOC_ARENA_MAX").is_none());
    }
}
