//! From hashes and band keys of all documents to clusters of duplicates and the copy of each that stays.
//!
//! Exact duplicates are grouped by a 128-bit hash and confirmed by a second, independent one. Near duplicates meet in the
//! buckets of their bands; a pair joins only if enough of the two signatures agree, so a chance collision of one band merges
//! nothing. Joined documents form the connected components of that graph. A bucket of m documents costs m times the number
//! of its *heads* (members that agree with no earlier head), which is bounded; it never costs m squared.
//!
//! The result is a function of the records, the agreement wanted and the ranks alone. Memory decides only in how many
//! passes a band's keys are sorted: edges found within a band are compared with the components of the bands before it, and
//! joined after the band, in the order of their keys.

use rayon::prelude::*;

use super::union_find::UnionFind;

/// A document among all that passed the filters: its place in dataset, file and row order.
pub type Ordinal = u32;

/// What the clustering asks of the documents. Implementations read from disk; nothing is kept here but what is stated.
pub trait Records: Sync {
    /// Why a record could not be read.
    type Error: Send;
    /// Number of documents.
    fn len(&self) -> Ordinal;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The 128-bit hash of the text and an independent 64-bit one.
    fn text_hashes(&self, document: Ordinal) -> (u128, u64);
    /// The smaller, the sooner this copy stays. Ties go to the smaller ordinal.
    fn rank(&self, document: Ordinal) -> (u8, std::cmp::Reverse<u64>);
    /// Bands of a signature; 0 if near duplicates are not looked for.
    fn bands(&self) -> usize;
    /// Calls back with every document that has a signature and its key in `band`, in ordinal order.
    fn band_keys(&self, band: usize, each: &mut dyn FnMut(Ordinal, u64))
    -> Result<(), Self::Error>;
    /// The signature of a document that has one.
    fn signature(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), Self::Error>;
}

/// How near duplicates are confirmed, and in what memory.
#[derive(Debug, Clone, Copy)]
pub struct ClusterOptions {
    /// Whether equal texts are looked for.
    pub exact: bool,
    /// Share of equal hashes that joins two documents of a bucket.
    pub agreement: f64,
    /// Bytes that sorting may hold; changes no result.
    pub memory_bytes: u64,
}

/// How a document came to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// It is the copy that stays.
    Kept = 0,
    /// Its text equals the text that stays.
    Exact = 1,
    /// It is joined to the text that stays, directly or over others.
    Near = 2,
}

/// What became of every document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    /// The smallest ordinal of the document's cluster.
    pub cluster: Vec<Ordinal>,
    /// The document of the cluster that stays.
    pub keeper: Vec<Ordinal>,
    /// How: a [`Method`] as a number.
    pub method: Vec<u8>,
    /// Equal hashes between the document and the one that stays, for near duplicates; 0 otherwise.
    pub agreeing: Vec<u16>,
    /// Largest number of documents in one bucket of one band.
    pub largest_bucket: u64,
    /// Pairs whose signatures were compared.
    pub compared: u64,
    /// Members of hot buckets that agreed with none of the heads and found no room to become one.
    pub unplaced: u64,
}

/// Members of a bucket that agree with no earlier head become heads, up to this many.
const MAX_HEADS: usize = 16;

/// Finds the clusters.
pub fn clusters<R: Records>(records: &R, options: &ClusterOptions) -> Result<Clusters, R::Error> {
    let n = records.len();
    let mut sets = UnionFind::new(n);
    let mut found = Clusters::default();
    if options.exact {
        exact(records, options, &mut sets);
    }
    let exact_sets: Vec<Ordinal> = sets.clone().into_roots();
    for band in 0..records.bands() {
        near(records, options, band, &exact_sets, &mut sets, &mut found)?;
    }

    found.cluster = sets.into_roots();
    let mut best: Vec<Ordinal> = (0..n).collect();
    for d in 0..n {
        let root = found.cluster[d as usize] as usize;
        if (records.rank(d), d) < (records.rank(best[root]), best[root]) {
            best[root] = d;
        }
    }
    found.keeper = found
        .cluster
        .iter()
        .map(|root| best[*root as usize])
        .collect();
    let settled: Vec<(u8, u16)> = (0..n)
        .into_par_iter()
        .map_init(
            || (Vec::new(), Vec::new()),
            |(a, b), d| {
                let keeper = found.keeper[d as usize];
                if keeper == d {
                    return Ok((Method::Kept as u8, 0));
                }
                if options.exact && exact_sets[d as usize] == exact_sets[keeper as usize] {
                    return Ok((Method::Exact as u8, 0));
                }
                records.signature(d, a)?;
                records.signature(keeper, b)?;
                Ok((Method::Near as u8, agreeing(a, b)))
            },
        )
        .collect::<Result<_, R::Error>>()?;
    (found.method, found.agreeing) = settled.into_iter().unzip();
    Ok(found)
}

fn agreeing(a: &[u32], b: &[u32]) -> u16 {
    let equal = a.iter().zip(b).filter(|(x, y)| x == y).count();
    u16::try_from(equal).unwrap_or(u16::MAX)
}

fn exact<R: Records>(records: &R, options: &ClusterOptions, sets: &mut UnionFind) {
    let n = records.len();
    for range in passes(u64::from(n) * 32, options.memory_bytes) {
        let mut hashes: Vec<(u128, u64, Ordinal)> = (0..n)
            .into_par_iter()
            .map(|d| {
                let (hash, check) = records.text_hashes(d);
                (hash, check, d)
            })
            .filter(|(hash, _, _)| range.holds((hash >> 64) as u64))
            .collect();
        hashes.par_sort_unstable();
        for run in hashes.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for (_, _, document) in &run[1..] {
                sets.union(run[0].2, *document);
            }
        }
    }
}

fn near<R: Records>(
    records: &R,
    options: &ClusterOptions,
    band: usize,
    exact_sets: &[Ordinal],
    sets: &mut UnionFind,
    found: &mut Clusters,
) -> Result<(), R::Error> {
    let before: Vec<Ordinal> = sets.clone().into_roots();
    let mut edges: Vec<(Ordinal, Ordinal)> = Vec::new();
    for range in passes(u64::from(records.len()) * 32, options.memory_bytes) {
        let mut keys: Vec<(u64, Ordinal)> = Vec::new();
        records.band_keys(band, &mut |document, key| {
            // Equal texts have equal keys: one of them speaks for all.
            if range.holds(key) && exact_sets[document as usize] == document {
                keys.push((key, document));
            }
        })?;
        keys.par_sort_unstable();
        let buckets: Vec<&[(u64, Ordinal)]> = keys
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|run| run.len() > 1)
            .collect();
        let joined: Vec<Bucket> = buckets
            .par_iter()
            .map(|bucket| join(records, options, &before, bucket))
            .collect::<Result<_, R::Error>>()?;
        for (bucket, members) in joined.into_iter().zip(&buckets) {
            found.largest_bucket = found.largest_bucket.max(members.len() as u64);
            found.compared += bucket.compared;
            found.unplaced += bucket.unplaced;
            edges.extend(bucket.edges);
        }
    }
    for (a, b) in edges {
        sets.union(a, b);
    }
    Ok(())
}

#[derive(Default)]
struct Bucket {
    edges: Vec<(Ordinal, Ordinal)>,
    compared: u64,
    unplaced: u64,
}

/// Joins the members of one bucket to the heads they agree with.
fn join<R: Records>(
    records: &R,
    options: &ClusterOptions,
    before: &[Ordinal],
    members: &[(u64, Ordinal)],
) -> Result<Bucket, R::Error> {
    let mut out = Bucket::default();
    // All of one component already: nothing to learn, nothing to read.
    if members
        .iter()
        .all(|(_, d)| before[*d as usize] == before[members[0].1 as usize])
    {
        return Ok(out);
    }
    let mut heads: Vec<(Ordinal, Vec<u32>)> = Vec::new();
    let mut own = Vec::new();
    for (_, document) in members {
        records.signature(*document, &mut own)?;
        let wanted = (options.agreement * own.len() as f64).ceil();
        let mut placed = false;
        for (head, signature) in &heads {
            if before[*head as usize] == before[*document as usize] {
                placed = true;
                continue;
            }
            out.compared += 1;
            if f64::from(agreeing(signature, &own)) >= wanted {
                out.edges.push((*head, *document));
                placed = true;
            }
        }
        if !placed {
            if heads.len() < MAX_HEADS {
                heads.push((*document, own.clone()));
            } else {
                out.unplaced += 1;
            }
        }
    }
    Ok(out)
}

/// A share of the key space.
#[derive(Debug, Clone, Copy)]
struct KeyRange {
    first: u64,
    last: u64,
}

impl KeyRange {
    fn holds(&self, key: u64) -> bool {
        (self.first..=self.last).contains(&key)
    }
}

/// Cuts the key space so that each part's share of `bytes` fits into `memory`.
fn passes(bytes: u64, memory: u64) -> Vec<KeyRange> {
    let parts = bytes.div_ceil(memory.max(1)).clamp(1, 1 << 16);
    let step = u64::MAX / parts;
    (0..parts)
        .map(|i| KeyRange {
            first: i * step + u64::from(i > 0),
            last: if i + 1 == parts {
                u64::MAX
            } else {
                (i + 1) * step
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::convert::Infallible;

    /// Documents with signatures made by hand: band `b` of a signature is its rows `2b` and `2b + 1`.
    struct Made {
        texts: Vec<u64>,
        signatures: Vec<Option<Vec<u32>>>,
        ranks: Vec<(u8, u64)>,
    }

    impl Records for Made {
        type Error = Infallible;
        fn len(&self) -> Ordinal {
            u32::try_from(self.texts.len()).unwrap()
        }
        fn text_hashes(&self, document: Ordinal) -> (u128, u64) {
            let text = self.texts[document as usize];
            (u128::from(text) << 70, text)
        }
        fn rank(&self, document: Ordinal) -> (u8, Reverse<u64>) {
            let (tier, bytes) = self.ranks[document as usize];
            (tier, Reverse(bytes))
        }
        fn bands(&self) -> usize {
            4
        }
        fn band_keys(
            &self,
            band: usize,
            each: &mut dyn FnMut(Ordinal, u64),
        ) -> Result<(), Infallible> {
            for (d, signature) in self.signatures.iter().enumerate() {
                if let Some(s) = signature {
                    let key = (u64::from(s[2 * band]) << 32 | u64::from(s[2 * band + 1]))
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    each(u32::try_from(d).unwrap(), key);
                }
            }
            Ok(())
        }
        fn signature(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), Infallible> {
            into.clear();
            into.extend(self.signatures[document as usize].as_ref().unwrap());
            Ok(())
        }
    }

    fn run(made: &Made, memory_bytes: u64) -> Clusters {
        let options = ClusterOptions {
            exact: true,
            agreement: 0.5,
            memory_bytes,
        };
        match clusters(made, &options) {
            Ok(found) => found,
        }
    }

    fn sample() -> Made {
        Made {
            // 0 and 3 have one text. 1 is near 0 (6 of 8 rows), 2 shares one band with 0 by chance (2 of 8), 4 is alone.
            texts: vec![10, 11, 12, 10, 13],
            signatures: vec![
                Some(vec![1, 1, 2, 2, 3, 3, 4, 4]),
                Some(vec![1, 1, 2, 2, 3, 3, 9, 9]),
                Some(vec![1, 1, 7, 7, 8, 8, 6, 6]),
                Some(vec![1, 1, 2, 2, 3, 3, 4, 4]),
                None,
            ],
            ranks: vec![(1, 50), (1, 60), (0, 10), (1, 50), (0, 1)],
        }
    }

    #[test]
    fn equal_texts_and_agreeing_signatures_join_and_chance_collisions_do_not() {
        let found = run(&sample(), u64::MAX);
        assert_eq!(found.cluster, [0, 0, 2, 0, 4]);
        assert_eq!(
            found.keeper,
            [1, 1, 2, 1, 4],
            "the longest of the tier stays"
        );
        assert_eq!(found.method, [2, 0, 0, 2, 0]);
        assert_eq!(found.agreeing, [6, 0, 0, 6, 0]);
    }

    #[test]
    fn the_most_important_tier_stays_even_if_shorter() {
        let mut made = sample();
        made.ranks[3] = (0, 50);
        let found = run(&made, u64::MAX);
        assert_eq!(found.keeper[..2], [3, 3]);
        assert_eq!(found.method[0], Method::Exact as u8);
    }

    #[test]
    fn memory_changes_no_result() {
        let mut state = 7u64;
        let mut next = move |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut made = Made {
            texts: Vec::new(),
            signatures: Vec::new(),
            ranks: Vec::new(),
        };
        for _ in 0..500 {
            made.texts.push(next(300));
            made.signatures.push(
                (next(10) > 0).then(|| (0..8).map(|_| u32::try_from(next(3)).unwrap()).collect()),
            );
            made.ranks.push((u8::try_from(next(2)).unwrap(), next(5)));
        }
        // Equal texts have equal signatures, as they do in life.
        for d in 0..500 {
            let first = made.texts.iter().position(|t| *t == made.texts[d]).unwrap();
            made.signatures[d] = made.signatures[first].clone();
        }
        let whole = run(&made, u64::MAX);
        assert!(
            whole
                .keeper
                .iter()
                .enumerate()
                .filter(|(d, k)| *d == **k as usize)
                .count()
                < 300
        );
        for memory in [1, 100, 4_000] {
            assert_eq!(run(&made, memory), whole, "memory {memory}");
        }
    }

    #[test]
    fn no_documents_are_no_clusters() {
        let made = Made {
            texts: vec![],
            signatures: vec![],
            ranks: vec![],
        };
        assert_eq!(run(&made, 1), Clusters::default());
    }
}
