//! What a rule says of a document.

use std::fmt;

use serde::Serialize;

/// What a rule says of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The document stays.
    Keep,
    /// The document goes.
    Drop(Reason),
}

impl Verdict {
    /// A drop for which nothing was measured.
    #[must_use]
    pub const fn drop(name: &'static str) -> Self {
        Self::Drop(Reason {
            name,
            measured: None,
        })
    }

    /// The reason of a drop.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Keep => None,
            Self::Drop(reason) => Some(reason),
        }
    }
}

impl From<Option<Reason>> for Verdict {
    fn from(reason: Option<Reason>) -> Self {
        reason.map_or(Self::Keep, Self::Drop)
    }
}

/// Why a document goes: `gopher-top-2-gram 0.31 > 0.2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// A short word for the funnel.
    pub name: &'static str,
    /// What was measured, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// A statistic beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name, mostly one of [`crate::analysis::signals`].
    pub statistic: &'static str,
    /// Its value for the document.
    pub value: f64,
    /// The threshold.
    pub limit: f64,
    /// Whether the value is above the limit; below it otherwise.
    pub above: bool,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(measured) = &self.measured else {
            return f.write_str(self.name);
        };
        let sign = if measured.above { '>' } else { '<' };
        // Four digits tell a value from its limit nearly always; where they do not, all are shown.
        let short = (measured.value * 1e4).round() / 1e4;
        let value = if short == measured.limit {
            measured.value
        } else {
            short
        };
        write!(f, "{} {value} {sign} {}", self.name, measured.limit)
    }
}

impl Measured {
    /// As it is said: `dclm-top-2-gram-fraction 0.31 > 0.2`.
    #[must_use]
    pub fn said(self) -> String {
        Reason {
            name: self.statistic,
            measured: Some(self),
        }
        .to_string()
    }
}

/// The reason if `value` is above `limit`.
pub(super) fn above(
    name: &'static str,
    statistic: &'static str,
    value: f64,
    limit: f64,
) -> Option<Reason> {
    (value > limit).then(|| beyond(name, statistic, value, limit, true))
}

/// The reason if `value` is below `limit`.
pub(super) fn below(
    name: &'static str,
    statistic: &'static str,
    value: f64,
    limit: f64,
) -> Option<Reason> {
    (value < limit).then(|| beyond(name, statistic, value, limit, false))
}

/// A reason with what was measured, whatever was compared.
pub(super) const fn beyond(
    name: &'static str,
    statistic: &'static str,
    value: f64,
    limit: f64,
    above: bool,
) -> Reason {
    Reason {
        name,
        measured: Some(Measured {
            statistic,
            value,
            limit,
            above,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_value_and_limit() {
        let reason = above("gopher-top-2-gram", "x", 0.312_345, 0.2).unwrap();
        assert_eq!(reason.to_string(), "gopher-top-2-gram 0.3123 > 0.2");
        let near = above("r", "x", 0.200_000_01, 0.2).unwrap();
        assert_eq!(near.to_string(), "r 0.20000001 > 0.2");
        assert_eq!(
            below("few", "x", 3.0, 50.0).unwrap().to_string(),
            "few 3 < 50"
        );
        assert_eq!(above("r", "x", 0.2, 0.2), None);
        assert_eq!(Verdict::drop("r").reason().unwrap().to_string(), "r");
    }
}
