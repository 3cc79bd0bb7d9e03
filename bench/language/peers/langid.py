"""What py3langid says of texts, and how fast: `python langid.py TEXTS.jsonl` prints a JSON object."""

import json
import sys
import time

import py3langid


def main():
    texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
    py3langid.classify("loads the model")
    start = time.process_time()
    told = [py3langid.classify(text)[0] for text in texts]
    seconds = time.process_time() - start
    rate = sum(len(text.encode()) for text in texts) / seconds / 1e6
    print(json.dumps({"tool": "py3langid 0.4.0", "told": told, "rate": rate}))


main()
