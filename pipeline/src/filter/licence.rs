//! A document's own licence, as a field of its row says it: what is not allowed goes.
//!
//! The licences that are allowed by default are those that the Blue Oak Council rates model, gold, silver or bronze
//! (<https://blueoakcouncil.org/list>, the common ones of it), by SPDX identifier, as `The Stack v2` does (arXiv 2402.19173).

use serde::{Deserialize, Serialize};

use super::beside::About;

/// Permissive licences.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AFL-3.0",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "BSD-3-Clause-Clear",
    "BSD-4-Clause",
    "BSD-Source-Code",
    "BSL-1.0",
    "CC0-1.0",
    "CC-PDDC",
    "curl",
    "ECL-2.0",
    "EFL-2.0",
    "FSFAP",
    "FTL",
    "HPND",
    "ICU",
    "ISC",
    "JSON",
    "libpng-2.0",
    "MIT",
    "MIT-0",
    "MS-PL",
    "NCSA",
    "OpenSSL",
    "PHP-3.01",
    "PostgreSQL",
    "Python-2.0",
    "Unicode-3.0",
    "Unlicense",
    "UPL-1.0",
    "X11",
    "Zlib",
];

/// A profile's `licence` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LicenceOptions {
    /// SPDX identifiers, in any case; `permissive` stands for a list of permissive ones.
    pub allow: Vec<String>,
    /// Whether a document that says no licence goes.
    pub drop_without: bool,
}

impl Default for LicenceOptions {
    fn default() -> Self {
        Self {
            allow: vec!["permissive".to_owned()],
            drop_without: true,
        }
    }
}

impl LicenceOptions {
    /// What makes no sense: the key, and what to write.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        match self.allow.is_empty() {
            true => vec![(
                "allow",
                "every document goes: name SPDX identifiers, or `permissive`",
            )],
            false => Vec::new(),
        }
    }

    fn allows(&self, id: &str) -> bool {
        let id = id.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
        // A later version is allowed where this one is.
        let id = id.strip_suffix('+').unwrap_or(id);
        self.allow.iter().any(|allowed| match allowed.as_str() {
            "permissive" => PERMISSIVE
                .iter()
                .any(|known| known.eq_ignore_ascii_case(id)),
            allowed => allowed.eq_ignore_ascii_case(id),
        })
    }

    /// Whether an expression is allowed: `A OR B` where one is, `A AND B` where both are. Exceptions (`WITH`) only ever allow
    /// more, so the licence alone decides.
    fn allows_expression(&self, expression: &str) -> bool {
        let words = |text: &str, word: &str| -> Vec<String> {
            let mut parts = vec![Vec::new()];
            for part in text.split_whitespace() {
                if part.eq_ignore_ascii_case(word) {
                    parts.push(Vec::new());
                } else if let Some(last) = parts.last_mut() {
                    last.push(part);
                }
            }
            parts.iter().map(|part| part.join(" ")).collect()
        };
        // Parentheses are read as if they were not there, and OR before AND: that never allows more than the expression does.
        words(expression, "AND").iter().all(|part| {
            words(part, "OR")
                .iter()
                .any(|id| self.allows(words(id, "WITH").first().map_or("", String::as_str)))
        })
    }

    /// The rule that drops a document, and the licence that it has. Of several licences in a list, all have to be allowed.
    pub(super) fn check(&self, about: &About) -> Option<(&'static str, String)> {
        if about.licences.is_empty() {
            let dropped = self.drop_without;
            return dropped.then(|| ("licence-missing", String::new()));
        }
        let mut licences = about.licences.iter();
        licences
            .find(|licence| !self.allows_expression(licence))
            .map(|licence| ("licence", licence.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(options: &LicenceOptions, licences: &[&str]) -> Option<&'static str> {
        let about = About {
            licences: licences.iter().map(|l| (*l).to_owned()).collect(),
            ..About::default()
        };
        options.check(&about).map(|(reason, _)| reason)
    }

    #[test]
    fn expressions_are_read() {
        let default = LicenceOptions::default();
        for (licences, expected) in [
            (&["MIT"][..], None),
            (&["mit"], None),
            (&["MIT", "Apache-2.0"], None),
            (&["MIT", "GPL-3.0-only"], Some("licence")),
            (&["MIT OR GPL-3.0-only"], None),
            (&["MIT AND GPL-3.0-only"], Some("licence")),
            (&["(MIT OR GPL-3.0-only) AND ISC"], None),
            (&["Apache-2.0 WITH LLVM-exception"], None),
            (
                &["GPL-2.0-only WITH Classpath-exception-2.0"],
                Some("licence"),
            ),
            (&["other"], Some("licence")),
            (&[], Some("licence-missing")),
        ] {
            assert_eq!(reason(&default, licences), expected, "{licences:?}");
        }
        let own = LicenceOptions {
            allow: vec!["GPL-3.0-only".to_owned()],
            drop_without: false,
        };
        assert_eq!(reason(&own, &["GPL-3.0-only"]), None);
        assert_eq!(reason(&own, &["MIT"]), Some("licence"));
        assert_eq!(reason(&own, &[]), None);
    }
}
