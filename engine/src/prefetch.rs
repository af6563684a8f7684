//! Fetching a call's state into the cache while the calls before it are served.
//!
//! With hundreds of calls on a thread, each finds its state in far memory whenever its frame comes. Which calls come next is
//! known beforehand, so the fetching can go on beside other work: first a seat itself, and once that is there, what it points
//! to ([`Prefetch`]). All of this is hints: nothing is read, and nothing goes wrong where they are wrong.

/// What has parts elsewhere in memory that the next step will need.
pub(crate) trait Prefetch {
    /// Asks for those parts. The value itself is read, so it should be there already.
    fn prefetch(&mut self);
}

/// Asks for all of `value` itself, without what it points to.
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    (0..size_of_val(value)).step_by(LINE).for_each(|offset| prefetch_line(start.wrapping_add(offset)));
    // One that does not begin with a line may end in one more.
    prefetch_line(start.wrapping_add(size_of_val(value).saturating_sub(1)));
}

/// Asks for `n` bytes at `start`, wherever that is.
pub(crate) fn prefetch_at(start: *const u8, n: usize) {
    (0..n).step_by(LINE).for_each(|offset| prefetch_line(start.wrapping_add(offset)));
}

/// Bytes that are fetched at once.
const LINE: usize = 64;

#[inline]
fn prefetch_line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching reads nothing and never faults, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
