#!/usr/bin/env python3
"""Rates of tokenizers, one thread, and whether their ids are those of `tokenizers` 0.23.

    make bench-tokenize CORPUS=prose.jsonl[,code.jsonl] [RUNS=3] [TOKENIZER=tokenizer.json] [PEERS=no] [MEGABYTES=75] [SLOW_MB=5]

A row is MB (10^6 bytes of UTF-8) of text per second of processor time, user and system, of encoding alone: a process of its own that has
the first MEGABYTES of the field `text` in memory, document by document. `tokenizers` 0.23 gets the first SLOW_MB of them, and ids are
compared on those. Engines take turns, RUNS times; the table has medians, then least and most. ANDROMEDA=program measures another build of
the pipeline's benchmark.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench" / "tokenize"
CARGO = os.environ.get("CARGO") or "cargo"

OWN = ["andromeda", "tokenizers-1.0-rc.3", "tokenizers-0.23", "byte-scan"]
PEERS = ["fastokens", "splintr", "tokie", "kitoken"]
NAMES = {
    "andromeda": "andromeda, as the pipeline calls it",
    "tokenizers-1.0-rc.3": "tokenizers 1.0.0-rc.3",
    "tokenizers-0.23": "tokenizers 0.23.2",
    "fastokens": "fastokens 0.3.5",
    "splintr": "splintr 0.22.0",
    "tokie": "tokie 0.1.4",
    "kitoken": "kitoken 0.11.1",
    "byte-scan": "no tokenizer: a look in a table for each byte",
}
SLOW = {"tokenizers-0.23"}


def main():
    corpora = [Path(path) for path in (os.environ.get("CORPUS") or "").split(",") if path]
    if not corpora:
        sys.exit("name files of JSON lines with a field `text`: make bench-tokenize CORPUS=prose.jsonl,code.jsonl")
    tokenizer = Path(os.environ.get("TOKENIZER") or ROOT.parent / "shared/data/tokenizers/gpt-neox-20b/tokenizer.json")
    if not tokenizer.is_file():
        sys.exit(f"{tokenizer} is not there: name one with TOKENIZER=")
    runs = int(os.environ.get("RUNS") or 3)
    megabytes = float(os.environ.get("MEGABYTES") or 75)
    slow = min(megabytes, float(os.environ.get("SLOW_MB") or 5))
    WORK.mkdir(parents=True, exist_ok=True)
    program = own()
    programs = {engine: program for engine in OWN}
    if os.environ.get("PEERS") != "no":
        program = peers()
        programs |= {engine: program for engine in PEERS if program}
    results = {}
    for corpus in corpora:
        rows = {engine: [] for engine in programs}
        for _ in range(runs):
            for engine, program in programs.items():
                if rows[engine] is not None:
                    rows[engine] = measure(rows[engine], program, engine, tokenizer, corpus, slow if engine in SLOW else megabytes)
        hashes = {engine: lines(engine) for engine in programs if rows[engine]}
        results[corpus.stem] = rows
        table(corpus, tokenizer, rows, hashes)
    (WORK / "results.json").write_text(json.dumps(results, indent=1))


def measure(before, program, engine, tokenizer, corpus, megabytes):
    command = [program, engine, tokenizer, corpus, str(megabytes), WORK / f"{engine}.hashes"]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        note(f"{engine} failed on {corpus}")
        return None
    return [*before, json.loads(done.stdout.splitlines()[-1])]


def lines(engine):
    return (WORK / f"{engine}.hashes").read_text().split()


def table(corpus, tokenizer, rows, hashes):
    ours = statistics.median(row["rate"] for row in rows["andromeda"])
    first = rows["andromeda"][0]
    tokens = first["bytes"] / first["tokens"]
    print(f"\n{corpus.stem}: {first['documents']:,} documents, {first['bytes'] / 1e6:.1f} MB, {tokens:.2f} bytes a token, {tokenizer.parent.name}\n")
    print("| engine | MB/CPU-s, median (min-max) | ratio to ours | peak MB | load s | documents with other ids |")
    print("|---|---|---|---|---|---|")
    oracle = hashes["tokenizers-0.23"]
    for engine, done in rows.items():
        if not done:
            print(f"| {NAMES[engine]} | failed | | | | |")
            continue
        rates = [row["rate"] for row in done]
        rate = statistics.median(rates)
        other = sum(one != two for one, two in zip(oracle, hashes[engine]))
        # The oracle had fewer; against ours on all, where they agree on what the oracle had.
        beyond = sum(one != two for one, two in zip(hashes["andromeda"], hashes[engine]))
        differ = "" if engine == "byte-scan" else f"{other} of {len(oracle):,}" + (f"; {beyond} of {len(hashes[engine]):,} beside ours" if engine != "andromeda" else "")
        peak = statistics.median(row["peak_mb"] for row in done)
        load = statistics.median(row["load_seconds"] for row in done)
        print(f"| {NAMES[engine]} | {rate:.1f} ({min(rates):.1f}-{max(rates):.1f}) | {rate / ours:.3f} | {peak:.0f} | {load:.2f} | {differ} |")
    slow = statistics.median(row["rate"] for row in rows["tokenizers-0.23"])
    print(f"\nOurs is {ours / slow:.1f} times tokenizers 0.23.", flush=True)


def own():
    if os.environ.get("ANDROMEDA"):
        return Path(os.environ["ANDROMEDA"])
    command = [CARGO, "bench", "--profile", "release", "--quiet", "--package", "andromeda-pipeline", "--bench", "tokenize", "--no-run", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        built = json.loads(line)
        if built.get("executable") and built.get("target", {}).get("name") == "tokenize":
            return Path(built["executable"])
    sys.exit("cargo did not say where the benchmark is")


def peers():
    done = subprocess.run([CARGO, "build", "--release", "--quiet"], cwd=HERE / "peers")
    if done.returncode:
        note("the peers do not build: left out")
        return None
    return WORK / "peers" / "release" / "andromeda-tokenize-peers"


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
