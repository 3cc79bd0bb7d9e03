#!/usr/bin/env python3
"""Computes paired differences and Student's t with scipy and statsmodels, and writes cases and values to paired.json.

    python paired.py            (numpy, scipy, statsmodels; the file says which versions made it)

`trainer/src/evaluation/paired.rs` is held against them. Nothing here is its formula: the ratio and its error are an ordinary regression of
single tokens on a constant with errors clustered by document, the degrees of freedom those of Welch's test on two samples that have the
variances of the two parts.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from scipy import stats

draw = np.random.default_rng(11)


def quantiles():
    places = [1.0, 1.5, 2.0, 3.7, 5.0, 10.0, 29.0, 100.0, 1234.5, 1e6]
    return [
        {"probability": p, "degrees_of_freedom": df, "t": float(stats.t.ppf(p, df))}
        for df in places
        for p in (0.6, 0.95, 0.975, 0.9995)
    ]


def clustered(units):
    """Mean of all units, its error clustered, degrees of freedom, interval."""
    values = np.concatenate(units)
    groups = np.repeat(np.arange(len(units)), [len(of) for of in units])
    fit = sm.OLS(values, np.ones_like(values)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    low, high = fit.conf_int(alpha=0.05)[0]
    return float(fit.params[0]), float(fit.bse[0]), float(fit.df_resid_inference), float(low), float(high)


def clusters():
    cases = []
    for count, spread in ((2, 0.0), (12, 0.3), (60, 1.0)):
        # Units of a document lean the same way, and long documents lean another way than short ones.
        units = []
        for _ in range(count):
            length = int(draw.integers(1, 40))
            units.append(draw.normal(0.1 - length / 200, spread) + draw.normal(0.0, 0.5, length))
        value, error, freedom, low, high = clustered(units)
        cases.append(
            {
                "totals": [float(of.sum()) for of in units],
                "weights": [float(len(of)) for of in units],
                "value": value,
                "standard_error": error,
                "degrees_of_freedom": freedom,
                "interval": [low, high],
            }
        )
    return cases


def welch(first, of_first, second, of_second):
    """Degrees of freedom of the sum of two variances of means, by Welch's test of samples that have them."""

    def sample(variance, size):
        made = np.arange(size, dtype=float)
        return (made - made.mean()) / made.std(ddof=1) * np.sqrt(variance * size)

    return float(stats.ttest_ind(sample(first, of_first), sample(second, of_second), equal_var=False).df)


def seeds():
    cases = []
    for count, documents, of_seed, of_document in ((3, 40, 0.02, 0.5), (2, 15, 0.5, 0.1), (6, 80, 0.1, 0.1)):
        lengths = draw.integers(1, 30, documents)
        seed = draw.normal(0.05, of_seed, count)
        document = draw.normal(0.0, of_document, documents)
        units = [
            [draw.normal(s + d, 0.3, length) for d, length in zip(document, lengths)] for s in seed
        ]
        of_seeds = np.array([np.concatenate(of).mean() for of in units])
        averaged = [np.mean([of[i] for of in units], axis=0) for i in range(documents)]
        value, documents_error, *_ = clustered(averaged)
        seeds_error = float(stats.sem(of_seeds))
        freedom = welch(seeds_error**2, count, documents_error**2, documents)
        error = float(np.hypot(seeds_error, documents_error))
        low, high = stats.t.interval(0.95, freedom, loc=of_seeds.mean(), scale=error)
        assert abs(value - of_seeds.mean()) < 1e-12
        cases.append(
            {
                "totals": [[float(x.sum()) for x in of] for of in units],
                "weights": [float(length) for length in lengths],
                "value": value,
                "seeds_error": seeds_error,
                "documents_error": documents_error,
                "standard_error": error,
                "degrees_of_freedom": freedom,
                "interval": [float(low), float(high)],
            }
        )
    return cases


versions = {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "statsmodels")}
made = {"versions": versions, "quantiles": quantiles(), "clusters": clusters(), "seeds": seeds()}
Path(__file__).with_name("paired.json").write_text(json.dumps(made) + "\n")
