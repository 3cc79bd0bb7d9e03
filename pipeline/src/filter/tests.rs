use proptest::prelude::*;

use super::*;

fn all() -> FilterOptions {
    FilterOptions {
        length: Some(LengthOptions {
            min_characters: 1,
            ..LengthOptions::default()
        }),
        code: Some(CodeOptions::default()),
        gopher_quality: Some(GopherQualityOptions::default()),
        gopher_repetition: Some(GopherRepetitionOptions::default()),
        ..FilterOptions::default()
    }
}

fn names(rules: &[&str]) -> FilterOptions {
    FilterOptions {
        rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
        ..FilterOptions::default()
    }
}

fn messages(options: &FilterOptions) -> Vec<String> {
    Filters::new(options)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn reason(filters: &Filters, text: &str) -> Option<&'static str> {
    filters
        .judge(text, &mut Scratch::default())
        .reason()
        .map(|reason| reason.name)
}

#[test]
fn a_table_turns_its_rule_on_and_an_unknown_key_is_an_error() {
    let options: FilterOptions =
        toml::from_str("[length]\nmin-characters = 3\n[gopher-quality]\n").unwrap();
    assert_eq!(options.length.as_ref().unwrap().min_characters, 3);
    assert_eq!(
        options.gopher_quality,
        Some(GopherQualityOptions::default())
    );
    assert_eq!((options.code, options.gopher_repetition), (None, None));
    assert!(toml::from_str::<FilterOptions>("[lenght]\n").is_err());
    assert!(toml::from_str::<FilterOptions>("[length]\nmin-chars = 3\n").is_err());
}

#[test]
fn a_list_gives_the_order_and_its_tables_the_values() {
    let text = "rules = [\"fineweb\", \"length\"]\n[length]\nmin-characters = 9\n[fineweb]\nmax-short-line-fraction = 1.0\n";
    let options: FilterOptions = toml::from_str(text).unwrap();
    let filters = Filters::new(&options).unwrap();
    assert_eq!(reason(&filters, "no mark"), Some("fineweb-terminal-lines"));
    assert_eq!(reason(&filters, "A mark."), Some("too-short"));
    assert_eq!(reason(&filters, "A longer line."), None);
}

#[test]
fn lists_are_strict() {
    assert_eq!(
        messages(&names(&[
            "gopher-quality@datatrov",
            "length",
            "nothing-like-it"
        ])),
        [
            "no rule is called `gopher-quality@datatrov`: did you mean `gopher-quality@datatrove`?",
            "no rule is called `nothing-like-it`",
        ]
    );
    assert_eq!(
        messages(&names(&["gopher-quality", "gopher@dclm"])),
        ["the rule `gopher-quality@dclm` is in the list already: write it once"]
    );
    let mut options = names(&["gopher@datatrove"]);
    options.gopher_quality_datatrove = Some(GopherQualityDatatroveOptions::default());
    let error = &Filters::new(&options).unwrap_err()[0];
    assert_eq!(error.keys(), ["gopher-quality@datatrove"]);
}

#[test]
fn what_a_rule_left_is_what_the_next_one_judges() {
    let filters = Filters::new(&names(&["c4", "length"])).unwrap();
    let line = "This is one whole line of some words. And it has a second sentence.";
    let text = format!("{line}\nmenu\n{line}\n{}", "x".repeat(300));
    let outcome = filters.apply(&text, None, &mut Scratch::default());
    assert_eq!(
        outcome,
        Outcome::Drop(Reason {
            name: "too-short",
            measured: Some(Measured {
                statistic: "characters",
                value: 135.0,
                limit: 200.0,
                above: false
            })
        })
    );
    let kept = format!("{line}\n{line}\n{line}");
    let dialogue = format!("{kept}\nmenu");
    let outcome = filters.apply(&dialogue, None, &mut Scratch::default());
    assert_eq!(outcome, Outcome::Keep(Cow::Borrowed(kept.as_str())));
    // A dialogue is left as it is.
    let outcome = filters.apply(&dialogue, Some(&[]), &mut Scratch::default());
    assert_eq!(outcome, Outcome::Keep(Cow::Borrowed(dialogue.as_str())));
}

#[test]
fn without_rules_every_text_stays() {
    let filters = Filters::new(&FilterOptions::default()).unwrap();
    assert!(filters.is_empty());
    assert_eq!(filters.judge("", &mut Scratch::default()), Verdict::Keep);
}

#[test]
fn the_first_rule_names_the_reason() {
    let filters = Filters::new(&all()).unwrap();
    assert_eq!(reason(&filters, ""), Some("too-short"));
    assert_eq!(reason(&filters, "?!?!?!"), Some("code-few-alphanumeric"));
    assert_eq!(
        reason(&filters, "a few words"),
        Some("gopher-too-few-words")
    );
}

#[test]
fn all_faults_of_the_options_are_told_at_once() {
    let mut options = all();
    options.length = Some(LengthOptions {
        min_characters: 10,
        max_characters: Some(5),
    });
    options.gopher_quality = Some(GopherQualityOptions {
        max_symbol_word_fraction: f64::NAN,
        ..GopherQualityOptions::default()
    });
    assert_eq!(
        messages(&options),
        [
            "filter.length: min-characters is above max-characters, which drops every document: swap or change them",
            "filter.gopher-quality: max-symbol-word-fraction = NaN: write a number that is not negative",
        ]
    );
}

/// Every rule by itself, and every composition.
fn every() -> Vec<(&'static str, Filters)> {
    rules::names()
        .map(|name| (name, Filters::new(&names(&[name])).unwrap()))
        .collect()
}

/// A mutated copy of a text: bytes changed, cut, doubled; then made a text again.
fn mutate(text: &str, random: &mut impl FnMut(usize) -> usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random(8) {
        let at = random(bytes.len().max(1));
        match random(5) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(random(256)).unwrap(),
            1 => bytes.truncate(at),
            2 => {
                let to = (at + random(60)).min(bytes.len());
                let piece = bytes[at.min(to)..to].to_vec();
                (0..random(30)).for_each(|_| bytes.extend_from_slice(&piece));
            }
            3 => {
                let odd = [
                    "\n\n",
                    "\r",
                    "\u{2028}",
                    "…",
                    "\0",
                    "[1]",
                    "{",
                    "\u{1f600}",
                    "javascript ",
                    "\u{212a}",
                    "\n\nHuman:",
                ];
                let piece = odd[random(odd.len())].as_bytes();
                let at = at.min(bytes.len());
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => bytes.reverse(),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn ten_thousand_damaged_documents_have_a_verdict_and_always_the_same() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let seeds = [
        "The quick brown fox jumps over the lazy dog, and that is what it has to be with.\nIt's 5 p.m. (see e.g. http://x.yz/a?b).\n\n- a list\n- of things...\n",
        "\n\nHuman: Why?\n\nAssistant: I'm sorry, but I cannot.\n\nHuman: And?",
        "\u{4f60}\u{597d}\u{3002}\u{4e16}\u{754c}\n\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{43c}\u{438}\u{440}. \u{645}\u{631}\u{62d}\u{628}\u{627}",
        "fn main() { println!(\"{}\", 1 + 2); }\n// a comment\n\t\tx = [1, 2, 3];\n",
        include_str!("mod.rs"),
    ];
    let rules = every();
    let mut scratch = Scratch::default();
    for number in 0..10_000 {
        let text = mutate(seeds[number % seeds.len()], &mut random);
        // Each rule once in a while, so that the test takes seconds.
        let (name, filters) = &rules[number % rules.len()];
        let parts = [0..text.len() / 2, text.len() / 2..text.len()];
        for parts in [None, Some(&parts[..])] {
            let used = filters.apply(&text, parts, &mut scratch);
            let fresh = filters.apply(&text, parts, &mut Scratch::default());
            assert_eq!(used, fresh, "{name} {text:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_text_has_a_verdict_and_always_the_same(text in "\\PC{0,200}") {
        let mut scratch = Scratch::default();
        for (_, filters) in every() {
            let verdict = filters.judge(&text, &mut scratch);
            prop_assert_eq!(verdict, filters.judge(&text, &mut scratch));
        }
    }
}
