"""How much text a corpus has, and the beginning of it as files of their own. Apart from the runner, whose memory would
count as that of the programs it starts.

corpus.py FOLDER MB FILE...: links the files in FOLDER/whole/documents, copies the first MB of text to
FOLDER/prefix/documents, and prints the sizes of both as JSON.
"""

import json
import os
import shutil
import sys
from pathlib import Path


def main():
    folder, limit, files = Path(sys.argv[1]), float(sys.argv[2]) * 1e6, [Path(file).resolve() for file in sys.argv[3:]]
    whole, prefix = (folder / name / "documents" for name in ("whole", "prefix"))
    size = {"whole": {"documents": 0, "bytes": 0}, "prefix": {"documents": 0, "bytes": 0}}
    for target in (whole, prefix):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    for file in files:
        os.symlink(file, whole / file.name)
        begun = size["prefix"]["bytes"] < limit
        with open(file, "rb") as lines, open(prefix / file.name if begun else os.devnull, "wb") as copy:
            for line in lines:
                length = len(json.loads(line)["text"].encode())
                add(size["whole"], length)
                if size["prefix"]["bytes"] < limit:
                    add(size["prefix"], length)
                    copy.write(line)
    for name, target in (("whole", whole), ("prefix", prefix)):
        size[name]["files"] = [str(target / file.name) for file in files if (target / file.name).exists()]
    print(json.dumps(size))


def add(size, length):
    size["documents"] += 1
    size["bytes"] += length


if __name__ == "__main__":
    main()
