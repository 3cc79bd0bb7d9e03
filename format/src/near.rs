//! Asks the processor for memory that will be looked at soon, so that nobody waits for it then.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "the instruction that asks for a cache line takes a pointer"
    )
)]

/// Bytes that a processor fetches at once.
pub(crate) const LINE: usize = 64;

/// Has the cache line fetched where something begins. Nothing else happens.
#[inline(always)]
pub(crate) fn bring<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction reads nothing, whatever the address, and SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
