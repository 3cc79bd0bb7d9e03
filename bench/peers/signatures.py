"""The same table as `src/main.rs` prints, for the signatures of Python libraries: rensa and datasketch.

    andromeda-peers --pairs PAIRS.jsonl; python signatures.py PAIRS.jsonl CORPUS.jsonl [MB]

Both get five-word shingles of words between spaces of the lower-cased text. Two rates are printed: with the making of the
shingles in Python, and without it.
"""

import json
import math
import statistics
import sys
import time

import datasketch
import rensa
import xxhash

PERMUTATIONS = 112
ROUNDS = 3


def shingles(text):
    words = text.lower().split()
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]


def by_rensa(kind):
    def sign(tokens):
        signature = kind(PERMUTATIONS, 42)
        signature.update(tokens)
        return signature

    return sign


def by_datasketch(tokens):
    signature = empty.copy()
    signature.update_batch([token.encode() for token in tokens])
    return signature


def main():
    megabytes = float(sys.argv[3]) if len(sys.argv) > 3 else 25
    texts, size = [], 0
    for line in open(sys.argv[2], "rb"):
        texts.append(json.loads(line)["text"])
        size += len(texts[-1].encode())
        if size >= megabytes * 1e6:
            break
    pairs = [json.loads(line) for line in open(sys.argv[1], "rb")]
    tokens = [shingles(text) for text in texts]
    print(f"{len(texts)} documents, {size / 1e6:.1f} MB; {len(pairs)} pairs\n")
    print("| library | MB/CPU-s (min-max) | without shingles | bias | RMSE |\n|---|---|---|---|---|")
    for name, sign in SIGNERS.items():
        whole = rates(size, lambda: [sign(shingles(text)) for text in texts])
        alone = rates(size, lambda: [sign(each) for each in tokens])
        errors = [sign(shingles(p["left"])).jaccard(sign(shingles(p["right"]))) - p["similarity"] for p in pairs]
        bias, error = statistics.fmean(errors), math.sqrt(statistics.fmean(e * e for e in errors))
        print(f"| {name} | {whole[1]:.1f} ({whole[0]:.1f}-{whole[-1]:.1f}) | {alone[1]:.1f} | {bias:+.4f} | {error:.4f} |", flush=True)


def rates(size, work):
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        work()
        found.append(size / 1e6 / (time.thread_time() - start))
    return sorted(found)


# A copy shares the constants, which are slow to make.
empty = datasketch.MinHash(num_perm=PERMUTATIONS, hashfunc=xxhash.xxh32_intdigest)
SIGNERS = {
    "rensa 0.5.0, RMinHash": by_rensa(rensa.RMinHash),
    "rensa 0.5.0, CMinHash": by_rensa(rensa.CMinHash),
    "datasketch 2.0.0": by_datasketch,
}

if __name__ == "__main__":
    main()
