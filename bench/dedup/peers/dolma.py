"""dolma's document deduplication: a Bloom filter over the text marks the copies, mix leaves them out. One process each."""

import json
import sys
from pathlib import Path

from dolma.cli.main import main

out, *files = map(Path, sys.argv[1:])
# Marks are written beside a folder of this name.
folder = out / "documents"
folder.mkdir()
for path in files:
    (folder / path.name).symlink_to(path.resolve())
documents = [str(folder / "*.jsonl")]
dedupe = {
    "documents": documents,
    "dedupe": {"name": "copies", "documents": {"attribute_name": "copy", "key": "$.text"}, "skip_empty": True},
    "bloom_filter": {
        "file": str(out / "filter.bin"),
        "read_only": False,
        "estimated_doc_count": 1_000_000,
        "desired_false_positive_rate": 1e-6,
    },
    "processes": 1,
}
mix = {
    "streams": [
        {
            "name": "kept",
            "documents": documents,
            "attributes": ["copies"],
            # The mark is a whole number; a comparison with 1.0 is never true.
            "filter": {"exclude": ["$.attributes[?(@.copy && @.copy[0] && @.copy[0][2] >= 1)]"]},
            "output": {"path": str(out / "kept"), "max_size_in_bytes": 1 << 40},
            "compression": {"output": "jsonl"},
        }
    ],
    "processes": 1,
}
for verb, config in (("dedupe", dedupe), ("mix", mix)):
    (out / f"{verb}.yaml").write_text(json.dumps(config))
    main(["-c", str(out / f"{verb}.yaml"), verb])
