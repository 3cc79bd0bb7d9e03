//! MinHash of other crates beside ours: how fast each signs the same text, and how far each one's estimate is from the true
//! Jaccard similarity of the same planted pairs.
//!
//! `cargo run --release -- CORPUS.jsonl [MB]`, in this folder: the first MB (25) megabytes of the field `text`. With
//! `--pairs FILE` in place of a corpus, writes the pairs for `signatures.py`, which does the same in Python.
//!
//! All see 112 permutations of five-word shingles in lower case. The others take an iterator of hashable things: they get
//! words between spaces of the lower-cased text, five at a time, which is cheaper than the Unicode words that ours finds.

use std::hint::black_box;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::slice::Windows;

use andromeda_pipeline::dedup::signature::{MinHashOptions, MinHasher};
use gaoya::minhash::{MinHasher as _, MinHasher32, MinHasher64V1};
use minhash_rs::prelude::{MinHash as Sketch, MinHasher as _, SipHashes13};
use probabilistic_collections::SipHasherBuilder;
use probabilistic_collections::similarity::MinHash;

const PERMUTATIONS: usize = 112;
const ROUNDS: usize = 3;
/// Pairs a step of similarity.
const PAIRS: u64 = 2_000;

/// From a text to its minima, as numbers that can be compared.
type Sign<'a> = Box<dyn FnMut(&str) -> Vec<u64> + 'a>;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let pairs = pairs();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--pairs", path] => write(&pairs, path),
        [corpus] => compare(corpus, 25.0, &pairs),
        [corpus, megabytes] => compare(corpus, megabytes.parse()?, &pairs),
        _ => anyhow::bail!("usage: andromeda-peers CORPUS.jsonl [MB] | --pairs FILE"),
    }
}

fn compare(corpus: &str, megabytes: f64, pairs: &[Pair]) -> anyhow::Result<()> {
    let documents = read(corpus, megabytes)?;
    let bytes: usize = documents.iter().map(String::len).sum();
    println!(
        "{} documents, {:.1} MB; {} pairs\n",
        documents.len(),
        bytes as f64 / 1e6,
        pairs.len()
    );
    println!(
        "| crate | MB/CPU-s (min-max of {ROUNDS}) | ratio to ours | bias | RMSE | RMSE of theory |"
    );
    println!("|---|---|---|---|---|---|");
    let hasher = MinHasher::new(MinHashOptions::default())?;
    let mut signers = signers(&hasher);
    let mut rates = vec![Vec::new(); signers.len()];
    for _ in 0..ROUNDS {
        for ((_, sign), rates) in signers.iter_mut().zip(&mut rates) {
            let start = processor_seconds();
            for text in &documents {
                black_box(sign(text));
            }
            rates.push(bytes as f64 / 1e6 / (processor_seconds() - start));
        }
    }
    for rates in &mut rates {
        rates.sort_by(f64::total_cmp);
    }
    let ours = rates[0][ROUNDS / 2];
    let theory = mean(pairs, |pair| {
        pair.similarity * (1.0 - pair.similarity) / PERMUTATIONS as f64
    })
    .sqrt();
    for ((name, sign), rates) in signers.iter_mut().zip(&rates) {
        let errors: Vec<f64> = pairs
            .iter()
            .map(|pair| {
                let (left, right) = (sign(&pair.left), sign(&pair.right));
                let equal = left
                    .iter()
                    .zip(&right)
                    .filter(|(left, right)| left == right)
                    .count();
                equal as f64 / PERMUTATIONS as f64 - pair.similarity
            })
            .collect();
        println!(
            "| {name} | {:.1} ({:.1}-{:.1}) | {:.3} | {:+.4} | {:.4} | {theory:.4} |",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1],
            rates[ROUNDS / 2] / ours,
            mean(&errors, |error| *error),
            mean(&errors, |error| error * error).sqrt(),
        );
    }
    Ok(())
}

fn signers(hasher: &MinHasher) -> Vec<(&'static str, Sign<'_>)> {
    let mut signer = hasher.signer();
    let gaoya32 = MinHasher32::new(PERMUTATIONS);
    let gaoya64 = MinHasher64V1::new(PERMUTATIONS);
    vec![
        (
            "andromeda-pipeline",
            Box::new(move |text| widened(signer.sign(text).unwrap_or_default())),
        ),
        (
            "gaoya 0.2.2, MinHasher32",
            Box::new(move |text| {
                shingled(text, |shingles| {
                    widened(&gaoya32.create_signature(shingles))
                })
            }),
        ),
        (
            "gaoya 0.2.2, MinHasher64V1",
            Box::new(move |text| shingled(text, |shingles| gaoya64.create_signature(shingles))),
        ),
        (
            "probabilistic-collections 0.7.0",
            Box::new(|text| {
                let seeds = [
                    SipHasherBuilder::from_seed(0, 0),
                    SipHasherBuilder::from_seed(1, 1),
                ];
                shingled(text, |shingles| {
                    MinHash::with_hashers(PERMUTATIONS, seeds).get_min_hashes(shingles)
                })
            }),
        ),
        (
            "minhash-rs 0.6.0, u64",
            Box::new(|text| {
                shingled(text, |shingles| {
                    let mut sketch = Sketch::<u64, PERMUTATIONS, SipHashes13, u64, &[&str]>::new();
                    for shingle in shingles {
                        sketch.insert(shingle);
                    }
                    sketch.into_words().to_vec()
                })
            }),
        ),
    ]
}

/// Calls with the five-word shingles of a text, as slices of its lower-cased words.
fn shingled(text: &str, sign: impl FnOnce(Windows<'_, &str>) -> Vec<u64>) -> Vec<u64> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < 5 {
        return Vec::new();
    }
    sign(words.windows(5))
}

fn widened(minima: &[u32]) -> Vec<u64> {
    minima.iter().map(|minimum| u64::from(*minimum)).collect()
}

/// Two texts and the Jaccard similarity of their sets of five-word shingles.
struct Pair {
    left: String,
    right: String,
    similarity: f64,
}

/// Words in the middle of a text of random words are replaced by words of another length. Of S shingles that loses D and
/// adds D, so that the similarity is (S - D) / (S + D): here the multiples of 0.05 from 0.5 to 0.95.
fn pairs() -> Vec<Pair> {
    let mut state = 20_260_101;
    let mut pairs = Vec::new();
    for step in 10..20_usize {
        for _ in 0..PAIRS {
            let (shingles, lost) = ((20 + step) * 5, (20 - step) * 5);
            let mut words: Vec<String> = (0..shingles + 4).map(|_| word(&mut state, 4)).collect();
            let left = words.join(" ");
            // Far enough from both ends, a run of m words is part of m + 4 shingles.
            let run = lost - 4;
            let start = 4 + random(&mut state) as usize % (words.len() - run - 7);
            words[start..start + run].fill_with(|| word(&mut state, 5));
            pairs.push(Pair {
                left,
                right: words.join(" "),
                similarity: step as f64 / 20.0,
            });
        }
    }
    pairs
}

fn word(state: &mut u64, letters: u32) -> String {
    let number = random(state);
    (0..letters)
        .map(|place| char::from(b'a' + ((number >> (8 * place)) % 26) as u8))
        .collect()
}

/// `SplitMix64`.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut output = *state;
    output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    output ^ (output >> 31)
}

fn write(pairs: &[Pair], path: &str) -> anyhow::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for Pair {
        left,
        right,
        similarity,
    } in pairs
    {
        let line = serde_json::json!({ "left": left, "right": right, "similarity": similarity });
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

fn read(path: &str, megabytes: f64) -> anyhow::Result<Vec<String>> {
    let mut documents = Vec::new();
    let mut bytes = 0.0;
    for line in BufReader::new(std::fs::File::open(path)?).lines() {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        let text = record["text"].as_str().unwrap_or_default().to_owned();
        bytes += text.len() as f64;
        documents.push(text);
        if bytes >= megabytes * 1e6 {
            break;
        }
    }
    Ok(documents)
}

fn mean<T>(items: &[T], value: impl Fn(&T) -> f64) -> f64 {
    items.iter().map(value).sum::<f64>() / items.len() as f64
}

fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
