//! Batches of sequences. The order of a training split is a function of one integer, the position: sequences consumed so far. A
//! thread reads ahead, but a batch moves the position only when its step is done, so what was read and not trained is not lost. It
//! is not the loader's own ([`andromeda_format::Prefetch`]), since it puts micro-batches together too, out of the way of the step.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use andromeda_format::Account;

use crate::config::DataOptions;
use crate::error::{Error, Result};

/// Batches that may wait to be trained.
const AHEAD: usize = 2;

/// T + 1 tokens and what is to be learnt of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Token ids, T + 1.
    pub ids: Vec<u32>,
    /// Whether the target of each of the T places carries loss. End-of-text does.
    pub trained: Vec<bool>,
    /// What is to be learnt at each of the T places, where it is not the next token.
    pub targets: Option<Vec<u32>>,
    /// Rows of the documents that have a token in it, in order.
    pub documents: Vec<u64>,
    /// The dataset of each of them, as its place in [`Source::datasets`].
    pub datasets: Vec<u32>,
    /// Places at which a document begins, ascending.
    pub document_starts: Vec<u32>,
    /// Ids at the end that are filling.
    pub padding: usize,
}

impl Row {
    /// For each of the T targets which of [`Row::documents`] it is a token of.
    pub fn documents_of_targets(&self) -> impl Iterator<Item = usize> {
        let mut begins = self.document_starts.iter().copied().peekable();
        // A document that began before has no start here, and is the first.
        let mut begun = usize::from(begins.peek() != Some(&0));
        (1_u32..).take(self.trained.len()).map(move |place| {
            while begins.next_if(|&begin| begin <= place).is_some() {
                begun += 1;
            }
            begun.saturating_sub(1)
        })
    }
}

/// The sequences of a split, however they are stored.
pub trait Sequences: Send {
    /// Sequences of one epoch.
    fn sequences(&self) -> u64;
    /// The sequence at `position` of the shuffled order, which goes on for ever, epoch after epoch.
    fn read(&mut self, position: u64, row: &mut Row) -> Result<()>;
    /// The sequence at `index` of the stored order.
    fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()>;
    /// What each source has given in the sequences before `position`; nothing where nobody counts.
    fn accounts(&self, _position: u64) -> Vec<Account> {
        Vec::new()
    }
}

/// A dataset's part of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPart {
    /// Its name.
    pub name: String,
    /// Its tokens.
    pub tokens: u64,
    /// Bytes of the text behind those tokens.
    pub text_bytes: u64,
}

/// A split of a build.
pub struct Source {
    /// Tokens of the split.
    pub tokens: u64,
    /// Bytes of the text behind those tokens.
    pub text_bytes: u64,
    /// The datasets of the build, each with its part of the split, none perhaps.
    pub datasets: Vec<DatasetPart>,
    /// T.
    pub sequence_tokens: usize,
    /// Its sequences.
    pub sequences: Box<dyn Sequences>,
}

/// Sequences that go through the model at once, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MicroBatch {
    /// Inputs, (B T).
    pub ids: Vec<u32>,
    /// Targets, (B T).
    pub next: Vec<u32>,
    /// Whether each target carries loss.
    pub trained: Vec<bool>,
    /// For each input the place in its sequence at which its document begins.
    pub starts: Vec<u32>,
    /// Rows of the documents of each sequence, one sequence after the other.
    pub documents: Vec<u64>,
}

impl MicroBatch {
    /// Appends a sequence: inputs are all but its last token, targets all but its first, or what the row says.
    pub fn push(&mut self, row: &Row) -> Result<()> {
        let length = row.trained.len();
        if length == 0 || row.ids.len() != length + 1 {
            let ids = row.ids.len();
            return Err(Error::Usage(format!(
                "a sequence of {ids} tokens cannot have {length} targets"
            )));
        }
        self.ids.extend_from_slice(&row.ids[..length]);
        match &row.targets {
            None => self.next.extend_from_slice(&row.ids[1..]),
            Some(targets) if targets.len() == length => self.next.extend_from_slice(targets),
            Some(targets) => {
                let targets = targets.len();
                return Err(Error::Usage(format!(
                    "a sequence of {length} places cannot have {targets} targets"
                )));
            }
        }
        self.documents.extend_from_slice(&row.documents);
        self.trained.extend_from_slice(&row.trained);
        let mut begins = row.document_starts.iter().copied().peekable();
        let mut start = 0;
        self.starts.extend((0_u32..).take(length).map(|place| {
            while let Some(begin) = begins.next_if(|&begin| begin <= place) {
                start = begin;
            }
            start
        }));
        Ok(())
    }

    /// Targets that carry loss.
    pub fn trained_tokens(&self) -> u64 {
        self.trained.iter().filter(|&&trained| trained).count() as u64
    }
}

/// The sequences of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequences consumed before it.
    pub position: u64,
    /// Sequences consumed after it.
    pub end: u64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Targets of this worker's micro-batches that carry loss.
    pub trained_tokens: u64,
    /// Rows of the documents that have a token in this worker's micro-batches, ascending.
    pub documents: Vec<u64>,
    /// Micro-batches of the step.
    pub micro_batches_of_step: usize,
    /// Which of them is this worker's first.
    pub first_micro_batch: usize,
    /// What this worker has of them; one that is alone has all. Each goes through the model at once.
    pub micro_batches: Vec<MicroBatch>,
}

/// Which of a step's micro-batches are read, by how many there are.
pub type Share = Box<dyn Fn(usize) -> Range<usize> + Send>;

impl Batch {
    /// Reads what `share` says of the batch at `position`.
    pub fn read(
        sequences: &mut dyn Sequences,
        position: u64,
        options: &DataOptions,
        share: &Share,
    ) -> Result<Self> {
        let of_step = options.micro_batches_at(position);
        let own = share(of_step);
        let per_micro_batch = options.sequences_per_micro_batch as u64;
        let sequences_of_step = of_step as u64 * per_micro_batch;
        let mut batch = Self {
            position,
            end: position + sequences_of_step,
            tokens: sequences_of_step * options.sequence_tokens as u64,
            trained_tokens: 0,
            documents: Vec::new(),
            micro_batches_of_step: of_step,
            first_micro_batch: own.start,
            micro_batches: Vec::with_capacity(own.len()),
        };
        let mut row = Row::default();
        for index in own {
            let mut micro = MicroBatch::default();
            let first = position + index as u64 * per_micro_batch;
            for position in first..first + per_micro_batch {
                sequences.read(position, &mut row)?;
                micro.push(&row)?;
            }
            batch.trained_tokens += micro.trained_tokens();
            batch.documents.extend_from_slice(&micro.documents);
            batch.micro_batches.push(micro);
        }
        // Whole documents differ in length, and one worker reads them all.
        if batch.micro_batches.len() == of_step {
            batch.tokens = batch.micro_batches.iter().map(|m| m.ids.len() as u64).sum();
        }
        batch.documents.sort_unstable();
        batch.documents.dedup();
        Ok(batch)
    }
}

impl Batch {
    /// The rows of its documents, for a person to find them in the build's documents table.
    pub fn rows(&self) -> String {
        let rows: Vec<String> = self.documents.iter().map(u64::to_string).collect();
        rows.join(", ")
    }
}

/// Batches read ahead by a thread.
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    /// Starts to read at `position`, of each batch what `share` says.
    pub fn start(
        source: Source,
        position: u64,
        options: &DataOptions,
        share: Share,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(AHEAD);
        let options = options.clone();
        let mut sequences = source.sequences;
        let read_ahead = move || {
            let mut position = position;
            loop {
                let batch = Batch::read(&mut *sequences, position, &options, &share);
                let failed = batch.is_err();
                position = batch.as_ref().map_or(position, |batch| batch.end);
                // The training loop has gone, or will go with this error.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(read_ahead);
        let thread = thread.map_err(Error::io("starting the thread that reads ahead"))?;
        Ok(Self {
            receiver: Some(receiver),
            thread: Some(thread),
        })
    }

    /// The next batch.
    pub fn next_batch(&self) -> Result<Batch> {
        let received = self
            .receiver
            .as_ref()
            .and_then(|receiver| receiver.recv().ok());
        received.unwrap_or_else(|| {
            Err(Error::Usage(
                "the thread that reads ahead has ended".to_owned(),
            ))
        })
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails and the thread ends.
        drop(self.receiver.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use andromeda_format::Packing;

    use super::*;
    use crate::config::Among;

    /// Tokens 0, 1, 2, ... so that order is visible; every third target is masked.
    struct Counting;

    impl Sequences for Counting {
        fn sequences(&self) -> u64 {
            5
        }

        fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
            if position >= 100 {
                return Err(Error::Usage("end".to_owned()));
            }
            let first = u32::try_from(position * 4).unwrap();
            *row = Row {
                ids: (first..=first + 4).collect(),
                trained: (first..first + 4).map(|i| i % 3 != 0).collect(),
                targets: None,
                documents: vec![u64::from(first) / 8, u64::from(first) / 8 + 1],
                datasets: vec![0, 0],
                document_starts: vec![1, 3, 4],
                padding: 0,
            };
            Ok(())
        }

        fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
            self.read(index, row)
        }
    }

    fn source() -> Source {
        Source {
            tokens: 400,
            text_bytes: 400,
            datasets: Vec::new(),
            sequence_tokens: 4,
            sequences: Box::new(Counting),
        }
    }

    fn all() -> Share {
        Box::new(|all| 0..all)
    }

    const OPTIONS: DataOptions = DataOptions {
        sequence_tokens: 4,
        sequences_per_micro_batch: 2,
        micro_batches_per_step: 3,
        batch_warmup_tokens: 0,
        parts_per_step: 1,
        order_seed: 0,
        packing: Packing::Concatenate,
        shuffle: Among::Groups,
        chunk_tokens: 1 << 20,
        group_chunks: 16,
        stay_in_documents: false,
        weights: BTreeMap::new(),
        kinds: Vec::new(),
    };

    #[test]
    fn a_batch_is_the_next_sequences_cut_into_micro_batches() {
        let batches = Batches::start(source(), 6, &OPTIONS, all()).unwrap();
        let first = batches.next_batch().unwrap();
        assert_eq!(
            (
                first.position,
                first.end,
                first.tokens,
                first.micro_batches.len()
            ),
            (6, 12, 24, 3)
        );
        assert_eq!(first.micro_batches[1].ids, (32..40).collect::<Vec<_>>());
        assert_eq!(first.micro_batches[1].next, (33..41).collect::<Vec<_>>());
        assert_eq!(
            first.trained_tokens,
            (24..48).filter(|i| i % 3 != 0).count() as u64
        );
        assert_eq!(first.micro_batches[1].starts, [0, 1, 1, 3, 0, 1, 1, 3]);
        assert_eq!(first.documents, [3, 4, 5, 6]);
        assert_eq!(batches.next_batch().unwrap().position, 12);
    }

    #[test]
    fn a_target_is_a_token_of_the_document_that_stands_there() {
        let row = |starts: &[u32]| Row {
            ids: vec![0; 7],
            trained: vec![true; 6],
            document_starts: starts.to_vec(),
            ..Row::default()
        };
        let of = |starts: &[u32]| row(starts).documents_of_targets().collect::<Vec<_>>();
        // The target at a place is the token after it, so a document's first token is learnt at the place before it.
        assert_eq!(of(&[]), [0, 0, 0, 0, 0, 0]);
        assert_eq!(of(&[0]), [0, 0, 0, 0, 0, 0]);
        assert_eq!(of(&[3]), [0, 0, 1, 1, 1, 1]);
        assert_eq!(of(&[0, 3]), [0, 0, 1, 1, 1, 1]);
        assert_eq!(of(&[1, 2, 6]), [1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn a_share_of_a_batch_is_read_at_its_own_positions() {
        let whole = Batches::start(source(), 6, &OPTIONS, all()).unwrap();
        let last = Batches::start(source(), 6, &OPTIONS, Box::new(|all| 2..all)).unwrap();
        for _ in 0..3 {
            let (whole, last) = (whole.next_batch().unwrap(), last.next_batch().unwrap());
            assert_eq!(last.micro_batches, whole.micro_batches[2..]);
            assert_eq!((last.first_micro_batch, last.micro_batches_of_step), (2, 3));
            assert_eq!(
                (last.position, last.end, last.tokens),
                (whole.position, whole.end, whole.tokens)
            );
            assert_eq!(last.trained_tokens, whole.micro_batches[2].trained_tokens());
        }
    }

    #[test]
    fn stopping_and_starting_at_the_position_reads_the_same_batches() {
        let whole = Batches::start(source(), 0, &OPTIONS, all()).unwrap();
        let expected: Vec<Batch> = (0..5).map(|_| whole.next_batch().unwrap()).collect();
        let mut position = 0;
        for expected in &expected {
            // A new reader a step: whatever the last one had read ahead is read again.
            let batch = Batches::start(source(), position, &OPTIONS, all())
                .unwrap()
                .next_batch()
                .unwrap();
            assert_eq!(batch, *expected);
            position = batch.end;
        }
    }

    #[test]
    fn an_error_of_the_reader_reaches_the_loop() {
        let batches = Batches::start(source(), 93, &OPTIONS, all()).unwrap();
        assert!(batches.next_batch().is_ok());
        assert!(
            batches
                .next_batch()
                .unwrap_err()
                .to_string()
                .contains("end")
        );
        assert!(batches.next_batch().is_err());
    }
}
