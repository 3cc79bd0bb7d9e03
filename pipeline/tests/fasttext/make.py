#!/usr/bin/env python3
"""Tiny models of fastText itself, and what it predicts with them: the oracle of the reader's tests.

    python3 -m venv venv && venv/bin/pip install fasttext-wheel==0.9.2 'numpy<2'
    venv/bin/python make.py

fastText's threads write over each other, so that a run gives other weights than the last; models and numbers here are of one run.
"""

import itertools
import json
import random
import sys
import tempfile
from pathlib import Path

import fasttext
import fasttext_pybind

HERE = Path(__file__).resolve().parent

# Written for this file.
SENTENCES = {
    "en": ["the river runs past the old mill and under the bridge", "we counted every page before the book was closed",
           "a small light was still burning in the upper window", "nobody asked why the train had stopped in the field"],
    "de": ["der Fluss fließt an der alten Mühle vorbei und unter der Brücke durch", "wir zählten jede Seite, bevor das Buch geschlossen wurde",
           "ein kleines Licht brannte noch im oberen Fenster", "niemand fragte, warum der Zug auf dem Feld gehalten hatte"],
    "pl": ["rzeka płynie obok starego młyna i pod mostem", "policzyliśmy każdą stronę, zanim książka została zamknięta",
           "małe światło paliło się jeszcze w górnym oknie", "nikt nie zapytał, dlaczego pociąg zatrzymał się w polu"],
    "ru": ["река течёт мимо старой мельницы и под мостом", "мы посчитали каждую страницу, прежде чем книгу закрыли",
           "маленький свет ещё горел в верхнем окне", "никто не спросил, почему поезд остановился в поле"],
    "ja": ["川は 古い 水車小屋の そばを 流れ、 橋の 下を くぐる", "本を 閉じる 前に、 すべての ページを 数えた",
           "上の 窓には まだ 小さな 明かりが ともって いた", "なぜ 列車が 野原で 止まったのか、 誰も 尋ねなかった"],
}

TEXTS = [line for lines in SENTENCES.values() for line in lines] + [
    "", " ", "the", "Brücke Brücke Brücke", "pod mostem under the bridge", "stop </s> never seen by it", "tab\tand\x0bother\x0cspaces\rhere",
    "__label__en is a label and __label__xx looks like one", "zażółć gęślą jaźń", "😀 emoji and \u00e9\u0301 marks", "x" * 300, "ё", "a b c d e f g h i j k l m n o p",
]

MODELS = {
    # name: how it is trained, and how it is quantized
    "softmax.bin": (dict(dim=6, wordNgrams=3, bucket=700, loss="softmax"), None),
    "softmax-pieces.bin": (dict(dim=5, wordNgrams=2, minn=2, maxn=4, bucket=900, loss="softmax"), None),
    "tree.bin": (dict(dim=4, minn=1, maxn=3, bucket=800, loss="hs"), None),
    "negative.bin": (dict(dim=4, minn=3, maxn=3, bucket=500, loss="ns"), None),
    "one-versus-all.bin": (dict(dim=4, bucket=0, loss="ova"), None),
    # As lid.176.ftz: a tree, pieces of words, pruned.
    "tree.ftz": (dict(dim=7, minn=2, maxn=4, bucket=2000, loss="hs"), dict(cutoff=700, qnorm=True)),
    "softmax.ftz": (dict(dim=6, wordNgrams=2, minn=2, maxn=3, bucket=1200, loss="softmax"), dict(dsub=4)),
}


def main():
    lines = []
    generator = random.Random(1)
    for language, sentences in SENTENCES.items():
        words = list(itertools.chain.from_iterable(sentence.split() for sentence in sentences))
        # Labels of different counts, so that the tree is no plain one.
        for _ in range({"en": 90, "de": 60, "pl": 40, "ru": 25, "ja": 12}[language]):
            lines.append(f"__label__{language} " + " ".join(generator.choices(words, k=generator.randint(3, 12))))
    generator.shuffle(lines)
    expected = {}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        for name, (how, quantize) in MODELS.items():
            model = fasttext.train_supervised(file.name, thread=1, epoch=25, lr=0.15, minCount=2, verbose=0, **how)
            if quantize:
                model.quantize(file.name, verbose=0, **quantize)
            model.save_model(str(HERE / name))
            expected[name] = predictions(HERE / name)
    (HERE / "expected.json").write_text(json.dumps({"texts": TEXTS, "models": expected}, ensure_ascii=False, indent=0) + "\n")


def predictions(path):
    """Every label's probability for every text, by the library below the Python package, which would cut them at 1."""
    model = fasttext_pybind.fasttext()
    model.loadModel(str(path))
    return [{label.removeprefix("__label__"): p for p, label in model.predict(text.replace("\n", " ") + "\n", 100, 0.0, "strict")} for text in TEXTS]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        # Of any model: what fastText says of the texts.
        print(json.dumps(predictions(sys.argv[1]), ensure_ascii=False))
    else:
        main()
