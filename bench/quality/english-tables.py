#!/usr/bin/env python3
"""Writes the tables of spaCy's English tokenizer that pipeline/src/analysis/english/ holds, and texts with their tokens.

    python english-tables.py FOLDER        (with spacy==3.8.18 and datatrove==0.10.1 installed)

tables.rs: which characters each of its classes has, as ranges, found by asking Python about every character.
exceptions.txt: its exceptions, one a line, the tokens of each with U+001F between.
"""

import sys
import unicodedata
from pathlib import Path

import spacy
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from spacy.lang import char_classes as of
import re

out = Path(sys.argv[1])
every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def ranges(characters):
    found = []
    for code in sorted(map(ord, characters)):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def matching(inside):
    match = re.compile(f"[{inside}]").match
    return {c for c in every if match(c)}


punct = {p.replace("\\", "") for p in of.LIST_PUNCT}
quotes = {q.replace("\\", "") for q in of.LIST_QUOTES if q}
singles = {p for p in punct | quotes if len(p) == 1}
currency = {c.replace("\\", "") for c in of.LIST_CURRENCY}
classes = {
    "ALPHA": ("letters, as the tokenizer has them", matching(of.ALPHA)),
    "LOWER": ("small letters, and those of scripts without case", matching(of.ALPHA_LOWER)),
    "UPPER": ("capitals, and letters of scripts without case", matching(of.ALPHA_UPPER)),
    "ICON": ("symbols and pictures", matching(of.CONCAT_ICONS)),
    "MARK": ("punctuation and quotation marks that come off at both ends", singles),
    "QUOTE": ("quotation marks", matching(of.CONCAT_QUOTES)),
    "BEFORE_STOP": (
        "what a full stop comes off from",
        matching(r"0-9{al}{e}{p}(?:{q})".format(al=of.ALPHA_LOWER, e=r"%²\-\+", q=of.CONCAT_QUOTES, p=of.PUNCT)),
    ),
    "CURRENCY": ("signs of currency", {c for c in currency if len(c) == 1}),
    "SENTENCE_END": ("marks that end a sentence", set(spacy.blank("en").add_pipe("sentencizer").punct_chars)),
    "PUNCTUATION": ("general category P", {c for c in every if unicodedata.category(c).startswith("P")}),
    "SYMBOL": ("datatrove's `PUNCTUATION_SET`: a token of nothing else is no word", PUNCTUATION_SET),
    "TERMINAL": ("datatrove's `TERMINAL_PUNCTUATION`: what ends a line", TERMINAL_PUNCTUATION),
}
lines = [
    "//! Characters of the classes that spaCy's tokenizer (3.8, MIT) and datatrove (0.10, Apache-2.0) tell apart.",
    "//!",
    "//! Written by `bench/quality/english-tables.py`, which asks Python about every character.",
    "",
]
for name, (what, characters) in classes.items():
    lines.append(f"/// {what[0].upper()}{what[1:]}.")
    lines.append("#[rustfmt::skip]")
    lines.append(f"pub(super) const {name}: &[(u32, u32)] = &[")
    row = "   "
    for low, high in ranges(characters):
        item = f" ({low:#x}, {high:#x}),"
        if len(row) + len(item) > 140:
            lines.append(row)
            row = "   "
        row += item
    lines += [row, "];", ""]
(out / "tables.rs").write_text("\n".join(lines[:-1]) + "\n")

rules = spacy.blank("en").tokenizer.rules
exceptions = [[next(iter(token.values())) for token in tokens] for text, tokens in sorted(rules.items()) if text.strip()]
exceptions = [[str(token) for token in tokens] for tokens in exceptions]
assert sorted("".join(tokens) for tokens in exceptions) == sorted(text for text in rules if text.strip())
(out / "exceptions.txt").write_text("".join("\x1f".join(tokens) + "\n" for tokens in exceptions))
print({name: (len(ranges(c)), len(c)) for name, (_, c) in classes.items()}, len(exceptions))
units = sorted(of.LIST_UNITS, key=lambda unit: (unit.isascii(), unit))
print("units:", units)
print("currency:", sorted(currency), "punct:", sorted(punct), "hyphens", of.LIST_HYPHENS)
