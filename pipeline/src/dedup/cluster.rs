//! From hashes and band keys of all documents to clusters of duplicates and the copy of each that stays.
//!
//! Exact duplicates are grouped by a 128-bit hash and confirmed by a second, independent one. Near duplicates meet in the
//! buckets of their bands; a pair joins only if enough of the two signatures agrees, or if the two sets of shingles
//! themselves are alike enough, so a chance collision of one band merges nothing. Joined documents form the connected
//! components of that graph. A bucket of m documents costs m times the number of its *heads* (members that are like no
//! earlier head), which is bounded; it never costs m squared.
//!
//! The result is a function of the records, the similarity wanted and the ranks alone. Edges found within a part of a
//! band's keys are compared with the components known before that part, and joined after it, in the order of their keys;
//! parts depend on the number of documents and not on memory or threads ([`super::groups`]).
//!
//! A cluster may keep several documents: one goes only if it is itself like one that stays, unless chains are asked for.
//!
//! Seventeen bytes a document are held, besides what the keys of a few parts take: two parents, the copy that stays, a
//! method and a similarity; and eight more for each document of a cluster of several.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::groups::{self, Marks};
use super::union_find::UnionFind;

pub use super::groups::TextKey;

/// A document among all that passed the filters: its place in dataset, file and row order.
pub type Ordinal = u32;

/// The smaller, the sooner a copy stays: how important its tier is, then what the recipe prefers. Ties go to the smaller
/// ordinal.
pub type Rank = (u8, std::cmp::Reverse<u64>);

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
    /// Documents come in this many chunks, whose ordinals follow one another; any thread may ask for any chunk.
    fn chunks(&self) -> usize;
    /// Adds the hash of every text of a chunk, in ordinal order.
    fn text_keys(
        &self,
        chunk: usize,
        into: &mut Vec<(TextKey, Ordinal)>,
    ) -> Result<(), Self::Error>;
    /// Adds the hash of the address of every document of a chunk that has one.
    fn url_keys(&self, chunk: usize, into: &mut Vec<(TextKey, Ordinal)>)
    -> Result<(), Self::Error>;
    /// The rank of a document.
    fn rank(&self, document: Ordinal) -> Rank;
    /// Whether a document stays whatever it is like: it is in another build already.
    fn stays(&self, _document: Ordinal) -> bool {
        false
    }
    /// Bands of a signature; 0 if near duplicates are not looked for.
    fn bands(&self) -> usize;
    /// Adds the key in `band` of every document of a chunk that has a signature, in ordinal order.
    fn band_keys(
        &self,
        band: usize,
        chunk: usize,
        into: &mut Vec<(u64, Ordinal)>,
    ) -> Result<(), Self::Error>;
    /// The signature of a document that has one.
    fn signature(&self, document: Ordinal, into: &mut Vec<u16>) -> Result<(), Self::Error>;
    /// Makes ready the shingles of the marked documents, of those whose text is there: called once, before the two below.
    fn gather_shingles(&self, marked: &Marks) -> Result<(), Self::Error>;
    /// Whether there are documents whose text is not there.
    fn some_lack_shingles(&self) -> bool;
    /// Whether the shingles of a document are ready.
    fn has_shingles(&self, document: Ordinal) -> bool;
    /// The distinct shingles of a document, ascending.
    fn shingles(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), Self::Error>;
}

/// What confirms that two documents of a bucket are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// The share of equal hashes of the two signatures: an estimate, with nothing more to read.
    Signature,
    /// The Jaccard similarity of the two sets of shingles: exact, and the texts of candidates are read once more.
    Jaccard,
}

/// How duplicates are found, and in what memory.
#[derive(Debug, Clone, Copy)]
pub struct ClusterOptions {
    /// Whether equal texts are looked for.
    pub exact: bool,
    /// Whether equal addresses are looked for.
    pub url: bool,
    /// What confirms a candidate.
    pub verify: Verify,
    /// The similarity that joins two documents of a bucket.
    pub similarity: f64,
    /// Whether a document goes that is like the one that stays only over others.
    pub chain: bool,
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
    /// It is like the text that stays.
    Near = 2,
    /// It is another text of the same address.
    Url = 3,
}

impl Method {
    /// Its name in tables and counts; `None` for the copy that stays, and for a number that is none.
    #[must_use]
    pub fn name(number: u8) -> Option<&'static str> {
        [None, Some("exact"), Some("near"), Some("url")]
            .get(usize::from(number))
            .copied()
            .flatten()
    }
}

/// What became of every document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clusters {
    /// The smallest ordinal of the document's cluster.
    pub cluster: Vec<Ordinal>,
    /// The document of the cluster that stays and that this one is like; itself where it stays.
    pub keeper: Vec<Ordinal>,
    /// How: a [`Method`] as a number.
    pub method: Vec<u8>,
    /// Similarity of the document and the one that stays: 1 for equal texts and for the one that stays; for others what
    /// [`Verify`] measures (the signatures' agreement where shingles were not read), or -1 where one has no signature.
    pub similarity: Vec<f32>,
    /// What was counted on the way.
    pub counts: Counts,
}

/// What finding the clusters counted. None of it depends on memory or threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Largest number of documents in one bucket of one band.
    pub largest_bucket: u64,
    /// Pairs that were compared.
    pub compared: u64,
    /// Compared pairs that were alike.
    pub joined: u64,
    /// Members of hot buckets that were like none of the heads and found no room to become one.
    pub unplaced: u64,
    /// Documents whose shingles were read again.
    pub reread: u64,
}

/// Members of a bucket that are like no earlier head become heads, up to this many.
const MAX_HEADS: usize = 16;

/// Finds the clusters.
pub fn clusters<R: Records>(records: &R, options: &ClusterOptions) -> Result<Clusters, R::Error> {
    let n = records.len();
    let mut sets = UnionFind::new(n);
    let mut found = Clusters::default();
    if options.exact {
        join_equal(
            records,
            options,
            &|chunk, into| records.text_keys(chunk, into),
            &mut sets,
        )?;
    }
    let voices = Voices::of(records, &sets)?;
    let by_url = if options.url {
        join_equal(
            records,
            options,
            &|chunk, into| records.url_keys(chunk, into),
            &mut sets,
        )?;
        Some(sets.clone().into_roots())
    } else {
        None
    };
    if records.bands() > 0 {
        let search = Search {
            records,
            options,
            voices: &voices,
        };
        if options.verify == Verify::Jaccard {
            let marked = search.candidates(&sets)?;
            found.counts.reread = marked.count();
            records.gather_shingles(&marked)?;
        }
        for band in 0..records.bands() {
            search.band(band, &mut sets, &mut found.counts)?;
        }
    }

    found.cluster = sets.into_roots();
    found.keeper = (0..n).collect();
    found.method = vec![Method::Kept as u8; n as usize];
    found.similarity = vec![1.0; n as usize];
    let settle = Settle {
        records,
        options,
        voices: &voices,
        by_url: by_url.as_deref(),
    };
    let members = members(n, &found.cluster);
    let components: Vec<&[(Ordinal, Ordinal)]> = members.chunk_by(|a, b| a.0 == b.0).collect();
    for some in components.chunks(COMPONENTS_AT_ONCE) {
        let settled: Vec<Vec<Dropped>> = some
            .par_iter()
            .map(|component| settle.component(component))
            .collect::<Result<_, R::Error>>()?;
        for dropped in settled.into_iter().flatten() {
            let at = dropped.document as usize;
            found.keeper[at] = dropped.keeper;
            found.method[at] = dropped.method as u8;
            found.similarity[at] = dropped.similarity;
        }
    }
    Ok(found)
}

/// Components whose verdicts are held at a time.
const COMPONENTS_AT_ONCE: usize = 1 << 12;

/// A document of a component is compared with so many that stay; if it is like none of them, it stays too.
const MOST_KEEPERS: usize = 256;

/// The documents of components of at least two, with their component's first document, in order.
fn members(documents: Ordinal, cluster: &[Ordinal]) -> Vec<(Ordinal, Ordinal)> {
    let all = || (0..documents).zip(cluster);
    let crowded = Marks::new(documents);
    for (document, root) in all() {
        if document != *root {
            crowded.mark(*root);
        }
    }
    let mut members: Vec<(Ordinal, Ordinal)> = all()
        .filter(|(_, root)| crowded.has(**root))
        .map(|(document, root)| (*root, document))
        .collect();
    members.par_sort_unstable();
    members
}

/// A document that goes.
struct Dropped {
    document: Ordinal,
    keeper: Ordinal,
    method: Method,
    similarity: f32,
}

/// A document that stays.
struct Keeper {
    document: Ordinal,
    url: Option<Ordinal>,
    evidence: Option<Evidence>,
}

/// Decides who stays in a component.
struct Settle<'a, R> {
    records: &'a R,
    options: &'a ClusterOptions,
    voices: &'a Voices,
    by_url: Option<&'a [Ordinal]>,
}

impl<R: Records> Settle<'_, R> {
    /// Equal texts go together: the best of them by rank stands for all. The best of the component stays; each of the
    /// others, by rank, goes if it is like one that stays, and stays if it is like none: alike over others is not alike.
    fn component(&self, members: &[(Ordinal, Ordinal)]) -> Result<Vec<Dropped>, R::Error> {
        let mut units: BTreeMap<Ordinal, Vec<(Rank, Ordinal)>> = BTreeMap::new();
        for (_, document) in members {
            let own = (self.records.rank(*document), *document);
            let text = self.voices.exact[*document as usize];
            units.entry(text).or_default().push(own);
        }
        let mut units: Vec<Vec<(Rank, Ordinal)>> = units.into_values().collect();
        units.iter_mut().for_each(|unit| unit.sort_unstable());
        units.sort_unstable();
        let mut dropped = Vec::new();
        let mut keepers: Vec<Keeper> = Vec::new();
        for unit in &units {
            let best = unit[0].1;
            let url = self.by_url.map(|sets| sets[best as usize]);
            let mut evidence = None;
            if units.len() > 1
                && let Some(voice) = self.voices.of_document(best)
            {
                let mut own = Evidence::default();
                own.read(voice, self.records, self.options.verify)?;
                evidence = Some(own);
            }
            let found = match self.records.stays(best) {
                true => None,
                false => self.like(&keepers, url, evidence.as_ref()),
            };
            let stays = found.is_none();
            if let Some((keeper, method, similarity)) = found {
                dropped.extend(unit.iter().map(|(_, document)| Dropped {
                    document: *document,
                    keeper,
                    method,
                    similarity,
                }));
            } else {
                dropped.extend(unit[1..].iter().map(|(_, document)| Dropped {
                    document: *document,
                    keeper: best,
                    method: Method::Exact,
                    similarity: 1.0,
                }));
            }
            if stays && (keepers.len() < MOST_KEEPERS || self.records.stays(best)) {
                keepers.push(Keeper {
                    document: best,
                    url,
                    evidence,
                });
            }
        }
        Ok(dropped)
    }

    /// The first of the keepers that a document is like, how, and how much.
    fn like(
        &self,
        keepers: &[Keeper],
        url: Option<Ordinal>,
        evidence: Option<&Evidence>,
    ) -> Option<(Ordinal, Method, f32)> {
        for keeper in keepers {
            let (similarity, told) = alike(evidence, keeper);
            if similarity >= self.options.similarity - 1e-9 {
                return Some((keeper.document, Method::Near, told));
            }
            if url.is_some() && url == keeper.url {
                return Some((keeper.document, Method::Url, told));
            }
        }
        // Over others, and only if that is asked for.
        let first = keepers.first().filter(|_| self.options.chain)?;
        Some((first.document, Method::Near, alike(evidence, first).1))
    }
}

/// How alike a document and one that stays are, and the same as it is told; -1 where one of them has no signature.
fn alike(evidence: Option<&Evidence>, keeper: &Keeper) -> (f64, f32) {
    let similarity = match (evidence, &keeper.evidence) {
        (Some(own), Some(other)) => own.similarity(other),
        _ => -1.0,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seven digits are enough for people"
    )]
    let told = similarity as f32;
    (similarity, told)
}

/// Joins the documents that share a key.
fn join_equal<R: Records>(
    records: &R,
    options: &ClusterOptions,
    keys: &groups::Keys<'_, TextKey, R::Error>,
    sets: &mut UnionFind,
) -> Result<(), R::Error> {
    groups::for_each_part(
        records.len(),
        records.chunks(),
        options.memory_bytes,
        keys,
        &mut |part| {
            for group in groups::groups(part) {
                for (_, document) in &group[1..] {
                    sets.union(group[0].1, *document);
                }
            }
            Ok(())
        },
    )
}

/// Which document of every set of equal texts speaks for them all among near duplicates: their shingles are the same.
struct Voices {
    /// The smallest ordinal with the same text.
    exact: Vec<Ordinal>,
    /// The documents that speak.
    speaks: Marks,
    /// Who speaks for a set, where it is not its smallest ordinal: that one has no signature.
    others: BTreeMap<Ordinal, Ordinal>,
}

impl Voices {
    fn of<R: Records>(records: &R, sets: &UnionFind) -> Result<Self, R::Error> {
        let exact = sets.clone().into_roots();
        let speaks = Marks::new(records.len());
        let has_voice = Marks::new(records.len());
        let mut others = BTreeMap::new();
        let mut keys = Vec::new();
        let chunks = if records.bands() > 0 {
            records.chunks()
        } else {
            0
        };
        for chunk in 0..chunks {
            keys.clear();
            records.band_keys(0, chunk, &mut keys)?;
            for (_, document) in &keys {
                let set = exact[*document as usize];
                if !has_voice.mark(set) {
                    speaks.mark(*document);
                    if set != *document {
                        others.insert(set, *document);
                    }
                }
            }
        }
        Ok(Self {
            exact,
            speaks,
            others,
        })
    }

    /// Who speaks for a document, if anybody has a signature.
    fn of_document(&self, document: Ordinal) -> Option<Ordinal> {
        let set = self.exact[document as usize];
        if self.speaks.has(set) {
            return Some(set);
        }
        self.others.get(&set).copied()
    }
}

/// What a document is compared by.
#[derive(Debug, Default, Clone)]
struct Evidence {
    signature: Vec<u16>,
    /// Empty where shingles do not decide, or are not to be had.
    shingles: Vec<u32>,
}

impl Evidence {
    fn read<R: Records>(
        &mut self,
        document: Ordinal,
        records: &R,
        verify: Verify,
    ) -> Result<(), R::Error> {
        self.shingles.clear();
        if verify == Verify::Jaccard && records.has_shingles(document) {
            records.shingles(document, &mut self.shingles)?;
        }
        // Beside a document without shingles, the signature decides.
        if verify == Verify::Signature || records.some_lack_shingles() {
            records.signature(document, &mut self.signature)?;
        }
        Ok(())
    }

    fn similarity(&self, other: &Self) -> f64 {
        if self.shingles.is_empty() || other.shingles.is_empty() {
            agreement(&self.signature, &other.signature)
        } else {
            jaccard(&self.shingles, &other.shingles)
        }
    }
}

/// The share of equal hashes at equal places.
fn agreement(a: &[u16], b: &[u16]) -> f64 {
    let equal = a.iter().zip(b).filter(|(x, y)| x == y).count();
    equal as f64 / a.len().max(1) as f64
}

/// Common elements over all elements, of two ascending lists without repeats; 1 for two empty ones.
#[must_use]
pub fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        // Without branches: which list is ahead is anybody's guess.
        common += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    let all = a.len() + b.len() - common;
    if all == 0 {
        1.0
    } else {
        common as f64 / all as f64
    }
}

/// The search through the bands.
struct Search<'a, R> {
    records: &'a R,
    options: &'a ClusterOptions,
    voices: &'a Voices,
}

impl<R: Records> Search<'_, R> {
    fn for_each_part(
        &self,
        band: usize,
        each: &mut groups::EachPart<'_, u64, R::Error>,
    ) -> Result<(), R::Error> {
        let keys = |chunk: usize, into: &mut Vec<(u64, Ordinal)>| {
            self.records.band_keys(band, chunk, into)?;
            into.retain(|(_, document)| self.voices.speaks.has(*document));
            Ok(())
        };
        groups::for_each_part(
            self.records.len(),
            self.records.chunks(),
            self.options.memory_bytes,
            &keys,
            each,
        )
    }

    /// The documents that meet another one in some bucket.
    fn candidates(&self, sets: &UnionFind) -> Result<Marks, R::Error> {
        let marks = Marks::new(self.records.len());
        for band in 0..self.records.bands() {
            self.for_each_part(band, &mut |part| {
                for bucket in groups::groups(part) {
                    if !of_one_set(bucket, sets) {
                        bucket.iter().for_each(|(_, document)| {
                            marks.mark(*document);
                        });
                    }
                }
                Ok(())
            })?;
        }
        Ok(marks)
    }

    fn band(&self, band: usize, sets: &mut UnionFind, counts: &mut Counts) -> Result<(), R::Error> {
        self.for_each_part(band, &mut |part| {
            let buckets: Vec<&[(u64, Ordinal)]> = groups::groups(part).collect();
            let before = &*sets;
            let joined: Vec<Bucket> = buckets
                .par_iter()
                .map(|bucket| self.join(before, bucket))
                .collect::<Result<_, R::Error>>()?;
            for (bucket, members) in joined.into_iter().zip(&buckets) {
                counts.largest_bucket = counts.largest_bucket.max(members.len() as u64);
                counts.compared += bucket.compared;
                counts.joined += bucket.edges.len() as u64;
                counts.unplaced += bucket.unplaced;
                for (a, b) in bucket.edges {
                    sets.union(a, b);
                }
            }
            Ok(())
        })
    }

    /// Joins the members of one bucket to the heads they are like.
    fn join(&self, before: &UnionFind, members: &[(u64, Ordinal)]) -> Result<Bucket, R::Error> {
        let mut out = Bucket::default();
        // All of one component already: nothing to learn, nothing to read.
        if of_one_set(members, before) {
            return Ok(out);
        }
        let mut heads: Vec<(Ordinal, Ordinal, Evidence)> = Vec::new();
        let mut own = Evidence::default();
        for (_, document) in members {
            let component = before.find(*document);
            let mut placed = false;
            let mut is_read = false;
            for (head, of_head, evidence) in &heads {
                if *of_head == component {
                    placed = true;
                    continue;
                }
                if !is_read {
                    own.read(*document, self.records, self.options.verify)?;
                    is_read = true;
                }
                out.compared += 1;
                // A share that is a rounding away from the wanted one has it.
                if evidence.similarity(&own) >= self.options.similarity - 1e-9 {
                    out.edges.push((*head, *document));
                    placed = true;
                }
            }
            if !placed {
                if heads.len() < MAX_HEADS {
                    if !is_read {
                        own.read(*document, self.records, self.options.verify)?;
                    }
                    heads.push((*document, component, own.clone()));
                } else {
                    out.unplaced += 1;
                }
            }
        }
        Ok(out)
    }
}

fn of_one_set(members: &[(u64, Ordinal)], sets: &UnionFind) -> bool {
    let first = sets.find(members[0].1);
    members
        .iter()
        .all(|(_, document)| sets.find(*document) == first)
}

#[derive(Default)]
struct Bucket {
    edges: Vec<(Ordinal, Ordinal)>,
    compared: u64,
    unplaced: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::convert::Infallible;

    /// Documents with signatures made by hand: band `b` of a signature is its rows `2b` and `2b + 1`; its shingles are its
    /// rows with their places.
    struct Made {
        texts: Vec<u64>,
        urls: Vec<Option<u64>>,
        signatures: Vec<Option<Vec<u16>>>,
        ranks: Vec<(u8, u64)>,
    }

    /// Documents come in chunks of this many.
    const CHUNK: usize = 7;

    impl Made {
        fn chunk(&self, chunk: usize) -> std::ops::Range<usize> {
            chunk * CHUNK..((chunk + 1) * CHUNK).min(self.texts.len())
        }
    }

    fn ordinal(document: usize) -> Ordinal {
        u32::try_from(document).unwrap()
    }

    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    impl Records for Made {
        type Error = Infallible;
        fn len(&self) -> Ordinal {
            ordinal(self.texts.len())
        }
        fn chunks(&self) -> usize {
            self.texts.len().div_ceil(CHUNK)
        }
        fn text_keys(
            &self,
            chunk: usize,
            into: &mut Vec<(TextKey, Ordinal)>,
        ) -> Result<(), Infallible> {
            into.extend(
                self.chunk(chunk)
                    .map(|d| ([spread(self.texts[d]), 0, self.texts[d]], ordinal(d))),
            );
            Ok(())
        }
        fn url_keys(
            &self,
            chunk: usize,
            into: &mut Vec<(TextKey, Ordinal)>,
        ) -> Result<(), Infallible> {
            into.extend(
                self.chunk(chunk)
                    .filter_map(|d| Some(([spread(self.urls[d]?), 1, 0], ordinal(d)))),
            );
            Ok(())
        }
        fn rank(&self, document: Ordinal) -> Rank {
            let (tier, bytes) = self.ranks[document as usize];
            (tier, Reverse(bytes))
        }
        fn bands(&self) -> usize {
            4
        }
        fn band_keys(
            &self,
            band: usize,
            chunk: usize,
            into: &mut Vec<(u64, Ordinal)>,
        ) -> Result<(), Infallible> {
            for d in self.chunk(chunk) {
                if let Some(s) = &self.signatures[d] {
                    let key = u64::from(s[2 * band]) << 32 | u64::from(s[2 * band + 1]);
                    into.push((spread(key), ordinal(d)));
                }
            }
            Ok(())
        }
        fn signature(&self, document: Ordinal, into: &mut Vec<u16>) -> Result<(), Infallible> {
            into.clear();
            into.extend(self.signatures[document as usize].as_ref().unwrap());
            Ok(())
        }
        fn gather_shingles(&self, _: &Marks) -> Result<(), Infallible> {
            Ok(())
        }
        fn some_lack_shingles(&self) -> bool {
            false
        }
        fn has_shingles(&self, document: Ordinal) -> bool {
            self.signatures[document as usize].is_some()
        }
        fn shingles(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), Infallible> {
            into.clear();
            let rows = self.signatures[document as usize].as_ref().unwrap();
            into.extend(
                (0u32..)
                    .zip(rows)
                    .map(|(place, row)| place << 16 | u32::from(*row)),
            );
            Ok(())
        }
    }

    fn run_with(made: &Made, memory_bytes: u64, verify: Verify, url: bool) -> Clusters {
        let options = ClusterOptions {
            exact: true,
            url,
            verify,
            similarity: 0.5,
            chain: false,
            memory_bytes,
        };
        match clusters(made, &options) {
            Ok(found) => found,
        }
    }

    fn run(made: &Made, memory_bytes: u64) -> Clusters {
        run_with(made, memory_bytes, Verify::Signature, false)
    }

    fn sample() -> Made {
        Made {
            // 0 and 3 have one text. 1 is near 0 (6 of 8 rows), 2 shares one band with 0 by chance (2 of 8), 4 is alone.
            texts: vec![10, 11, 12, 10, 13],
            urls: vec![None, None, Some(1), None, Some(1)],
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
        let found = run(&sample(), 1 << 40);
        assert_eq!(found.cluster, [0, 0, 2, 0, 4]);
        assert_eq!(
            found.keeper,
            [1, 1, 2, 1, 4],
            "the longest of the tier stays"
        );
        assert_eq!(found.method, [2, 0, 0, 2, 0]);
        assert_eq!(found.similarity, [0.75, 1.0, 1.0, 0.75, 1.0]);
    }

    #[test]
    fn the_most_important_tier_stays_even_if_shorter() {
        let mut made = sample();
        made.ranks[3] = (0, 50);
        let found = run(&made, 1 << 40);
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
            urls: Vec::new(),
            signatures: Vec::new(),
            ranks: Vec::new(),
        };
        for _ in 0..500 {
            made.texts.push(next(300));
            made.urls.push((next(3) > 0).then(|| next(900)));
            made.signatures.push(
                (next(10) > 0).then(|| (0..8).map(|_| u16::try_from(next(3)).unwrap()).collect()),
            );
            made.ranks.push((u8::try_from(next(2)).unwrap(), next(5)));
        }
        // Equal texts have equal signatures, as they do in life.
        for d in 0..500 {
            let first = made.texts.iter().position(|t| *t == made.texts[d]).unwrap();
            made.signatures[d] = made.signatures[first].clone();
        }
        for (verify, url) in [
            (Verify::Signature, false),
            (Verify::Jaccard, false),
            (Verify::Signature, true),
        ] {
            let whole = run_with(&made, 1 << 40, verify, url);
            assert!(
                whole
                    .keeper
                    .iter()
                    .enumerate()
                    .filter(|(d, k)| *d == **k as usize)
                    .count()
                    < 400
            );
            for memory in [1, 100, 4_000] {
                assert_eq!(
                    run_with(&made, memory, verify, url),
                    whole,
                    "memory {memory}"
                );
            }
        }
    }

    #[test]
    fn no_documents_are_no_clusters() {
        let made = Made {
            texts: vec![],
            urls: vec![],
            signatures: vec![],
            ranks: vec![],
        };
        assert_eq!(run(&made, 1), Clusters::default());
    }

    #[test]
    fn equal_addresses_join_whatever_the_texts() {
        let found = run_with(&sample(), 1 << 40, Verify::Signature, true);
        assert_eq!(found.cluster, [0, 0, 2, 0, 2]);
        assert_eq!(found.keeper[2..], [2, 1, 2]);
        assert_eq!(found.method[4], Method::Url as u8);
        assert_eq!(found.similarity[4], -1.0);
    }

    #[test]
    fn shingles_decide_where_they_are_asked() {
        // 6 of 10 distinct (place, row) pairs are common to 0 and 1: alike from 0.5 on and not from 0.7 on.
        let made = sample();
        let options = ClusterOptions {
            exact: true,
            url: false,
            verify: Verify::Jaccard,
            similarity: 0.6,
            chain: false,
            memory_bytes: 1 << 20,
        };
        let Ok(found) = clusters(&made, &options);
        assert_eq!(found.cluster, [0, 0, 2, 0, 4]);
        assert!((found.similarity[0] - 0.6).abs() < 1e-6);
        let Ok(found) = clusters(
            &made,
            &ClusterOptions {
                similarity: 0.61,
                ..options
            },
        );
        assert_eq!(found.cluster, [0, 1, 2, 0, 4]);
    }

    #[test]
    fn a_copy_without_a_signature_leaves_its_twin_the_word() {
        // 0 and 3 have one text; 0 has no signature, so 3 speaks for both, and 0 stays as the most important one.
        let mut made = sample();
        made.signatures[0] = None;
        made.ranks[0] = (0, 50);
        let found = run(&made, 1 << 40);
        assert_eq!(found.cluster, [0, 0, 2, 0, 4]);
        assert_eq!(found.keeper[..4], [0, 0, 2, 0]);
        assert_eq!(found.similarity[1], 0.75);
    }

    #[test]
    fn alike_over_others_is_not_alike_unless_a_chain_is_asked_for() {
        // 0 is like 1 and 1 is like 2, by half of their rows; 0 and 2 share nothing.
        let made = Made {
            texts: vec![1, 2, 3],
            urls: vec![None; 3],
            signatures: vec![
                Some(vec![1, 1, 2, 2, 3, 3, 4, 4]),
                Some(vec![1, 1, 2, 2, 5, 5, 6, 6]),
                Some(vec![7, 7, 8, 8, 5, 5, 6, 6]),
            ],
            ranks: vec![(0, 3), (0, 2), (0, 1)],
        };
        let found = run(&made, 1 << 40);
        assert_eq!(found.cluster, [0, 0, 0]);
        assert_eq!(found.keeper, [0, 0, 2]);
        let options = ClusterOptions {
            exact: true,
            url: false,
            verify: Verify::Signature,
            similarity: 0.5,
            chain: true,
            memory_bytes: 1 << 20,
        };
        let Ok(found) = clusters(&made, &options);
        assert_eq!(found.keeper, [0, 0, 0]);
        assert_eq!(found.similarity, [1.0, 0.5, 0.0]);
    }

    #[test]
    fn a_hot_bucket_has_a_bounded_number_of_heads() {
        // All share band 0 and nothing else.
        let n: u16 = 300;
        let made = Made {
            texts: (0..u64::from(n)).collect(),
            urls: vec![None; usize::from(n)],
            signatures: (0..n)
                .map(|d| Some([&[1, 1][..], &[d + 10; 6]].concat()))
                .collect(),
            ranks: vec![(1, 1); usize::from(n)],
        };
        let found = run(&made, 1 << 40);
        assert_eq!(found.counts.largest_bucket, 300);
        assert_eq!(found.counts.unplaced, 300 - 16);
        assert_eq!(found.counts.compared, 16 * 15 / 2 + (300 - 16) * 16);
        assert!(
            found
                .method
                .iter()
                .all(|method| *method == Method::Kept as u8)
        );
    }

    #[test]
    fn jaccard_of_sets() {
        assert_eq!(jaccard(&[], &[]), 1.0);
        assert_eq!(jaccard(&[1], &[]), 0.0);
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
    }
}
