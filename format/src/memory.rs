//! Memory that is looked at all over: had from the machine in large pages, and asked for before it is looked at.

#![cfg_attr(
    any(target_arch = "x86_64", target_os = "linux"),
    expect(
        unsafe_code,
        reason = "an instruction that only takes an address, and advice that only changes how pages are kept"
    )
)]

use std::ops::{Deref, DerefMut, Range};

/// Bytes that a processor fetches at once.
pub(crate) const LINE: usize = 64;

/// Has the processor fetch the cache line where something begins, so that nobody waits for it later. Nothing else happens.
#[inline(always)]
pub fn bring<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction reads nothing, whatever the address, and SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Bytes of a large page.
const PAGE: usize = 2 << 20;

/// Numbers that begin where a large page does, if there are enough to fill one, and are held in such pages.
#[derive(Debug)]
pub struct Pages<T = u8> {
    /// With room before the numbers, which nobody touches.
    memory: Vec<T>,
    numbers: Range<usize>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self {
            memory: Vec::new(),
            numbers: 0..0,
        }
    }
}

impl<T: Copy + Default> Pages<T> {
    /// So many zeros, or what else is the default.
    pub fn zeroed(length: usize) -> Self {
        let size = size_of::<T>().max(1);
        if length.saturating_mul(size) < PAGE || !PAGE.is_multiple_of(size) {
            return Self {
                memory: vec![T::default(); length],
                numbers: 0..length,
            };
        }
        let memory = vec![T::default(); length.saturating_add(PAGE / size - 1)];
        let start = memory.as_ptr().addr().next_multiple_of(PAGE) - memory.as_ptr().addr();
        let start = start / size;
        let pages = Self {
            memory,
            numbers: start..start + length,
        };
        large_pages(&pages);
        pages
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.numbers.clone()]
    }
}

impl<T> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.numbers.clone()]
    }
}

/// Asks that large pages hold what of `memory` they can, which works best before it is first touched: the processor then finds
/// addresses in it without a look at tables elsewhere. Where they are not to be had all is the same, more slowly.
pub fn large_pages<T>(memory: &[T]) {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_void};

        unsafe extern "C" {
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        let start = memory.as_ptr().addr();
        let from = start.next_multiple_of(PAGE);
        let length = (start + size_of_val(memory)).saturating_sub(from) / PAGE * PAGE;
        if length > 0 {
            let pages: *const c_void = memory.as_ptr().cast();
            // SAFETY: the pages are within memory that is there, and keep what they hold. What it answers does not matter.
            unsafe { madvise(pages.with_addr(from).cast_mut(), length, MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_long_as_asked_and_begin_where_large_ones_do() {
        for length in [0, 1, PAGE - 1, PAGE, PAGE + 2, 3 * PAGE] {
            let mut pages = Pages::<u8>::zeroed(length);
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|byte| *byte == 0));
            assert!(length < PAGE || pages.as_ptr().addr().is_multiple_of(PAGE));
            pages.fill(7);
            assert_eq!(pages.iter().filter(|byte| **byte == 7).count(), length);
        }
        let numbers = Pages::<f64>::zeroed(PAGE / 8 + 3);
        assert_eq!(numbers.len(), PAGE / 8 + 3);
        assert!(numbers.as_ptr().addr().is_multiple_of(PAGE));
    }
}
