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
/// A dataset's budget is divided among its parts by their sizes, so that a small budget has the mixture of the whole. A
/// part's files stand in the order of a hash of their paths, and a tier takes files of that order until its budget is full;
/// where tiers have budgets of their own, each goes on where the more important one stopped, whether that one is part of
/// this build or not.
pub(super) fn shares(chosen: &Chosen, listed: &[Listed<'_>], full: bool) -> Vec<Taken> {
    let own = |of: &Listed<'_>| match of.part.dataset.manifest.budget_bytes {
        Some(BudgetBytes::Whole(budget)) if of.part.config.is_some() => Some(budget),
        _ => None,
    };
    let bytes = |of: &Listed<'_>| of.files.iter().map(|file| file.bytes).sum::<u64>();
    let pooled = listed.iter().filter(|of| own(of).is_none());
    let all: u128 = pooled.map(|of| u128::from(bytes(of))).sum();
    let first = chosen.tiers[0];
    let mut shares = Vec::new();
    for (part, of) in listed.iter().enumerate() {
        let portion = |budget: u64| {
            let portion = u128::from(budget) * u128::from(bytes(of)) / all.max(1);
            u64::try_from(portion).unwrap_or(u64::MAX)
        };
        let budgets: Vec<(Tier, u64)> = match (own(of), &chosen.dataset.manifest.budget_bytes) {
            (Some(budget), _) => vec![(first, budget)],
            (None, None) => vec![(first, u64::MAX)],
            (None, Some(BudgetBytes::Whole(budget))) => vec![(first, portion(*budget))],
            (None, Some(BudgetBytes::PerTier(tiers))) => tiers
                .iter()
                .map(|(tier, budget)| (*tier, portion(*budget)))
                .collect(),
        };
        let mut left = order(of);
        for (tier, budget) in budgets {
            // The last tier that is asked for has no end where budgets are lifted.
            let lifted = full && chosen.tiers.last() == Some(&tier);
            let budget = if lifted { u64::MAX } else { budget };
            let rest = left.split_off(cut(&left, budget));
            if !left.is_empty() && chosen.tiers.contains(&tier) {
                let share = match left.as_slice() {
                    [only] if only.bytes > budget => Some(Share {
                        take: budget,
                        of: only.bytes,
                    }),
                    _ => None,
                };
                left.sort_by(|a, b| a.path.cmp(&b.path));
                shares.push(Taken {
                    part,
                    tier,
                    files: left,
                    share,
                });
            }
            left = rest;
        }
    }
    shares
}

/// A part's files in the order in which budgets take them.
fn order(of: &Listed<'_>) -> Vec<PlannedFile> {
    let name = &of.part.dataset.manifest.name;
    let mut files: Vec<(u64, &PlannedFile)> = of
        .files
        .iter()
        .map(|file| {
            let name = format!("{name}/{}", file.path);
            (xxhash_rust::xxh3::xxh3_64(name.as_bytes()), file)
        })
        .collect();
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    files.into_iter().map(|(_, file)| file.clone()).collect()
}

/// How many files the budget takes: at least one, and none after the first that does not fit, so that a larger budget
/// takes the same and more.
fn cut(files: &[PlannedFile], budget: u64) -> usize {
    let mut left = budget;
    for (number, file) in files.iter().enumerate() {
        if file.bytes > left && number > 0 {
            return number;
        }
        left = left.saturating_sub(file.bytes);
    }
    files.len()
}
