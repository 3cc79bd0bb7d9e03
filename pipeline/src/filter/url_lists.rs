//! Rules on a document's address: listed domains, addresses, words and parts of words.
//!
//! Two published rules, which differ in what they compare. `datatrove`: `pipeline/filters/url_filter.py` of
//! `huggingface/datatrove`, version 0.10.1, with its order and its reading of lists. `refinedweb`: the rule of `RefinedWeb`
//! (Penedo et al. 2023, arXiv 2306.01116, appendix G.1) as DCLM follows it (`mlfoundations/dclm`,
//! `dclm_baseline_refinedweb.yaml`): whole domains without `www.`, parts of words after dashes and full stops are gone,
//! whole words, and two soft words. No list is part of the program: a recipe names files.
//!
//! A list has one entry a line; a line that begins with `#` is a remark. Blank lines are none (there they are entries).

use std::collections::{BTreeSet, HashSet};

use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::lists::Lists;

/// Whose rule is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UrlRule {
    /// datatrove's.
    Datatrove,
    /// `RefinedWeb`'s, as DCLM has it.
    Refinedweb,
}

/// A profile's `url` table: files with lists, absolute or relative to the manifests' folder, plain or gzip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UrlOptions {
    /// Whose rule is followed.
    pub rule: UrlRule,
    /// Domains, whose pages all go: registered ones with all their subdomains, or a single subdomain.
    pub domains: Vec<String>,
    /// Whole addresses.
    pub urls: Vec<String>,
    /// Words of which one is enough.
    pub words: Vec<String>,
    /// Words of which a few together are enough.
    pub soft_words: Vec<String>,
    /// How many.
    pub min_soft_words: usize,
    /// Letters that may stand anywhere.
    pub subwords: Vec<String>,
    /// Whether a document without an address goes.
    pub drop_without: bool,
}

impl Default for UrlOptions {
    fn default() -> Self {
        Self {
            rule: UrlRule::Datatrove,
            domains: Vec::new(),
            urls: Vec::new(),
            words: Vec::new(),
            soft_words: Vec::new(),
            min_soft_words: 2,
            subwords: Vec::new(),
            drop_without: false,
        }
    }
}

impl UrlOptions {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        let lists = [
            &self.domains,
            &self.urls,
            &self.words,
            &self.soft_words,
            &self.subwords,
        ];
        lists.into_iter().flatten()
    }

    /// What makes no sense: the key, and what to write.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if self.files().next().is_none() && !self.drop_without {
            faults.push((
                "domains",
                "nothing is listed: name files with domains, urls, words, soft-words or subwords",
            ));
        }
        if self.min_soft_words == 0 {
            faults.push(("min-soft-words", "at least 1 word makes a match"));
        }
        faults
    }
}

/// The lists of a table, read.
#[derive(Debug)]
pub(super) struct UrlFilter {
    options: UrlOptions,
    /// Hashes: the largest public list has millions of domains.
    domains: HashSet<u128>,
    urls: HashSet<u128>,
    words: HashSet<String>,
    soft_words: HashSet<String>,
    subwords: Option<(AhoCorasick, Vec<String>)>,
}

impl UrlFilter {
    /// # Errors
    /// What is wrong with a list, in words.
    pub(super) fn new(options: &UrlOptions, lists: &Lists) -> Result<Self, String> {
        let of = |files: &[String], each: &mut dyn FnMut(&str)| -> Result<(), String> {
            for file in files {
                lists.each_line(file, &mut |line| {
                    let line = line.trim();
                    if !line.is_empty() && !line.starts_with('#') {
                        each(line);
                    }
                })?;
            }
            Ok(())
        };
        let (mut domains, mut urls) = (HashSet::new(), HashSet::new());
        let refinedweb = options.rule == UrlRule::Refinedweb;
        of(&options.domains, &mut |line| {
            let line = match refinedweb {
                true => without_www(&line.to_lowercase()).to_owned(),
                false => line.to_owned(),
            };
            domains.insert(xxh3_128(line.as_bytes()));
        })?;
        of(&options.urls, &mut |line| {
            urls.insert(xxh3_128(line.as_bytes()));
        })?;
        let mut sets = [HashSet::new(), HashSet::new()];
        for (files, set) in [&options.words, &options.soft_words]
            .into_iter()
            .zip(&mut sets)
        {
            of(files, &mut |line| {
                set.insert(letters(line));
            })?;
            set.remove("");
        }
        let [words, soft_words] = sets;
        let mut parts = BTreeSet::new();
        of(&options.subwords, &mut |line| {
            parts.insert(match refinedweb {
                true => squeezed(line),
                false => letters(line),
            });
        })?;
        parts.remove("");
        let parts: Vec<String> = parts.into_iter().collect();
        let subwords = match parts.is_empty() {
            true => None,
            false => {
                let automaton = AhoCorasick::new(&parts).map_err(|error| error.to_string())?;
                Some((automaton, parts))
            }
        };
        Ok(Self {
            options: options.clone(),
            domains,
            urls,
            words,
            soft_words,
            subwords,
        })
    }

    /// The rule that drops a document with this address, and the entry that it has.
    pub(super) fn check(&self, url: Option<&str>) -> Option<(&'static str, String)> {
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            let dropped = self.options.drop_without;
            return dropped.then(|| ("url-missing", String::new()));
        };
        match self.options.rule {
            UrlRule::Datatrove => self.datatrove(url),
            UrlRule::Refinedweb => self.refinedweb(url),
        }
    }

    fn datatrove(&self, url: &str) -> Option<(&'static str, String)> {
        let host = host(url);
        if let Some((registered, whole)) = registered(host) {
            if self.has_domain(registered) {
                return Some(("url-domain", registered.to_owned()));
            }
            if self.has_domain(whole) {
                return Some(("url-subdomain", whole.to_owned()));
            }
        }
        if self.urls.contains(&xxh3_128(url.as_bytes())) {
            return Some(("url-listed", url.to_owned()));
        }
        // The address keeps its case here, as it does there.
        self.of_words(url)
            .or_else(|| self.of_subwords(&letters(url)))
    }

    fn refinedweb(&self, url: &str) -> Option<(&'static str, String)> {
        let lower = url.to_lowercase();
        let domain = without_www(host(&lower));
        if self.has_domain(domain) {
            return Some(("url-domain", domain.to_owned()));
        }
        if self.urls.contains(&xxh3_128(url.as_bytes())) {
            return Some(("url-listed", url.to_owned()));
        }
        self.of_subwords(&squeezed(&lower))
            .or_else(|| self.of_words(&lower))
    }

    fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains(&xxh3_128(domain.as_bytes()))
    }

    fn of_words(&self, url: &str) -> Option<(&'static str, String)> {
        let words: BTreeSet<&str> = url
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        if let Some(word) = words.iter().find(|word| self.words.contains(**word)) {
            return Some(("url-word", (*word).to_owned()));
        }
        let soft = words.iter().filter(|word| self.soft_words.contains(**word));
        let soft: Vec<&str> = soft.copied().collect();
        (soft.len() >= self.options.min_soft_words).then(|| ("url-soft-words", soft.join(", ")))
    }

    fn of_subwords(&self, letters: &str) -> Option<(&'static str, String)> {
        let (automaton, parts) = self.subwords.as_ref()?;
        let hit = automaton.find(letters)?;
        Some(("url-subword", parts[hit.pattern().as_usize()].clone()))
    }
}

/// ASCII letters and digits in lower case; the rest is gone.
fn letters(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Lower case, without dashes and full stops.
fn squeezed(text: &str) -> String {
    text.to_lowercase().replace(['-', '.'], "")
}

fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

/// The host of an address, read as leniently as `tldextract` does (`tldextract/remote.py`, `lenient_netloc`).
fn host(url: &str) -> &str {
    let rest = match url.find("//") {
        Some(0) => &url[2..],
        Some(at)
            if at >= 2
                && url.as_bytes()[at - 1] == b':'
                && url.as_bytes()[..at - 1]
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) =>
        {
            &url[at + 2..]
        }
        _ => url,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.trim().trim_end_matches('.')
}

/// The registered domain of a host, and the host; `None` where there is none, as of a number. Suffixes of the private part of
/// the public suffix list count for nothing, as is the default of `tldextract`.
fn registered(host: &str) -> Option<(&str, &str)> {
    let lower = host.to_lowercase();
    // Letters that have another length in lower case are in no list of domains.
    if lower.len() != host.len() {
        return None;
    }
    let mut rest = lower.as_str();
    let suffix = loop {
        let suffix = psl::suffix(rest.as_bytes())?;
        match suffix.typ() {
            Some(psl::Type::Icann) => break suffix.as_bytes().len(),
            Some(psl::Type::Private) => {
                let start = rest.len().checked_sub(suffix.as_bytes().len())?;
                rest = rest.get(start..)?.split_once('.')?.1;
            }
            None => return None,
        }
    };
    let before = host.len().checked_sub(suffix + 1)?;
    let name = host.get(..before)?.rsplit('.').next()?;
    let start = before - name.len();
    (!name.is_empty()).then(|| (&host[start..], host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(options: &str, files: &[(&str, &str)]) -> UrlFilter {
        let options: UrlOptions = toml::from_str(options).unwrap();
        assert_eq!(options.faults(), []);
        UrlFilter::new(&options, &Lists::of_texts(files)).unwrap()
    }

    fn reason(filter: &UrlFilter, url: &str) -> Option<&'static str> {
        filter.check(Some(url)).map(|(reason, _)| reason)
    }

    const FILES: [(&str, &str); 5] = [
        ("domains", "# remark\nbad.com\nworse.example.co.uk\n\n"),
        ("urls", "http://good.com/bad/page\n"),
        ("words", "Porn\nx-x-x\n"),
        ("soft", "adult\nsexy\nmature\n"),
        ("subwords", "hardcore\n"),
    ];
    const TABLE: &str = "domains = [\"domains\"]\nurls = [\"urls\"]\nwords = [\"words\"]\nsoft-words = [\"soft\"]\nsubwords = [\"subwords\"]\n";

    #[test]
    fn the_rule_of_datatrove_says_what_datatrove_says() {
        let filter = filter(TABLE, &FILES);
        // What `URLFilter(use_integrated_lists=False)` of datatrove 0.10.1 gave with these lists (tldextract 5.4.0, with the list of
        // suffixes that it holds); the reasons have other names here.
        for (url, expected) in [
            ("http://bad.com/x", Some("url-domain")),
            ("https://www.bad.com", Some("url-domain")),
            ("https://a.b.bad.com:8080/?q", Some("url-domain")),
            ("http://notbad.com/", None),
            ("http://worse.example.co.uk/", Some("url-subdomain")),
            ("http://example.co.uk/", None),
            ("http://x.worse.example.co.uk/", None),
            ("http://good.com/bad/page", Some("url-listed")),
            ("http://good.com/bad/page?x", None),
            ("http://good.com/porn/1", Some("url-word")),
            ("http://good.com/PORN/1", None),
            ("http://good.com/pornography", None),
            ("http://good.com/xxx", Some("url-word")),
            ("http://good.com/adult", None),
            ("http://good.com/adult/adult", None),
            ("http://good.com/adult-sexy", Some("url-soft-words")),
            ("http://good.com/hard-core", Some("url-subword")),
            ("http://good.com/HardCore1", Some("url-subword")),
            ("http://127.0.0.1/x", None),
            ("bad.com", Some("url-domain")),
            ("ftp://user:pw@bad.com/", Some("url-domain")),
            ("http://BAD.com/", None),
        ] {
            assert_eq!(reason(&filter, url), expected, "{url}");
        }
        assert_eq!(filter.check(None), None);
        assert_eq!(
            filter.check(Some("http://good.com/sexy?adult")).unwrap().1,
            "adult, sexy"
        );
    }

    #[test]
    fn the_rule_of_refinedweb_compares_hosts_and_lower_case() {
        let filter = filter(&format!("rule = \"refinedweb\"\n{TABLE}"), &FILES);
        for (url, expected) in [
            ("http://WWW.bad.com/x", Some("url-domain")),
            ("http://a.bad.com/x", None),
            ("http://good.com/PORN/1", Some("url-word")),
            ("http://good.com/hard-co.re", Some("url-subword")),
            ("http://good.com/hard_core", None),
            ("http://good.com/Adult-sexy", Some("url-soft-words")),
        ] {
            assert_eq!(reason(&filter, url), expected, "{url}");
        }
    }

    #[test]
    fn a_private_suffix_is_no_suffix() {
        assert_eq!(
            registered("a.b.github.io"),
            Some(("github.io", "a.b.github.io"))
        );
        assert_eq!(registered("x.blogspot.co.uk").unwrap().0, "blogspot.co.uk");
        assert_eq!(registered("co.uk"), None);
        assert_eq!(registered("localhost"), None);
        assert_eq!(registered(""), None);
        assert_eq!(registered("A.Bad.COM").unwrap().0, "Bad.COM");
    }

    #[test]
    fn a_document_without_an_address_goes_where_that_is_asked_for() {
        let filter = filter("drop-without = true", &[]);
        assert_eq!(filter.check(None).unwrap().0, "url-missing");
        assert_eq!(filter.check(Some("x")), None);
        let nothing = UrlOptions {
            min_soft_words: 0,
            ..UrlOptions::default()
        };
        assert_eq!(nothing.faults().len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_address_is_judged(url in "\\PC{0,80}") {
            let _ = filter(TABLE, &FILES).check(Some(&url));
            let _ = filter(&format!("rule = \"refinedweb\"\n{TABLE}"), &FILES).check(Some(&url));
        }
    }
}
