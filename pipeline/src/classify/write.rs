//! Writing a model in fastText's format 12, as `read` describes it. Only what [`train`](super::train) makes is written: nothing
//! is quantized or pruned.

use super::Classifier;
use super::dictionary::Kind;
use super::matrix::{Dense, Matrix};
use super::read::{MAGIC, SUPERVISED, VERSION};

impl Classifier {
    /// The bytes of the model, as fastText itself would write them. Quantized matrices were unpacked when they were read, and
    /// are written so; `None` if one was too large for that, or the model was pruned.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.dictionary.kept.is_some() {
            return None;
        }
        let (Matrix::Dense(input), Matrix::Dense(output)) = (&self.input, &self.output.matrix)
        else {
            return None;
        };
        let arguments = &self.arguments;
        let mut bytes = Vec::new();
        for number in [
            MAGIC,
            VERSION,
            arguments.dim,
            arguments.ws,
            arguments.epoch,
            arguments.min_count,
            arguments.neg,
            arguments.word_ngrams,
            arguments.loss as i32,
            SUPERVISED,
            arguments.bucket,
            arguments.minn,
            arguments.maxn,
            arguments.lr_update_rate,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(arguments.t.to_le_bytes());
        let dictionary = &self.dictionary;
        for count in [dictionary.len(), dictionary.words(), dictionary.labels()] {
            bytes.extend(i32::try_from(count).ok()?.to_le_bytes());
        }
        bytes.extend(dictionary.tokens.to_le_bytes());
        bytes.extend((-1i64).to_le_bytes());
        for (entry, count) in dictionary.counts.iter().enumerate() {
            bytes.extend_from_slice(dictionary.name(entry));
            bytes.push(0);
            bytes.extend(count.to_le_bytes());
            bytes.push(u8::from(dictionary.kind(entry) == Kind::Label));
        }
        for matrix in [input, output] {
            bytes.push(0);
            write_dense(matrix, &mut bytes)?;
        }
        Some(bytes)
    }
}

fn write_dense(matrix: &Dense, to: &mut Vec<u8>) -> Option<()> {
    for size in [matrix.rows, matrix.columns] {
        to.extend(i64::try_from(size).ok()?.to_le_bytes());
    }
    to.reserve(4 * matrix.numbers.len());
    for number in &matrix.numbers {
        to.extend(number.to_le_bytes());
    }
    Some(())
}
