//! Text of tokens as they are made, in whole characters, at a cost that does not grow with the text.
//!
//! A token may end within a character, which decodes to U+FFFD until the rest of its bytes come, so a text with that at its end is
//! waited for. What a token looks like depends on a few before it (blanks of `WordPiece`, a first blank that is left out, bytes that
//! are a character together), so a window of the last tokens is decoded, and it is cut only where that changes nothing.

use tokenizers_reference::Tokenizer;

use crate::error::{Error, Result};

/// Tokens of a window from which on it is cut.
const WINDOW: usize = 32;
/// Tokens that stay when it is cut, at least.
const BEFORE: usize = 8;
/// Tokens that are waited for: bytes that are no character by then will be none.
const PATIENCE: usize = 8;
/// U+FFFDs at the end that a character may still come of: of four bytes one is missing.
const PENDING: usize = 3;
/// A window that can be cut nowhere is cut all the same.
const LARGEST_WINDOW: usize = 4 * WINDOW;

/// Tokens that become text piece by piece.
pub struct Streaming<'a> {
    tokenizer: &'a Tokenizer,
    window: Vec<u32>,
    /// Bytes of the window's text that were given out.
    given: usize,
    /// Tokens since something was.
    waited: usize,
}

impl<'a> Streaming<'a> {
    /// Before the first token.
    pub const fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            window: Vec::new(),
            given: 0,
            waited: 0,
        }
    }

    /// What is new with one more token: often a word, nothing within a character.
    ///
    /// # Errors
    /// The tokenizer cannot decode it.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.window.push(id);
        self.waited += 1;
        let text = self.decode(0)?;
        let sure = if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            text.len()
        } else if self.waited > PATIENCE {
            sure(&text)
        } else {
            return Ok(String::new());
        };
        let new = self.give(&text[..sure]);
        self.cut(&text)?;
        Ok(new)
    }

    /// What was waited for.
    ///
    /// # Errors
    /// The tokenizer cannot decode it.
    pub fn rest(&mut self) -> Result<String> {
        let text = self.decode(0)?;
        Ok(self.give(&text))
    }

    /// What of `text` was not given out. Where a tokenizer writes the earlier text anew, that cannot be taken back.
    fn give(&mut self, text: &str) -> String {
        let from = (self.given..text.len()).find(|&at| text.is_char_boundary(at));
        let new = from.map_or("", |from| &text[from..]).to_owned();
        if !new.is_empty() {
            self.waited = 0;
        }
        self.given = self.given.max(text.len());
        new
    }

    /// Leaves out the beginning of a long window, whose text is `text`, if the rest is decoded as before without it.
    fn cut(&mut self, text: &str) -> Result<()> {
        let tokens = self.window.len();
        if tokens < WINDOW {
            return Ok(());
        }
        for from in (WINDOW / 2..=tokens - BEFORE).rev() {
            let end = self.decode(from)?;
            // Not within a character, whose rest would be no end of the text, or one by chance.
            let whole = !end.starts_with(char::REPLACEMENT_CHARACTER) && text.ends_with(&end);
            if whole || (tokens >= LARGEST_WINDOW && from == WINDOW / 2) {
                let pending = text.len().saturating_sub(self.given);
                self.given = end.len().saturating_sub(pending);
                self.window.drain(..from);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The text of the window from a token on.
    fn decode(&self, from: usize) -> Result<String> {
        let text = self.tokenizer.decode(&self.window[from..], true);
        text.map_err(|error| Error::Usage(format!("the sampled tokens cannot be decoded: {error}")))
    }
}

/// How many bytes of `text` no later token changes.
fn sure(text: &str) -> usize {
    let held = text
        .chars()
        .rev()
        .take(PENDING)
        .take_while(|&character| character == char::REPLACEMENT_CHARACTER);
    text.len() - held.map(char::len_utf8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Byte-level BPE over a few bytes: those of é (C3 A9) are written Ã and ©, those of € (E2 82 AC) â Ĥ ¬, a blank Ġ.
    fn byte_level() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "post_processor":null,
            "decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
            "vocab":{"a":0,"Ã":1,"©":2,"Ġ":3,"â":4,"Ĥ":5,"¬":6,"aÃ":7},"merges":[]}}"#;
        json.parse().unwrap()
    }

    /// Words with blanks between them, a decoder that leaves the first blank out, and bytes for what is no word: as of `SentencePiece`.
    fn metaspace() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":null,"post_processor":null,
            "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},
            {"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":true,
            "vocab":{"▁a":0,"<0xC3>":1,"<0xA9>":2,"b":3,"<0xE2>":4,"<0x82>":5,"<0xAC>":6,"▁":7},"merges":[]}}"#;
        json.parse().unwrap()
    }

    fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, String) {
        let mut streaming = Streaming::new(tokenizer);
        let pieces = ids.iter().map(|&id| streaming.push(id).unwrap()).collect();
        (pieces, streaming.rest().unwrap())
    }

    #[test]
    fn characters_are_given_out_whole() {
        let tokenizer = byte_level();
        let (made, rest) = pieces(&tokenizer, &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(made, ["a", "", "é", " ", "", "", "€", ""]);
        // At the end what is left is given as it is.
        assert_eq!(rest, "a\u{fffd}");
        // Bytes that become no character are not waited for without end.
        let ids = [[1; 20].as_slice(), &[2]].concat();
        let (made, rest) = pieces(&tokenizer, &ids);
        assert!(
            made[PATIENCE - 1].is_empty()
                && made[PATIENCE] == "\u{fffd}".repeat(PATIENCE + 1 - PENDING)
        );
        assert_eq!(made.concat() + &rest, "\u{fffd}".repeat(19) + "é");
    }

    #[test]
    fn pieces_together_are_the_text_decoded_as_a_whole() {
        // Bytes that are no character spoil the whole run of bytes that they are in where bytes are tokens of their own, also what
        // was given out of it; so these come in one of the two only.
        for (seed, tokenizer, faults) in [(1, byte_level(), 5), (2, metaspace(), 0)] {
            let random = Stream::new(seed, "ids");
            for round in 0..50 {
                let parts: [&[u32]; 6] = [&[0], &[3], &[1, 2], &[4, 5, 6], &[7], &[1]];
                let ids: Vec<u32> = (0..200)
                    .flat_map(|at| {
                        let bits = random.bits(1000 * round + at);
                        let part = if bits >> 57 == 0 { faults } else { bits % 5 };
                        parts[usize::try_from(part).unwrap()].to_vec()
                    })
                    .collect();
                let (made, rest) = pieces(&tokenizer, &ids);
                let whole = tokenizer.decode(&ids, true).unwrap();
                assert_eq!(made.concat() + &rest, whole, "{ids:?}");
            }
        }
    }
}
