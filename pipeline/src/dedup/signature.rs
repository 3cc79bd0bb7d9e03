//! MinHash signatures (Broder, 1997) and their bands (Indyk and Motwani, 1998): documents that share many
//! shingles share many minima, and those that share all minima of a band are candidates.
//!
//! The k-th minimum is taken of `(shingle ^ b[k]) * a[k]` in 32 bits, `a[k]` odd: a permutation of the 32-bit
//! numbers that costs one multiplication and no modulus. Measured against true Jaccard similarities its error
//! equals that of the textbook family `(a x + b) mod (2^61 - 1)`; the test below holds it to the theory.
//! Defaults are those of FineWeb (arXiv 2406.17557, as in datatrove's `minhash.py`): 5 words a shingle, 14
//! bands of 8 rows, half of the pairs found at similarity 0.685, 92% at 0.8.
//!
//! **Format.** Constants, word hash, shingle hash and band keys are part of the format of a build: signatures
//! of two machines or two versions of this program are equal. `a[k]` and `b[k]` are the upper halves of the
//! outputs 2k and 2k+1 (from 0) of `SplitMix64` (Steele, Lea, Flood, 2014) seeded with [`SEED`], the lowest bit
//! of `a[k]` set; they do not depend on the number of bands. The key of band n is XXH3-64, seed n, of its rows
//! as little-endian `u32`.

#![expect(
    unsafe_code,
    reason = "a kernel compiled for a wider instruction set is entered after the processor was asked"
)]

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::DedupError;
use super::shingle::Shingler;
use super::words::{WordHasher, for_each_word};

/// The seed of the constants: the first digits of pi's fraction, after that of the word hash.
pub const SEED: u64 = 0x1319_8a2e_0370_7344;

/// The most bands and the most rows a band.
const MOST_BANDS: usize = 1024;
const MOST_ROWS: usize = 64;
/// The most words a shingle.
const MOST_WORDS: usize = 64;
/// The most characters a shingle.
const MOST_CHARACTERS: usize = 512;

/// Permutations are padded to this many, so that a kernel meets whole vectors only.
const LANES: usize = 16;
/// Shingles taken at a time: they stay in the first-level cache while each block of permutations runs over
/// them.
const BATCH: usize = 2048;

/// How near duplicates are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MinHashOptions {
    /// Words a shingle.
    pub shingle_words: usize,
    /// Characters a shingle, in place of words: for scripts without spaces, and for code, where punctuation counts.
    pub shingle_characters: Option<usize>,
    /// Bands: more find more pairs.
    pub bands: usize,
    /// Rows a band: more find fewer pairs, and more similar ones.
    pub rows: usize,
}

impl Default for MinHashOptions {
    fn default() -> Self {
        Self {
            shingle_words: 5,
            shingle_characters: None,
            bands: 14,
            rows: 8,
        }
    }
}

/// The constants of a signature; shared by all threads.
#[derive(Clone, Debug)]
pub struct MinHasher {
    options: MinHashOptions,
    multipliers: Vec<u32>,
    masks: Vec<u32>,
    kernel: Kernel,
}

impl MinHasher {
    /// Prepares signatures of `bands * rows` permutations.
    ///
    /// # Errors
    /// If bands, rows or words of a shingle are 0 or absurdly many.
    pub fn new(options: MinHashOptions) -> Result<Self, DedupError> {
        let MinHashOptions {
            shingle_words,
            shingle_characters,
            bands,
            rows,
        } = options;
        for (key, value, most) in [
            ("shingle-words", shingle_words, MOST_WORDS),
            (
                "characters",
                shingle_characters.unwrap_or(1),
                MOST_CHARACTERS,
            ),
            ("bands", bands, MOST_BANDS),
            ("rows", rows, MOST_ROWS),
        ] {
            if !(1..=most).contains(&value) {
                return Err(DedupError::OutOfBounds { key, value, most });
            }
        }
        let padded = (bands * rows).next_multiple_of(LANES);
        let mut multipliers = Vec::with_capacity(padded);
        let mut masks = Vec::with_capacity(padded);
        let mut state = SEED;
        for _ in 0..padded {
            multipliers.push(split_mix(&mut state) | 1);
            masks.push(split_mix(&mut state));
        }
        Ok(Self {
            options,
            multipliers,
            masks,
            kernel: Kernel::best(),
        })
    }

    /// What it was made of.
    #[must_use]
    pub fn options(&self) -> MinHashOptions {
        self.options
    }

    /// How many permutations there are, which is the length of a signature.
    #[must_use]
    pub fn permutations(&self) -> usize {
        self.options.bands * self.options.rows
    }

    /// A signer with buffers of its own; one a thread.
    #[must_use]
    pub fn signer(&self) -> Signer<'_> {
        Signer {
            hasher: self,
            words: WordHasher::default(),
            shingler: Shingler::new(
                self.options
                    .shingle_characters
                    .unwrap_or(self.options.shingle_words),
            ),
            batch: Vec::with_capacity(BATCH),
            minima: vec![u32::MAX; self.multipliers.len()],
        }
    }

    /// The key of each band of a signature, first band first. Equal keys of the same band make a candidate
    /// pair.
    pub fn band_keys<'a>(&'a self, signature: &'a [u32]) -> impl Iterator<Item = u64> + 'a {
        let rows = self.options.rows;
        signature
            .chunks_exact(rows)
            .take(self.options.bands)
            .zip(0_u64..)
            .map(move |(band, number)| {
                let mut bytes = [0; 4 * MOST_ROWS];
                for (slot, minimum) in bytes.chunks_exact_mut(4).zip(band) {
                    slot.copy_from_slice(&minimum.to_le_bytes());
                }
                xxh3_64_with_seed(&bytes[..4 * rows], number)
            })
    }

    /// Lowers each minimum by what `shingles` give. `minima` is padded as the constants are.
    fn lower(&self, shingles: &[u32], minima: &mut [u32]) {
        self.kernel
            .run(&self.multipliers, &self.masks, shingles, minima);
    }
}

/// Signs documents one after the other, without allocating.
#[derive(Debug)]
pub struct Signer<'a> {
    hasher: &'a MinHasher,
    words: WordHasher,
    shingler: Shingler,
    batch: Vec<u32>,
    minima: Vec<u32>,
}

impl Signer<'_> {
    /// The signature of `text`: the minima of all permutations over its shingles in lower case. `None` if it has
    /// fewer words, or characters, than a shingle. Memory does not depend on the length of the text.
    pub fn sign(&mut self, text: &str) -> Option<&[u32]> {
        let Self {
            hasher,
            words,
            shingler,
            batch,
            minima,
        } = self;
        batch.clear();
        minima.fill(u32::MAX);
        let mut any = false;
        for_each_shingle(text, hasher.options, words, shingler, |shingle| {
            batch.push(shingle);
            if batch.len() == BATCH {
                hasher.lower(batch, minima);
                batch.clear();
                any = true;
            }
        });
        any |= !batch.is_empty();
        hasher.lower(batch, minima);
        any.then(|| &minima[..hasher.permutations()])
    }

    /// The set of shingles that [`sign`](Self::sign) takes the minima of: distinct, ascending. Empty for a text without
    /// a signature.
    pub fn shingles(&mut self, text: &str, into: &mut Vec<u32>) {
        into.clear();
        let (options, words, shingler) = (self.hasher.options, &mut self.words, &mut self.shingler);
        for_each_shingle(text, options, words, shingler, |shingle| into.push(shingle));
        into.sort_unstable();
        into.dedup();
    }
}

/// Calls `each` with every shingle of a text.
///
/// Words are those of [`for_each_word`] in lower case. Characters are taken in lower case one by one, and every run of
/// white space counts as one space.
#[inline(always)]
fn for_each_shingle(
    text: &str,
    options: MinHashOptions,
    words: &mut WordHasher,
    shingler: &mut Shingler,
    mut each: impl FnMut(u32),
) {
    shingler.clear();
    if options.shingle_characters.is_none() {
        for_each_word(text, |start, end| {
            if let Some(shingle) = shingler.push(words.lower_case(text, start, end)) {
                each(shingle);
            }
        });
        return;
    }
    let mut space = true;
    for character in text.chars() {
        if character.is_whitespace() {
            if !std::mem::replace(&mut space, true)
                && let Some(shingle) = shingler.push(u64::from(' '))
            {
                each(shingle);
            }
            continue;
        }
        space = false;
        if character.is_ascii() {
            if let Some(shingle) = shingler.push(u64::from(character.to_ascii_lowercase())) {
                each(shingle);
            }
        } else {
            for lower in character.to_lowercase() {
                if let Some(shingle) = shingler.push(u64::from(lower)) {
                    each(shingle);
                }
            }
        }
    }
}

/// How many minima two signatures share; divided by their number, the estimate of the Jaccard similarity.
/// Its standard error at similarity s is `sqrt(s (1 - s) / permutations)`: 0.038 at 0.8 with 112.
#[must_use]
pub fn agreement(left: &[u32], right: &[u32]) -> usize {
    left.iter()
        .zip(right)
        .filter(|(left, right)| left == right)
        .count()
}

/// The probability that a pair of the given similarity shares at least one band: `1 - (1 - s^rows)^bands`.
#[must_use]
pub fn s_curve(bands: usize, rows: usize, similarity: f64) -> f64 {
    let band = similarity.powf(rows as f64);
    1.0 - (1.0 - band).powf(bands as f64)
}

fn split_mix(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut output = *state;
    output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((output ^ (output >> 31)) >> 32) as u32
}

/// The instruction set a signature is computed with. All give the same bits: the arithmetic is exact and
/// written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// What every processor of the target has: SSE2 on x86-64, NEON on ARM64.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// Those that this processor can run, slowest first. The only place that names a wide kernel.
    fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            if std::arch::is_x86_feature_detected!("avx512f") {
                kernels.push(Self::Avx512);
            }
        }
        kernels
    }

    fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Baseline)
    }

    fn run(self, multipliers: &[u32], masks: &[u32], shingles: &[u32], minima: &mut [u32]) {
        match self {
            Self::Baseline => narrow(multipliers, masks, shingles, minima),
            // SAFETY: `available` yields this variant only where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(multipliers, masks, shingles, minima) },
            // SAFETY: `available` yields this variant only where the processor has AVX-512F.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(multipliers, masks, shingles, minima) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(multipliers: &[u32], masks: &[u32], shingles: &[u32], minima: &mut [u32]) {
    narrow(multipliers, masks, shingles, minima);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(multipliers: &[u32], masks: &[u32], shingles: &[u32], minima: &mut [u32]) {
    wide(multipliers, masks, shingles, minima);
}

/// Blocks of 32 permutations: with 16 registers of eight lanes, minima and constants of a block stay in
/// registers.
#[inline(always)]
fn narrow(multipliers: &[u32], masks: &[u32], shingles: &[u32], minima: &mut [u32]) {
    let done = blocks::<32>(multipliers, masks, shingles, minima);
    blocks::<LANES>(
        &multipliers[done..],
        &masks[done..],
        shingles,
        &mut minima[done..],
    );
}

/// Blocks of 112 (all of the default), then 32, then 16: for 32 registers of sixteen lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn wide(multipliers: &[u32], masks: &[u32], shingles: &[u32], minima: &mut [u32]) {
    let done = blocks::<112>(multipliers, masks, shingles, minima);
    narrow(
        &multipliers[done..],
        &masks[done..],
        shingles,
        &mut minima[done..],
    );
}

/// Runs over the whole blocks of `N` permutations; returns how many permutations those are.
#[inline(always)]
fn blocks<const N: usize>(
    multipliers: &[u32],
    masks: &[u32],
    shingles: &[u32],
    minima: &mut [u32],
) -> usize {
    let constants = multipliers
        .as_chunks::<N>()
        .0
        .iter()
        .zip(masks.as_chunks::<N>().0);
    let minima = minima.as_chunks_mut::<N>().0;
    let count = minima.len();
    for (minima, (multipliers, masks)) in minima.iter_mut().zip(constants) {
        let mut low = *minima;
        for &shingle in shingles {
            for lane in 0..N {
                low[lane] = low[lane].min((shingle ^ masks[lane]).wrapping_mul(multipliers[lane]));
            }
        }
        *minima = low;
    }
    count * N
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn default_hasher() -> MinHasher {
        MinHasher::new(MinHashOptions::default()).unwrap()
    }

    /// A signature of shingles that are given, without text.
    fn sign_shingles(hasher: &MinHasher, shingles: &[u32]) -> Vec<u32> {
        let mut minima = vec![u32::MAX; hasher.multipliers.len()];
        hasher.lower(shingles, &mut minima);
        minima.truncate(hasher.permutations());
        minima
    }

    /// Two sets of `size` shingles with the given number in common, different for every seed.
    fn pair(seed: u64, size: usize, common: usize) -> (Vec<u32>, Vec<u32>) {
        let mut state = seed;
        let mut numbers = (0..2 * size - common).map(|_| split_mix(&mut state));
        let shared: Vec<u32> = numbers.by_ref().take(common).collect();
        let own: Vec<u32> = numbers.by_ref().take(size - common).collect();
        let left = shared.iter().copied().chain(own).collect();
        let right = shared.into_iter().chain(numbers).collect();
        (left, right)
    }

    #[test]
    fn a_signature_never_changes() {
        // Computed in Python from the module's description, with the xxhash package for the keys.
        let hasher = default_hasher();
        let mut signer = hasher.signer();
        let text =
            "The quick brown fox jumps over the lazy dog, na\u{ef}vely and \u{4f60}\u{597d}.";
        let signature = signer.sign(text).unwrap();
        let keys: Vec<u64> = hasher.band_keys(signature).collect();
        assert_eq!(
            (hasher.multipliers[0], hasher.masks[0]),
            (1_001_736_357, 1_080_675_886)
        );
        assert_eq!(
            signature[..4],
            [0x1158_d8ec, 0x1174_4641, 0x1f5d_dcce, 0x3dbf_3e8f]
        );
        assert_eq!((signature.len(), signature[111]), (112, 0x2180_fd91));
        assert_eq!(
            (keys.len(), keys[0], keys[13]),
            (14, 0xee5d_00a5_665c_e439, 0x43fa_29a3_6794_8b06)
        );
    }

    #[test]
    fn case_punctuation_and_space_do_not_change_a_signature() {
        let hasher = default_hasher();
        let mut signer = hasher.signer();
        let plain = signer
            .sign("one two three four five six seven")
            .unwrap()
            .to_vec();
        assert_eq!(
            signer
                .sign("One, two -- three; FOUR\nfive \u{2026} six (seven)!")
                .unwrap(),
            plain
        );
        assert_ne!(
            signer.sign("one two three four five six eight").unwrap(),
            plain
        );
    }

    #[test]
    fn characters_are_shingled_in_lower_case_with_single_spaces() {
        let options = MinHashOptions {
            shingle_characters: Some(4),
            ..MinHashOptions::default()
        };
        let hasher = MinHasher::new(options).unwrap();
        let mut signer = hasher.signer();
        let plain = signer.sign("let x=1; return x").unwrap().to_vec();
        let same = signer.sign("  LET\tx=1;\n\n    return x").unwrap();
        assert_eq!(same, plain);
        let other = signer.sign("let x=2; return x").unwrap().to_vec();
        assert_ne!(other, plain);
        assert_eq!(signer.sign("abc"), None);
        // Four characters of a script without spaces are a shingle.
        assert!(signer.sign("\u{0e01}\u{0e02}\u{0e03}\u{0e04}").is_some());
        let mut shingles = Vec::new();
        signer.shingles("abcdeabcde", &mut shingles);
        assert_eq!(shingles.len(), 5, "abcd bcde cdea deab eabc");
    }

    #[test]
    fn the_minima_of_the_set_of_shingles_are_the_signature() {
        let hasher = default_hasher();
        let text = "a b c d e f g a b c d e f g a b c d e";
        let mut shingles = Vec::new();
        hasher.signer().shingles(text, &mut shingles);
        assert_eq!(shingles.len(), 7);
        assert_eq!(
            hasher.signer().sign(text).unwrap(),
            sign_shingles(&hasher, &shingles)
        );
    }

    #[test]
    fn a_text_shorter_than_a_shingle_has_no_signature() {
        let hasher = default_hasher();
        let mut signer = hasher.signer();
        for text in ["", "   ", "one two three four", "?!"] {
            assert_eq!(signer.sign(text), None);
        }
    }

    #[test]
    fn a_long_text_is_signed_as_if_in_one_batch() {
        let hasher = default_hasher();
        let mut words = WordHasher::default();
        let mut shingler = Shingler::new(5);
        for count in [BATCH + 3, BATCH + 4, BATCH + 5, 3 * BATCH] {
            let text: String = (0..count).map(|number| format!("w{number} ")).collect();
            let mut shingles = Vec::new();
            shingler.clear();
            for_each_word(&text, |start, end| {
                shingles.extend(shingler.push(words.lower_case(&text, start, end)));
            });
            assert_eq!(
                hasher.signer().sign(&text).unwrap(),
                sign_shingles(&hasher, &shingles)
            );
        }
    }

    proptest! {
        #[test]
        fn all_kernels_give_the_same_bits(
            shingles in prop::collection::vec(any::<u32>(), 0..200),
            bands in 1_usize..40,
            rows in 1_usize..14,
        ) {
            let hasher = MinHasher::new(MinHashOptions { bands, rows, ..MinHashOptions::default() }).unwrap();
            let plain: Vec<u32> = (0..hasher.multipliers.len())
                .map(|k| {
                    let permuted = shingles.iter().map(|s| (s ^ hasher.masks[k]).wrapping_mul(hasher.multipliers[k]));
                    permuted.min().unwrap_or(u32::MAX)
                })
                .collect();
            for kernel in Kernel::available() {
                let mut minima = vec![u32::MAX; plain.len()];
                kernel.run(&hasher.multipliers, &hasher.masks, &shingles, &mut minima);
                prop_assert_eq!(&minima, &plain, "{:?}", kernel);
            }
        }
    }

    #[test]
    fn the_first_permutations_do_not_depend_on_their_number() {
        let few = MinHasher::new(MinHashOptions {
            bands: 3,
            rows: 5,
            ..MinHashOptions::default()
        })
        .unwrap();
        let many = MinHasher::new(MinHashOptions {
            bands: 30,
            rows: 5,
            ..MinHashOptions::default()
        })
        .unwrap();
        let shingles = [1, 2, 3, 4];
        assert_eq!(
            sign_shingles(&few, &shingles),
            sign_shingles(&many, &shingles)[..15]
        );
    }

    #[test]
    fn the_estimate_errs_as_theory_says() {
        let hasher = default_hasher();
        let permutations = hasher.permutations() as f64;
        for (size, common) in [(30, 20), (30, 27), (400, 100), (400, 300), (3000, 2700)] {
            let truth = common as f64 / (2 * size - common) as f64;
            let errors: Vec<f64> = (0..2000)
                .map(|seed| {
                    let (left, right) = pair(seed, size, common);
                    let equal = agreement(
                        &sign_shingles(&hasher, &left),
                        &sign_shingles(&hasher, &right),
                    );
                    equal as f64 / permutations - truth
                })
                .collect();
            let mean = errors.iter().sum::<f64>() / 2000.0;
            let spread = (errors.iter().map(|error| error * error).sum::<f64>() / 2000.0).sqrt();
            let expected = (truth * (1.0 - truth) / permutations).sqrt();
            // Sampling without replacement from small sets has a smaller spread than the binomial.
            assert!(
                spread < 1.12 * expected,
                "size {size}: {spread} against {expected}"
            );
            // Four standard errors of the mean of 2000.
            assert!(
                mean.abs() < 4.0 * expected / 2000_f64.sqrt() + 0.002,
                "size {size}: bias {mean}"
            );
        }
    }

    #[test]
    fn pairs_are_found_as_often_as_the_s_curve_says() {
        let hasher = default_hasher();
        for (size, common) in [(300, 180), (300, 245), (300, 257), (300, 267), (300, 285)] {
            let similarity = common as f64 / (2 * size - common) as f64;
            let found = (0..2000)
                .filter(|&seed| {
                    let (left, right) = pair(seed, size, common);
                    let (left, right) = (
                        sign_shingles(&hasher, &left),
                        sign_shingles(&hasher, &right),
                    );
                    hasher
                        .band_keys(&left)
                        .zip(hasher.band_keys(&right))
                        .any(|(left, right)| left == right)
                })
                .count();
            let expected = s_curve(14, 8, similarity);
            assert!(
                (found as f64 / 2000.0 - expected).abs() < 0.05,
                "{similarity}: {found} of 2000, not {expected}"
            );
        }
    }

    #[test]
    fn the_s_curve_is_the_published_one() {
        // datatrove's `minhash.py` gives the threshold (1/14)^(1/8), about 0.72; values to three digits are
        // computed.
        for (bands, rows, similarity, expected) in [
            (14, 8, 0.5, 0.053),
            (14, 8, 0.7, 0.565),
            (14, 8, 0.8, 0.924),
            (9, 13, 0.8, 0.399),
            (450, 20, 0.75, 0.761),
        ] {
            assert!((s_curve(bands, rows, similarity) - expected).abs() < 0.0006);
        }
        assert_eq!((s_curve(14, 8, 0.0), s_curve(14, 8, 1.0)), (0.0, 1.0));
    }

    #[test]
    fn equal_rows_in_different_bands_have_different_keys() {
        let hasher = default_hasher();
        let keys: Vec<u64> = hasher.band_keys(&[7; 112]).collect();
        let distinct: std::collections::BTreeSet<u64> = keys.iter().copied().collect();
        assert_eq!((keys.len(), distinct.len()), (14, 14));
    }

    #[test]
    fn absurd_options_are_named() {
        let options: MinHashOptions = serde_json::from_str(r#"{ "bands": 0 }"#).unwrap();
        let error = MinHasher::new(options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bands = 0: choose a number from 1 to 1024"
        );
        assert!(serde_json::from_str::<MinHashOptions>(r#"{ "band": 3 }"#).is_err());
    }
}
