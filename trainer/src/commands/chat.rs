//! `andromeda-train chat`: a dialogue with a run, a turn a line.

use std::io::{BufRead, IsTerminal, Read as _, Write as _};
use std::path::Path;

use andromeda_format::ChatFormat;
use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::chat::{Answer, Chat, Dialogues, Ended};
use andromeda_trainer::checkpoint::State;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::ops::Backend;
use andromeda_trainer::run::{read_dialogues, tokenizer_path};
use andromeda_trainer::sample::{SampleOptions, Text};
use serde::Serialize;

use super::{at_step, existing, load_model};
use crate::cli::{ChatArgs, ChatFormatArg};
use crate::render;

/// A line of more is no turn of a person.
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) fn chat(arguments: &ChatArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (checkpoint, state) = at_step(&folder, arguments.step)?;
    let configured = &state.config.sample;
    let options = SampleOptions {
        tokens: arguments.tokens,
        temperature: arguments.temperature.unwrap_or(configured.temperature),
        top_k: arguments.top_k.unwrap_or(configured.top_k),
        top_p: arguments.top_p.unwrap_or(configured.top_p),
        seed: arguments.seed.unwrap_or(configured.seed),
        ..SampleOptions::default()
    };
    let problems = options.problems();
    if !problems.is_empty() {
        return Err(Error::Usage(problems.join("; ")));
    }
    let dialogues = dialogues(arguments, &folder, &state)?;
    let talking = Talking {
        checkpoint: &checkpoint,
        state: &state,
        text: Text::open(&tokenizer_path(&folder), state.end_of_text)?,
        options: &options,
        format: dialogues.format,
        system: arguments.system.clone(),
        json: arguments.folders.json,
    };
    on_device(&state.config.compute, talking)
}

/// How the dialogues that the run was trained on are written down, or how the arguments say.
fn dialogues(arguments: &ChatArgs, folder: &Path, state: &State) -> Result<Dialogues> {
    let kept = match read_dialogues(folder)? {
        Some(kept) => Some(kept),
        // Runs of before it was kept; the build may be gone, or never have been.
        None => build::with_root(&arguments.folders.shards, &state.root)
            .ok()
            .map(|path| OpenBuild::open(&path)?.dialogues())
            .transpose()?,
    };
    if kept.is_none_or(|kept| !kept.trained) {
        render::talk(
            "warning: the run is not known to be trained on dialogues; it may answer like its text does",
        );
    }
    let mut dialogues = kept.unwrap_or_default();
    if let Some(format) = arguments.format {
        dialogues.format = match format {
            ChatFormatArg::HumanAssistant => ChatFormat::HumanAssistant,
            ChatFormatArg::Alpaca => ChatFormat::Alpaca,
            ChatFormatArg::Llama2 => ChatFormat::Llama2,
        };
    }
    Ok(dialogues)
}

#[derive(Serialize)]
struct Report<'a> {
    question: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// A checkpoint and how to talk to it.
struct Talking<'a> {
    checkpoint: &'a Path,
    state: &'a State,
    text: Text,
    options: &'a SampleOptions,
    format: ChatFormat,
    system: Option<String>,
    json: bool,
}

impl OnBackend for Talking<'_> {
    type Output = ();

    fn on<B: Backend>(self, backend: B) -> Result<()> {
        let model = load_model(self.checkpoint, self.state, backend)?;
        let context = self.state.config.data.sequence_tokens;
        let (format, options) = (self.format, self.options);
        let mut chat = Chat::new(&model, &self.text, format, self.system, options, context)?;
        let mut stdin = std::io::stdin().lock();
        let people = stdin.is_terminal();
        if people {
            render::talk(&format!(
                "step {}, {} marks, {context} tokens of context; /reset forgets the dialogue, /exit ends it",
                self.state.step,
                format.name()
            ));
        }
        loop {
            if people {
                let mut stderr = std::io::stderr().lock();
                // Nothing can be done if nobody looks.
                let _ = write!(stderr, "> ").and_then(|()| stderr.flush());
            }
            let Some(line) = next_line(&mut stdin)? else {
                return Ok(());
            };
            match line.trim() {
                "" => {}
                "/exit" => return Ok(()),
                "/reset" => {
                    chat.reset();
                    render::talk("the dialogue is forgotten");
                }
                command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                    render::talk(&format!(
                        "{command} is no command; there are /reset and /exit"
                    ));
                }
                question => match turn(&mut chat, question, self.json) {
                    // Too long a question is no reason to end what a person began.
                    Err(Error::Usage(problem)) if people => render::talk(&problem),
                    done => done?,
                },
            }
        }
    }
}

/// One question and its answer, shown.
fn turn<B: Backend>(chat: &mut Chat<'_, B>, question: &str, json: bool) -> Result<()> {
    let mut show = |piece: &str| if json { Ok(()) } else { render::piece(piece) };
    let answer = chat.answer(question, &mut show)?;
    if json {
        let report = Report {
            question,
            answer: &answer,
        };
        return render::json(&report);
    }
    render::line("")?;
    match answer.ended {
        Ended::EndOfText => {}
        Ended::Tokens => render::talk("(cut off after as many tokens as --tokens allows)"),
        Ended::Context => render::talk("(cut off: the context is full)"),
    }
    match answer.dropped_turns {
        0 => {}
        1 => render::talk("(the context is full: the oldest turn is forgotten)"),
        turns => render::talk(&format!(
            "(the context is full: the oldest {turns} turns are forgotten)"
        )),
    }
    Ok(())
}

/// A line of `input`; nothing at its end.
fn next_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = input.take(LONGEST_LINE).read_until(b'\n', &mut bytes);
    let read = read.map_err(|source| Error::Io {
        what: "reading stdin".to_owned(),
        source,
    })?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == LONGEST_LINE {
        return Err(Error::Usage(format!(
            "a line of stdin has more than {LONGEST_LINE} bytes\nhint: a turn is a line"
        )));
    }
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| Error::Usage("stdin is not UTF-8".to_owned()))
}
