//! Random numbers as a pure function of (seed, stream, counter). candle's CPU generator cannot be seeded, and a generator
//! with hidden state would have to be saved; here a number is found again from its place alone. The mixer is the finalizer of
//! `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// An endless, addressable sequence of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream called `name` under `seed`. Names keep the streams of different tensors and purposes apart.
    pub fn new(seed: u64, name: &str) -> Self {
        let name = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        Self {
            key: mix(mix(seed.wrapping_add(GOLDEN)) ^ name),
        }
    }

    /// 64 random bits at `counter`.
    pub fn bits(&self, counter: u64) -> u64 {
        mix(self.key.wrapping_add(counter.wrapping_mul(GOLDEN)))
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&self, counter: u64) -> f64 {
        (self.bits(counter) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal by Box-Muller; `counter` uses the places `2 * counter` and `2 * counter + 1`.
    pub fn normal(&self, counter: u64) -> f64 {
        let place = counter.wrapping_mul(2);
        let radius = (-2.0 * (1.0 - self.uniform(place)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(place.wrapping_add(1))).cos()
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_name_and_place_only() {
        let stream = Stream::new(7, "embedding");
        assert_eq!(stream.bits(3), Stream::new(7, "embedding").bits(3));
        assert_ne!(stream.bits(3), stream.bits(4));
        assert_ne!(stream.bits(3), Stream::new(8, "embedding").bits(3));
        assert_ne!(stream.bits(3), Stream::new(7, "norm").bits(3));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let stream = Stream::new(1, "moments");
        let n = 200_000u64;
        let uniform: f64 = (0..n).map(|i| stream.uniform(i)).sum::<f64>() / n as f64;
        let mean: f64 = (0..n).map(|i| stream.normal(i)).sum::<f64>() / n as f64;
        let variance: f64 = (0..n).map(|i| stream.normal(i).powi(2)).sum::<f64>() / n as f64;
        assert!((uniform - 0.5).abs() < 0.003, "{uniform}");
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.015, "{variance}");
    }

    #[test]
    fn the_mixer_is_splitmix64() {
        // First outputs of SplitMix64 for state 0, as in Vigna's splitmix64.c: the state is advanced before mixing.
        assert_eq!(mix(GOLDEN), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(GOLDEN.wrapping_mul(2)), 0x6E78_9E6A_A1B9_65F4);
    }
}
