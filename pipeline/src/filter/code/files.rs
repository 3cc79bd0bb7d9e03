//! Rules for source files that ask for the language: three published sets, each as its publisher has it.
//!
//! - `starcoder2` (Lozhkov et al. 2024, arXiv 2402.19173, section 3): lines, letters, generated files, encoded data, and rules
//!   for data, HTML and text. Of what go-enry's `is_generated` knows, only the phrases of the paper are looked for.
//! - `starcoder` (Li et al. 2023, arXiv 2305.06161; `bigcode-project/bigcode-dataset`, `preprocessing/filtering.py`): what it
//!   has beyond the `code` table: XML, HTML by visible text, JSON and YAML by length.
//! - `redpajama` (`togethercomputer/RedPajama-Data`, branch `rp_v1`, `data_prep/github`): lines, letters and digits, and a list
//!   of what paths end in. Its rule of letters a token is asked where `tokenizer` names a `tokenizer.json`: it had that of Pythia,
//!   which is GPT-NeoX-20B's. Special tokens that stand in a file are text here, and one token each there.
//!
//! Lines are Python's `splitlines`, letters and digits its `isalpha` and `isalnum`. A minified file breaks the rules for lines.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::encoded::encoded;
use super::language::{Language, language, name_and_extension};
use super::markup::visible;
use crate::analysis::{Analysis, LETTERS};
use crate::filter::beside::About;
use crate::filter::lists::Lists;
use crate::tokenize::Tokenizer;

/// Whose rules are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeRules {
    /// `StarCoder2`'s.
    Starcoder2,
    /// `StarCoder`'s.
    Starcoder,
    /// `RedPajama`'s.
    Redpajama,
}

/// A profile's `code-files` table. The language is what the field says that the dataset's render names as `language`, or else
/// what the name of the file says, where the render names its field as `path`; files of a folder have theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CodeFilesOptions {
    /// Whose rules are followed.
    pub rules: CodeRules,
    /// The `tokenizer.json` by which `redpajama` counts letters a token, absolute or relative to the manifests' folder; not
    /// asked where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

impl Default for CodeFilesOptions {
    fn default() -> Self {
        Self {
            rules: CodeRules::Starcoder2,
            tokenizer: None,
        }
    }
}

impl CodeFilesOptions {
    pub(in crate::filter) fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let idle = self.tokenizer.is_some() && self.rules != CodeRules::Redpajama;
        let message = "only the rules of redpajama count tokens: write rules = \"redpajama\", or take the key out";
        idle.then_some(("tokenizer", message)).into_iter().collect()
    }

    /// The tokenizer, if one is named.
    pub(in crate::filter) fn load(&self, lists: &Lists) -> Result<Option<Tokenizer>, String> {
        let Some(name) = &self.tokenizer else {
            return Ok(None);
        };
        // None of its ids is kept, so which token ends a text does not matter.
        let bytes = lists.bytes(name)?;
        let loaded = Tokenizer::from_bytes(&bytes, Path::new(name), None);
        loaded.map(Some).map_err(|error| error.to_string())
    }
}

/// Characters of a line, and in the mean, of languages whose lines are lines.
const MAX_LINE: u64 = 1000;
const MAX_MEAN_LINE: f64 = 100.0;
/// Characters of a line of the others, and lines of any file.
const MAX_LONG_LINE: u64 = 100_000;
const MAX_LINES: u64 = 100_000;
/// Lines of a file of data.
const MAX_DATA_LINES: u64 = 512;
const MIN_SHARE: f64 = 0.25;
/// Letters a token.
const MIN_LETTERS_A_TOKEN: f64 = 1.5;
/// Characters of a piece of encoded data, and the share of the file.
const MAX_ENCODED: u64 = 1024;
const MAX_ENCODED_SHARE: f64 = 0.5;
/// Visible characters of an HTML file, and their share: it has more of both.
const LITTLE_VISIBLE: u64 = 100;
const LITTLE_VISIBLE_SHARE: f64 = 0.2;
/// Characters of a JSON or YAML file.
const JSON_CHARACTERS: std::ops::RangeInclusive<u64> = 100..=5000;
/// Characters of the beginning in which XML says that it is XML.
const XML_CHARACTERS: usize = 100;
const TEXT_NAMES: [&str; 5] = ["readme", "notes", "todo", "description", "cmakelists"];

/// What paths end in that `RedPajama` has: extensions, and two names, which longer ones may end in.
const REDPAJAMA: &[&str] = &[
    ".asm",
    ".bat",
    ".cmd",
    ".c",
    ".h",
    ".cs",
    ".cpp",
    ".hpp",
    ".c++",
    ".h++",
    ".cc",
    ".hh",
    ".C",
    ".H",
    ".cmake",
    ".css",
    ".dockerfile",
    ".f90",
    ".f",
    ".f03",
    ".f08",
    ".f77",
    ".f95",
    ".for",
    ".fpp",
    ".go",
    ".hs",
    ".html",
    ".java",
    ".js",
    ".jl",
    ".lua",
    ".md",
    ".markdown",
    ".php",
    ".php3",
    ".php4",
    ".php5",
    ".phps",
    ".phpt",
    ".pl",
    ".pm",
    ".pod",
    ".perl",
    ".ps1",
    ".psd1",
    ".psm1",
    ".py",
    ".rb",
    ".rs",
    ".sql",
    ".scala",
    ".sh",
    ".bash",
    ".command",
    ".zsh",
    ".ts",
    ".tsx",
    ".tex",
    ".vb",
    ".xml",
    ".rst",
    ".m",
    ".smali",
    "Dockerfile",
    "Makefile",
];

/// The rule that drops a file, and the value that it has.
pub(in crate::filter) fn check(
    options: &CodeFilesOptions,
    about: &About,
    tokenizer: Option<&Tokenizer>,
    document: &Analysis<'_>,
) -> Option<(&'static str, String)> {
    let path = about.path.as_deref();
    let language = language(about.language.as_deref(), path);
    match options.rules {
        CodeRules::Starcoder2 => starcoder2(language, path, document),
        CodeRules::Starcoder => starcoder(language, document),
        CodeRules::Redpajama => redpajama(path, tokenizer, document),
    }
}

fn starcoder2(
    language: Language,
    path: Option<&str>,
    document: &Analysis<'_>,
) -> Option<(&'static str, String)> {
    let text = document.text();
    let lines = document.all_lines();
    if lines.count == 0 {
        return Some(("code-empty", String::new()));
    }
    if lines.count > MAX_LINES {
        return Some(("code-too-many-lines", lines.count.to_string()));
    }
    if let Some(found) = long_lines(language.has_long_lines(), document) {
        return Some(found);
    }
    if super::says_generated(text) {
        return Some(("code-generated", String::new()));
    }
    let characters = document.characters();
    let share = if matches!(language, Language::M68k | Language::WebAssembly) {
        characters.alphanumeric as f64 / characters.count as f64
    } else {
        letters(text) as f64 / characters.count as f64
    };
    if share < MIN_SHARE {
        return Some(("code-few-letters", format!("{share:.3}")));
    }
    let encoded = encoded(text);
    if encoded.longest > MAX_ENCODED
        || encoded.all as f64 > MAX_ENCODED_SHARE * characters.count as f64
    {
        return Some(("code-encoded", encoded.longest.to_string()));
    }
    if language.is_data() && lines.count > MAX_DATA_LINES {
        return Some(("code-data", lines.count.to_string()));
    }
    if language == Language::Html {
        return little_visible(text, characters.count);
    }
    if let (Language::Text, Some(path)) = (language, path) {
        let (name, _) = name_and_extension(path);
        let lower = name.to_lowercase();
        let stem = lower
            .rsplit_once('.')
            .map_or(lower.as_str(), |(stem, _)| stem);
        if !lower.contains("requirement") && !TEXT_NAMES.contains(&stem) {
            return Some(("code-text", name.to_owned()));
        }
    }
    None
}

fn starcoder(language: Language, document: &Analysis<'_>) -> Option<(&'static str, String)> {
    let text = document.text();
    let count = document.character_count();
    if language != Language::Xslt {
        let start = text
            .char_indices()
            .nth(XML_CHARACTERS)
            .map_or(text, |(at, _)| &text[..at]);
        if start.contains("<?xml version=") {
            return Some(("code-xml", String::new()));
        }
    }
    match language {
        Language::Html => little_visible(text, count),
        Language::Json | Language::Yaml if !JSON_CHARACTERS.contains(&count) => {
            Some(("code-data", count.to_string()))
        }
        _ => None,
    }
}

fn redpajama(
    path: Option<&str>,
    tokenizer: Option<&Tokenizer>,
    document: &Analysis<'_>,
) -> Option<(&'static str, String)> {
    let text = document.text();
    let lines = document.all_lines();
    if lines.count == 0 {
        return Some(("code-empty", String::new()));
    }
    if let Some(path) = path
        && !REDPAJAMA.iter().any(|end| path.ends_with(end))
    {
        let (name, extension) = name_and_extension(path);
        let other = if extension.is_empty() {
            name
        } else {
            extension
        };
        return Some(("code-extension", other.to_owned()));
    }
    if let Some(found) = long_lines(false, document) {
        return Some(found);
    }
    let characters = document.characters();
    let share = characters.alphanumeric as f64 / characters.count as f64;
    if share < MIN_SHARE {
        return Some(("code-few-alphanumeric", format!("{share:.3}")));
    }
    let mut ids = Vec::new();
    // What the tokenizer cannot take it has no number of tokens for, and the rule says nothing.
    tokenizer?.encode(text, &mut ids).ok()?;
    let rate = letters(text) as f64 / ids.len() as f64;
    (rate < MIN_LETTERS_A_TOKEN).then(|| ("code-few-letters-a-token", format!("{rate:.3}")))
}

/// The rules for lines; of languages with long ones only the longest counts.
fn long_lines(long: bool, document: &Analysis<'_>) -> Option<(&'static str, String)> {
    let lines = document.all_lines();
    let most = if long { MAX_LONG_LINE } else { MAX_LINE };
    if lines.longest > most {
        return Some(("code-long-line", lines.longest.to_string()));
    }
    let mean = lines.characters as f64 / lines.count as f64;
    (!long && mean > MAX_MEAN_LINE).then(|| ("code-long-mean-line", format!("{mean:.1}")))
}

fn little_visible(text: &str, count: u64) -> Option<(&'static str, String)> {
    let visible = visible(text);
    let enough = visible > LITTLE_VISIBLE && visible as f64 > LITTLE_VISIBLE_SHARE * count as f64;
    (!enough).then(|| ("code-little-visible", visible.to_string()))
}

/// Letters, as Python's `isalpha` counts them.
fn letters(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii_alphabetic).count() as u64;
    if text.is_ascii() {
        return ascii;
    }
    let others = text
        .chars()
        .filter(|c| !c.is_ascii() && LETTERS.contains(*c));
    ascii + others.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Scratch;

    fn reason(rules: CodeRules, path: &str, text: &str) -> Option<&'static str> {
        let about = About {
            path: Some(path.to_owned()),
            ..About::default()
        };
        let options = CodeFilesOptions {
            rules,
            tokenizer: None,
        };
        let mut scratch = Scratch::default();
        let document = Analysis::new(text, &mut scratch).unwrap();
        check(&options, &about, None, &document).map(|(reason, _)| reason)
    }

    #[test]
    fn starcoder2_tells_languages_apart() {
        let lines = |count: usize| "let x = 1;\n".repeat(count);
        let long = format!("{} \n", "word ".repeat(400));
        let page = |visible: usize, hidden: usize| {
            format!(
                "<html><script>{}</script><p>{}</p></html>",
                "var word = 1; ".repeat(hidden),
                "some words ".repeat(visible)
            )
        };
        for (path, text, expected) in [
            ("a.rs", lines(20), None),
            ("a.rs", String::new(), Some("code-empty")),
            ("a.rs", long.clone(), Some("code-long-line")),
            ("a.rs", "word ".repeat(30), Some("code-long-mean-line")),
            ("a.md", long, None),
            ("a.md", "word ".repeat(30_000), Some("code-long-line")),
            ("a.rs", "x\n".repeat(100_001), Some("code-too-many-lines")),
            ("a.rs", "1234567;\n".repeat(20), Some("code-few-letters")),
            ("a.wat", "1234567;\n".repeat(20), None),
            (
                "a.rs",
                format!("// AUTOGENERATED\n{}", lines(9)),
                Some("code-generated"),
            ),
            ("a.rs", format!("{}// autogenerated\n", lines(9)), None),
            ("a.json", "\"word\": 1,\n".repeat(512), None),
            ("a.json", "\"word\": 1,\n".repeat(513), Some("code-data")),
            ("a.html", page(12, 10), None),
            ("a.html", page(9, 0), Some("code-little-visible")),
            ("a.html", page(12, 100), Some("code-little-visible")),
            ("x/notes.txt", lines(9), None),
            ("x/Requirements-dev.txt", lines(9), None),
            ("x/other.txt", lines(9), Some("code-text")),
        ] {
            let start: String = text.chars().take(40).collect();
            assert_eq!(
                reason(CodeRules::Starcoder2, path, &text),
                expected,
                "{path}: {start}"
            );
        }
        let encoded = format!(
            "{}{}",
            lines(200),
            ["QUJD".repeat(24), "\n".to_owned()].concat().repeat(11)
        );
        assert_eq!(
            reason(CodeRules::Starcoder2, "a.rs", &encoded),
            Some("code-encoded")
        );
    }

    #[test]
    fn starcoder_takes_markup_and_data_by_what_is_in_them() {
        let xml = "<?xml version=\"1.0\"?>\n<a/>\n";
        for (path, text, expected) in [
            ("a.svg", xml.to_owned(), Some("code-xml")),
            ("a.xsl", xml.to_owned(), None),
            ("a.svg", format!("{}{xml}", " ".repeat(90)), None),
            ("a.json", "x".repeat(99), Some("code-data")),
            ("a.json", "x".repeat(100), None),
            ("a.yml", "x".repeat(5000), None),
            ("a.yml", "x".repeat(5001), Some("code-data")),
            ("a.rs", "x".repeat(5001), None),
        ] {
            assert_eq!(
                reason(CodeRules::Starcoder, path, &text),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn starcoder_counts_white_space_of_html_and_wants_more_than_a_hundred() {
        // `filter_html` of bigcode-dataset keeps the third and the fifth.
        for (visible, tags, expected) in [
            ("words ".repeat(10), 0, Some("code-little-visible")),
            ("x".repeat(100), 0, Some("code-little-visible")),
            ("x".repeat(101), 0, None),
            ("x".repeat(200), 115, Some("code-little-visible")),
            (format!("{}{}", "x".repeat(60), " \n".repeat(30)), 0, None),
        ] {
            let text = format!("{visible}{}", "<p></p>".repeat(tags));
            assert_eq!(
                reason(CodeRules::Starcoder, "a.html", &text),
                expected,
                "{tags} {}",
                visible.len()
            );
        }
    }

    #[test]
    fn redpajama_has_a_list_of_what_paths_end_in() {
        let text = "let x = 1;\n".repeat(9);
        // Python: path.endswith(extensions_whitelist) of github_run_filter.py.
        for (path, expected) in [
            ("src/a.rs", None),
            ("Makefile", None),
            ("build/GNUMakefile", None),
            ("src/.c", None),
            ("a.c.in", Some("code-extension")),
            ("Makefile.am", Some("code-extension")),
            ("a.kt", Some("code-extension")),
            ("srcc", Some("code-extension")),
            ("LICENSE", Some("code-extension")),
        ] {
            assert_eq!(
                reason(CodeRules::Redpajama, path, &text),
                expected,
                "{path}"
            );
        }
        assert_eq!(
            reason(CodeRules::Redpajama, "a.c", "(){};\n"),
            Some("code-few-alphanumeric")
        );
    }

    #[test]
    fn redpajama_counts_letters_a_token_by_the_tokenizer_that_is_named() {
        // `ab` is a token, and so are `a`, `b` and `1` where they stand alone.
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("bytes.json");
        let definition = serde_json::json!({
            "version": "1.0",
            "added_tokens": [{
                "id": 4, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            }],
            "normalizer": null,
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "vocab": { "a": 0, "b": 1, "1": 2, "ab": 3, "<|endoftext|>": 4 },
                "merges": ["a b"]
            }
        });
        fs_err::write(&place, definition.to_string()).unwrap();
        let options = CodeFilesOptions {
            rules: CodeRules::Redpajama,
            tokenizer: Some("bytes.json".to_owned()),
        };
        let lists = Lists::new([("bytes.json".to_owned(), place)]);
        let tokenizer = options.load(&lists).unwrap().unwrap();
        let about = About::default();
        let said = |text: &str| {
            let mut scratch = Scratch::default();
            let document = Analysis::new(text, &mut scratch).unwrap();
            check(&options, &about, Some(&tokenizer), &document)
        };
        // Three tokens have six letters; four have six; four have five.
        assert_eq!(said("ababab"), None);
        assert_eq!(said("ababab1"), None);
        for text in ["ababa1", "aabab1"] {
            let few = ("code-few-letters-a-token", "1.250".to_owned());
            assert_eq!(said(text), Some(few));
        }
    }

    #[test]
    fn a_tokenizer_that_no_rule_asks_is_a_fault_and_one_that_is_none_is_named() {
        let mut options = CodeFilesOptions {
            rules: CodeRules::Starcoder,
            tokenizer: Some("t.json".to_owned()),
        };
        assert_eq!(options.faults().len(), 1);
        options.rules = CodeRules::Redpajama;
        assert_eq!(options.faults(), []);
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("t.json");
        fs_err::write(&place, "{}").unwrap();
        let lists = Lists::new([("t.json".to_owned(), place)]);
        assert!(options.load(&lists).unwrap_err().contains("t.json"));
        assert!(
            options
                .load(&Lists::default())
                .unwrap_err()
                .contains("t.json")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_judged(path in "\\PC{0,20}", text in "\\PC{0,200}") {
            for rules in [CodeRules::Starcoder2, CodeRules::Starcoder, CodeRules::Redpajama] {
                reason(rules, &path, &text);
            }
        }
    }
}
