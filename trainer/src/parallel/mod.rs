//! Several workers on one run: each has a part of every step's micro-batches, all have all parameters, and the moments of the
//! optimizer are shared out. The numbers of workers is no property of a run: it can change at every start, and losses, checkpoints
//! and metrics have the same bits whatever it is, since the order of every sum is the run's own ([`tree`]).
//!
//! The principal type is [`Team`]: a [`Transport`] and who has what. A step is: each worker sums the gradients of its parts
//! ([`Gradients::add_up`]); the owner of each parameter gets the sums of all ([`Gradients::reduce`]), steps it, and gives it to the
//! others ([`Team::spread`]). Numbers of the step (nats, norms, signals) are told to all, so that all decide the same.

pub mod gradients;
#[cfg(feature = "nccl")]
pub mod nccl;
pub mod owners;
mod pieces;
pub mod rendezvous;
pub mod tcp;
pub mod threads;
pub mod transport;
pub mod tree;

use std::ops::Range;

use self::pieces::{Reader, Writer, from_bytes, length, to_bytes};
use self::transport::failed;
use crate::data::Share;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Backend;

pub use gradients::Gradients;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub use owners::Owners;
pub use tcp::Tcp;
pub use threads::Threads;
pub use transport::{Alone, Transport};

/// The largest state that a worker believes.
const LARGEST_STATE: usize = 1 << 20;
/// What worker 0 asks of others while it saves: parameter and store.
const QUESTION: usize = 16;

/// The workers of a run as one of them sees them.
pub struct Team<'a> {
    transport: &'a dyn Transport,
    parts: usize,
    owners: Owners,
}

impl std::fmt::Debug for Team<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team")
            .field("rank", &self.rank())
            .field("workers", &self.workers())
            .field("parts", &self.parts)
            .finish()
    }
}

impl<'a> Team<'a> {
    /// The workers of `transport` on a run whose steps are cut into `parts`.
    ///
    /// # Errors
    /// There are more workers than parts.
    pub fn new<B: Backend>(
        transport: &'a dyn Transport,
        parts: usize,
        model: &Model<B>,
    ) -> Result<Self> {
        check(parts, transport.workers())?;
        Ok(Self {
            transport,
            parts,
            owners: Owners::of(&model.shapes, transport.workers()),
        })
    }

    /// A single worker on `model`.
    pub fn alone<B: Backend>(model: &Model<B>) -> Team<'static> {
        Team {
            transport: &Alone,
            parts: 1,
            owners: Owners::of(&model.shapes, 1),
        }
    }

    /// Which worker this is.
    pub fn rank(&self) -> usize {
        self.transport.rank()
    }

    /// How many there are.
    pub fn workers(&self) -> usize {
        self.transport.workers()
    }

    /// Whether this is the worker that writes and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This worker's parts.
    pub fn share(&self) -> Range<usize> {
        tree::share(self.parts, self.rank(), self.workers())
    }

    /// Which of a step's micro-batches this worker reads.
    pub fn reads(&self) -> Share {
        let (share, parts) = (self.share(), self.parts);
        Box::new(move |all| {
            let begin = |part| tree::micro_batches(all, part, parts).start;
            begin(share.start)..begin(share.end)
        })
    }

    /// Which parameters this worker steps, one flag a parameter.
    pub fn owned(&self) -> Vec<bool> {
        let all = 0..self.owners.parameters();
        all.map(|index| self.owners.owner(index) == self.rank())
            .collect()
    }

    /// Who steps parameter `index`.
    pub fn owner(&self, index: usize) -> usize {
        self.owners.owner(index)
    }

    /// The numbers of all workers, by rank.
    ///
    /// # Errors
    /// A worker is lost.
    pub fn gather(&self, numbers: &[u64]) -> Result<Vec<Vec<u64>>> {
        if self.workers() == 1 {
            return Ok(vec![numbers.to_vec()]);
        }
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let all = self.transport.all_gather(&bytes)?;
        let numbers = |bytes: Vec<u8>| {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().map(|word| u64::from_le_bytes(*word)).collect()
        };
        Ok(all.into_iter().map(numbers).collect())
    }

    /// The sum of the workers' numbers.
    ///
    /// # Errors
    /// A worker is lost.
    pub fn total(&self, number: u64) -> Result<u64> {
        let all = self.gather(&[number])?;
        Ok(all.into_iter().flatten().fold(0, u64::saturating_add))
    }

    /// The first signal that any worker received, by rank.
    ///
    /// # Errors
    /// A worker is lost.
    pub fn signal(&self, own: Option<i32>) -> Result<Option<i32>> {
        if self.workers() == 1 {
            return Ok(own);
        }
        let own = own
            .and_then(|signal| u64::try_from(signal).ok())
            .unwrap_or(0);
        let all = self.gather(&[own])?;
        let received = all.into_iter().flatten().find(|&signal| signal != 0);
        Ok(received.and_then(|signal| i32::try_from(signal).ok()))
    }

    /// The rows of all documents of a step, of which this worker has some, ascending.
    ///
    /// # Errors
    /// A worker is lost.
    pub fn documents(&self, own: &[u64]) -> Result<Vec<u64>> {
        let mut all = self.gather(own)?.concat();
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Sum of the nats of all micro-batches of a step, in their order, and of the squares of all gradients, in the parameters' order:
    /// both as a single worker sums them.
    ///
    /// # Errors
    /// A worker is lost, or the device failed.
    pub fn sums<B: Backend>(
        &self,
        backend: &B,
        nats: &[f64],
        gradients: &Gradients<B>,
    ) -> Result<(f64, f64)> {
        let gradients = gradients.sum()?;
        if self.workers() == 1 {
            return Ok((nats.iter().sum(), backend.squares(gradients)?));
        }
        let owned = self.owners.owned(self.rank());
        let mut numbers: Vec<u64> = vec![nats.len() as u64];
        numbers.extend(nats.iter().map(|nats| nats.to_bits()));
        for &index in &owned {
            numbers.push(backend.squares_of(gradients, index)?.to_bits());
        }
        let mut sum = 0.0;
        let mut squares = vec![0.0; self.owners.parameters()];
        for (rank, numbers) in self.gather(&numbers)?.into_iter().enumerate() {
            let short = || failed(rank, "it told less of the step than was due");
            let (count, rest) = numbers.split_first().ok_or_else(short)?;
            let count = usize::try_from(*count).map_err(|_| short())?;
            let (nats, theirs) = rest.split_at_checked(count).ok_or_else(short)?;
            for &nats in nats {
                sum += f64::from_bits(nats);
            }
            let owned = self.owners.owned(rank);
            if owned.len() != theirs.len() {
                return Err(short());
            }
            for (index, &theirs) in owned.into_iter().zip(theirs) {
                squares[index] = f64::from_bits(theirs);
            }
        }
        Ok((sum, squares.iter().sum()))
    }

    /// Gives each worker the parameters that the others stepped.
    ///
    /// # Errors
    /// A worker is lost, or the device failed.
    pub fn spread<B: Backend>(&self, model: &mut Model<B>) -> Result<()> {
        let (rank, workers) = (self.rank(), self.workers());
        if workers == 1 {
            return Ok(());
        }
        let mut reader = Reader::new(&self.owners, rank);
        let mut writers: Vec<Writer> = (0..workers)
            .map(|owner| Writer::new(&self.owners, owner))
            .collect();
        let (mut bytes, mut received) = (Vec::new(), Vec::new());
        for piece in 0..gradients::pieces(&self.owners) {
            let own = length(self.owners.numbers(rank), piece);
            let numbers = reader.next(&model.backend, &model.parameters, own)?;
            bytes.clear();
            to_bytes(&numbers, &mut bytes);
            for round in 1..workers {
                let to = (rank + round) % workers;
                let from = (rank + workers - round) % workers;
                let due = 4 * length(self.owners.numbers(from), piece);
                let sent = (own > 0).then_some((to, &bytes[..]));
                self.transport
                    .exchange(sent, (due > 0).then_some(from), &mut received, due)?;
                if due == 0 {
                    continue;
                }
                if received.len() != due {
                    return Err(failed(from, "it sent less than was due"));
                }
                let piece = from_bytes(&received);
                writers[from].push(&model.backend, &mut model.parameters, &piece)?;
            }
        }
        Ok(())
    }

    /// Gives all workers the parameters of the first.
    ///
    /// # Errors
    /// A worker is lost, or the device failed.
    pub fn spread_first<B: Backend>(&self, model: &mut Model<B>) -> Result<()> {
        if self.workers() == 1 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for index in 0..model.shapes.len() {
            bytes.clear();
            if self.is_first() {
                let numbers = model.backend.read(&model.parameters, index)?;
                to_bytes(&numbers, &mut bytes);
            }
            let due = 4 * model.shapes[index].count();
            self.transport.broadcast(&mut bytes, due)?;
            if !self.is_first() {
                let numbers = from_bytes(&bytes);
                model
                    .backend
                    .write(&mut model.parameters, index, &numbers)?;
            }
        }
        Ok(())
    }

    /// Gives all workers a value of the first.
    ///
    /// # Errors
    /// A worker is lost, or is of another kind.
    pub fn tell<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        value: Option<T>,
    ) -> Result<T> {
        let unreadable =
            |error: serde_json::Error| failed(0, format!("what it told cannot be read: {error}"));
        let mut bytes = match &value {
            Some(value) if self.workers() == 1 || self.is_first() => {
                serde_json::to_vec(value).map_err(unreadable)?
            }
            _ => Vec::new(),
        };
        if let (Some(value), 1) = (value, self.workers()) {
            return Ok(value);
        }
        self.transport.broadcast(&mut bytes, LARGEST_STATE)?;
        serde_json::from_slice(&bytes).map_err(unreadable)
    }

    /// Gives `numbers` to worker `to`, which takes them.
    ///
    /// # Errors
    /// The worker is lost.
    pub fn give(&self, to: usize, numbers: &[f32]) -> Result<()> {
        let mut bytes = Vec::with_capacity(4 * numbers.len());
        to_bytes(numbers, &mut bytes);
        self.transport
            .exchange(Some((to, &bytes)), None, &mut Vec::new(), 0)
    }

    /// Takes `count` numbers that worker 0 gives.
    ///
    /// # Errors
    /// Worker 0 is lost.
    pub fn take(&self, count: usize) -> Result<Vec<f32>> {
        self.taken(0, count)
    }

    fn taken(&self, from: usize, count: usize) -> Result<Vec<f32>> {
        let mut bytes = Vec::new();
        self.transport
            .exchange(None, Some(from), &mut bytes, 4 * count)?;
        if bytes.len() != 4 * count {
            return Err(failed(from, "it sent less than was due"));
        }
        Ok(from_bytes(&bytes))
    }

    /// As worker 0: the numbers of parameter `index` in store `store` of the worker that owns it and now answers.
    ///
    /// # Errors
    /// The worker is lost.
    pub fn ask(&self, store: usize, index: usize) -> Result<Vec<f32>> {
        let owner = self.owner(index);
        let question = [store as u64, index as u64].map(u64::to_le_bytes).concat();
        self.transport
            .exchange(Some((owner, &question)), None, &mut Vec::new(), 0)?;
        self.taken(owner, self.owners.count(index))
    }

    /// As worker 0: that nothing more will be asked.
    ///
    /// # Errors
    /// A worker is lost.
    pub fn asked(&self) -> Result<()> {
        for rank in 1..self.workers() {
            self.transport
                .exchange(Some((rank, &[])), None, &mut Vec::new(), 0)?;
        }
        Ok(())
    }

    /// As another worker: answers until nothing more is asked; `read` gives the numbers of a parameter in a store.
    ///
    /// # Errors
    /// Worker 0 is lost or asks for what there is not, or the device failed.
    pub fn answer(&self, read: &mut dyn FnMut(usize, usize) -> Result<Vec<f32>>) -> Result<()> {
        let mut question = Vec::new();
        loop {
            self.transport
                .exchange(None, Some(0), &mut question, QUESTION)?;
            if question.is_empty() {
                return Ok(());
            }
            let (words, _) = question.as_chunks::<8>();
            let place = |at: usize| {
                let word = words.get(at).map(|word| u64::from_le_bytes(*word));
                word.and_then(|word| usize::try_from(word).ok())
                    .ok_or_else(|| failed(0, "its question cannot be read"))
            };
            let (store, index) = (place(0)?, place(1)?);
            if index >= self.owners.parameters() || self.owner(index) != self.rank() {
                return Err(failed(0, "it asks for what this worker does not have"));
            }
            self.give(0, &read(store, index)?)?;
        }
    }

    /// Tells the others why this worker gives up.
    pub fn abort(&self, reason: &Error) {
        self.transport.abort(&reason.to_string());
    }
}

/// Whether so many workers can share a run whose steps are cut into `parts`.
///
/// # Errors
/// They cannot.
pub fn check(parts: usize, workers: usize) -> Result<()> {
    if workers <= parts {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "a step of this run has data.parts-per-step = {parts}, and {workers} workers need at least as many\n\
         hint: begin a run with --set data.parts-per-step={workers} or more; a run keeps its parts, since they order its sums"
    )))
}
