//! The chance that one of k completions passes (Chen et al., "Evaluating Large Language Models Trained on Code", 2021).

/// The unbiased estimate of pass@k for a problem of whose `n` completions `passed` passed: 1 - C(n - c, k) / C(n, k). It is none
/// where fewer than `k` completions were made.
pub fn pass_at_k(n: usize, passed: usize, k: usize) -> Option<f64> {
    if k > n || passed > n {
        return None;
    }
    if n - passed < k {
        return Some(1.0);
    }
    let none_passes: f64 = (n - passed + 1..=n)
        .map(|i| 1.0 - k as f64 / i as f64)
        .product();
    Some(1.0 - none_passes)
}
