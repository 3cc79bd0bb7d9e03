//! Rotary position embedding (Su et al., "`RoFormer`", 2021), half-split: rot(x) = (-x2, x1), frequency 10000^(-2j/n) for pair j of
//! n/2. With `xPos` (Sun et al., "A Length-Extrapolatable Transformer", 2022) queries are multiplied by `s_j^((t - centre)/512)` and keys by the
//! inverse, `s_j = (2j + 0.4 n) / 1.4 n`: only the distance remains in their product. y = s (x cos + rot(x) sin), so
//! dx = s (g cos - rot(g) sin).

/// The base of the frequencies.
pub const THETA: f64 = 10_000.0;
const XPOS_SCALE_BASE: f64 = 512.0;

/// Cosines and sines, already multiplied by the xPos scale, of some positions: (positions, head size / 2) each.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// Cosines.
    pub cos: Vec<f64>,
    /// Sines.
    pub sin: Vec<f64>,
    /// T.
    pub positions: usize,
    /// Half the numbers of a head.
    pub half: usize,
}

/// The power of the xPos scale that a table carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XPos {
    /// Plain rotary.
    Off,
    /// Scale of queries.
    Query,
    /// Inverse scale, of keys.
    Key,
}

impl RotaryTable {
    /// The table of `positions` positions from `first` on of sequences of `length`, for heads of `head_size` numbers (even). The
    /// centre of `xPos` is that of the length.
    pub fn new(
        first: usize,
        positions: usize,
        length: usize,
        head_size: usize,
        xpos: XPos,
    ) -> Self {
        Self::at(first..first + positions, length, head_size, xpos)
    }

    /// As [`Self::new`], of any positions, a row each.
    pub fn at(
        positions: impl IntoIterator<Item = usize>,
        length: usize,
        head_size: usize,
        xpos: XPos,
    ) -> Self {
        let (half, n) = (head_size / 2, head_size as f64);
        let positions: Vec<usize> = positions.into_iter().collect();
        let entries = positions.iter().flat_map(|&t| {
            (0..half).map(move |j| {
                let angle = t as f64 * THETA.powf(-2.0 * j as f64 / n);
                let base = (2.0 * j as f64 + 0.4 * n) / (1.4 * n);
                let power = (t as f64 - (length / 2) as f64) / XPOS_SCALE_BASE;
                let scale = match xpos {
                    XPos::Off => 1.0,
                    XPos::Query => base.powf(power),
                    XPos::Key => base.powf(-power),
                };
                (angle.cos() * scale, angle.sin() * scale)
            })
        });
        let (cos, sin): (Vec<f64>, Vec<f64>) = entries.unzip();
        Self {
            cos,
            sin,
            positions: positions.len(),
            half,
        }
    }
}
