"""Builds of the format's own golden files: read, and refused when a byte of them is another."""

import json
import os
import shutil
import tempfile
import unittest

import numpy as np

from andromeda_shards import Build, Loader, LoaderState, PositionError, ShardError, Source

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "..", "format", "tests", "golden", "v1")


class Golden(unittest.TestCase):
    def test_both_widths_open_and_every_byte_is_sound(self):
        for name, dtype in (("narrow", "<u2"), ("wide", "<u4")):
            build = Build(os.path.join(GOLDEN, name))
            build.verify()
            self.assertEqual(build.dtype, np.dtype(dtype))
            for split, tokens in build.splits.items():
                documents = list(build.documents(split))
                self.assertEqual(sum(len(document.ids) for document in documents), tokens)
                self.assertEqual(len(documents), build.manifest["splits"][split]["documents"])
                for document in documents:
                    self.assertEqual(document.ids[-1], build.end_of_text)
                    self.assertEqual(document.ids.dtype, build.dtype)
                    self.assertEqual(len(document.trained), len(document.ids))
                for dataset in build.datasets:
                    of = [document.row for document in documents if document.dataset == dataset]
                    self.assertEqual([document.row for document in build.documents(split, dataset)], of)

    def test_the_root_is_held_against_the_content_and_against_what_is_expected(self):
        build = Build(os.path.join(GOLDEN, "narrow"))
        self.assertEqual(Build(build.folder, root=build.root).root, build.root)
        with self.assertRaisesRegex(ShardError, "of another build"):
            Build(build.folder, root="0" * 64)
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "copy")
            shutil.copytree(build.folder, copy)
            path = os.path.join(copy, "manifest.json")
            with open(path, "rb") as file:
                text = file.read()
            with open(path, "wb") as file:
                file.write(text.replace(b'"tier"', b'"tire"', 1))
            with self.assertRaisesRegex(ShardError, "was changed"):
                Build(copy)
            with open(path, "wb") as file:
                file.write(text[:-40])
            with self.assertRaises(ShardError):
                Build(copy)

    def test_any_flipped_bit_of_a_shard_is_noticed(self):
        source = os.path.join(GOLDEN, "narrow")
        name = Build(source).manifest["splits"]["train"]["shards"][0]["file"]
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "copy")
            shutil.copytree(source, copy)
            build = Build(copy)
            path = os.path.join(copy, name)
            with open(path, "rb") as file:
                good = bytearray(file.read())
            whole = [build.shard("train", 0).frame(i).tolist() for i in range(len(build.shard("train", 0).sizes))]
            for at in range(len(good)):
                for bit in (0, 3, 7):
                    bad = bytearray(good)
                    bad[at] ^= 1 << bit
                    with open(path, "wb") as file:
                        file.write(bad)
                    with self.assertRaises(ShardError, msg=f"bit {bit} of byte {at}"):
                        shard = build.shard("train", 0)
                        for frame in range(len(shard.sizes)):
                            shard.frame(frame)
            with open(path, "wb") as file:
                file.write(good)
            shard = build.shard("train", 0)
            self.assertEqual([shard.frame(i).tolist() for i in range(len(shard.sizes))], whole)
            for cut in range(len(good)):
                with open(path, "wb") as file:
                    file.write(good[:cut])
                with self.assertRaises(ShardError):
                    Build(copy)


class Loaders(unittest.TestCase):
    def setUp(self):
        self.build = Build(os.path.join(GOLDEN, "narrow"))

    def windows(self, length):
        ids = np.concatenate([document.ids for document in self.build.documents("train")])
        return ids, (len(ids) - 1) // length

    def test_an_epoch_has_every_window_once(self):
        for group in (1, 2, 16):
            loader = Loader(self.build, sequence_tokens=7, seed=5, chunk_tokens=21, group_chunks=group)
            ids, windows = self.windows(7)
            self.assertEqual(loader.sequences, windows)
            for epoch in (0, 3):
                seen = {}
                for position in range(epoch * windows, (epoch + 1) * windows):
                    sequence = loader.read(position)
                    self.assertEqual(len(sequence.loss), 7)
                    seen[sequence.first_token] = sequence.ids.tolist()
                expected = {7 * w: ids[7 * w : 7 * w + 8].tolist() for w in range(windows)}
                self.assertEqual(seen, expected)

    def test_best_fit_has_every_token_of_every_document_once(self):
        loader = Loader(self.build, sequence_tokens=15, seed=5, packing="best-fit", chunk_tokens=50, group_chunks=2)
        tokens = 0
        for number in range(loader.sequences):
            sequence = loader.read_in_order(number)
            tokens += len(sequence.ids) - sequence.padding
            self.assertEqual(sum(end - start for start, end in sequence.segments()), 16)
            self.assertFalse(sequence.loss[15 - sequence.padding :].any())
        self.assertEqual(tokens, self.build.splits["train"])

    def test_machines_together_read_what_one_reads(self):
        loader = Loader(self.build, sequence_tokens=5, seed=1)
        alone = [sequence.ids.tolist() for sequence in loader.iterate(3, stop=63)]
        for world in (1, 2, 3, 4, 6):
            turns = [list(loader.iterate(3, rank=rank, world=world, stop=63)) for rank in range(world)]
            together = [turns[i % world][i // world].ids.tolist() for i in range(60)]
            self.assertEqual(together, alone)

    def test_a_position_of_another_order_is_refused(self):
        loader = Loader(self.build, sequence_tokens=5, seed=1)
        text = loader.state(17).to_json()
        self.assertEqual(loader.resume(LoaderState.from_json(text)), 17)
        other = Loader(self.build, sequence_tokens=5, seed=2)
        with self.assertRaisesRegex(PositionError, "seed was 1, and is 2"):
            other.resume(LoaderState.from_json(text))
        with self.assertRaisesRegex(PositionError, "edited"):
            LoaderState.from_json(text.replace('"seed":1', '"seed":2'))
        for bad in ("", "{}", "[]", '{"position": 1}'):
            with self.assertRaises(PositionError):
                LoaderState.from_json(bad)

    def test_options_that_cannot_be_are_refused(self):
        for options in (
            {"sequence_tokens": 0},
            {"sequence_tokens": 1 << 40},
            {"sequence_tokens": 4, "packing": "tight"},
            {"sequence_tokens": 4, "seed": -1},
            {"sequence_tokens": 4, "group_chunks": 0},
        ):
            with self.assertRaises(ShardError):
                Loader(self.build, **options)
        source = Source(self.build)
        for sources in ([], [source, source], [Source(self.build, weight=0)], [Source(self.build, dataset="none")]):
            with self.assertRaises(ShardError):
                Loader.mixture(sources, sequence_tokens=4)
        with self.assertRaises(ShardError):
            Loader(self.build, "absent", sequence_tokens=4)
        with self.assertRaises(ShardError):
            Loader(self.build, sequence_tokens=4).read_in_order(10**9)


class Torch(unittest.TestCase):
    def setUp(self):
        try:
            import torch  # noqa: F401
        except ImportError:
            self.skipTest("torch is not installed")

    def test_batches_come_in_the_same_order_with_any_number_of_workers(self):
        import torch
        from torch.utils.data import DataLoader

        from andromeda_shards.torch import IGNORED, SequenceDataset

        build = Build(os.path.join(GOLDEN, "narrow"))
        loader = Loader(build, sequence_tokens=6, seed=9)
        for workers in (0, 2, 3):
            dataset = SequenceDataset(loader, 4, start=2, stop=42, rank=1, world=2)
            batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
            self.assertEqual([batch["position"] for batch in batches], [10, 18, 26, 34, 42])
            for number, batch in enumerate(batches):
                for row in range(4):
                    sequence = loader.read(2 + 8 * number + 2 * row + 1)
                    self.assertEqual(batch["input_ids"][row].tolist(), sequence.ids[:-1].tolist())
                    labels = np.where(sequence.loss, sequence.ids[1:].astype(np.int64), IGNORED)
                    self.assertEqual(batch["labels"][row].tolist(), labels.tolist())
            self.assertEqual(batches[0]["input_ids"].dtype, torch.int64)

    def test_the_package_alone_imports_no_torch(self):
        import subprocess
        import sys

        code = "import andromeda_shards, sys, json; print(json.dumps('torch' in sys.modules))"
        self.assertIs(json.loads(subprocess.check_output([sys.executable, "-c", code])), False)


if __name__ == "__main__":
    unittest.main()
