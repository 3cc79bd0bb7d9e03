//! Texts of documents that were not kept: read from their files a second time.

use rayon::prelude::*;

use super::block::verdict;
use super::extract::{Extracted, Places};
use super::resolve::Survivors;
use super::shingles::{EachText, MarkedTexts};
use super::store::StoreError;
use super::texts::hasher;
use crate::dedup::cluster::Ordinal;
use crate::dedup::groups::Marks;
use crate::plan::Plan;
use crate::read::{self, Block};
use crate::render::{Content, Render};

/// The files of a plan whose rows give one text each.
pub(super) struct RereadTexts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its blocks.
    pub extracted: &'a Extracted,
    /// Its files.
    pub places: &'a Places,
}

impl MarkedTexts for RereadTexts<'_> {
    fn for_each(
        &self,
        survivors: &Survivors<'_>,
        marked: &Marks,
        each: &EachText<'_>,
    ) -> Result<(), StoreError> {
        let blocks: Vec<usize> = (0..self.extracted.blocks.len()).collect();
        let of_unit = blocks.chunk_by(|a, b| {
            let (a, b) = (&self.extracted.blocks[*a], &self.extracted.blocks[*b]);
            (a.dataset, a.unit) == (b.dataset, b.unit)
        });
        let units: Vec<&[usize]> = of_unit.collect();
        units
            .par_iter()
            .try_for_each(|blocks| self.unit(blocks, survivors, marked, each))
    }
}

impl RereadTexts<'_> {
    /// One file: a few blocks are found by one thread and decoded by all, then the next few.
    fn unit(
        &self,
        blocks: &[usize],
        survivors: &Survivors<'_>,
        marked: &Marks,
        each: &EachText<'_>,
    ) -> Result<(), StoreError> {
        let wants = |block: usize| {
            let mut ordinals = survivors.blocks[block].ordinals();
            ordinals.any(|document| marked.has(document))
        };
        let Some(last) = blocks.iter().rposition(|block| wants(*block)) else {
            return Ok(());
        };
        let first = &self.extracted.blocks[blocks[0]];
        let dataset = &self.plan.datasets[first.dataset];
        let unit = &dataset.units[first.unit];
        let place = &self.places[first.dataset][first.unit][0];
        let mut options = dataset.read.clone();
        options.format = Some(unit.format);
        options.compression = Some(unit.compression);
        let render = Render::new(&dataset.render).expect("the plan checked the render table");
        options.fields = Some(render.fields());
        let failed = |error: read::ReadError| StoreError::Io(std::io::Error::other(error));
        let mut source = read::open(place, &options).map_err(failed)?;
        let mut waiting: Vec<(usize, Block)> = Vec::new();
        for (number, block) in blocks.iter().enumerate().take(last + 1) {
            let read = source.next_block().map_err(failed)?.ok_or_else(|| {
                let what = format!("{} is shorter than it was a moment ago", place.display());
                StoreError::Io(std::io::Error::other(what))
            })?;
            if wants(*block) {
                waiting.push((*block, read));
            }
            if waiting.len() >= rayon::current_num_threads() || number == last {
                std::mem::take(&mut waiting)
                    .into_par_iter()
                    .try_for_each(|(block, read)| {
                        self.block(block, &read, survivors, marked, each)
                    })?;
            }
        }
        Ok(())
    }

    fn block(
        &self,
        number: usize,
        block: &Block,
        survivors: &Survivors<'_>,
        marked: &Marks,
        each: &EachText<'_>,
    ) -> Result<(), StoreError> {
        let done = &self.extracted.blocks[number];
        let dataset = &self.plan.datasets[done.dataset];
        let Some(hasher) = hasher(self.plan, &dataset.profile) else {
            return Ok(());
        };
        let mut signer = hasher.signer();
        let render = Render::new(&dataset.render).expect("the plan checked the render table");
        let of = &survivors.blocks[number];
        let verdicts = of.file.read("verdicts")?;
        let mut ordinals = of.ordinals();
        let documents: Vec<Option<Ordinal>> = verdicts
            .iter()
            .map(|verdict| match *verdict == verdict::SURVIVED {
                true => ordinals.next(),
                false => None,
            })
            .collect();
        let mut outcome = Ok(());
        let decoded = block.decode(&mut |row, fields| {
            let at = usize::try_from(row - block.first_row).unwrap_or(usize::MAX);
            let document = documents.get(at).copied().flatten();
            let (Some(document), Ok(fields), true) = (document, fields, outcome.is_ok()) else {
                return;
            };
            if !marked.has(document) {
                return;
            }
            if let Some(Ok(Content::Text(text))) = render.render_all(fields).into_iter().next() {
                let text = self.plan.recipe.normalize.normalize(&text);
                outcome = each(document, &mut signer, &text);
            }
        });
        outcome?;
        decoded.map_err(|error| StoreError::Io(std::io::Error::other(error)))
    }
}
