//! Trains a byte-level BPE tokenizer on given text (Sennrich et al. 2016, arXiv:1508.07909, on bytes as GPT-2 does),
//! for builds that must not depend on a published vocabulary. Words are split as GPT-2 and GPT-NeoX split them, all 256
//! bytes are tokens, and there is no normalizer, because documents are normalized before they get here.
//!
//! The `tokenizers` library splits the words and writes the file; the merges are counted here. Its own trainer counts in
//! 32 bits, and where two merges spell the same token it keeps the positions of a pair in two places whose order follows
//! a hash table; here the same texts give the same bytes, always, and otherwise the same merges (a test compares).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use serde::{Deserialize, Serialize};
use tokenizers_reference as library;

use library::models::bpe::BPE;
use library::pre_tokenizers::byte_level::ByteLevel;
use library::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::TokenizeError;

/// Ends a document; always id 0.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Fills sequences; always id 1.
pub const PADDING: &str = "<|padding|>";

/// The two special tokens and all bytes.
const SMALLEST_VOCAB: u32 = 258;

/// A word longer than this says nothing about words; it is left out, which keeps the work per merge bounded.
const MAX_WORD_BYTES: usize = 4096;

/// How to train a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Tokens in all, with the two special ones and the 256 bytes; fewer come out where the text has no more pairs.
    pub vocab_size: u32,
    /// A pair is merged only if the text has it this often.
    pub min_frequency: u64,
    /// No token is longer than this, in bytes; none: no limit.
    pub max_token_bytes: Option<u32>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            // Fits 16-bit ids with room, and is a multiple of 128 for the output layer of a model.
            vocab_size: 32_768,
            min_frequency: 2,
            // Longer tokens are rules of dashes and runs of spaces, which no model needs as one symbol.
            max_token_bytes: Some(32),
        }
    }
}

/// Trains a tokenizer and returns its `tokenizer.json`: the same bytes for the same texts, whatever their order.
pub fn train(
    texts: impl Iterator<Item = String> + Send,
    options: &TrainOptions,
) -> Result<Vec<u8>, TokenizeError> {
    let refuse = |problem: String| Err(TokenizeError::Train(problem));
    if options.vocab_size < SMALLEST_VOCAB {
        return refuse(format!(
            "`vocab-size` is {}; two special tokens and 256 bytes make {SMALLEST_VOCAB}",
            options.vocab_size
        ));
    }
    if u64::from(options.vocab_size) > super::definition::MAX_VOCAB_SIZE {
        return refuse(format!(
            "`vocab-size` is {}; the most is {}",
            options.vocab_size,
            super::definition::MAX_VOCAB_SIZE
        ));
    }
    let words = count_words(texts)?;
    if words.is_empty() {
        return refuse("the texts have no words".into());
    }
    write(&learn_merges(&words, options))
}

fn said(error: library::Error) -> TokenizeError {
    TokenizeError::Train(error.to_string())
}

fn split() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

/// How often each word occurs, spelled in the byte alphabet; in the order of their spelling.
fn count_words(
    texts: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, u64>, TokenizeError> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in texts {
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = super::cut(rest);
            rest = after;
            let mut split_piece = PreTokenizedString::from(piece);
            split().pre_tokenize(&mut split_piece).map_err(said)?;
            for (word, _, _) in
                split_piece.get_splits(OffsetReferential::Normalized, OffsetType::Byte)
            {
                if let Some(count) = counts.get_mut(word) {
                    *count += 1;
                } else if word.len() <= MAX_WORD_BYTES {
                    counts.insert(word.to_owned(), 1);
                }
            }
        }
    }
    Ok(counts.into_iter().collect())
}

type Pair = (u32, u32);

/// Tokens by id, and the merges in the order in which they were learned.
struct Learned {
    tokens: Vec<String>,
    merges: Vec<Pair>,
}

/// The words of the text with their symbols, and the pairs of symbols in them.
#[derive(Default)]
struct Pairs {
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// Words that have or had a pair; a word may be named twice.
    places: HashMap<Pair, Vec<usize>>,
}

impl Pairs {
    fn new(words: Vec<(Vec<u32>, u64)>) -> Self {
        let mut pairs = Self {
            words,
            ..Self::default()
        };
        for word in 0..pairs.words.len() {
            pairs.add(word, |_| {});
        }
        pairs
    }

    fn add(&mut self, word: usize, mut seen: impl FnMut(Pair)) {
        let (symbols, count) = &self.words[word];
        for pair in symbols.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += count;
            let places = self.places.entry(pair).or_default();
            if places.last() != Some(&word) {
                places.push(word);
            }
            seen(pair);
        }
    }

    fn remove(&mut self, word: usize) {
        let (symbols, count) = &self.words[word];
        for pair in symbols.windows(2).map(|pair| (pair[0], pair[1])) {
            if let Some(total) = self.counts.get_mut(&pair) {
                *total -= count;
            }
        }
    }

    fn count(&self, pair: Pair) -> u64 {
        self.counts.get(&pair).copied().unwrap_or(0)
    }

    /// Replaces a pair by one symbol wherever it is; returns the pairs that the new symbol brings.
    fn merge(&mut self, pair: Pair, into: u32) -> Vec<Pair> {
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        let mut brought = Vec::new();
        for word in places {
            self.remove(word);
            merge_word(&mut self.words[word].0, pair, into);
            self.add(word, |pair| {
                if pair.0 == into || pair.1 == into {
                    brought.push(pair);
                }
            });
        }
        self.counts.remove(&pair);
        brought.sort_unstable();
        brought.dedup();
        brought
    }
}

/// Merges from the left, in place.
fn merge_word(symbols: &mut Vec<u32>, pair: Pair, into: u32) {
    let (mut read, mut write) = (0, 0);
    while read < symbols.len() {
        if symbols[read] == pair.0 && symbols.get(read + 1) == Some(&pair.1) {
            symbols[write] = into;
            read += 2;
        } else {
            symbols[write] = symbols[read];
            read += 1;
        }
        write += 1;
    }
    symbols.truncate(write);
}

/// The most frequent pair becomes a token, again and again; of equally frequent pairs the one with the smaller ids.
fn learn_merges(words: &BTreeMap<String, u64>, options: &TrainOptions) -> Learned {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut tokens = vec![END_OF_TEXT.to_owned(), PADDING.to_owned()];
    tokens.extend(alphabet.iter().map(char::to_string));
    let mut ids: HashMap<String, u32> = (0u32..)
        .zip(&tokens)
        .map(|(id, token)| (token.clone(), id))
        .collect();
    let ids_of_bytes: HashMap<char, u32> = (2u32..)
        .zip(&alphabet)
        .map(|(id, byte)| (*byte, id))
        .collect();
    let words = words
        .iter()
        .map(|(word, count)| {
            let symbols = word
                .chars()
                .filter_map(|byte| ids_of_bytes.get(&byte).copied());
            (symbols.collect(), *count)
        })
        .collect();

    let mut pairs = Pairs::new(words);
    let min_frequency = options.min_frequency.max(1);
    let longest = options
        .max_token_bytes
        .map_or(usize::MAX, |bytes| bytes as usize);
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> = pairs
        .counts
        .iter()
        .map(|(pair, count)| (*count, Reverse(*pair)))
        .collect();
    let mut merges = Vec::new();
    while ids.len() < options.vocab_size as usize {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        let now = pairs.count(pair);
        if now != count {
            if now > 0 {
                queue.push((now, Reverse(pair)));
            }
            continue;
        }
        if count < min_frequency {
            break;
        }
        let (left, right) = (&tokens[pair.0 as usize], &tokens[pair.1 as usize]);
        // One character of the byte alphabet is one byte.
        if left.chars().count() + right.chars().count() > longest {
            continue;
        }
        let token = format!("{left}{right}");
        let next = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let id = *ids.entry(token.clone()).or_insert(next);
        if id == next {
            tokens.push(token);
        }
        merges.push(pair);
        for pair in pairs.merge(pair, id) {
            queue.push((pairs.count(pair), Reverse(pair)));
        }
    }
    Learned { tokens, merges }
}

/// The `tokenizer.json` of what was learned.
fn write(learned: &Learned) -> Result<Vec<u8>, TokenizeError> {
    let token = |id: u32| learned.tokens[id as usize].clone();
    let merges = learned
        .merges
        .iter()
        .map(|pair| (token(pair.0), token(pair.1)))
        .collect();
    let vocab: library::models::bpe::Vocab = learned.tokens.iter().cloned().zip(0..).collect();
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .build()
        .map_err(said)?;
    let mut tokenizer = library::Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(split()))
        .with_decoder(Some(split()));
    let special = [END_OF_TEXT, PADDING].map(|text| library::AddedToken::from(text, true));
    tokenizer.add_special_tokens(special).map_err(said)?;
    let mut json = tokenizer.to_string(true).map_err(said)?.into_bytes();
    json.push(b'\n');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library's own trainer, as an oracle.
    fn train_with_library(texts: &[String], options: &TrainOptions) -> Vec<u8> {
        use library::models::{TrainerWrapper, bpe::BpeTrainer};
        let special = [END_OF_TEXT, PADDING].map(|text| library::AddedToken::from(text, true));
        let trainer = BpeTrainer::builder()
            .vocab_size(options.vocab_size as usize)
            .min_frequency(options.min_frequency)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special.into())
            .show_progress(false)
            .build();
        let mut tokenizer = library::Tokenizer::new(BPE::default());
        tokenizer
            .with_pre_tokenizer(Some(split()))
            .with_decoder(Some(split()));
        tokenizer
            .train(&mut TrainerWrapper::from(trainer), texts.iter())
            .unwrap();
        let mut json = tokenizer.to_string(true).unwrap().into_bytes();
        json.push(b'\n');
        json
    }

    /// Sources of this crate: text that is there wherever the test runs.
    fn sample() -> Vec<String> {
        [
            include_str!("mod.rs"),
            include_str!("definition.rs"),
            include_str!("train.rs"),
            include_str!("probes.rs"),
        ]
        .iter()
        .flat_map(|file| file.split_inclusive("\n\n"))
        .map(str::to_owned)
        .collect()
    }

    fn options(vocab_size: u32) -> TrainOptions {
        TrainOptions {
            vocab_size,
            max_token_bytes: None,
            ..TrainOptions::default()
        }
    }

    fn vocabulary(json: &[u8]) -> serde_json::Map<String, serde_json::Value> {
        let json: serde_json::Value = serde_json::from_slice(json).unwrap();
        json["model"]["vocab"].as_object().unwrap().clone()
    }

    #[test]
    fn the_merges_are_those_of_the_library() {
        for size in [258, 300, 700, 1500] {
            let ours = train(sample().into_iter(), &options(size)).unwrap();
            assert!(
                ours == train_with_library(&sample(), &options(size)),
                "{size} tokens"
            );
        }
    }

    #[test]
    #[ignore = "needs a text in ANDROMEDA_TEST_TEXT; compares with the library on it and prints the times"]
    fn the_merges_are_those_of_the_library_on_a_given_text() {
        let text = std::fs::read_to_string(std::env::var("ANDROMEDA_TEST_TEXT").unwrap()).unwrap();
        let texts: Vec<String> = text.split_inclusive("\n\n").map(str::to_owned).collect();
        let start = std::time::Instant::now();
        let ours = train(texts.iter().cloned(), &options(32_768)).unwrap();
        println!("{} bytes in {:?}", text.len(), start.elapsed());
        let start = std::time::Instant::now();
        let theirs = train_with_library(&texts, &options(32_768));
        println!("the library: {:?}", start.elapsed());
        assert!(ours == theirs);
    }

    #[test]
    fn neither_order_nor_threads_change_the_bytes() {
        let expected = train(sample().into_iter(), &options(900)).unwrap();
        let backwards = train(sample().into_iter().rev(), &options(900)).unwrap();
        assert!(expected == backwards);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let pooled = pool.install(|| train(sample().into_iter(), &options(900)).unwrap());
            assert!(expected == pooled, "{threads} threads");
        }
    }

    #[test]
    fn special_tokens_and_bytes_come_first() {
        let vocab = vocabulary(&train(sample().into_iter(), &options(400)).unwrap());
        assert_eq!(vocab.len(), 400);
        assert_eq!(vocab[END_OF_TEXT], 0);
        assert_eq!(vocab[PADDING], 1);
        assert!(ByteLevel::alphabet().iter().all(|byte| {
            vocab[&byte.to_string()]
                .as_u64()
                .is_some_and(|id| (2..258).contains(&id))
        }));
    }

    #[test]
    fn no_token_is_longer_than_asked() {
        let options = TrainOptions {
            vocab_size: 2000,
            max_token_bytes: Some(5),
            min_frequency: 1,
        };
        let vocab = vocabulary(&train(sample().into_iter(), &options).unwrap());
        let lengths = vocab
            .keys()
            .filter(|token| ![END_OF_TEXT, PADDING].contains(&token.as_str()))
            .map(|token| token.chars().count());
        assert_eq!(lengths.max(), Some(5));
    }

    #[test]
    fn rare_pairs_are_left_apart() {
        let texts = || ["abababab".to_owned(), "xy".to_owned()].into_iter();
        let vocab = vocabulary(&train(texts(), &options(1000)).unwrap());
        // (a, b) four times, then (ab, ab) three times by windows; (x, y) once.
        assert!(vocab.contains_key("ab") && vocab.contains_key("abab"));
        assert!(!vocab.contains_key("xy"));
    }

    #[test]
    fn impossible_requests_are_refused_with_a_sentence() {
        let few = train(sample().into_iter(), &options(257))
            .unwrap_err()
            .to_string();
        assert!(few.contains("258"), "{few}");
        let none = train(std::iter::empty(), &options(300))
            .unwrap_err()
            .to_string();
        assert!(none.contains("no words"), "{none}");
        let many = train(sample().into_iter(), &options(u32::MAX))
            .unwrap_err()
            .to_string();
        assert!(many.contains("the most is"), "{many}");
    }
}
