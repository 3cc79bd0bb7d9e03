//! How many connections there may be at once. A download waits for one; a large one takes more while nobody waits.

use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::FetchError;

/// Hands out the right to connect.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: usize,
}

/// The right to one connection, until dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: connections.max(1),
                waiting: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two numbers, changed together under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a connection.
    pub(super) fn enter(&self, stop: &AtomicBool) -> Result<Permit<'_>, FetchError> {
        let mut state = self.state();
        state.waiting += 1;
        while state.free == 0 {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                state.waiting -= 1;
                return Err(FetchError::Stopped);
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
        state.free -= 1;
        Ok(Permit(self))
    }

    /// One more connection for a download that has one, if nobody else wants it.
    pub(super) fn spare(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        (state.free > state.waiting).then(|| {
            state.free -= 1;
            Permit(self)
        })
    }

    /// Whether somebody without any connection waits for one.
    pub(super) fn is_wanted(&self) -> bool {
        self.state().waiting > 0
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_connections_go_to_whoever_has_none_first() {
        let gate = Gate::new(2);
        let stop = AtomicBool::new(false);
        let first = gate.enter(&stop).unwrap();
        let second = gate.spare().unwrap();
        assert!(gate.spare().is_none() && !gate.is_wanted());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| gate.enter(&stop).map(drop).is_ok());
            while !gate.is_wanted() {
                std::thread::yield_now();
            }
            drop(second);
            assert!(other.join().unwrap());
        });
        assert!(gate.spare().is_some());
        drop(first);
        let _all = (gate.enter(&stop).unwrap(), gate.enter(&stop).unwrap());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(gate.enter(&stop), Err(FetchError::Stopped)));
    }
}
