"""mosaicml-streaming: a sample is a window of T + 1 tokens as an array, shards carry xxh3-64 and it is checked.

Called by ../run.py: mds.py IDS DTYPE T TOKENS FOLDER COMPRESSION. Prints one line of JSON.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy
import torch
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

sys.path.append(str(Path(__file__).parent))
from tree import batches

ids, dtype, length, tokens, folder, compression = sys.argv[1:7]
length, tokens = int(length), int(tokens)
ids = numpy.fromfile(ids, dtype=dtype, count=tokens)
folder = Path(folder)
shutil.rmtree(folder, ignore_errors=True)
windows = (len(ids) - 1) // length
zipped = None if compression == "none" else compression
start = time.process_time()
columns = {"tokens": f"ndarray:{numpy.dtype(dtype).name}:{length + 1}"}
with MDSWriter(out=str(folder / "remote"), columns=columns, hashes=["xxh3_64"], compression=zipped) as out:
    for window in range(windows):
        out.write({"tokens": ids[window * length : window * length + length + 1]})
write = time.process_time() - start
size = sum(file.stat().st_size for file in (folder / "remote").iterdir())
del ids

# A remote folder, so that shards go through its hash check on their way to the local one, as they do in use.
dataset = StreamingDataset(
    remote=str(folder / "remote"), local=str(folder / "local"), shuffle=True, shuffle_seed=1, batch_size=1,
    validate_hash="xxh3_64", predownload=64,
)
rates = []
for epoch in range(2):
    read, start, warm = 0, None, 1000
    for number, sample in enumerate(dataset):
        if number == warm:
            # Imports, the index and the first shards are start-up.
            start = time.process_time()
        if number >= warm:
            # No embedding takes uint16.
            read += len(sample["tokens"].astype(numpy.int32)) - 1
    rates.append(read / (time.process_time() - start))


def collate(samples):
    return torch.from_numpy(numpy.stack([sample["tokens"].astype(numpy.int32) for sample in samples]))


dataset = StreamingDataset(
    remote=str(folder / "remote"), local=str(folder / "used"), shuffle=True, shuffle_seed=1, batch_size=8, validate_hash="xxh3_64", predownload=64,
)
loader = DataLoader(dataset, batch_size=8, num_workers=1, collate_fn=collate)
used = batches(loader, lambda batch: batch.numel() - len(batch))
print(json.dumps({"epochs": rates, "batches": used, "bytes": size, "write": windows * length / write}))
