#!/usr/bin/env python3
"""Has lm-evaluation-harness make its requests on rows of evaluation sets, and writes what they are to tasks.json.

    python tasks.py EVALUATION-SETS          (lm_eval 0.4.13, datasets, pyarrow; the file says which versions made it)

EVALUATION-SETS is laid out as `andromeda-train evaluate --data` takes it. Most sets may not be passed on, so a request is kept as the
first 8 bytes of the SHA-256 of its context, a zero byte, and its continuation; what is right is kept as it is. Rows of sets under the MIT licence are
kept whole in `trainer/tests/evaluation-sets`. Beside the requests stand made-up completions and what the harness's own functions
read out of them, and what the rules of chain-of-thought-hub do, which are written here again from their description.
`trainer/tests/tasks.rs` holds the trainer's own against all of it.
"""

import csv
import glob
import gzip
import hashlib
import importlib.metadata
import json
import re
import sys
import types
from pathlib import Path

import datasets

SETS = Path(sys.argv[1])
# ReCoRD's file imports a module that transformers has left out since version 5; only its scorer uses it.
for name in ("transformers.data.metrics", "transformers.data.metrics.squad_metrics"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["transformers.data.metrics"].squad_metrics = sys.modules["transformers.data.metrics.squad_metrics"]

ROWS = 24  # a task, or a part of one


def lines(pattern):
    rows = []
    for path in sorted(glob.glob(str(SETS / pattern))):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
            rows += [json.loads(line) for line in file]
    assert rows, pattern
    return rows


def mmlu(part, split):
    with open(SETS / f"mmlu/data/{split}/{part}_{split}.csv") as file:
        return [{"question": r[0], "subject": part, "choices": r[1:5], "answer": "ABCD".index(r[5])} for r in csv.reader(file)]


def load_dataset(path=None, name=None, **_):
    if path in ("nyu-mll/glue", "aps/super_glue"):
        folder = "wsc" if name == "wsc.fixed" else name
        splits = {}
        for file in glob.glob(str(SETS / path / folder / "validation*.jsonl")):
            splits[Path(file).name.split("-")[0]] = lines(str(Path(file).relative_to(SETS)))
    elif path == "baber/piqa":
        splits = {"validation": lines("ybisk/piqa/plain_text/validation-*.jsonl")}
    elif path == "allenai/ai2_arc":
        splits = {"test": lines(f"allenai/ai2_arc/{name}/validation-*.jsonl")}
    elif path == "cais/mmlu":
        splits = {"test": mmlu(name, "test"), "dev": mmlu(name, "dev")}
    elif path == "Rowan/hellaswag":
        splits = {"validation": lines("hellaswag/hellaswag_val.jsonl")}
    elif path == "EleutherAI/lambada_openai":
        splits = {"test": lines("lambada/lambada_test.jsonl")}
    elif path == "openai/gsm8k":
        splits = {"test": lines("gsm8k/test.jsonl"), "train": lines("gsm8k/train.jsonl")[:24]}
    elif path == "EleutherAI/hendrycks_math":
        splits = {"test": [{k: r[k] for k in ("problem", "solution")} for r in lines("math/test.jsonl*")[:200]]}
    elif path == "SaylorTwift/bbh":
        splits = {"test": json.load(open(SETS / f"bbh/bbh/{name}.json"))["examples"]}
    else:
        raise ValueError(path)
    first = {split: rows[: (len(rows) if split in ("dev", "train") else 200)] for split, rows in splits.items()}
    # No task here has shots of its training rows, but the harness opens them.
    first.setdefault("train", next(iter(first.values())))
    return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in first.items()})


datasets.load_dataset = load_dataset

from lm_eval.tasks import TaskManager  # noqa: E402

PARTS = ["abstract_algebra", "high_school_us_history", "moral_scenarios", "anatomy"]
BBH = sorted(path.stem for path in (SETS / "bbh/bbh").glob("*.json"))
OURS = {name: name for name in "piqa cola sst2 mrpc qqp qnli rte wnli boolq cb copa multirc record wic wsc hellaswag mnli".split()}
OURS |= {"mnli_mismatch": "mnli-mismatch", "sglue_rte": "sglue-rte", "arc_easy": "arc-easy", "arc_challenge": "arc-challenge",
         "lambada_openai": "lambada", "gsm8k_cot": "gsm8k-cot", "hendrycks_math_algebra": "math"}
OURS |= {f"mmlu_{part}": "mmlu" for part in PARTS} | {f"bbh_cot_fewshot_{part}": "bbh" for part in BBH}


def digest(context, continuation):
    return hashlib.sha256((context + "\0" + continuation).encode()).hexdigest()[:16]


def requests():
    manager = TaskManager()
    cases = {}
    for theirs, ours in OURS.items():
        task = manager.load([theirs])["tasks"][theirs]
        if ours == "mmlu":
            task.set_config("num_fewshot", 5)
        task.build_all_requests(limit=3 if ours == "bbh" else ROWS, rank=0, world_size=1)
        part = theirs.removeprefix("mmlu_").removeprefix("bbh_cot_fewshot_") if ours in ("mmlu", "bbh") else ""
        items = {}
        for instance in task.instances:
            items.setdefault(instance.doc_id, []).append(instance)
        of_task = []
        for doc_id in sorted(items):
            instances = sorted(items[doc_id], key=lambda instance: instance.idx)
            doc = instances[0].doc
            item = {"part": part} if part else {}
            if task.OUTPUT_TYPE == "generate_until":
                item["requests"] = [digest(instances[0].args[0], "")]
                item["stop"] = instances[0].args[1]["until"]
            else:
                item["requests"] = [digest(*instance.args) for instance in instances]
            if task.OUTPUT_TYPE == "multiple_choice" and ours != "record":
                right = task.doc_to_target(doc)
                choices = task.doc_to_choice(doc)
                item["label"] = choices.index(right) if right in choices else int(right)
            if ours == "record":
                item["names"], item["answers"] = doc["entities"], doc["answers"]
            of_task.append(item)
        cases.setdefault(ours, []).extend(of_task)
    return cases


GSM = {"strict": r"#### (\-?[0-9\.\,]+)", "cot": r"The answer is (\-?[0-9\.\,]+).", "flexible": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"}


def readings():
    """(reading, completion, target, answer, right) by the harness's own functions, and by the hub's rules as they are described."""
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter
    from lm_eval.tasks.hendrycks_math import utils as math

    ignored = [",", r"\$", r"(?s).*#### ", r"\.$"]
    filters = {
        "gsm8k-strict": RegexFilter(GSM["strict"]), "gsm8k-cot-strict": RegexFilter(GSM["cot"]),
        "gsm8k-flexible": RegexFilter(GSM["flexible"], group_select=-1), "bbh-harness": RegexFilter("(?<=the answer is )(.*)(?=.)"),
    }
    out = []

    def case(reading, completion, target, answer, right):
        out.append({"reading": reading, "completion": completion, "target": target, "answer": answer, "right": bool(right)})

    train = [row for row in lines("gsm8k/train.jsonl") if len(row["answer"]) < 160][:20]
    numbers = ["#### 1,234.", "The answer is 1,234.", "The answer is -5.", "so $1,234.50 in all", "#### $7", "no number", "The answer is 7",
               "a 3\n#### 12\n#### 13", "The answer is 6.\nQ: The answer is 9.", "-", "$,", "It is 1.2.3.", "1,200", "answer is 4\nand 5", "١٢"]
    gold = ["so #### 1,234", "#### -5", "#### 1234.50", "#### 7", "#### 200"]
    texts = [row["answer"] for row in train] + [row["answer"].replace("####", "The answer is") + "." for row in train] + numbers
    pairs = [(text, target) for i, text in enumerate(texts) for target in (train[i % 20]["answer"].split("\n")[-1], gold[-1 - i % 5])]
    for completion, target in pairs:
        for name in ("gsm8k-strict", "gsm8k-cot-strict", "gsm8k-flexible"):
            answer = filters[name].apply([[completion]], [{}])[0][0]
            right = exact_match_hf_evaluate([answer], [target], regexes_to_ignore=ignored, ignore_case=True)["exact_match"]
            case(name, completion, target, None if answer == "[invalid]" else answer, right)
        # chain-of-thought-hub, gsm8k: up to the first line with "answer is", the last number on both sides.
        kept = []
        for line in completion.split("\n"):
            kept.append(line)
            if "answer is" in line:
                break
        found, wanted = re.findall(r"\d*\.?\d+", "\n".join(kept)), re.findall(r"\d*\.?\d+", target)
        case("gsm8k-hub", completion, target, found[-1] if found else None, found and found[-1] == wanted[-1])

    bbh = [("So the answer is (B).", "(B)"), ("the answer is (B)", "(B)"), ("So the answer is True.\n\nQ: x", "True"), ("the answer is .", ""),
           ("the answer is \nthe answer is 5.", "5"), ("no", "no"), ("the answer is (C) or (A).", "(A)"), ("answer is Yes.", "Yes"),
           ("the answer is yes. So the answer is no.", "no"), ("the answer is ] ) >.", "] ) >"), ("The answer is 24.", "24"), ("", "x"),
           ("the answer is a b.. ", "a b."), ("the answer is (AB).", "(A)")]
    for part in BBH:
        text = (SETS / f"bbh/cot-prompts/{part}.txt").read_text()
        bbh += [(shot.split("\n\nQ:")[0], re.search(r"answer is (.*?)\.?\n", shot + "\n").group(1)) for shot in text.split("step by step.\n")[1:2]]
    for completion, target in bbh:
        answer = filters["bbh-harness"].apply([[completion]], [{}])[0][0]
        case("bbh-harness", completion, target, None if answer == "[invalid]" else answer, answer == target)
        parts = completion.split("answer is ")
        answer = completion if len(parts) == 1 else parts[-1].strip()
        wanted = target
        letters = re.fullmatch(r"\(([A-Z])\)", target)
        if letters:
            wanted = letters.group(1)
        if len(parts) > 1 and letters:
            answer = next((option for option in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if f"({option})" in answer), answer)
        elif len(parts) > 1 and answer[-1:] == ".":
            answer = answer[:-1]
        case("bbh-hub", completion, target, answer, answer == wanted)

    solutions = [row["solution"] for row in lines("math/test.jsonl*") if len(row["solution"]) < 250][:40]
    boxes = [math.remove_boxed(math.last_boxed_only_string(solution)) for solution in solutions]
    written = ["$\\frac12$", "0.5", "$x=\\frac{1}{2}$", "1/2", "$.5$", "$10\\%$", "$90^\\circ$", "$5\\text{ cm}$", "\\sqrt3", "\\sqrt", "\\frac", "\\frac1",
               "a/b", "+1/2", "1/02", "-3/4", "$\\left(1,2\\right)$", "it is $3$ or $4$", "\\$5", "x=5", "long=5", "a=b=c", "\\tfrac{1}{2}", " .5", "{.5}",
               "\\text{ a}\\text{ b}", "", "$$", "1\\!000", "\\frac3{72}", "\\dfrac ab", "1_0/2", "\\frac{a}b"]
    wanted = ["\\frac{1}{2}", "10", "90", "5", "\\sqrt{3}", "(1,2)", "-\\frac{3}{4}", "0.5", "\\frac{3}{72}", "1000", "a/b", "\\sqrt", ""]
    # As a model would, in words; and each made-up one beside each answer.
    pairs = [(f"The result is ${box}$.", solution) for box, solution in zip(boxes, solutions)]
    pairs += [(text, f"So \\boxed{{{answer}}}") for text in written for answer in wanted]
    for completion, target in pairs:
        answer = completion if completion.count("$") <= 1 else completion[completion.index("$") + 1 : completion.rindex("$")]
        case("math-harness", completion, target, answer, math.process_results({"solution": target}, [completion])["exact_match"])
    for completion, target in [(f"So. The answer is {box}", solution) for box, solution in zip(boxes, solutions)] + pairs[:10]:
        if "The answer is " in completion:
            answer = completion.split("The answer is ")[-1].strip()
        else:
            found = re.findall(r"\d*\.?\d+", completion)
            answer = found[-1] if found else None
        case("math-hub", completion, target, answer, answer == math.remove_boxed(math.last_boxed_only_string(target)))

    for completion, target in [("So the answer is (B).", "B"), ("The Answer Is (c)", "C"), ("the answer is A", "A"), ("", "C"), ("the answer is (", "C"),
                               ("the answer is (A). the answer is (B)", "A"), ("the answer is ( A)", "A")]:
        after = completion.lower().split("the answer is (")
        answer = (after[1][0] if after[1] else None) if len(after) > 1 else "C"
        case("mmlu-cot-hub", completion, target, answer, answer == target.lower())
    for completion, target in [(" A", "A"), ("B", "B"), ("C ", "C"), ("", "A"), (" a", "A")]:
        case("mmlu-hub", completion, target, completion[-1:] or None, completion[-1:] == target)
    return out


if __name__ == "__main__":
    made = {
        "made_with": {name: importlib.metadata.version(name) for name in ("lm_eval", "datasets")},
        "requests": requests(), "readings": readings(),
    }
    out = Path(__file__).with_name("tasks.json")
    out.write_text(json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n")
