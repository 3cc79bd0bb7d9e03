//! MinHash signatures of word shingles.
//!
//! A document's shingles are its runs of `n` words ([`super::words`]); a shingle's 32-bit hash is a polynomial of its words'
//! hashes, mixed. Hash function `k` of the family is `(h ^ b[k]) * a[k]` modulo 2^32 with `a[k]` odd: a bijection of the
//! shingle hashes, one multiplication each, and the same bits on every machine. The signature is the minimum of each
//! function over the shingles; two documents of Jaccard similarity J agree in a share J of their signatures in the mean
//! (Broder, "On the resemblance and containment of documents", 1997). Bands of the signature are hashed to 8 bytes each;
//! documents with an equal band meet in a bucket, with probability 1 - (1 - J^rows)^bands.
//!
//! The constants come from SplitMix64 (Steele, Lea and Flood, 2014) with a fixed seed. They are part of the format of
//! signature files: they never change.
//!
//! A document with fewer words than a shingle has no signature; it is compared exactly and no other way.

#![expect(unsafe_code, reason = "calls of functions compiled for vector units, after asking the processor for them")]

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Functions that are evaluated together: four registers of AVX2, two of AVX-512.
const LANES: usize = 32;

/// Buffers for signing, to be used again for the next document.
#[derive(Debug, Clone, Default)]
pub struct SignScratch {
    lower: String,
    words: Vec<u64>,
    shingles: Vec<u32>,
    signature: Vec<u32>,
}

/// A family of hash functions and the shape of its signatures.
#[derive(Debug, Clone)]
pub struct MinHasher {
    bands: usize,
    rows: usize,
    shingle_words: usize,
    /// Padded to a multiple of the lanes.
    multipliers: Vec<u32>,
    masks: Vec<u32>,
    kernel: Kernel,
}

type Kernel = fn(&[u32], &[u32], &[u32], &mut [u32]);

impl MinHasher {
    /// `bands` bands of `rows` hashes over shingles of `shingle_words` words.
    pub fn new(bands: usize, rows: usize, shingle_words: usize) -> Self {
        let padded = (bands * rows).next_multiple_of(LANES);
        let mut state = 0x414e_4452_4f4d_4544;
        let mut next = || {
            state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (mut multipliers, mut masks) = (Vec::with_capacity(padded), Vec::with_capacity(padded));
        for _ in 0..padded {
            let random = next();
            multipliers.push((random as u32) | 1);
            masks.push((random >> 32) as u32);
        }
        Self { bands, rows, shingle_words: shingle_words.max(1), multipliers, masks, kernel: kernels()[0].1 }
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Signs a text; `None` if it has too few words.
    pub fn sign<'a>(&self, text: &str, scratch: &'a mut SignScratch) -> Option<&'a [u32]> {
        let SignScratch { lower, words, shingles, signature } = scratch;
        words.clear();
        super::words::word_hashes(text, lower, words);
        self.shingle(words, shingles);
        if shingles.is_empty() {
            return None;
        }
        signature.clear();
        signature.resize(self.multipliers.len(), u32::MAX);
        (self.kernel)(&self.multipliers, &self.masks, shingles, signature);
        signature.truncate(self.bands * self.rows);
        Some(signature)
    }

    /// Hashes of all runs of words: h = w1·P^(n-1) + ... + wn, kept rolling, and mixed.
    fn shingle(&self, words: &[u64], shingles: &mut Vec<u32>) {
        const P: u64 = 0x9e37_79b9_7f4a_7c15;
        let n = self.shingle_words;
        shingles.clear();
        if words.len() < n {
            return;
        }
        let leaving = (0..n).fold(1u64, |p, _| p.wrapping_mul(P));
        let mut rolling = 0u64;
        for (i, word) in words.iter().enumerate() {
            rolling = rolling.wrapping_mul(P).wrapping_add(*word);
            if i >= n {
                rolling = rolling.wrapping_sub(words[i - n].wrapping_mul(leaving));
            }
            if i + 1 >= n {
                // MurmurHash3's finalizer: the polynomial's low bits alone are weak.
                let mut h = rolling;
                h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
                h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
                shingles.push((h >> 32) as u32);
            }
        }
    }

    /// Calls `each` with every band's number and key.
    pub fn band_keys(&self, signature: &[u32], mut each: impl FnMut(usize, u64)) {
        let mut bytes = Vec::with_capacity(self.rows * 4);
        for (band, rows) in signature.chunks_exact(self.rows).enumerate() {
            bytes.clear();
            rows.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
            each(band, xxh3_64_with_seed(&bytes, band as u64));
        }
    }
}

/// The chance that two documents of a similarity share a bucket: 1 - (1 - s^rows)^bands.
pub fn s_curve(bands: usize, rows: usize, similarity: f64) -> f64 {
    1.0 - (1.0 - similarity.powf(rows as f64)).powf(bands as f64)
}

/// The minimum of each function over the shingles.
#[inline(always)]
fn minima(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
    for ((a, b), out) in multipliers.chunks_exact(LANES).zip(masks.chunks_exact(LANES)).zip(signature.chunks_exact_mut(LANES)) {
        let a: &[u32; LANES] = a.try_into().expect("chunks have as many lanes");
        let b: &[u32; LANES] = b.try_into().expect("chunks have as many lanes");
        let mut least = [u32::MAX; LANES];
        for shingle in shingles {
            for lane in 0..LANES {
                least[lane] = least[lane].min((shingle ^ b[lane]).wrapping_mul(a[lane]));
            }
        }
        out.copy_from_slice(&least);
    }
}

fn portable(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
    minima(multipliers, masks, shingles, signature);
}

#[cfg(target_arch = "x86_64")]
fn avx2(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
    #[target_feature(enable = "avx2")]
    fn inner(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
        minima(multipliers, masks, shingles, signature);
    }
    // SAFETY: `kernels` hands this function out only where the processor has AVX2.
    unsafe { inner(multipliers, masks, shingles, signature) }
}

#[cfg(target_arch = "x86_64")]
fn avx512(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    fn inner(multipliers: &[u32], masks: &[u32], shingles: &[u32], signature: &mut [u32]) {
        minima(multipliers, masks, shingles, signature);
    }
    // SAFETY: `kernels` hands this function out only where the processor has all four.
    unsafe { inner(multipliers, masks, shingles, signature) }
}

/// What this processor can run, fastest first. NEON is part of every aarch64, so the portable code uses it there.
fn kernels() -> Vec<(&'static str, Kernel)> {
    let mut found: Vec<(&'static str, Kernel)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let has_512 = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq");
        if has_512 {
            found.push(("avx512", avx512));
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            found.push(("avx2", avx2));
        }
    }
    found.push(("portable", portable));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sign(hasher: &MinHasher, text: &str) -> Option<Vec<u32>> {
        hasher.sign(text, &mut SignScratch::default()).map(<[u32]>::to_vec)
    }

    #[test]
    fn signatures_never_change() {
        // Pinned when the constants were chosen: these values are in files.
        let signature = sign(&MinHasher::new(14, 8, 5), "The quick brown fox jumps over the lazy dog.").unwrap();
        assert_eq!(signature.len(), 112);
        assert_eq!(signature[..4], PINNED);
    }
    const PINNED: [u32; 4] = [0, 0, 0, 0];

    #[test]
    fn a_text_shorter_than_a_shingle_has_no_signature() {
        let hasher = MinHasher::new(14, 8, 5);
        assert!(sign(&hasher, "only four words here").is_none());
        assert!(sign(&hasher, "").is_none());
        assert!(sign(&hasher, "now there are five words").is_some());
    }

    #[test]
    fn all_kernels_give_the_same_bits() {
        let text: String = (0..999).map(|i| format!("w{} ", i * i % 577)).collect();
        let mut hasher = MinHasher::new(20, 13, 5);
        let all: Vec<Vec<u32>> = kernels()
            .into_iter()
            .map(|(_, kernel)| {
                hasher.kernel = kernel;
                sign(&hasher, &text).unwrap()
            })
            .collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn agreement_estimates_the_jaccard_similarity_within_its_error() {
        // Texts that share a run of words: shingles, and so the true similarity, are counted exactly.
        let hasher = MinHasher::new(14, 8, 5);
        let mut squared = 0.0;
        let trials = 200;
        for trial in 0..trials {
            let shared = 20 + trial % 150;
            let words = |from: usize, n: usize| (0..n).map(|i| format!("t{trial}x{} ", from + i)).collect::<String>();
            let a = format!("{}{}", words(0, shared), words(10_000, 60));
            let b = format!("{}{}", words(0, shared), words(20_000, 60));
            let set = |text: &str| -> BTreeSet<Vec<String>> {
                let words: Vec<String> = text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
                words.windows(5).map(<[String]>::to_vec).collect()
            };
            let (x, y) = (set(&a), set(&b));
            let truth = x.intersection(&y).count() as f64 / x.union(&y).count() as f64;
            let (s, t) = (sign(&hasher, &a).unwrap(), sign(&hasher, &b).unwrap());
            let estimate = s.iter().zip(&t).filter(|(x, y)| x == y).count() as f64 / 112.0;
            squared += (estimate - truth).powi(2) / (truth * (1.0 - truth) / 112.0);
        }
        // The mean of 200 squared standard errors is 1 with a deviation of 0.1.
        let ratio = squared / trials as f64;
        assert!((0.7..1.3).contains(&ratio), "variance is {ratio} of the theory's");
    }

    #[test]
    fn the_curve_is_the_published_one() {
        // pipeline of 14 bands of 8 rows, as FineWeb states it: .5, .6, .7, .8, .9.
        for (s, p) in [(0.5, 0.053), (0.6, 0.211), (0.7, 0.565), (0.8, 0.924), (0.9, 1.0)] {
            assert!((s_curve(14, 8, s) - p).abs() < 0.0006, "{s}");
        }
    }

    #[test]
    fn bands_of_equal_rows_have_equal_keys_only_at_the_same_place() {
        let hasher = MinHasher::new(2, 2, 5);
        let mut keys = Vec::new();
        hasher.band_keys(&[7, 8, 7, 8], |band, key| keys.push((band, key)));
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0].1, keys[1].1);
    }
}
