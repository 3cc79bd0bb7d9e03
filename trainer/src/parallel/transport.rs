//! How workers talk to each other: messages between two of them, and what is made of those. A transport only carries bytes; sums are
//! made by whoever needs them, in the order of [`super::tree`], so that no transport can change a bit.

use crate::error::{Error, Result};

/// The largest small message: numbers of a step, a state, lists of documents.
const LARGEST_SMALL: usize = 1 << 26;

/// Messages between the workers of a run. Messages from one worker to another arrive in the order in which they were sent. All
/// workers call the collective operations in the same order.
pub trait Transport {
    /// Which worker this is.
    fn rank(&self) -> usize;

    /// How many there are.
    fn workers(&self) -> usize;

    /// Sends `sent` to worker `to` and receives a message of `from` into `received`, both at the same time, so that workers that
    /// send to each other do not wait for each other. Either may be left out.
    ///
    /// # Errors
    /// A worker has gone, gave up, said nothing for too long, or sent more than the `most` bytes that are due.
    fn exchange(
        &self,
        sent: Option<(usize, &[u8])>,
        from: Option<usize>,
        received: &mut Vec<u8>,
        most: usize,
    ) -> Result<()>;

    /// Tells all others why this worker gives up. Whoever waits for it fails with that.
    fn abort(&self, reason: &str);

    /// What each worker gives, by rank.
    ///
    /// # Errors
    /// As [`Transport::exchange`].
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (rank, workers) = (self.rank(), self.workers());
        let mut all = vec![Vec::new(); workers];
        for round in 1..workers {
            let to = (rank + round) % workers;
            let from = (rank + workers - round) % workers;
            self.exchange(Some((to, bytes)), Some(from), &mut all[from], LARGEST_SMALL)?;
        }
        all[rank] = bytes.to_vec();
        Ok(all)
    }

    /// Gives all workers the bytes of worker 0, of which there are at most `most`: from each that has them to one that has not,
    /// twice as many each round.
    ///
    /// # Errors
    /// As [`Transport::exchange`].
    fn broadcast(&self, bytes: &mut Vec<u8>, most: usize) -> Result<()> {
        let (rank, workers) = (self.rank(), self.workers());
        let mut have = 1;
        while have < workers {
            if rank < have {
                let to = rank + have;
                if to < workers {
                    self.exchange(Some((to, bytes)), None, &mut Vec::new(), 0)?;
                }
            } else if rank < 2 * have {
                self.exchange(None, Some(rank - have), bytes, most)?;
            }
            have *= 2;
        }
        Ok(())
    }

    /// Waits until all workers are here.
    ///
    /// # Errors
    /// As [`Transport::exchange`].
    fn barrier(&self) -> Result<()> {
        self.all_gather(&[]).map(drop)
    }
}

/// The only worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn workers(&self) -> usize {
        1
    }

    fn exchange(
        &self,
        sent: Option<(usize, &[u8])>,
        from: Option<usize>,
        _: &mut Vec<u8>,
        _: usize,
    ) -> Result<()> {
        match sent.map(|(to, _)| to).or(from) {
            None => Ok(()),
            Some(rank) => Err(gone(rank)),
        }
    }

    fn abort(&self, _: &str) {}
}

/// Worker `rank` is not there any more.
pub(super) fn gone(rank: usize) -> Error {
    failed(rank, "it has gone")
}

/// Something is wrong with worker `rank`.
pub(super) fn failed(rank: usize, problem: impl Into<String>) -> Error {
    Error::Worker {
        rank,
        problem: problem.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::parallel::threads::Threads;

    /// What every transport has to do, as one of its workers.
    pub(in crate::parallel) fn carries(transport: &dyn Transport) {
        let (rank, workers) = (transport.rank(), transport.workers());
        for length in [0, 1, 1000, 3 << 20] {
            let own = vec![u8::try_from(rank).unwrap(); length + rank];
            let all = transport.all_gather(&own).unwrap();
            for (from, bytes) in all.iter().enumerate() {
                assert_eq!(bytes.len(), length + from);
                assert!(bytes.iter().all(|&byte| usize::from(byte) == from));
            }
            let mut bytes = if rank == 0 { vec![7; length] } else { vec![1] };
            transport.broadcast(&mut bytes, length).unwrap();
            assert_eq!(bytes, vec![7; length]);
        }
        transport.barrier().unwrap();
        // More than is due.
        if workers > 1 {
            let mut received = Vec::new();
            match rank {
                0 => transport
                    .exchange(Some((1, &[1, 2, 3])), None, &mut received, 0)
                    .unwrap(),
                1 => {
                    let refused = transport.exchange(None, Some(0), &mut received, 2);
                    let error = refused.unwrap_err();
                    assert_eq!(error.exit_code(), 10);
                    assert!(error.to_string().contains("worker 0"), "{error}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn threads_carry_messages() {
        for workers in 1..=5 {
            std::thread::scope(|scope| {
                for transport in Threads::new(workers) {
                    scope.spawn(move || carries(&transport));
                }
            });
        }
    }

    #[test]
    fn who_gives_up_is_heard_by_all() {
        let mut transports = Threads::new(3);
        transports.pop().unwrap().abort("the disk is full");
        for transport in &transports {
            let error = transport
                .exchange(None, Some(2), &mut Vec::new(), 9)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("worker 2") && error.contains("the disk is full"),
                "{error}"
            );
        }
        transports.pop();
        let error = transports[0]
            .exchange(None, Some(1), &mut Vec::new(), 9)
            .unwrap_err();
        assert!(matches!(error, Error::Worker { rank: 1, .. }), "{error}");
    }

    #[test]
    fn a_single_worker_talks_to_nobody() {
        assert_eq!(Alone.all_gather(b"x").unwrap(), [b"x"]);
        let mut bytes = b"y".to_vec();
        Alone.broadcast(&mut bytes, 1).unwrap();
        assert_eq!(bytes, b"y");
        Alone.barrier().unwrap();
        assert!(
            Alone
                .exchange(Some((1, b"z")), None, &mut bytes, 0)
                .is_err()
        );
    }
}
