//! Progress for people and for programs: bars on a terminal, plain lines elsewhere, JSON lines when asked.

use std::io::{IsTerminal, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::{Event, Progress, Stage};

/// Without a terminal, a line this often.
const QUIET: Duration = Duration::from_secs(10);

/// A bar a stage on stderr.
pub struct Screen {
    state: Mutex<State>,
}

struct State {
    bar: ProgressBar,
    terminal: bool,
    stage: Option<Stage>,
    total: u64,
    done: u64,
    reused: u64,
    begun: Instant,
    told: Instant,
}

impl Screen {
    /// A bar if stderr is a terminal and nobody asked for none, lines otherwise.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("HF_HUB_DISABLE_PROGRESS_BARS").is_none();
        let bar = ProgressBar::with_draw_target(
            None,
            if terminal {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let state = State {
            bar,
            terminal,
            stage: None,
            total: 0,
            done: 0,
            reused: 0,
            begun: Instant::now(),
            told: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.end();
        state.bar.finish_and_clear();
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Screen {
    fn event(&self, event: &Event) {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Stage { stage, total } => {
                state.end();
                state.begin(*stage, *total);
            }
            Event::Advanced { stage, by, reused } => {
                if state.stage == Some(*stage) {
                    state.done = (state.done + by).min(state.total.max(1));
                    state.reused += if *reused { *by } else { 0 };
                    state.bar.set_position(state.done);
                    if !state.terminal && state.told.elapsed() >= QUIET {
                        state.told = Instant::now();
                        state.line();
                    }
                }
            }
            Event::Fault {
                dataset,
                file,
                message,
            } => {
                let text = safe(&format!("warning: {dataset}/{}: {message}", file.display()));
                if state.terminal {
                    state.bar.println(text);
                } else {
                    tell(&text);
                }
            }
            Event::Finished { .. } => {}
        }
    }
}

impl State {
    fn begin(&mut self, stage: Stage, total: u64) {
        (self.stage, self.total, self.done, self.reused) = (Some(stage), total, 0, 0);
        (self.begun, self.told) = (Instant::now(), Instant::now());
        self.bar.reset();
        self.bar.set_length(total.max(1));
        let template = match stage {
            Stage::Fetch | Stage::Extract | Stage::Tokenize | Stage::Filter => {
                "{msg:9} {bar:30} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11}  eta {eta}"
            }
            Stage::Shards => "{msg:9} {bar:30} {human_pos:>13}/{human_len:13} tokens  eta {eta}",
            Stage::Resolve | Stage::Trim | Stage::Finish => "{msg:9} {spinner} {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are right");
        self.bar.set_style(style.progress_chars("=> "));
        self.bar.set_message(stage.name());
    }

    fn end(&mut self) {
        let Some(stage) = self.stage.take() else {
            return;
        };
        if self.done == 0 && self.total > 0 {
            return;
        }
        let reused = if self.reused == 0 {
            String::new()
        } else if self.reused >= self.done {
            ", all done before".to_owned()
        } else {
            format!(
                ", {:.0} % done before",
                100.0 * self.reused as f64 / self.done.max(1) as f64
            )
        };
        let text = format!(
            "{:9} {:6.1} s{reused}",
            stage.name(),
            self.begun.elapsed().as_secs_f64()
        );
        if self.terminal {
            self.bar.println(text);
        } else {
            tell(&text);
        }
    }

    fn line(&self) {
        let Some(stage) = self.stage else { return };
        let share = self.done as f64 / self.total.max(1) as f64;
        let spent = self.begun.elapsed().as_secs_f64();
        let eta = if share > 0.0 {
            format!("{:.0} s", spent * (1.0 - share) / share)
        } else {
            "unknown".to_owned()
        };
        tell(&format!(
            "{:9} {:3.0} %, {spent:.0} s, eta {eta}",
            stage.name(),
            100.0 * share
        ));
    }
}

fn tell(text: &str) {
    // Progress that nobody hears is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// One JSON object an event on stdout.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonLines;

impl Progress for JsonLines {
    fn event(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}

/// A text to show: documents and names of files may hold anything, the terminal's own commands too.
pub fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
