"""datatrove's MinHash deduplication with its defaults (14 bands of 8 rows of five words): its four stages, one task each."""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.typeshelper import Languages


def run(*steps, tasks=1):
    LocalPipelineExecutor(pipeline=list(steps), tasks=tasks, workers=1, skip_completed=False, logging_dir=str(out / "logs")).run()


# It reads folders: the files given are all that theirs holds.
out, folder = Path(sys.argv[1]), str(Path(sys.argv[2]).parent)
config = MinhashConfig()
work = str(out / "work")
run(JsonlReader(folder), MinhashDedupSignature(work + "/signatures", config, language=Languages.english))
run(MinhashDedupBuckets(work + "/signatures", work + "/buckets", config=config), tasks=config.num_buckets)
run(MinhashDedupCluster(work + "/buckets", work + "/remove", config=config))
run(JsonlReader(folder), MinhashDedupFilter(work + "/remove"), JsonlWriter(str(out / "kept"), compression=None))
