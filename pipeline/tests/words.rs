//! The words of a text are those of `unicode-segmentation`, on every input: a few characters of each class exhaustively, long
//! mixtures of them, all of Unicode at random, and the sample data.

use std::io::Read;
use std::path::Path;

use andromeda_pipeline::dedup::words::for_each_word;
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

/// One character or more of every value of `Word_Break` in UAX #29, revision 47, and of what our own table tells apart
/// beyond that: characters of one byte or more, marks that are letters, pictographs that are letters or not, digits that
/// are none, and letters that stand alone.
const CHARACTERS: [(&str, char); 44] = [
    ("CR", '\r'),
    ("LF", '\n'),
    ("Newline", '\u{85}'),
    ("Newline", '\u{2028}'),
    ("Extend", '\u{301}'),
    ("Extend, a letter", '\u{345}'),
    ("Extend of a letter that is written after it", '\u{93e}'),
    ("Extend, of a pictograph", '\u{fe0f}'),
    ("Extend, of a pictograph, four bytes", '\u{1f3fb}'),
    ("ZWJ", '\u{200d}'),
    ("Format", '\u{ad}'),
    ("Format, four bytes", '\u{e0001}'),
    ("Katakana", '\u{30a1}'),
    ("Katakana, half width", '\u{ff76}'),
    ("Hebrew_Letter", '\u{5d0}'),
    ("ALetter", 'a'),
    ("ALetter, two bytes", '\u{e9}'),
    ("ALetter, three bytes", '\u{1e00}'),
    ("ALetter, four bytes", '\u{10400}'),
    ("ALetter, a syllable", '\u{ac00}'),
    ("ALetter and pictograph", '\u{2139}'),
    ("ALetter and pictograph", '\u{24c2}'),
    ("Single_Quote", '\''),
    ("Double_Quote", '"'),
    ("MidNumLet", '.'),
    ("MidNumLet, three bytes", '\u{2019}'),
    ("MidLetter", ':'),
    ("MidLetter, two bytes", '\u{b7}'),
    ("MidNum", ','),
    ("MidNum, two bytes", '\u{37e}'),
    ("Numeric", '1'),
    ("Numeric, two bytes", '\u{661}'),
    ("Numeric, four bytes", '\u{1d7ce}'),
    ("ExtendNumLet", '_'),
    ("ExtendNumLet, three bytes", '\u{203f}'),
    ("Regional_Indicator", '\u{1f1e6}'),
    ("WSegSpace", ' '),
    ("WSegSpace, three bytes", '\u{3000}'),
    ("Extended_Pictographic", '\u{1f600}'),
    ("Other", '!'),
    ("Other, an ideograph", '\u{4f60}'),
    ("Other, an ideograph, four bytes", '\u{20000}'),
    ("Other, Thai", '\u{e01}'),
    ("Other, a digit", '\u{b2}'),
];

/// Compares the words of a text, and says where the first difference is.
fn compare(text: &str, found: &mut Vec<(usize, usize)>) -> Result<(), String> {
    found.clear();
    for_each_word(text, |start, end| found.push((start, end)));
    let mut expected = text
        .unicode_word_indices()
        .map(|(start, word)| (start, start + word.len()));
    let mut own = found.iter().copied();
    loop {
        match (own.next(), expected.next()) {
            (None, None) => return Ok(()),
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => {
                let at = ours.unwrap_or((text.len(), 0)).0;
                let at = at.min(theirs.unwrap_or((text.len(), 0)).0);
                let around: String = text[at..].chars().take(40).collect();
                return Err(format!(
                    "{ours:?} should be {theirs:?}, at {at}: {around:?}"
                ));
            }
        }
    }
}

#[test]
fn every_four_characters_break_as_in_unicode_segmentation() {
    let mut found = Vec::new();
    let mut text = String::new();
    let count = CHARACTERS.len();
    for length in 0..=4u32 {
        for number in 0..count.pow(length) {
            text.clear();
            let mut rest = number;
            for _ in 0..length {
                text.push(CHARACTERS[rest % count].1);
                rest /= count;
            }
            if let Err(difference) = compare(&text, &mut found) {
                let classes: Vec<&str> = text
                    .chars()
                    .map(|character| {
                        CHARACTERS
                            .iter()
                            .find(|(_, own)| *own == character)
                            .unwrap()
                            .0
                    })
                    .collect();
                panic!("{text:?}, {classes:?}: {difference}");
            }
        }
    }
}

/// Between plain letters the scanner takes eight bytes at a time: every place that three characters can have among them.
#[test]
fn every_three_characters_break_at_every_place_of_eight_bytes() {
    let mut found = Vec::new();
    for (_, first) in CHARACTERS {
        for (_, second) in CHARACTERS {
            for (_, third) in CHARACTERS {
                for before in 0..10 {
                    let (head, tail) = (&"abcdefgh12"[..before], &"x_yz56789"[..9 - before / 2]);
                    let text = format!("{head}{first}{second}{third}{tail} {head}{third}{tail}");
                    if let Err(difference) = compare(&text, &mut found) {
                        panic!("{text:?}: {difference}");
                    }
                }
            }
        }
    }
}

/// Runs of one character or of a few, some of them long.
fn long_mixture() -> impl Strategy<Value = String> {
    let character = prop::sample::select(CHARACTERS.to_vec()).prop_map(|(_, character)| character);
    let few = prop::collection::vec(character, 1..5);
    let times = prop_oneof![8 => 1usize..3, 2 => 3usize..40];
    let run = (few, times).prop_map(|(few, times)| String::from_iter(few).repeat(times));
    prop::collection::vec(run, 0..60).prop_map(|runs| runs.concat())
}

/// Characters of few neighbouring blocks, so that those of one script meet.
fn of_some_script() -> impl Strategy<Value = String> {
    let block = (0u32..0x11_00, any::<bool>())
        .prop_map(|(block, is_low)| if is_low { block % 0x30 } else { block } << 8);
    let characters =
        (block, prop::collection::vec(0u32..0x100, 0..12)).prop_map(|(block, places)| {
            places
                .into_iter()
                .filter_map(move |place| char::from_u32(block + place))
                .collect::<String>()
        });
    let common = prop::sample::select(vec![
        "", " ", ".", "'", "\u{200d}", "\u{301}", "1", "a", "_",
    ]);
    prop::collection::vec((characters, common), 0..12).prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(own, common)| [own, common.to_owned()])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn long_mixtures_break_as_in_unicode_segmentation(text in long_mixture()) {
        prop_assert_eq!(compare(&text, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn texts_of_any_script_break_as_in_unicode_segmentation(text in of_some_script()) {
        prop_assert_eq!(compare(&text, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn characters_at_random_break_as_in_unicode_segmentation(characters in prop::collection::vec(any::<char>(), 0..200)) {
        prop_assert_eq!(compare(&String::from_iter(characters), &mut Vec::new()), Ok(()));
    }
}

/// Texts as they are, archives and tables too: what is no UTF-8 in them becomes U+FFFD.
#[test]
fn sample_data_breaks_as_in_unicode_segmentation() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/native");
    if !folder.is_dir() {
        eprintln!(
            "skipped: the sample data ({}) is not there",
            folder.display()
        );
        return;
    }
    let mut folders = vec![folder];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = Vec::new();
            let mut file = std::fs::File::open(&path).unwrap().take(64 << 20);
            if path.extension().is_some_and(|extension| extension == "gz") {
                let unpacked = flate2::read::MultiGzDecoder::new(file);
                // A file that is cut off is as good as a shorter one.
                let _ = unpacked.take(64 << 20).read_to_end(&mut bytes);
            } else {
                file.read_to_end(&mut bytes).unwrap();
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Err(difference) = compare(&text, &mut Vec::new()) {
                panic!("{}: {difference}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 0, "the sample data is empty");
}
