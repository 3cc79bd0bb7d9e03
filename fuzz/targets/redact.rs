//! Whatever stands in a text, what is found in it is in order, apart, and at characters; the rest of the text stays.

#![no_main]

use andromeda_pipeline::redact::{Kind, PiiOptions, Placeholder, Redactor, Rule};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let redactor = Redactor::new(&PiiOptions::default());
    let found = redactor.find(text);
    let mut end = 0;
    let mut rest = String::new();
    for one in &found {
        assert!(one.range.start >= end && one.range.end > one.range.start);
        rest.push_str(&text[end..one.range.start]);
        end = one.range.end;
    }
    rest.push_str(&text[end..]);
    let redacted = redactor.redact(text);
    assert_eq!(redacted.is_some(), !found.is_empty());
    if let Some((redacted, counts)) = redacted {
        assert_eq!(counts.values().sum::<u32>() as usize, found.len());
        assert!(redacted.len() >= rest.len());
    }
    let datatrove = Redactor::new(&PiiOptions {
        kinds: vec![Kind::Email, Kind::Ip],
        placeholder: Placeholder::Fixed,
        rule: Rule::Datatrove,
    });
    let _ = datatrove.redact(text);
});
