//! What a row says of its document besides the text, as far as rules ask: its address, file, language and licence.

use serde_json::Value;

use super::options::RenderOptions;
use crate::filter::beside::About;
use crate::read::Row;

/// The fields that say it: top-level ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AboutFields {
    url: Option<String>,
    path: Option<String>,
    language: Option<String>,
    licence: Option<String>,
}

impl AboutFields {
    pub(super) fn new(options: &RenderOptions) -> Self {
        Self {
            url: options.url.clone(),
            path: options.path.clone(),
            language: options.language.clone(),
            licence: options.licence.clone(),
        }
    }

    /// The names of the fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        [&self.url, &self.path, &self.language, &self.licence]
            .into_iter()
            .flatten()
    }

    /// What a row says. A field that is not there, or says something else, says nothing.
    pub(super) fn of(&self, row: &Row) -> About {
        let value = |field: &Option<String>| field.as_ref().and_then(|name| row.get(name));
        let text = |field| value(field).and_then(Value::as_str).map(str::to_owned);
        let licences = match value(&self.licence) {
            Some(Value::String(licence)) => vec![licence.clone()],
            Some(Value::Array(licences)) => {
                let licences = licences.iter().filter_map(Value::as_str);
                licences.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        About {
            url: text(&self.url),
            path: text(&self.path),
            language: text(&self.language),
            licences,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_it_says() {
        let fields = AboutFields::new(&RenderOptions {
            url: Some("u".to_owned()),
            language: Some("l".to_owned()),
            licence: Some("c".to_owned()),
            ..RenderOptions::default()
        });
        assert_eq!(fields.names().collect::<Vec<_>>(), ["u", "l", "c"]);
        let of = |value: Value| match value {
            Value::Object(row) => fields.of(&row),
            _ => unreachable!(),
        };
        let about = of(json!({ "u": "http://x", "l": 3, "c": ["MIT", null, "ISC"] }));
        assert_eq!(about.url.as_deref(), Some("http://x"));
        assert_eq!(about.language, None);
        assert_eq!(about.licences, ["MIT", "ISC"]);
        assert_eq!(of(json!({ "c": "MIT" })).licences, ["MIT"]);
        assert_eq!(of(json!({})), About::default());
    }
}
