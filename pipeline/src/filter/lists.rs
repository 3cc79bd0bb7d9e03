//! Files that a recipe's rules name, which are lists but for a tokenizer: found and pinned by the plan, read once a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::FilterOptions;

/// Bytes of a line, far beyond any address.
const MAX_LINE_BYTES: u64 = 64 << 10;

impl FilterOptions {
    /// The files that a profile's tables name, sorted.
    #[must_use]
    pub fn list_files(&self) -> Vec<&String> {
        let mut files = BTreeSet::new();
        if let Some(url) = &self.url {
            files.extend(url.files());
        }
        if let Some(words) = &self.bad_words {
            files.extend(words.files());
        }
        if let Some(code) = &self.code_files {
            files.extend(&code.tokenizer);
        }
        files.into_iter().collect()
    }
}

/// Where lists are on this machine, by the names that a recipe has for them.
#[derive(Debug, Clone, Default)]
pub struct Lists(BTreeMap<String, Place>);

#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    #[cfg(test)]
    Text(String),
}

impl Lists {
    /// Of files.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let files = files.into_iter();
        Self(
            files
                .map(|(name, path)| (name, Place::File(path)))
                .collect(),
        )
    }

    #[cfg(test)]
    pub(super) fn of_texts(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self(
            files
                .map(|(name, text)| ((*name).to_owned(), Place::Text((*text).to_owned())))
                .collect(),
        )
    }

    /// All of a file.
    ///
    /// # Errors
    /// It cannot be read; in words that name it.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        match self.0.get(name) {
            None => Err(format!("the file `{name}` was not planned")),
            Some(Place::File(path)) => fs_err::read(path).map_err(|error| error.to_string()),
            #[cfg(test)]
            Some(Place::Text(text)) => Ok(text.clone().into_bytes()),
        }
    }

    /// Calls `each` with every line of a list, without its end.
    ///
    /// # Errors
    /// The file cannot be read, or is no text; in words that name it.
    pub(super) fn each_line(&self, name: &str, each: &mut dyn FnMut(&str)) -> Result<(), String> {
        match self.0.get(name) {
            None => Err(format!("the list `{name}` was not planned")),
            Some(Place::File(path)) => read(path, each),
            #[cfg(test)]
            Some(Place::Text(text)) => {
                text.lines().for_each(each);
                Ok(())
            }
        }
    }
}

fn read(path: &Path, each: &mut dyn FnMut(&str)) -> Result<(), String> {
    let wrong = |what: String| format!("the list {}: {what}", path.display());
    let file = fs_err::File::open(path).map_err(|error| error.to_string())?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let start = reader.fill_buf().map_err(|error| error.to_string())?;
    let mut reader: Box<dyn BufRead> = match start.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(reader))),
        false => Box::new(reader),
    };
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        number += 1;
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| wrong(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 == MAX_LINE_BYTES {
            return Err(wrong(format!(
                "line {number} has more than {MAX_LINE_BYTES} bytes: write one entry a line"
            )));
        }
        let text = std::str::from_utf8(&line).map_err(|_| {
            wrong(format!(
                "line {number} is not UTF-8: write it again as UTF-8"
            ))
        })?;
        each(text.trim_end_matches(['\n', '\r']));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_list_is_read_plain_or_compressed_and_told_of_where_it_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs_err::write(&path, bytes).unwrap();
            (name.to_owned(), path)
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"a\r\nb").unwrap();
        let lists = Lists::new([
            write("plain", b"a\r\nb"),
            write("packed", &gzip.finish().unwrap()),
            write("latin", b"a\n\xe9\n"),
            write("long", &vec![b'x'; 70_000]),
            ("gone".to_owned(), folder.path().join("gone")),
        ]);
        let lines = |name: &str| {
            let mut lines = Vec::new();
            let read = lists.each_line(name, &mut |line| lines.push(line.to_owned()));
            read.map(|()| lines)
        };
        assert_eq!(lines("plain").unwrap(), ["a", "b"]);
        assert_eq!(lines("packed").unwrap(), ["a", "b"]);
        for (name, words) in [
            ("latin", "line 2 is not UTF-8"),
            ("long", "line 1 has more"),
            ("gone", "gone"),
            ("other", "`other`"),
        ] {
            let said = lines(name).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
