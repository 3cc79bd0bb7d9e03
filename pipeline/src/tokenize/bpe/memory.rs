//! What tables that are looked at all over ask of the machine's memory.

#![cfg_attr(
    any(target_arch = "x86_64", target_os = "linux"),
    expect(
        unsafe_code,
        reason = "an instruction that only takes an address, and advice that only changes how pages are kept"
    )
)]

/// Brings what is at a place into the nearest cache, without waiting for it.
#[inline(always)]
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it reads nothing; the address is one of something that is there, and would be allowed to be any.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// A table of so many equal places. Its pages are asked to be large, so that their addresses are found without a look at tables in memory;
/// where they cannot be, it is the same more slowly.
pub(super) fn table<T: Copy>(place: T, count: usize) -> Vec<T> {
    let mut table = Vec::with_capacity(count);
    #[cfg(target_os = "linux")]
    large_pages(&table);
    table.resize(count, place);
    table
}

#[cfg(target_os = "linux")]
fn large_pages<T>(table: &Vec<T>) {
    use std::ffi::{c_int, c_void};

    unsafe extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    const PAGE: usize = 2 << 20;
    let start = table.as_ptr().addr();
    let from = start.next_multiple_of(PAGE);
    let length = (start + table.capacity() * size_of::<T>()).saturating_sub(from) / PAGE * PAGE;
    if length > 0 {
        let pages = table.as_ptr().with_addr(from);
        // SAFETY: the pages are within memory that is the table's, and keep what they hold. What it answers does not matter.
        unsafe { madvise(pages.cast_mut().cast(), length, MADV_HUGEPAGE) };
    }
}
