"""datasketch: MinHash of 112 permutations of five-word shingles in lower case, an index of 14 bands of 8 rows. What meets an
earlier document in a band is a duplicate of it. The first copy stays."""

import sys
from pathlib import Path

import orjson
import xxhash
from datasketch import MinHash, MinHashLSH


def shingles(text):
    words = text.lower().split()
    return {" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)}


out, *files = map(Path, sys.argv[1:])
index = MinHashLSH(num_perm=112, params=(14, 8))
first = MinHash(num_perm=112, hashfunc=xxhash.xxh32_intdigest)
number = 0
for path in files:
    with open(path, "rb") as source, open(out / path.name, "wb") as kept:
        for line in source:
            tokens = shingles(orjson.loads(line)["text"])
            if tokens:
                # A copy shares the constants, which are slow to make.
                signature = first.copy()
                signature.update_batch(tokens)
                if index.query(signature):
                    continue
                number += 1
                index.insert(number, signature)
            kept.write(line)
