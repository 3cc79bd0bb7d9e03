#!/usr/bin/env python3
"""Training steps beside PyTorch's: tokens per processor second, peak memory, and each operation's share of a step.

    make bench-train [RUNS=3] [THREADS=1] [ONLY=palm-150m] [PEERS=no] [PYTHON=python that has torch]

Programs take turns, each run a process of its own; the best step of the best run counts, for both. PyTorch is installed under
target/bench. Prints Markdown and writes target/bench/train.json.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench"
NEEDS = ["torch", "numpy"]

# name: family, vocabulary, width, layers, heads, head size, tokens, sequences, steps
CASES = {
    "palm-10m-4k": ("palm", 4096, 256, 6, 4, 64, 256, 8, 4),
    "palm-20m-50k": ("palm", 50304, 256, 6, 4, 64, 256, 8, 3),
    "mpt-10m-4k": ("mpt", 4096, 256, 6, 4, 64, 256, 8, 4),
    "palm-150m-512": ("palm", 50304, 768, 12, 8, 128, 512, 1, 2),
    "palm-150m-2048": ("palm", 50304, 768, 12, 8, 128, 2048, 1, 1),
}


# Ours, by what the configuration says of `compute`.
OURS = {
    "ours": "",
    "ours, blocks again": "recompute = true\n",
    "ours, bf16": 'dtype = "bf16"\n',
}
THEIRS = {"PyTorch": [], "PyTorch, bf16 autocast": ["bf16"]}


def main():
    runs, threads = int(os.environ.get("RUNS") or 3), os.environ.get("THREADS") or "1"
    only, peers = os.environ.get("ONLY") or "", os.environ.get("PEERS") != "no"
    cargo = os.environ.get("CARGO") or "cargo"
    subprocess.run([cargo, "build", "--release", "--quiet", "--bin", "andromeda-train"], cwd=ROOT, check=True)
    program = ROOT / "target" / "release" / "andromeda-train"
    python = (os.environ.get("PYTHON") or environment()) if peers else None
    env = {**os.environ, "RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    WORK.mkdir(parents=True, exist_ok=True)
    names = [*OURS, *(THEIRS if python else {})]
    result = {}
    print(f"{threads} thread(s), best of {runs} runs: tokens a CPU-second, then tokens a second, then peak memory in MB\n")
    print("| model | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, case in CASES.items():
        if only not in name:
            continue
        rows, parts = dict.fromkeys(names, (0.0, 0.0, 0.0)), {}
        for _ in range(runs):
            for row in names:
                if row in OURS:
                    measured, parts[row] = ours(program, name, case, OURS[row], env)
                else:
                    measured = theirs(python, case, THEIRS[row], env)
                rows[row] = tuple(map(max, rows[row], measured))
        result[name] = {"rows": rows, "shares": {row: parts[row] for row in ("ours", "ours, bf16")}}
        print(f"| {name} | " + " | ".join(cell(row) for row in rows.values()) + " |", flush=True)
    if python:
        print("\n| model | ours beside PyTorch | ours, bf16, beside PyTorch | ours, bf16, beside its bf16 | blocks again cost | memory | memory, blocks again |\n" + "|---" * 7 + "|")
        for name, found in result.items():
            print(f"| {name} | " + " | ".join(ratios(found["rows"])) + " |")
    print("\nFLOPs of the model beside those of a matrix product in single precision (MFU), and shares of a step")
    for name, found in result.items():
        for row, step in found["shares"].items():
            large = [part for part in step["parts"] if part["share"] >= 0.005]
            print(f"- {name}, {row}: {step['mfu'] or 0:.0%}; " + ", ".join(f"{part['part']} {part['share']:.0%}" for part in large))
    (WORK / "train.json").write_text(json.dumps(result, indent=1) + "\n")


def cell(row):
    return f"{row[0]:,.0f}; {row[1]:,.0f}; {row[2]:,.0f}"


def ratios(rows):
    """Tokens a CPU-second, and peak memory, as parts of PyTorch's."""
    rate, memory = ({name: row[at] for name, row in rows.items()} for at in (0, 2))
    yield f"{rate['ours'] / rate['PyTorch']:.2f}x"
    yield f"{rate['ours, bf16'] / rate['PyTorch']:.2f}x"
    yield f"{rate['ours, bf16'] / rate['PyTorch, bf16 autocast']:.2f}x"
    yield f"{rate['ours'] / rate['ours, blocks again'] - 1:.0%}"
    yield f"{memory['ours'] / memory['PyTorch']:.2f}x"
    yield f"{memory['ours, blocks again'] / memory['PyTorch']:.2f}x"


def ours(program, name, case, compute, env):
    family, vocabulary, width, layers, heads, size, tokens, sequences, steps = case
    config = WORK / f"{name}.toml"
    config.write_text(
        f'[model]\nfamily = "{family}"\nwidth = {width}\nlayers = {layers}\nheads = {heads}\nhead-size = {size}\n'
        f"[data]\nsequence-tokens = {tokens}\nsequences-per-micro-batch = {sequences}\nmicro-batches-per-step = 1\n[compute]\n{compute}"
    )
    command = [program, "bench", "--config", config, "--vocabulary", str(vocabulary), "--steps", str(steps + 1), "--json"]
    said = json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)
    measured = said["tokens_per_processor_second"], said["tokens_per_second"], said["peak_memory_bytes"] / 1e6
    return measured, {"mfu": said["mfu"], "parts": said["parts"]}


def theirs(python, case, options, env):
    family, *sizes = case
    out = subprocess.run([python, HERE / "peer.py", family, *map(str, sizes), *options], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    said = json.loads(out.splitlines()[-1])
    return said["tokens_per_cpu_second"], said["tokens_per_second"], said["peak_mb"]


def environment():
    folder = WORK / "venv" / "train"
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    if not stamp.is_file() or stamp.read_text().split() != NEEDS:
        print("installing " + " ".join(NEEDS), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDS], check=True)
        stamp.write_text("\n".join(NEEDS))
    return python


main()
