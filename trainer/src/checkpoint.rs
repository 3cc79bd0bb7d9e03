//! A checkpoint is one folder, `step-00000100`, complete or absent: written under another name, synced, then renamed.
//! `state.json` carries the size and SHA-256 of the safetensors files and a digest of itself, and all of it is checked before any
//! number is used. Equal states have equal bytes: the files carry no metadata, whose order safetensors does not fix.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::{Model, ParameterShape};
use crate::ops::Backend;
use crate::optimizer::Optimizer;
use crate::origin::Origin;
use crate::parallel::Team;

/// 2: the axes of the model, the loss and the rule of the optimizer are in the configuration. 3: there may be an average of the
/// weights.
const FORMAT: u32 = 3;
const STATE: &str = "state.json";
pub(crate) const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
/// Only where the configuration has `optimizer.ema-decay`.
const AVERAGE: &str = "average.safetensors";
/// A state is a few kilobytes; anything larger is no state.
const LARGEST_STATE: u64 = 1 << 20;

/// Size and hash of a file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A stretch of data that a run read, went back over and left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Steps done in the checkpoint that it went back to.
    pub step: u64,
    /// The step that had no finite loss or gradient, counted from 1.
    pub failed_step: u64,
    /// Sequences consumed by that checkpoint: where what is left out begins.
    pub position: u64,
    /// Where it ends and the run went on.
    pub end: u64,
}

/// Everything of a run's state but the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this layout.
    pub format: u32,
    /// Steps done.
    pub step: u64,
    /// Sequences consumed: where the next batch begins.
    pub position: u64,
    /// Tokens read.
    pub tokens: u64,
    /// Tokens that carried loss.
    pub trained_tokens: u64,
    /// Steps that were not applied, since their loss or gradient was no finite number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_steps: u64,
    /// How many of them are the last ones, one after the other.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_in_a_row: u64,
    /// What was left out by going back to a checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
    /// Seed of the initial values and of sampling.
    pub seed: u64,
    /// Root hash of the build.
    pub root: String,
    /// Token that ends a document.
    pub end_of_text: u32,
    /// Where the first parameters came from, if they were not random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// The configuration.
    pub config: RunConfig,
    /// The other files.
    pub files: BTreeMap<String, FileEntry>,
    /// SHA-256 of this state with an empty digest.
    pub digest: String,
}

/// States without a skipped step are written as before there were any.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl State {
    /// The state before the first step.
    pub fn new(config: RunConfig, root: String, end_of_text: u32) -> Self {
        Self {
            format: FORMAT,
            step: 0,
            position: 0,
            tokens: 0,
            trained_tokens: 0,
            skipped_steps: 0,
            skipped_in_a_row: 0,
            rollbacks: Vec::new(),
            seed: config.run.seed,
            root,
            end_of_text,
            from: None,
            config,
            files: BTreeMap::new(),
            digest: String::new(),
        }
    }

    /// Updates that the moments of the optimizer have seen: those of this run, and before it where they were carried over.
    pub fn updates(&self) -> u64 {
        let before = self.from.as_ref().and_then(|from| from.updates);
        self.step.saturating_sub(self.skipped_steps) + before.unwrap_or(0)
    }

    /// Root hashes of the builds that the parameters were trained on, the first ones first and the run's own last.
    pub fn roots(&self) -> Vec<&str> {
        let mut roots: Vec<&str> = Vec::new();
        if let Some(from) = &self.from {
            roots.extend(from.before.iter().map(String::as_str));
            roots.push(&from.root);
        }
        roots.push(&self.root);
        roots
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Usage(format!("the state cannot be written: {error}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn own_digest(&self) -> Result<String> {
        let blank = Self {
            digest: String::new(),
            ..self.clone()
        };
        Ok(hex(&Sha256::digest(blank.to_bytes()?)))
    }
}

/// The digest of a state from the bytes of its file, in which `digest` is taken out. Of the bytes and not of what was read from
/// them, so that a run whose configuration has fewer keys than there are by now is not taken for damaged.
fn digest_of_written(bytes: &[u8], digest: &str) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (before, after) = text.rsplit_once(&format!("\"digest\": \"{digest}\""))?;
    let blank = format!("{before}\"digest\": \"\"{after}");
    Some(hex(&Sha256::digest(blank)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Folder of the checkpoint after `step` steps.
pub fn folder(run: &Path, step: u64) -> PathBuf {
    run.join(format!("step-{step:08}"))
}

/// Steps of all checkpoints of a run, the newest first.
pub fn steps(run: &Path) -> Result<Vec<u64>> {
    let mut steps: Vec<u64> = Vec::new();
    for entry in fs_err::read_dir(run).map_err(Error::io("listing the run"))? {
        let entry = entry.map_err(Error::io("listing the run"))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
        // Eight digits at least, nothing else: a folder set aside is not a checkpoint.
        if let Some(step) = step
            .filter(|step| step.len() >= 8)
            .and_then(|step| step.parse().ok())
        {
            steps.push(step);
        }
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

/// Removes what interrupted saves left behind. Only for the holder of the run's lock.
pub fn remove_partial(run: &Path) -> Result<()> {
    for entry in fs_err::read_dir(run).map_err(Error::io("listing the run"))? {
        let path = entry.map_err(Error::io("listing the run"))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(".step-") && name.ends_with(".partial") {
            fs_err::remove_dir_all(&path)
                .map_err(Error::io("removing an unfinished checkpoint"))?;
        }
    }
    Ok(())
}

/// Saves a checkpoint and returns its folder. `state` receives the entries of the files and the digest. The first worker of `team`
/// writes what all have, a parameter at a time.
///
/// # Errors
/// The disk failed, or another worker; nothing is published then.
pub fn save<B: Backend>(
    run: &Path,
    state: &mut State,
    model: &Model<B>,
    optimizer: &Optimizer<B>,
    team: &Team<'_>,
) -> Result<PathBuf> {
    if !team.is_first() {
        team.answer(&mut |number, index| {
            let store = optimizer.store(number);
            let store = store
                .ok_or_else(|| Error::Usage(format!("this optimizer has no store {number}")))?;
            model.backend.read(store, index)
        })?;
        return Ok(folder(run, state.step));
    }
    let published = folder(run, state.step);
    let partial = run.join(format!(".step-{:08}.partial", state.step));
    if partial.exists() {
        fs_err::remove_dir_all(&partial).map_err(Error::io("removing an unfinished checkpoint"))?;
    }
    fs_err::create_dir(&partial).map_err(Error::io("saving a checkpoint"))?;
    // A device that fails while a tensor is written cannot say so to the writer; it is remembered here.
    let failed = RefCell::new(None);
    let of = |store, number, index: usize| Floats {
        backend: &model.backend,
        store,
        elsewhere: match number {
            Some(number) if team.owner(index) != team.rank() => Some((team, number)),
            _ => None,
        },
        index,
        shape: &model.shapes[index].shape,
        failed: &failed,
    };
    let mut parameters = Vec::new();
    let (mut moments, mut averages) = (Vec::new(), Vec::new());
    for (index, shape) in model.shapes.iter().enumerate() {
        parameters.push((shape.name.clone(), of(&model.parameters, None, index)));
        if let Some(average) = optimizer.average() {
            let number = Some(optimizer.average_number());
            averages.push((shape.name.clone(), of(average, number, index)));
        }
        for (number, (name, store)) in optimizer.moments(shape.role).enumerate() {
            let moment = of(store, Some(number), index);
            moments.push((format!("{}.{name}", shape.name), moment));
        }
    }
    state.files.clear();
    let mut files = vec![(MODEL, parameters), (OPTIMIZER, moments)];
    files.extend(optimizer.average().map(|_| (AVERAGE, averages)));
    for (name, tensors) in files {
        let path = partial.join(name);
        safetensors::serialize_to_file(tensors, None, &path).map_err(|error| Error::Io {
            what: format!("writing {}", path.display()),
            source: std::io::Error::other(error),
        })?;
        if let Some(error) = failed.borrow_mut().take() {
            return Err(error);
        }
        // Read back from the file, so that the hash is of what was stored.
        state.files.insert(name.to_owned(), entry_of(&path)?);
    }
    team.asked()?;
    state.digest = state.own_digest()?;
    fs_err::write(partial.join(STATE), state.to_bytes()?)
        .map_err(Error::io("saving a checkpoint"))?;
    for name in state.files.keys().map(String::as_str).chain([STATE]) {
        sync(&partial.join(name))?;
    }
    sync(&partial)?;
    if published.exists() {
        set_aside(run, state.step)?;
    }
    fs_err::rename(&partial, &published).map_err(Error::io("publishing a checkpoint"))?;
    sync(run)?;
    Ok(published)
}

/// Deletes all but the newest `keep` valid checkpoints. Folders that do not look valid are neither counted nor deleted.
pub fn retain(run: &Path, keep: usize) -> Result<()> {
    let mut valid = 0;
    for step in steps(run)? {
        let path = folder(run, step);
        // Sizes only: the hashes of the newest were taken from its files a moment ago, those of older ones before that.
        let looks_valid = read_state(&path).is_ok_and(|state| {
            state.files.iter().all(|(name, entry)| {
                fs_err::metadata(path.join(name))
                    .is_ok_and(|metadata| metadata.len() == entry.bytes)
            })
        });
        if !looks_valid {
            continue;
        }
        valid += 1;
        if valid > keep.max(1) {
            // Under the name of an unfinished one first, so that a crash in between leaves no half checkpoint.
            let doomed = run.join(format!(".step-{step:08}.partial"));
            fs_err::rename(&path, &doomed).map_err(Error::io("removing an old checkpoint"))?;
            fs_err::remove_dir_all(&doomed).map_err(Error::io("removing an old checkpoint"))?;
        }
    }
    Ok(())
}

/// Renames a checkpoint that cannot be used, so that its step can be saved again. Nothing set aside before is removed.
pub fn set_aside(run: &Path, step: u64) -> Result<PathBuf> {
    let names = (1u32..).map(|again| match again {
        1 => format!("corrupt-{step:08}"),
        _ => format!("corrupt-{step:08}-{again}"),
    });
    let aside = names
        .map(|name| run.join(name))
        .find(|path| !path.exists())
        .expect("a folder has fewer than 2^32 entries");
    fs_err::rename(folder(run, step), &aside).map_err(Error::io("setting a checkpoint aside"))?;
    Ok(aside)
}

/// The newest checkpoint whose files are all as they were written. `invalid` is told of each newer one that is not.
///
/// # Errors
/// The disk failed, or a newer program wrote the newest: that is no reason to go on from an older one.
pub fn newest_valid(
    run: &Path,
    mut invalid: impl FnMut(u64, &Error),
) -> Result<Option<(PathBuf, State)>> {
    for step in steps(run)? {
        let path = folder(run, step);
        match verify(&path) {
            Ok(state) => return Ok(Some((path, state))),
            Err(error) if error.is_damage() => invalid(step, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Checks every byte of a checkpoint.
pub fn verify(checkpoint: &Path) -> Result<State> {
    let state = read_state(checkpoint)?;
    for (name, entry) in &state.files {
        let path = checkpoint.join(name);
        if entry_of(&path)? != *entry {
            return Err(integrity(&path, "the bytes are not those that were saved"));
        }
    }
    Ok(state)
}

/// Reads and checks `state.json`.
pub fn read_state(checkpoint: &Path) -> Result<State> {
    let path = checkpoint.join(STATE);
    let length = fs_err::metadata(&path)
        .map_err(Error::io("reading a checkpoint"))?
        .len();
    if length > LARGEST_STATE {
        return Err(integrity(&path, "too large for a state"));
    }
    let bytes = fs_err::read(&path).map_err(Error::io("reading a checkpoint"))?;
    // The format first: what a newer one holds is no damage.
    let written: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| integrity(&path, &error.to_string()))?;
    let format = written["format"].as_u64();
    if let Some(format) = format.filter(|format| *format > u64::from(FORMAT)) {
        return Err(Error::Newer { path, format });
    }
    let state: State =
        serde_json::from_value(written).map_err(|error| integrity(&path, &error.to_string()))?;
    if digest_of_written(&bytes, &state.digest).as_ref() != Some(&state.digest) {
        return Err(integrity(&path, "its digest does not match its contents"));
    }
    let average = state.config.optimizer.ema_decay.map(|_| AVERAGE);
    let expected = average.into_iter().chain([MODEL, OPTIMIZER]);
    if !state.files.keys().map(String::as_str).eq(expected) {
        return Err(integrity(
            &path,
            "it does not list model and optimizer, or the average that its configuration asks for",
        ));
    }
    Ok(state)
}

/// Loads the parameters of a checkpoint.
///
/// # Errors
/// The file is not what was saved, or of another model.
pub fn load_model<B: Backend>(
    checkpoint: &Path,
    state: &State,
    model: &mut Model<B>,
) -> Result<()> {
    let Model {
        shapes,
        parameters,
        backend,
        ..
    } = model;
    load_parameters(checkpoint, MODEL, state, (backend, shapes, parameters))
}

/// Loads the average of the weights into `model`.
///
/// # Errors
/// The run keeps none, or the file is not what was saved.
pub fn load_average<B: Backend>(
    checkpoint: &Path,
    state: &State,
    model: &mut Model<B>,
) -> Result<()> {
    has_average(checkpoint, state)?;
    let Model {
        shapes,
        parameters,
        backend,
        ..
    } = model;
    load_parameters(checkpoint, AVERAGE, state, (backend, shapes, parameters))
}

fn has_average(checkpoint: &Path, state: &State) -> Result<()> {
    if !state.files.contains_key(AVERAGE) {
        return Err(Error::Usage(format!(
            "{} has no average of the weights\nhint: leave out --ema, or start another run with optimizer.ema-decay, such as 0.999",
            checkpoint.display()
        )));
    }
    Ok(())
}

/// Loads a file that has a tensor for each parameter.
fn load_parameters<B: Backend>(
    checkpoint: &Path,
    name: &str,
    state: &State,
    (backend, shapes, store): (&B, &[ParameterShape], &mut B::Store),
) -> Result<()> {
    let (path, bytes) = read_verified(checkpoint, name, state)?;
    let tensors = parse(&path, &bytes, shapes.len())?;
    for (index, of) in shapes.iter().enumerate() {
        let numbers = read_floats(&path, &tensors, &of.name, &of.shape)?;
        backend.write(store, index, &numbers)?;
    }
    Ok(())
}

/// The parameters of a checkpoint as they lie in its file, on no device.
#[derive(Debug)]
pub struct Weights {
    bytes: Vec<u8>,
    /// Of each parameter, in the order of the model's shapes.
    places: Vec<Range<usize>>,
}

impl Weights {
    /// Reads them, or with `average` their average, every byte checked.
    ///
    /// # Errors
    /// The run keeps no average, or the file is not what was saved, or of another model.
    pub fn read(checkpoint: &Path, state: &State, average: bool) -> Result<Self> {
        let shapes = state.config.model.shapes();
        let name = if average {
            has_average(checkpoint, state)?;
            AVERAGE
        } else {
            MODEL
        };
        let (path, bytes) = read_verified(checkpoint, name, state)?;
        let tensors = parse(&path, &bytes, shapes.len())?;
        let start = bytes.as_ptr().addr();
        let mut places = Vec::with_capacity(shapes.len());
        for of in &shapes {
            let data = view_of(&path, &tensors, &of.name, &of.shape)?.data();
            let first = data.as_ptr().addr() - start;
            places.push(first..first + data.len());
        }
        Ok(Self { bytes, places })
    }

    /// A parameter's numbers, four bytes each, the least significant first.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.bytes[self.places[index].clone()]
    }
}

/// Loads the parameters and the state of the optimizer: by the first worker of `team`, who tells the others, to whom `checkpoint` is
/// nothing.
///
/// # Errors
/// A file is not what was saved, or of another model or optimizer, or a worker is lost.
pub fn load<B: Backend>(
    checkpoint: &Path,
    state: &State,
    model: &mut Model<B>,
    optimizer: &mut Optimizer<B>,
    team: &Team<'_>,
) -> Result<()> {
    if team.is_first() {
        load_model(checkpoint, state, model)?;
    }
    load_optimizer(checkpoint, state, model, optimizer, team)?;
    team.spread_first(model)
}

/// Loads the moments of a checkpoint, and the average of the weights where one is kept: those of other workers of `team` for them. The
/// first worker reads; others, to whom `checkpoint` is nothing, take what is theirs.
///
/// # Errors
/// The file is not what was saved, or of another model or optimizer, or a worker is lost.
pub fn load_optimizer<B: Backend>(
    checkpoint: &Path,
    state: &State,
    model: &Model<B>,
    optimizer: &mut Optimizer<B>,
    team: &Team<'_>,
) -> Result<()> {
    optimizer.set_updates(state.updates());
    if !team.is_first() {
        for (index, of) in model.shapes.iter().enumerate() {
            if team.owner(index) != team.rank() {
                continue;
            }
            for (_, store) in optimizer.moments_mut(of.role) {
                model.backend.write(store, index, &team.take(of.count())?)?;
            }
        }
        if let Some(average) = optimizer.average_mut() {
            for (index, of) in model.shapes.iter().enumerate() {
                if team.owner(index) == team.rank() {
                    let numbers = team.take(of.count())?;
                    model.backend.write(average, index, &numbers)?;
                }
            }
        }
        return Ok(());
    }
    let give = |store: &mut B::Store, index: usize, numbers: &[f32]| match team.owner(index) {
        0 => model.backend.write(store, index, numbers),
        owner => team.give(owner, numbers),
    };
    let (path, bytes) = read_verified(checkpoint, OPTIMIZER, state)?;
    let count = model
        .shapes
        .iter()
        .map(|of| optimizer.moments(of.role).count());
    let tensors = parse(&path, &bytes, count.sum())?;
    for (index, of) in model.shapes.iter().enumerate() {
        for (name, store) in optimizer.moments_mut(of.role) {
            let name = format!("{}.{name}", of.name);
            let numbers = read_floats(&path, &tensors, &name, &of.shape)?;
            give(store, index, &numbers)?;
        }
    }
    if let Some(average) = optimizer.average_mut() {
        let (path, bytes) = read_verified(checkpoint, AVERAGE, state)?;
        let tensors = parse(&path, &bytes, model.shapes.len())?;
        for (index, of) in model.shapes.iter().enumerate() {
            let numbers = read_floats(&path, &tensors, &of.name, &of.shape)?;
            give(average, index, &numbers)?;
        }
    }
    Ok(())
}

fn read_verified(checkpoint: &Path, name: &str, state: &State) -> Result<(PathBuf, Vec<u8>)> {
    let path = checkpoint.join(name);
    let entry = state
        .files
        .get(name)
        .ok_or_else(|| integrity(&path, "the state does not list it"))?;
    let length = fs_err::metadata(&path)
        .map_err(Error::io("reading a checkpoint"))?
        .len();
    if length != entry.bytes {
        return Err(integrity(&path, "it has not the size that was saved"));
    }
    let bytes = fs_err::read(&path).map_err(Error::io("reading a checkpoint"))?;
    if hex(&Sha256::digest(&bytes)) != entry.sha256 {
        return Err(integrity(&path, "the bytes are not those that were saved"));
    }
    Ok((path, bytes))
}

fn parse<'a>(path: &Path, bytes: &'a [u8], count: usize) -> Result<SafeTensors<'a>> {
    let tensors =
        SafeTensors::deserialize(bytes).map_err(|error| integrity(path, &error.to_string()))?;
    if tensors.len() != count {
        return Err(integrity(
            path,
            &format!(
                "it holds {} tensors, the model needs {count}",
                tensors.len()
            ),
        ));
    }
    Ok(tensors)
}

fn read_floats(
    path: &Path,
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>> {
    let (words, _) = view_of(path, tensors, name, shape)?.data().as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

fn view_of<'a>(
    path: &Path,
    tensors: &SafeTensors<'a>,
    name: &str,
    shape: &[usize],
) -> Result<TensorView<'a>> {
    let view: TensorView<'a> = tensors
        .tensor(name)
        .map_err(|error| integrity(path, &format!("tensor {name}: {error}")))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let problem = format!(
            "tensor {name} is {:?} {:?}, the model needs F32 {shape:?}",
            view.dtype(),
            view.shape()
        );
        return Err(integrity(path, &problem));
    }
    Ok(view)
}

/// Size and hash of a file.
pub(crate) fn entry_of(path: &Path) -> Result<FileEntry> {
    let mut file = fs_err::File::open(path).map_err(Error::io("reading a checkpoint"))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(Error::io("reading a checkpoint"))?;
        if count == 0 {
            return Ok(FileEntry {
                bytes,
                sha256: hex(&hash.finalize()),
            });
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
}

pub(crate) fn sync(path: &Path) -> Result<()> {
    let synced = fs_err::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(Error::io("syncing a checkpoint"))
}

fn integrity(path: &Path, problem: &str) -> Error {
    Error::Integrity {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

/// A parameter of a store as safetensors wants to see it, fetched when it is written: a copy of all of them would not fit beside
/// a large model.
struct Floats<'a, B: Backend> {
    backend: &'a B,
    store: &'a B::Store,
    /// Which worker is asked for it, and for which of its moments; none if it is here.
    elsewhere: Option<(&'a Team<'a>, usize)>,
    index: usize,
    shape: &'a [usize],
    failed: &'a RefCell<Option<Error>>,
}

impl<B: Backend> View for Floats<'_, B> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let numbers = match self.elsewhere {
            Some((team, number)) => team.ask(number, self.index),
            None => self.backend.read(self.store, self.index),
        };
        let numbers = numbers.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            vec![0.0; self.shape.iter().product()]
        });
        let mut bytes = Vec::with_capacity(self.data_len());
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WrittenConfig;
    use crate::ops::Fused;

    struct Trained {
        run: tempfile::TempDir,
        state: State,
        model: Model<Fused<f32>>,
        optimizer: Optimizer<Fused<f32>>,
    }

    fn trained(seed: u64) -> Trained {
        trained_with(seed, "")
    }

    fn trained_with(seed: u64, more: &str) -> Trained {
        let text = format!("[model]\nwidth = 8\nlayers = 1\nheads = 2\nhead-size = 4\n{more}");
        let written: WrittenConfig = toml::from_str(&text).unwrap();
        let config = written.resolve(16, Path::new("test")).unwrap();
        let mut model = Model::new(config.model, seed, Fused::default()).unwrap();
        let mut optimizer = Optimizer::new(config.optimizer.clone(), &model).unwrap();
        let mut gradients = model.store().unwrap();
        for index in 0..model.shapes.len() {
            let made_up = vec![index as f32 + seed as f32; model.shapes[index].count()];
            model
                .backend
                .write(&mut gradients, index, &made_up)
                .unwrap();
        }
        optimizer.step(&mut model, &gradients, 0.1, 1.0).unwrap();
        let state = State {
            step: 1,
            ..State::new(config, "root".to_owned(), 0)
        };
        Trained {
            run: tempfile::tempdir().unwrap(),
            state,
            model,
            optimizer,
        }
    }

    fn save_at(trained: &mut Trained, step: u64) -> PathBuf {
        trained.state.step = step;
        save(
            trained.run.path(),
            &mut trained.state,
            &trained.model,
            &trained.optimizer,
            &Team::alone(&trained.model),
        )
        .unwrap()
    }

    fn bytes(folder: &Path) -> Vec<Vec<u8>> {
        [MODEL, OPTIMIZER, STATE]
            .iter()
            .map(|name| std::fs::read(folder.join(name)).unwrap())
            .collect()
    }

    #[test]
    fn a_state_with_fewer_keys_is_read_and_a_changed_one_is_not() {
        let mut from = trained(1);
        let saved = save_at(&mut from, 3);
        let path = saved.join(STATE);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
        // As it was written before runs had this key.
        let schedule = older["config"]["schedule"].as_object_mut().unwrap();
        schedule.remove("decay-steps").unwrap();
        older["digest"] = "".into();
        let blank = serde_json::to_string_pretty(&older).unwrap();
        let digest = hex(&Sha256::digest(&blank));
        let written = blank.replace("\"digest\": \"\"", &format!("\"digest\": \"{digest}\""));
        std::fs::write(&path, &written).unwrap();
        let read = verify(&saved).unwrap();
        assert_eq!((&read.config, read.step), (&from.state.config, 3));

        std::fs::write(&path, written.replace("\"step\": 3", "\"step\": 4")).unwrap();
        assert!(
            read_state(&saved)
                .unwrap_err()
                .to_string()
                .contains("digest")
        );
        std::fs::write(&path, text.replace("\"digest\": \"", "\"digest\": \"0")).unwrap();
        assert!(
            read_state(&saved)
                .unwrap_err()
                .to_string()
                .contains("digest")
        );
    }

    #[test]
    fn what_was_saved_is_loaded_bit_for_bit() {
        let mut from = trained(1);
        let saved = save_at(&mut from, 7);
        let mut into = trained(2);
        let state = verify(&saved).unwrap();
        assert_eq!(state, from.state);
        load_model(&saved, &state, &mut into.model).unwrap();
        let team = Team::alone(&into.model);
        load_optimizer(&saved, &state, &into.model, &mut into.optimizer, &team).unwrap();
        assert_eq!(into.optimizer.updates(), 7);
        into.state = state;
        assert_eq!(
            bytes(&save_at(&mut into, 7)),
            bytes(&saved),
            "equal states have equal bytes"
        );
    }

    #[test]
    fn the_average_and_the_moments_of_muon_are_saved_and_loaded() {
        let more = "[optimizer]\nkind = \"muon\"\nema-decay = 0.9";
        let mut from = trained_with(1, more);
        let saved = save_at(&mut from, 7);
        let names = |file: &str| -> Vec<String> {
            let bytes = std::fs::read(saved.join(file)).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            tensors.names().into_iter().map(str::to_owned).collect()
        };
        // Matrices have a momentum alone.
        let moments = names(OPTIMIZER);
        assert!(moments.contains(&"layers.0.query.weight.first".to_owned()));
        assert!(!moments.contains(&"layers.0.query.weight.second".to_owned()));
        assert!(moments.contains(&"norm.gain.second".to_owned()));
        assert_eq!(names(AVERAGE).len(), from.model.shapes.len());

        let mut into = trained_with(2, more);
        let state = verify(&saved).unwrap();
        load_model(&saved, &state, &mut into.model).unwrap();
        let team = Team::alone(&into.model);
        load_optimizer(&saved, &state, &into.model, &mut into.optimizer, &team).unwrap();
        into.state = state;
        let again = save_at(&mut into, 7);
        assert!(
            bytes(&again) == bytes(&saved),
            "equal states have equal bytes"
        );
        let average = |folder: &Path| std::fs::read(folder.join(AVERAGE)).unwrap();
        assert!(average(&again) == average(&saved));
        assert!(average(&saved) != std::fs::read(saved.join(MODEL)).unwrap());

        // In place of the weights.
        let mut weights = trained(2);
        load_average(&saved, &into.state, &mut weights.model).unwrap();
        for index in 0..from.model.shapes.len() {
            let average = from.optimizer.average().unwrap();
            assert_eq!(
                weights
                    .model
                    .backend
                    .read(&weights.model.parameters, index)
                    .unwrap(),
                from.model.backend.read(average, index).unwrap()
            );
        }
        let without = save_at(&mut weights, 1);
        let error = load_average(&without, &weights.state, &mut from.model).unwrap_err();
        assert!(
            error.to_string().contains("hint: leave out --ema"),
            "{error}"
        );
    }

    #[test]
    fn a_flipped_bit_in_any_file_is_found() {
        let mut from = trained(1);
        let saved = save_at(&mut from, 7);
        for name in [MODEL, OPTIMIZER, STATE] {
            let path = saved.join(name);
            let good = std::fs::read(&path).unwrap();
            for at in [0, good.len() / 2, good.len() - 3] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                std::fs::write(&path, &bad).unwrap();
                assert!(
                    matches!(verify(&saved), Err(Error::Integrity { .. })),
                    "{name} at {at}"
                );
            }
            std::fs::write(&path, &good[..good.len() - 2]).unwrap();
            assert!(verify(&saved).is_err(), "{name} truncated");
            std::fs::write(&path, &good).unwrap();
        }
        verify(&saved).unwrap();
    }

    #[test]
    fn a_corrupt_newest_falls_back_to_the_one_before() {
        let mut from = trained(1);
        save_at(&mut from, 1);
        let newest = save_at(&mut from, 2);
        std::fs::write(newest.join(MODEL), b"torn").unwrap();
        let mut told = Vec::new();
        let (path, state) = newest_valid(from.run.path(), |step, _| told.push(step))
            .unwrap()
            .unwrap();
        assert_eq!(
            (path, state.step, told),
            (folder(from.run.path(), 1), 1, vec![2])
        );
        set_aside(from.run.path(), 2).unwrap();
        assert_eq!(steps(from.run.path()).unwrap(), [1]);
    }

    #[test]
    fn a_failing_disk_or_a_newer_format_is_no_reason_to_fall_back() {
        let mut from = trained(1);
        save_at(&mut from, 1);
        let newest = save_at(&mut from, 2);
        let state = std::fs::read_to_string(newest.join(STATE)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&state).unwrap();
        value["format"] = 99.into();
        value["new"] = true.into();
        std::fs::write(newest.join(STATE), value.to_string()).unwrap();
        let error = newest_valid(from.run.path(), |_, _| panic!("told")).unwrap_err();
        assert!(matches!(error, Error::Newer { .. }), "{error}");
        std::fs::write(newest.join(STATE), state).unwrap();
        // A folder cannot be read as a file: the system's refusal, like a failing disk's.
        std::fs::remove_file(newest.join(MODEL)).unwrap();
        std::fs::create_dir(newest.join(MODEL)).unwrap();
        let error = newest_valid(from.run.path(), |_, _| panic!("told")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        std::fs::remove_dir(newest.join(MODEL)).unwrap();
        let (_, state) = newest_valid(from.run.path(), |_, _| ()).unwrap().unwrap();
        assert_eq!(state.step, 1);
        // What was set aside once stays when it happens again.
        let first = set_aside(from.run.path(), 2).unwrap();
        save_at(&mut from, 2);
        let second = set_aside(from.run.path(), 2).unwrap();
        assert!(first != second && first.exists() && second.exists());
    }

    #[test]
    fn retention_counts_valid_checkpoints_only() {
        let mut from = trained(1);
        for step in 1..=4 {
            save_at(&mut from, step);
        }
        std::fs::write(folder(from.run.path(), 4).join(MODEL), b"torn").unwrap();
        retain(from.run.path(), 1).unwrap();
        assert_eq!(steps(from.run.path()).unwrap(), [4, 3]);
        retain(from.run.path(), 0).unwrap();
        assert_eq!(
            steps(from.run.path()).unwrap(),
            [4, 3],
            "the last good one stays"
        );
    }

    #[test]
    fn unfinished_folders_are_no_checkpoints_and_are_removed() {
        let mut from = trained(1);
        save_at(&mut from, 1);
        let partial = from.run.path().join(".step-00000002.partial");
        std::fs::create_dir(&partial).unwrap();
        assert_eq!(steps(from.run.path()).unwrap(), [1]);
        remove_partial(from.run.path()).unwrap();
        assert!(!partial.exists());
    }

    #[test]
    fn a_checkpoint_of_another_model_is_refused() {
        let mut from = trained(1);
        let saved = save_at(&mut from, 1);
        let config = crate::model::ModelConfig {
            width: 16,
            ..from.state.config.model
        };
        let mut model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
        let error = load_model(&saved, &from.state, &mut model).unwrap_err();
        assert!(error.to_string().contains("embedding.weight"), "{error}");
    }
}
