"""rensa by its fastest path that still sees every shingle: five-word shingles hashed as tuples, R-MinHash digests of 112
permutations in a matrix, its index of 14 bands. The first copy stays. Run with PYTHONHASHSEED=0: hashes are Python's own."""

import sys
from pathlib import Path

import orjson
from rensa import RMinHash, RMinHashLSH

BATCH = 1000
MASK = (1 << 64) - 1


def shingles(text):
    words = text.lower().split()
    return [hash(five) & MASK for five in zip(words, words[1:], words[2:], words[3:], words[4:])]


def write(lines, sets):
    global number
    if not lines:
        return
    digests = RMinHash.digest_matrix_from_token_hash_sets(sets, 112, 42)
    flags = index.insert_matrix_and_query_duplicate_flags(digests, number)
    number += len(lines)
    for line, duplicate in zip(lines, flags):
        if not duplicate:
            kept.write(line)


out, *files = map(Path, sys.argv[1:])
index = RMinHashLSH(0.7, 112, 14)
number = 0
for path in files:
    with open(path, "rb") as source, open(out / path.name, "wb") as kept:
        lines, sets = [], []
        for line in source:
            tokens = shingles(orjson.loads(line)["text"])
            if not tokens:
                kept.write(line)
                continue
            lines.append(line)
            sets.append(tokens)
            if len(lines) == BATCH:
                write(lines, sets)
                lines, sets = [], []
        write(lines, sets)
