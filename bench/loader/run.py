#!/usr/bin/env python3
"""The loader beside zstd alone and beside other programs' loaders, on the same tokens.

    make bench-loader BUILD=shards/name [SEQUENCE_TOKENS=2048] [TOKENS=50000000] [PEERS=mds,mds-zstd,litdata,litdata-zstd]

Tokens a second of processor time, user and system, start-up excluded. Peers are installed under target/bench/venv/loader
(PYTHON=a python that has them is used instead) and read the first TOKENS of the build's train split, decompressed by `zstd
-dc`. Prints what `cargo bench` prints and a table as Markdown, and writes target/bench/loader.json.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench" / "loader"
NEEDS = ["mosaicml-streaming==0.13.0", "litdata==0.2.76", "numpy>=2,<3", "zstd==1.5.7.2"]
PEERS = {"mds": ("mds.py", "none"), "mds-zstd": ("mds.py", "zstd:3"), "litdata": ("lit.py", "none"), "litdata-zstd": ("lit.py", "zstd")}


def main():
    build = os.environ.get("BUILD", "")
    if not build or not (Path(build) / "manifest.json").is_file():
        sys.stderr.write(f"error: BUILD={build} is no build\nhint: name a folder under shards/, of some 50 million tokens or more\n")
        sys.exit(2)
    build = Path(build).resolve()
    length = int(os.environ.get("SEQUENCE_TOKENS") or 2048)
    chosen = [name for name in os.environ.get("PEERS", ",".join(PEERS)).split(",") if name]
    unknown = [name for name in chosen if name not in PEERS]
    if unknown:
        sys.exit(f"error: no peer {', '.join(unknown)}: choose from {', '.join(PEERS)}")
    cargo = os.environ.get("CARGO") or "cargo"
    command = [cargo, "bench", "--quiet", "--profile", "release", "-p", "andromeda-format", "--bench", "loader", "--", str(build), str(length)]
    ours = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(ours, flush=True)
    rates = {line[:26].strip(): float(line[26:].split()[0]) * 1e6 for line in ours.splitlines() if " million tokens a CPU-second" in line}
    results = {"build": build.name, "sequence_tokens": length, "ours": rates, "peers": {}}
    if chosen:
        python = os.environ.get("PYTHON") or installed()
        manifest = json.loads((build / "manifest.json").read_text())
        dtype = {"u16": "<u2", "u32": "<i4"}[manifest["token_width"]]
        tokens = min(int(os.environ.get("TOKENS") or 50_000_000), manifest["splits"]["train"]["tokens"])
        WORK.mkdir(parents=True, exist_ok=True)
        ids = WORK / "ids.bin"
        with open(ids, "wb") as out:
            for shard in manifest["splits"]["train"]["shards"]:
                if out.tell() < tokens * int(dtype[2]):
                    subprocess.run(["zstd", "-dcq", build / shard["file"]], check=True, stdout=out)
        for name in chosen:
            script, compression = PEERS[name]
            sys.stderr.write(f"{name}\n")
            # -P: a script must not be found in the place of a library.
            command = [python, "-P", HERE / "peers" / script, ids, dtype, str(length), str(tokens), WORK / name, compression]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=3600)
            if done.returncode:
                results["peers"][name] = {"failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
            else:
                results["peers"][name] = json.loads(done.stdout.strip().splitlines()[-1])
            shutil.rmtree(WORK / name, ignore_errors=True)
        ids.unlink()
        table(results)
    (ROOT / "target" / "bench" / "loader.json").write_text(json.dumps(results, indent=1))


def table(results):
    print("| | million tokens a CPU-second, first epoch | second epoch | ours is faster by |")
    print("|---|---|---|---|")
    ours = results["ours"]["shuffled"]
    print(f"| ours, shuffled and checked | {ours / 1e6:.0f} | {ours / 1e6:.0f} | |")
    for name, found in results["peers"].items():
        if "failed" in found:
            print(f"| {name} | {found['failed']} | | |")
        else:
            row(name, found["epochs"], ours)
    print("\n| as it is used: read ahead, of peers in batches of 8 by one worker | million tokens a CPU-second | ours is faster by |")
    print("|---|---|---|")
    ours = results["ours"]["shuffled, read ahead"]
    print(f"| ours, shuffled and checked, by a thread | {ours / 1e6:.0f} | |")
    for name, found in results["peers"].items():
        if "batches" in found:
            row(name, [found["batches"]], ours)


def row(name, rates, ours):
    cells = [name, *(f"{rate / 1e6:.2f}" for rate in rates), f"{ours / max(rates):.1f}x"]
    print(f"| {' | '.join(cells)} |")


def installed():
    environment = ROOT / "target" / "bench" / "venv" / "loader"
    python, stamp = environment / "bin" / "python", environment / "installed.txt"
    if not (stamp.is_file() and stamp.read_text().split() == NEEDS):
        sys.stderr.write(f"installing {' '.join(NEEDS)}; with PyTorch, which both need, some gigabytes\n")
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDS], check=True)
        stamp.write_text("\n".join(NEEDS))
    return python


if __name__ == "__main__":
    main()
