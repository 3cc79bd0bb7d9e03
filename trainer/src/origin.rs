//! A run that begins with the parameters of another: fine-tuning, and what stages are made of.
//!
//! [`begin`] saves them as the new run's checkpoint of step 0, and everything after is as in any run. What they were is in the state
//! of every checkpoint that follows.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{self, State};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Fused;
use crate::optimizer::Optimizer;
use crate::parallel::Team;
use crate::run::Run;

/// Where the first parameters of a run came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Name of the run.
    pub run: String,
    /// Steps that its checkpoint had done.
    pub step: u64,
    /// Root hash of the build that it was trained on.
    pub root: String,
    /// Those of the builds that its own parameters came from, the first ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// SHA-256 of the file with the parameters.
    pub model_sha256: String,
    /// Updates that the moments had seen, where they were carried over; none where they began with zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<u64>,
}

/// A checkpoint of another run.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the run.
    pub run: String,
    /// Folder of the checkpoint.
    pub checkpoint: PathBuf,
    /// Its state.
    pub state: State,
    /// The run's tokenizer.
    pub tokenizer: PathBuf,
    /// Whether the moments of its optimizer are carried over too.
    pub moments: bool,
}

impl Source {
    /// What a run that begins with it says of it.
    pub fn origin(&self) -> Origin {
        let model = self.state.files.get(checkpoint::MODEL);
        let before = self.state.from.as_ref();
        Origin {
            run: self.run.clone(),
            step: self.state.step,
            root: self.state.root.clone(),
            before: before
                .map(|from| [&from.before[..], std::slice::from_ref(&from.root)].concat())
                .unwrap_or_default(),
            model_sha256: model.map(|entry| entry.sha256.clone()).unwrap_or_default(),
            updates: self.moments.then(|| self.state.updates()),
        }
    }

    /// Whether a build's tokenizer and end of text are those of the source.
    ///
    /// # Errors
    /// They are not: its parameters would be of other tokens.
    fn check_tokenizer(&self, tokenizer: &[u8], end_of_text: u32) -> Result<()> {
        let own = fs_err::read(&self.tokenizer).map_err(Error::io("reading the tokenizer"))?;
        let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        // Of one meaning, however it is laid out.
        let same =
            own == tokenizer || parsed(&own).is_some_and(|own| Some(own) == parsed(tokenizer));
        if !same {
            return Err(Error::Usage(format!(
                "the run {} has another tokenizer than the build\nhint: make the build with {}",
                self.run,
                self.tokenizer.display()
            )));
        }
        if self.state.end_of_text != end_of_text {
            return Err(Error::Usage(format!(
                "documents of the build end with token {end_of_text}, those of the run {} with {}\nhint: make the build with that token",
                self.run, self.state.end_of_text
            )));
        }
        Ok(())
    }
}

/// What a new run is to be.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// The run, without a checkpoint.
    pub run: &'a Run,
    /// Its configuration.
    pub config: &'a RunConfig,
    /// Root hash of its build.
    pub root: &'a str,
    /// The build's tokenizer.
    pub tokenizer: &'a [u8],
    /// Token that ends a document of the build.
    pub end_of_text: u32,
}

/// Makes the checkpoint of step 0 from `source`; where the run has one already, sees to it that it began with `source`.
///
/// # Errors
/// The run began otherwise, the model or the tokenizer is another, the moments are those of another optimizer, or the disk failed.
pub fn begin(new: Beginning<'_>, source: &Source) -> Result<()> {
    let origin = source.origin();
    let folder = new.run.path();
    if let Some(&newest) = checkpoint::steps(folder)?.first() {
        let state = checkpoint::read_state(&checkpoint::folder(folder, newest));
        // A damaged one is found and set aside by the loop.
        return match state {
            Ok(state) if state.from.as_ref() != Some(&origin) => {
                Err(began_otherwise(folder, state.from.as_ref(), &origin))
            }
            Err(error) if !error.is_damage() => Err(error),
            _ => Ok(()),
        };
    }
    source.check_tokenizer(new.tokenizer, new.end_of_text)?;
    let (ours, theirs) = (&new.config.optimizer, &source.state.config.optimizer);
    let same = ours.kind == theirs.kind && ours.ema_decay.is_some() == theirs.ema_decay.is_some();
    if source.moments && !same {
        return Err(Error::Usage(format!(
            "the moments of {} are of another optimizer\nhint: set optimizer.kind and optimizer.ema-decay as there, or begin with fresh moments",
            source.run
        )));
    }
    checkpoint::remove_partial(folder)?;
    let mut model = Model::zeros(new.config.model, Fused::<f32>::default())?;
    checkpoint::load_model(&source.checkpoint, &source.state, &mut model)?;
    let mut optimizer = Optimizer::new(new.config.optimizer.clone(), &model)?;
    if source.moments {
        checkpoint::load_optimizer(
            &source.checkpoint,
            &source.state,
            &model,
            &mut optimizer,
            &Team::alone(&model),
        )?;
    }
    let mut state = State::new(new.config.clone(), new.root.to_owned(), new.end_of_text);
    state.from = Some(origin);
    new.run.write_tokenizer(new.tokenizer)?;
    checkpoint::save(folder, &mut state, &model, &optimizer, &Team::alone(&model))?;
    Ok(())
}

fn began_otherwise(run: &Path, from: Option<&Origin>, asked: &Origin) -> Error {
    let told = |origin: &Origin| {
        let moments = origin.updates.map_or("", |_| ", moments too");
        format!("{} at step {}{moments}", origin.run, origin.step)
    };
    let began = from.map_or_else(|| "random values".to_owned(), told);
    Error::Usage(format!(
        "{} exists and began with {began}, not with {} (model {})\nhint: go on with it without --from, or give the new run another name with --run",
        run.display(),
        told(asked),
        asked.model_sha256
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WrittenConfig;
    use crate::run::tokenizer_path;

    fn config(text: &str) -> RunConfig {
        let text = format!("[model]\nwidth = 8\nlayers = 1\nheads = 2\nhead-size = 4\n{text}");
        let written: WrittenConfig = toml::from_str(&text).unwrap();
        written.resolve(16, Path::new("test")).unwrap()
    }

    /// A run of `steps` made-up updates.
    fn source(folder: &Path, steps: u64) -> Source {
        let run = Run::lock(&folder.join("old")).unwrap();
        run.write_tokenizer(b"{\"a\": 1}").unwrap();
        let config = config("");
        let mut model = Model::new(config.model, 3, Fused::<f32>::default()).unwrap();
        let mut optimizer = Optimizer::new(config.optimizer.clone(), &model).unwrap();
        let gradients = Model::new(config.model, 4, Fused::<f32>::default()).unwrap();
        for _ in 0..steps {
            optimizer
                .step(&mut model, &gradients.parameters, 0.01, 1.0)
                .unwrap();
        }
        let mut state = State::new(config, "old build".to_owned(), 0);
        state.step = steps;
        let checkpoint = checkpoint::save(
            run.path(),
            &mut state,
            &model,
            &optimizer,
            &Team::alone(&model),
        )
        .unwrap();
        Source {
            run: "old".to_owned(),
            checkpoint,
            tokenizer: tokenizer_path(run.path()),
            state,
            moments: false,
        }
    }

    fn begun(run: &Run, config: &RunConfig, source: &Source) -> Result<State> {
        let beginning = Beginning {
            run,
            config,
            root: "new build",
            tokenizer: b"{ \"a\" : 1 }",
            end_of_text: 0,
        };
        begin(beginning, source)?;
        checkpoint::verify(&checkpoint::folder(run.path(), 0))
    }

    #[test]
    fn a_run_begins_with_the_parameters_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), 3);
        let config = config("[schedule]\nsteps = 9\nwarmup-steps = 1");
        let read = |checkpoint: &Path, file: &str| std::fs::read(checkpoint.join(file)).unwrap();
        for moments in [false, true] {
            source.moments = moments;
            let run = Run::lock(&folder.path().join(format!("new-{moments}"))).unwrap();
            let state = begun(&run, &config, &source).unwrap();
            let checkpoint = checkpoint::folder(run.path(), 0);
            let same = |file| read(&checkpoint, file) == read(&source.checkpoint, file);
            assert!(same("model.safetensors"));
            assert_eq!(same("optimizer.safetensors"), moments);
            assert_eq!(
                (state.step, state.position, state.root.as_str()),
                (0, 0, "new build")
            );
            assert_eq!(state.config.schedule.steps, 9);
            let origin = state.from.clone().unwrap();
            assert_eq!((origin.run.as_str(), origin.step), ("old", 3));
            assert_eq!(origin.root, "old build");
            assert_eq!(origin.updates, moments.then_some(3));
            // Bias correction goes on where the moments were.
            let mut model = Model::zeros(config.model, Fused::<f32>::default()).unwrap();
            checkpoint::load_model(&checkpoint, &state, &mut model).unwrap();
            let mut optimizer = Optimizer::new(config.optimizer.clone(), &model).unwrap();
            checkpoint::load_optimizer(
                &checkpoint,
                &state,
                &model,
                &mut optimizer,
                &Team::alone(&model),
            )
            .unwrap();
            assert_eq!(optimizer.updates(), if moments { 3 } else { 0 });
            // The same again is no other beginning; another one is.
            begun(&run, &config, &source).unwrap();
            source.moments = !moments;
            let error = begun(&run, &config, &source).unwrap_err();
            assert!(
                error.to_string().contains("began with old at step 3"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), 1);
        let run = Run::lock(&folder.path().join("new")).unwrap();
        let refused = |config: &RunConfig, source: &Source, says: &str| {
            let error = begun(&run, config, source).unwrap_err();
            assert!(error.to_string().contains(says), "{says}: {error}");
            assert!(checkpoint::steps(run.path()).unwrap().is_empty());
        };
        let of_lion = config("[optimizer]\nkind = \"lion\"");
        let with_moments = Source {
            moments: true,
            ..source.clone()
        };
        refused(&of_lion, &with_moments, "another optimizer");
        let averaged = config("[optimizer]\nema-decay = 0.9");
        refused(&averaged, &with_moments, "another optimizer");
        let mut deeper = config("");
        deeper.model.layers = 2;
        refused(&deeper, &source, "the model needs");
        std::fs::write(&source.tokenizer, "{\"a\": 2}").unwrap();
        refused(&config(""), &source, "another tokenizer");
        std::fs::write(&source.tokenizer, "{\"a\": 1}").unwrap();
        let mut ends_otherwise = source;
        ends_otherwise.state.end_of_text = 5;
        refused(&config(""), &ends_otherwise, "end with token 0");
    }
}
