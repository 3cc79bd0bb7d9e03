//! `andromeda rows`: files of any format that is read here, as JSON lines, for programs that read nothing else. The trainer is one.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::{print, print_json};
use crate::exit::Usage;
use crate::publish::NewFolder;
use crate::read::{self, ReadOptions, lines_path};
use crate::source;

pub(super) fn run(inputs: &[PathBuf], out: &Path, as_json: bool) -> anyhow::Result<()> {
    let files = find(inputs)?;
    let folder = NewFolder::create(out)?;
    let mut total = 0;
    for (name, input) in &files {
        let target = folder.path().join(name);
        if let Some(above) = target.parent() {
            fs_err::create_dir_all(above)?;
        }
        let rows = copy(input, &target)
            .with_context(|| format!("{}: its rows cannot be written", input.display()))?;
        if as_json {
            print_json(&json!({"file": name, "from": input, "rows": rows}))?;
        }
        total += rows;
    }
    folder.publish()?;
    if !as_json {
        print(format!(
            "{}: {total} rows of {} files",
            out.display(),
            files.len()
        ))?;
    }
    Ok(())
}

/// The files, by the names that their rows will have.
fn find(inputs: &[PathBuf]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for input in inputs {
        let files = if input.is_dir() {
            source::files_below(input)?
        } else {
            let name = input.file_name().unwrap_or_default().to_string_lossy();
            vec![(name.into_owned(), input.clone())]
        };
        let before = found.len();
        for (path, local) in files {
            let Some(name) = lines_path(&path) else {
                continue;
            };
            if let Some(other) = found.insert(name.clone(), local.clone()) {
                let message = format!(
                    "the rows of {} and {} would both be {name}\n  hint: name the folder above both instead of the two",
                    other.display(),
                    local.display()
                );
                return Err(Usage(message).into());
            }
        }
        if found.len() == before {
            let message = format!(
                "{} has no file whose name says that it has rows\n  hint: parquet, csv, tsv, json and jsonl do, and the last four with .gz or .zst",
                input.display()
            );
            return Err(Usage(message).into());
        }
    }
    Ok(found)
}

fn copy(input: &Path, target: &Path) -> anyhow::Result<u64> {
    let mut to = BufWriter::new(fs_err::File::create_new(target)?);
    let rows = read::write_lines(input, &ReadOptions::default(), &mut to)?;
    to.flush()?;
    to.get_ref().sync_all()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use fs_err as fs;
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn every_format_becomes_lines_at_its_path_and_a_fault_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let hub = root.path().join("hub");
        fs::create_dir_all(hub.join("owner/name")).unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["é \"x\"", "line\nbreak"]));
        let labels: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("text", texts, false),
            ("label", labels, true),
        ])
        .unwrap();
        let file = fs::File::create(hub.join("owner/name/test-00000-of-00001.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file.into_parts().0, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::write(hub.join("owner/a.csv"), "question,answer\n\"1, 2?\",A\n").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"{\"b\": [1, {\"c\": 0.5}]}\n").unwrap();
        fs::write(hub.join("b.jsonl.gz"), gzip.finish().unwrap()).unwrap();
        fs::write(hub.join("README.md"), "no rows").unwrap();

        let out = root.path().join("out");
        run(std::slice::from_ref(&hub), &out, false).unwrap();
        for (name, lines) in [
            (
                "owner/name/test-00000-of-00001.jsonl",
                "{\"text\":\"é \\\"x\\\"\",\"label\":1}\n{\"text\":\"line\\nbreak\",\"label\":null}\n",
            ),
            (
                "owner/a.jsonl",
                "{\"question\":\"1, 2?\",\"answer\":\"A\"}\n",
            ),
            ("b.jsonl", "{\"b\":[1,{\"c\":0.5}]}\n"),
        ] {
            let written = fs::read_to_string(out.join(name)).unwrap();
            let rows = |text: &str| -> Vec<serde_json::Value> {
                text.lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect()
            };
            assert_eq!(rows(&written), rows(lines), "{name}");
        }
        assert!(!out.join("README.jsonl").exists());

        fs::write(hub.join("bad.jsonl"), "{\"a\": 1}\n{\"a\": \n").unwrap();
        let again = root.path().join("again");
        let error = format!(
            "{:#}",
            run(std::slice::from_ref(&hub), &again, false).unwrap_err()
        );
        assert!(
            error.contains("bad.jsonl") && error.contains("row 1"),
            "{error}"
        );
        assert!(!again.exists());
        fs::write(hub.join("bad.csv"), "a\n1\n").unwrap();
        let error = run(std::slice::from_ref(&hub), &again, false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("would both be bad.jsonl"), "{error}");
    }
}
