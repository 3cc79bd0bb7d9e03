#!/usr/bin/env python3
"""Deduplication beside other tools: files in, files out, one worker, on the same text.

    make bench-dedup CORPUS=file.jsonl[,more.jsonl] [RUNS=3] [PEERS=rensa,exact-python] [SLOW_MB=25]

A line of CORPUS is an object with "id" and "text". What is measured is the processor time, user and system, of a program and
all that it starts, imports included, and the memory of the largest of its processes. Each tool runs RUNS times, in turn
with the others and with ours. Slow tools get the first SLOW_MB of text only. Prints a table as Markdown and writes
target/bench/dedup.json. ANDROMEDA=path is a program to use instead of the one built here; an empty one leaves ours out.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench"
FAST = ["orjson==3.13.0", "xxhash==3.8.2"]

# name: stage, on which text, what it needs
PEERS = {
    "exact-python": ("exact", "whole", FAST),
    "datatrove-exact": ("exact", "prefix", ["datatrove[io,processing]==0.10.1", "spacy==3.8.18"]),
    # boto3: the only one that its s3fs allows; the resolver takes very long to find that.
    "dolma": ("exact", "prefix", ["dolma==1.2.1", "boto3==1.28.17"]),
    "rensa": ("near", "whole", ["rensa==0.5.0", *FAST]),
    "rensa-matrix": ("near", "whole", ["rensa==0.5.0", *FAST]),
    "datasketch": ("near", "whole", ["datasketch==2.0.0", *FAST]),
    "datatrove": ("near", "prefix", ["datatrove[io,processing]==0.10.1", "spacy==3.8.18"]),
    "text-dedup": ("near", "prefix", ["text-dedup==0.4.0"]),
}
OURS = {
    "andromeda, 1 thread": ("exact", "whole", ["--exact-only", "--threads", "1"]),
    "andromeda": ("exact", "whole", ["--exact-only"]),
    "andromeda, 1 thread, near": ("near", "whole", ["--threads", "1"]),
    "andromeda, near": ("near", "whole", []),
    "andromeda, 1 thread, by signature, near": ("near", "whole", ["--verify", "signature", "--threads", "1"]),
    "andromeda, 1 thread, prefix": ("exact", "prefix", ["--exact-only", "--threads", "1"]),
    "andromeda, 1 thread, near, prefix": ("near", "prefix", ["--threads", "1"]),
}
YARDSTICK = {"exact": "andromeda, 1 thread", "near": "andromeda, 1 thread, near"}


def main():
    if sys.version_info < (3, 11):
        sys.exit("error: Python 3.11 or later is needed; the peers were chosen for 3.11")
    files = [Path(file) for file in os.environ.get("CORPUS", "").split(",") if file]
    missing = [str(file) for file in files if not file.is_file()]
    if not files or missing:
        sys.stderr.write(f"error: {'no file ' + ', '.join(missing) if missing else 'CORPUS names no file'}\n{HINT}")
        sys.exit(2)
    runs = int(os.environ.get("RUNS") or 3)
    slow_mb = float(os.environ.get("SLOW_MB") or 25)
    chosen = (os.environ.get("PEERS") or ",".join(PEERS)).split(",")
    unknown = [name for name in chosen if name not in PEERS]
    if unknown:
        sys.exit(f"error: no peer {', '.join(unknown)}: choose from {', '.join(PEERS)}")

    WORK.mkdir(parents=True, exist_ok=True)
    jobs = our_jobs() + [peer_job(name) for name in chosen]
    measure = [sys.executable, HERE / "corpus.py", WORK / "corpus", str(slow_mb), *files]
    corpus = json.loads(subprocess.run(measure, check=True, stdout=subprocess.PIPE).stdout)
    for number in range(runs):
        for job in jobs:
            if "failed" not in job:
                note(f"run {number + 1} of {runs}: {job['name']}")
                run(job, corpus[job["on"]])
    report(jobs, corpus, {"files": [file.name for file in files], "runs": runs, "slow_mb": slow_mb})


HINT = """hint: a corpus is one or more files of JSON lines with "id" and "text", some 400 MB of them for figures worth quoting. Any
text will do: make bench-dedup CORPUS=/data/prose.jsonl. From a folder of text files, one makes it like this:
  python3 -c 'import json, pathlib, sys
for p in sorted(pathlib.Path(sys.argv[1]).rglob("*.txt")): print(json.dumps({"id": str(p), "text": p.read_text("utf-8", "replace")}))' FOLDER > corpus.jsonl
"""


def our_jobs():
    program = os.environ.get("ANDROMEDA")
    if program == "":
        return []
    if program is None:
        cargo = os.environ.get("CARGO") or "cargo"
        subprocess.run([cargo, "build", "--release", "--quiet", "--bin", "andromeda"], cwd=ROOT, check=True)
        program = ROOT / "target" / "release" / "andromeda"
    version = subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return [
        {"name": name, "stage": stage, "on": on, "version": version, "ours": [str(program), "dedup"], "options": options, "measured": []}
        for name, (stage, on, options) in OURS.items()
    ]


def peer_job(name):
    """Its environment under target/bench; whatever goes wrong in making it is a row of the table."""
    stage, on, needs = PEERS[name]
    job = {"name": name, "stage": stage, "on": on, "version": needs[0].replace("[io,processing]", "").replace("==", " "), "measured": []}
    # Peers of the same needs share an environment; those of different needs could not.
    environment = WORK / "venv" / needs[0].split("==")[0].split("[")[0]
    python = environment / "bin" / "python"
    job["python"] = str(python)
    stamp = environment / "installed.txt"
    if stamp.is_file() and stamp.read_text().split() == needs:
        return job
    note(f"installing {' '.join(needs)}")
    shutil.rmtree(environment, ignore_errors=True)
    with open(WORK / f"{name}.install.log", "w+") as log:
        for step in ([sys.executable, "-m", "venv", environment], [python, "-m", "pip", "install", "--quiet", *needs]):
            try:
                failed = subprocess.run(step, stdout=log, stderr=subprocess.STDOUT, timeout=1800).returncode
            except (OSError, subprocess.TimeoutExpired) as error:
                failed, _ = True, log.write(f"{error}\n")
            if failed:
                log.seek(0)
                errors = [line for line in log if line.startswith("ERROR")] or ["see " + log.name]
                job["failed"] = f"does not install: {errors[-1].strip()[:150]}"
                return job
    stamp.write_text("\n".join(needs))
    return job


def run(job, corpus):
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if "ours" in job:
        command = [*job["ours"], *corpus["files"], "--out", str(out / "kept"), *job["options"]]
    else:
        # -P: a script named after the library that it imports must not be found in its place.
        command = [job["python"], "-P", str(HERE / "peers" / f"{job['name']}.py"), str(out), *corpus["files"]]
    # No peer asks the network for anything, and Python's own hashes are the same in each run.
    settings = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(out / "cache"), "TOKENIZERS_PARALLELISM": "false"}
    log = WORK / f"{job['name'].replace(', ', '-').replace(' ', '-')}.log"
    with open(log, "w") as said:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=said, stderr=said, cwd=out, env={**os.environ, **settings})
        # Of this child alone: user and system time of it and of all children that it waited for.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        last = ([line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["without a word"])[-1]
        job["failed"] = f"exit {child.returncode}: {last.strip()[:150]}"
        return
    job["kept"] = kept(out)
    job["measured"].append(
        {
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "system_seconds": usage.ru_stime,
            "wall_seconds": time.monotonic() - start,
            "peak_bytes": usage.ru_maxrss * 1024,
        }
    )
    shutil.rmtree(out)


def kept(out):
    """Documents in the output: a number where a tool writes no JSON lines, else the lines."""
    number = out / "kept.txt"
    if number.is_file():
        return int(number.read_text())
    lines = 0
    for file in out.rglob("*.jsonl"):
        if not {"work", "logs", "cache", "documents", "attributes"} & set(file.relative_to(out).parts):
            with open(file, "rb") as content:
                lines += sum(block.count(b"\n") for block in iter(lambda: content.read(1 << 20), b""))
    return lines


def report(jobs, corpus, options):
    for job in jobs:
        megabytes = corpus[job["on"]]["bytes"] / 1e6
        job["documents"] = corpus[job["on"]]["documents"]
        job["megabytes"] = megabytes
        job["rates"] = sorted(megabytes / measured["cpu_seconds"] for measured in job["measured"])
    median = {job["name"]: statistics.median(job["rates"]) for job in jobs if job["rates"]}
    for name in ("whole", "prefix"):
        print(f"{name}: {corpus[name]['documents']} documents, {corpus[name]['bytes'] / 1e6:.1f} MB of text", end="; ")
    print(f"{options['runs']} runs\n")
    print("| tool | version | stage | text | MB/CPU-s, median (min-max) | peak MB | kept | ratio to ours |")
    print("|---|---|---|---|---|---|---|---|")
    for job in jobs:
        start = f"| {job['name'].removesuffix(', prefix').removesuffix(', near')} | {job['version']} | {job['stage']} | {job['on']} |"
        if "failed" in job or not job["rates"]:
            print(f"{start} {job.get('failed', 'not run').replace('|', '/')} | | | |")
            continue
        rate, rates = median[job["name"]], job["rates"]
        peak = max(measured["peak_bytes"] for measured in job["measured"]) / 1e6
        ours = YARDSTICK[job["stage"]] + (", prefix" if job["on"] == "prefix" else "")
        ratio = f"{rate / median[ours]:.3f}" if ours in median else ""
        print(f"{start} {rate:.1f} ({rates[0]:.1f}-{rates[-1]:.1f}) | {peak:.0f} | {job['kept']} of {job['documents']} | {ratio} |")
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    for job in jobs:
        for private in ("python", "ours"):
            job.pop(private, None)
    result = {"machine": machine, "date": time.strftime("%Y-%m-%d", time.gmtime()), "options": options, "tools": jobs}
    (WORK / "dedup.json").write_text(json.dumps(result, indent=1) + "\n")
    note(f"written: {(WORK / 'dedup.json').relative_to(ROOT)}")


def processor():
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
