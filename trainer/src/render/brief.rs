//! Runs that are trained one after the other, briefly: which, how far it is, what is wrong. All of it is talk.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use andromeda_trainer::progress::{Event, Progress};

use super::{BETWEEN_LINES, talk};

/// Time between what a terminal is shown.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Tells how far a run is.
pub(crate) struct Brief {
    name: String,
    shown: Option<Instant>,
    on_terminal: bool,
}

impl Brief {
    /// Of the run called `name`; says that it begins, and `what` it is.
    pub(crate) fn begin(name: &str, what: &str) -> Self {
        talk(&format!("{name}: {what}"));
        Self {
            name: name.to_owned(),
            shown: None,
            on_terminal: stderr().is_terminal(),
        }
    }

    /// Says `text`, which the next one overwrites on a terminal.
    fn show(&mut self, text: &str, last: bool) {
        let between = if self.on_terminal {
            BETWEEN_LOOKS
        } else {
            BETWEEN_LINES
        };
        if !last && self.shown.is_some_and(|shown| shown.elapsed() < between) {
            return;
        }
        self.shown = Some(Instant::now());
        if self.on_terminal {
            let end = if last { "\n" } else { "" };
            // Nothing can be done if nobody listens any more.
            let _ = write!(stderr(), "\r{}: {text}   {end}", self.name);
        } else {
            talk(&format!("{}: {text}", self.name));
        }
    }
}

impl Progress for Brief {
    fn report(&mut self, event: &Event<'_>) {
        match event {
            Event::Warned { message } => talk(&format!("{}: warning: {message}", self.name)),
            Event::Resumed { step, .. } => {
                talk(&format!("{}: going on from step {step}", self.name));
            }
            Event::Stepped { metrics, steps } => {
                let text = format!(
                    "step {}/{steps}  loss {:.4}  {} tokens/s",
                    metrics.step,
                    metrics.loss,
                    super::counted(metrics.tokens_per_second)
                );
                self.show(&text, metrics.step == *steps);
            }
            _ => {}
        }
    }
}

/// Says how much of a text is read, where somebody watches.
pub(crate) fn reading(name: &str, done: u64, of: u64) {
    let mut stderr = stderr().lock();
    if stderr.is_terminal() {
        let end = if done == of { "\n" } else { "" };
        let _ = write!(stderr, "\r{name}: {done} of {of} sequences read{end}");
    }
}
