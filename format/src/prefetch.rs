//! Sequences read ahead by a thread, in order and within a bound.
//!
//! This is the one place of the crate with a thread. It changes nothing in what is read: a sequence that waits here was not
//! given, so the position to keep is that of the next one, and what was read and not taken is read again.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::error::{FormatError, Result};
use crate::loader::{Loader, Sequence};

/// Which of a loader's positions are read: those of one machine of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stride {
    /// Where all machines together begin, or go on.
    pub start: u64,
    /// This machine, from 0.
    pub rank: u64,
    /// Machines.
    pub world: u64,
}

impl Stride {
    /// One machine alone.
    pub const fn alone(start: u64) -> Self {
        Self {
            start,
            rank: 0,
            world: 1,
        }
    }

    /// The position of the machine's `number`-th sequence; none beyond 2^64.
    pub fn position(&self, number: u64) -> Option<u64> {
        let ahead = number.checked_mul(self.world)?.checked_add(self.rank)?;
        self.start.checked_add(ahead)
    }
}

/// Sequences that are handed over at once, at most: waking the other side costs as much as some thousand tokens.
const AT_ONCE: usize = 16;

/// Reads ahead.
#[derive(Debug)]
pub struct Prefetch {
    stride: Stride,
    taken: u64,
    receiver: Option<Receiver<Vec<Result<Sequence>>>>,
    waiting: std::vec::IntoIter<Result<Sequence>>,
    spare: Sender<Sequence>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Starts to read the positions of `stride`, at most `ahead` sequences (at least one) more than were taken.
    ///
    /// # Errors
    ///
    /// [`FormatError::Options`] for a rank that is not below the world, [`FormatError::Io`] if there is no thread to be had.
    pub fn start(loader: Loader, stride: Stride, ahead: usize) -> Result<Self> {
        if stride.rank >= stride.world {
            return Err(FormatError::options(format!(
                "rank {} of a world of {}; ranks count from 0",
                stride.rank, stride.world
            )));
        }
        // Two handfuls more are in the hands of the thread and of the caller while the others wait.
        let at_once = (ahead / 4).clamp(1, AT_ONCE);
        let (sender, receiver) = sync_channel((ahead / at_once).saturating_sub(2));
        let (spare, spares) = channel();
        let thread = std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || read_ahead(loader, stride, at_once, &sender, &spares))
            .map_err(FormatError::io(std::path::Path::new(
                "a thread to read ahead",
            )))?;
        Ok(Self {
            stride,
            taken: 0,
            receiver: Some(receiver),
            waiting: Vec::new().into_iter(),
            spare,
            thread: Some(thread),
        })
    }

    /// The next sequence, in place of the one that is in `sequence`; its position.
    ///
    /// # Errors
    ///
    /// The error of [`Loader::read`] at that position. What comes after it is not read: [`FormatError::Ended`] from then on.
    pub fn read(&mut self, sequence: &mut Sequence) -> Result<u64> {
        let ended = FormatError::Ended {
            why: "there was an error before, or the positions are at their end",
        };
        let next = match self.waiting.next() {
            Some(next) => next?,
            None => {
                let received = self.receiver.as_ref().and_then(|from| from.recv().ok());
                self.waiting = received.unwrap_or_default().into_iter();
                self.waiting.next().ok_or(ended)??
            }
        };
        let used = std::mem::replace(sequence, next);
        // Without the thread there is nobody to use it again.
        drop(self.spare.send(used));
        let position = self.stride.position(self.taken).unwrap_or(u64::MAX);
        self.taken += 1;
        Ok(position)
    }

    /// Where all machines together stand when each has taken as many as this one: what to keep, and to start at again.
    pub fn position(&self) -> u64 {
        let all = self.taken.saturating_mul(self.stride.world);
        self.stride.start.saturating_add(all)
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails and the thread ends.
        drop(self.receiver.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn read_ahead(
    mut loader: Loader,
    stride: Stride,
    at_once: usize,
    sender: &SyncSender<Vec<Result<Sequence>>>,
    spares: &Receiver<Sequence>,
) {
    let mut number = 0;
    // The first is waited for, so it comes alone.
    let mut handful = 1;
    loop {
        let mut read = Vec::with_capacity(handful);
        let mut ends = false;
        while read.len() < handful && !ends {
            let Some(position) = stride.position(number) else {
                ends = true;
                break;
            };
            let mut sequence = spares.try_recv().unwrap_or_default();
            let next = loader.read(position, &mut sequence).map(|()| sequence);
            ends = next.is_err();
            read.push(next);
            number += 1;
        }
        if (!read.is_empty() && sender.send(read).is_err()) || ends {
            return;
        }
        handful = (handful * 2).min(at_once);
    }
}
