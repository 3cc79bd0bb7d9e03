//! Where processor time goes, by part of the work, measured on the thread that did it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time this thread has used. Other processes on the machine do not count into it, as they would into wall time.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// A stop watch that is always running for one part.
#[derive(Debug)]
pub(super) struct Watch {
    last: Duration,
    parts: BTreeMap<&'static str, Duration>,
}

impl Watch {
    /// Starts; the time until the first lap belongs to the part named then.
    pub(super) fn start() -> Self {
        Self {
            last: thread_time(),
            parts: BTreeMap::new(),
        }
    }

    /// Books the time since the last lap to `part`.
    pub(super) fn lap(&mut self, part: &'static str) {
        let now = thread_time();
        *self.parts.entry(part).or_default() += now.saturating_sub(self.last);
        self.last = now;
    }

    /// Seconds by part.
    pub(super) fn seconds(&self) -> BTreeMap<String, f64> {
        self.parts
            .iter()
            .map(|(part, time)| ((*part).to_owned(), time.as_secs_f64()))
            .collect()
    }
}
