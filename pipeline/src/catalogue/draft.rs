//! A first manifest for a dataset that nobody has described yet: guessed from its file names and first rows, with a comment
//! at everything that a person must decide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::{Kind, patterns};
use crate::fetch::{RemoteFile, RepoId};
use crate::read::{FileFormat, Row};
use crate::render::{Content, Render, RenderOptions};

/// Bytes of files from which on a draft has a budget.
const BUDGET_BYTES: u64 = 20_000_000_000;
/// Folders up to which each becomes a config.
const MAX_CONFIGS: usize = 60;
/// Fields that a comment lists.
const MAX_FIELDS: usize = 12;
/// Characters of an example's document.
const MAX_EXAMPLE: usize = 1_500;

/// The files of a repository, sorted into what a manifest would take and what it would hold out.
#[derive(Debug)]
pub struct Layout<'a> {
    /// Files to train on.
    train: Vec<&'a RemoteFile>,
    /// Files whose names say test or validation.
    held_out: Vec<&'a RemoteFile>,
    /// Names of the folders that each look like a config.
    configs: Vec<&'a str>,
}

impl<'a> Layout<'a> {
    /// Sorts the files of a commit; `None` when no file has a format that can be read.
    pub fn of(files: &'a [RemoteFile]) -> Option<Self> {
        let data = |text: bool| -> Vec<&RemoteFile> {
            files
                .iter()
                .filter(|file| {
                    let format = FileFormat::from_path(Path::new(&file.path));
                    format.is_some_and(|(format, _)| (format == FileFormat::Text) == text)
                        && !is_about(&file.path)
                })
                .collect()
        };
        let mut data_files = data(false);
        if data_files.is_empty() {
            data_files = data(true);
        }
        // One format: the one of most bytes. Others are most often copies of the same rows.
        let mut formats: BTreeMap<String, u64> = BTreeMap::new();
        let format =
            |file: &RemoteFile| format!("{:?}", FileFormat::from_path(Path::new(&file.path)));
        for file in &data_files {
            *formats.entry(format(file)).or_default() += file.bytes;
        }
        let (most, _) = formats.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        data_files.retain(|file| format(file) == most);
        let (held_out, mut train): (Vec<&RemoteFile>, Vec<&RemoteFile>) = data_files
            .into_iter()
            .partition(|file| is_held_out(&file.path));
        let mut kept = held_out;
        if train.is_empty() {
            // Nothing says train: a person decides.
            train = std::mem::take(&mut kept);
        }
        let folders: BTreeSet<Option<&str>> = train.iter().map(|file| folder(&file.path)).collect();
        let configs: Vec<&str> = folders.iter().copied().flatten().collect();
        let divided = (2..=MAX_CONFIGS).contains(&configs.len())
            && configs.len() == folders.len()
            && configs.iter().all(|name| super::check::is_name(name));
        Some(Self {
            train,
            held_out: kept,
            configs: if divided { configs } else { Vec::new() },
        })
    }

    /// The file whose rows are looked at for one config, or for the whole: the smallest.
    pub fn specimens(&self) -> Vec<(Option<&'a str>, &'a RemoteFile)> {
        let smallest = |of: Option<&str>| {
            let files = self.train.iter().copied();
            files
                .filter(|file| of.is_none() || folder(&file.path) == of)
                .min_by_key(|file| (file.bytes, &file.path))
        };
        if self.configs.is_empty() {
            return smallest(None)
                .map(|file| (None, file))
                .into_iter()
                .collect();
        }
        let configs = self.configs.iter();
        configs
            .filter_map(|name| Some((Some(*name), smallest(Some(name))?)))
            .collect()
    }
}

/// What is known of the repository beside its data files.
#[derive(Debug)]
pub struct About<'a> {
    /// `owner/name`.
    pub repository: &'a RepoId,
    /// The revision to follow.
    pub revision: &'a str,
    /// The page to read about it.
    pub homepage: &'a str,
    /// The text of its card, if it has one.
    pub card: Option<&'a str>,
}

/// Writes a manifest called `name`. `rows` are the first rows of each of [`Layout::specimens`].
pub fn draft(name: &str, about: &About<'_>, layout: &Layout<'_>, rows: &[Vec<Row>]) -> String {
    let specimens = layout.specimens();
    let guesses: Vec<Guess> = rows.iter().map(|rows| guess(rows)).collect();
    let first = guesses.first();
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(
        "# A draft: what stands here was guessed from file names and first rows. Decide at every `DECIDE`, then see",
    );
    line(&format!(
        "# `andromeda plan --dataset {name}` and read some documents of a build."
    ));
    line(&format!("name = {}", quoted(name)));
    line(&format!(
        "description = {} # DECIDE: one sentence of what it is.",
        quoted(&format!("{} of the hub.", about.repository))
    ));
    line("tiers = [] # DECIDE: high, medium, low; none builds it only when asked for by name.");
    line(&format!(
        "kind = {}",
        quoted(first.map_or(Kind::Text, |guess| guess.kind).name())
    ));
    line(&format!(
        "profile = {} # DECIDE: whose rules judge it: web, prose, code or task.",
        quoted(first.map_or("web", |guess| guess.profile))
    ));
    match about.card.and_then(licence) {
        Some(licence) => line(&format!(
            "licence = {} # As its card says. DECIDE whether that holds for all of it.",
            quoted(&licence)
        )),
        None => line(
            "licence = \"not stated on its card\" # DECIDE: its SPDX identifier, or what is known of it.",
        ),
    }
    line(
        "# licence-note = \"...\" # What follows from it: non-commercial, share-alike, per file, unclear.",
    );
    line(&format!("homepage = {}", quoted(about.homepage)));
    let bytes: u64 = layout.train.iter().map(|file| file.bytes).sum();
    line(&format!("size-bytes = {bytes}"));
    if bytes > BUDGET_BYTES {
        line(&format!(
            "budget-bytes = {BUDGET_BYTES} # By default this much of it, in files spread over the whole."
        ));
    }
    line("");
    line("[source.hub]");
    line(&format!(
        "repository = {}",
        quoted(about.repository.as_str())
    ));
    if about.revision != "main" {
        line(&format!("revision = {}", quoted(about.revision)));
    }
    if layout.configs.is_empty() {
        let decide = if layout.train.iter().all(|file| is_held_out(&file.path)) {
            " # DECIDE: the names say that they are for testing."
        } else {
            ""
        };
        let globs = globs(&layout.train, &layout.held_out);
        line(&format!("files = {globs}{decide}"));
    }
    if !layout.held_out.is_empty() && layout.configs.is_empty() {
        line(&format!(
            "evaluation-files = {} # Never training data.",
            globs(&layout.held_out, &layout.train)
        ));
    }
    if layout.configs.is_empty() {
        if let Some(guess) = first {
            line("");
            line(&guess.comment());
            line("[render]");
            line(&guess.render);
            if let Some(example) = &guess.example {
                line("");
                line("[[example]]");
                line(example);
            }
        }
        return out;
    }
    // Configs that are all alike share one table and one example.
    let alike = first.filter(|first| guesses.iter().all(|guess| guess.render == first.render));
    if let Some(guess) = alike {
        line("");
        line(&guess.comment());
        line("[render]");
        line(&guess.render);
    }
    for (number, ((config, _), guess)) in specimens.iter().zip(&guesses).enumerate() {
        let Some(config) = config else { continue };
        let of = |files: &[&RemoteFile]| -> Vec<RemoteFile> {
            let files = files
                .iter()
                .filter(|file| folder(&file.path) == Some(*config));
            files.map(|file| (*file).clone()).collect()
        };
        let (train, held_out) = (of(&layout.train), of(&layout.held_out));
        let train: Vec<&RemoteFile> = train.iter().collect();
        let held_out: Vec<&RemoteFile> = held_out.iter().collect();
        line("");
        line("[[config]]");
        line(&format!("name = {}", quoted(config)));
        line(&format!("files = {}", globs(&train, &held_out)));
        if !held_out.is_empty() {
            line(&format!(
                "evaluation-files = {} # Never training data.",
                globs(&held_out, &train)
            ));
        }
        if Some(guess.kind) != first.map(|guess| guess.kind) {
            line(&format!("kind = {}", quoted(guess.kind.name())));
        }
        if alike.is_none() {
            line(&guess.comment());
            line("[config.render]");
            line(&guess.render);
        }
        if let Some(example) = &guess.example
            && (alike.is_none() || number == 0)
        {
            line("");
            line("[[config.example]]");
            line(example);
        }
    }
    out
}

/// Files that tell about the data.
fn is_about(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or_default();
    name.ends_with(".md")
        || name.starts_with('.')
        || [
            "license",
            "licence",
            "readme",
            "notice",
            "requirements",
            "state",
        ]
        .contains(&stem)
        || stem.starts_with("dataset_info")
}

/// Whether a word of the path names a split that is not trained on.
pub(crate) fn is_held_out(path: &str) -> bool {
    path.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
            [
                "test",
                "tests",
                "validation",
                "valid",
                "val",
                "dev",
                "eval",
                "heldout",
            ]
            .iter()
            .any(|held_out| word.eq_ignore_ascii_case(held_out))
        })
}

/// The innermost folder of a path, unless it only says that data is in it or which split.
fn folder(path: &str) -> Option<&str> {
    let (folders, _) = path.rsplit_once('/')?;
    let name = folders.rsplit('/').next()?;
    (!["data", "train"].contains(&name)).then_some(name)
}

/// Patterns for these files that match none of the others, or the files themselves where there is no such pattern.
fn globs(files: &[&RemoteFile], others: &[&RemoteFile]) -> String {
    let shapes: BTreeSet<String> = files
        .iter()
        .map(|file| patterns::shape(&file.path))
        .collect();
    let clear = shapes.iter().all(|shape| {
        globset::Glob::new(shape).is_ok_and(|glob| {
            let matcher = glob.compile_matcher();
            !others.iter().any(|other| matcher.is_match(&other.path))
                && files.iter().any(|file| matcher.is_match(&file.path))
        })
    });
    let names: Vec<String> = if clear {
        shapes.iter().map(|shape| quoted(shape)).collect()
    } else {
        let files = files.iter();
        files
            .map(|file| quoted(&globset::escape(&file.path)))
            .collect()
    };
    format!("[{}]", names.join(", "))
}

/// The licence in the head of a card, `license: mit`, also where it is a list.
fn licence(card: &str) -> Option<String> {
    let head = card.strip_prefix("---")?.split("\n---").next()?;
    let mut lines = head
        .lines()
        .skip_while(|line| !line.starts_with("license:"));
    let value = lines.next()?.strip_prefix("license:")?.trim();
    let value = match value {
        "" => lines.next()?.trim().strip_prefix('-')?.trim(),
        value => value,
    };
    let value = value.trim_matches(['"', '\'', '[', ']', ' ']);
    (!value.is_empty()).then(|| spdx(value))
}

/// The hub's lower-case words as SPDX writes them, where they are SPDX's.
fn spdx(word: &str) -> String {
    match word {
        "mit" => "MIT".to_owned(),
        "apache-2.0" => "Apache-2.0".to_owned(),
        "odc-by" => "ODC-BY-1.0".to_owned(),
        word if word.starts_with("cc") || word.starts_with("gpl") => word.to_ascii_uppercase(),
        word => word.to_owned(),
    }
}

/// A guess of what the rows are.
struct Guess {
    kind: Kind,
    profile: &'static str,
    /// Lines of a `[render]` table.
    render: String,
    /// Lines of an `[[example]]` table.
    example: Option<String>,
    /// Every field with its type.
    fields: Vec<String>,
    /// Whether the fields' names say what they are.
    sure: bool,
}

impl Guess {
    fn comment(&self) -> String {
        let mut fields = self
            .fields
            .iter()
            .take(MAX_FIELDS)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if self.fields.len() > MAX_FIELDS {
            let _ = write!(fields, " and {} more", self.fields.len() - MAX_FIELDS);
        }
        if self.sure {
            format!("# Fields: {fields}.")
        } else {
            format!(
                "# Fields: {fields}. DECIDE: the names did not say what a document is; the longest text was taken. Other forms:\n\
                 # template = \"Question: {{question}}\\nAnswer: {{answer}}\", turns, instruction, preference (CONTRIBUTING.md)."
            )
        }
    }
}

fn guess(rows: &[Row]) -> Guess {
    let fields = fields(rows);
    let is = |name: &str, kind: &str| fields.get(name).is_some_and(|found| *found == kind);
    let first_of = |names: &[&'static str]| names.iter().copied().find(|name| is(name, "text"));
    let mut sure = true;
    let (kind, profile, render) = if is("chosen", "text") && is("rejected", "text") {
        let prompt = first_of(&["prompt", "question", "instruction"]);
        let prompt = prompt.map_or_else(String::new, |name| format!(" prompt = {} ", quoted(name)));
        (
            Kind::Preference,
            "task",
            format!("preference = {{{prompt}}}"),
        )
    } else if let Some(turns) = turns(rows, &fields) {
        (Kind::Chat, "task", turns)
    } else if let (Some(prompt), Some(response)) = (
        first_of(&["instruction"]),
        first_of(&["output", "response", "answer", "completion"]),
    ) {
        let input = first_of(&["input", "context"]).unwrap_or("input");
        let render = format!(
            "instruction = {{ prompt = {}, input = {}, response = {} }}",
            quoted(prompt),
            quoted(input),
            quoted(response)
        );
        (Kind::Chat, "task", render)
    } else if let (Some(prompt), Some(response)) = (
        first_of(&["prompt", "query", "user"]),
        first_of(&["response", "completion", "answer", "output", "assistant"]),
    ) {
        let render = format!(
            "exchange = {{ prompt = {}, response = {} }}",
            quoted(prompt),
            quoted(response)
        );
        (Kind::Chat, "task", render)
    } else if let (Some(question), Some(answer)) = (
        first_of(&["question", "problem"]),
        first_of(&["answer", "solution"]),
    ) {
        let template = format!("Question: {{{question}}}\nAnswer: {{{answer}}}");
        (
            Kind::Text,
            "task",
            format!("template = {}", quoted(&template)),
        )
    } else if let Some(text) = first_of(&["text", "content", "document", "body", "article"]) {
        let marks = [
            ("### Human:", "### Assistant:"),
            ("\n\nHuman:", "\n\nAssistant:"),
        ];
        let all_begin = |mark: &str| {
            let mut texts = rows.iter().filter_map(|row| row.get(text)?.as_str());
            !rows.is_empty() && texts.all(|text| text.trim_start().starts_with(mark.trim_start()))
        };
        let code = ["lang", "language", "path", "ext", "max_stars_repo_path"];
        if let Some((user, assistant)) = marks.into_iter().find(|(user, _)| all_begin(user)) {
            let render = format!(
                "transcript = {{ field = {}, user = {}, assistant = {} }}",
                quoted(text),
                quoted(user),
                quoted(assistant)
            );
            (Kind::Chat, "task", render)
        } else if code.iter().any(|name| fields.contains_key(*name)) && text == "content" {
            (Kind::Text, "code", format!("text = {}", quoted(text)))
        } else {
            (Kind::Text, "web", format!("text = {}", quoted(text)))
        }
    } else {
        sure = false;
        let longest = fields
            .iter()
            .filter(|(_, kind)| **kind == "text")
            .max_by_key(|(name, _)| {
                let texts = rows.iter().filter_map(|row| row.get(*name)?.as_str());
                // Ids and hashes have no blanks.
                let texts = texts.filter(|text| text.contains(' '));
                texts.map(str::len).sum::<usize>()
            })
            .map_or("text", |(name, _)| name);
        (Kind::Text, "web", format!("text = {}", quoted(longest)))
    };
    let example = toml::from_str::<RenderOptions>(&render)
        .ok()
        .and_then(|options| Render::new(&options).ok())
        .and_then(|render| example_of(rows, &render));
    Guess {
        kind,
        profile,
        render,
        example,
        fields: fields
            .iter()
            .map(|(name, kind)| format!("{name} ({kind})"))
            .collect(),
        sure,
    }
}

/// The type of each field, by the first row that has a value there.
fn fields(rows: &[Row]) -> BTreeMap<String, &'static str> {
    let mut fields: BTreeMap<String, &'static str> = BTreeMap::new();
    for (name, value) in rows.iter().flatten() {
        let kind = match value {
            Value::Null => "empty",
            Value::Bool(_) => "yes or no",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "table",
        };
        let known = fields.entry(name.clone()).or_insert(kind);
        if *known == "empty" {
            *known = kind;
        }
    }
    fields
}

/// A `turns` form, where a field holds a list of objects with a speaker and a text.
fn turns(rows: &[Row], fields: &BTreeMap<String, &'static str>) -> Option<String> {
    let (field, turn) = fields.keys().find_map(|field| {
        let turns = rows.iter().find_map(|row| match row.get(field)? {
            Value::Array(turns) => turns.first()?.as_object(),
            _ => None,
        })?;
        Some((field, turns))
    })?;
    let (role, text) = [
        ("from", "value"),
        ("role", "content"),
        ("role", "text"),
        ("from", "text"),
        ("speaker", "text"),
    ]
    .into_iter()
    .find(|(role, text)| turn.contains_key(*role) && turn.contains_key(*text))?;
    Some(format!(
        "turns = {{ field = {}, role = {}, text = {} }}",
        quoted(field),
        quoted(role),
        quoted(text)
    ))
}

/// The row with the shortest document, as the lines of an example.
fn example_of(rows: &[Row], render: &Render) -> Option<String> {
    let wanted: BTreeSet<String> = render.fields().into_iter().collect();
    let mut best: Option<(usize, String)> = None;
    for row in rows {
        let mut row = row.clone();
        row.retain(|name, _| wanted.contains(name));
        let Some(table) = to_toml(&Value::Object(row.clone())) else {
            continue;
        };
        let contents: Result<Vec<Content>, _> = render.render_all(row).into_iter().collect();
        let Ok(contents) = contents else { continue };
        let texts: Vec<String> = contents
            .iter()
            .map(|content| content.to_text().into_owned())
            .collect();
        let length = texts.iter().map(|text| text.chars().count()).sum();
        if length > MAX_EXAMPLE
            || best
                .as_ref()
                .is_some_and(|(shortest, _)| *shortest <= length)
        {
            continue;
        }
        let mut lines = format!("row = {table}\n");
        // Writing to a string cannot fail.
        let _ = match texts.as_slice() {
            [text] => write!(lines, "text = {}", quoted(text)),
            texts => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                write!(lines, "texts = [{}]", texts.join(", "))
            }
        };
        if contents
            .iter()
            .any(|content| !matches!(content, Content::Text(_)))
        {
            let segments = contents.iter().flat_map(Content::segments);
            let trained: String = segments
                .filter(|segment| segment.trained)
                .map(|segment| segment.text.into_owned())
                .collect();
            let _ = write!(lines, "\ntrained = {}", quoted(&trained));
        }
        best = Some((length, lines));
    }
    best.map(|(_, lines)| lines)
}

/// A value on one line of TOML; `None` for numbers that TOML does not have. TOML has no null: such a field is left out.
fn to_toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.to_string(),
            None => format!("{:?}", number.as_f64().filter(|number| number.is_finite())?),
        },
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items = items.iter().filter(|item| !item.is_null());
            let items: Option<Vec<String>> = items.map(to_toml).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Option<Vec<String>> = fields
                .map(|(name, value)| Some(format!("{} = {}", key(name), to_toml(value)?)))
                .collect();
            format!("{{ {} }}", fields?.join(", "))
        }
    })
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A basic TOML string on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str) -> Vec<Row> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fields_say_what_the_rows_are() {
        for (json, kind, render) in [
            (
                r#"[{"text": "A page.", "url": "x"}]"#,
                Kind::Text,
                "text = \"text\"",
            ),
            (
                r####"[{"text": "### Human: Hi### Assistant: Hello"}]"####,
                Kind::Chat,
                "transcript = { field = \"text\", user = \"### Human:\", assistant = \"### Assistant:\" }",
            ),
            (
                r#"[{"instruction": "Say hi.", "context": "", "response": "hi"}]"#,
                Kind::Chat,
                "instruction = { prompt = \"instruction\", input = \"context\", response = \"response\" }",
            ),
            (
                r#"[{"id": 1, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]"#,
                Kind::Chat,
                "turns = { field = \"messages\", role = \"role\", text = \"content\" }",
            ),
            (
                r#"[{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}]"#,
                Kind::Preference,
                "preference = {}",
            ),
            (
                r#"[{"question": "1 + 1?", "answer": "2"}]"#,
                Kind::Text,
                "template = \"Question: {question}\\nAnswer: {answer}\"",
            ),
            (
                r#"[{"prompt": "q", "completion": "a"}]"#,
                Kind::Chat,
                "exchange = { prompt = \"prompt\", response = \"completion\" }",
            ),
            (
                r#"[{"title": "T", "abstract": "The longest of the texts."}]"#,
                Kind::Text,
                "text = \"abstract\"",
            ),
        ] {
            let guess = guess(&rows(json));
            assert_eq!((guess.kind, guess.render.as_str()), (kind, render));
            assert!(guess.example.is_some(), "{json}");
            assert_eq!(guess.sure, !json.contains("abstract"));
        }
    }

    #[test]
    fn a_card_says_its_licence() {
        let card =
            |line: &str| format!("---\nlanguage: en\n{line}\nsize: x\n---\n# Title\nlicense: no\n");
        for (line, said) in [
            ("license: apache-2.0", Some("Apache-2.0")),
            ("license:\n- cc-by-4.0", Some("CC-BY-4.0")),
            ("license: other", Some("other")),
            ("tags: x", None),
        ] {
            assert_eq!(licence(&card(line)).as_deref(), said, "{line}");
        }
        assert_eq!(licence("# Title\nlicense: mit\n"), None);
    }

    #[test]
    fn strings_of_any_characters_survive_in_the_draft() {
        let text = "a \"b\" \\ c\n\t\r\u{0}\u{7f}\u{85}é";
        let read: toml::Table = toml::from_str(&format!("x = {}", quoted(text))).unwrap();
        assert_eq!(read["x"].as_str(), Some(text));
    }
}
