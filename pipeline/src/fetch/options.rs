//! Where the hub is, who asks, and where files are kept. [`HubOptions::from_env`] reads the variables of the Python library
//! `huggingface_hub` (its `constants.py` and `utils/_auth.py`) by the same rules, so that a machine set up for one is set up
//! for the other and both share one cache.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FetchError;
use super::http::Manners;

/// A user access token. It is sent to the endpoint's own origin and shown nowhere: `Debug` prints `Token(..)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token, with surrounding white space and line ends removed; `None` if nothing is left.
    ///
    /// # Errors
    /// [`FetchError::Setting`] where the token could not stand in a header.
    pub fn new(text: &str) -> Result<Option<Self>, FetchError> {
        let clean = text.replace(['\r', '\n'], "");
        let clean = clean.trim();
        if !clean.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "a token is printable ASCII without spaces; copy it again from the hub's settings page".to_owned();
            return Err(FetchError::Setting {
                name: "HF_TOKEN",
                reason,
            });
        }
        Ok((!clean.is_empty()).then(|| Self(clean.to_owned())))
    }

    /// The header's value.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(..)")
    }
}

/// Options of a [`Hub`](super::Hub).
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Root of the hub's addresses (`HF_ENDPOINT`).
    pub endpoint: String,
    /// Token, if requests shall carry one.
    pub token: Option<Token>,
    /// Folder of the cache (`HF_HUB_CACHE`), shared with every other client of the hub.
    pub cache: PathBuf,
    /// True forbids every connection (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// Longest wait for a connection or for the next bytes (`HF_HUB_DOWNLOAD_TIMEOUT`, in seconds there).
    pub timeout: Duration,
    /// Attempts after the first that failed without new bytes.
    pub retries: u32,
    /// Wait before the first retry; doubles with each further one.
    pub first_wait: Duration,
    /// Longest wait between attempts. A server that asks for more ends them.
    pub longest_wait: Duration,
    /// Connections at most, over all files: one a file, and several for a large one while others need none.
    pub connections: usize,
    /// Bytes of the pieces in which a large file comes over several connections; what a killed run has to ask for again is at
    /// most two of them a connection.
    pub piece_bytes: u64,
}

impl HubOptions {
    /// Options with the defaults: no token, online.
    #[must_use]
    pub fn new(endpoint: &str, cache: &Path) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            token: None,
            cache: cache.to_owned(),
            offline: false,
            timeout: Duration::from_secs(10),
            retries: 5,
            first_wait: Duration::from_secs(1),
            // The windows of the hub's rate limits are five minutes long.
            longest_wait: Duration::from_secs(300),
            connections: 8,
            piece_bytes: 4 << 20,
        }
    }

    pub(super) fn manners(&self) -> Manners {
        Manners {
            timeout: self.timeout,
            retries: self.retries,
            first_wait: self.first_wait,
            longest_wait: self.longest_wait,
            piece_bytes: self.piece_bytes,
            offline: self.offline,
        }
    }

    /// Options from the environment of the process.
    ///
    /// # Errors
    /// [`FetchError::Setting`] naming the variable that cannot be used, [`FetchError::Io`] where the token's file cannot be
    /// read.
    pub fn from_env() -> Result<Self, FetchError> {
        const PATHS: [&str; 6] = [
            "HF_HOME",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN_PATH",
            "XDG_CACHE_HOME",
            "HOME",
        ];
        for name in PATHS {
            if std::env::var_os(name).is_some_and(|value| value.to_str().is_none()) {
                return Err(FetchError::Setting {
                    name,
                    reason: "its value is not UTF-8".to_owned(),
                });
            }
        }
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// As [`HubOptions::from_env`], with the variables from `lookup`.
    ///
    /// # Errors
    /// As [`HubOptions::from_env`].
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, FetchError> {
        // An empty variable is an unset one: `os.environ.get(..) or ..` in the library.
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let is_true = |name: &str| {
            set(name).is_some_and(|value| {
                ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
            })
        };
        let path = |name: &str| set(name).map(|value| expand(&value, &set));
        let home = match (path("HF_HOME"), path("XDG_CACHE_HOME"), set("HOME")) {
            (Some(home), _, _) => home,
            (None, Some(cache), _) => cache.join("huggingface"),
            (None, None, Some(user)) => Path::new(&user).join(".cache/huggingface"),
            (None, None, None) => {
                let reason = "neither it nor XDG_CACHE_HOME nor HOME is set; set it to a folder for downloads".to_owned();
                return Err(FetchError::Setting {
                    name: "HF_HOME",
                    reason,
                });
            }
        };
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home.join("hub"));
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let mut options = Self::new(endpoint.trim_end_matches('/'), &cache);
        options.offline = is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
        if let Some(seconds) = set("HF_HUB_DOWNLOAD_TIMEOUT") {
            let seconds = seconds
                .trim()
                .parse()
                .ok()
                .filter(|seconds| (1..=86_400).contains(seconds));
            options.timeout = Duration::from_secs(seconds.ok_or_else(|| FetchError::Setting {
                name: "HF_HUB_DOWNLOAD_TIMEOUT",
                reason: "write whole seconds from 1 to 86400".to_owned(),
            })?);
        }
        // The variable and the file are both implicit in the library's sense: nobody named them in this call.
        if !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            options.token = match set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")) {
                Some(text) => Token::new(&text)?,
                None => token_in(&path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")))?,
            };
        }
        Ok(options)
    }
}

fn token_in(file: &Path) -> Result<Option<Token>, FetchError> {
    match fs_err::read_to_string(file) {
        Ok(text) => Token::new(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FetchError::Io {
            doing: "read the token's file (HF_TOKEN_PATH)",
            source,
        }),
    }
}

/// `~`, `$NAME` and `${NAME}` as `os.path.expanduser` and `expandvars` do; unknown variables stay as they are.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let mut expanded = String::new();
    let mut rest = text;
    if let Some(tail) = text
        .strip_prefix('~')
        .filter(|tail| tail.is_empty() || tail.starts_with('/'))
    {
        expanded.push_str(lookup("HOME").as_deref().unwrap_or("~"));
        rest = tail;
    }
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, tail) = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some(braced) => braced,
            None => after.split_at(
                after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len()),
            ),
        };
        match lookup(name) {
            Some(value) => expanded.push_str(&value),
            None => {
                expanded.push('$');
                expanded.push_str(&after[..after.len() - tail.len()]);
            }
        }
        rest = tail;
    }
    expanded.push_str(rest);
    PathBuf::from(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubOptions, FetchError> {
        HubOptions::from_lookup(&|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn bearer(options: &HubOptions) -> Option<String> {
        options.token.as_ref().map(Token::bearer)
    }

    #[test]
    fn folders_follow_the_rules_of_the_python_library() {
        for (variables, cache) in [
            (vec![("HOME", "/h")], "/h/.cache/huggingface/hub"),
            (
                vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (
                vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")],
                "/f/hub",
            ),
            (vec![("HOME", "/h"), ("HF_HOME", "~/f")], "/h/f/hub"),
            (
                vec![("HOME", "/h"), ("HF_HOME", "$D/f"), ("D", "/d")],
                "/d/f/hub",
            ),
            (
                vec![("HOME", "/h"), ("HF_HOME", "/a/${D}f$E/"), ("D", "d")],
                "/a/df$E/hub",
            ),
            (
                vec![
                    ("HOME", "/h"),
                    ("HF_HOME", "/f"),
                    ("HUGGINGFACE_HUB_CACHE", "/old"),
                ],
                "/old",
            ),
            (
                vec![
                    ("HOME", "/h"),
                    ("HF_HUB_CACHE", "/c"),
                    ("HUGGINGFACE_HUB_CACHE", "/old"),
                ],
                "/c",
            ),
            (
                vec![("HOME", "/h"), ("HF_HUB_CACHE", ""), ("HF_HOME", "")],
                "/h/.cache/huggingface/hub",
            ),
        ] {
            assert_eq!(
                read(&variables).unwrap().cache,
                Path::new(cache),
                "{variables:?}"
            );
        }
        assert!(read(&[]).unwrap_err().to_string().contains("HF_HOME"));
    }

    #[test]
    fn the_token_comes_from_variable_then_file_and_can_be_withheld() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs_err::write(folder.path().join("token"), " from_home\r\n").unwrap();
        fs_err::write(&elsewhere, "from_path").unwrap();
        let elsewhere = elsewhere.to_str().unwrap();
        let base = [("HOME", "/h"), ("HF_HOME", home)];
        let with = |more: &[(&str, &str)]| bearer(&read(&[&base, more].concat()).unwrap());
        assert_eq!(with(&[]).unwrap(), "Bearer from_home");
        assert_eq!(
            with(&[("HF_TOKEN_PATH", elsewhere)]).unwrap(),
            "Bearer from_path"
        );
        assert_eq!(
            with(&[("HF_TOKEN_PATH", elsewhere), ("HF_TOKEN", "direct\n")]).unwrap(),
            "Bearer direct"
        );
        assert_eq!(
            with(&[("HUGGING_FACE_HUB_TOKEN", "older")]).unwrap(),
            "Bearer older"
        );
        assert_eq!(with(&[("HF_TOKEN", "")]).unwrap(), "Bearer from_home");
        assert_eq!(with(&[("HF_TOKEN_PATH", "/nonexistent/token")]), None);
        assert_eq!(
            with(&[
                ("HF_TOKEN", "direct"),
                ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes")
            ]),
            None
        );
    }

    #[test]
    fn endpoint_offline_and_timeout_are_read_and_checked() {
        let home = ("HOME", "/h");
        let options = read(&[home, ("HF_ENDPOINT", "http://localhost:1/")]).unwrap();
        assert_eq!(
            (options.endpoint.as_str(), options.offline),
            ("http://localhost:1", false)
        );
        for (value, offline) in [
            ("1", true),
            ("on", true),
            ("Yes", true),
            ("TRUE", true),
            ("0", false),
            ("no", false),
            ("", false),
        ] {
            assert_eq!(
                read(&[home, ("HF_HUB_OFFLINE", value)]).unwrap().offline,
                offline,
                "{value:?}"
            );
        }
        assert_eq!(
            read(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", "33")])
                .unwrap()
                .timeout,
            Duration::from_secs(33)
        );
        for bad in ["0", "-1", "1.5", "ten", "99999999999999999999"] {
            let error = read(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", bad)]).unwrap_err();
            assert!(
                error.to_string().contains("HF_HUB_DOWNLOAD_TIMEOUT"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        let options = read(&[("HOME", "/h"), ("HF_TOKEN", "hf_canary")]).unwrap();
        assert!(!format!("{options:?}").contains("canary"));
        let error = read(&[("HOME", "/h"), ("HF_TOKEN", "hf_canary with space")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
