"""text-dedup's own MinHash program with 14 bands of 8 rows of five words and its faster hash, one process. Its output is an
Arrow dataset: how many rows that has is noted beside it."""

import sys
from pathlib import Path

from datasets import load_from_disk
from text_dedup.minhash import main

out, folder = Path(sys.argv[1]), Path(sys.argv[2]).parent
options = {
    "path": "json",
    "data_files": str(folder / "*.jsonl"),
    "split": "train",
    "cache_dir": str(out / "cache"),
    "output": str(out / "kept"),
    "column": "text",
    "num_proc": "1",
    "ngram": "5",
    "num_perm": "112",
    "b": "14",
    "r": "8",
    "hash_func": "xxh3",
}
main([word for name, value in options.items() for word in (f"--{name}", value)], standalone_mode=False)
(out / "kept.txt").write_text(str(len(load_from_disk(str(out / "kept")))))
