//! What a model can do: tasks with known answers, and the metrics they are reported in.
//!
//! A [`task::Task`] makes [`task::Item`]s of the rows of an evaluation set: what is asked, and what would be right. Whatever answers
//! ([`responses`]: a table of any model's answers; a model of a run, [`respond`], through [`evaluate::evaluate`]), [`score::score`] makes a [`score::TaskScore`] of it.
//! Of several completions a run that judges steps may choose one ([`best_of`]).
//! Where answers are programs, [`execute`] runs them, if that is asked for.
//! Two models are held against each other by [`paired`] differences.

pub mod answers;
pub mod best_of;
pub mod contamination;
pub mod evaluate;
pub mod execute;
pub mod kept;
pub mod metrics;
pub mod paired;
pub mod respond;
pub mod responses;
pub mod score;
pub mod task;
