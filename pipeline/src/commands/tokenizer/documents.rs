//! Documents of a build with their ids, in the order of its shards: which is random, so that the first ones are a sample.

use andromeda_format::{Build, Split};

/// A document of a build: its dataset, its row in the table of documents, and its ids without the end of text.
pub(super) struct Encoded<'a> {
    pub dataset: u32,
    pub row: u64,
    pub ids: &'a [u32],
}

/// Calls `each` with the first documents of the build that begin and end in one shard.
pub(super) fn first(
    build: &Build,
    most: u64,
    each: &mut dyn FnMut(Encoded<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end_of_text = build.manifest().tokenizer.end_of_text.id;
    let mut seen = 0;
    for split in [Split::Train, Split::Val, Split::Test] {
        let shards = build
            .manifest()
            .splits
            .get(&split)
            .map_or(0, |entry| entry.shards.len());
        for number in 0..shards {
            let mut reader = build.shard(split, number)?;
            let index = reader.index().clone();
            let last = index.documents.len().saturating_sub(1);
            let mut start = 0;
            for (at, document) in index.documents.iter().enumerate() {
                let begins = at > 0 || !index.continues_from_previous;
                let ends = at < last || !index.continues_in_next;
                if begins && ends {
                    if seen == most {
                        return Ok(());
                    }
                    seen += 1;
                    let mut ids = Vec::new();
                    reader.read_tokens(start..document.end, &mut ids)?;
                    if ids.last() == Some(&end_of_text) {
                        ids.pop();
                    }
                    each(Encoded {
                        dataset: document.source,
                        row: document.row,
                        ids: &ids,
                    })?;
                }
                start = document.end;
            }
        }
    }
    Ok(())
}
