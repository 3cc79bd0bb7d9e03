//! Made-up corpora whose answer is known by construction.
//!
//! [`Corpus::plant`] writes nine datasets in two tiers, one a format, and says of every row what must become of it: which
//! are kept, which are too short, which are copies of which, which are no documents and why. Words are random and made up,
//! so that two documents share no run of five words unless one was planted as a copy of the other.

#![allow(
    clippy::unwrap_used,
    reason = "a corpus that cannot be written fails the test that wants it"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use fs_err as fs;
use parquet::arrow::ArrowWriter;

/// Characters that a document must have to be kept.
pub const MIN_CHARACTERS: usize = 100;

/// What must become of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in the shards.
    Kept,
    /// The length rule drops it.
    TooShort,
    /// Its text equals that of the kept document with this id.
    Exact(String),
    /// Its text is nearly that of the kept document with this id.
    Near(String),
    /// It is no document, for this reason.
    Quarantined(&'static str),
}

/// A row and what must become of it.
#[derive(Debug, Clone)]
pub struct Planted {
    /// The id it must have.
    pub id: String,
    /// Its dataset.
    pub dataset: &'static str,
    /// The normalized text, if it is a document.
    pub text: Option<String>,
    /// What must become of it.
    pub fate: Fate,
}

/// A planted corpus on disk.
#[derive(Debug)]
pub struct Corpus {
    /// Folder with `datasets/`, `recipes/` and `tokenizers/`.
    pub manifests: PathBuf,
    /// Folder with a folder a dataset.
    pub data: PathBuf,
    /// Every row, in plan order.
    pub rows: Vec<Planted>,
}

/// A dataset of the corpus: name, tier and the files that hold its rows.
const DATASETS: [(&str, &str, &[&str]); 9] = [
    ("a-jsonl", "high", &["part-0.jsonl", "part-1.jsonl"]),
    ("b-gzip", "high", &["deep/er/x.jsonl.gz"]),
    ("c-zstd", "high", &["x.jsonl.zst"]),
    ("d-parquet", "high", &["x.parquet"]),
    ("e-csv", "medium", &["x.csv"]),
    ("f-tsv", "medium", &["x.tsv"]),
    ("g-text", "medium", &["folder", "zipped"]),
    ("h-tar", "medium", &["x.tar"]),
    ("i-json", "medium", &["x.json"]),
];

/// A row before it has an id.
struct Draft {
    place: Place,
    raw: Raw,
    fate: DraftFate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    dataset: usize,
    file: usize,
}

enum Raw {
    /// As the file has it, and as it is once normalized.
    Text {
        written: String,
        text: String,
    },
    Broken(Broken),
}

enum DraftFate {
    Kept,
    TooShort,
    /// Of the draft with this number.
    Exact(usize),
    Near(usize),
    Quarantined(&'static str),
}

/// Rows that are no documents.
#[derive(Clone, Copy)]
enum Broken {
    Utf8,
    Json,
    NotAnObject,
    NoField,
    Empty,
    ValueCount,
    NestedArchive,
}

impl Broken {
    fn reason(self) -> &'static str {
        match self {
            Self::Utf8 => "invalid-utf-8",
            Self::Json => "invalid-json",
            Self::NotAnObject => "not-an-object",
            Self::NoField => "missing-field",
            Self::Empty => "empty",
            Self::ValueCount => "value-count",
            Self::NestedArchive => "nested-archive",
        }
    }

    /// What can go wrong with a row of a dataset.
    fn of(dataset: &str) -> &'static [Self] {
        match dataset {
            "a-jsonl" | "b-gzip" | "c-zstd" => &[
                Self::Utf8,
                Self::Json,
                Self::NotAnObject,
                Self::NoField,
                Self::Empty,
            ],
            "d-parquet" => &[Self::NoField, Self::Empty],
            "e-csv" | "f-tsv" => &[Self::Utf8, Self::ValueCount, Self::Empty],
            "g-text" => &[Self::Utf8, Self::Empty],
            "h-tar" => &[Self::Utf8, Self::NestedArchive, Self::Empty],
            _ => &[
                Self::Utf8,
                Self::Json,
                Self::NotAnObject,
                Self::NoField,
                Self::Empty,
            ],
        }
    }
}

/// The generator `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }
}

/// A made-up word of six to eight letters.
fn word(random: &mut Random) -> String {
    let letters = |random: &mut Random, from: &'static [u8]| {
        char::from(from[usize::from(random.next_u64().to_le_bytes()[0]) % from.len()])
    };
    (0..3 + random.below(2))
        .flat_map(|_| {
            [
                letters(random, b"bdfgklmnprstvz"),
                letters(random, b"aeiou"),
            ]
        })
        .collect()
}

/// A text of `words` made-up words, a sentence every twelve, a line every forty.
pub fn text(random: &mut Random, words: usize) -> String {
    let mut out = String::new();
    for i in 1..=words {
        out.push_str(&word(random));
        out.push_str(match i {
            _ if i == words => ".",
            _ if i % 40 == 0 => ".\n",
            _ if i % 12 == 0 => ". ",
            _ => " ",
        });
    }
    out
}

/// The same text with one word replaced by a single letter: shorter, and 5 of its shingles are others.
pub fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let middle = words.len() / 2;
    let replaced = words
        .iter()
        .enumerate()
        .map(|(i, word)| if i == middle { "x" } else { word });
    replaced.collect::<Vec<_>>().join(" ")
}

/// The same text with one word more.
pub fn lengthened(text: &str) -> String {
    format!("{text} Furthermore.")
}

impl Corpus {
    /// Writes `plain` plain documents a dataset, and the copies and broken rows around them, into `root`.
    ///
    /// # Panics
    /// A file could not be written, or `plain` is below 12.
    pub fn plant(root: &Path, plain: usize) -> Self {
        assert!(plain >= 12, "copies are planted of the first twelve");
        let drafts = drafts(plain);
        let corpus = Self {
            manifests: root.join("manifests"),
            data: root.join("corpus"),
            rows: planted(&drafts),
        };
        for (d, (name, tier, files)) in DATASETS.iter().enumerate() {
            let folder = corpus.data.join(name);
            for (f, file) in files.iter().enumerate() {
                let rows: Vec<&Draft> = drafts
                    .iter()
                    .filter(|draft| {
                        draft.place
                            == Place {
                                dataset: d,
                                file: f,
                            }
                    })
                    .collect();
                write(&folder, file, &rows);
            }
            write_manifest(
                &corpus.manifests,
                name,
                &format!("tiers = [\"{tier}\"]\n"),
                &format!("../../corpus/{name}"),
                "",
            );
        }
        write_recipe(&corpus.manifests, "planted", RECIPE);
        write_tokenizer(&corpus.manifests);
        corpus
    }
}

/// The recipe of the planted corpora: one rule, large splits, shards so small that documents stand across their borders.
pub const RECIPE: &str = "\
seed = 7
[profile.plain.length]
min-characters = 100
[dedup]
exact = true
keep = \"longest\"
[dedup.near]
shingle-words = 5
bands = 14
rows = 8
similarity = 0.7
[split]
val = 0.2
test = 0.2
[shard]
tokens = 4096
frame-tokens = 1024
level = 3
";

/// Writes `datasets/<name>.toml` for a folder of files with a field `text`. `top` stands before the tables, `tables` after them.
///
/// # Panics
/// The file could not be written.
pub fn write_manifest(manifests: &Path, name: &str, top: &str, path: &str, tables: &str) {
    let folder = manifests.join("datasets");
    fs::create_dir_all(&folder).unwrap();
    let manifest = format!(
        "name = \"{name}\"\ndescription = \"Planted.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\n{top}[source.folder]\npath = \
         \"{path}\"\n[render]\ntext = \"text\"\n{tables}"
    );
    fs::write(folder.join(format!("{name}.toml")), manifest).unwrap();
}

/// Writes `recipes/<name>.toml`.
///
/// # Panics
/// The file could not be written.
pub fn write_recipe(manifests: &Path, name: &str, recipe: &str) {
    fs::create_dir_all(manifests.join("recipes")).unwrap();
    fs::write(
        manifests.join("recipes").join(format!("{name}.toml")),
        recipe,
    )
    .unwrap();
}

/// The tokenizer that the repository ships, put where recipes look for it.
///
/// # Panics
/// The file could not be copied.
pub fn write_tokenizer(manifests: &Path) {
    let name = "tokenizers/andromeda-16k.json";
    fs::create_dir_all(manifests.join("tokenizers")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../manifests")
            .join(name),
        manifests.join(name),
    )
    .unwrap();
}

/// One line of JSON with a field `text`.
pub fn json_line(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "text": text }))
}

fn drafts(plain: usize) -> Vec<Draft> {
    let mut random = Random(1);
    let mut drafts: Vec<Draft> = Vec::new();
    // Numbers of the first dataset's plain documents.
    let mut first: Vec<usize> = Vec::new();
    for (d, (name, _, files)) in DATASETS.iter().enumerate() {
        let one_line = *name == "f-tsv";
        let own: Vec<usize> = (0..plain)
            .map(|i| {
                let mut text = text(&mut random, 160 + i % 90);
                match i % 11 {
                    3 => text.push_str(
                        " Na\u{ef}ve \u{4e2d}\u{6587} \u{1f600} \u{5e9}\u{5dc}\u{5d5}\u{5dd}.",
                    ),
                    // A document cannot forge an end of document.
                    5 => text.insert_str(0, "<|endoftext|> "),
                    7 => text = text.replace(". ", ", \"quoted\", "),
                    _ => {}
                }
                if one_line {
                    text = text.replace('\n', " ");
                }
                let place = Place {
                    dataset: d,
                    file: i * files.len() / plain,
                };
                drafts.push(Draft {
                    place,
                    raw: as_written(&text),
                    fate: DraftFate::Kept,
                });
                drafts.len() - 1
            })
            .collect();
        if d == 0 {
            first.clone_from(&own);
        }
        let last = Place {
            dataset: d,
            file: files.len() - 1,
        };
        let mut push = |raw: Raw, fate: DraftFate| {
            drafts.push(Draft {
                place: last,
                raw,
                fate,
            });
        };
        for i in 0..3 + d {
            push(
                as_written(&format!("Too short, {name}, {i}.")),
                DraftFate::TooShort,
            );
        }
        for broken in Broken::of(name) {
            push(
                Raw::Broken(*broken),
                DraftFate::Quarantined(broken.reason()),
            );
        }
        let text_of = |drafts: &[Draft], number: usize| match &drafts[number].raw {
            Raw::Text { text, .. } if one_line => text.replace('\n', " "),
            Raw::Text { text, .. } => text.clone(),
            Raw::Broken(_) => unreachable!("plain documents have texts"),
        };
        let copy = |drafts: &mut Vec<Draft>, text: String, fate: DraftFate| {
            drafts.push(Draft {
                place: last,
                raw: as_written(&text),
                fate,
            });
        };
        // Of its own documents: the copy stands after the original.
        let text = text_of(&drafts, own[0]);
        copy(&mut drafts, text, DraftFate::Exact(own[0]));
        let text = shortened(&text_of(&drafts, own[1]));
        copy(&mut drafts, text, DraftFate::Near(own[1]));
        if d > 0 {
            // Of the first dataset's documents; a table without line ends has them as near copies.
            let text = text_of(&drafts, first[2]);
            copy(
                &mut drafts,
                text,
                if one_line {
                    DraftFate::Near(first[2])
                } else {
                    DraftFate::Exact(first[2])
                },
            );
            let text = shortened(&text_of(&drafts, first[3]));
            copy(&mut drafts, text, DraftFate::Near(first[3]));
        }
        if *name == "b-gzip" {
            // Of one tier the longest copy stays, wherever it is.
            let text = lengthened(&text_of(&drafts, first[8]));
            copy(&mut drafts, text, DraftFate::Kept);
            let longer = drafts.len() - 1;
            drafts[first[8]].fate = DraftFate::Near(longer);
        }
        if *name == "e-csv" {
            // A longer copy in a later tier loses all the same.
            let text = lengthened(&text_of(&drafts, first[9]));
            copy(&mut drafts, text, DraftFate::Near(first[9]));
        }
        if *name == "c-zstd" {
            // Line ends, an accent apart from its letter, control characters: repaired before anything is compared.
            let raw = |mark: &str| Raw::Text {
                written: format!(
                    "{mark}\u{feff}Caf\u{65}\u{301} no. {}\r\nand\ra\u{7} bell\u{85}{}",
                    "1 ".repeat(9),
                    "word ".repeat(30)
                ),
                text: format!(
                    "{mark}Caf\u{e9} no. {}\nand\na bell\n{}",
                    "1 ".repeat(9),
                    "word ".repeat(30)
                ),
            };
            drafts.push(Draft {
                place: last,
                raw: raw(""),
                fate: DraftFate::Kept,
            });
            let text = match raw("") {
                Raw::Text { text, .. } => text,
                Raw::Broken(_) => unreachable!("it has a text"),
            };
            let number = drafts.len() - 1;
            copy(&mut drafts, text, DraftFate::Exact(number));
            // Too few words for a shingle: compared exactly and no other way.
            let long = format!("{} {}", "ab".repeat(40), "cd".repeat(40));
            drafts.push(Draft {
                place: last,
                raw: as_written(&long),
                fate: DraftFate::Kept,
            });
            let number = drafts.len() - 1;
            drafts.push(Draft {
                place: last,
                raw: as_written(&format!("{long} e")),
                fate: DraftFate::Kept,
            });
            drafts.push(Draft {
                place: last,
                raw: as_written(&long),
                fate: DraftFate::Exact(number),
            });
        }
    }
    // Rows of a file stand together, in plan order.
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    order.sort_by_key(|n| (drafts[*n].place.dataset, drafts[*n].place.file));
    let mut new_number = vec![0; drafts.len()];
    order
        .iter()
        .enumerate()
        .for_each(|(new, old)| new_number[*old] = new);
    let mut sorted: Vec<(usize, Draft)> = drafts
        .into_iter()
        .enumerate()
        .map(|(old, draft)| (new_number[old], draft))
        .collect();
    sorted.sort_by_key(|(new, _)| *new);
    sorted
        .into_iter()
        .map(|(_, mut draft)| {
            match &mut draft.fate {
                DraftFate::Exact(of) | DraftFate::Near(of) => *of = new_number[*of],
                _ => {}
            }
            draft
        })
        .collect()
}

fn as_written(text: &str) -> Raw {
    Raw::Text {
        written: text.to_owned(),
        text: text.to_owned(),
    }
}

/// Drafts with ids: `dataset/file#row`, and `dataset/file` where a file is a document.
fn planted(drafts: &[Draft]) -> Vec<Planted> {
    let ids: Vec<String> = drafts
        .iter()
        .enumerate()
        .map(|(n, draft)| {
            let (name, _, files) = DATASETS[draft.place.dataset];
            let row = drafts[..n]
                .iter()
                .filter(|other| other.place == draft.place)
                .count();
            match (name, files[draft.place.file]) {
                ("g-text", "folder") => format!("{name}/{}", document_file("folder", row)),
                ("g-text", _) => format!("{name}/{}#0", document_file("zipped", row)),
                (_, file) => format!("{name}/{file}#{row}"),
            }
        })
        .collect();
    let rows = drafts.iter().zip(&ids).map(|(draft, id)| Planted {
        id: id.clone(),
        dataset: DATASETS[draft.place.dataset].0,
        text: match &draft.raw {
            Raw::Text { text, .. } => Some(text.clone()),
            Raw::Broken(_) => None,
        },
        fate: match draft.fate {
            DraftFate::Kept => Fate::Kept,
            DraftFate::TooShort => Fate::TooShort,
            DraftFate::Exact(of) => Fate::Exact(ids[of].clone()),
            DraftFate::Near(of) => Fate::Near(ids[of].clone()),
            DraftFate::Quarantined(reason) => Fate::Quarantined(reason),
        },
    });
    rows.collect()
}

/// Files that are documents, in the order of their paths.
fn document_file(folder: &str, row: usize) -> String {
    let zipped = if folder == "zipped" { ".gz" } else { "" };
    format!("{folder}/{}/{row:04}.txt{zipped}", row / 10)
}

fn write(folder: &Path, file: &str, rows: &[&Draft]) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
    if file == "folder" || file == "zipped" {
        for (row, draft) in rows.iter().enumerate() {
            let path = folder.join(document_file(file, row));
            fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
            let bytes = content(&draft.raw);
            fs::write(
                &path,
                if file == "zipped" {
                    gzip(&bytes)
                } else {
                    bytes
                },
            )
            .unwrap();
        }
        return;
    }
    let bytes = match file
        .split_once('.')
        .map_or("", |(_, extensions)| extensions)
    {
        "jsonl" => jsonl(rows),
        "jsonl.gz" => gzip(&jsonl(rows)),
        "jsonl.zst" => zstd::bulk::compress(&jsonl(rows), 3).unwrap(),
        "json" => json_array(rows),
        "csv" => delimited(rows, ","),
        "tsv" => delimited(rows, "\t"),
        "tar" => archive(rows),
        "parquet" => columns(rows),
        other => unreachable!("no writer for {other}"),
    };
    fs::write(&path, bytes).unwrap();
}

/// What a file that is a document holds.
fn content(raw: &Raw) -> Vec<u8> {
    match raw {
        Raw::Text { written, .. } => written.as_bytes().to_vec(),
        Raw::Broken(Broken::Utf8) => b"caf\xe9 ".repeat(50),
        Raw::Broken(_) => b" \n".to_vec(),
    }
}

/// Bytes as one gzip member.
///
/// # Panics
/// Never: memory takes what is written.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn json_object(raw: &Raw) -> Vec<u8> {
    match raw {
        Raw::Text { written, .. } => json_line(written).trim_end().into(),
        Raw::Broken(Broken::Utf8) => b"{\"text\":\"caf\xe9\"}".to_vec(),
        Raw::Broken(Broken::Json) => b"{\"text\":nothing}".to_vec(),
        Raw::Broken(Broken::NotAnObject) => b"[\"text\"]".to_vec(),
        Raw::Broken(Broken::NoField) => b"{\"txt\":\"misspelt\"}".to_vec(),
        Raw::Broken(_) => b"{\"text\":\" \\n\"}".to_vec(),
    }
}

fn jsonl(rows: &[&Draft]) -> Vec<u8> {
    rows.iter()
        .flat_map(|row| [json_object(&row.raw), b"\n".to_vec()])
        .flatten()
        .collect()
}

fn json_array(rows: &[&Draft]) -> Vec<u8> {
    let elements: Vec<Vec<u8>> = rows.iter().map(|row| json_object(&row.raw)).collect();
    [
        b"[\n".to_vec(),
        elements.join(&b",\n"[..]),
        b"\n]\n".to_vec(),
    ]
    .concat()
}

fn delimited(rows: &[&Draft], delimiter: &str) -> Vec<u8> {
    let mut out = format!("number{delimiter}text\n").into_bytes();
    for (number, row) in rows.iter().enumerate() {
        let line = match &row.raw {
            Raw::Text { written, .. } if delimiter == "," => {
                format!("{number},\"{}\"", written.replace('"', "\"\"")).into_bytes()
            }
            Raw::Text { written, .. } => format!("{number}\t{written}").into_bytes(),
            Raw::Broken(Broken::Utf8) => {
                [format!("{number}{delimiter}").as_bytes(), b"caf\xe9"].concat()
            }
            Raw::Broken(Broken::ValueCount) => number.to_string().into_bytes(),
            Raw::Broken(_) => format!("{number}{delimiter} ").into_bytes(),
        };
        out.extend(line);
        out.push(b'\n');
    }
    out
}

fn archive(rows: &[&Draft]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let mut name = String::new();
        let extension = if matches!(row.raw, Raw::Broken(Broken::NestedArchive)) {
            "tar"
        } else {
            "txt"
        };
        write!(name, "texts/{number:04}.{extension}").expect("a string takes what is written");
        let bytes = content(&row.raw);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn columns(rows: &[&Draft]) -> Vec<u8> {
    let texts: StringArray = rows
        .iter()
        .map(|row| match &row.raw {
            Raw::Text { written, .. } => Some(written.clone()),
            Raw::Broken(Broken::NoField) => None,
            Raw::Broken(_) => Some(" ".to_owned()),
        })
        .collect();
    table("text", texts)
}

/// A parquet file of one column.
///
/// # Panics
/// Never: memory takes what is written.
pub fn table(name: &str, values: StringArray) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([(name, Arc::new(values) as ArrayRef)]).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}
