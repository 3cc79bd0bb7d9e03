"""A build's folder: its manifest with the root that names every byte, its splits, its documents."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .errors import ShardError
from .shard import Shard

#: Shards whose index is kept.
OPEN_SHARDS = 256
#: Documents in those, about 36 bytes each.
OPEN_DOCUMENTS = 1 << 22


@dataclass
class Document:
    """A document: ids with the end of text, and for each whether it carries loss."""

    ids: np.ndarray
    trained: np.ndarray
    dataset: str
    #: Its row in `documents.parquet`.
    row: int


class Build:
    """An open build. The manifest was checked against its root, and every file has the size that it lists.

    `root`, if given, is what the root must be. `verify()` reads every byte.
    """

    def __init__(self, folder: str, root: Optional[str] = None) -> None:
        self.folder = os.fspath(folder)
        path = os.path.join(self.folder, "manifest.json")
        with open(path, "rb") as file:
            text = file.read()
        try:
            manifest = json.loads(text)
        except ValueError as error:
            raise ShardError(f"{path} cannot be read as a build's manifest: {error}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != "andromeda-build":
            raise ShardError(f"{path} is no manifest of a build")
        if manifest.get("version") != 1:
            raise ShardError(f"{path} has version {manifest.get('version')}; this package reads 1")
        self.manifest: Dict[str, Any] = manifest
        key = b'"root": "'
        at = text.find(key) + len(key)
        written = text[at : at + 64]
        computed = hashlib.sha256(text[:at] + b"0" * 64 + text[at + 64 :]).hexdigest()
        if at < len(key) or written.decode("ascii", "replace") != computed or manifest.get("root") != computed:
            raise ShardError(f"{path} was changed: its root is not the hash of its content, which is {computed}")
        if root is not None and root != computed:
            raise ShardError(f"{path} is of another build: its root is {computed}, not {root}")
        self.root: str = computed
        try:
            self.name: str = manifest["name"]
            self.dtype = np.dtype({"u16": "<u2", "u32": "<u4"}[manifest["token_width"]])
            self.frame_tokens = int(manifest["frame_tokens"])
            self.shard_tokens = int(manifest["shard_tokens"])
            self.vocab_size = int(manifest["tokenizer"]["vocab_size"])
            self.end_of_text = int(manifest["tokenizer"]["end_of_text"]["id"])
            self.tokenizer_file = self._inside(manifest["tokenizer"]["file"])
            self.datasets: List[str] = [dataset["name"] for dataset in manifest["datasets"]]
            self.splits: Dict[str, int] = {name: int(split["tokens"]) for name, split in manifest["splits"].items()}
            files = list(self._files())
        except (KeyError, TypeError) as error:
            raise ShardError(f"{path} lacks {error}") from None
        if self.shard_tokens < 1 or self.frame_tokens < 1:
            raise ShardError(f"{path}: its frames or shards have no size")
        for name, size, _ in files:
            found = os.stat(self._inside(name)).st_size
            if size is not None and found != size:
                raise ShardError(f"{self._inside(name)} is {found} bytes long, the manifest says {size}")

    def __repr__(self) -> str:
        return f"Build({self.folder!r}, root={self.root!r})"

    def _files(self) -> Iterator[Tuple[str, Optional[int], str]]:
        tokenizer = self.manifest["tokenizer"]
        yield tokenizer["file"], None, tokenizer["sha256"]
        for split in self.manifest["splits"].values():
            for shard in split["shards"]:
                yield shard["file"], shard["bytes"], shard["sha256"]
        for table in self.manifest["tables"]:
            yield table["path"], table["bytes"], table["sha256"]

    def _inside(self, name: str) -> str:
        if name in ("", ".", "..") or any(c in name for c in "/\\\0"):
            raise ShardError(f"{name!r} is no name of a file in {self.folder}")
        return os.path.join(self.folder, name)

    def verify(self) -> None:
        """Reads every file and every frame: a `ShardError` names the first that is not what the manifest says."""
        for name, _, listed in self._files():
            digest = hashlib.sha256()
            with open(self._inside(name), "rb") as file:
                for part in iter(lambda: file.read(1 << 20), b""):
                    digest.update(part)
            if digest.hexdigest() != listed:
                raise ShardError(f"{self._inside(name)} is damaged: its sha256 is {digest.hexdigest()}, not {listed}")
        for split in self.splits:
            for number in range(self.shards(split)):
                shard = self.shard(split, number)
                for frame in range(len(shard.sizes)):
                    shard.frame(frame)

    def shards(self, split: str) -> int:
        """Shards of a split."""
        return len(self._split(split)["shards"])

    def _split(self, split: str) -> Dict[str, Any]:
        try:
            found: Dict[str, Any] = self.manifest["splits"][split]
            return found
        except KeyError:
            raise ShardError(f"{self.folder} has no split {split}; it has {', '.join(self.splits)}") from None

    def shard(self, split: str, number: int) -> Shard:
        """Opens a shard and checks that it is the one that the manifest lists."""
        entry = self._split(split)["shards"][number]
        shard = Shard(self._inside(entry["file"]))
        for what, fact in (
            ("tokenizer", shard.tokenizer == self.manifest["tokenizer"]["sha256"]),
            ("vocabulary", shard.vocab_size == self.vocab_size),
            ("end of text", shard.end_of_text == self.end_of_text),
            ("token width", shard.width == self.dtype.itemsize),
            ("frame size", shard.frame_tokens == self.frame_tokens),
            ("number of tokens", shard.tokens == entry["tokens"]),
            ("number of documents", len(shard.ends) == entry["documents"]),
            ("list of datasets", int(shard.sources.max()) < len(self.datasets)),
        ):
            if not fact:
                raise ShardError(f"{shard.path} does not belong to this build: its {what} differs from the manifest's")
        return shard

    def documents(self, split: str, dataset: Optional[str] = None) -> Iterator[Document]:
        """The documents of a split in stored order, whole; of one dataset, if it is named."""
        row = SplitTokens(self, split)
        source = None if dataset is None else self._dataset(dataset)
        first: Optional[Tuple[int, int, int]] = None
        for part in row.parts(0, source):
            for i in range(len(part.starts)):
                start, number, of = int(part.starts[i]), int(part.rows[i]), int(part.sources[i])
                if not part.begins[i] and first is not None:
                    start, number, of = first
                end = int(part.ends[i])
                if part.continues and i + 1 == len(part.starts):
                    first = (start, number, of)
                else:
                    first = None
                    yield Document(row.ids(start, end), row.trained(start, end), self.datasets[of], number)

    def _dataset(self, name: str) -> int:
        try:
            return self.datasets.index(name)
        except ValueError:
            raise ShardError(f"{self.folder} has no dataset {name}; it has {', '.join(self.datasets)}") from None


@dataclass
class Part:
    """What one shard has of some documents; places are the split's."""

    starts: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    sources: np.ndarray
    #: Whether the document begins with it.
    begins: np.ndarray
    #: Whether the last of them goes on in the next shard.
    continues: bool
    shard_start: int


class SplitTokens:
    """A split as one long row of tokens. Shards and frames that were read are kept, up to a bound."""

    def __init__(self, build: Build, split: str, cached_tokens: int = 1 << 22) -> None:
        self.build = build
        self.split = split
        self.tokens = build.splits.get(split, 0)
        self.cached_tokens = cached_tokens
        self._shards: "OrderedDict[int, Shard]" = OrderedDict()
        self._frames: "OrderedDict[Tuple[int, int], np.ndarray]" = OrderedDict()
        self._held = 0

    def shard(self, number: int) -> Shard:
        found = self._shards.get(number)
        if found is None:
            found = self.build.shard(self.split, number)
            self._shards[number] = found
            documents = sum(len(shard.ends) for shard in self._shards.values())
            while len(self._shards) > 1 and (len(self._shards) > OPEN_SHARDS or documents > OPEN_DOCUMENTS):
                _, forgotten = self._shards.popitem(last=False)
                documents -= len(forgotten.ends)
        self._shards.move_to_end(number)
        return found

    def _frame(self, shard: int, number: int) -> np.ndarray:
        key = (shard, number)
        found = self._frames.get(key)
        if found is None:
            found = self.shard(shard).frame(number)
            self._frames[key] = found
            self._held += len(found)
            while self._held > self.cached_tokens and len(self._frames) > 1:
                _, forgotten = self._frames.popitem(last=False)
                self._held -= len(forgotten)
        self._frames.move_to_end(key)
        return found

    def _by_shard(self, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
        """A range of the split as ranges of shards."""
        if not 0 <= start <= end <= self.tokens:
            raise ShardError(f"tokens {start} to {end} were asked of {self.build.folder}, which has {self.tokens}")
        size = self.build.shard_tokens
        while start < end:
            number = start // size
            stop = min(end, (number + 1) * size)
            yield number, start - number * size, stop - number * size
            start = stop

    def ids(self, start: int, end: int) -> np.ndarray:
        """The ids of a range of the split."""
        step = self.build.frame_tokens
        parts = []
        for number, at, stop in self._by_shard(start, end):
            for frame in range(at // step, -(-stop // step)):
                ids = self._frame(number, frame)
                first = frame * step
                parts.append(ids[max(at - first, 0) : stop - first])
        if not parts:
            return np.zeros(0, self.build.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def trained(self, start: int, end: int) -> np.ndarray:
        """For each token of a range, whether it carries loss."""
        flags = np.ones(end - start, bool)
        done = 0
        for number, at, stop in self._by_shard(start, end):
            masked = self.shard(number).masked
            first = int(np.searchsorted(masked[:, 1], at, "right"))
            last = int(np.searchsorted(masked[:, 0], stop, "left"))
            for low, high in masked[first:last]:
                flags[done + max(int(low) - at, 0) : done + min(int(high), stop) - at] = False
            done += stop - at
        return flags

    def parts(self, start: int, source: Optional[int]) -> Iterator[Part]:
        """The documents from the token `start` on, shard by shard; those of one dataset, or all."""
        size = self.build.shard_tokens
        for number in range(start // size, -(-self.tokens // size)):
            shard = self.shard(number)
            shard_start = number * size
            within = max(start - shard_start, 0)
            begins = shard.starts >= within
            if shard.continues_from_previous:
                begins[0] = False
            keep = shard.ends > within
            continues = shard.continues_in_next
            if source is not None:
                keep &= shard.sources == source
                continues = continues and int(shard.sources[-1]) == source
            if keep.any():
                yield Part(
                    np.maximum(shard.starts[keep], within) + shard_start,
                    shard.ends[keep] + shard_start,
                    shard.rows[keep],
                    shard.sources[keep],
                    begins[keep],
                    continues,
                    shard_start,
                )


