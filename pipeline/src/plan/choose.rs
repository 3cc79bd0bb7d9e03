//! Which files a budget takes: spread over the whole dataset, the same on every machine, and more of the same with more.

use super::{Listed, PlannedFile};
use crate::catalogue::{BudgetBytes, Chosen, Tier};
use crate::read::Share;

/// The files of one part that one tier takes.
pub(super) struct Taken {
    /// The part, by its number in the list.
    pub part: usize,
    pub tier: Tier,
    /// Sorted by path.
    pub files: Vec<PlannedFile>,
    /// What is read of the only file, where it alone is larger than the budget.
    pub share: Option<Share>,
}

/// Divides the files of a dataset's parts among the tiers that it is taken in.
///
/// All parts stand in one order, that of a hash of their files' paths, with one file of every part first, so that no
/// config of a large dataset is missing from a small budget. A tier takes files of that order until its budget is full;
/// where tiers have budgets of their own, each goes on where the more important one stopped, whether that one is part of
/// this build or not.
pub(super) fn shares(chosen: &Chosen, listed: &[Listed<'_>], full: bool) -> Vec<Taken> {
    let mut shares = Vec::new();
    let mut pool = Vec::new();
    for (part, of) in listed.iter().enumerate() {
        let files = order(part, of);
        match of.part.dataset.manifest.budget_bytes {
            // A config's own budget.
            Some(BudgetBytes::Whole(budget)) if of.part.config.is_some() => {
                let budget = if full { u64::MAX } else { budget };
                let files = files[..cut(&files, budget)].to_vec();
                shares.extend(divide(files, budget, chosen.tiers[0], listed.len()));
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
        None => shares.extend(divide(left, u64::MAX, chosen.tiers[0], listed.len())),
        Some(BudgetBytes::Whole(budget)) => {
            let budget = if full { u64::MAX } else { *budget };
            left.truncate(cut(&left, budget));
            shares.extend(divide(left, budget, chosen.tiers[0], listed.len()));
        }
        Some(BudgetBytes::PerTier(budgets)) => {
            for (tier, budget) in budgets {
                let last = chosen.tiers.last() == Some(tier);
                let budget = if full && last { u64::MAX } else { *budget };
                let rest = left.split_off(cut(&left, budget));
                if chosen.tiers.contains(tier) {
                    shares.extend(divide(left, budget, *tier, listed.len()));
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

/// The taken files by part. A budget that is smaller than its only file takes that share of the file.
fn divide(files: Vec<Ordered>, budget: u64, tier: Tier, parts: usize) -> Vec<Taken> {
    let share = match files.as_slice() {
        [only] if only.file.bytes > budget => Some(Share {
            take: budget,
            of: only.file.bytes,
        }),
        _ => None,
    };
    let mut taken: Vec<Taken> = (0..parts)
        .map(|part| Taken {
            part,
            tier,
            files: Vec::new(),
            share,
        })
        .collect();
    for ordered in files {
        taken[ordered.part].files.push(ordered.file);
    }
    taken.retain(|taken| !taken.files.is_empty());
    for taken in &mut taken {
        taken.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    taken
}
