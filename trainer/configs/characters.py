#!/usr/bin/env python3
"""A text as nanoGPT's character-level setting has it, for `andromeda tokenize`.

    python3 characters.py input.txt folder

writes folder/tokenizer.json, whose tokens are the characters of the text in order and an end of text, and folder/text.jsonl: two
documents, the first nine tenths of the characters and the rest (nanoGPT's data/shakespeare_char/prepare.py).
"""

import json
import sys
from pathlib import Path


def main(source, folder):
    text = Path(source).read_text(encoding="utf-8")
    characters = sorted(set(text))
    end = "<|endoftext|>"
    # BPE without merges leaves characters as they are.
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: id for id, token in enumerate([*characters, end])},
        "merges": [],
    }
    added = {"id": len(characters), "content": end, "special": True}
    added |= dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": model,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    first = int(0.9 * len(text))
    with open(folder / "text.jsonl", "w", encoding="utf-8") as file:
        for name, part in (("train", text[:first]), ("val", text[first:])):
            file.write(json.dumps({"id": name, "text": part}) + "\n")
    print(f"{len(characters)} characters; {first} for training, {len(text) - first} for validation")


main(*sys.argv[1:])
