//! `andromeda tokenizer encode` and `decode`.

use std::io::{BufRead as _, Read as _, Write as _};

use super::super::{print, print_json};
use super::open;
use crate::cli::WhichTokenizer;
use crate::exit::Usage;
use crate::tokenize::Tokenizer;

pub(super) fn encode(which: &WhichTokenizer, lines: bool, as_json: bool) -> anyhow::Result<()> {
    let (tokenizer, _) = open(which)?;
    let mut stdin = std::io::stdin().lock();
    if !lines {
        let mut text = String::new();
        stdin.read_to_string(&mut text)?;
        return write(&tokenizer, &text, as_json);
    }
    for line in stdin.lines() {
        write(&tokenizer, &line?, as_json)?;
    }
    Ok(())
}

fn write(tokenizer: &Tokenizer, text: &str, as_json: bool) -> anyhow::Result<()> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids)?;
    if as_json {
        return print_json(&ids);
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    print(ids.join(" "))
}

pub(super) fn decode(which: &WhichTokenizer, as_json: bool) -> anyhow::Result<()> {
    let (tokenizer, _) = open(which)?;
    let mut stdin = std::io::stdin().lock();
    if as_json {
        for line in stdin.lines() {
            print_json(&tokenizer.decode(&read(&tokenizer, &line?)?))?;
        }
        return Ok(());
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text)?;
    let text = tokenizer.decode(&read(&tokenizer, &text)?);
    // As it is: a line end more would be another text.
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn read(tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Vec<u32>> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
        .filter(|word| !word.is_empty())
        .map(|word| match word.parse::<u32>() {
            Ok(id) if id < tokenizer.vocab_size() => Ok(id),
            _ => Err(Usage(format!(
                "{word:?} is no id below {}",
                tokenizer.vocab_size()
            ))
            .into()),
        })
        .collect()
}
