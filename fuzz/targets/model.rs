//! Whatever bytes a model's file holds, reading it ends, and what was read predicts probabilities and is written again.

#![no_main]

use andromeda_pipeline::classify::{Classifier, Scratch};
use andromeda_pipeline::language::Identifier;
use libfuzzer_sys::fuzz_target;

const TEXTS: [&str; 4] = ["", "the river", "Mühle\u{0}</s> 漢字 ", "__label__en a b c d"];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Classifier::read(&mut &bytes[..], bytes.len() as u64) {
        let mut scratch = Scratch::default();
        for text in TEXTS {
            let all = model.predict(text, 3, &mut scratch);
            assert!(all.len() <= 3);
            assert_eq!(model.best(text, &mut scratch).is_some(), !all.is_empty());
            let _ = model.probability(text, 0, &mut scratch);
        }
        if let Some(written) = model.to_bytes() {
            let again = Classifier::read(&mut &written[..], written.len() as u64);
            assert!(again.is_ok(), "what was written is a model");
        }
    }
    if let Ok(model) = Identifier::read(bytes) {
        for text in TEXTS {
            if let Some(guess) = model.identify(text, &mut Default::default()) {
                assert!((0.0..=1.0).contains(&guess.score));
            }
        }
    }
});
