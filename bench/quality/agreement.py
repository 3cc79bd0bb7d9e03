"""Holds what our rules say of real documents, and what they measure, against the publishers' own programs, and against
plain transcriptions where a publisher has no package.

    python agreement.py VERDICTS.jsonl CORPUS.jsonl [OUT.json]    (run.py runs it, with the packages it needs; ONLY=code-files in
                                                                  the environment asks the rules of that name alone)

Prints a row a rule: documents, same verdict, same verdict and reason and text, and shows what differs.
"""

import itertools
import json
import math
import os
import sys
import tomllib
from collections import Counter
from pathlib import Path

from datatrove.utils.text import split_into_sentences
from punkt import sent_tokenize

import publishers
import transcriptions


def judge(*functions):
    def run(text):
        reason = next(filter(None, (function(text) for function in functions)), None)
        return (None, reason) if reason else (text, None)
    return run


def refinedweb(text):
    text = transcriptions.newlines(text)
    kept, reason = judge(transcriptions.dclm_quality, transcriptions.dclm_repetition)(text)
    return transcriptions.refinedweb_lines(kept) if reason is None else (None, reason)


EXPECTED = {f"{name}, publisher's program": run for name, run in publishers.RULES.items()} | {
    "c4, publisher's program, sentences of NLTK's Punkt": publishers.c4_pages(sent_tokenize),
    "c4, transcription": lambda text: transcriptions.c4(text, lambda line: len(split_into_sentences(line))),
    "gopher-quality@dclm, transcription": judge(transcriptions.dclm_quality),
    "gopher-repetition@dclm, transcription": judge(transcriptions.dclm_repetition),
    "gopher-quality@dolma, transcription": judge(transcriptions.dolma_quality),
    "gopher-repetition@dolma, transcription": judge(transcriptions.dolma_repetition),
    "refinedweb-lines, transcription": transcriptions.refinedweb_lines,
    "refinedweb, transcription": refinedweb,
    "code, transcription": judge(transcriptions.code),
    "ccnet, transcription": judge(lambda text: "ccnet-too-short" if len(text) < 300 else None),
}


# Rules that ask for the name of the file as well.
FILES = {
    "code-files@starcoder, transcription": transcriptions.starcoder_files,
    "code-files@starcoder2, transcription": transcriptions.starcoder2_files,
    "code-files@redpajama, transcription": transcriptions.redpajama_files,
}
# The profiles of other languages by the language of a document, as its row has it.
LANGUAGES = {
    "ar": "arb_Arab", "cs": "ces_Latn", "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek", "es": "spa_Latn", "fa": "fas_Arab", "fi": "fin_Latn",
    "fr": "fra_Latn", "he": "heb_Hebr", "hi": "hin_Deva", "hu": "hun_Latn", "id": "ind_Latn", "it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang",
    "nb": "nob_Latn", "nl": "nld_Latn", "pl": "pol_Latn", "pt": "por_Latn", "pt-BR": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl", "sv": "swe_Latn",
    "th": "tha_Thai", "tr": "tur_Latn", "uk": "ukr_Cyrl", "vi": "vie_Latn", "zh-CN": "cmn_Hani",
}
# Of these every document is asked.
EVERYWHERE = {"arb_Arab", "cmn_Hani", "deu_Latn", "jpn_Jpan", "rus_Cyrl"}
VALUES = tomllib.loads((Path(__file__).resolve().parents[2] / "pipeline/src/filter/fineweb-2.toml").read_text())
FINEWEB_2 = {language: transcriptions.fineweb_2(values) for language, values in VALUES.items()}


def judgements(document, only):
    """(name, what is left, reason) of each rule that can be asked of a document."""
    text, path = document["text"], document.get("path")
    if "answers" in document:
        written = text.encode()
        answers = [written[start:end].decode() for start, end in document["answers"]]
        asked = {"chat, transcription": lambda: judge(lambda text: transcriptions.chat(text, answers))(text)}
    else:
        asked = {name: lambda run=run: run(text) for name, run in EXPECTED.items()}
        for language in sorted(EVERYWHERE | {LANGUAGES.get(document.get("lang"))} - {None}):
            asked[f"fineweb-2@{language}, transcription"] = lambda run=FINEWEB_2[language]: judge(run)(text)
    if path:
        asked |= {name: lambda run=run: judge(lambda text: run(text, path))(text) for name, run in FILES.items()}
    for name, run in asked.items():
        if only in name:
            yield name, *run()


def main():
    only = os.environ.get("ONLY", "")
    verdicts, corpus = sys.argv[1:3]
    rows, differences, statistics = {}, [], Counter()
    with open(verdicts) as ours, open(corpus) as documents:
        for said, document in zip(map(json.loads, ours), map(json.loads, documents), strict=True):
            text = document["text"]
            for name, kept, reason in judgements(document, only):
                found = said["rules"][name.split(",")[0]]
                row = rows.setdefault(name, Counter())
                row["documents"] += 1
                row["kept"] += found["keep"]
                same = found["keep"] == (reason is None)
                if found["keep"]:
                    whole = same and found.get("text", text) == kept
                else:
                    whole = same and found["reason"]["name"] == reason
                row["verdict"] += same
                row["whole"] += whole
                if not whole:
                    differences.append({"rule": name, "id": said["id"], "ours": found.get("says", "keep"), "theirs": reason or "keep"})
            for name, value in (() if only else publishers.signals(text).items()):
                statistics["compared"] += 1
                if not math.isclose(value, said["signals"][name], rel_tol=1e-9, abs_tol=1e-12):
                    statistics["different"] += 1
                    differences.append({"signal": name, "id": said["id"], "ours": said["signals"][name], "theirs": value})
    print("| rule, beside | documents | kept | same verdict | same reason and text too |\n|---|---|---|---|---|")
    for name, row in rows.items():
        share = 100 * row["verdict"] / row["documents"]
        print(f"| `{name.replace(',', '`,', 1)} | {row['documents']:,} | {row['kept']:,} | {row['verdict']:,} ({share:.2f} %) | {row['whole']:,} |")
    print(f"\nStatistics of datatrove and Dolma: {statistics['compared']:,} compared, {statistics['different']:,} different\n")
    for difference in itertools.islice(differences, 60):
        print(json.dumps(difference, ensure_ascii=False))
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w") as out:
            json.dump({"rows": rows, "statistics": statistics, "differences": differences}, out, indent=1, ensure_ascii=False)


main()
