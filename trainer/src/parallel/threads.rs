//! Workers that are threads of one process: for tests, and the shortest example of a transport.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::transport::{Transport, failed, gone};
use crate::error::Result;

/// A message, or why there is none.
type Message = Result<Vec<u8>, String>;

/// One of several workers in this process.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    /// To each worker.
    to: Vec<Sender<Message>>,
    /// From each worker.
    from: Vec<Receiver<Message>>,
}

impl Threads {
    /// So many workers, one for each thread to take.
    pub fn new(workers: usize) -> Vec<Self> {
        let mut all: Vec<Self> = (0..workers)
            .map(|rank| Self {
                rank,
                to: Vec::with_capacity(workers),
                from: Vec::with_capacity(workers),
            })
            .collect();
        for from in 0..workers {
            for to in 0..workers {
                let (sender, receiver) = channel();
                all[from].to.push(sender);
                // `from` grows for all receivers alike.
                all[to].from.push(receiver);
            }
        }
        all
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn workers(&self) -> usize {
        self.to.len()
    }

    fn exchange(
        &self,
        sent: Option<(usize, &[u8])>,
        from: Option<usize>,
        received: &mut Vec<u8>,
        most: usize,
    ) -> Result<()> {
        if let Some((to, bytes)) = sent {
            let sender = self.to.get(to).ok_or_else(|| gone(to))?;
            // Who has gone is found out by whoever waits for it.
            let _ = sender.send(Ok(bytes.to_vec()));
        }
        if let Some(from) = from {
            let message = self
                .from
                .get(from)
                .and_then(|receiver| receiver.recv().ok());
            *received = message
                .ok_or_else(|| gone(from))?
                .map_err(|reason| failed(from, reason))?;
            if received.len() > most {
                return Err(failed(from, "it sent more than was due"));
            }
        }
        Ok(())
    }

    fn abort(&self, reason: &str) {
        for (rank, to) in self.to.iter().enumerate() {
            if rank != self.rank {
                let _ = to.send(Err(reason.to_owned()));
            }
        }
    }
}
