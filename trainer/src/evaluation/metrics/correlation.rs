//! Pearson's and Spearman's correlation, as scipy's `pearsonr` and `spearmanr` have them.

/// Pearson's correlation of pairs; none where there are fewer than two or one side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len().min(y.len());
    if n < 2 {
        return None;
    }
    let mean = |values: &[f64]| values[..n].iter().sum::<f64>() / n as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    let value = xy / (xx.sqrt() * yy.sqrt());
    // Rounding must not make it more than perfect.
    value.is_finite().then(|| value.clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's of ranks, those of equals averaged.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len().min(y.len());
    pearson(&ranks(&x[..n]), &ranks(&y[..n]))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let equal = order[start..]
            .iter()
            .take_while(|&&at| values[at] == values[order[start]])
            .count()
            .max(1);
        // Ranks from 1: start + 1 to start + equal.
        let mean = start as f64 + (equal as f64 + 1.0) / 2.0;
        for &at in &order[start..start + equal] {
            ranks[at] = mean;
        }
        start += equal;
    }
    ranks
}
