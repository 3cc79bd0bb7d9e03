"""litdata: one row of tokens, read in blocks of T + 1 by its TokensLoader. It has no checksums.

Called by ../run.py: lit.py IDS DTYPE T TOKENS FOLDER COMPRESSION. Prints one line of JSON.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy
import torch
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader
from litdata.streaming.writer import BinaryWriter

sys.path.append(str(Path(__file__).parent))
from tree import batches

ids, dtype, length, tokens, folder, compression = sys.argv[1:7]
length, tokens = int(length), int(tokens)
ids = numpy.fromfile(ids, dtype=dtype, count=tokens)
folder = Path(folder)
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
# torch.uint16 is a type that it can store, and half of int32 to read.
kind = torch.uint16 if numpy.dtype(dtype).itemsize == 2 else torch.int32
block = length + 1
start = time.process_time()
writer = BinaryWriter(
    str(folder), chunk_size=block * 8192, compression=None if compression == "none" else compression, compression_level="chunk",
    item_loader=TokensLoader(block_size=block),
)
items = (len(ids) - 1) // length
for window in range(items):
    row = numpy.ascontiguousarray(ids[window * length : window * length + block])
    writer.add_item(window, torch.from_numpy(row.view(numpy.int16) if kind is torch.uint16 else row.view(numpy.int32)).view(kind))
writer.done()
writer.merge()
write = time.process_time() - start
size = sum(file.stat().st_size for file in folder.iterdir())
del ids

dataset = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=block), shuffle=True, seed=1, drop_last=False)
rates = []
for epoch in range(2):
    read, start, warm = 0, None, 1000
    for number, sample in enumerate(dataset):
        if number == warm:
            start = time.process_time()
        if number >= warm:
            # No embedding takes uint16, and until here the sample is a view that nothing has read.
            read += len(sample.to(torch.int32)) - 1
    rates.append(read / (time.process_time() - start))


def collate(samples):
    return torch.stack([sample.to(torch.int32) for sample in samples])


dataset = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=block), shuffle=True, seed=1, drop_last=False)
loader = StreamingDataLoader(dataset, batch_size=8, num_workers=1, collate_fn=collate)
used = batches(loader, lambda batch: batch.numel() - len(batch))
print(json.dumps({"epochs": rates, "batches": used, "bytes": size, "write": items * length / write}))
