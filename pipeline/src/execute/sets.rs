//! Evaluation sets on this machine, as JSON lines: below `out/owner/name` a file of the same path for each file of the set, ending
//! in `.jsonl`, and beside them [`RECORD`], which says what they are of. A set's folder is whole or absent; one that is there is
//! checked and kept, so that another set can be added to the others at no cost.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::BuildError;
use super::extract::Places;
use super::fetch::{self, Kept};
use crate::digest::Digest;
use crate::plan::{EvaluationSet, PlannedDataset, rows_path};
use crate::progress::Progress;
use crate::publish::{HashedFile, NewFolder, PublishError};
use crate::read::{LinesError, ReadOptions, write_lines};

/// Name of the file in a set's folder that says what its rows are of.
pub const RECORD: &str = "andromeda-rows.json";

/// Where sets go, and what they come through.
#[derive(Debug, Clone, Copy)]
pub struct SetsPlace<'a> {
    /// Folder of all sets.
    pub out: &'a Path,
    /// Folder of downloads.
    pub work: &'a Path,
    /// The lock file, for hashes that are only known once their files came.
    pub lock: &'a Path,
}

/// What a set's folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRecord {
    /// The dataset's name.
    pub set: String,
    /// The place of its files, for people.
    pub source: String,
    /// What it was pinned to.
    pub revision: String,
    /// Where it can be read about.
    pub homepage: Option<String>,
    /// Its licence.
    pub licence: String,
    /// What follows from it.
    pub licence_note: Option<String>,
    /// Hash of all that could change a byte of the rows.
    pub key: String,
    /// In the order of their paths.
    pub files: Vec<RowsFile>,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsFile {
    /// Its path in the set's folder.
    pub path: String,
    /// The path in the source that its rows are of.
    pub from: String,
    /// How many there are.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, in hexadecimal digits.
    pub sha256: String,
}

impl SetRecord {
    /// Rows of all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// A set that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetThere {
    /// The dataset's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What became of it.
    pub state: SetState,
}

/// What became of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetState {
    /// It was written.
    Written(SetRecord),
    /// It was there, and every byte of it is what was written.
    Kept(SetRecord),
    /// Its folder was there without [`RECORD`]: somebody else filled it, and it was left as it is.
    Foreign,
}

/// Why sets are not there.
#[derive(Debug, thiserror::Error)]
pub enum SetsError {
    /// A download, or somebody asked to stop.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Folders that should hold sets hold something else: all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    InTheWay(Vec<InTheWay>),
    /// A file's rows.
    #[error("evaluation set {set}: {path}: {error}")]
    Rows {
        /// The set.
        set: String,
        /// The file's path in the source.
        path: String,
        /// What happened.
        error: LinesError,
    },
    /// A set's folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A folder that holds something else than the set that belongs there.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}\n  hint: move it away, or delete it, and run again", folder.display())]
pub struct InTheWay {
    /// The folder.
    pub folder: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Whether bytes are not what they were when they were written.
    pub damaged: bool,
}

impl From<io::Error> for SetsError {
    fn from(error: io::Error) -> Self {
        Self::Publish(error.into())
    }
}

impl SetsError {
    /// The exit code of a command that this ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Build(error) => exit::of_build(error),
            Self::InTheWay(folders) if folders.iter().any(|folder| folder.damaged) => {
                exit::INTEGRITY
            }
            Self::Rows {
                error: LinesError::Write(_),
                ..
            }
            | Self::Publish(PublishError::Io(_)) => exit::RETRIABLE,
            Self::Publish(PublishError::Busy(_)) => exit::BUSY,
            Self::InTheWay(_) | Self::Rows { .. } | Self::Publish(_) => exit::PERMANENT,
        }
    }
}

/// Writes the sets that are not there, downloading their files or finding them in their caches, and checks those that are. `told` is
/// told of each as it is done, in the order of `sets`. `stop` asks to end soon; sets that are done stay.
///
/// # Errors
/// As [`SetsError`] says. All folders that hold something else are told before anything is downloaded; a set that fails leaves nothing.
pub fn write_sets(
    sets: &[EvaluationSet],
    place: SetsPlace<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
    told: &mut dyn FnMut(&SetThere),
) -> Result<(), SetsError> {
    let (mut there, mut in_the_way) = (Vec::new(), Vec::new());
    for set in sets {
        let folder = place.out.join(&set.folder);
        match look(set, &folder)? {
            Ok(state) => there.push((set, folder, state)),
            Err(other) => in_the_way.push(other),
        }
    }
    if !in_the_way.is_empty() {
        return Err(SetsError::InTheWay(in_the_way));
    }
    let missing: Vec<&PlannedDataset> = there
        .iter()
        .filter(|(.., state)| state.is_none())
        .flat_map(|(set, ..)| &set.parts)
        .collect();
    let kept = Kept {
        work: place.work,
        lock: place.lock,
    };
    let mut places = fetch::fetch(&missing, kept, progress, stop)?.into_iter();
    for (set, folder, state) in there {
        let state = match state {
            Some(state) => state,
            None => {
                let places: Places = places.by_ref().take(set.parts.len()).collect();
                SetState::Written(write(set, &folder, &places, stop)?)
            }
        };
        told(&SetThere {
            name: set.name.clone(),
            folder,
            state,
        });
    }
    Ok(())
}

/// What is in the place of a set: nothing, itself, or something else.
fn look(
    set: &EvaluationSet,
    folder: &Path,
) -> Result<Result<Option<SetState>, InTheWay>, SetsError> {
    match fs_err::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(Ok(None));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Err(error.into()),
    }
    let bytes = match fs_err::read(folder.join(RECORD)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Ok(Some(SetState::Foreign)));
        }
        Err(error) => return Err(error.into()),
    };
    let in_the_way = |why: String, damaged| {
        Ok(Err(InTheWay {
            folder: folder.to_path_buf(),
            why,
            damaged,
        }))
    };
    let record: SetRecord = match serde_json::from_slice(&bytes) {
        Ok(record) => record,
        Err(error) => {
            return in_the_way(format!("its {RECORD} cannot be read: {error}"), true);
        }
    };
    if record.key != set.key().hex() {
        let (source, revision) = set.pinned();
        let why = format!(
            "it has the rows of {} from {}@{}, and `{}` is now {source}@{revision}, or is read in another way",
            record.set, record.source, record.revision, set.name
        );
        return in_the_way(why, false);
    }
    for file in &record.files {
        let path = folder.join(&file.path);
        let found = match fs_err::metadata(&path) {
            Ok(found) if found.len() == file.bytes => Digest::of_file(&path)?.hex(),
            Ok(found) => format!("one of {} bytes", found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "none".to_owned(),
            Err(error) => return Err(error.into()),
        };
        if found != file.sha256 {
            let why = format!("its file {} is not the one that was written", file.path);
            return in_the_way(why, true);
        }
    }
    // What the manifest says of the licence now, whatever it said then.
    Ok(Ok(Some(SetState::Kept(SetRecord {
        licence: set.licence.clone(),
        licence_note: set.licence_note.clone(),
        ..record
    }))))
}

/// Writes a set's folder. `places` are where the files of its parts are.
fn write(
    set: &EvaluationSet,
    folder: &Path,
    places: &Places,
    stop: &AtomicBool,
) -> Result<SetRecord, SetsError> {
    let new = NewFolder::create(folder)?;
    let mut files = Vec::new();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for (part, places) in set.parts.iter().zip(places) {
        for (unit, places) in part.units.iter().zip(places) {
            let options = ReadOptions {
                format: Some(unit.format),
                compression: Some(unit.compression),
                ..part.read.clone()
            };
            for (file, place) in unit.files.iter().zip(places) {
                if stop.load(Ordering::Relaxed) {
                    return Err(BuildError::Interrupted.into());
                }
                let path = rows_path(&file.path);
                let target = new.path().join(&path);
                if let Some(above) = target.parent() {
                    fs_err::create_dir_all(above)?;
                    folders.insert(above.to_path_buf());
                }
                let mut to = HashedFile::create(&target)?;
                let rows =
                    write_lines(place, &options, &mut to).map_err(|error| SetsError::Rows {
                        set: set.name.clone(),
                        path: file.path.clone(),
                        error,
                    })?;
                let entry = to.finish(&path)?;
                files.push(RowsFile {
                    path,
                    from: file.path.clone(),
                    rows,
                    bytes: entry.bytes,
                    sha256: entry.sha256,
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let (source, revision) = set.pinned();
    let record = SetRecord {
        set: set.name.clone(),
        source: source.to_owned(),
        revision: revision.to_owned(),
        homepage: set.homepage.clone(),
        licence: set.licence.clone(),
        licence_note: set.licence_note.clone(),
        key: set.key().hex(),
        files,
    };
    let mut bytes = serde_json::to_vec_pretty(&record).map_err(io::Error::from)?;
    bytes.push(b'\n');
    let path = new.path().join(RECORD);
    let mut to = HashedFile::create(&path)?;
    io::Write::write_all(&mut to, &bytes)?;
    to.finish(RECORD)?;
    for folder in folders {
        fs_err::File::open(folder)?.sync_all()?;
    }
    new.publish()?;
    Ok(record)
}
