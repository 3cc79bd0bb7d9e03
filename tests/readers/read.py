"""Opens an export with the program it was made for, and prints what that program reads, a JSON object a line.

    python3 read.py nanogpt|megatron|mds|mds-windows|mds-rewrite|parquet|datasets FOLDER [width]

Imports what a reader needs first: exit code 3 says that it is not installed.
"""

import json
import os
import sys
import tempfile


def nanogpt(folder, width):
    import numpy as np

    # As nanoGPT's train.py opens its files.
    for split in ("train", "val", "test"):
        path = os.path.join(folder, f"{split}.bin")
        if os.path.exists(path):
            data = np.memmap(path, dtype={"u16": np.uint16, "u32": np.uint32}[width], mode="r")
            yield {"split": split, "ids": data.astype(np.int64).tolist()}


def megatron(folder, width):
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    for split in ("train", "val", "test"):
        prefix = os.path.join(folder, split)
        if not os.path.exists(prefix + ".idx"):
            continue
        dataset = IndexedDataset(prefix)
        assert len(dataset.document_indices) == len(dataset) + 1
        assert dataset.index.dtype.__name__ == {"u16": "uint16", "u32": "int32"}[width]
        for i in range(len(dataset)):
            yield {"split": split, "ids": dataset[i].tolist()}


def mds(folder, width):
    from streaming import StreamingDataset

    for split in ("train", "val", "test"):
        if not os.path.exists(os.path.join(folder, split)):
            continue
        for algorithm in ("sha1", "xxh64"):
            # Copied into a cache as from a remote, so that compressed and whole files are both hashed.
            with tempfile.TemporaryDirectory() as local:
                dataset = StreamingDataset(
                    remote=folder, local=local, split=split, batch_size=1, shuffle=False, validate_hash=algorithm
                )
                samples = [dataset[i] for i in range(dataset.num_samples)]
        for sample in samples:
            assert sample["tokens"].dtype.name == {"u16": "uint16", "u32": "uint32"}[width]
            out = {"split": split, "ids": sample["tokens"].tolist()}
            if "loss" in sample:
                out["loss"] = sample["loss"].tolist()
            if "row" in sample:
                out.update(row=int(sample["row"]), dataset=sample["dataset"])
            yield out


def mds_rewrite(folder, width):
    """Writes what was read with the publisher's writer; the files must be the same."""
    from streaming import MDSWriter
    from streaming.base.format import reader_from_json

    for split in ("train", "val", "test"):
        path = os.path.join(folder, split)
        if not os.path.exists(path):
            continue
        index = json.load(open(os.path.join(path, "index.json")))
        shards = index["shards"]
        first = shards[0]
        with tempfile.TemporaryDirectory() as out:
            out = os.path.join(out, "again")
            columns = dict(zip(first["column_names"], first["column_encodings"]))
            with MDSWriter(columns=columns, out=out, hashes=first["hashes"], size_limit=first["size_limit"]) as writer:
                for shard in shards:
                    reader = reader_from_json(folder, split, shard)
                    for i in range(shard["samples"]):
                        writer.write(reader.get_item(i))
            for name in sorted(os.listdir(path)):
                ours = open(os.path.join(path, name), "rb").read()
                theirs = open(os.path.join(out, name), "rb").read()
                yield {"split": split, "file": name, "same": ours == theirs}


def parquet(folder, width):
    import pyarrow.parquet as pq

    for name in sorted(os.listdir(folder)):
        if name.endswith(".parquet"):
            table = pq.read_table(os.path.join(folder, name))
            ids = str(table.schema.field("ids").type.value_type)
            assert ids == {"u16": "uint16", "u32": "uint32"}[width], ids
            yield from table.to_pylist()


def datasets(folder, width):
    from datasets import load_dataset

    with tempfile.TemporaryDirectory() as cache:
        loaded = load_dataset(folder, cache_dir=cache)
        names = {"train": "train", "val": "validation", "test": "test"}
        for split, name in names.items():
            if name in loaded:
                for row in loaded[name]:
                    row["masked"] = [{"start": s["start"], "end": s["end"]} for s in row["masked"]]
                    yield row


READERS = {
    "nanogpt": nanogpt,
    "megatron": megatron,
    "mds": mds,
    "mds-rewrite": mds_rewrite,
    "parquet": parquet,
    "datasets": datasets,
}

if __name__ == "__main__":
    reader, folder = READERS[sys.argv[1]], sys.argv[2]
    # What libraries say on stdout is not data.
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        for line in reader(folder, sys.argv[3] if len(sys.argv) > 3 else "u16"):
            out.write(json.dumps(line) + "\n")
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
