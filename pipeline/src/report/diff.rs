//! Two builds compared, document by document: what one has and the other has not, and why.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::columns::Table;
use crate::documents::TableError;

/// What became of a document in one of the builds: `kept`, `dropped: reason`, `duplicate: method`, `quarantined: reason`, or
/// `absent` where it was not read.
pub type State = String;

/// A document that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Its id.
    pub id: String,
    /// Its row in the first build's table of documents.
    pub first: Option<u64>,
    /// Its row in the second's.
    pub second: Option<u64>,
}

/// Documents with the same state before and the same state after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Move {
    /// How many.
    pub documents: u64,
    /// Bytes of their normalized text, as the second build has it; where it does not have them, the first.
    pub bytes: u64,
    /// Some of them, chosen by a hash of their ids.
    pub samples: Vec<Moved>,
}

/// The difference of two builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Documents that the second build keeps and the first does not, by state in the first.
    pub gained: BTreeMap<State, Move>,
    /// Documents that the first build keeps and the second does not, by state in the second.
    pub lost: BTreeMap<State, Move>,
    /// Documents that neither keeps and whose states differ, by both.
    pub changed: BTreeMap<State, Move>,
    /// Documents that both keep.
    pub both: u64,
}

/// What is remembered of a document of the first build; ids are told apart by 128-bit hashes.
struct Known {
    state: u32,
    row: u64,
    bytes: u64,
    seen: bool,
}

/// Compares the builds in two folders; `samples` documents of each move are named.
///
/// Memory grows with the documents of the first build: about 64 bytes each.
///
/// # Errors
/// A table cannot be read.
pub fn diff(first: &Path, second: &Path, samples: usize) -> Result<Diff, TableError> {
    let mut states: Vec<State> = Vec::new();
    let mut numbers: BTreeMap<State, u32> = BTreeMap::new();
    let mut known: HashMap<u128, Known> = HashMap::new();
    each_document(first, &mut |row, id, state, bytes| {
        let number = match numbers.get(&state) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(states.len()).unwrap_or(u32::MAX);
                numbers.insert(state.clone(), number);
                states.push(state);
                number
            }
        };
        let entry = Known {
            state: number,
            row,
            bytes,
            seen: false,
        };
        known.insert(xxh3_128(id.as_bytes()), entry);
    })?;
    let mut all = Moves {
        samples,
        ..Moves::default()
    };
    each_document(second, &mut |row, id, state, bytes| {
        let before = known.get_mut(&xxh3_128(id.as_bytes()));
        let (was, first) = match before {
            Some(known) => {
                known.seen = true;
                let was = states.get(known.state as usize);
                (was.map_or(ABSENT, String::as_str), Some(known.row))
            }
            None => (ABSENT, None),
        };
        all.add(was, &state, bytes, || Moved {
            id: id.to_owned(),
            first,
            second: Some(row),
        });
    })?;
    if known.values().any(|known| !known.seen) {
        each_document(first, &mut |row, id, state, _| {
            let unseen = known.get(&xxh3_128(id.as_bytes()));
            if let Some(known) = unseen.filter(|known| !known.seen && known.row == row) {
                all.add(&state, ABSENT, known.bytes, || Moved {
                    id: id.to_owned(),
                    first: Some(row),
                    second: None,
                });
            }
        })?;
    }
    Ok(all.finish())
}

const ABSENT: &str = "absent";
const KEPT: &str = "kept";

/// Samples by the hash of their ids.
type Chosen = BTreeMap<(u64, String), Moved>;

#[derive(Default)]
struct Moves {
    samples: usize,
    by_states: BTreeMap<(State, State), (Move, Chosen)>,
    both: u64,
}

impl Moves {
    fn add(&mut self, was: &str, is: &str, bytes: u64, moved: impl FnOnce() -> Moved) {
        if was == is {
            self.both += u64::from(is == KEPT);
            return;
        }
        let key = (was.to_owned(), is.to_owned());
        let (counts, chosen) = self.by_states.entry(key).or_default();
        counts.documents += 1;
        counts.bytes += bytes;
        if self.samples > 0 {
            let moved = moved();
            chosen.insert((xxh3_64(moved.id.as_bytes()), moved.id.clone()), moved);
            if chosen.len() > self.samples {
                chosen.pop_last();
            }
        }
    }

    fn finish(self) -> Diff {
        let mut diff = Diff {
            both: self.both,
            ..Diff::default()
        };
        for ((was, is), (mut counts, chosen)) in self.by_states {
            counts.samples = chosen.into_values().collect();
            if is == KEPT {
                diff.gained.insert(was, counts);
            } else if was == KEPT {
                diff.lost.insert(is, counts);
            } else {
                diff.changed.insert(format!("{was} → {is}"), counts);
            }
        }
        diff
    }
}

fn each_document(
    folder: &Path,
    each: &mut dyn FnMut(u64, &str, State, u64),
) -> Result<(), TableError> {
    let columns = ["id", "verdict", "reason", "bytes"];
    Table::open(folder, "documents.parquet", Some(&columns))?.for_each(&mut |first, batch| {
        let (ids, bytes) = (batch.words("id")?, batch.longs("bytes")?);
        let (verdicts, reasons) = (batch.words("verdict")?, batch.words("reason")?);
        for (i, row) in (0..batch.rows()).zip(first..) {
            let verdict = verdicts.get(i).unwrap_or_default();
            let state = match reasons.get(i) {
                Some(reason) => format!("{verdict}: {reason}"),
                None => verdict.to_owned(),
            };
            each(
                row,
                ids.get(i).unwrap_or_default(),
                state,
                bytes.get(i).unwrap_or_default(),
            );
        }
        Ok(())
    })
}
