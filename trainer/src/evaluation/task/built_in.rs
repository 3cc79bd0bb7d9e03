//! The tasks that are part of the program: the files of `trainer/tasks/`.

use super::Task;
use crate::error::Result;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../tasks/", $name, ".toml")))),*]
    };
}

/// Names and files, sorted.
const FILES: &[(&str, &str)] = files![
    "arc-challenge",
    "arc-easy",
    "bbh",
    "bbh-hub",
    "boolq",
    "cb",
    "cola",
    "copa",
    "gsm8k",
    "gsm8k-cot",
    "gsm8k-hub",
    "hellaswag",
    "humaneval",
    "lambada",
    "math",
    "math-hub",
    "mmlu",
    "mmlu-cot-hub",
    "mmlu-hub",
    "mnli",
    "mnli-mismatch",
    "mrpc",
    "multirc",
    "piqa",
    "qnli",
    "qqp",
    "record",
    "rte",
    "sglue-rte",
    "sst2",
    "stsb",
    "wic",
    "wnli",
    "wsc",
];

/// The names of all, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The file of the task of this name.
pub fn file(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, text)| *text)
}

/// The task of this name.
///
/// # Errors
/// Its file is no task, which a test rules out.
pub fn built_in(name: &str) -> Result<Option<Task>> {
    file(name)
        .map(|text| Task::parse(text, format!("trainer/tasks/{name}.toml").as_ref()))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_task_of_its_name() {
        for name in names() {
            let task = built_in(name).unwrap().unwrap();
            assert_eq!(task.name, name);
        }
        assert!(names().is_sorted());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tasks");
        let files = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(files, names().count(), "a file of {folder} is not listed");
    }
}
