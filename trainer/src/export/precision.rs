//! The numbers of exported tensors.

use safetensors::tensor::Dtype;

/// The numbers of exported tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Single precision, as in the checkpoint.
    F32,
    /// The upper half of single precision, rounded to the nearest, of two to the even one.
    Bf16,
}

impl Precision {
    /// As safetensors calls it.
    pub(super) const fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// As torch calls it.
    pub(super) const fn torch(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    /// Bytes of a number.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Appends numbers given as single precision, the least significant byte first.
    pub(super) fn append(self, singles: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend_from_slice(singles),
            Self::Bf16 => {
                let (words, _) = singles.as_chunks::<4>();
                out.extend(words.iter().flat_map(|word| rounded(*word)));
            }
        }
    }
}

fn rounded(single: [u8; 4]) -> [u8; 2] {
    let bits = u32::from_le_bytes(single);
    let [_, _, low, high] = if f32::from_bits(bits).is_nan() {
        // The payload may lie in the lower half alone: without it this would be an infinity.
        (bits | 0x0040_0000).to_le_bytes()
    } else {
        // The largest that is no NaN is an infinity, 0x7f80_0000 and its negative, and nothing is carried into its sign.
        (bits + 0x7fff + (bits >> 16 & 1)).to_le_bytes()
    };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_the_nearest_and_of_two_the_even_one() {
        let of = |x: f32| {
            let mut out = Vec::new();
            Precision::Bf16.append(&x.to_le_bytes(), &mut out);
            u16::from_le_bytes([out[0], out[1]])
        };
        // Halfway between 0x3f80 and 0x3f81 and between 0x3f81 and 0x3f82; a bit above the first.
        assert_eq!(of(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(of(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(of(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!((of(-0.0), of(f32::INFINITY)), (0x8000, 0x7f80));
        assert_eq!(of(f32::NEG_INFINITY), 0xff80);
        // Above the largest that has a near one.
        assert_eq!(of(f32::MAX), 0x7f80);
        for nan in [0x7f80_0001, 0xffff_ffff] {
            assert_eq!(of(f32::from_bits(nan)) & 0x7fc0, 0x7fc0);
        }
    }
}
