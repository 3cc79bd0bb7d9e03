#!/usr/bin/env python3
"""Computes metrics with the programs that others report them with, and writes cases and values to metrics.json.

    python metrics.py           (sacrebleu, scikit-learn, scipy, numpy, transformers, lm_eval; the file says which versions made it)

`trainer/tests/metrics.rs` holds the trainer's own against them. The sentences for BLEU and the labels are sacrebleu's and scikit-learn's
own examples where they have some; the rest is drawn from a fixed seed.
"""

import importlib.metadata
import json
import math
import random
import re
from pathlib import Path

import numpy as np
from lm_eval.api.metrics import mean_stderr
from sacrebleu.metrics import BLEU
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from transformers.data.metrics.squad_metrics import compute_exact, compute_f1, normalize_answer

draw = random.Random(8)


def bleu_cases():
    # The example of sacrebleu's README, then cases of the tokenizer, of smoothing and of lengths.
    readme_system = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    readme_references = [
        ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
        ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
    ]
    corpora = [
        (readme_system, readme_references),
        (readme_system, readme_references[:1]),
        (["The cat sat on the mat."], [["The cat sat on the mat."]]),
        (["It costs 1,200.50 dollars - 3-4 times more, e.g. \"this\" & that; (yes)?"],
         [["It costs 1,200.5 dollars, 3-4 times more: e.g. \"this\" & that (yes)!"]]),
        (["a b c"], [["a b c"]]),
        (["a b x d e f"], [["a b c d e f"]]),
        (["one two three four"], [["five six seven eight"]]),
        (["&quot;AT&amp;T&quot; is &lt;big&gt; line-\nbreak and\nnew line  \n"], [["\"AT&T\" is <big> linebreak and new line"]]),
        (["<skipped> the the the the the the the"], [["the cat is on the mat"], ["there is a cat on the mat today ok"]]),
        (["Größe 5m² – «déjà vu» 日本語 の テキスト。"], [["Größe 5 m² – «déjà vu» 日本語 の テキスト 。"]]),
        (["a.b,c 1.2,3 .5 5. x-1 1-x [y] {z} `t` ~ ^ _ | \\ / @ # $ % * + = < >"],
         [["a . b , c 1.2,3 .5 5 . x-1 1 -x [ y ] { z } ` t ` ~ ^ _ | \\ / @ # $ % * + = < >"]]),
        (["", "the quick brown fox jumps"], [["nothing here", "the quick brown fox jumped over"]]),
    ]
    words = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which".split()
    for size in (1, 3, 20):
        references = [[" ".join(draw.choices(words, k=draw.randint(4, 25))) + "." for _ in range(size)] for _ in range(2)]
        system = [" ".join(w if draw.random() < 0.8 else draw.choice(words) for w in r.split()) for r in references[0]]
        corpora.append((system, references))
    cases = []
    for system, references in corpora:
        score = BLEU().corpus_score(system, references)
        cases.append({
            "system": system, "references": [list(refs) for refs in zip(*references)], "score": score.score,
            "matches": score.counts, "totals": score.totals, "system_tokens": score.sys_len, "reference_tokens": score.ref_len,
        })
    return cases


def squad_cases():
    answers = ["", "The Eiffel Tower", "eiffel tower!", "a an the", "An apple a day", "New York City", "the City of New York", "U.S.A.",
               "theatre", "a_b the_c", "l'a part", "Ünïcode the É", "  spaced\tout\n", "1,200", "1200", "the-end", "O’Brien a",
               "a\u0301 cafe\u0301 a", "İstanbul", "ΣΑΣ the ΣΑΣ", "x\u001cy", "no no yes", "no yes yes"]
    pairs = [(a, b) for a in answers for b in answers]
    return {
        "normalized": [{"answer": a, "normalized": normalize_answer(a)} for a in answers],
        # (predicted, reference); f1 is symmetric but for nothing.
        "pairs": [{"answer": a, "reference": b, "exact": compute_exact(b, a), "f1": compute_f1(b, a)} for a, b in pairs],
    }


def label_cases():
    cases = [([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]), ([1, 1, 1, 0], [1, 0, 1, 1]), ([0, 0, 0], [0, 0, 0]), ([1, 1], [0, 0]), ([0, 1], [1, 1])]
    for classes, size in ((2, 50), (2, 7), (3, 60), (4, 200)):
        gold = [draw.randrange(classes) for _ in range(size)]
        cases.append((gold, [g if draw.random() < 0.6 else draw.randrange(classes) for g in gold]))
    return [{
        "expected": gold, "predicted": made, "matthews": float(matthews_corrcoef(gold, made)),
        "binary_f1": float(f1_score(np.array(gold) == 1, np.array(made) == 1, zero_division=0)),
        "macro_f1_of_3": float(np.mean([f1_score(np.array(gold) == c, np.array(made) == c, zero_division=0) for c in range(3)])),
        "accuracy": float(np.mean(np.array(gold) == np.array(made))),
        "standard_error": mean_stderr([float(g == m) for g, m in zip(gold, made)]),
    } for gold, made in cases]


def pair_cases():
    cases = [([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]), ([1, 1, 2, 2, 3], [3, 3, 3, 1, 2]), ([1.5, 2.5], [2, 1])]
    for size in (10, 200):
        x = [round(draw.uniform(0, 5), 1) for _ in range(size)]
        cases.append((x, [v + draw.gauss(0, 1) for v in x]))
    return [{"x": x, "y": y, "pearson": float(stats.pearsonr(x, y)[0]), "spearman": float(stats.spearmanr(x, y)[0])} for x, y in cases]


def pass_cases():
    # The formula of the paper in whole numbers: 1 - C(n - c, k) / C(n, k).
    return [{"n": n, "passed": c, "k": k, "value": 1.0 - math.comb(n - c, k) / math.comb(n, k)}
            for n in (1, 2, 5, 20, 200) for c in sorted({0, 1, n // 3, n - 1, n}) for k in (1, 2, 10, 100) if k <= n]


def word_cases():
    # As lm_eval's rolling metrics count words and bytes.
    texts = ["", " ", "one", "one two", " led by blanks\n\nand ended ", "a\u00a0b\u2003c", "x\u001cy z", "日本 語\t\tx", "\u200bzero width"]
    return [{"text": t, "words": len(re.split(r"\s+", t)), "bytes": len(t.encode())} for t in texts]


cases = {
    "made_with": {name: importlib.metadata.version(name) for name in ("sacrebleu", "scikit-learn", "scipy", "numpy", "transformers", "lm_eval")},
    "bleu": bleu_cases(), "squad": squad_cases(), "labels": label_cases(), "pairs": pair_cases(), "pass_at_k": pass_cases(), "words": word_cases(),
}
out = Path(__file__).with_name("metrics.json")
out.write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n")
