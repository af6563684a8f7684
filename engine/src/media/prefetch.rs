//! Fetching a call's state into the cache while the call before it is served.
//!
//! With hundreds of calls on a thread, each finds its state in main memory, or nearly, whenever its frame comes. The sockets
//! that are ready are known beforehand, so the fetching can go on beside other work.

/// Asks for all of `value` itself, without what it points to. A hint: nothing is read.
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let start = std::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE) {
            // SAFETY: the address lies within `value`, and prefetching reads nothing; SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
