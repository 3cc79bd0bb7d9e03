//! Buffers that are used again. A step makes and drops the same buffers as the one before it, so after the first nothing is asked
//! of the allocator, which would have to get zeroed pages from the system each time: without this that was a third of a step. Large pages
//! hold the long ones, since products go through them in many places at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use andromeda_format::memory::Pages;

use super::numeric::Real;

/// Free memory by capacity.
#[derive(Debug, Default)]
pub(super) struct Pool<T> {
    free: Rc<RefCell<BTreeMap<usize, Vec<Pages<T>>>>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self {
            free: Rc::clone(&self.free),
        }
    }
}

/// Numbers of an activation, whose memory goes back to its pool.
#[derive(Debug)]
pub struct Slab<T> {
    numbers: Pages<T>,
    count: usize,
    pool: Pool<T>,
}

impl<T: Real> Pool<T> {
    /// `count` numbers of any values.
    pub(super) fn take(&self, count: usize) -> Slab<T> {
        let mut free = self.free.borrow_mut();
        // Not much larger than is wanted, or a short one would keep the memory of a long one from those that need it.
        let fitting = free.range(count..=count.saturating_mul(2)).next();
        let capacity = fitting.map(|(&capacity, _)| capacity);
        let numbers = match capacity {
            None => Pages::zeroed(count),
            Some(capacity) => {
                let same = free.entry(capacity).or_default();
                let numbers = same.pop().unwrap_or_default();
                if same.is_empty() {
                    free.remove(&capacity);
                }
                numbers
            }
        };
        Slab {
            numbers,
            count,
            pool: self.clone(),
        }
    }

    /// `count` zeros.
    pub(super) fn zeros(&self, count: usize) -> Slab<T> {
        let mut slab = self.take(count);
        slab.fill(T::ZERO);
        slab
    }
}

impl<T> Deref for Slab<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[..self.count]
    }
}

impl<T> DerefMut for Slab<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[..self.count]
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        if !numbers.is_empty() {
            let mut free = self.pool.free.borrow_mut();
            free.entry(numbers.len()).or_default().push(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_is_not_wasted_on_much_less() {
        let pool = Pool::<f32>::default();
        let first = pool.take(1000);
        let place = first.as_ptr();
        drop(first);
        let second = pool.take(900);
        assert_eq!((second.as_ptr(), second.len()), (place, 900));
        assert_ne!(pool.take(900).as_ptr(), place);
        drop(second);
        assert_ne!(pool.take(10).as_ptr(), place);
        let mut third = pool.take(1000);
        third.fill(1.0);
        drop(third);
        assert!(pool.zeros(1000).iter().all(|&x| x == 0.0));
    }
}
