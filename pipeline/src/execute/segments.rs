//! What stands around the segments of a document, as blocks keep it.

use serde::{Deserialize, Serialize};

use crate::render::Segment;

/// A segment of a document: its number in the block, where the segment ends, whether it is trained on, what stands around it.
pub(super) type StoredSegment = (u32, u64, bool, Around);

/// The tokens around a segment that are no text of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Around {
    /// Before it, what begins a turn.
    pub(super) begins_turn: bool,
    /// After it, what ends a turn.
    pub(super) ends_turn: bool,
    /// After that, the end of text.
    pub(super) end_of_text: bool,
}

impl Around {
    pub(super) fn of(segment: &Segment<'_>) -> Self {
        Self {
            begins_turn: segment.begins_turn,
            ends_turn: segment.ends_turn,
            end_of_text: segment.end_of_text,
        }
    }
}

/// As it is written: most formats have no tokens of their own, and their blocks say what they always said.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    /// Whether an end of text follows.
    Ends(bool),
    /// 1 for an end of text, 2 for the beginning of a turn, 4 for its end.
    Bits(u8),
}

impl From<Written> for Around {
    fn from(written: Written) -> Self {
        let bits = match written {
            Written::Ends(ends) => u8::from(ends),
            Written::Bits(bits) => bits,
        };
        Self {
            end_of_text: bits & 1 != 0,
            begins_turn: bits & 2 != 0,
            ends_turn: bits & 4 != 0,
        }
    }
}

impl From<Around> for Written {
    fn from(around: Around) -> Self {
        match (around.begins_turn, around.ends_turn) {
            (false, false) => Self::Ends(around.end_of_text),
            (begins, ends) => Self::Bits(
                u8::from(around.end_of_text) | u8::from(begins) << 1 | u8::from(ends) << 2,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_is_read_as_it_was_written() {
        for bits in 0..8_u8 {
            let around = Around {
                begins_turn: bits & 1 != 0,
                ends_turn: bits & 2 != 0,
                end_of_text: bits & 4 != 0,
            };
            let written = serde_json::to_string(&around).unwrap();
            assert_eq!(serde_json::from_str::<Around>(&written).unwrap(), around);
            // Without turns, as blocks were written before there were any.
            assert_eq!(written.parse::<bool>().is_ok(), bits & 3 == 0, "{written}");
        }
    }
}
