//! The longest token at the beginning of a text, by a double array (Aoe 1989, "An Efficient Digital Search Algorithm by Using a
//! Double-Array Structure"): a step is one look at 8 bytes, which say where its own steps are, whose step it is, and the longest token so
//! far. The first two bytes are one look.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::merge::NONE;

/// From the low bits: the longest token up to here (16 bits), its bytes (8 bits, 0 for more than 255), where the steps from here are (20 bits,
/// 0 for nowhere), and the place of the steps that this is one of (20 bits).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Step(u64);

/// The highest place of steps.
const PLACES: usize = (1 << 20) - 1;

impl Step {
    const EMPTY: Self = Self((PLACES as u64) << 44);

    fn new(parent: usize, token: Token) -> Self {
        Self((parent as u64) << 44 | u64::from(token.bytes) << 16 | u64::from(token.id))
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bits of each are taken"
    )]
    fn token(self) -> Token {
        Token {
            id: self.0 as u16,
            bytes: (self.0 >> 16) as u8,
        }
    }

    /// Where the steps from here are.
    #[inline(always)]
    fn steps(self) -> usize {
        (self.0 >> 24) as usize & PLACES
    }

    #[inline(always)]
    fn parent(self) -> usize {
        (self.0 >> 44) as usize
    }
}

/// A token at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// [`NONE`] if there is none.
    pub(super) id: u16,
    /// How many bytes it has; 0 for more than 255.
    pub(super) bytes: u8,
}

impl Token {
    fn new(bytes: &[u8], id: u16) -> Self {
        let bytes = u8::try_from(bytes.len()).unwrap_or_default();
        Self { id, bytes }
    }
}

const NOTHING: Token = Token { id: NONE, bytes: 0 };

/// Tokens by their bytes.
pub(super) struct Trie {
    of_byte: [Token; 256],
    /// By two bytes.
    pairs: Vec<Step>,
    /// The step by a byte from a node is at the node's place with the byte's bits turned. Steps of one node are so within 256 places.
    steps: Vec<Step>,
}

impl Trie {
    /// Of `tokens`, none of them empty or there twice. The error says why there can be none.
    pub(super) fn new(mut tokens: Vec<(&[u8], u16)>) -> Result<Self, String> {
        tokens.sort_unstable();
        let mut of_byte = [NOTHING; 256];
        for (bytes, id) in &tokens {
            if let [byte] = bytes {
                of_byte[usize::from(*byte)] = Token::new(bytes, *id);
            }
        }
        let pairs = (0..1 << 16).map(|pair| Step::new(0, of_byte[pair >> 8]));
        let mut trie = Self {
            of_byte,
            pairs: pairs.collect(),
            steps: Vec::new(),
        };
        let longer: Vec<(&[u8], u16)> = tokens
            .into_iter()
            .filter(|(bytes, _)| bytes.len() > 1)
            .collect();
        let mut builder = Builder {
            waiting: BinaryHeap::new(),
            taken: Vec::new(),
            from: [0; 17],
        };
        for of_pair in longer.chunk_by(|(one, _), (other, _)| one[..2] == other[..2]) {
            let pair = usize::from(of_pair[0].0[0]) << 8 | usize::from(of_pair[0].0[1]);
            builder.wait(true, pair, 2, of_pair);
        }
        builder.place_all(&mut trie)?;
        Ok(trie)
    }

    /// The longest token at the beginning of a text.
    #[inline(always)]
    pub(super) fn longest(&self, text: &[u8]) -> Token {
        let [first, second, rest @ ..] = text else {
            return text
                .first()
                .map_or(NOTHING, |byte| self.of_byte[usize::from(*byte)]);
        };
        let mut step = self.pairs[usize::from(*first) << 8 | usize::from(*second)];
        for byte in rest {
            let steps = step.steps();
            if steps == 0 {
                break;
            }
            let next = self.steps[steps ^ usize::from(*byte)];
            if next.parent() != steps {
                break;
            }
            step = next;
        }
        step.token()
    }
}

/// Finds places for steps.
struct Builder<'a> {
    /// Nodes whose steps have no place yet, those of the lowest ids first: they are met most, and should be near each other.
    waiting: BinaryHeap<Waiting<'a>>,
    /// Places of nodes that are taken: no two nodes have the same.
    taken: Vec<bool>,
    /// From where on a node of so many steps is tried, so that full places are not tried again and again.
    from: [usize; 17],
}

/// A node whose steps have no place yet.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting<'a> {
    lowest: Reverse<u16>,
    /// Where the step to it is: in `pairs`, or else in `steps`.
    of_pair: bool,
    at: usize,
    depth: usize,
    /// Sorted; all that begin with the bytes up to here.
    tokens: &'a [(&'a [u8], u16)],
}

impl<'a> Builder<'a> {
    fn wait(&mut self, of_pair: bool, at: usize, depth: usize, tokens: &'a [(&'a [u8], u16)]) {
        let lowest = tokens.iter().map(|(_, id)| *id).min();
        self.waiting.push(Waiting {
            lowest: Reverse(lowest.unwrap_or(NONE)),
            of_pair,
            at,
            depth,
            tokens,
        });
    }

    /// Places the steps of all nodes that wait, and of those below them.
    fn place_all(&mut self, trie: &mut Trie) -> Result<(), String> {
        while let Some(node) = self.waiting.pop() {
            let Waiting { at, depth, .. } = node;
            let step = if node.of_pair {
                trie.pairs[at]
            } else {
                trie.steps[at]
            };
            let (mut token, mut below) = (step.token(), node.tokens);
            if let Some(((bytes, id), after)) = below.split_first()
                && bytes.len() == depth
            {
                (token, below) = (Token::new(bytes, *id), after);
            }
            let mut step = Step::new(step.parent(), token);
            let children: Vec<&[(&[u8], u16)]> = below
                .chunk_by(|(one, _), (other, _)| one[depth] == other[depth])
                .collect();
            if !children.is_empty() {
                let bytes = children
                    .iter()
                    .map(|tokens| usize::from(tokens[0].0[depth]));
                let bytes: Vec<usize> = bytes.collect();
                let place = self.place(&mut trie.steps, &bytes)?;
                step.0 |= (place as u64) << 24;
                for (tokens, byte) in children.into_iter().zip(bytes) {
                    trie.steps[place ^ byte] = Step::new(place, token);
                    self.wait(false, place ^ byte, depth + 1, tokens);
                }
            }
            if node.of_pair {
                trie.pairs[at] = step;
            } else {
                trie.steps[at] = step;
            }
        }
        Ok(())
    }

    /// A place where steps by all of `bytes` are free.
    fn place(&mut self, steps: &mut Vec<Step>, bytes: &[usize]) -> Result<usize, String> {
        let kind = bytes.len().min(16);
        let mut at = self.from[kind];
        loop {
            if at >= steps.len() {
                if steps.len() + 256 > PLACES {
                    return Err("its tokens are too many and too long for this encoder".to_owned());
                }
                steps.resize(steps.len() + 256, Step::EMPTY);
                self.taken.resize(steps.len(), false);
            }
            let place = at ^ bytes[0];
            let is_free = |byte: &usize| steps[place ^ byte] == Step::EMPTY;
            if place != 0 && !self.taken[place] && bytes.iter().all(is_free) {
                self.taken[place] = true;
                self.from[kind] = at;
                return Ok(place);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::mutate::Random;
    use super::*;

    #[test]
    fn the_longest_is_what_a_search_finds() {
        let mut random = Random::new(7);
        let mut some: Vec<Vec<u8>> = (0..4000)
            .map(|_| {
                let count = 1 + random.below(9);
                // Few different bytes, so that many begin alike; and one that all steps of a node are next to.
                (0..count)
                    .map(|_| [0, 1, b'a', b'b', 0x7f, 0x80, 0xff][random.below(7)])
                    .collect()
            })
            .collect();
        some.extend((0..=255u8).map(|byte| vec![0x7e, 0x7e, byte]));
        some.sort();
        some.dedup();
        let tokens: Vec<(&[u8], u16)> = some
            .iter()
            .zip(0u16..)
            .map(|(bytes, id)| (bytes.as_slice(), id))
            .collect();
        let trie = Trie::new(tokens.clone()).unwrap();
        for _ in 0..20_000 {
            let count = random.below(12);
            let text: Vec<u8> = (0..count)
                .map(|_| [0, 1, b'a', b'b', 0x7e, 0x80, 0xff, 9][random.below(8)])
                .collect();
            let found = tokens
                .iter()
                .filter(|(bytes, _)| text.starts_with(bytes))
                .max_by_key(|(bytes, _)| bytes.len());
            let found = found.map_or(NOTHING, |(bytes, id)| Token::new(bytes, *id));
            assert_eq!(trie.longest(&text), found, "{text:?}");
        }
    }
}
