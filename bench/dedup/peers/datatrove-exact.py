"""datatrove's exact deduplication: signatures, finding, filtering, one task each."""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import ExactDedupFilter, ExactDedupSignature, ExactFindDedups
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter


def text(document) -> str:
    return document.text


def run(*steps):
    LocalPipelineExecutor(pipeline=list(steps), tasks=1, workers=1, skip_completed=False, logging_dir=str(out / "logs")).run()


# It reads folders: the files given are all that theirs holds.
out, folder = Path(sys.argv[1]), str(Path(sys.argv[2]).parent)
work = str(out / "work")
config = ExactDedupConfig(content_getter=text)
run(JsonlReader(folder), ExactDedupSignature(work + "/signatures", config))
run(ExactFindDedups(work + "/signatures", work + "/duplicates", config))
run(JsonlReader(folder), ExactDedupFilter(work + "/duplicates", config), JsonlWriter(str(out / "kept"), compression=None))
