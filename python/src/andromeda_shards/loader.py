"""Sequences of equal length, in an order that is a function of builds, options and one integer: those of Andromeda's own loader."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .build import Build, SplitTokens
from .errors import PositionError, ShardError
from .order import Firsts, Order, best_fit, given, source_at

#: All sequences among each other: the value of `group_chunks` that never ends a group.
FULL = (1 << 64) - 1
PACKINGS = ("concatenate", "best-fit")
#: Chunks of which it is known what they are made of, with the full shuffle.
KNOWN_CHUNKS = 64


@dataclass
class Source:
    """One of the sources of a mixture: a split of a build, or the documents of one dataset in it."""

    build: Build
    split: str = "train"
    dataset: Optional[str] = None
    #: Its share of the sequences: `weight` of the sum of all weights.
    weight: int = 1


@dataclass
class Sequence:
    """A sequence of `sequence_tokens + 1` ids: inputs are all but the last, targets all but the first."""

    ids: np.ndarray
    #: For each target, whether it carries loss.
    loss: np.ndarray
    #: Places where a document begins, or in best-fit packing a piece of one; not of a document that began before.
    document_starts: List[int] = field(default_factory=list)
    #: Rows of its documents in `documents.parquet`, in order.
    rows: List[int] = field(default_factory=list)
    #: Place of the first id in the split.
    first_token: int = 0
    #: Ids at the end that are filling; in best-fit packing.
    padding: int = 0
    #: Which of the loader's sources it is from.
    source: int = 0

    def segments(self) -> List[Tuple[int, int]]:
        """The ranges of `ids` within which attention stays if documents shall not see each other."""
        filled = len(self.ids) - self.padding
        bounds = [0, *self.document_starts, filled, len(self.ids)]
        return [(a, b) for a, b in zip(bounds, bounds[1:]) if a < b]


@dataclass
class Account:
    """What a source has given."""

    build: str
    dataset: Optional[str]
    weight: int
    #: Sequences it has given.
    given: int
    #: Sequences of its epoch.
    epoch_sequences: int
    #: Tokens of its epoch, filling not counted.
    epoch_tokens: int


@dataclass
class LoaderState:
    """A position and the order it was counted in. Its JSON is the one that Andromeda's own loader writes and reads."""

    position: int
    order: Dict[str, Any]

    def digest(self) -> str:
        """Equal if the order is."""
        return hashlib.sha256(_compact(self.order).encode()).hexdigest()

    def to_json(self) -> str:
        """One line of JSON."""
        return _compact({"position": self.position, "digest": self.digest(), "order": self.order})

    @classmethod
    def from_json(cls, text: str) -> "LoaderState":
        """Reads what `to_json` wrote, here or there."""
        try:
            written = json.loads(text)
            state = cls(int(written["position"]), dict(written["order"]))
            digest = written["digest"]
        except (ValueError, KeyError, TypeError) as error:
            raise PositionError(f"a loader's state cannot be read: {error!r}") from None
        if state.digest() != digest:
            raise PositionError("the state's order does not hash to its digest, so it was edited")
        return state


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Loader:
    """Reads the sequences of a split. The position is the whole state; nothing is drawn, buffered or remembered besides.

    `packing` is `concatenate` or `best-fit`; `chunk_tokens` and `group_chunks` are the shuffle (`FULL` groups have no end).
    """

    def __init__(self, build: Build, split: str = "train", **options: Any) -> None:
        self._open([Source(build, split)], **options)

    @classmethod
    def mixture(cls, sources: List[Source], **options: Any) -> "Loader":
        """Reads several sources, each by its weight; options are those of a loader."""
        loader = cls.__new__(cls)
        loader._open(list(sources), **options)
        return loader

    def _open(
        self,
        sources: List[Source],
        *,
        sequence_tokens: int,
        seed: int = 0,
        packing: str = "concatenate",
        chunk_tokens: int = 1 << 20,
        group_chunks: int = 16,
    ) -> None:
        _check(sources, sequence_tokens, seed, packing, chunk_tokens, group_chunks)
        self.sequence_tokens = sequence_tokens
        self.sources = sources
        self._weights = [source.weight for source in sources]
        shuffle = _Shuffle(sequence_tokens, seed, packing, chunk_tokens, group_chunks)
        # The frames of a group, and those that its chunks have in part.
        frames = (16 if group_chunks == FULL else min(group_chunks, 1 << 20)) * (chunk_tokens * 5 // 4) + (1 << 22)
        splits: Dict[Tuple[str, str], SplitTokens] = {}
        self._opened: List[_Opened] = []
        for source in sources:
            key = (source.build.root, source.split)
            if key not in splits:
                of_split = SplitTokens(source.build, source.split, 0)
                splits[key] = of_split
            splits[key].cached_tokens += frames
            self._opened.append(_Opened(splits[key], source, shuffle))
        self._identity: Dict[str, Any] = {
            "order": 1,
            "sequence_tokens": sequence_tokens,
            "seed": seed,
            "packing": packing,
            "shuffle": {"chunk_tokens": chunk_tokens, "group_chunks": group_chunks},
            "sources": [
                {"root": s.build.root, "split": s.split, "dataset": s.dataset, "weight": s.weight} for s in sources
            ],
        }

    @property
    def sequences(self) -> int:
        """Sequences of an epoch, of all sources together."""
        return sum(opened.firsts.sequences for opened in self._opened)

    def read(self, position: int) -> Sequence:
        """The sequence at a position, which counts over all epochs."""
        if position < 0:
            raise ShardError(f"position {position} is below 0")
        number, at = source_at(position, self._weights)
        return self._opened[number].read(at, number)

    def read_in_order(self, number: int) -> Sequence:
        """A sequence of the stored order, source after source, for evaluation; below `sequences`."""
        at = number
        for i, opened in enumerate(self._opened):
            if 0 <= at < opened.firsts.sequences:
                return opened.give(*opened.firsts.locate(at), i)
            at -= opened.firsts.sequences
        raise ShardError(f"sequence {number} was asked for, and there are {self.sequences}")

    def iterate(self, start: int = 0, *, rank: int = 0, world: int = 1, stop: Optional[int] = None) -> Iterator[Sequence]:
        """The sequences of one of `world` machines from the position `start` on: without end, or before `stop`.

        Taken in turn, those of all machines are those of one alone.
        """
        if not 0 <= rank < world:
            raise ShardError(f"rank {rank} of a world of {world}; ranks count from 0")
        positions = count(start + rank, world) if stop is None else range(start + rank, stop, world)
        for position in positions:
            yield self.read(position)

    def state(self, position: int) -> LoaderState:
        """What is to be kept to go on at `position` another time."""
        return LoaderState(position, self._identity)

    def resume(self, state: LoaderState) -> int:
        """The position of a state, if it was counted in this order."""
        for key, here in self._identity.items():
            there = state.order.get(key)
            if there != here:
                raise PositionError(
                    f"position {state.position} was counted in another order: {key} was {there}, and is {here} now"
                )
        return state.position

    def accounts(self, position: int) -> List[Account]:
        """What each source has given in the sequences before a position."""
        return [
            Account(
                source.build.name, source.dataset, source.weight, of_source, opened.firsts.sequences, opened.tokens
            )
            for source, opened, of_source in zip(self.sources, self._opened, given(position, self._weights))
        ]


def _check(
    sources: List[Source], sequence_tokens: int, seed: int, packing: str, chunk_tokens: int, group_chunks: int
) -> None:
    def hold(fact: bool, what: str) -> None:
        if not fact:
            raise ShardError(what)

    hold(sequence_tokens >= 1, "a sequence has at least one token")
    hold(0 <= seed < 1 << 64, "the seed has 64 bits")
    hold(packing in PACKINGS, f"packing {packing!r} is none of {', '.join(PACKINGS)}")
    hold(1 <= chunk_tokens < 1 << 64 and 1 <= group_chunks < 1 << 64, "chunks and groups have at least one")
    hold(len(sources) > 0, "a mixture has at least one source")
    hold(all(source.weight >= 1 for source in sources), "weights are at least 1")
    hold(sum(source.weight for source in sources) < 1 << 64, "weights are together below 2^64")
    names = [(source.build.root, source.split, source.dataset) for source in sources]
    hold(len(set(names)) == len(names), "a source is there twice; give it the sum of the weights")
    tokenizers = {source.build.manifest["tokenizer"]["sha256"] for source in sources}
    hold(len(tokenizers) == 1, "the builds have different tokenizers, so their ids do not go together")


@dataclass
class _Shuffle:
    sequence_tokens: int
    seed: int
    packing: str
    chunk_tokens: int
    group_chunks: int


class _Opened:
    """A source that is read."""

    def __init__(self, row: SplitTokens, source: Source, options: _Shuffle) -> None:
        self.row = row
        self.options = options
        build = source.build
        # Which error a split that is not there has, is the build's to say.
        build.shards(source.split)
        self.dataset: Optional[int] = None
        self.tokens = row.tokens
        if source.dataset is not None:
            self.dataset = build._dataset(source.dataset)
            of_split = build.manifest["datasets"][self.dataset]["splits"].get(source.split, {})
            self.tokens = int(of_split.get("tokens", 0))
        length = options.sequence_tokens
        if self.tokens < length + 1:
            of = f"dataset {source.dataset} of split" if source.dataset else "split"
            raise ShardError(
                f"{of} {source.split} of {build.folder} has {self.tokens} tokens, too few for a sequence of {length}"
            )
        chunk_tokens = options.chunk_tokens * self.tokens // row.tokens
        self.chunk_tokens = max(1, chunk_tokens)
        #: The token of the split that each chunk begins with, where that must be remembered.
        self.starts: List[int] = []
        if options.packing == "concatenate":
            windows = (self.tokens - 1) // length
            per_chunk = max(1, chunk_tokens // length)
            self.firsts = Firsts(windows, per_chunk)
            if self.dataset is not None:
                self._list_windows(per_chunk * length)
        else:
            firsts = [0]
            for pieces in self._cut(0):
                self.starts.append(pieces[0][0])
                packed = best_fit([piece[1] for piece in pieces], length + 1)
                firsts.append(firsts[-1] + len(packed))
            self.firsts = Firsts(firsts[-1], listed=firsts)
        self.order = Order(build.root, source.dataset, options.seed, options.group_chunks)
        chunks = self.firsts.chunks
        self._most = KNOWN_CHUNKS if options.group_chunks == FULL else min(chunks, options.group_chunks)
        self._chunks: "OrderedDict[int, _Chunk]" = OrderedDict()

    def _list_windows(self, step: int) -> None:
        seen = following = 0
        for part in self.row.parts(0, self.dataset):
            lengths = part.ends - part.starts
            before = seen + np.concatenate([[0], np.cumsum(lengths)])
            while following < before[-1] and len(self.starts) < self.firsts.chunks:
                at = int(np.searchsorted(before, following, "right")) - 1
                self.starts.append(int(part.starts[at]) + following - int(before[at]))
                following += step
            seen = int(before[-1])
        if len(self.starts) < self.firsts.chunks:
            raise ShardError(f"{self.row.build.folder} has fewer tokens of a dataset than its manifest says")

    def read(self, position: int, number: int) -> Sequence:
        return self.give(*self.order.locate(position, self.firsts), number)

    def give(self, number: int, at: int, source: int) -> Sequence:
        chunk = self._chunk(number)
        if self.options.packing == "concatenate":
            length = self.options.sequence_tokens
            sequence = self._window(chunk, at * length, at * length + length + 1)
        else:
            sequence = self._packed(chunk, at)
        sequence.source = source
        return sequence

    def _window(self, chunk: "_Chunk", start: int, end: int) -> Sequence:
        first = int(np.searchsorted(chunk.ends, start, "right"))
        last = int(np.searchsorted(chunk.places, end, "left"))
        runs: List[List[int]] = []
        starts, rows = [], []
        for i in range(first, last):
            place, piece = int(chunk.places[i]), int(chunk.starts[i])
            low, high = max(start, place), min(end, int(chunk.ends[i]))
            _add_run(runs, piece + low - place, piece + high - place)
            if chunk.begins[i] and place >= start:
                starts.append(place - start)
            _add_row(rows, int(chunk.rows[i]))
        ids, trained = self._gather(runs)
        return Sequence(ids, trained[1:], starts, rows, runs[0][0])

    def _packed(self, chunk: "_Chunk", at: int) -> Sequence:
        room = self.options.sequence_tokens + 1
        runs: List[List[int]] = []
        starts, rows, cut = [], [], []
        place = 0
        for i in chunk.packed[at]:
            piece, tokens = int(chunk.starts[i]), int(chunk.ends[i] - chunk.places[i])
            _add_run(runs, piece, piece + tokens)
            if chunk.begins[i] or place > 0:
                starts.append(place)
            if not chunk.begins[i] and place > 0:
                cut.append(place - 1)
            _add_row(rows, int(chunk.rows[i]))
            place += tokens
        ids, trained = self._gather(runs)
        first = runs[0][0]
        padding = room - place
        if padding:
            ids = np.concatenate([ids, np.full(padding, self.row.build.end_of_text, ids.dtype)])
            trained = np.concatenate([trained, np.zeros(padding, bool)])
        loss = trained[1:]
        loss[cut] = False
        return Sequence(ids, loss, starts, rows, first, padding)

    def _gather(self, runs: List[List[int]]) -> Tuple[np.ndarray, np.ndarray]:
        ids = [self.row.ids(start, end) for start, end in runs]
        trained = [self.row.trained(start, end) for start, end in runs]
        return np.concatenate(ids), np.concatenate(trained)

    def _chunk(self, number: int) -> "_Chunk":
        found = self._chunks.get(number)
        if found is None:
            if self.options.packing == "concatenate":
                length = self.options.sequence_tokens
                start = self.starts[number] if self.starts else self.firsts.first(number) * length
                found = _Chunk(self._take(start, self.firsts.size(number) * length + 1))
            else:
                pieces = next(self._cut(self.starts[number]))
                found = _Chunk(pieces)
                found.packed = best_fit([piece[1] for piece in pieces], self.options.sequence_tokens + 1)
            self._chunks[number] = found
            while len(self._chunks) > max(1, self._most):
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(number)
        return found

    def _take(self, start: int, tokens: int) -> List[List[int]]:
        """The pieces of the source's `tokens` tokens from the token `start` of the split on."""
        pieces: List[List[int]] = []
        left = tokens
        for part in self.row.parts(start, self.dataset):
            for low, high, row, begins in _documents(part):
                taken = min(high - low, left)
                if pieces and not begins and low == part.shard_start:
                    pieces[-1][1] += taken
                else:
                    pieces.append([low, taken, row, begins])
                left -= taken
                if left == 0:
                    return pieces
        raise ShardError(f"{self.row.build.folder} has fewer tokens than its manifest says")

    def _cut(self, start: int) -> Iterator[List[List[int]]]:
        """Chunks of pieces of documents, from the token `start` of the split on: first token, tokens, row, whether it begins."""
        room = self.options.sequence_tokens + 1
        pieces: List[List[int]] = []
        tokens = opened = 0
        for part in self.row.parts(start, self.dataset):
            last = len(part.starts) - 1
            for i, (low, high, row, begins) in enumerate(_documents(part)):
                if opened and (begins or low != part.shard_start):
                    opened = 0
                    if tokens >= self.chunk_tokens:
                        yield pieces
                        pieces, tokens = [], 0
                ends = not (part.continues and i == last)
                at = low
                while at < high:
                    end = min(high, at + room - opened)
                    if opened:
                        pieces[-1][1] += end - at
                    else:
                        pieces.append([at, end - at, row, begins and at == low])
                    tokens += end - at
                    opened += end - at
                    at = end
                    if opened == room or (at == high and ends):
                        opened = 0
                        if tokens >= self.chunk_tokens:
                            yield pieces
                            pieces, tokens = [], 0
        if pieces:
            yield pieces


class _Chunk:
    """A stretch of neighbouring sequences: the pieces of documents that it is made of."""

    def __init__(self, pieces: List[List[int]]) -> None:
        table = np.array([piece[:2] for piece in pieces], np.int64).reshape(-1, 2)
        self.starts = table[:, 0]
        self.ends = np.cumsum(table[:, 1])
        self.places = self.ends - table[:, 1]
        self.rows = [piece[2] for piece in pieces]
        self.begins = [bool(piece[3]) for piece in pieces]
        self.packed: List[List[int]] = []


def _documents(part: Any) -> Iterator[Tuple[int, int, int, bool]]:
    return zip(part.starts.tolist(), part.ends.tolist(), part.rows.tolist(), part.begins.tolist())


def _add_run(runs: List[List[int]], start: int, end: int) -> None:
    if runs and runs[-1][1] == start:
        runs[-1][1] = end
    else:
        runs.append([start, end])


def _add_row(rows: List[int], row: int) -> None:
    if not rows or rows[-1] != row:
        rows.append(row)
