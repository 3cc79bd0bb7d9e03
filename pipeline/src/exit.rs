//! Exit codes, and which error ends with which.

use crate::execute::BuildError;
use crate::execute::filter::FilterFilesError;
use crate::execute::sets::SetsError;
use crate::export::ExportError;
use crate::import::ImportError;
use crate::plan::PlanError;
use crate::source::SourceError;

/// Done, or nothing to do.
pub const OK: u8 = 0;
/// The command line, a manifest or a recipe is wrong.
pub const USAGE: u8 = 2;
/// The same command may succeed later: network, disk, memory.
pub const RETRIABLE: u8 = 10;
/// It will not succeed without a change: bad data, nothing kept.
pub const PERMANENT: u8 = 20;
/// Bytes are not what they should be.
pub const INTEGRITY: u8 = 30;
/// Another run owns the folder.
pub const BUSY: u8 = 40;
/// Interrupted from the keyboard; 143 when asked to terminate.
pub const INTERRUPTED: u8 = 130;

/// What ended a command, and what caused that; a cause that an error tells in its own words is not said twice.
pub fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// The exit code of whatever ended a command.
pub fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(Interrupted(code)) = cause.downcast_ref() {
            return *code;
        }
        if let Some(error) = cause.downcast_ref::<SetsError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<BuildError>() {
            return of_build(error);
        }
        if let Some(error) = cause.downcast_ref::<ExportError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<FilterFilesError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<ImportError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<crate::fetch::CopyError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<PlanError>() {
            return of_plan(error);
        }
        if let Some(error) = cause.downcast_ref::<crate::execute::store::StoreError>() {
            return of_store(error);
        }
        if let Some(error) = cause.downcast_ref::<andromeda_format::FormatError>() {
            return if error.is_io() { RETRIABLE } else { INTEGRITY };
        }
        if cause.downcast_ref::<crate::written::Problems>().is_some()
            || cause.downcast_ref::<Usage>().is_some()
        {
            return USAGE;
        }
        if let Some(error) = cause.downcast_ref::<crate::fetch::FetchError>() {
            return if error.is_written() {
                USAGE
            } else {
                of_fetch(error)
            };
        }
        if cause.downcast_ref::<Mismatch>().is_some() {
            return INTEGRITY;
        }
        if cause.downcast_ref::<std::io::Error>().is_some() {
            return RETRIABLE;
        }
    }
    PERMANENT
}

/// A signal asked the command to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; run the same command again to go on")]
pub struct Interrupted(pub u8);

/// Something on the command line that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Two things that should belong together do not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub String);

fn of_plan(error: &PlanError) -> u8 {
    match error {
        PlanError::Written(_)
        | PlanError::Source(
            SourceError::Written(_) | SourceError::Unmatched { .. } | SourceError::NoFiles { .. },
        ) => USAGE,
        PlanError::Source(SourceError::Fetch { error, .. }) | PlanError::HubFile { error, .. } => {
            of_fetch(error)
        }
        PlanError::Unavailable { .. } => PERMANENT,
        PlanError::Source(SourceError::Io { .. })
        | PlanError::Lock { .. }
        | PlanError::DoesNotFit { .. } => RETRIABLE,
    }
}

pub(crate) fn of_fetch(error: &crate::fetch::FetchError) -> u8 {
    if error.is_retriable() {
        RETRIABLE
    } else if error.is_integrity() {
        INTEGRITY
    } else {
        PERMANENT
    }
}

fn of_store(error: &crate::execute::store::StoreError) -> u8 {
    use crate::execute::store::StoreError;
    match error {
        StoreError::Busy { .. } => BUSY,
        StoreError::Io(_) => RETRIABLE,
        StoreError::Damaged { .. } | StoreError::NotDeterministic { .. } => INTEGRITY,
    }
}

pub(crate) fn of_build(error: &BuildError) -> u8 {
    match error {
        BuildError::Store(error) => of_store(error),
        BuildError::Fetch { error, .. } => of_fetch(error),
        BuildError::Format(error) => {
            if error.is_io() {
                RETRIABLE
            } else {
                INTEGRITY
            }
        }
        BuildError::Finish(error) => error.exit_code(),
        BuildError::Interrupted => INTERRUPTED,
        BuildError::Threads(_) => RETRIABLE,
        BuildError::Tokenize(_) | BuildError::Rows(_) => USAGE,
        BuildError::BadFiles(faults) if faults.iter().any(|fault| fault.passing) => RETRIABLE,
        BuildError::BadFiles(_) | BuildError::Empty(_) => PERMANENT,
        BuildError::InTheWay { .. } => INTEGRITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let gone = std::io::Error::other("the disk is gone");
        let within = anyhow::Error::new(gone).context("a.jsonl: the disk is gone");
        assert_eq!(told(&within), "a.jsonl: the disk is gone");
        let behind = anyhow::anyhow!("no such row").context("b.jsonl");
        assert_eq!(told(&behind), "b.jsonl: no such row");
    }
}
