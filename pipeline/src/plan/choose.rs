//! Which files a budget takes: spread over the whole dataset, the same on every machine, and more of the same with more.

use super::{Listed, PlannedFile};
use crate::catalogue::{BudgetBytes, Chosen, Tier};

/// The files of one part that one tier takes.
pub(super) struct Share {
    /// The part, by its number in the list.
    pub part: usize,
    pub tier: Tier,
    /// Sorted by path.
    pub files: Vec<PlannedFile>,
}

/// Divides the files of a dataset's parts among the tiers that it is taken in.
///
/// All parts stand in one order, that of a hash of their files' paths, with one file of every part first, so that no
/// config of a large dataset is missing from a small budget. A tier takes files of that order until its budget is full;
/// where tiers have budgets of their own, each goes on where the more important one stopped, whether that one is part of
/// this build or not.
pub(super) fn shares(chosen: &Chosen, listed: &[Listed<'_>], full: bool) -> Vec<Share> {
    let mut shares = Vec::new();
    let mut pool = Vec::new();
    for (part, of) in listed.iter().enumerate() {
        let files = order(part, of);
        match of.part.dataset.manifest.budget_bytes {
            // A config's own budget.
            Some(BudgetBytes::Whole(budget)) if of.part.config.is_some() => {
                let budget = if full { u64::MAX } else { budget };
                let taken = cut(&files, budget);
                shares.extend(divide(
                    files[..taken].to_vec(),
                    chosen.tiers[0],
                    listed.len(),
                ));
            }
            _ => pool.push(files),
        }
    }
    let mut firsts: Vec<Ordered> = Vec::new();
    let mut others: Vec<Ordered> = Vec::new();
    for mut files in pool {
        let rest = files.split_off(files.len().min(1));
        firsts.extend(files);
        others.extend(rest);
    }
    let by_hash = |files: &mut Vec<Ordered>| {
        files.sort_by(|a, b| (a.hash, &a.file.path).cmp(&(b.hash, &b.file.path)));
    };
    by_hash(&mut firsts);
    by_hash(&mut others);
    let mut left = firsts;
    left.append(&mut others);
    match &chosen.dataset.manifest.budget_bytes {
        None => shares.extend(divide(left, chosen.tiers[0], listed.len())),
        Some(BudgetBytes::Whole(budget)) => {
            let taken = cut(&left, if full { u64::MAX } else { *budget });
            left.truncate(taken);
            shares.extend(divide(left, chosen.tiers[0], listed.len()));
        }
        Some(BudgetBytes::PerTier(budgets)) => {
            for (tier, budget) in budgets {
                let last = chosen.tiers.last() == Some(tier);
                let taken = cut(&left, if full && last { u64::MAX } else { *budget });
                let rest = left.split_off(taken);
                if chosen.tiers.contains(tier) {
                    shares.extend(divide(left, *tier, listed.len()));
                }
                left = rest;
            }
        }
    }
    shares
}

#[derive(Clone)]
struct Ordered {
    hash: u64,
    part: usize,
    file: PlannedFile,
}

/// A part's files in the order in which budgets take them.
fn order(part: usize, of: &Listed<'_>) -> Vec<Ordered> {
    let name = &of.part.dataset.manifest.name;
    let mut files: Vec<Ordered> = of
        .files
        .iter()
        .map(|file| Ordered {
            hash: xxhash_rust::xxh3::xxh3_64(format!("{name}/{}", file.path).as_bytes()),
            part,
            file: file.clone(),
        })
        .collect();
    files.sort_by(|a, b| (a.hash, &a.file.path).cmp(&(b.hash, &b.file.path)));
    files
}

/// How many files the budget takes: at least one, and none after the first that does not fit, so that a larger budget
/// takes the same and more.
fn cut(files: &[Ordered], budget: u64) -> usize {
    let mut left = budget;
    for (number, ordered) in files.iter().enumerate() {
        if ordered.file.bytes > left && number > 0 {
            return number;
        }
        left = left.saturating_sub(ordered.file.bytes);
    }
    files.len()
}

fn divide(files: Vec<Ordered>, tier: Tier, parts: usize) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..parts)
        .map(|part| Share {
            part,
            tier,
            files: Vec::new(),
        })
        .collect();
    for ordered in files {
        shares[ordered.part].files.push(ordered.file);
    }
    shares.retain(|share| !share.files.is_empty());
    for share in &mut shares {
        share.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    shares
}
