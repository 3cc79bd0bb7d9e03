//! The gradients of a step: those of a worker's parts, and their sum over all workers.

use std::ops::Range;

use super::pieces::{Reader, Writer, from_bytes, length, to_bytes};
use super::transport::failed;
use super::{Owners, Team, tree};
use crate::data::{Batch, MicroBatch};
use crate::error::Result;
use crate::model::Model;
use crate::ops::Backend;

/// Gradients of the nodes that lie within a worker's share, and room to sum them.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// One a node, in order. After [`Gradients::reduce`] the first has the sum over all workers of what this one owns.
    nodes: Vec<B::Store>,
    /// Room.
    free: Vec<B::Store>,
}

/// What goes on in a micro-batch: its gradients are added to a store, and its nats returned.
pub type Pass<'a, S> = dyn FnMut(&MicroBatch, &mut S) -> Result<f64> + 'a;

/// A batch and what is to be done with each micro-batch of it.
struct Step<'a, 'b, S> {
    batch: &'a Batch,
    /// Parts of the whole step.
    parts: usize,
    pass: &'a mut Pass<'b, S>,
    /// Of each micro-batch.
    nats: Vec<f64>,
}

impl<B: Backend> Gradients<B> {
    /// Room for the gradients of `model` that a worker of `team` needs, all of it at once, so that a run that has begun does not end
    /// for want of it.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn new(model: &Model<B>, team: &Team<'_>) -> Result<Self> {
        let stores = tree::stores(team.parts, &team.share());
        let free = (0..stores).map(|_| model.store());
        Ok(Self {
            nodes: Vec::with_capacity(stores),
            free: free.collect::<Result<_>>()?,
        })
    }

    /// Sums the gradients of this worker's micro-batches as far as the tree allows. Returns the nats of each.
    ///
    /// # Errors
    /// `pass` failed, or the device.
    pub fn add_up(
        &mut self,
        model: &Model<B>,
        team: &Team<'_>,
        batch: &Batch,
        pass: &mut Pass<'_, B::Store>,
    ) -> Result<Vec<f64>> {
        self.free.append(&mut self.nodes);
        let mut step = Step {
            batch,
            parts: team.parts,
            pass,
            nats: Vec::with_capacity(batch.micro_batches.len()),
        };
        for node in tree::nodes(team.parts, &team.share()) {
            let gradients = self.of_node(model, node, &mut step)?;
            self.nodes.push(gradients);
        }
        Ok(step.nats)
    }

    fn of_node(
        &mut self,
        model: &Model<B>,
        node: Range<usize>,
        step: &mut Step<'_, '_, B::Store>,
    ) -> Result<B::Store> {
        if node.len() > 1 {
            let middle = tree::middle(&node);
            let mut left = self.of_node(model, node.start..middle, step)?;
            let right = self.of_node(model, middle..node.end, step)?;
            for index in 0..model.shapes.len() {
                model.backend.add(&mut left, &right, index)?;
            }
            self.free.push(right);
            return Ok(left);
        }
        let mut store = self.free.pop().map_or_else(|| model.store(), Ok)?;
        model.backend.clear(&mut store)?;
        let of_step = step.batch.micro_batches_of_step;
        for index in tree::micro_batches(of_step, node.start, step.parts) {
            let micro = index.checked_sub(step.batch.first_micro_batch);
            if let Some(micro) = micro.and_then(|index| step.batch.micro_batches.get(index)) {
                step.nats.push((step.pass)(micro, &mut store)?);
            }
        }
        Ok(store)
    }

    /// Sums over all workers; each has then the sums of the parameters it owns.
    ///
    /// # Errors
    /// A worker is lost, or the device failed.
    pub fn reduce(&mut self, backend: &B, team: &Team<'_>) -> Result<()> {
        let (rank, workers) = (team.rank(), team.workers());
        if workers == 1 {
            return Ok(());
        }
        let owners = &team.owners;
        let nodes: Vec<Vec<Range<usize>>> = (0..workers)
            .map(|of| tree::nodes(team.parts, &tree::share(team.parts, of, workers)))
            .collect();
        let mut readers: Vec<Vec<Reader>> = (0..workers)
            .map(|owner| {
                self.nodes
                    .iter()
                    .map(|_| Reader::new(owners, owner))
                    .collect()
            })
            .collect();
        let mut writer = Writer::new(owners, rank);
        let (mut bytes, mut received) = (Vec::new(), Vec::new());
        for piece in 0..pieces(owners) {
            let own = length(owners.numbers(rank), piece);
            let mut parts: Vec<Vec<Vec<f32>>> = vec![Vec::new(); workers];
            parts[rank] = self.read(backend, &mut readers[rank], own)?;
            for round in 1..workers {
                let to = (rank + round) % workers;
                let from = (rank + workers - round) % workers;
                let theirs = length(owners.numbers(to), piece);
                bytes.clear();
                for numbers in self.read(backend, &mut readers[to], theirs)? {
                    to_bytes(&numbers, &mut bytes);
                }
                let due = 4 * own * nodes[from].len();
                let sent = (theirs > 0).then_some((to, &bytes[..]));
                team.transport
                    .exchange(sent, (own > 0).then_some(from), &mut received, due)?;
                if own > 0 {
                    if received.len() != due {
                        return Err(failed(from, "it sent less than was due"));
                    }
                    parts[from] = received.chunks_exact(4 * own).map(from_bytes).collect();
                }
            }
            if own == 0 {
                continue;
            }
            let all = nodes
                .iter()
                .flatten()
                .cloned()
                .zip(parts.into_iter().flatten());
            let sum = tree::sum(team.parts, all.collect()).ok_or_else(|| {
                crate::error::Error::Usage(
                    "the parts of a step are not the whole; this is a fault of the program"
                        .to_owned(),
                )
            })?;
            if let Some(first) = self.nodes.first_mut() {
                writer.push(backend, first, &sum)?;
            }
        }
        Ok(())
    }

    /// A piece of each node.
    fn read(&self, backend: &B, readers: &mut [Reader], count: usize) -> Result<Vec<Vec<f32>>> {
        let nodes = readers.iter_mut().zip(&self.nodes);
        nodes
            .map(|(reader, node)| reader.next(backend, node, count))
            .collect()
    }

    /// The sums of what this worker owns.
    ///
    /// # Errors
    /// Nothing was summed.
    pub fn sum(&self) -> Result<&B::Store> {
        self.nodes.first().ok_or_else(|| {
            crate::error::Error::Usage(
                "a worker without a part of the step; this is a fault of the program".to_owned(),
            )
        })
    }
}

/// Pieces of the longest row.
pub(super) fn pieces(owners: &Owners) -> usize {
    owners.most_numbers().div_ceil(super::pieces::PIECE)
}
