//! Names that come from people and from the server, checked before they become addresses or paths. Repository ids follow
//! the rules of the Python library's `validate_repo_id`, revisions those of `git check-ref-format`; file names are checked
//! component by component, so that no repository can place a file outside its own folder on any system we may be copied to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::FetchError;

/// A repository's id: `owner/name` of a dataset, `name` alone for the hub's oldest ones, and `models/owner/name` of a
/// model, as the hub's API has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoId(String);

impl RepoId {
    /// The id as the hub writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository of a model, by `owner/name`.
    ///
    /// # Errors
    /// [`FetchError::RepoId`] with the rule that it breaks.
    pub fn model(id: &str) -> Result<Self, FetchError> {
        format!("{MODELS}{id}").parse()
    }

    /// The owner and name of a model; nothing of a dataset.
    fn of_model(&self) -> Option<&str> {
        let rest = self.0.strip_prefix(MODELS)?;
        // A dataset's owner may be called so.
        rest.contains('/').then_some(rest)
    }

    /// What it holds, for messages.
    #[must_use]
    pub fn holds(&self) -> &'static str {
        self.of_model().map_or("dataset", |_| "model")
    }

    /// Name of the repository's folder in the cache, as every client of the hub names it.
    #[must_use]
    pub fn folder(&self) -> String {
        self.in_api().replace('/', "--")
    }

    /// Its place below the hub's API.
    pub(super) fn in_api(&self) -> String {
        match self.of_model() {
            Some(_) => self.0.clone(),
            None => format!("datasets/{}", self.0),
        }
    }

    /// Its place below the hub itself, where its page and its files are.
    pub(super) fn on_hub(&self) -> String {
        match self.of_model() {
            Some(id) => id.to_owned(),
            None => format!("datasets/{}", self.0),
        }
    }
}

/// What stands before the owner of a model.
const MODELS: &str = "models/";

impl FromStr for RepoId {
    type Err = FetchError;

    fn from_str(id: &str) -> Result<Self, FetchError> {
        let refuse = |reason| {
            Err(FetchError::RepoId {
                repo: id.escape_debug().to_string(),
                reason,
            })
        };
        let mut parts = 0;
        for part in id.split('/') {
            parts += 1;
            let word =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if part.is_empty() {
                return refuse("a part is empty");
            }
            if part.len() > 96 {
                return refuse("a part is longer than 96 characters");
            }
            if !part.bytes().all(word) {
                return refuse("only letters, digits, `-`, `_` and `.` are allowed");
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
                return refuse("a part begins or ends with `-` or `.`");
            }
        }
        if parts > 2 && !(parts == 3 && id.starts_with(MODELS)) {
            return refuse("it has more than two parts");
        }
        // Two dashes separate owner and name in the cache; two dots mean the folder above.
        if id.contains("--") || id.contains("..") {
            return refuse("`--` and `..` are not allowed");
        }
        if id.to_ascii_lowercase().ends_with(".git") {
            return refuse("it ends with `.git`");
        }
        Ok(Self(id.to_owned()))
    }
}

impl TryFrom<String> for RepoId {
    type Error = FetchError;

    fn try_from(id: String) -> Result<Self, FetchError> {
        id.parse()
    }
}

impl From<RepoId> for String {
    fn from(id: RepoId) -> Self {
        id.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A commit: 40 lower-case hexadecimal digits. What it names never changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

impl Commit {
    /// The 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = FetchError;

    fn from_str(digits: &str) -> Result<Self, FetchError> {
        if is_hex(digits, 40) {
            return Ok(Self(digits.to_owned()));
        }
        let reason = "a commit has 40 lower-case hexadecimal digits";
        Err(FetchError::Revision {
            revision: digits.escape_debug().to_string(),
            reason,
        })
    }
}

impl TryFrom<String> for Commit {
    type Error = FetchError;

    fn try_from(digits: String) -> Result<Self, FetchError> {
        digits.parse()
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// True for exactly `length` lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks a branch, tag, reference or commit.
///
/// # Errors
/// [`FetchError::Revision`] with the rule that it breaks.
pub fn check_revision(revision: &str) -> Result<(), FetchError> {
    let refuse = |reason| {
        Err(FetchError::Revision {
            revision: revision.escape_debug().to_string(),
            reason,
        })
    };
    if revision.is_empty() {
        return refuse("it is empty");
    }
    if revision.len() > 255 {
        return refuse("it is longer than 255 bytes");
    }
    if revision
        .chars()
        .any(|c| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
    {
        return refuse("it holds a character that git does not allow");
    }
    if revision.contains("..") || revision.contains("@{") || revision == "@" {
        return refuse("`..`, `@{` and `@` are not allowed");
    }
    if revision.ends_with('.') || revision.starts_with('-') {
        return refuse("it begins with `-` or ends with `.`");
    }
    if revision
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
    {
        return refuse("a part is empty, begins with `.` or ends with `.lock`");
    }
    Ok(())
}

/// Checks a file's path inside its repository: relative, slashes between components, and each component harmless on
/// Linux, macOS and Windows.
///
/// # Errors
/// [`FetchError::FileName`] with the rule that it breaks.
pub fn check_path(repo: &RepoId, path: &str) -> Result<(), FetchError> {
    path_problem(path).map_or(Ok(()), |reason| {
        let shown: String = path.chars().take(300).collect();
        Err(FetchError::FileName {
            repo: repo.to_string(),
            path: shown.escape_debug().to_string(),
            reason,
        })
    })
}

/// The rule that a relative path breaks, whatever server it comes from.
pub(crate) fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("it is empty")
    } else if path.len() > 2048 {
        Some("it is longer than 2,048 bytes")
    } else {
        path.split('/').find_map(component_problem)
    }
}

fn component_problem(part: &str) -> Option<&'static str> {
    // Direction overrides and line separators make a name look like another one on a terminal.
    let deceives = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    let bytes = part.as_bytes();
    // What Windows takes for the name's stem: up to the first dot, or a colon (an alternate stream).
    let stem = part
        .split(['.', ':'])
        .next()
        .unwrap_or(part)
        .trim_end_matches(' ');
    let lower = part.to_ascii_lowercase();
    if part.is_empty() {
        Some("a component is empty (absolute paths are not used)")
    } else if part == "." || part == ".." {
        Some("it steps through `.` or `..`")
    } else if part.len() > 255 {
        Some("a component is longer than 255 bytes")
    } else if part.contains('\\') {
        Some("it holds a backslash")
    } else if part.chars().any(char::is_control) {
        Some("it holds a control character")
    } else if part.chars().any(deceives) {
        Some("it holds a character that hides what the name is")
    } else if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        Some("it begins with a drive letter")
    } else if lower == ".git" || lower.starts_with(".git:") || lower == "git~1" {
        Some("it is git's own folder")
    } else if part.ends_with(['.', ' ']) {
        Some("a component ends with a dot or a space, which Windows drops")
    } else if is_device(stem) {
        Some("it is a device name of Windows")
    } else {
        None
    }
}

fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    if ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"].contains(&stem.as_str()) {
        return true;
    }
    let number = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"));
    number.is_some_and(|number| {
        matches!(
            number,
            "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    fn repo() -> RepoId {
        "owner/name".parse().unwrap()
    }

    #[test]
    fn names_that_could_escape_or_deceive_are_refused() {
        let long = "x".repeat(256);
        let long_path = "directory/".repeat(205) + "f";
        let bad: Vec<&str> = vec![
            "",
            "/",
            "//",
            "a//b",
            "a/",
            "/a",
            "/etc/passwd",
            "//server/share",
            "///a",
            ".",
            "..",
            "./a",
            "../a",
            "a/..",
            "a/.",
            "a/../b",
            "a/./b",
            "../../../../etc/passwd",
            "a/../../b",
            "...",
            "a/...",
            "\\",
            "a\\b",
            "..\\a",
            "\\\\server\\share",
            "C:\\x",
            "a/..\\..\\b",
            "\\\\?\\C:\\x",
            "C:",
            "c:x",
            "C:/x",
            "a/z:y",
            "Z:",
            "\0",
            "a\0b",
            "a\nb",
            "a\rb",
            "a\tb",
            "\u{1b}[2J",
            "a\u{7f}",
            "\u{85}",
            "a/\u{1}/b",
            "\u{9b}31m",
            "gpj\u{202e}.exe",
            "a\u{2066}b",
            "a\u{2028}b",
            "\u{feff}a",
            "CON",
            "con",
            "con.txt",
            "a/PRN",
            "aux.jsonl",
            "NUL",
            "nul.tar.gz",
            "COM1",
            "com9.x",
            "LPT1",
            "lpt¹",
            "COM0",
            "CONIN$",
            "conout$.x",
            "con .txt",
            "nul:stream",
            "CLOCK$",
            ".git",
            ".GIT",
            "a/.git/config",
            ".git/hooks/post-checkout",
            ".Git",
            "git~1",
            "GIT~1/x",
            ".git:x",
            "a.",
            "a ",
            "a/b./c",
            "a/b /c",
            &long,
            &long_path,
        ];
        assert!(bad.len() >= 60, "{}", bad.len());
        for name in bad {
            let error = check_path(&repo(), name).expect_err(&format!("{name:?} was accepted"));
            assert!(
                !error.to_string().chars().any(char::is_control),
                "{name:?} reaches the terminal raw"
            );
            assert!(!error.is_retriable());
        }
    }

    #[test]
    fn names_that_real_repositories_use_are_accepted() {
        let longest = "x".repeat(255);
        for name in [
            "README.md",
            ".gitattributes",
            ".gitignore",
            "a/.gitkeep",
            "data/train-00000-of-00080.parquet",
            "en/c4-train.00000-of-01024.json.gz",
            "a b/c d.txt",
            "data/c++/x",
            "50%.txt",
            "\u{e9}t\u{e9}.json",
            "\u{6570}\u{636e}/\u{8bad}\u{7ec3}.jsonl",
            "..a",
            "a..b",
            ".hidden",
            "console.txt",
            "auxiliary",
            "com.txt",
            "com10",
            "null",
            "connect/lpt",
            "2023-04-12T10:00:00.json",
            "a~1",
            "#x",
            "?x",
            "a&b=c",
            &longest,
        ] {
            check_path(&repo(), name).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_stays_in_its_folder(name in "\\PC{0,12}|[./\\\\:a-zA-Z]{0,16}") {
            if check_path(&repo(), &name).is_ok() {
                let inside = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
                prop_assert!(inside && Path::new(&name).components().count() == name.split('/').count());
            }
        }
    }

    #[test]
    fn repository_ids_follow_the_rules_of_the_hub() {
        for good in [
            "allenai/c4",
            "glue",
            "openai/openai_humaneval",
            "a/b.c-d_e",
            "JosephusCheung/GuanacoDataset",
        ] {
            assert_eq!(good.parse::<RepoId>().unwrap().as_str(), good);
        }
        assert_eq!(
            "allenai/c4".parse::<RepoId>().unwrap().folder(),
            "datasets--allenai--c4"
        );
        let model = RepoId::model("EleutherAI/gpt-neox-20b").unwrap();
        assert_eq!(model.as_str(), "models/EleutherAI/gpt-neox-20b");
        assert_eq!(model.folder(), "models--EleutherAI--gpt-neox-20b");
        assert_eq!(model.on_hub(), "EleutherAI/gpt-neox-20b");
        let dataset: RepoId = "models/c4".parse().unwrap();
        assert_eq!(dataset.folder(), "datasets--models--c4");
        assert!(RepoId::model("a/b/c").is_err() && RepoId::model("../x").is_err());
        let long = format!("o/{}", "x".repeat(97));
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            ".a/b",
            "a/.b",
            "a/b.",
            "-a/b",
            "a/b-",
            "a--b/c",
            "a..b",
            "a b/c",
            "a/b\n",
            "a/b?x",
            "a/b#x",
            "a/b%2f",
            "a\\b",
            "\u{e9}/b",
            "a/b.git",
            "a/b.GIT",
            "https://hub.example/a/b",
            "a@b/c",
            &long,
        ] {
            assert!(bad.parse::<RepoId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn revisions_follow_the_rules_of_git() {
        for good in [
            "main",
            "v1.0",
            "refs/convert/parquet",
            "refs/pr/12",
            "feature/x",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            check_revision(good).unwrap();
        }
        for bad in [
            "", "..", "a..b", "a/../b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.", "-x",
            "@", "a@{1}", "a b", "a~1", "a^", "a:b", "a?b", "a*", "a[b", "a\\b", "a\nb", "a\0b",
        ] {
            assert!(check_revision(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_commit_is_forty_lower_case_digits() {
        assert!(
            "0123456789abcdef0123456789abcdef01234567"
                .parse::<Commit>()
                .is_ok()
        );
        for bad in [
            "",
            "main",
            "0123456789ABCDEF0123456789abcdef01234567",
            "0123",
            "g123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(bad.parse::<Commit>().is_err());
        }
    }
}
