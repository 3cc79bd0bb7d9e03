//! `andromeda-train tasks`: what there is to evaluate on.

use andromeda_trainer::error::Result;
use andromeda_trainer::evaluation::task::{Task, file_of, names, task};
use serde::Serialize;

use crate::cli::TasksArgs;
use crate::render;

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    rules: &'static str,
    form: &'static str,
    reported: Vec<&'static str>,
    benchmark: &'a str,
    description: &'a str,
}

impl<'a> Line<'a> {
    fn new(task: &'a Task) -> Self {
        let readings = task.generate.iter().flat_map(|generate| &generate.readings);
        let metrics = task.metrics.iter().map(|metric| metric.name());
        Self {
            name: &task.name,
            rules: task.rules.name(),
            form: task.form(),
            reported: metrics
                .chain(readings.map(|reading| reading.name()))
                .collect(),
            benchmark: &task.benchmark,
            description: &task.description,
        }
    }
}

pub(crate) fn tasks(arguments: &TasksArgs) -> Result<()> {
    if let Some(name) = &arguments.show {
        let shown = task(name)?;
        return if arguments.json {
            render::json(&Line::new(&shown))
        } else {
            render::piece(&file_of(name)?)
        };
    }
    for name in names() {
        let task = task(name)?;
        let line = Line::new(&task);
        if arguments.json {
            render::json(&line)?;
        } else {
            render::line(&format!(
                "{:<14} {:<11} {:<11} {:<28} {}",
                line.name,
                line.rules,
                line.form,
                line.reported.join(", "),
                line.description
            ))?;
        }
    }
    Ok(())
}
