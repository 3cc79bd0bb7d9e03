//! Text of a small grammar, and the same with its words shuffled: what of it a model can learn is known by construction.

use andromeda_format::Split;
use andromeda_trainer::random::Stream;

/// Draws, one after the other.
pub(crate) struct Draws {
    stream: Stream,
    counter: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self {
            stream: Stream::new(seed, name),
            counter: 0,
        }
    }

    /// From 0 below `n`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.counter += 1;
        u32::try_from((u64::from(n) * (self.stream.bits(self.counter) >> 32)) >> 32).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(u32::try_from(last).unwrap() + 1) as usize);
        }
    }
}

/// Sentences: a determiner, perhaps an adjective, a noun, a verb, another such noun, perhaps a preposition and a third; a stop. Which
/// verbs follow a noun, and which nouns an adjective, depends on the word.
pub(crate) fn document(draws: &mut Draws) -> Vec<u32> {
    const ADJECTIVES: u32 = 3;
    const NOUNS: u32 = 9;
    const VERBS: u32 = 21;
    const PREPOSITIONS: u32 = 29;
    const STOP: u32 = 33;
    let mut words = Vec::new();
    let noun = |words: &mut Vec<u32>, draws: &mut Draws| {
        words.push(1 + draws.below(2));
        let noun = if draws.below(2) == 0 {
            let adjective = draws.below(6);
            words.push(ADJECTIVES + adjective);
            2 * adjective + draws.below(2)
        } else {
            draws.below(12)
        };
        words.push(NOUNS + noun);
        noun
    };
    for _ in 0..2 + draws.below(4) {
        let subject = noun(&mut words, draws);
        words.push(VERBS + (subject + draws.below(2)) % 8);
        noun(&mut words, draws);
        if draws.below(3) == 0 {
            words.push(PREPOSITIONS + draws.below(4));
            noun(&mut words, draws);
        }
        words.push(STOP);
    }
    words.push(0);
    words
}

/// So many documents of a split; no two draws are alike.
pub(crate) fn documents(seed: u64, split: Split, count: usize) -> Vec<Vec<u32>> {
    let mut draws = Draws::new(seed, split.name());
    (0..count).map(|_| document(&mut draws)).collect()
}

/// The document with its words in any order; its end stays.
pub(crate) fn shuffled(document: &[u32], draws: &mut Draws) -> Vec<u32> {
    let mut words = document.to_vec();
    let end = words.len() - 1;
    draws.shuffle(&mut words[..end]);
    words
}
