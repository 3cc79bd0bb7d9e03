#!/usr/bin/env python3
"""Computes what a scale of numbers gives with numpy and scipy, and writes cases and values to scale.json.

    python scale.py           (numpy, scipy; the file says which versions made it)

`trainer/tests/tasks.rs` holds the task stsb against it: labels as STS-B has them, log-likelihoods of a model that knows them more or less,
the mean of the numbers weighted by their likelihoods (`scipy.special.softmax`), and its correlations with the labels (`scipy.stats`).
"""

import importlib.metadata
import json
import random
from pathlib import Path

import numpy as np
from scipy import special, stats

draw = random.Random(11)
NUMBERS = [f"{tenths / 10:.1f}" for tenths in range(51)]


def case(size, knows):
    labels, nats, expected = [], [], []
    values = np.array([float(number) for number in NUMBERS])
    for _ in range(size):
        # Means of five people's judgements: many are equal, some have two decimals or are no sum of tenths.
        label = draw.choice([draw.randrange(26) / 5, draw.randrange(21) / 4, 3.799999952316284])
        label = min(label, 5.0)
        likely = [round(-knows * abs(value - label) - draw.expovariate(0.5) - 9, 3) for value in values]
        labels.append(label)
        nats.append(likely)
        expected.append(float(special.softmax(likely) @ values))
    return {
        "labels": labels, "nats": nats, "expected": expected,
        "pearson": float(stats.pearsonr(labels, expected)[0]), "spearman": float(stats.spearmanr(labels, expected)[0]),
    }


cases = {
    "made_with": {name: importlib.metadata.version(name) for name in ("numpy", "scipy")},
    "numbers": NUMBERS,
    "cases": [case(30, 2.0), case(12, 0.1), case(2, 1.0)],
}
out = Path(__file__).with_name("scale.json")
out.write_text(json.dumps(cases, separators=(",", ":"), allow_nan=False) + "\n")
