"""Holds what our rules say of real documents against datatrove itself and against plain transcriptions of the others.

    python agreement.py VERDICTS.jsonl CORPUS.jsonl [OUT.json]    (run.py runs it, with the packages it needs)

Prints a row a rule: documents, same verdict, same verdict and reason and text, and shows what differs.
"""

import itertools
import json
import sys
from collections import Counter

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import split_into_sentences

import transcriptions

DATATROVE = {
    "gopher-repetition@datatrove": GopherRepetitionFilter(),
    "gopher-quality@datatrove": GopherQualityFilter(),
    "c4@datatrove": C4QualityFilter(),
    "fineweb": FineWebQualityFilter(),
}
FINEWEB_RECIPE = [
    GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()
]
# datatrove's reasons by ours
REASONS = {
    "empty": "empty",
    "dup_para_frac": "gopher-dup-paragraph", "dup_para_char_frac": "gopher-dup-paragraph-characters",
    "dup_line_frac": "gopher-dup-line", "dup_line_char_frac": "gopher-dup-line-characters",
    "gopher_short_doc": "gopher-too-few-words", "gopher_long_doc": "gopher-too-many-words",
    "gopher_below_avg_threshold": "gopher-short-words", "gopher_above_avg_threshold": "gopher-long-words",
    "gopher_too_many_hashes": "gopher-hashes", "gopher_too_many_ellipsis": "gopher-ellipsis-marks",
    "gopher_too_many_bullets": "gopher-bullets", "gopher_too_many_end_ellipsis": "gopher-ellipses",
    "gopher_below_alpha_threshold": "gopher-non-alphabetic-words", "gopher_enough_stop_words": "gopher-few-stop-words",
    "lorem_ipsum": "c4-lorem-ipsum", "curly_bracket": "c4-curly-bracket", "too_few_sentences": "c4-few-sentences",
    "line_punct_ratio": "fineweb-terminal-lines", "short_line_ratio": "fineweb-short-lines",
    "char_dup_ratio": "fineweb-dup-line-characters", "list_ratio": "fineweb-list",
} | {f"top_{n}_gram": f"gopher-top-{n}-gram" for n in (2, 3, 4)} | {f"duplicated_{n}_n_grams": f"gopher-dup-{n}-gram" for n in range(5, 11)}


def datatrove(filters, text):
    """The text that is left, or the reason in our words."""
    document = Document(text=text, id="")
    for one in filters:
        try:
            result = one.filter(document)
        except ZeroDivisionError:
            return None, "division by zero"
        if result is not True:
            return None, REASONS[result[1]]
    return document.text, None


def expectations(nltk_sentences):
    def judge(function):
        def run(text):
            reason = function(text)
            return (None, reason) if reason else (text, None)
        return run

    yield from ((name, lambda text, one=one: datatrove([one], text)) for name, one in DATATROVE.items())
    yield "fineweb-recipe", lambda text: datatrove(FINEWEB_RECIPE, text)
    yield "gopher-quality@dclm", judge(transcriptions.dclm_quality)
    yield "gopher-repetition@dclm", judge(transcriptions.dclm_repetition)
    yield "gopher-quality@dolma", judge(transcriptions.dolma_quality)
    yield "gopher-repetition@dolma", judge(transcriptions.dolma_repetition)
    yield "refinedweb-lines", transcriptions.refinedweb_lines
    yield "c4", lambda text: transcriptions.c4(text, lambda line: len(split_into_sentences(line)))
    if nltk_sentences:
        yield "c4 (sentences of Punkt)", lambda text: transcriptions.c4(text, nltk_sentences)


def main():
    verdicts, corpus = sys.argv[1:3]
    try:
        from punkt import sent_tokenize
        nltk_sentences = lambda line: len(sent_tokenize(line))
    except ImportError:
        nltk_sentences = None
    rows = {}
    expected = dict(expectations(nltk_sentences))
    differences = []
    with open(verdicts) as ours, open(corpus) as documents:
        for said, document in zip(map(json.loads, ours), map(json.loads, documents)):
            text = document["text"]
            for name, run in expected.items():
                kept, reason = run(text)
                found = said["rules"][name.split(" (")[0]]
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
    print("| rule | documents | kept | same verdict | same reason and text too |\n|---|---|---|---|---|")
    for name, row in rows.items():
        share = 100 * row["verdict"] / row["documents"]
        print(f"| {name} | {row['documents']:,} | {row['kept']:,} | {row['verdict']:,} ({share:.2f} %) | {row['whole']:,} |")
    for difference in itertools.islice(differences, 60):
        print(json.dumps(difference, ensure_ascii=False))
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w") as out:
            json.dump({"rows": rows, "differences": differences}, out, indent=1, ensure_ascii=False)


main()
