//! The reader against fastText's own predictions, and against bytes made to break it.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Models that fastText 0.9.2 trained, and `expected.json` with what it predicts; made by `tests/fasttext/make.py`.
const MODELS: [(&str, &[u8]); 7] = [
    (
        "softmax.bin",
        include_bytes!("../../tests/fasttext/softmax.bin"),
    ),
    (
        "softmax-pieces.bin",
        include_bytes!("../../tests/fasttext/softmax-pieces.bin"),
    ),
    ("tree.bin", include_bytes!("../../tests/fasttext/tree.bin")),
    (
        "negative.bin",
        include_bytes!("../../tests/fasttext/negative.bin"),
    ),
    (
        "one-versus-all.bin",
        include_bytes!("../../tests/fasttext/one-versus-all.bin"),
    ),
    ("tree.ftz", include_bytes!("../../tests/fasttext/tree.ftz")),
    (
        "softmax.ftz",
        include_bytes!("../../tests/fasttext/softmax.ftz"),
    ),
];

fn read(bytes: &[u8]) -> Result<Classifier, ModelError> {
    Classifier::read(&mut &bytes[..], bytes.len() as u64)
}

fn model(name: &str) -> Classifier {
    read(MODELS.iter().find(|model| model.0 == name).unwrap().1).unwrap()
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../../tests/fasttext/expected.json")).unwrap()
}

#[test]
fn probabilities_are_those_of_fasttext() {
    let expected = expected();
    let texts: Vec<&str> = expected["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    let mut scratch = Scratch::default();
    for (name, bytes) in MODELS {
        let model = read(bytes).unwrap();
        for (text, theirs) in texts
            .iter()
            .zip(expected["models"][name].as_array().unwrap())
        {
            let theirs = theirs.as_object().unwrap();
            let ours = model.predict(text, 100, &mut scratch);
            assert_eq!(ours.len(), theirs.len(), "{name} {text:?}");
            for prediction in &ours {
                let label = model.name(prediction.label);
                let expected = theirs[label].as_f64().unwrap();
                let found = prediction.probability;
                // fastText computes in single precision.
                assert!(
                    (found - expected).abs() < 2e-6 * expected.max(0.1),
                    "{name} {text:?} {label}: {found} and not {expected}"
                );
                let one = model
                    .probability(text, prediction.label, &mut scratch)
                    .unwrap();
                assert!((one - found).abs() < 1e-12, "{name} {text:?} {label}");
            }
            if let Some(first) = ours.first() {
                assert_eq!(
                    model.best(text, &mut scratch),
                    Some(*first),
                    "{name} {text:?}"
                );
            }
        }
    }
}

#[test]
fn a_break_of_the_line_is_a_space() {
    let model = model("softmax.bin");
    let mut scratch = Scratch::default();
    assert_eq!(
        model.predict("under the\nbridge\r\n", 9, &mut scratch),
        model.predict("under the bridge", 9, &mut scratch)
    );
}

#[test]
fn labels_are_found_with_their_prefix_and_without_and_missing_ones_are_named() {
    let model = model("tree.bin");
    assert_eq!(model.labels(), ["en", "de", "pl", "ru", "ja"]);
    assert_eq!(model.label("pl").unwrap(), 2);
    assert_eq!(model.label("__label__pl").unwrap(), 2);
    assert_eq!(
        model.label("fr").unwrap_err().to_string(),
        "the model has no label `fr`; it has en, de, pl, ru, ja"
    );
    assert_eq!(model.name(5), "");
    assert_eq!(model.probability("the", 5, &mut Scratch::default()), None);
}

#[test]
fn what_is_written_is_what_was_read() {
    for (name, bytes) in MODELS.iter().filter(|model| model.0.ends_with(".bin")) {
        let model = read(bytes).unwrap();
        assert_eq!(model.to_bytes().unwrap(), *bytes, "{name}");
    }
    // Quantized matrices are unpacked; what was pruned cannot be written plain.
    assert_eq!(model("tree.ftz").to_bytes(), None);
}

#[test]
fn a_file_cut_anywhere_or_with_a_wrong_count_is_refused() {
    for (name, bytes) in MODELS {
        for cut in (0..bytes.len()).step_by(37) {
            assert!(read(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        // The counts of the head: dimension, n-grams, loss, buckets, words, labels, tokens, and the size of what is pruned, whose upper
        // half alone makes more bytes than a 64-bit number holds.
        for at in [8, 28, 32, 40, 48, 64, 68, 72, 76, 80, 84, 88] {
            for wrong in [i32::MAX, i32::MIN] {
                let mut bytes = bytes.to_vec();
                bytes[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
                // No matter what it says, nothing is allocated that the file has not.
                let _ = read(&bytes);
            }
        }
    }
    assert!(matches!(
        read(b"PK\x03\x04 is no model"),
        Err(ModelError::Foreign)
    ));
    let mut old = MODELS[0].1.to_vec();
    old[4] = 10;
    assert!(matches!(read(&old), Err(ModelError::Version(10))));
    let mut vectors = MODELS[0].1.to_vec();
    vectors[36] = 1;
    assert!(matches!(read(&vectors), Err(ModelError::Unsupervised)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_models_do_not_stop_the_program(
        which in 0usize..7,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        text in "\\PC{0,60}",
    ) {
        let mut bytes = MODELS[which].1.to_vec();
        for (place, value) in places {
            // Half of the time in the head, where the counts are.
            let most = if value % 2 == 0 { 100 } else { bytes.len() };
            bytes[place.index(most)] = value;
        }
        if let Ok(model) = read(&bytes) {
            let mut scratch = Scratch::default();
            let all = model.predict(&text, 3, &mut scratch);
            prop_assert!(all.len() <= 3);
            let _ = model.best(&text, &mut scratch);
            let _ = model.probability(&text, 0, &mut scratch);
        }
    }

    #[test]
    fn every_text_has_a_prediction(text in "\\PC{0,200}") {
        let mut scratch = Scratch::default();
        for name in ["tree.ftz", "softmax-pieces.bin"] {
            let best = model(name).best(&text, &mut scratch).unwrap();
            prop_assert!((0.0..=1.0001).contains(&best.probability));
        }
    }
}

#[test]
fn a_model_by_path_is_written_as_what_it_is_and_a_pin_is_held() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("models")).unwrap();
    fs_err::write(folder.path().join("models/tree.bin"), MODELS[2].1).unwrap();
    let digest = Digest::of(MODELS[2].1);
    let mut known = std::collections::BTreeMap::new();
    let mut file = ModelFile::new("models/tree.bin");
    assert_eq!(serde_json::to_value(&file).unwrap(), "models/tree.bin");
    let mut find = |path: &str| Ok(folder.path().join(path));
    let model = file.resolve(&mut find, &mut known).unwrap();
    assert_eq!(model.labels().len(), 5);
    let written = serde_json::to_value(&file).unwrap();
    assert_eq!(written, format!("tree.bin@sha256:{digest}"));
    let pinned: ModelFile =
        serde_json::from_value(format!("models/tree.bin@sha256:{digest}").into()).unwrap();
    assert!(pinned.clone().resolve(&mut find, &mut known).is_ok());
    fs_err::write(folder.path().join("models/tree.bin"), MODELS[3].1).unwrap();
    let error = { pinned }.resolve(&mut find, &mut known).unwrap_err();
    assert!(error.contains("and the recipe pins"), "{error}");
    let error = ModelFile::new("none.bin")
        .resolve(&mut find, &mut known)
        .unwrap_err();
    assert!(error.contains("none.bin"), "{error}");
    assert!(serde_json::from_value::<ModelFile>("x@sha256:12".into()).is_err());
}
