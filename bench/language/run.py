#!/usr/bin/env python3
"""Language identification beside other tools: on the same texts of known language, none of whose sources was trained on.

    make bench-language [LENGTH=400] [PEERS=no] [MODEL=lid.176.ftz]

Makes the texts with texts.py if they are not there (packages are downloaded once), builds the program and the peers, and prints
tables as Markdown. ANDROMEDA=path is a program to use instead of the one built here; MODEL is a fastText model to measure too.
"""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench" / "language"
CARGO = os.environ.get("CARGO") or "cargo"

# The languages of most manuals: nine that whichlang knows, and Polish.
TEN = "de en es fr it ja pl pt ru zh".split()
# Of three letters (ISO 639-3, and what crates have instead) as of two.
SHORT = dict(
    pair.split(":")
    for pair in (
        "afr:af aka:ak amh:am ara:ar aze:az bel:be ben:bn bul:bg cat:ca ces:cs cmn:zh cym:cy dan:da deu:de ell:el eng:en epo:eo est:et fin:fi"
        " fra:fr guj:gu heb:he hin:hi hrv:hr hun:hu hye:hy ind:id ita:it jav:jv jpn:ja kan:kn kat:ka khm:km kor:ko lat:la lav:lv lit:lt mal:ml"
        " mar:mr mkd:mk mya:my nep:ne nld:nl nob:nb ori:or pan:pa pes:fa pol:pl por:pt ron:ro rus:ru sin:si slk:sk slv:sl sna:sn spa:es srp:sr"
        " swe:sv tam:ta tel:te tgl:tl tha:th tuk:tk tur:tr ukr:uk urd:ur uzb:uz vie:vi yid:yi zul:zu no:nb"
    ).split()
)
WHICHLANG = set("ar de en es fr hi it ja ko nl pt ru sv tr vi zh".split())


def main():
    length = int(os.environ.get("LENGTH") or 400)
    texts = WORK / (f"test{length}.jsonl" if length != 400 else "test.jsonl")
    if not texts.is_file():
        note(f"making {texts.relative_to(ROOT)}")
        subprocess.run([sys.executable, HERE / "texts.py", "test", texts], check=True, env={**os.environ, "LENGTH": str(length)})
    rows = [json.loads(line) for line in open(texts, encoding="utf-8")]
    meant = [row["lang"] for row in rows]
    sets = [row["set"] for row in rows]

    tools = ours(texts)
    if os.environ.get("PEERS") != "no":
        tools += crates(texts) + langid(texts)
    for tool in tools:
        tool["told"] = [SHORT.get(language, language) for language in tool["told"]]
    report(tools, meant, sets, length)


def ours(texts):
    program = os.environ.get("ANDROMEDA")
    if not program:
        subprocess.run([CARGO, "build", "--release", "--quiet", "--bin", "andromeda"], cwd=ROOT, check=True)
        program = ROOT / "target" / "release" / "andromeda"
    found = []
    for name, model in [("andromeda", []), ("MODEL", ["--model", os.environ.get("MODEL")])]:
        if model and not model[1]:
            continue
        identify = subprocess.run([program, "language", "identify", texts, *model], check=True, stdout=subprocess.PIPE, text=True).stdout
        said = [json.loads(line) for line in identify.splitlines()]
        measure = subprocess.run([program, "language", "measure", texts, "--json", *model], check=True, stdout=subprocess.PIPE, text=True)
        measured = json.loads(measure.stdout)
        name = name if name != "MODEL" else Path(model[1]).name
        found.append(
            {
                "tool": name,
                "told": [row["language"] for row in said],
                "scores": [row["score"] or 0.0 for row in said],
                "rate": measured["megabytes_per_cpu_second"],
                "calibration_error": measured["calibration_error"],
            }
        )
    return found


def crates(texts):
    peers = HERE / "peers"
    command = [CARGO, "run", "--release", "--quiet", "--", texts]
    done = subprocess.run(command, cwd=peers, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        note("the peers in Rust do not build: left out")
        return []
    return [json.loads(line) for line in done.stdout.splitlines()]


def langid(texts):
    environment = WORK / "venv"
    python = environment / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "py3langid==0.4.0"])
    if done.returncode:
        note("py3langid does not install: left out")
        return []
    return [json.loads(subprocess.run([python, HERE / "peers" / "langid.py", texts], check=True, stdout=subprocess.PIPE, text=True).stdout)]


def report(tools, meant, sets, length):
    print(f"{len(meant)} texts of about {length} characters, in {len(set(meant))} languages\n")
    groups = [
        ("ten languages", lambda language: language in TEN),
        ("nine of them that whichlang knows", lambda language: language in TEN and language in WHICHLANG),
        ("all that whichlang knows", lambda language: language in WHICHLANG),
        ("all languages", lambda language: True),
    ]
    print("| tool | " + " | ".join(f"{name}, %" for name, _ in groups) + " | MB/CPU-s |")
    print("|---" * (len(groups) + 2) + "|")
    for tool in tools:
        shares = []
        for _, counts in groups:
            of = [tool["told"][i] == language for i, language in enumerate(meant) if counts(language)]
            # The mean over languages, so that none counts more for having more texts.
            by = by_language(tool, meant)
            mean = sum(100 * right / texts for language, (texts, right) in by.items() if counts(language)) / max(1, sum(map(counts, by)))
            shares.append(f"{100 * sum(of) / max(1, len(of)):.2f} ({mean:.2f})")
        print(f"| {tool['tool']} | {' | '.join(shares)} | {tool['rate']:.1f} |")
    print("\nOf all texts; in brackets the mean over languages.\n")

    print("| language | texts | " + " | ".join(f"{tool['tool']}, %" for tool in tools) + " | ours told instead |")
    print("|---" * (len(tools) + 3) + "|")
    tables = [by_language(tool, meant) for tool in tools]
    for language in sorted(set(meant)):
        told = collections.Counter(t or "none" for t, m in zip(tools[0]["told"], meant) if m == language and t != language)
        instead = ", ".join(f"{name} {count}" for name, count in sorted(told.items(), key=lambda item: (-item[1], item[0]))[:4])
        shares = [
            "-" if tool["tool"].startswith("whichlang") and language not in WHICHLANG else f"{100 * table[language][1] / table[language][0]:.1f}"
            for tool, table in zip(tools, tables)
        ]
        print(f"| {language} | {tables[0][language][0]} | {' | '.join(shares)} | {instead} |")

    print("\n| set | " + " | ".join(f"{tool['tool']}, % of ten languages" for tool in tools) + " |")
    print("|---" * (len(tools) + 1) + "|")
    for name in sorted(set(sets)):
        picked = [i for i, language in enumerate(meant) if language in TEN and sets[i] == name]
        if picked:
            shares = [f"{100 * sum(tool['told'][i] == meant[i] for i in picked) / len(picked):.2f}" for tool in tools]
            print(f"| {name}, {len(picked)} texts | {' | '.join(shares)} |")

    print("\n| score | texts | mean score | % right |\n|---|---|---|---|")
    first = tools[0]
    for tenth in range(10):
        picked = [i for i, score in enumerate(first["scores"]) if min(9, int(score * 10)) == tenth]
        if picked:
            mean = sum(first["scores"][i] for i in picked) / len(picked)
            right = 100 * sum(first["told"][i] == meant[i] for i in picked) / len(picked)
            print(f"| {tenth / 10:.1f} to {tenth / 10 + 0.1:.1f} | {len(picked)} | {mean:.3f} | {right:.1f} |")
    print(f"\nScores of {first['tool']} are off by {first['calibration_error']:.3f} on average.")


def by_language(tool, meant):
    by = {}
    for told, language in zip(tool["told"], meant):
        texts, right = by.get(language, (0, 0))
        by[language] = (texts + 1, right + (told == language))
    return by


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
