//! Reading fastText's file: little-endian numbers one after another, as its `fasttext.cc` writes them.
//!
//! ```text
//! i32 793712314, i32 version (11 or 12)
//! i32 dim ws epoch minCount neg wordNgrams loss model bucket minn maxn lrUpdateRate, f64 t
//! i32 entries words labels, i64 tokens, i64 pruned buckets (-1: none)
//! an entry: its name, 0, i64 count, i8 kind (0 word, 1 label);  a pruned bucket: i32 bucket, i32 row
//! u8 whether the input is quantized, the input;  u8 whether the output is, the output
//! a matrix: i64 rows columns, f32 numbers
//! a quantized one: u8 whether lengths are apart, i64 rows columns, i32 codes, the codes, a quantizer;
//!                  with lengths apart, a byte a row and a second quantizer
//! a quantizer: i32 dim parts width last-width, f32 centroids (256 dim of them)
//! ```

use std::io::Read;

use super::dictionary::{Dictionary, Kind};
use super::loss::Output;
use super::matrix::{Dense, Matrix, Quantized};
use super::{Arguments, Classifier, Loss, ModelError};

pub(super) const MAGIC: i32 = 793_712_314;
pub(super) const VERSION: i32 = 12;
pub(super) const SUPERVISED: i32 = 3;
/// A word of more bytes is damage: fastText's own lines are cut at 1,024 words.
const MOST_NAME: usize = 1 << 16;
/// Pieces of words and n-grams of words have at most this many characters and words.
const MOST_N: i32 = 64;

/// A file, and how much of it is left.
struct Bytes<'a, R> {
    from: &'a mut R,
    left: u64,
}

impl<R: Read> Bytes<'_, R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = [0; N];
        self.left = self.left.checked_sub(N as u64).ok_or_else(cut_short)?;
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn i32(&mut self) -> Result<i32, ModelError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, ModelError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn bool(&mut self) -> Result<bool, ModelError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(damaged(format!("{other} stands where yes or no should"))),
        }
    }

    /// A count of things of at least `size` bytes each, all of which must be there.
    fn count(&mut self, what: &str, value: i64, size: u64) -> Result<usize, ModelError> {
        let count = u64::try_from(value).ok();
        let fits = count
            .and_then(|count| count.checked_mul(size))
            .is_some_and(|bytes| bytes <= self.left);
        match count.and_then(|count| usize::try_from(count).ok()) {
            Some(count) if fits => Ok(count),
            _ => Err(damaged(format!(
                "it says {value} {what} and is too short for them"
            ))),
        }
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, ModelError> {
        self.left = self.left.checked_sub(count as u64).ok_or_else(cut_short)?;
        let mut bytes = vec![0; count];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, ModelError> {
        const AT_ONCE: usize = 1 << 16;
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let bytes = self.bytes(4 * AT_ONCE.min(count - numbers.len()))?;
            let (all, _) = bytes.as_chunks::<4>();
            numbers.extend(all.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        Ok(numbers)
    }

    fn name(&mut self) -> Result<Vec<u8>, ModelError> {
        let mut name = Vec::new();
        loop {
            match self.array::<1>()? {
                [0] => return Ok(name),
                [byte] if name.len() < MOST_NAME => name.push(byte),
                _ => return Err(damaged("a word has no end".to_owned())),
            }
        }
    }
}

fn damaged(what: String) -> ModelError {
    ModelError::Damaged(what)
}

fn cut_short() -> ModelError {
    damaged("it is cut short".to_owned())
}

pub(super) fn model(from: &mut impl Read, bytes: u64) -> Result<Classifier, ModelError> {
    let mut file = Bytes { from, left: bytes };
    if bytes < 8 || file.i32()? != MAGIC {
        return Err(ModelError::Foreign);
    }
    let version = file.i32()?;
    if !(11..=VERSION).contains(&version) {
        return Err(ModelError::Version(version));
    }
    let arguments = arguments(&mut file, version)?;
    let dictionary = dictionary(&mut file, &arguments)?;
    let is_quantized = file.bool()?;
    let input = if is_quantized {
        quantized(&mut file)?
    } else {
        dense(&mut file)?
    };
    let output_is_quantized = file.bool()?;
    let output = if is_quantized && output_is_quantized {
        quantized(&mut file)?
    } else {
        dense(&mut file)?
    };
    check(&arguments, &dictionary, &input, &output)?;
    let counts = &dictionary.counts[dictionary.words()..];
    let output = Output::new(arguments.loss, output.unpacked(), counts);
    Ok(Classifier {
        arguments,
        input: input.unpacked(),
        output,
        dictionary,
    })
}

fn arguments<R: Read>(file: &mut Bytes<'_, R>, version: i32) -> Result<Arguments, ModelError> {
    let mut next = || file.i32();
    let (dim, ws, epoch, min_count) = (next()?, next()?, next()?, next()?);
    let (neg, word_ngrams, loss, model) = (next()?, next()?, next()?, next()?);
    let (bucket, minn, maxn, lr_update_rate) = (next()?, next()?, next()?, next()?);
    let t = f64::from_le_bytes(file.array()?);
    if model != SUPERVISED {
        return Err(ModelError::Unsupervised);
    }
    let loss = match loss {
        1 => Loss::HierarchicalSoftmax,
        2 => Loss::NegativeSampling,
        3 => Loss::Softmax,
        4 => Loss::OneVersusAll,
        other => return Err(damaged(format!("there is no loss {other}"))),
    };
    if dim < 1 || bucket < 0 || maxn > MOST_N || word_ngrams > MOST_N {
        return Err(damaged(format!(
            "it says dimension {dim}, {bucket} buckets, pieces of {maxn} characters and {word_ngrams} words"
        )));
    }
    Ok(Arguments {
        dim,
        ws,
        epoch,
        min_count,
        neg,
        word_ngrams,
        loss,
        bucket,
        minn,
        // Models of format 11 were trained before labelled texts had their words cut.
        maxn: if version == 11 { 0 } else { maxn },
        lr_update_rate,
        t,
    })
}

fn dictionary<R: Read>(
    file: &mut Bytes<'_, R>,
    arguments: &Arguments,
) -> Result<Dictionary, ModelError> {
    let entries = i64::from(file.i32()?);
    // A name, its end, a count and a kind.
    let entries = file.count("words and labels", entries, 10)?;
    let (words, labels) = (file.i32()?, file.i32()?);
    let tokens = file.i64()?;
    let pruned = file.i64()?;
    let mut all = Vec::with_capacity(entries);
    for _ in 0..entries {
        let name = file.name()?;
        let count = file.i64()?;
        let kind = match file.array::<1>()? {
            [0] => Kind::Word,
            [1] => Kind::Label,
            [other] => return Err(damaged(format!("a word is of kind {other}"))),
        };
        all.push((name, count, kind));
    }
    let found = all.iter().filter(|entry| entry.2 == Kind::Word).count();
    if !all.is_sorted_by_key(|entry| entry.2 == Kind::Label)
        || usize::try_from(words) != Ok(found)
        || usize::try_from(labels) != Ok(entries - found)
        || labels == 0
    {
        return Err(damaged(
            "its words and labels are not as many as it says".to_owned(),
        ));
    }
    let kept = match pruned {
        ..0 => None,
        pruned => {
            let mut kept = Vec::with_capacity(file.count("buckets", pruned, 8)?);
            for _ in 0..pruned {
                match (u32::try_from(file.i32()?), u32::try_from(file.i32()?)) {
                    (Ok(bucket), Ok(row)) => kept.push((bucket, row)),
                    _ => return Err(damaged("a bucket has a negative number".to_owned())),
                }
            }
            kept.sort_unstable();
            Some(kept)
        }
    };
    Ok(Dictionary::new(all, tokens, kept, arguments))
}

fn shape<R: Read>(file: &mut Bytes<'_, R>) -> Result<(usize, usize), ModelError> {
    let (rows, columns) = (file.i64()?, file.i64()?);
    match (usize::try_from(rows), usize::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok((rows, columns)),
        _ => Err(damaged(format!(
            "a matrix has {rows} rows of {columns} numbers"
        ))),
    }
}

fn dense<R: Read>(file: &mut Bytes<'_, R>) -> Result<Matrix, ModelError> {
    let (rows, columns) = shape(file)?;
    let numbers = rows
        .checked_mul(columns)
        .and_then(|numbers| i64::try_from(numbers).ok());
    let numbers = file.count("numbers", numbers.unwrap_or(-1), 4)?;
    Ok(Matrix::Dense(Dense {
        rows,
        columns,
        numbers: file.floats(numbers)?,
    }))
}

fn quantized<R: Read>(file: &mut Bytes<'_, R>) -> Result<Matrix, ModelError> {
    let has_norms = file.bool()?;
    let (rows, columns) = shape(file)?;
    let codes = i64::from(file.i32()?);
    let codes = file.count("codes", codes, 1)?;
    let codes = file.bytes(codes)?;
    let (dim, parts, width, last_width, centroids) = quantizer(file)?;
    if dim != columns || rows.checked_mul(parts) != Some(codes.len()) {
        return Err(damaged(
            "a quantized matrix has another shape than its codes".to_owned(),
        ));
    }
    let norms = if has_norms {
        file.count("lengths", i64::try_from(rows).unwrap_or(-1), 1)?;
        let norms = file.bytes(rows)?;
        let (dim, _, _, _, values) = quantizer(file)?;
        if dim != 1 {
            return Err(damaged("lengths of rows are no numbers".to_owned()));
        }
        Some((norms, values))
    } else {
        None
    };
    Ok(Matrix::Quantized(Quantized {
        rows,
        columns,
        parts,
        width,
        last_width,
        codes,
        centroids,
        norms,
    }))
}

fn quantizer<R: Read>(
    file: &mut Bytes<'_, R>,
) -> Result<(usize, usize, usize, usize, Vec<f32>), ModelError> {
    let mut next = || file.i32().map(usize::try_from);
    let (dim, parts, width, last_width) = (next()?, next()?, next()?, next()?);
    let (Ok(dim), Ok(parts), Ok(width), Ok(last_width)) = (dim, parts, width, last_width) else {
        return Err(damaged("a quantizer has negative sizes".to_owned()));
    };
    let whole = parts
        .checked_sub(1)
        .and_then(|whole| whole.checked_mul(width));
    if whole.and_then(|whole| whole.checked_add(last_width)) != Some(dim)
        || last_width > width
        || last_width == 0
    {
        return Err(damaged(format!(
            "a quantizer cuts {dim} numbers into {parts} parts of {width}, the last of {last_width}"
        )));
    }
    let numbers = dim
        .checked_mul(256)
        .and_then(|numbers| i64::try_from(numbers).ok());
    let numbers = file.count("centroids", numbers.unwrap_or(-1), 4)?;
    Ok((dim, parts, width, last_width, file.floats(numbers)?))
}

/// Whether the parts fit together.
fn check(
    arguments: &Arguments,
    dictionary: &Dictionary,
    input: &Matrix,
    output: &Matrix,
) -> Result<(), ModelError> {
    let dim = usize::try_from(arguments.dim).unwrap_or(0);
    if input.columns() != dim || output.columns() != dim {
        return Err(damaged("its matrices are not of its dimension".to_owned()));
    }
    // The tree's inner nodes are one fewer than its labels; fastText keeps a row for each label.
    if output.rows() < dictionary.labels() {
        return Err(damaged(
            "its output has fewer rows than there are labels".to_owned(),
        ));
    }
    let buckets = match &dictionary.kept {
        None if arguments.maxn > 0 || arguments.word_ngrams > 1 => {
            usize::try_from(arguments.bucket).unwrap_or(0)
        }
        None => 0,
        Some(kept) => kept
            .iter()
            .map(|kept| kept.1 as usize + 1)
            .max()
            .unwrap_or(0),
    };
    let needed = dictionary.words().checked_add(buckets);
    if needed.is_none_or(|needed| needed > input.rows()) {
        return Err(damaged(
            "its input has fewer rows than it has words and buckets".to_owned(),
        ));
    }
    Ok(())
}
