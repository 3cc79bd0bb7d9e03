//! What becomes of a step whose loss or gradient is no finite number, by `run.non-finite`.

use std::path::PathBuf;

use crate::checkpoint::{self, Rollback, State};
use crate::config::NonFinite;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Backend;
use crate::optimizer::Optimizer;
use crate::parallel::Team;
use crate::progress::{Event, Progress};
use crate::run::Run;

/// What is to be done with a step.
pub(super) enum Verdict {
    Apply,
    /// Leave it out; the text says which and why.
    Skip(String),
    /// Go back to the last checkpoint; the text says from where and why.
    RollBack(String),
}

/// Judges the step of `batch` by its loss and the norm of its gradient. What is left out is counted in `state`.
///
/// # Errors
/// The run is to stop here.
pub(super) fn judge(loss: f64, norm: f64, state: &mut State, batch: &Batch) -> Result<Verdict> {
    let (what, value) = if !loss.is_finite() {
        ("loss", loss)
    } else if !norm.is_finite() {
        ("the norm of the gradient", norm)
    } else {
        state.skipped_in_a_row = 0;
        return Ok(Verdict::Apply);
    };
    let (step, position, rows) = (state.step + 1, batch.position, batch.rows());
    let place = format!("{what} is {value} at step {step}, position {position} (rows {rows})");
    let hint = match state.config.run.non_finite {
        NonFinite::Skip => {
            let most = NonFinite::MOST_IN_A_ROW;
            if state.skipped_in_a_row + 1 < most {
                state.skipped_steps += 1;
                state.skipped_in_a_row += 1;
                return Ok(Verdict::Skip(format!(
                    "{place}: the step is not applied ({} in a row, the run stops at {most})",
                    state.skipped_in_a_row
                )));
            }
            "ten such steps in a row: the parameters are spoilt, start another run with a lower schedule.peak-learning-rate or optimizer.clip-norm"
        }
        NonFinite::Rollback => {
            let (done, most) = (state.rollbacks.len(), NonFinite::MOST_ROLLBACKS);
            if done < most {
                return Ok(Verdict::RollBack(format!(
                    "{place}: going back to the last checkpoint and on behind this batch ({} of at most {most} times)",
                    done + 1
                )));
            }
            "the run went back five times already: start another one with a lower schedule.peak-learning-rate or optimizer.clip-norm"
        }
        NonFinite::Stop => {
            "start another run with a lower schedule.peak-learning-rate or optimizer.clip-norm, or go on with --set run.non-finite=skip or =rollback"
        }
    };
    Err(Error::NonFinite {
        what,
        value,
        step,
        position,
        rows,
        hint,
    })
}

/// Goes back to the newest checkpoint, and on with the data behind `batch`: what was read between is left out, as PaLM's authors did
/// at spikes of the loss (Chowdhery et al., 2022, section 5.1). The checkpoint on disk stays as it is, so a run that is killed
/// after this comes by the same steps to the same place and does the same.
///
/// # Errors
/// There is no valid checkpoint, or it cannot be read.
pub(super) fn roll_back<B: Backend>(
    run: &Run,
    state: &mut State,
    batch: &Batch,
    (model, optimizer): (&mut Model<B>, &mut Optimizer<B>),
    team: &Team<'_>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let (mut path, mut found) = (PathBuf::new(), None);
    if team.is_first() {
        let newest = checkpoint::newest_valid(run.path(), |_, problem| {
            let message = format!("{problem}; going back to the one before");
            progress.report(&Event::Warned { message: &message });
        })?;
        let (newest, state) = newest.ok_or_else(|| Error::Integrity {
            path: run.path().to_owned(),
            problem: "no checkpoint is valid, so there is nothing to go back to".to_owned(),
        })?;
        (path, found) = (newest, Some(state));
    }
    let mut saved = team.tell(found)?;
    checkpoint::load(&path, &saved, model, optimizer, team)?;
    let left_out = Rollback {
        step: saved.step,
        failed_step: state.step + 1,
        position: saved.position,
        end: batch.end,
    };
    saved.rollbacks.clone_from(&state.rollbacks);
    saved.rollbacks.push(left_out);
    saved.position = batch.end;
    saved.config.clone_from(&state.config);
    saved.root.clone_from(&state.root);
    *state = saved;
    Ok(())
}
