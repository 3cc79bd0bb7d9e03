"""rensa as its own page shows it: a C-MinHash deduplicator that takes tokens, here five-word shingles in lower case, with
112 permutations. Candidates are checked against the threshold of 0.7. The first copy stays."""

import sys
from pathlib import Path

import orjson
from rensa import CMinHashDeduplicator

BATCH = 1000


def shingles(text):
    words = text.lower().split()
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]


def write(lines, entries):
    for line, keep in zip(lines, dedup.add_pairs(entries)):
        if keep:
            kept.write(line)


out, *files = map(Path, sys.argv[1:])
dedup = CMinHashDeduplicator(0.7, num_perm=112)
number = 0
for path in files:
    with open(path, "rb") as source, open(out / path.name, "wb") as kept:
        lines, entries = [], []
        for line in source:
            number += 1
            tokens = shingles(orjson.loads(line)["text"])
            if not tokens:
                kept.write(line)
                continue
            lines.append(line)
            entries.append((str(number), tokens))
            if len(lines) == BATCH:
                write(lines, entries)
                lines, entries = [], []
        write(lines, entries)
