//! Which language a text is in, from a model that is part of the program.
//!
//! Most scripts are written by one language among those known here, so that counting letters by script decides; where several
//! languages share a script (Latin, Cyrillic, Arabic, Devanagari, Bengali), a linear model over n-grams of its
//! letters tells them apart. The principal type is [`Identifier`]; [`rule`] makes a filter of it.
//!
//! The model was trained by `andromeda language train` on strings of translated programs whose licences are MPL-2.0 and
//! BSD-3-Clause; `bench/language/README.md` says on which, how well it does on other texts, and how to make it again.

mod linear;
pub mod measure;
mod model;
pub mod rule;
mod script;
pub mod train;

use std::sync::LazyLock;

use linear::{Letters, MOST_LANGUAGES, Position, Table};
use script::{ASCII, SCRIPTS, SHARED, Script, fold, script_of};

use crate::classify::arithmetic::softmax;

pub use model::ModelError;

/// A language and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// ISO 639-1.
    pub language: &'static str,
    /// The share of the letters that are in its script, times the probability of the language given those. From 0 to 1.
    pub score: f64,
}

/// Tells languages apart. Shared by all threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Identifier {
    /// One for each script of [`SHARED`].
    tables: Vec<Table>,
}

/// What identifying needs besides the text; one thread's, kept from text to text, so that nothing is allocated.
#[derive(Debug)]
pub struct Scratch {
    /// One for each script of [`SHARED`].
    evidence: [Evidence; SHARED.len()],
    /// Bytes of letters.
    bytes: [u64; SCRIPTS],
}

/// What the letters of one script say.
#[derive(Debug, Clone)]
struct Evidence {
    position: Position,
    letters: Letters,
    sums: [i32; MOST_LANGUAGES],
    features: u64,
}

impl Evidence {
    const NONE: Self = Self {
        position: Position::NONE,
        letters: Letters::NONE,
        sums: [0; MOST_LANGUAGES],
        features: 0,
    };

    /// Adds up what the letters that are held say.
    #[inline(never)]
    fn flush(&mut self, mut position: Position, table: &Table) -> Position {
        self.features += table.add(&mut self.letters, &mut position, &mut self.sums);
        position
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            evidence: [const { Evidence::NONE }; SHARED.len()],
            bytes: [0; SCRIPTS],
        }
    }
}

/// The model in the program.
const EMBEDDED: &[u8] = include_bytes!("model.bin");

/// Of letters of the two scripts of Japanese, the share of kana below which a text is Chinese, and that above which it is
/// Japanese; Japanese prose has about half, Chinese next to none.
const KANA: (f64, f64) = (0.02, 0.15);

impl Identifier {
    /// The model that is part of the program.
    ///
    /// # Panics
    /// Never: a test reads the same bytes.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static MODEL: LazyLock<Identifier> = LazyLock::new(|| {
            Identifier::read(EMBEDDED).expect("a test of this module reads the same bytes")
        });
        &MODEL
    }

    /// What the model in the program is: a hash of its bytes, which enters the keys of what depends on it.
    #[must_use]
    pub fn embedded_version() -> String {
        static VERSION: LazyLock<String> =
            LazyLock::new(|| crate::digest::Digest::of(EMBEDDED).hex());
        VERSION.clone()
    }

    /// The languages it knows, in alphabetical order.
    #[must_use]
    pub fn languages(&self) -> Vec<&'static str> {
        let mut languages: Vec<&'static str> = self
            .tables
            .iter()
            .flat_map(|table| table.languages.iter().copied())
            .chain((0..SCRIPTS).filter_map(|script| ALL[script].language()))
            .collect();
        languages.sort_unstable();
        languages.dedup();
        languages
    }

    /// The language of a text; `None` if it has no letters of a script known here. Total, and the same on every machine.
    #[must_use]
    pub fn identify(&self, text: &str, scratch: &mut Scratch) -> Option<Guess> {
        self.read_letters(text, scratch);
        let bytes = &scratch.bytes;
        // Words of Latin script stand in texts of every other: names, units, markup. They count half beside another script.
        let latin = bytes[Script::Latin as usize] / 2;
        let kana = bytes[Script::Kana as usize];
        let han = bytes[Script::Han as usize];
        let others: u64 = bytes.iter().sum::<u64>() - bytes[Script::Latin as usize];
        let weight = |script: Script| match script {
            Script::Latin => latin,
            Script::Han => han + kana,
            // Kana alone are no script of their own here.
            Script::Kana => 0,
            other => bytes[other as usize],
        };
        if others + bytes[Script::Latin as usize] == 0 {
            return None;
        }
        // The first of equals, so that there is an order; Latin before all, since it was halved.
        let mut script = Script::Latin;
        for other in ALL {
            if weight(other) > weight(script) {
                script = other;
            }
        }
        let share = if others == 0 {
            1.0
        } else {
            ratio(weight(script), others + latin)
        };
        let (language, probability) = match script.shared() {
            Some(at) => self.tables[at].best(&scratch.evidence[at]),
            None if script == Script::Han => {
                let japanese = (ratio(kana, kana + han) - KANA.0) / (KANA.1 - KANA.0);
                if japanese > 0.5 {
                    ("ja", japanese.min(1.0))
                } else {
                    ("zh", (1.0 - japanese).min(1.0))
                }
            }
            None => (script.language()?, 1.0),
        };
        Some(Guess {
            language,
            score: share * probability,
        })
    }

    /// Counts letters and adds up the rows of their n-grams.
    fn read_letters(&self, text: &str, scratch: &mut Scratch) {
        for evidence in &mut scratch.evidence {
            evidence.position = evidence.letters.begin();
            evidence.sums = [0; MOST_LANGUAGES];
            evidence.features = 0;
        }
        scratch.bytes = [0; SCRIPTS];
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut script = Script::Latin;
        while at < bytes.len() {
            let run = match script.shared() {
                Some(0) => Latin::read(bytes, at, &self.tables[0], &mut scratch.evidence[0]),
                Some(shared) => {
                    let evidence = &mut scratch.evidence[shared];
                    read_run(bytes, at, script, &self.tables[shared], evidence)
                }
                None => count_run(bytes, at, script),
            };
            scratch.bytes[script as usize] += run.letters;
            (at, script) = (run.end, run.next);
        }
        for (evidence, table) in scratch.evidence.iter_mut().zip(&self.tables) {
            evidence.position = evidence.flush(evidence.position, table);
        }
    }
}

impl Table {
    /// The likeliest language and its probability.
    fn best(&self, evidence: &Evidence) -> (&'static str, f64) {
        let mut shares = [0.0; MOST_LANGUAGES];
        let shares = self.logits(&evidence.sums, evidence.features, &mut shares);
        softmax(shares);
        let mut best = ("und", 0.0);
        for (language, share) in self.languages.iter().zip(shares) {
            if *share > best.1 {
                best = (*language, *share);
            }
        }
        best
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of bytes below 2^53 are exact"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// All scripts, by number.
const ALL: [Script; SCRIPTS] = [
    Script::None,
    Script::Transparent,
    Script::Latin,
    Script::Cyrillic,
    Script::Arabic,
    Script::Devanagari,
    Script::Bengali,
    Script::Greek,
    Script::Armenian,
    Script::Hebrew,
    Script::Gurmukhi,
    Script::Gujarati,
    Script::Oriya,
    Script::Tamil,
    Script::Telugu,
    Script::Kannada,
    Script::Malayalam,
    Script::Sinhala,
    Script::Thai,
    Script::Lao,
    Script::Tibetan,
    Script::Myanmar,
    Script::Georgian,
    Script::Ethiopic,
    Script::Khmer,
    Script::Hangul,
    Script::Kana,
    Script::Han,
];

/// Where a run of letters of one script ended.
struct Ended {
    /// The first byte that is not of it.
    end: usize,
    /// The script there.
    next: Script,
    /// Bytes of the run's letters.
    letters: u64,
}

/// Reads letters of a shared script from `at` until a letter of another script, or the end.
#[inline(always)]
fn read_run(
    bytes: &[u8],
    mut at: usize,
    script: Script,
    table: &Table,
    evidence: &mut Evidence,
) -> Ended {
    let mut position = evidence.position;
    let mut letters = 0u64;
    let mut next = script;
    'run: while at < bytes.len() {
        // One letter more, for the zero after the run.
        let room = match position.room() {
            0 | 1 => {
                position = evidence.flush(position, table);
                position.room()
            }
            room => room,
        };
        let end = bytes.len().min(at + room - 1);
        while at < end {
            let byte = bytes[at];
            let (letter, length) = if byte < 0x80 {
                let letter = ASCII[usize::from(byte)];
                if script != Script::Latin && letter != 0 {
                    next = Script::Latin;
                    break 'run;
                }
                (letter, 1)
            } else {
                let (point, length) = decode(bytes, at);
                match script_of(point) {
                    Script::None => (0, length),
                    Script::Transparent => {
                        at += length;
                        continue;
                    }
                    same if same == script => (fold(script, point), length),
                    other => {
                        next = other;
                        break 'run;
                    }
                }
            };
            evidence.letters.push(&mut position, letter);
            letters += if letter == 0 { 0 } else { length as u64 };
            at += length;
        }
    }
    // The word ends here, whatever follows.
    evidence.letters.push(&mut position, 0);
    evidence.position = position;
    Ended {
        end: at,
        next,
        letters,
    }
}

/// Compiled apart, with the script known.
struct Latin;

impl Latin {
    #[inline(never)]
    fn read(bytes: &[u8], at: usize, table: &Table, evidence: &mut Evidence) -> Ended {
        read_run(bytes, at, Script::Latin, table, evidence)
    }
}

/// Counts letters of a script that one language is written in, as [`read_run`] reads.
fn count_run(bytes: &[u8], mut at: usize, script: Script) -> Ended {
    let mut letters = 0;
    while let Some(&byte) = bytes.get(at) {
        let (found, length) = if byte < 0x80 {
            let letter = ASCII[usize::from(byte)];
            (
                if letter == 0 {
                    Script::None
                } else {
                    Script::Latin
                },
                1,
            )
        } else {
            let (point, length) = decode(bytes, at);
            (script_of(point), length)
        };
        if found == script {
            letters += length as u64;
        } else if !matches!(found, Script::None | Script::Transparent) {
            return Ended {
                end: at,
                next: found,
                letters,
            };
        }
        at += length;
    }
    Ended {
        end: at,
        next: script,
        letters,
    }
}

/// The code point at `at`, where one of several bytes begins, and how many they are.
#[inline(always)]
fn decode(bytes: &[u8], at: usize) -> (u32, usize) {
    let byte = |i: usize| u32::from(bytes.get(at + i).copied().unwrap_or(0x80));
    let first = byte(0);
    let next = |i: usize| byte(i) & 0x3f;
    match first {
        0..=0xdf => ((first & 0x1f) << 6 | next(1), 2),
        0xe0..=0xef => ((first & 0x0f) << 12 | next(1) << 6 | next(2), 3),
        _ => (
            (first & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3),
            4,
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One sentence of each language, the first article of the Universal Declaration of Human Rights in its official
    /// translations, of which none was trained on.
    const SENTENCES: &[(&str, &str)] = &[
        (
            "en",
            "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
        ),
        (
            "de",
            "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.",
        ),
        (
            "fr",
            "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
        ),
        (
            "es",
            "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
        ),
        (
            "it",
            "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
        ),
        (
            "pt",
            "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
        ),
        (
            "nl",
            "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
        ),
        (
            "sv",
            "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft och samvete och bör handla gentemot varandra i en anda av broderskap.",
        ),
        (
            "pl",
            "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
        ),
        (
            "tr",
            "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
        ),
        (
            "fi",
            "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki ja omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä.",
        ),
        (
            "ru",
            "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.",
        ),
        (
            "uk",
            "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю і повинні діяти у відношенні один до одного в дусі братерства.",
        ),
        (
            "el",
            "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
        ),
        (
            "ja",
            "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
        ),
        (
            "zh",
            "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
        ),
        (
            "ko",
            "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
        ),
    ];

    fn of(text: &str) -> Option<Guess> {
        Identifier::embedded().identify(text, &mut Scratch::default())
    }

    #[test]
    fn the_model_in_the_program_is_read_and_written_alike() {
        let model = Identifier::read(EMBEDDED).unwrap();
        assert_eq!(Identifier::read(&model.write().unwrap()).unwrap(), model);
        assert_eq!(model.languages().len(), 82);
        for cut in [0, 8, 9, 100, EMBEDDED.len() - 1] {
            assert!(Identifier::read(&EMBEDDED[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn sentences_are_told_and_surely() {
        for (language, sentence) in SENTENCES {
            let guess = of(sentence).unwrap();
            assert_eq!(guess.language, *language, "{sentence}");
            assert!(guess.score > 0.8, "{language}: {}", guess.score);
        }
    }

    #[test]
    fn a_text_without_letters_has_no_language_and_one_of_two_scripts_an_unsure_one() {
        assert_eq!(of(""), None);
        assert_eq!(of("12 + 34 = 46 !!! 👍"), None);
        let russian = SENTENCES
            .iter()
            .find(|sentence| sentence.0 == "ru")
            .unwrap()
            .1;
        let greek = SENTENCES
            .iter()
            .find(|sentence| sentence.0 == "el")
            .unwrap()
            .1;
        let guess = of(&format!("{russian} {greek} {greek}")).unwrap();
        assert!(guess.score < 0.65, "{guess:?}");
    }

    #[test]
    fn capitals_joiners_and_what_stands_between_words_change_nothing() {
        let english = SENTENCES[0].1;
        let guess = of(english);
        assert_eq!(of(&english.to_uppercase()), guess);
        assert_eq!(of(&english.replace(' ', " \n\t-- ")), guess);
        assert_eq!(of(&english.replace("human", "hu\u{ad}man")), guess);
    }

    #[test]
    fn a_batch_more_or_less_gives_the_sums_of_rows_one_by_one() {
        // Long texts with long and short words, so that words and n-grams cross the ends of batches.
        let table = &Identifier::embedded().tables[0];
        for length in [1, 7, 100, 1010, 1015, 1016, 1023, 1030, 5000] {
            let text: String = (0..length)
                .map(|i: usize| match i * i % 11 {
                    0 if i % 300 > 40 => ' ',
                    other => char::from(b'a' + u8::try_from(other + i % 13).unwrap()),
                })
                .collect();
            let mut scratch = Scratch::default();
            Identifier::embedded().read_letters(&text, &mut scratch);
            let mut rows = Vec::new();
            train::rows_of(&text, Script::Latin, table.bits, &mut rows);
            let mut sums = [0; MOST_LANGUAGES];
            table.add_rows(&rows, &mut sums);
            assert_eq!(scratch.evidence[0].features, rows.len() as u64, "{length}");
            assert_eq!(scratch.evidence[0].sums, sums, "{length}");
        }
    }

    #[test]
    fn equal_texts_train_equal_models() {
        let mut corpus = train::Corpus::default();
        for languages in train::LANGUAGES {
            for language in languages {
                let script = SENTENCES
                    .iter()
                    .find(|sentence| sentence.0 == *language)
                    .map_or("", |sentence| sentence.1);
                for line in 0..300u32 {
                    // A language made of its name and numbers in letters of its script.
                    let alphabet: Vec<char> = match *language {
                        "be" | "bg" | "kk" | "mk" | "mn" | "ru" | "sr" | "tg" | "uk" => {
                            "абвгдежзий".chars().collect()
                        }
                        "ar" | "fa" | "ug" | "ur" => "ابتثجحخدذر".chars().collect(),
                        "hi" | "mr" | "ne" => "कखगघचछजझटठ".chars().collect(),
                        "as" | "bn" => "কখগঘচছজঝটঠ".chars().collect(),
                        _ => "abcdefghij".chars().collect(),
                    };
                    let word: String =
                        format!("{}", (line + 7) * 7919 * u32::from(language.as_bytes()[0]))
                            .bytes()
                            .map(|digit| alphabet[usize::from(digit - b'0')])
                            .collect();
                    corpus.add(language, "made", &format!("{word} {word} {script}"));
                }
            }
        }
        let options = train::TrainOptions {
            samples: 5,
            ..Default::default()
        };
        let train = || {
            corpus
                .train(&options, &mut |_| ())
                .unwrap()
                .write()
                .unwrap()
        };
        assert_eq!(train(), train());
        let few = train::Corpus::default()
            .train(&options, &mut |_| ())
            .unwrap_err();
        assert!(few.to_string().contains("of af in its script"), "{few}");
    }

    proptest! {
        #[test]
        fn every_text_has_a_score_from_0_to_1_and_always_the_same(text in "\\PC{0,300}") {
            let mut scratch = Scratch::default();
            let first = Identifier::embedded().identify(&text, &mut scratch);
            prop_assert_eq!(first, Identifier::embedded().identify(&text, &mut scratch));
            if let Some(guess) = first {
                prop_assert!((0.0..=1.0).contains(&guess.score));
            }
        }
    }
}
