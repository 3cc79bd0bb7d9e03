//! Every rule has a verdict on every text, and the same with used buffers as with fresh ones; every signal is a number.

#![no_main]

use std::sync::LazyLock;

use andromeda_pipeline::analysis::signals::{SIGNALS, fill};
use andromeda_pipeline::analysis::{Analysis, Scratch};
use andromeda_pipeline::filter::{FilterOptions, Filters, rules};
use libfuzzer_sys::fuzz_target;

static ALL: LazyLock<Vec<Filters>> = LazyLock::new(|| {
    rules::names()
        .map(|name| {
            let options = FilterOptions {
                rules: vec![name.to_owned()],
                ..FilterOptions::default()
            };
            Filters::new(&options).expect("published values make sense")
        })
        .collect()
});

fuzz_target!(|text: &str| {
    let mut used = Scratch::default();
    for filters in ALL.iter() {
        let outcome = filters.apply(text, None, &mut used);
        assert_eq!(outcome, filters.apply(text, None, &mut Scratch::default()));
    }
    let mut row = Vec::new();
    if let Some(document) = Analysis::new(text, &mut used) {
        fill(SIGNALS, &document, &mut row);
        assert!(row.iter().all(|value| value.is_finite()));
    }
});
