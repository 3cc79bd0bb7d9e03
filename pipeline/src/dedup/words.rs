//! The words of a text as UAX #29 cuts them, hashed in lower case.

use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

/// Words of a text: segments between UAX #29 word boundaries that hold a letter or a digit.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.unicode_words()
}

/// Appends the hash of every word in lower case. `buffer` is for the lower case of one word.
pub fn word_hashes(text: &str, buffer: &mut String, hashes: &mut Vec<u64>) {
    for word in words(text) {
        if word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            hashes.push(xxh3_64(word.as_bytes()));
        } else {
            buffer.clear();
            if word.is_ascii() {
                buffer.push_str(word);
                buffer.make_ascii_lowercase();
            } else {
                // Character by character, so that a final sigma hashes as any other.
                buffer.extend(word.chars().flat_map(char::to_lowercase));
            }
            hashes.push(xxh3_64(buffer.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> Vec<u64> {
        let mut out = Vec::new();
        word_hashes(text, &mut String::new(), &mut out);
        out
    }

    #[test]
    fn words_are_cut_as_the_annex_says() {
        // Examples of UAX #29, section 4.
        let found: Vec<&str> = words("The quick (\"brown\") fox can't jump 32.3 feet, right?").collect();
        assert_eq!(found, ["The", "quick", "brown", "fox", "can't", "jump", "32.3", "feet", "right"]);
    }

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert_eq!(hashes("Hello, World!"), hashes("hello world"));
        assert_eq!(hashes("\u{c9}COLE"), hashes("\u{e9}cole"));
        assert_ne!(hashes("hello world"), hashes("world hello"));
        assert!(hashes(" \n -- ...").is_empty());
    }
}
