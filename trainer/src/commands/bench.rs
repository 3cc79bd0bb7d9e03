//! `andromeda-train bench`: what steps of a configuration take on this machine.

use andromeda_trainer::bench::{Bench, bench as measure};
use andromeda_trainer::config::{RunConfig, WrittenConfig};
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::memory;
use andromeda_trainer::ops::Backend;
use andromeda_trainer::peak::Peak;
use serde::Serialize;

use crate::cli::BenchArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    bench: &'a Bench,
    /// What the machine can do, where that is known.
    peak: Option<&'a Peak>,
}

struct Measuring<'a> {
    config: &'a RunConfig,
    steps: u64,
    peak: Option<&'a Peak>,
}

impl OnBackend for Measuring<'_> {
    type Output = Bench;

    fn on<B: Backend>(self, backend: B) -> Result<Bench> {
        let steps = self.steps;
        let mut each = |step, seconds| render::say(&format!("step {step}/{steps}  {seconds:.3} s"));
        measure(backend, self.config, steps, self.peak, &mut each)
    }
}

pub(crate) fn bench(arguments: &BenchArgs) -> Result<()> {
    let configuration = &arguments.configuration;
    let written = WrittenConfig::read(&configuration.config, &configuration.overrides)?;
    let config = written.resolve(arguments.vocabulary, &configuration.config)?;
    let short = memory::available(config.compute.device)
        .and_then(|available| memory::shortfall(&config, available));
    if let Some(message) = short {
        return Err(Error::Usage(message));
    }
    let peak = Peak::of(&config.compute)?;
    let measuring = Measuring {
        config: &config,
        steps: arguments.steps,
        peak: peak.as_ref(),
    };
    let bench = on_device(&config.compute, measuring)?;
    if arguments.json {
        return render::json(&Report {
            bench: &bench,
            peak: peak.as_ref(),
        });
    }
    render::bench(&bench, peak.as_ref())
}
