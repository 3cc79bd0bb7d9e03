//! Other crates' encoders: see `measure::run` for the arguments.

#[path = "../../measure.rs"]
mod measure;

use std::path::Path;

use anyhow::anyhow;
use measure::Encode;

fn main() -> anyhow::Result<()> {
    measure::run(load)
}

fn load(engine: &str, path: &Path) -> anyhow::Result<Encode> {
    Ok(match engine {
        "fastokens" => {
            let json = serde_json::from_slice(&std::fs::read(path)?)?;
            let tokenizer =
                fastokens::Tokenizer::from_json(json).map_err(|error| anyhow!("{error}"))?;
            Box::new(move |text, ids| {
                ids.extend(tokenizer.encode(text).map_err(|error| anyhow!("{error}"))?);
                Ok(())
            })
        }
        "splintr" => {
            let path = path
                .to_str()
                .ok_or_else(|| anyhow!("the path is not UTF-8"))?;
            let tokenizer =
                splintr::core::from_json_path(path).map_err(|error| anyhow!("{error}"))?;
            Box::new(move |text, ids| {
                ids.extend(tokenizer.encode_raw(text));
                Ok(())
            })
        }
        "tokie" => {
            let tokenizer =
                tokie::Tokenizer::from_json(path).map_err(|error| anyhow!("{error}"))?;
            Box::new(move |text, ids| {
                ids.extend(tokenizer.encode_ids(text, false));
                Ok(())
            })
        }
        "kitoken" => {
            let tokenizer = kitoken::Kitoken::from_tokenizers_file(path)
                .map_err(|error| anyhow!("{error:?}"))?;
            Box::new(move |text, ids| {
                // As text: its second argument would take special tokens out of the text.
                ids.extend(
                    tokenizer
                        .encode(text, false)
                        .map_err(|error| anyhow!("{error:?}"))?,
                );
                Ok(())
            })
        }
        _ => anyhow::bail!("no engine {engine:?}"),
    })
}
