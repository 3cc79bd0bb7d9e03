#!/usr/bin/env python3
"""Training steps beside PyTorch's: tokens per processor second, and peak memory.

    make bench-train [RUNS=3] [THREADS=1] [ONLY=palm-150m] [PEERS=no]

Programs take turns, each run a process of its own; the best step of the best run counts, for both. PyTorch is installed under
target/bench. Prints Markdown and writes target/bench/train.json.
"""

import json
import os
import re
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


def main():
    runs, threads = int(os.environ.get("RUNS") or 3), os.environ.get("THREADS") or "1"
    only, peers = os.environ.get("ONLY") or "", os.environ.get("PEERS") != "no"
    cargo = os.environ.get("CARGO") or "cargo"
    build = [cargo, "build", "--release", "--quiet", "-p", "andromeda-trainer", "--example", "throughput"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = ROOT / "target" / "release" / "examples" / "throughput"
    python = environment() if peers else None
    env = {**os.environ, "RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    WORK.mkdir(parents=True, exist_ok=True)
    result = {}
    print(f"{threads} thread(s), best of {runs} runs; tokens per CPU-second (ours as a multiple), peak memory in MB\n")
    print("| model | ours | recomputing | PyTorch f32 | PyTorch bf16 autocast | memory: ours | recomputing | PyTorch f32 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        if only not in name:
            continue
        rows = {}
        for _ in range(runs):
            for row, run in (
                ("ours", lambda: ours(program, name, case, False, env)),
                ("recompute", lambda: ours(program, name, case, True, env)),
                ("f32", lambda: theirs(python, case, [], env)),
                ("bf16", lambda: theirs(python, case, ["bf16"], env)),
            ):
                if python is None and row in ("f32", "bf16"):
                    continue
                rate, peak = run()
                before = rows.get(row, (0.0, 0.0))
                rows[row] = (max(before[0], rate), max(before[1], peak))
        result[name] = rows
        cell = lambda row: f"{rows[row][0]:,.0f}" + ("" if row == "ours" else f" ({rows['ours'][0] / rows[row][0]:.2f}x)") if row in rows else "-"
        memory = lambda row: f"{rows[row][1]:,.0f}" if row in rows else "-"
        print(f"| {name} | {cell('ours')} | {cell('recompute')} | {cell('f32')} | {cell('bf16')} | {memory('ours')} | {memory('recompute')} | {memory('f32')} |", flush=True)
    (WORK / "train.json").write_text(json.dumps(result, indent=1) + "\n")


def ours(program, name, case, recompute, env):
    family, vocabulary, width, layers, heads, size, tokens, sequences, steps = case
    config = WORK / f"{name}.toml"
    config.write_text(
        f'[model]\nfamily = "{family}"\nwidth = {width}\nlayers = {layers}\nheads = {heads}\nhead-size = {size}\n'
        f"[data]\nsequence-tokens = {tokens}\nsequences-per-micro-batch = {sequences}\n[compute]\nrecompute = {str(recompute).lower()}\n"
    )
    out = subprocess.run([program, config, str(vocabulary), str(steps + 1)], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    last = out.splitlines()[-1]
    number = lambda before: float(re.search(r"(\d+)" + before, last).group(1))
    return number(r" tokens/CPU-s"), float(re.search(r"peak (\d+) MB", last).group(1))


def theirs(python, case, options, env):
    family, *sizes = case
    out = subprocess.run([python, HERE / "peer.py", family, *map(str, sizes), *options], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    said = json.loads(out.splitlines()[-1])
    return said["tokens_per_cpu_second"], said["peak_mb"]


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
