//! Rates of the encoders that the pipeline links: its own choice as it calls it, and both versions of `tokenizers`. `make bench-tokenize`
//! runs this for each of them and for their peers (`bench/tokenize`).

#![expect(clippy::print_stdout, reason = "a benchmark's report")]

#[path = "../../bench/tokenize/measure.rs"]
mod measure;

use std::path::Path;

use andromeda_pipeline::tokenize::Tokenizer;
use anyhow::anyhow;
use measure::Encode;

fn main() -> anyhow::Result<()> {
    measure::run(load)
}

fn load(engine: &str, path: &Path) -> anyhow::Result<Encode> {
    Ok(match engine {
        "andromeda" => {
            let tokenizer = Tokenizer::load(path, None)?;
            Box::new(move |text, ids| Ok(tokenizer.encode(text, ids)?))
        }
        "tokenizers-0.23" => {
            let mut tokenizer =
                tokenizers_reference::Tokenizer::from_file(path).map_err(|e| anyhow!("{e}"))?;
            tokenizer.set_encode_special_tokens(true);
            Box::new(move |text, ids| {
                let encoding = tokenizer
                    .encode_fast(text, false)
                    .map_err(|e| anyhow!("{e}"))?;
                ids.extend_from_slice(encoding.get_ids());
                Ok(())
            })
        }
        "tokenizers-1.0-rc.3" => {
            use tokenizers::pipeline::{EncodeOptions, Override};
            let json = std::fs::read_to_string(path)?;
            let canonical = tokenizers::canonicalize_str(&json).map_err(|e| anyhow!("{e}"))?;
            let tokenizer = tokenizers::from_json(&canonical).map_err(|e| anyhow!("{e}"))?;
            let options = EncodeOptions {
                add_special_tokens: false,
                encode_special_tokens: true,
                padding: Override::Off,
                truncation: Override::Off,
            };
            let mut tokens = Vec::new();
            Box::new(move |text, ids| {
                tokens.clear();
                tokenizer
                    .encode_into(text, &options, &mut tokens)
                    .map_err(|e| anyhow!("{e}"))?;
                ids.extend(tokens.iter().map(|token| u32::from(*token)));
                Ok(())
            })
        }
        // What no tokenizer that looks at every byte gets past: one look in a table for each.
        "byte-scan" => {
            let spaces: [u32; 256] = std::array::from_fn(|byte| {
                u32::from(u8::try_from(byte).is_ok_and(|byte| byte.is_ascii_whitespace()))
            });
            Box::new(move |text, ids| {
                let found = text.bytes().map(|byte| spaces[usize::from(byte)]);
                ids.push(found.sum());
                Ok(())
            })
        }
        _ => anyhow::bail!("no engine {engine:?}"),
    })
}
